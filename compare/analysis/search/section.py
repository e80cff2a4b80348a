"""What a search tried, and where the settings of every arm come from: a search, or the arm's own file."""

from collections.abc import Iterable, Sequence

from compare.analysis.blocks import Block, Bold, Fold, Heading, Inline, Mark, Number, Prose, Table
from compare.analysis.search.choice import Choice, Trial
from compare.analysis.text import fixed, settings_text
from compare.store.manifest import ONE_BY_ONE, Manifest, Settings

BY_HAND = (
    "Every arm has the settings of its own file, set by hand; no search of equally many trials chose them."
)


def trials(choices: Sequence[Choice]) -> list[Block]:
    """What was gained, and every trial; nothing if the experiment searched for nothing."""
    if not choices:
        return []
    every = [(choice, trial) for choice in choices for trial in choice.trials]
    gains = [(choice, choice.chosen) for choice in choices if choice.chosen is not None]
    common = "arm, study, trial, settings, metric"
    return [
        Heading(text="Trials", level=2, anchor="trials"),
        Prose(
            text="The same number of settings for every arm; the first is the arm's own file. Chosen on "
            "held-out validation problems in distribution, never on what results are measured by. What was "
            "chosen looks better there than it is: the best of several is flattered. Means over seeds."
        ),
        Prose(
            text="What the search gained, on the validation problems that it chose by, so an optimistic "
            "number; whether it holds is for an experiment on other problems and seeds to say:"
        ),
        _table("Gains", f"{common}, own file, chosen, gained", (_gain(*row) for row in gains)),
        Fold(
            summary=f"All {len(every)} trials",
            blocks=(
                _table(
                    "Trials", f"{common}, value, loss, failed runs, cells", (_trial(*row) for row in every)
                ),
            ),
        ),
        *(
            Prose(text=f"{choice.study}, {choice.arm}: nothing chosen, {choice.obstacle}.")
            for choice in choices
            if choice.chosen is None
        ),
        Prose(text="The sections below show the chosen trials alone.", soft=True),
    ]


def _table(label: str, columns: str, rows: Iterable[tuple[Inline, ...]]) -> Table:
    return Table(
        label=label, columns=tuple(columns.split(", ")), rows=tuple(rows), wrap=("settings",), cards=True
    )


def _place(choice: Choice, trial: Trial, *remark: Inline) -> tuple[Inline, ...]:
    place = (f"{trial.number} of {len(choice.trials)}", *remark)
    return choice.arm, choice.study, place, settings_text(trial.settings), choice.metric


def _gain(choice: Choice, chosen: Trial) -> tuple[Inline, ...]:
    own, best = _number(choice.trials[0].value, "failed"), _number(chosen.value)
    gained = "–" if choice.gain is None else Number(fixed(choice.gain, 4, sign=True), choice.gain)
    return *_place(choice, chosen), own, best, gained


def _trial(choice: Choice, trial: Trial) -> tuple[Inline, ...]:
    cells = Mark(len(trial.cells), trial.cells)
    remark = (" ", Bold("chosen")) if trial == choice.chosen else ()
    return *_place(choice, trial, *remark), _number(trial.value), _number(trial.loss), trial.failed, cells


def _number(value: float | None, missing: str = "–") -> str:
    return missing if value is None else fixed(value, 4)


def origins(manifest: Manifest) -> list[Block]:
    """Where settings come from, for each study, arm and size in the plan's order.

    Nothing where the manifest is older than any search; nor for the trials of a search, or for cells that
    were run one by one: their manifest tells which there are, not what each was asked for.
    """
    keys = dict.fromkeys((c.study, c.arm, c.size) for c in manifest.cells if not c.trial)
    if manifest.name == ONE_BY_ONE or manifest.tuned is None or not keys:
        return []
    words = {(s.study, s.arm, s.size): _words(s) for s in manifest.tuned}
    rows = ((arm, study, size, words.get((study, arm, size), "set by hand")) for study, arm, size in keys)
    return [
        Heading(text="Where the settings come from", level=2, anchor="settings"),
        _table("Settings", "arm, study, size, settings", rows) if words else Prose(text=BY_HAND),
    ]


def _words(settings: Settings) -> str:
    return (
        f"{settings.chosen}: best of {settings.trials} trials on validation problems, {settings.budget:.3g} "
        f"FLOPs and {settings.runs} seeds each, commit {settings.commit}"
    )
