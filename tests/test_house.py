"""The house: floors and circles of imports, sizes of folders, and the map in docs/architecture.md."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("arena", "ebt", "rl_baseline", "controls", "compare")
MOST_FILES = 14
"""Python files in a folder."""
MOST_FLOORS = 7
"""Folders of compare/ one above the other."""
MOST_LINES = 14_800
"""Python lines of compare/: it may shrink, and what is added has to take the place of something.

The rooms had 13,643 when they were done. Forecasts of the ceiling, packed records, freezes and planted
attacks came after that.
"""


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imports() -> dict[str, set[str]]:
    """Module -> modules of this project that it imports, wherever in the file."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    known = {dotted(path) for path in paths}
    found: dict[str, set[str]] = {}
    for path in paths:
        targets: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                targets |= (inner & known) or {node.module}
        found[dotted(path)] = targets & known - {dotted(path)}
    return found


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Nodes that lie on a circle: what is left when leaves and roots have been taken away."""
    left = {node: set(targets) for node, targets in graph.items()}
    while True:
        outgoing = {node for node, targets in left.items() if targets & left.keys()}
        wanted = set().union(*left.values()) & left.keys() if left else set()
        kept = outgoing & wanted
        if kept == left.keys():
            return sorted(kept)
        left = {node: left[node] & kept for node in kept}


def test_a_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_no_file_imports_itself_by_way_of_others() -> None:
    assert circle(imports()) == []


def test_rooms_stand_on_few_floors() -> None:
    rooms: dict[str, set[str]] = {}
    for module, targets in imports().items():
        for target in (module, *targets):
            if (
                re.match(r"compare\.\w+\.", module + ".")
                and (ROOT / "compare" / target.split(".")[1]).is_dir()
            ):
                room, other = (
                    module.split(".")[1],
                    target.split(".")[1] if target.startswith("compare.") else "",
                )
                if (ROOT / "compare" / room).is_dir():
                    rooms.setdefault(room, set()).update({other} - {room, ""})
    assert {"plan", "run", "store", "stats", "analysis", "report", "calibrate"} <= rooms.keys()

    @cache
    def floor(room: str) -> int:
        return 1 + max((floor(other) for other in rooms.get(room, ())), default=0)

    assert circle(rooms) == []
    assert max(map(floor, rooms)) <= MOST_FLOORS


def test_no_folder_is_crowded() -> None:
    counts = Counter(
        path.parent.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")
    )
    crowded = {
        str(folder): n for folder, n in counts.items() if n > MOST_FILES and folder.parts[0] == "compare"
    }
    assert crowded == {}


def test_compare_stays_small() -> None:
    lines = sum(len(path.read_text().splitlines()) for path in (ROOT / "compare").rglob("*.py"))
    assert lines <= MOST_LINES


def test_the_map_shows_every_folder_and_no_other() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `([\w/]+)/` \| \S", page, re.MULTILINE)
    folders = {
        path.parent.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert len(rows) == len(set(rows))
    assert set(rows) - {"conf", "benchmarks", "tests"} == folders
    for row in rows:
        assert (ROOT / row).is_dir()


def test_the_files_that_the_map_names_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`(compare/[\w/]+\.py)`", page)
    assert named
    for name in named:
        assert (ROOT / name).is_file(), name
