"""Any data set of reasoning-gym (extra `reasoning_gym`), character by character, by its own scorer.

The question is the prompt, its answer the completion; there is no chain and no axis of shift. The
package's own items are seeded with seed + index, so that neighbouring seeds share items: here an
item's number is a hash, and its question's hash says which split it belongs to. Items that do not
fit, have no answer in writing, or hold other characters than printable ASCII are passed over.

Some scorers evaluate what was answered as a formula: a long power tower in an answer takes its time.
"""

import importlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from arena.config import ConfigError, TaskConfig, require
from arena.tasks.base import Problem, Task, Verdict, edit_distance, stream

SYMBOLS = "".join(map(chr, range(32, 127))) + "\n→¶¤"
OPEN, END, PAD = range(96, 99)
HELD_OUT = {0: "val", 1: "test"}
"""Hash of the question modulo 20 of the held-out splits: 5% each."""
SHOWN = 16
"""Items that are looked at before anything is trained."""
NUMBERS = 2**31
"""Items of a data set; their numbers must stay small enough for the generators' seeds."""


@dataclass(frozen=True, kw_only=True)
class ReasoningGym(TaskConfig):
    """A data set of reasoning-gym."""

    kind: str = "reasoning_gym"
    dataset: str = MISSING
    """Its name in the package, such as chain_sum."""
    settings: tuple[str, ...] = ()
    """Its own settings, key=value each, such as max_terms=2."""
    prompt: int = 96
    """Most characters of a question; longer ones are passed over."""
    answer: int = 16
    """Most characters of an answer; longer ones are passed over."""

    def __post_init__(self) -> None:
        # Composed from YAML they are a list; a configuration must be hashable.
        object.__setattr__(self, "settings", tuple(self.settings))

    def validate(self) -> None:
        super().validate()
        require(1 <= self.prompt <= 8192, f"task.prompt={self.prompt}: must lie between 1 and 8192")
        require(1 <= self.answer <= 4096, f"task.answer={self.answer}: must lie between 1 and 4096")
        for setting in self.settings:
            require("=" in setting, f"task.settings={setting}: write key=value")


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbered(Problem):
    """A problem that says which item it is, for its scorer."""

    number: int


class ReasoningGymTask(Task):
    """See the module's text. Vocabulary 99: printable ASCII, newline, answer, end, pad."""

    vocabulary = len(SYMBOLS)
    end = END
    pad = PAD
    verifiable = ReasoningGym.verifiable
    symbols = SYMBOLS

    def __init__(self, config: ReasoningGym) -> None:
        self.config = config
        self.axes = {"dataset": 1}
        self.package = _package()
        self.settings = _settings(config)
        self.dataset = self._create(seed=0)
        self.dataset.size = NUMBERS  # the numbers that it takes; items are made when asked for
        shown = [self._entry(number) for number in range(SHOWN)]
        troubles = [self._trouble(entry) for entry in shown]
        if all(troubles):
            raise ConfigError(f"task.dataset={config.dataset}: {troubles[0]}")
        for entry in (e for e, trouble in zip(shown, troubles, strict=True) if not trouble):
            require(
                self.dataset.score_answer(entry["answer"], entry) >= 1,
                f"task.dataset={config.dataset}: its scorer refuses its own answer {entry['answer']!r}; "
                "choose another data set",
            )

    def problem(self, split: str, seed: int, index: int, severity: int = 0, axis: str = "") -> Problem:
        name = self.placed(severity, axis, split)
        for attempt in range(10_000):
            number = stream("reasoning_gym", split, seed, index, attempt) % NUMBERS
            entry = self._entry(number)
            if self._trouble(entry) or member(entry["question"]) != split:
                continue
            return Numbered(
                prompt=(*self.tokens(entry["question"]), OPEN),
                answer=(*self.tokens(entry["answer"]), END),
                axis=name,
                number=number,
            )
        raise ConfigError(
            f"task.dataset={self.config.dataset}: no item of 10000 belongs to the {split} split and fits; it "
            "has too few distinct questions, or raise task.prompt and task.answer"
        )

    def longest(self, severity: int = 0, axis: str = "") -> tuple[int, int]:
        self.placed(severity, axis)
        return self.config.prompt + 1, self.config.answer + 1

    def guess_rate(self, severity: int = 0, axis: str = "") -> float:
        """Well-formed: any characters, as many as the answer has; the mean over 32 problems."""
        self.placed(severity, axis)
        lengths = [len(self.problem("val", 0, i).answer) - 1 for i in range(32)]
        return sum(96.0**-n for n in lengths) / len(lengths)

    def verify(self, problem: Problem, completion: Sequence[int]) -> Verdict:
        assert isinstance(problem, Numbered)
        tokens = tuple(completion)
        ended = END in tokens
        told = self.text(tokens[: tokens.index(END)] if ended else tokens)
        return Verdict(
            correct=ended and self._score(told, self._entry(problem.number)) >= 1,
            chain_correct=True,
            plan_correct=True,
            edit_distance=edit_distance(tokens[: len(told) + ended], problem.answer),
        )

    def fingerprint(self) -> dict[str, Any]:
        version = importlib.metadata.version("reasoning-gym")
        return {"generator": f"reasoning_gym {self.config.dataset}", "version": f"1 on {version}"}

    def _score(self, told: str, entry: dict[str, Any]) -> float:
        try:
            return float(self.dataset.score_answer(told, entry))
        except Exception:
            # Scorers parse what was answered; what they cannot read is not right.
            return 0.0

    def _create(self, **options: int) -> Any:
        known = self.package.factory.DATASETS
        require(
            self.config.dataset in known,
            f"task.dataset={self.config.dataset}: reasoning-gym has none of this name; it has "
            f"{', '.join(sorted(known))}",
        )
        try:
            return self.package.create_dataset(self.config.dataset, **self.settings, **options)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            given = ",".join(self.config.settings)
            raise ConfigError(
                f"task.dataset={self.config.dataset}, task.settings={given}: refused ({reason}); see the "
                "data set's configuration in reasoning-gym"
            ) from error

    def _entry(self, number: int) -> dict[str, Any]:
        try:
            return self.dataset[number]
        except IndexError:
            # A few data sets make their items beforehand.
            return self._create(seed=number, size=1)[0]

    def _trouble(self, entry: dict[str, Any]) -> str:
        """Why an item cannot be used; empty if it can."""
        question, answer = entry["question"], entry["answer"]
        if not isinstance(answer, str) or not answer:
            return "its items have no answer in writing; choose another data set"
        strange = sorted(set(question + answer) - set(SYMBOLS[:OPEN]))
        if strange:
            return f"its items hold {' '.join(strange)}, no printable ASCII; choose another data set"
        for key, text in (("prompt", question), ("answer", answer)):
            most = getattr(self.config, key)
            if len(text) > most:
                return f"task.{key}={most} is too few for its items, of {len(text)} characters; raise it"
        return ""


def member(question: str) -> str:
    """The split that a question belongs to: the content alone decides."""
    return HELD_OUT.get(stream("reasoning_gym held out", question) % 20, "train")


def _package() -> Any:
    try:
        return importlib.import_module("reasoning_gym")
    except ImportError as error:
        raise ConfigError(
            "task=reasoning_gym: needs the extra `reasoning_gym`; pip install 'ebt-arena[reasoning_gym]'"
        ) from error


def _settings(config: ReasoningGym) -> dict[str, Any]:
    try:
        found = OmegaConf.to_container(OmegaConf.from_dotlist(list(config.settings)))
    except OmegaConfBaseException as error:
        raise ConfigError(f"task.settings={','.join(config.settings)}: write key=value each") from error
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}
