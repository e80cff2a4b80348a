"""DataAlchemy: transformations of strings, shifted along five axes (arXiv 2508.01191).

`ABCD12=` asks for ABCD turned by f1, then by f2; the answer is `GHIF.`. With the chain, every result
in between is written first with the transformations that remain, `FGHI2>`, steps apart by `;`.
f1 turns each letter by `rotation` places, f2 moves the first letter to the end, f3 reverses, f4
turns by `second_rotation`. An element's own hash holds it out, under every composition.

Axes of shift, severities from 1 up (0: held-out elements, everything else as trained):

task     new compositions of trained transformations (CMP); one trained and one not (POOD); none
         trained (OOD); of these, those that are configured
element  one adjacent pair of letters that no training element has (CMP); one letter that none has;
         only such letters (OOD). Turning may have produced them, as in the paper
length   elements this much shorter or longer than trained
steps    this many transformations fewer or more than trained
format   noise on the prompt at rising rates, one token of it at least; what is asked for stays the answer
         to the clean prompt

Defects of the public code (github.com/ChengshuaiZhao0/DataAlchemy at 078bb28), and what is done here:

- f1 is ROT-13, an involution: f1f1 is the identity, its answer the prompt copied. Here f1 turns by
  `rotation`, 5 unless the paper's setting asks for 13.
- f1 and f2 commute: f1f2 and f2f1 have the same answers. A composition that does what a trained one does
  is refused as a shift.
- ID is tested on elements of training. Here an element's hash holds it out, under every composition.
- Noise of rate p leaves (1 - p)^6 of the prompts untouched, .74 to .12 of them. Here such a prompt is drawn
  again: on average 19, 21, 27 and 34% of its tokens are hit, not 5, 10, 20 and 30%.
- A prompt with noise is cut off the decoded text by its length, but its <unk> are no longer in there: a
  perfect answer scores wrong. Here a completion is tokens, apart from its prompt.
- Rules and marks are split by BPE, so that [F1] is four tokens. Here every letter and rule is one.
- The share of new data that is commented as 1% is .0001. Here there is no such share.

`scores` are the public metrics, of chain and answer as one text. They have a floor: to do f1f1 whatever is
asked is .167 and .300 from f1f2 and f2f2, and a random answer after a perfect chain .132: these are the
paper's distances (docs/dataalchemy.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arena.config import ConfigError, TaskConfig, require, require_choice
from arena.tasks.base import Problem, Task, Verdict, edit_distance, stream
from arena.tasks.draws import Dice
from arena.tasks.text_scores import scores
from arena.token_classes import EXECUTE, FORMAT, PLAN

LETTERS = 26
F1, F2, F3, F4, EQUALS, NEXT, OPEN, END, NOISE, PAD = range(LETTERS, LETTERS + 10)
SYMBOLS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ1234=;>.*_"
WORDS = {F1: "[F1]", F2: "[F2]", F3: "[F3]", F4: "[F4]", NEXT: "<think>", OPEN: "<answer>", NOISE: "<unk>"}
"""The public code's words for tokens that are no letters."""
HELD_OUT = {0: "val", 1: "test"}
"""An element's hash modulo 20, of the held-out splits: 5% each."""
NOISES = ("insert", "delete", "modify")
RATES = (0.0, 0.05, 0.1, 0.2, 0.3)
"""Chance that noise hits a token of the prompt, by severity of format (paper: 5 to 30%)."""
FEWEST = 400
"""Training elements that must exist, so that each held-out split has some 20."""

