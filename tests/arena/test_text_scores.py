"""BLEU and edit distance against numbers worked out by hand."""

import math

import pytest

from arena.tasks.text_scores import bleu, scores

CHAIN = ["F", "G", "H", "I", "[F2]", "<answer>", "G", "H", "I", "F"]


def test_bleu_is_the_geometric_mean_of_the_shares_of_runs_that_match() -> None:
    # Of 10, 9, 8 and 7 runs of one to four words, the first 6, 5, 4 and 3 match.
    words = [*CHAIN[:6], *"WXYZ"]
    assert bleu(words, CHAIN) == pytest.approx((6 / 10 * 5 / 9 * 4 / 8 * 3 / 7) ** 0.25)


def test_a_word_counts_no_more_often_than_the_reference_has_it() -> None:
    # F F F F F: F twice of five; of longer runs none, which count as .1 of 4, 3 and 2.
    brevity = math.exp(1 - 10 / 5)
    assert bleu(["F"] * 5, CHAIN) == pytest.approx(brevity * (2 / 5 * 0.1 / 4 * 0.1 / 3 * 0.1 / 2) ** 0.25)


def test_a_longer_text_pays_by_its_shares_and_a_shorter_one_by_its_length() -> None:
    assert bleu(CHAIN[:5], CHAIN) == pytest.approx(math.exp(-1))
    assert bleu([*CHAIN, "X"], CHAIN) == pytest.approx((10 / 11 * 9 / 10 * 8 / 9 * 7 / 8) ** 0.25)


def test_equal_texts_nothing_in_common_and_no_text() -> None:
    text = " ".join(CHAIN)
    assert scores(text, text) == {"text": 1, "text_edit": 0, "text_bleu": pytest.approx(1)}
    assert scores("W X", "A B") == {"text": 0, "text_edit": pytest.approx(2 / 3), "text_bleu": 0}
    assert scores("", "A B") == {"text": 0, "text_edit": 1, "text_bleu": 0}
