"""A report on Weights & Biases: the words of `report.md`, and panels over the runs that were mirrored there.

Needs the extra `report` (wandb-workspaces, whose API is wandb_workspaces.reports.v2), a login, and runs that
are on the server. Each that is missing is named with the command that mends it.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from compare.store import manifest as manifests

PROJECT = "ebt-arena"
"""Where `logger=wandb` logs unless told otherwise."""
LEFT_OUT = ("Figures", "Cells", "Cells behind the numbers")
"""Sections of report.md that stay behind; the panels, in place of the first, show the runs themselves."""


class Unpublished(Exception):
    """Something is missing. One line, with the remedy."""


def publish(store: Path, name: str, *, project: str = "", entity: str = "", share: bool = False) -> str:
    """Publish the report of experiment `name`, which has been built, and return its address.

    Args:
        project: of the runs; empty: PROJECT.
        entity: user or team; empty: whoever is logged in.
        share: make a link that anybody can open, and return that.

    Raises:
        Unpublished: the extra, a login or synced runs are missing, or the server refuses.
    """
    api, expressions, user = _client(share)
    _require_synced(store)
    plan = manifests.load(store, name)
    entity, project = entity or user, project or PROJECT
    text = (store / "reports" / name / "report.md").read_text(encoding="utf-8")
    sections = {part.split("\n", 1)[0].strip(): part for part in re.split(r"^## ", text, flags=re.MULTILINE)}
    heads = [name for name in sections if not name.startswith("# ")]
    place = next(i for i, head in enumerate(heads) if head in LEFT_OUT)
    before, after = ([h for h in part if h not in LEFT_OUT] for part in (heads[:place], heads[place:]))
    studies = list(dict.fromkeys(cell.study for cell in plan.cells))
    try:
        report = api.Report(
            entity=entity,
            project=project,
            title=plan.title[:128],
            description=plan.question,
            blocks=[
                api.TableOfContents(),
                *_words(api, sections, before),
                *(
                    block
                    for study in studies
                    for block in (api.H2(study), _panels(api, expressions, entity, project, name, study))
                ),
                *_words(api, sections, after),
            ],
        )
        report.save()
        return report.enable_share_link() if share else report.url
    except Exception as error:  # the client has no error of its own
        said = str(error).splitlines()[0] if str(error) else ""
        raise Unpublished(
            f"to=wandb: {entity}/{project}: {type(error).__name__}: {said}; the project must exist and be "
            "yours to write to (project=PROJECT entity=ENTITY)"
        ) from error


def _client(share: bool) -> tuple[Any, ModuleType, str]:
    """The reports' API, its expressions for filters, and who is logged in."""
    try:
        import wandb
        import wandb_workspaces.expr as expressions  # pyright: ignore[reportMissingImports]
        import wandb_workspaces.reports.v2 as api  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise Unpublished(
            f"to=wandb: {error.name or 'wandb_workspaces'} is not installed; pip install 'ebt-arena[report]' "
            "(from a checkout: pip install -e '.[report]')"
        ) from error
    if share and not hasattr(api.Report, "enable_share_link"):
        raise Unpublished(
            "share=true: this wandb-workspaces knows no share links; pip install -U wandb-workspaces"
        )
    if not wandb.api.api_key:
        raise Unpublished("to=wandb: nobody is logged in to Weights & Biases here; run wandb login")
    return api, expressions, str(wandb.Api().default_entity)


def _require_synced(store: Path) -> None:
    """Raise if runs of the store were logged offline and never sent: panels would miss them.

    `wandb sync` leaves `run-ID.wandb.synced` beside what it has sent.
    """
    waiting = [
        folder
        for folder in store.glob("cells/*/wandb/offline-run-*")
        if not any(folder.glob("*.wandb.synced"))
    ]
    if waiting:
        raise Unpublished(
            f"to=wandb: {len(waiting)} runs of {store} were logged offline and are not on the server; "
            f"wandb sync {store}/cells/*/wandb/offline-run-*"
        )


def _words(api: Any, sections: dict[str, str], names: Sequence[str]) -> list[Any]:
    """Sections of the Markdown; figures stay behind, the panels show the runs themselves."""
    blocks: list[Any] = []
    for name in names:
        body = re.sub(r"!\[[^]]*\]\([^)]*\)", "", sections[name].split("\n", 1)[1]).strip()
        blocks += [api.H2(name), api.MarkdownBlock(body)]
    return blocks


def _panels(api: Any, expressions: Any, entity: str, project: str, name: str, study: str) -> Any:
    """Panels over the runs of one study; their metrics are those of compare/run/mirror.py."""
    arm = api.Config("arm.name")
    runs = api.Runset(
        entity=entity,
        project=project,
        name=study,
        filters=[expressions.Metric("Group") == name, expressions.Config("study") == study],
    )
    flops, loss = api.SummaryMetric("headline/training_flops"), api.SummaryMetric("headline/loss")
    panels = [
        api.ScatterPlot(title="loss against training FLOPs", x=flops, y=loss, log_x=True, log_y=True),
        api.ScatterPlot(
            title="answer error against training FLOPs",
            x=flops,
            y=api.SummaryMetric("headline/answer_error"),
            log_x=True,
        ),
        api.LinePlot(title="training loss", x="flops", y=["loss"], log_x=True, groupby=arm),
        api.LinePlot(title="reward", x="flops", y=["reward"], groupby=arm),
        api.LinePlot(title="entropy", x="flops", y=["entropy"], groupby=arm),
        api.MediaBrowser(title="loss of each run", media_keys=["figures/loss"], num_columns=3),
    ]
    return api.PanelGrid(runsets=[runs], panels=panels)
