"""A report goes to Weights & Biases; what is missing is named with the command that mends it."""

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from compare.report.__main__ import main
from tests.compare.planted import scaling


class Node(SimpleNamespace):
    """Any block or panel of the client: what it was called with."""


class Server:
    """What the mocked client sent."""

    def __init__(self) -> None:
        self.saved: list[Any] = []
        self.shared = 0
        self.refuses = ""
        self.api_key: str | None = "key"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """The documented part of wandb_workspaces.reports.v2 and nothing else: another name is an error."""
    server = Server()

    class Report(Node):
        url = "https://wandb.ai/me/ebt-arena/reports/x"

        def save(self) -> "Report":
            if server.refuses:
                raise ValueError(server.refuses)
            server.saved.append(self)
            return self

        def enable_share_link(self) -> str:
            assert server.saved, "save report before enabling share link"
            server.shared += 1
            return self.url + "?accessToken=abc"

    class Expression:
        def __init__(self, kind: str, name: str) -> None:
            self.kind, self.name = kind, name

        def __eq__(self, other: object) -> Any:
            return f"{self.kind}('{self.name}') = '{other}'"

        __hash__ = None  # type: ignore[assignment]

    def positional(kind: str, field: str) -> Any:
        return lambda value: Node(kind=kind, **{field: value})

    def keyword(kind: str, *allowed: str) -> Any:
        def build(**given: Any) -> Node:
            assert given.keys() <= set(allowed), f"{kind} has no {given.keys() - set(allowed)}"
            return Node(kind=kind, **given)

        return build

    v2 = ModuleType("wandb_workspaces.reports.v2")
    axes = ("title", "x", "y", "log_x", "log_y")
    members = {
        "Report": Report,
        "TableOfContents": keyword("TableOfContents"),
        "H2": positional("H2", "text"),
        "MarkdownBlock": positional("MarkdownBlock", "text"),
        "Config": positional("Config", "name"),
        "SummaryMetric": positional("SummaryMetric", "name"),
        "Runset": keyword("Runset", "entity", "project", "name", "filters"),
        "PanelGrid": keyword("PanelGrid", "runsets", "panels"),
        "ScatterPlot": keyword("ScatterPlot", *axes),
        "LinePlot": keyword("LinePlot", *axes, "groupby"),
        "MediaBrowser": keyword("MediaBrowser", "title", "media_keys", "num_columns"),
    }
    for name, member in members.items():
        setattr(v2, name, member)
    expr = ModuleType("wandb_workspaces.expr")
    expr.Metric = lambda name: Expression("Metric", name)  # type: ignore[attr-defined]
    expr.Config = lambda name: Expression("Config", name)  # type: ignore[attr-defined]
    wandb = ModuleType("wandb")
    wandb.api = SimpleNamespace(api_key="key")  # type: ignore[attr-defined]
    wandb.Api = lambda: SimpleNamespace(default_entity="me")  # type: ignore[attr-defined]
    package, reports = ModuleType("wandb_workspaces"), ModuleType("wandb_workspaces.reports")
    package.expr, package.reports, reports.v2 = expr, reports, v2  # type: ignore[attr-defined]
    for module in (wandb, package, reports, expr, v2):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    server.wandb = wandb  # type: ignore[attr-defined]
    return server


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return scaling.store(tmp_path / "runs", seeds=1)


def publish(store: Path, *more: str) -> int:
    return main([str(store), "to=wandb", *more])