Element = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DataAlchemy(TaskConfig):
    """Transformed strings. Compositions are written as their transformations, applied left to right."""

    kind: str = "dataalchemy"
    chain: bool = True
    """Whether the results in between are written (and supervised) before the answer."""
    length: int = 4
    """Letters of a training element (paper: 4)."""
    letters: int = 16
    """Letters that training elements are made of, from A; the other ones are the axis element's unseen."""
    pairs: float = 0.2
    """Share of ordered pairs of letters that never stand side by side in a training element."""
    rotation: int = 5
    """Places that f1 turns a letter (paper: 13, which makes f1f1 the identity)."""
    second_rotation: int = 9
    """Places that f4 turns a letter."""
    train: tuple[str, ...] = ("11", "12", "21")
    """Compositions of training, all of one length."""
    composed: tuple[str, ...] = ("22",)
    """Shift task, CMP: of trained transformations only."""
    partial: tuple[str, ...] = ("13", "31", "23", "32")
    """Shift task, POOD: of trained and other transformations."""
    unseen: tuple[str, ...] = ("34", "43")
    """Shift task, OOD: of other transformations only."""
    noise: str = "insert"
    """Shift format: insert a noise token before a token, delete or modify (replace by noise) a token, or
    hybrid, any of them. Only under insert does the prompt still determine the answer."""

    def __post_init__(self) -> None:
        for key in ("train", "composed", "partial", "unseen"):
            # Composed from YAML they are lists; a configuration must be hashable.
            object.__setattr__(self, key, tuple(getattr(self, key)))

    @property
    def steps(self) -> int:
        """Transformations of a training composition."""
        return len(self.train[0])

    @property
    def withheld(self) -> int:
        """Successors of each training letter that never follow it in training."""
        return round(self.pairs * self.letters)

    def validate(self) -> None:
        super().validate()
        require(2 <= self.length <= 20, f"task.length={self.length}: must lie between 2 and 20")
        require(2 <= self.letters <= LETTERS, f"task.letters={self.letters}: must lie between 2 and 26")
        for key in ("rotation", "second_rotation"):
            value = getattr(self, key)
            require(0 < value < LETTERS, f"task.{key}={value}: must lie between 1 and {LETTERS - 1}")
        require(
            self.rotation != self.second_rotation,
            f"task.second_rotation={self.second_rotation}: equals task.rotation; f4 must differ from f1",
        )
        require(0 <= self.pairs <= 0.5, f"task.pairs={self.pairs}: a share, between 0 and 0.5")
        require(
            self.pairs == 0 or self.withheld > 0,
            f"task.pairs={self.pairs}: less than one of {self.letters} letters; use 0 or more",
        )
        elements = self.letters * (self.letters - self.withheld) ** (self.length - 1)
        require(
            elements >= FEWEST,
            f"task.length={self.length}, task.letters={self.letters}: only {elements} training elements, too "
            f"few to hold any out; give at least {FEWEST} (raise task.letters or task.length)",
        )
        require_choice("task.noise", self.noise, (*NOISES, "hybrid"))
        self._validate_compositions()

    def _validate_compositions(self) -> None:
        require(bool(self.train), "task.train=[]: name at least one composition, such as 11")
        known = set("".join(self.train))
        # Whether each holds trained transformations, and others.
        kinds = {
            "train": (True, False),
            "composed": (True, False),
            "partial": (True, True),
            "unseen": (False, True),
        }
        probe = tuple(range(self.length))
        trained = {self.results(probe, c)[-1]: c for c in self.train if c and not set(c) - set("1234")}
        for key, (old, new) in kinds.items():
            for c in getattr(self, key):
                require(
                    1 <= len(c) == self.steps <= 6 and not set(c) - set("1234"),
                    f"task.{key}={c}: a composition is 1 to 6 of the digits 1 to 4, all of one length",
                )
                require(
                    (bool(set(c) & known), bool(set(c) - known)) == (old, new),
                    f"task.{key}={c} with task.train={','.join(self.train)}: composed holds trained "
                    "transformations only, partial some, unseen none; move it",
                )
                same = trained.get(self.results(probe, c)[-1])
                require(
                    key == "train" or same is None,
                    f"task.{key}={c}: does the same as {same}, which is trained; choose another",
                )

    def results(self, element: Element, composition: str) -> list[Element]:
        """The element after each transformation of a composition."""
        found: list[Element] = []
        for name in composition:
            if name == "2":
                element = (*element[1:], element[0])
            elif name == "3":
                element = element[::-1]
            else:
                places = self.rotation if name == "1" else self.second_rotation
                element = tuple((atom + places) % LETTERS for atom in element)
            found.append(element)
        return found


