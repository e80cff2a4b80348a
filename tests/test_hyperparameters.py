"""docs/hyperparameters.md is written from the docstrings of the configuration, so it cannot say otherwise.

After a change: python -m tests.test_hyperparameters
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "hyperparameters.md"

CLASSES = (
    ("arena/config.py", "Size", "size", "Backbone"),
    ("arena/config.py", "Budget", "budget", "Compute"),
    ("arena/config.py", "TrainerConfig", "trainer", "Training, the same for every arm"),
    ("ebt/config.py", "EBTArm", "arm", "Energy-based arms"),
    ("ebt/parallel/config.py", "ParallelArm", "arm", "One energy for a whole answer"),
    ("ebt/verifier/config.py", "VerifierArm", "arm", "The verifier"),
    ("rl_baseline/config.py", "RLArm", "arm", "Arms trained by reward"),
    ("controls/looped/config.py", "LoopedArm", "arm", "The looped transformer"),
    ("controls/diffusion/config.py", "DiffusionArm", "arm", "Masked diffusion"),
)
NAMED = {
    r"EBT paper|S1\b|S2\b|released code|Eq\. 1|the paper's text": "2507.02092",
    r"Shazeer": "2002.05202",
    r"exponentiated gradient": "10.1006/inco.1996.2612",
    r"KL-Cov|Clip-Cov|eligible covariance": "2505.22617",
    r"CE-GPPO": "2509.20712",
    r"(?<!CE-)GPPO": "2508.07629",
    r"Skywork-OR1|^adaptive:": "2505.22312",
    r"^shaped:": "2506.14758",
    r"hicra's": "2509.03646",
    r"top_entropy|selected ones": "2506.01939",
    r"noise-contrastive loss": "2004.11714",
    r"dual-clip": "1912.09729",
    r"probability ratio": "1707.06347",
}
"""Papers that docstrings call by a name."""


def fields(path: str, name: str) -> list[tuple[str, str, str]]:
    """(field, default, docstring) of a dataclass, from its source."""
    (found,) = [
        node
        for node in ast.parse((ROOT / path).read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    out = []
    for node, after in zip(found.body, [*found.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            said = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                said = " ".join(str(after.value.value).split())
            default = ast.unparse(node.value) if node.value is not None else "MISSING"
            default = re.sub(r"field\(default_factory=(?:lambda: )?(.*)\)", r"\1", default)
            out.append((node.target.id, {"MISSING": "", "list": "[]"}.get(default, default), said))
    return out


def papers(text: str) -> list[str]:
    """arXiv numbers (or a DOI) that a docstring or comment names, in its order."""
    found = [(m.start(), m.group(1)) for m in re.finditer(r"arXiv (\d{4}\.\d{4,5})", text)]
    for pattern, number in NAMED.items():
        named = re.search(pattern, text)
        found += [(named.start(), number)] if named else []
    return list(dict.fromkeys(number for _, number in sorted(found)))


def link(number: str) -> str:
    if number.startswith("10."):
        return f"[doi {number}](https://doi.org/{number})"
    return f"[{number}](https://arxiv.org/abs/{number})"


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def arms() -> list[tuple[str, str]]:
    """(name, opening comment) of every arm's file."""
    out = []
    for path in sorted((ROOT / "conf" / "arm").glob("*.yaml")):
        lines = path.read_text().splitlines()
        comment = []
        for line in lines:
            if not line.startswith("#"):
                break
            comment.append(line.lstrip("# "))
        out.append((path.stem, " ".join(comment)))
    return out


def index() -> str:
    """The page."""
    parts = [
        "# Hyperparameters and where they come from",
        "",
        "Written from the docstrings of the configuration by `python -m tests.test_hyperparameters`; a test "
        'keeps the two equal. "Ours": chosen here, by what [tuning.md](tuning.md) tells; no paper sets it.',
        "",
        "## Arms",
        "",
        "| arm | what it is | paper |",
        "|---|---|---|",
        *(
            f"| `{name}` | {cell(said)} | {', '.join(map(link, papers(said))) or 'ours'} |"
            for name, said in arms()
        ),
        "",
    ]
    for path, name, group, title in CLASSES:
        parts += [f"## {title}", "", "| key | default | meaning | paper |", "|---|---|---|---|"]
        for key, default, said in fields(path, name):
            if key in ("kind", "name"):
                continue
            default = f"`{default}`" if default else "set by the file"
            source = ", ".join(map(link, papers(said))) or "ours"
            parts.append(f"| `{group}.{key}` | {default} | {cell(said)} | {source} |")
        parts.append("")
    return "\n".join(parts)


def test_the_page_says_what_the_configuration_says() -> None:
    assert PAGE.read_text() == index(), "python -m tests.test_hyperparameters writes it anew"


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, name, *_ in CLASSES])
def test_every_hyperparameter_says_what_it_is(path: str, name: str) -> None:
    for key, _, said in fields(path, name):
        assert said, f"{path}: {name}.{key} has no docstring"


def test_whatever_cites_a_paper_has_one_in_the_index() -> None:
    for path, name, *_ in CLASSES:
        for key, _, said in fields(path, name):
            if re.search(r"\bpapers?\b|arXiv|released code", said):
                assert papers(said), f"{name}.{key}: {said}"
    for name, said in arms():
        assert "arXiv" not in said or papers(said), name


def test_the_classes_listed_are_those_of_the_arms() -> None:
    """A new family of arms belongs into the index."""
    from compare.plan.families import FAMILIES

    assert {family.config.__name__ for family in FAMILIES.values()} - {"TransformerArm"} == {
        name for _, name, group, _ in CLASSES if group == "arm"
    }


if __name__ == "__main__":
    PAGE.write_text(index())
