"""Scores of a text against another as the public code of arXiv 2508.01191 has them.

Edit distance counts characters, spaces too, over the longer text; BLEU (Papineni et al. 2002) counts runs
of one to four words of one sentence, a count of zero being taken as 0.1 (Chen and Cherry 2014, method 1).
"""

import math
from collections import Counter

from arena.tasks.base import edit_distance

ORDERS = (1, 2, 3, 4)
"""Words of the runs that BLEU counts."""
ZERO = 0.1
"""What stands for a count of zero where longer runs have no match."""


def scores(text: str, reference: str) -> dict[str, float]:
    """`text`: whether they are equal; `text_edit`, a distance; `text_bleu`."""
    return {
        "text": float(text == reference),
        "text_edit": edit_distance([*map(ord, text)], [*map(ord, reference)]),
        "text_bleu": bleu(text.split(), reference.split()),
    }


def bleu(words: list[str], reference: list[str]) -> float:
    """Of one sentence against one reference; 0 without a word in common."""
    shares: list[float] = []
    for order in ORDERS:
        given, meant = (
            Counter(zip(*(w[i:] for i in range(order)), strict=False)) for w in (words, reference)
        )
        matched = (given & meant).total()
        if order == 1 and not matched:
            return 0.0
        shares.append((matched or ZERO) / max(1, given.total()))
    brevity = min(0.0, 1 - len(reference) / len(words))
    return math.exp(brevity + sum(map(math.log, shares)) / len(ORDERS))
