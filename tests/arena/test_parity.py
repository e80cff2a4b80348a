"""Parity in two forms; the verifier takes either."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.config import ConfigError
from arena.tasks.parity import Parity, ParityTask
from arena.token_classes import EXECUTE, FORMAT


def parity(**settings: Any) -> ParityTask:
    config = Parity(name="parity", **settings)
    config.validate()
    return ParityTask(config)


@given(
    st.integers(9, 20),
    st.integers(0, 8),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.sampled_from(["train", "val", "test"]),
)
def test_every_problem_is_a_parity_in_one_of_two_forms(
    bits: int, severity: int, seed: int, index: int, split: str
) -> None:
    task = parity(bits=bits, share=0.5)
    problem = task.problem(split, seed, index, severity)
    assert problem == parity(bits=bits, share=0.5).problem(split, seed, index, severity, "bits")
    asked, told = task.text(problem.prompt), task.text(problem.completion)
    assert len(asked) == bits + severity + 1
    answer = str(asked.count("1") % 2)
    steps = "".join(str(asked[:i].count("1") % 2) for i in range(1, len(asked)))
    assert told in (f">{answer}.", f"{steps}>{answer}.")
    assert problem.classes == (EXECUTE,) * (len(problem.chain) - 1) + (FORMAT,)
    # Either form is right, whichever it was drawn with.
    for form in (f">{answer}.", f"{steps}>{answer}."):
        assert len(form) <= task.longest(severity)[1]
        verdict = task.verify(problem, task.tokens(form))
        assert verdict.correct
        assert verdict.chain_correct
    other = str(1 - int(answer))
    assert not task.verify(problem, task.tokens(f"{steps}>{other}.")).correct
    assert not task.verify(problem, task.tokens(f">{answer}")).correct
    # A wrong chain before the right answer is found out, and paid all the same.
    wrong = task.verify(problem, task.tokens(f"{steps[:-1]}{other}>{answer}."))
    assert wrong.correct
    assert not wrong.chain_correct
    assert not task.verify(problem, task.tokens(f"{answer}.")).chain_correct
    assert not task.verify(problem, ()).correct


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_long_form_comes_at_its_share_whatever_the_bits(share: float) -> None:
    task = parity(share=share)
    drawn = [task.problem("train", 0, i) for i in range(2000)]
    long = [len(p.chain) > 1 for p in drawn]
    assert sum(long) / 2000 == pytest.approx(share, abs=0.03)
    if share == 0.25:
        for place in range(16):
            ones = [w for w, p in zip(long, drawn, strict=True) if p.prompt[place]]
            assert sum(ones) / len(ones) == pytest.approx(share, abs=0.05)


def test_no_held_out_bits_are_ever_trained_on() -> None:
    task = parity(bits=10)
    seen = {
        s: {task.problem(s, seed, i).prompt for seed in range(2) for i in range(2000)}
        for s in ("train", "val", "test")
    }
    assert not seen["train"] & seen["val"]
    assert not seen["train"] & seen["test"]
    assert not seen["val"] & seen["test"]
    assert len(seen["train"]) > 800
    assert len(seen["val"]) + len(seen["test"]) > 60


def test_half_of_all_guesses_are_right() -> None:
    task = parity()
    assert task.guess_rate() == task.guess_rate(8) == 0.5
    ones = sum(task.problem("test", 0, i).answer[0] for i in range(1000))
    assert ones / 1000 == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bits": 8}, "task.bits=8"),
        ({"bits": 201}, "task.bits=201"),
        ({"share": 1.5}, "task.share=1.5"),
        ({"share": -0.1}, "task.share=-0.1"),
        ({"batch": 0}, "task.batch=0"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parity(**settings)
    assert message in str(error.value)


def test_impossible_shifts_are_named() -> None:
    with pytest.raises(ConfigError, match=r"severity=9, axis=bits: .*bits 0 to 8"):
        parity().longest(9)
    with pytest.raises(ConfigError, match="axis=digits"):
        parity().problem("test", 0, 0, 1, "digits")
