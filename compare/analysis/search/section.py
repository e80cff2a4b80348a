"""Where each arm's settings come from: a search of so many trials, or its own file."""

from dataclasses import dataclass

from compare.store.manifest import ONE_BY_ONE, Manifest, Settings


@dataclass(frozen=True, kw_only=True)
class SettingsRow:
    """The settings of an arm at a size."""

    study: str
    arm: str
    size: str
    trials: int
    """Trials of the search behind them; 0: set by hand."""
    words: str


def rows(manifest: Manifest) -> tuple[SettingsRow, ...]:
    """One row a study, arm and size, in the plan's order; none for the trials of a search, or where the
    manifest is older than any.

    Nor of cells that were run one by one: their manifest tells which there are, not what each was asked for;
    each record holds its own settings.
    """
    if manifest.name == ONE_BY_ONE or manifest.tuned is None:
        return ()
    found = {(s.study, s.arm, s.size): s for s in manifest.tuned}
    keys = dict.fromkeys((c.study, c.arm, c.size) for c in manifest.cells if not c.trial)
    return tuple(_row(key, found.get(key)) for key in keys)


def _row(key: tuple[str, str, str], tuned: Settings | None) -> SettingsRow:
    study, arm, size = key
    if tuned is None:
        return SettingsRow(study=study, arm=arm, size=size, trials=0, words="set by hand")
    words = (
        f"{tuned.chosen}: best of {tuned.trials} trials on validation problems, {tuned.budget:.3g} FLOPs and "
        f"{tuned.runs} seeds each, commit {tuned.commit}"
    )
    return SettingsRow(study=study, arm=arm, size=size, trials=tuned.trials, words=words)
