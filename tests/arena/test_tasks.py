"""Problems are pure functions, splits never share an item, verifiers agree with arithmetic."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.config import Addition, ConfigError, HFText, Text
from arena.data import held_out
from arena.tasks import build_task
from arena.tasks.addition import END, EQUALS, OPEN, PLUS, AdditionTask, member
from arena.tasks.base import edit_distance
from arena.token_classes import EXECUTE, FORMAT


def addition(**settings: object) -> AdditionTask:
    return AdditionTask(Addition(name="addition", **settings))  # pyright: ignore[reportArgumentType]


def numbers(tokens: tuple[int, ...]) -> int:
    return int("".join(map(str, reversed(tokens))))


@given(
    st.integers(0, 2**31), st.integers(0, 10**6), st.sampled_from(["train", "val", "test"]), st.integers(0, 3)
)
def test_addition_asks_and_answers_a_sum(seed: int, index: int, split: str, severity: int) -> None:
    task = addition(min_digits=2, max_digits=3, chain=True)
    problem = task.problem(split, seed, index, severity)
    cut = problem.prompt.index(PLUS)
    a, b = numbers(problem.prompt[:cut]), numbers(problem.prompt[cut + 1 : -1])
    assert problem.prompt[-1] == EQUALS
    assert numbers(problem.answer[:-1]) == a + b
    assert problem.answer[-1] == END
    digits = cut
    assert (digits == 3 + severity) if severity else digits in (2, 3)
    # The chain: one carry a place, against a plain definition of carrying.
    carries = problem.chain[:-1]
    assert problem.chain[-1] == OPEN
    assert carries == tuple(
        int(a % 10 ** (i + 1) + b % 10 ** (i + 1) >= 10 ** (i + 1)) for i in range(digits)
    )
    assert problem.classes == (EXECUTE,) * digits + (FORMAT,)
    prompt, completion = task.longest(severity)
    assert len(problem.prompt) <= prompt
    assert len(problem.completion) <= completion


def test_the_worked_example() -> None:
    task = addition()
    problem = task._problem(123, 456, 3, 0)
    assert task.text(problem.prompt) == "321+654="
    assert task.text(problem.answer) == "9750."


def test_items_depend_on_nothing_but_their_arguments() -> None:
    task = addition()
    forwards = [task.problem("train", 1, i) for i in range(20)]
    backwards = [addition().problem("train", 1, i) for i in reversed(range(20))]
    assert forwards == backwards[::-1]
    assert task.problem("train", 2, 0) != forwards[0]


def test_no_held_out_problem_is_ever_trained_on() -> None:
    task = addition(min_digits=2, max_digits=2)
    seen = {
        s: {task.problem(s, seed, i).prompt for seed in range(3) for i in range(400)}
        for s in ("train", "val", "test")
    }
    assert not seen["train"] & seen["val"]
    assert not seen["train"] & seen["test"]
    assert not seen["val"] & seen["test"]
    mirrored = {(*p[3:5], PLUS, *p[:2], EQUALS) for p in seen["train"]}
    assert not mirrored & (seen["val"] | seen["test"])
    # About one pair in twenty belongs to each held-out split.
    assert 250 < len({task.problem("val", 0, i).prompt for i in range(4000)}) < 560


def test_both_orders_of_a_sum_are_in_one_split() -> None:
    pairs = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    splits = {pair: member(*pair) for pair in pairs}
    assert all(splits[a, b] == splits[b, a] for a, b in pairs)
    assert Counter(splits.values()) == {"train": 7306, "val": 419, "test": 375}
    task = addition(min_digits=2, max_digits=2)
    for split in ("val", "test"):
        drawn = {p.prompt for p in held_out(task, split, 500)}
        assert drawn == {(*b, PLUS, *a, EQUALS) for a, b in ((p[:2], p[3:5]) for p in drawn)}
    # Part of a cell's identity: cells of version 1 held out each order by itself.
    assert task.fingerprint() == {"generator": "addition", "version": 2}


def test_the_verifier_wants_the_answer_and_its_end() -> None:
    task = addition(chain=True)
    problem = task._problem(95, 17, 2, 0)
    right = problem.completion
    assert task.verify(problem, right).correct
    assert task.verify(problem, (*right, 3, 4)).correct
    assert not task.verify(problem, right[:-1]).correct
    wrong_chain = (1 - right[0], *right[1:])
    verdict = task.verify(problem, wrong_chain)
    assert verdict.correct
    assert not verdict.chain_correct
    wrong = task.verify(problem, (*problem.chain, 3, 1, 1, END))
    assert not wrong.correct
    assert wrong.edit_distance == pytest.approx(0.25)
    assert not task.verify(problem, ()).correct


@pytest.mark.parametrize(
    ("a", "b", "distance"), [("", "", 0), ("ab", "ab", 0), ("ab", "b", 0.5), ("abc", "axc", 1 / 3)]
)
def test_edit_distance_by_hand(a: str, b: str, distance: float) -> None:
    assert edit_distance([*map(ord, a)], [*map(ord, b)]) == pytest.approx(distance)


def test_impossible_severities_are_refused() -> None:
    task = addition()
    for ask in (lambda: task.problem("val", 0, 0, 9), lambda: task.longest(9), lambda: task.guess_rate(9)):
        with pytest.raises(ConfigError, match=r"severity=9, axis=digits: .* digits 0 to 8"):
            ask()
    with pytest.raises(ConfigError, match=r"axis=length: .* digits 0 to 8"):
        task.problem("val", 0, 0, 1, "length")
    with pytest.raises(ConfigError, match="split=dev"):
        task.problem("dev", 0, 0)
    with pytest.raises(ConfigError, match="min_digits"):
        Addition(name="a", min_digits=4, max_digits=3).validate()


def test_an_axis_may_be_named_or_left_to_be_the_first() -> None:
    task = addition()
    assert task.problem("val", 0, 3, 2) == task.problem("val", 0, 3, 2, "digits")
    assert task.shifts(3) == [("digits", 0), ("digits", 1), ("digits", 2)]
    assert task.shifts(100)[-1] == ("digits", 8)
    assert task.shifts(1) == [("digits", 0)]


def test_the_guess_rate_of_a_sum_counts_its_digits() -> None:
    # Operands of 2 or 3 digits: 3 or 4 digits of answer, each one of ten.
    assert addition(min_digits=2, max_digits=3).guess_rate() == pytest.approx((1e-3 + 1e-4) / 2)
    assert addition(min_digits=2, max_digits=3).guess_rate(2) == pytest.approx(1e-6)


def test_text_windows_come_from_their_own_split_only(tmp_path) -> None:
    for i in range(40):
        (tmp_path / f"{i:02d}.txt").write_bytes(bytes([32 + i]) * 3000)
    task = build_task(Text(name="text", path=str(tmp_path), context=16))
    seen = {
        s: {b for i in range(300) for b in task.problem(s, 0, i).answer} - {10}
        for s in ("train", "val", "test")
    }
    assert not seen["train"] & seen["val"]
    assert not seen["train"] & seen["test"]
    assert not seen["val"] & seen["test"]
    assert len(seen["val"]) == 2
    problem = task.problem("train", 3, 5)
    assert (len(problem.prompt), len(problem.answer)) == (1, 16)
    assert task.verify(problem, problem.answer).correct


def test_the_standard_library_is_a_corpus_with_another_domain() -> None:
    task = build_task(Text(name="text"))
    assert task.axes == {"domain": 2}
    assert task.fingerprint()["bytes"] > 2_000_000
    assert task.problem("test", 0, 0, 0) != task.problem("test", 0, 0, 1)


@pytest.mark.parametrize("content", [None, b"", b"   "])
def test_a_missing_or_empty_corpus_is_one_clear_error(tmp_path, content: bytes | None) -> None:
    path = tmp_path / "corpus.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"corpus\.txt.*give") as error:
        build_task(Text(name="text", path=str(path)))
    assert "\n" not in str(error.value)


def test_a_corpus_from_the_hub_loader_is_split_like_any_other(tmp_path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "lines.txt").write_text("\n".join(f"line {i} of a small corpus" for i in range(400)))
    config = HFText(
        name="hf", dataset="text", data_files=str(tmp_path / "lines.txt"), documents=300, context=16
    )
    task = build_task(config)
    assert len(task.problem("val", 0, 0).answer) == 16
    missing = HFText(name="hf", dataset="text", data_files=str(tmp_path / "none.txt"))
    with pytest.raises(ConfigError, match=r"task\.dataset=text"):
        build_task(missing)
