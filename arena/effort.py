"""An effort: one way of an arm to answer, or to compute a likelihood, as a value.

Records and ladders hold its name; this module alone takes names apart.

    greedy        KIND       a way that has no number
    think_8       KIND_K     K steps of one kind
    think_8x4     KIND_KxR   R restarts of K steps, of which one is kept
    majority@16   RULE@K     K samples, at least 2, of which a rule keeps one

Kinds and rules are open: a family that answers with `refine_3` needs no entry in any list. MEANINGS explains
those that exist here. Nothing but the standard library is imported.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

GREEDY, SAMPLE, START = "greedy", "sample", "start"
"""Kinds of an answer that have no number: the most probable token, a draw, the start before any step."""
LIKELIHOOD, BOUND = "likelihood", "bound"
"""Kinds of a likelihood that have no number: exact, and bounded."""
ORACLE = "oracle"
"""The rule that asks whether an answer is right: pass@k, a bound and not a way to answer."""

MEANINGS = {
    GREEDY: "The most probable token, one after the other.",
    SAMPLE: "Tokens drawn at temperature 1. What is gained by reward is measured so.",
    LIKELIHOOD: "Loss of the reference answer, nothing generated.",
    BOUND: "Upper bound on the loss of the reference answer, nothing generated.",
    "majority@K": "The most frequent of K sampled answers.",
    "likelihood@K": "The most probable of K sampled answers.",
    "energy@K": "The one of lowest energy of K sampled answers.",
    "joint@K": "The most probable of K sampled answers under policy and energy together.",
    "oracle@K": "Right if any of K samples is: a bound, since it looks at the answer.",
    START: "The head's own prediction, before any step of descent.",
    "think_K": "K steps of descent on the energy.",
    "think_KxR": "K steps from each of R starts, the one of lowest energy taken.",
    "unmask_K": "Masked diffusion in K steps.",
    "loop_K": "The same blocks applied K times.",
}
"""What an effort is, by its form."""

_WORD, _NUMBER = r"[a-z]+(?:_[a-z]+)*", r"[1-9][0-9]*"
_STEPS = re.compile(rf"(?P<kind>{_WORD})(?:_(?P<steps>{_NUMBER})(?:x(?P<restarts>{_NUMBER}))?)?")
_SELECTION = re.compile(rf"(?P<rule>{_WORD})@(?!1$)(?P<samples>{_NUMBER})")
_GRAMMAR = (
    "not the name of an effort; write KIND, KIND_K for K steps, KIND_KxR for R restarts of them, or RULE@K "
    "for one of K samples (at least 2)"
)


@dataclass(frozen=True, kw_only=True)
class Effort:
    """One way to answer; equal efforts have equal names."""

    kind: str
    """What produces the answer: greedy, sample, think, unmask, loop ..."""
    steps: int = 0
    """Steps of that kind; 0: the kind has no number."""
    restarts: int = 1
    """Runs of so many steps, from different starts."""
    samples: int = 1
    """Answers drawn."""
    selection: str = ""
    """Rule that keeps one of the samples; empty: there is no choice."""

    @classmethod
    def match(cls, text: str) -> Self | None:
        """The effort of a name; None if it is not the name of one."""
        if selected := _SELECTION.fullmatch(text):
            return cls(kind=SAMPLE, samples=int(selected["samples"]), selection=selected["rule"])
        if stepped := _STEPS.fullmatch(text):
            steps, restarts = int(stepped["steps"] or 0), int(stepped["restarts"] or 1)
            return cls(kind=stepped["kind"], steps=steps, restarts=restarts)
        return None

    @classmethod
    def parse(cls, text: str, forms: Collection[str] = (), remedy: str = _GRAMMAR) -> Self:
        """The effort of a name.

        Args:
            forms: the forms that will do; empty: all.
            remedy: what to write instead, such as "write think_8 for 8 steps".
        Raises:
            ValueError: not the name of an effort, or of one that will not do.
        """
        effort = cls.match(text)
        if effort is None or (forms and effort.form not in forms):
            raise ValueError(f"effort={text}: {remedy}")
        return effort

    def __str__(self) -> str:
        """Its name; `parse` gives the same effort again."""
        return self._named(str(self.steps), str(self.restarts), str(self.samples))

    @property
    def form(self) -> str:
        """Its name with letters in place of numbers: think_K, think_KxR, majority@K."""
        return self._named("K", "R", "K")

    def _named(self, steps: str, restarts: str, samples: str) -> str:
        if self.selection:
            return f"{self.selection}@{samples}"
        name = f"{self.kind}_{steps}" if self.steps else self.kind
        return f"{name}x{restarts}" if self.restarts > 1 else name

    @property
    def meaning(self) -> str:
        """One sentence; of a kind or rule that MEANINGS lacks it repeats the form, or is empty."""
        if self.form in MEANINGS:
            return MEANINGS[self.form]
        if self.selection:
            return f"One of K sampled answers, chosen by the rule {self.selection}."
        if self.restarts > 1:
            return f"K steps of the kind {self.kind}, from each of R starts."
        return f"K steps of the kind {self.kind}." if self.steps else ""

    @property
    def thinks(self) -> bool:
        """Whether it is one of several that differ in steps of thinking alone: the start before the first
        step, or any number of steps."""
        return self.kind == START or self.steps > 0

    @property
    def oracle(self) -> bool:
        """Whether it looks at the answer."""
        return self.selection == ORACLE

    @property
    def deployable(self) -> bool:
        """Whether it can be used where the answer is not known."""
        return not self.oracle


def vocabulary(names: Iterable[str]) -> dict[str, str]:
    """Form and meaning of the efforts among some names: those of MEANINGS in its order, then the others."""
    efforts = [effort for name in dict.fromkeys(names) if (effort := Effort.match(name)) is not None]
    meanings = {effort.form: effort.meaning for effort in efforts if effort.meaning}
    order = [*(form for form in MEANINGS if form in meanings), *meanings]
    return {form: meanings[form] for form in order}
