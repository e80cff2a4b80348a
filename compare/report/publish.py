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


def publish(
    store: Path, name: str, folder: Path, *, project: str = "", entity: str = "", share: bool = False
) -> str:
    """Publish the report of experiment `name` and return its address.

    Args:
        folder: where it has been built.
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
    text = (folder / "report.md").read_text(encoding="utf-8")
    studies = dict.fromkeys(cell.study for cell in plan.cells)
    try:
        grids = [(study, _panels(api, expressions, entity, project, name, study)) for study in studies]
        report = api.Report(
            entity=entity,
            project=project,
            title=plan.title[:128],
            description=plan.question,
            blocks=[api.TableOfContents(), *_blocks(api, text, grids)],
        )
        report.save()
        return report.enable_share_link() if share else report.url
    except Exception as error:  # the client has no error of its own
        reason = "".join(str(error).splitlines()[:1])
        raise Unpublished(
            f"to=wandb: {entity}/{project}: {type(error).__name__}: {reason}; the project must exist and be "
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
    offline = store.glob("cells/*/wandb/offline-run-*")
    if waiting := sum(not any(folder.glob("*.wandb.synced")) for folder in offline):
        raise Unpublished(
            f"to=wandb: {waiting} runs of {store} were logged offline and are not on the server; "
            f"wandb sync {store}/cells/*/wandb/offline-run-*"
        )


def _blocks(api: Any, text: str, grids: Sequence[tuple[str, Any]]) -> list[Any]:
    """Sections of the Markdown, but for those LEFT_OUT; panels stand in place of the first of these."""
    blocks: list[Any] = []
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        if head in LEFT_OUT:
            blocks += [block for study, grid in grids for block in (api.H2(study), grid)]
            grids = ()
        else:
            words = re.sub(r"!\[[^]]*\]\([^)]*\)", "", body).strip()  # without figures
            blocks += [api.H2(head), api.MarkdownBlock(words)]
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
    headlines = ("headline/training_flops", "headline/loss", "headline/answer_error")
    flops, loss, error = map(api.SummaryMetric, headlines)
    panels = [
        api.ScatterPlot(title="loss against training FLOPs", x=flops, y=loss, log_x=True, log_y=True),
        api.ScatterPlot(title="answer error against training FLOPs", x=flops, y=error, log_x=True),
        api.LinePlot(title="training loss", x="flops", y=["loss"], log_x=True, groupby=arm),
        api.LinePlot(title="reward", x="flops", y=["reward"], groupby=arm),
        api.LinePlot(title="entropy", x="flops", y=["entropy"], groupby=arm),
        api.MediaBrowser(title="loss of each run", media_keys=["figures/loss"], num_columns=3),
    ]
    return api.PanelGrid(runsets=[runs], panels=panels)