def test_a_report_has_words_and_panels_over_its_own_runs(server: Server, store: Path, capsys) -> None:
    assert publish(store) == 0
    (report,) = server.saved
    assert capsys.readouterr().out.splitlines()[-1] == report.url
    assert server.shared == 0
    assert (report.entity, report.project, report.title) == ("me", "ebt-arena", "Energy against reward")
    grids = [b for b in report.blocks if b.kind == "PanelGrid"]
    assert [g.runsets[0].name for g in grids] == ["text", "addition"]
    assert grids[0].runsets[0].filters == ["Metric('Group') = 'scaling'", "Config('study') = 'text'"]
    drawn = {panel.y.name for panel in grids[0].panels if panel.kind == "ScatterPlot"}
    assert drawn == {"headline/loss", "headline/answer_error"}
    words = " ".join(b.text for b in report.blocks if b.kind == "MarkdownBlock")
    assert "compute multiplier at equal loss" in words
    assert "missing: text, transformer" in words
    assert "](figures/" not in words
    heads = [b.text for b in report.blocks if b.kind == "H2"]
    written = re.findall(r"^## (.+)$", (store / "reports/scaling/report.md").read_text(), re.MULTILINE)
    stay = {"Figures", "Cells", "Cells behind the numbers"}
    assert [h for h in heads if h not in ("text", "addition")] == [h for h in written if h not in stay]
    assert str(store) not in words


def test_the_panels_ask_for_what_a_mirror_logs() -> None:
    import inspect

    from compare.report import publish as module
    from compare.run import mirror

    logged = inspect.getsource(mirror)
    for name in ("headline/training_flops", "headline/loss", "headline/answer_error"):
        assert name in inspect.getsource(module)
        assert name in logged
    assert mirror.Logger(name="wandb").project == module.PROJECT


def test_a_share_link_is_the_last_line(server: Server, store: Path, capsys) -> None:
    assert publish(store, "share=true", "project=mine", "entity=lab") == 0
    assert server.shared == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("?accessToken=abc")
    assert (server.saved[0].entity, server.saved[0].project) == ("lab", "mine")


def refused(capsys, *said: str) -> None:
    """One line, all of it."""
    complaints = [line for line in capsys.readouterr().err.splitlines() if "wandb" in line]
    assert len(complaints) == 1
    for words in said:
        assert words in complaints[0]


def test_a_missing_extra_is_named(store: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for name in ("wandb_workspaces", "wandb_workspaces.expr", "wandb_workspaces.reports.v2"):
        monkeypatch.setitem(sys.modules, name, None)
    assert publish(store) == 2
    refused(capsys, "not installed", "pip install 'ebt-arena[report]'")
    assert (store / "reports/scaling/index.html").exists()


def test_a_missing_login_is_named(server: Server, store: Path, capsys) -> None:
    server.wandb.api.api_key = None  # type: ignore[attr-defined]
    assert publish(store) == 2
    refused(capsys, "nobody is logged in", "wandb login")
    assert server.saved == []


def test_runs_that_were_not_synced_are_named_until_they_are(server: Server, store: Path, capsys) -> None:
    cells = sorted((store / "cells").iterdir())[:2]
    folders = [cell / "wandb" / f"offline-run-1-{cell.name}" for cell in cells]
    for folder in folders:
        folder.mkdir(parents=True)
    assert publish(store) == 2
    refused(capsys, "2 runs", f"wandb sync {store}/cells/*/wandb/offline-run-*")
    for folder in folders:
        (folder / "run-x.wandb.synced").touch()
    assert publish(store) == 0
    assert len(server.saved) == 1


def test_a_refusal_of_the_server_is_one_line(server: Server, store: Path, capsys) -> None:
    server.refuses = "permission denied\nand a long trace"
    assert publish(store) == 2
    refused(capsys, "permission denied", "project=PROJECT")


def test_the_real_client_takes_these_blocks() -> None:
    """Everything but the filters can be built without a login; where the extra is installed, it is."""
    api = pytest.importorskip("wandb_workspaces.reports.v2")
    expressions = pytest.importorskip("wandb_workspaces.expr")
    from compare.report.publish import _blocks, _panels

    grid = _panels(api, expressions, "me", "ebt-arena", "scaling", "text")
    for panel in grid.panels:
        panel._to_model()
    assert "scaling" in grid.runsets[0].filters
    text = "# Title\n\n## The answer\n\nno\n\n## Figures\n\n## Cells\n\n## Words\n\nyes\n"
    blocks = _blocks(api, text, [("text", grid)])
    kinds = ["H2", "MarkdownBlock", "H2", "PanelGrid", "H2", "MarkdownBlock"]
    assert [type(b).__name__ for b in blocks] == kinds
