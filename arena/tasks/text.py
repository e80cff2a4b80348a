"""Next-byte prediction. A problem is a window: its first byte is given, the others are predicted.

Severity 0 is held-out text of the same source; severity 1, for the default corpus, is the other
domain: documentation prose.
"""

from collections.abc import Sequence
from typing import Any

from arena.config import ConfigError, HFText, Text
from arena.tasks import corpus
from arena.tasks.base import SPLITS, Problem, Task, Verdict, edit_distance, stream


class TextTask(Task):
    """Vocabulary: the 256 bytes. There is no end token; every window has the same length."""

    vocabulary = 256
    end = None
    pad = 0
    verifiable = Text.verifiable
    symbols = "".join(map(chr, range(256)))

    def __init__(self, config: Text | HFText) -> None:
        self.config = config
        if isinstance(config, HFText):
            self.corpus = corpus.hub(config)
        elif config.path is not None:
            self.corpus = corpus.local(config.path)
        else:
            self.corpus = corpus.standard_library()
        self.axes = {"domain": 2 if isinstance(config, Text) and config.path is None else 1}
        window = config.context + 1
        for name in SPLITS:
            size = len(self.corpus.split(name))
            if size < window:
                raise ConfigError(
                    f"task.context={config.context}: the {name} split holds {size} bytes, a window needs "
                    f"{window}; give more text or a smaller context"
                )

    @classmethod
    def tokens(cls, text: str) -> list[int]:
        return list(text.encode())

    def problem(self, split: str, seed: int, index: int, severity: int = 0, axis: str = "") -> Problem:
        self.placed(severity, axis, split)
        source = corpus.documentation() if severity else self.corpus.split(split)
        bits = stream("text", split, seed, index, severity)
        start = bits % (len(source) - self.config.context)
        window = source[start : start + self.config.context + 1]
        return Problem(prompt=(window[0],), answer=tuple(window[1:]), axis="domain", severity=severity)

    def longest(self, severity: int = 0, axis: str = "") -> tuple[int, int]:
        self.placed(severity, axis)
        return 1, self.config.context

    def guess_rate(self, severity: int = 0, axis: str = "") -> float:
        """Well-formed: any bytes, as many as the window predicts."""
        self.placed(severity, axis)
        return 256.0**-self.config.context

    def verify(self, problem: Problem, completion: Sequence[int]) -> Verdict:
        right = tuple(completion) == problem.answer
        return Verdict(
            correct=right,
            chain_correct=True,
            plan_correct=True,
            edit_distance=edit_distance(tuple(completion), problem.answer),
        )

    def fingerprint(self) -> dict[str, Any]:
        return {"corpus": self.corpus.source, "sha256": self.corpus.digest, "bytes": len(self.corpus.train)}