class DataAlchemyTask(Task):
    """See the module's text. Vocabulary 36: 26 letters, 1 2 3 4 = ; > end noise pad."""

    vocabulary = len(SYMBOLS)
    end = END
    pad = PAD
    verifiable = DataAlchemy.verifiable
    symbols = SYMBOLS

    def __init__(self, config: DataAlchemy) -> None:
        self.config = config
        self.compositions = [c for c in (config.composed, config.partial, config.unseen) if c]
        new_letters = ["one", "all"] if config.letters < LETTERS else []
        self.elements = (["pair"] if config.withheld else []) + new_letters
        axes = {"task": len(self.compositions), "element": len(self.elements), "length": 2, "steps": 2}
        axes["format"] = len(RATES) - 1
        self.axes = {name: 1 + count for name, count in axes.items() if count}
        # By rank of a hash: every letter has as many successors as any other, so walks are uniform.
        ranked = [
            sorted(range(config.letters), key=lambda b: stream("pair", a, b)) for a in range(config.letters)
        ]
        self.new = [row[: config.withheld] for row in ranked]
        self.old = [row[config.withheld :] for row in ranked]

    def problem(self, split: str, seed: int, index: int, severity: int = 0, axis: str = "") -> Problem:
        axis = self.placed(severity, axis, split)
        for attempt in range(10_000):
            dice = Dice("dataalchemy", split, seed, index, axis if severity else "", severity, attempt)
            composition = self._composition(axis, severity, dice)
            element = self._element(axis, severity, dice)
            if member(element) == split:
                return self._problem(element, composition, axis, severity, dice)
        raise ConfigError(
            f"task.length={self.config.length}, task.letters={self.config.letters}: no element of the "
            f"{split} split at severity {severity} of {axis}; raise task.letters or task.length"
        )

    def _composition(self, axis: str, severity: int, dice: Dice) -> str:
        if axis == "task" and severity:
            return dice.pick(self.compositions[severity - 1])
        if axis == "steps" and severity:
            known = sorted(set("".join(self.config.train)))
            steps = dice.pick(_around(self.config.steps, severity, 1))
            return "".join(dice.pick(known) for _ in range(steps))
        return dice.pick(self.config.train)

    def _element(self, axis: str, severity: int, dice: Dice) -> Element:
        config = self.config
        length = config.length
        if axis == "length" and severity:
            length = dice.pick(_around(length, severity, 2))
        kind = self.elements[severity - 1] if axis == "element" and severity else ""
        if kind == "all":
            return tuple(dice.pick(range(config.letters, LETTERS)) for _ in range(length))
        odd = dice.below(length - 1) + 1 if kind == "pair" else -1
        strange = dice.below(length) if kind == "one" else -1
        element: list[int] = []
        for place in range(length):
            if place == strange:
                element.append(dice.pick(range(config.letters, LETTERS)))
            elif not place or element[-1] >= config.letters:
                element.append(dice.below(config.letters))
            else:
                element.append(dice.pick((self.new if place == odd else self.old)[element[-1]]))
        return tuple(element)

    def _problem(self, element: Element, composition: str, axis: str, severity: int, dice: Dice) -> Problem:
        prompt = [*element, *_functions(composition)]
        if axis == "format":
            prompt = self._noisy(prompt, RATES[severity], dice)
        *between, last = self.config.results(element, composition)
        chain: list[int] = []
        classes: list[str] = []
        for done, result in enumerate(between if self.config.chain else (), 1):
            rest = _functions(composition[done:])
            chain += [*result, *rest, NEXT]
            classes += [EXECUTE] * len(result) + [PLAN] * len(rest) + [FORMAT]
        if self.config.chain:
            # The last step is closed by what opens the answer; one transformation goes straight to it.
            chain, classes = [*chain[:-1], OPEN], [*classes[:-1], FORMAT]
        return Problem(
            prompt=(*prompt, EQUALS),
            chain=tuple(chain),
            answer=(*last, END),
            classes=tuple(classes),
            axis=axis,
            severity=severity,
        )

    def _noisy(self, tokens: list[int], rate: float, dice: Dice) -> list[int]:
        hit = [False]
        while not any(hit):
            hit = [dice.below(10_000) < rate * 10_000 for _ in tokens]
        found: list[int] = []
        for token, noised in zip(tokens, hit, strict=True):
            kind = dice.pick(NOISES) if noised and self.config.noise == "hybrid" else self.config.noise
            found += {"insert": [NOISE, token], "delete": [], "modify": [NOISE]}[kind] if noised else [token]
        return found

    def longest(self, severity: int = 0, axis: str = "") -> tuple[int, int]:
        axis = self.placed(severity, axis)
        length, steps = self.config.length, self.config.steps
        length += severity if axis == "length" else 0
        steps += severity if axis == "steps" else 0
        inserts = axis == "format" and severity and self.config.noise in ("insert", "hybrid")
        prompt = (length + steps) * (2 if inserts else 1) + 1
        chain = (steps - 1) * (length + 1) + steps * (steps - 1) // 2 + (steps == 1)
        return prompt, (chain if self.config.chain else 0) + length + 1

    def guess_rate(self, severity: int = 0, axis: str = "") -> float:
        """Well-formed: as many letters as the element has, any of the 26."""
        axis = self.placed(severity, axis)
        length = self.config.length
        lengths = _around(length, severity, 2) if axis == "length" and severity else [length]
        return sum(float(LETTERS) ** -n for n in lengths) / len(lengths)

    def verify(self, problem: Problem, completion: Sequence[int]) -> Verdict:
        tokens = tuple(completion)
        ended = END in tokens
        if ended:
            tokens = tokens[: tokens.index(END) + 1]
        chain, answer = (), tokens
        if problem.chain and OPEN in tokens:
            cut = tokens.index(OPEN) + 1
            chain, answer = tokens[:cut], tokens[cut:]
        plans, elements = _read(chain)
        meant_plans, meant_elements = _read(problem.chain)
        return Verdict(
            correct=ended and answer == problem.answer,
            chain_correct=chain == problem.chain,
            plan_correct=plans == meant_plans,
            execution_correct=elements == meant_elements,
            edit_distance=edit_distance(answer, problem.answer),
        )

    def scores(self, problem: Problem, completion: Sequence[int]) -> dict[str, float]:
        """Of chain and answer as the public code writes and scores them; nothing without a chain."""
        tokens = tuple(completion)
        tokens = tokens[: tokens.index(END)] if END in tokens else tokens
        return scores(_public(tokens), _public(problem.completion[:-1])) if problem.chain else {}

    def fingerprint(self) -> dict[str, Any]:
        # 2: noise hits every prompt.
        return {"generator": "dataalchemy", "version": 2}


def member(element: Element) -> str:
    """The split that an element belongs to, whatever is done to it."""
    return HELD_OUT.get(stream("dataalchemy held out", *element) % 20, "train")


def _public(tokens: Sequence[int]) -> str:
    """Words of the public code, such as `F G H I [F2] <answer> G H I F`."""
    # After a single transformation it has <answer> in the prompt.
    return " ".join(WORDS.get(t, SYMBOLS[t]) for t in tokens).removeprefix("<answer> ")


def _functions(composition: str) -> list[int]:
    return [F1 + int(name) - 1 for name in composition]


def _around(trained: int, distance: int, least: int) -> list[int]:
    """Numbers at a distance from the trained one."""
    return [n for n in (trained - distance, trained + distance) if n >= least]


def _read(chain: Sequence[int]) -> tuple[list[list[int]], list[list[int]]]:
    """Transformations and letters of each step of a chain."""
    plans, elements = [[]], [[]]
    for token in chain:
        if token == NEXT:
            plans.append([])
            elements.append([])
        elif token < LETTERS:
            elements[-1].append(token)
        elif F1 <= token <= F4:
            plans[-1].append(token)
    return plans, elements
