"""What the words of a page mean: terms, ways to answer, and what the arms and tasks of this program are."""

from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path

from arena.effort import vocabulary
from compare.store.manifest import Manifest

TERMS = {
    "ahead, behind, equivalent, undecided": (
        "Verdicts. Ahead or behind: the 95% interval leaves out no difference and the p-value, by "
        "Holm's correction over all contrasts named beforehand, is below .05. Equivalent: the "
        "interval lies within the margin named beforehand, even if it leaves out 0. Undecided: "
        "neither, or no verdict is given, as where a law does not describe what it was fitted to."
    ),
    "Holm's correction": (
        "With many comparisons some look decided by chance. The smallest p-value is multiplied by "
        "their number, the next by one less, and so on (Holm 1979). Intervals are not adjusted, so "
        "one may leave out 0 and the verdict still be undecided."
    ),
    "N seeds would decide": (
        "Seeds at which a verdict would come four times in five, if the true difference is the one "
        "seen here. One that is 0, or much smaller, is not decided by them."
    ),
    "compute multiplier": (
        "Training FLOPs that the second arm needs for a loss, over those that the first needs: 0.1 "
        "means that the first needs ten times as many, 10 a tenth."
    ),
    "exponent": "How steeply loss falls with training FLOPs; larger is steeper.",
    "cell": "One training run: arm, task, size, budget of FLOPs and seed. Its record is one file.",
    "seed": (
        "What everything random of a run follows from. Runs of one seed see the same problems in the "
        "same order, whatever the arm, and are compared pair by pair."
    ),
    "severity": (
        "How far held-out problems are from those of training, along an axis such as digits or "
        "blanks; 0 is in distribution."
    ),
    "effort": "A way to answer, cheap or dear: how many steps, restarts or samples.",
    "exact": "Share of held-out problems whose whole answer is right.",
    "warm start": (
        "The part of the budget that an arm trained by reward spends on next-token training first."
    ),
    "size": "Layers, width and learning rate of the shared blocks: xs, xxs, 3xs, ... are ever smaller.",
}


def entries(plan: Manifest, efforts: Iterable[str], conf: Path) -> list[tuple[str, str]]:
    """(word, meaning): the arms and tasks that the plan names, ways to answer that occur, then the terms.

    Args:
        efforts: of the page's evaluations.
        conf: folder of configuration files; an arm or task that has none there is left out.
    """
    arms = dict.fromkeys(cell.arm for cell in plan.cells)
    tasks = dict.fromkeys(cell.task for cell in plan.cells)
    every = [
        *((name, comment(conf / "arm" / f"{name}.yaml")) for name in arms),
        *((f"{name} (task)", comment(conf / "task" / f"{name}.yaml")) for name in tasks),
        *vocabulary(efforts).items(),
        *TERMS.items(),
    ]
    return [(word, meaning) for word, meaning in every if meaning]


def comment(path: Path) -> str:
    """The comment at the top of a configuration file, as one line of text; empty if there is none."""
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8").splitlines()
    return " ".join(line.lstrip("# ").strip() for line in takewhile(lambda line: line.startswith("#"), lines))
