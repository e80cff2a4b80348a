"""Countdown against enumeration of all expressions and Python's own arithmetic."""

import ast
import operator
from fractions import Fraction
from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.config import ConfigError
from arena.tasks.arithmetic import apply, evaluate, expression_values, follow, is_solution
from arena.tasks.countdown import GUESSED, Countdown, CountdownTask, draw, member, question
from arena.tasks.draws import generator
from arena.token_classes import EXECUTE, FORMAT, PLAN


def countdown(**values: object) -> CountdownTask:
    config = Countdown(name="countdown", **values)  # pyright: ignore[reportArgumentType]
    config.validate()
    return CountdownTask(config)


TASK = countdown(chain=True)


OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def python_value(text: str) -> Fraction | None:
    """What Python's own parser makes of the expression, its numbers being fractions."""

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.Constant):
            assert isinstance(node.value, int)
            return Fraction(node.value)
        assert isinstance(node, ast.BinOp)
        return OPERATIONS[type(node.op)](value(node.left), value(node.right))

    try:
        return value(ast.parse(text, mode="eval").body)
    except ZeroDivisionError:
        return None


def every_expression(numbers: list[int]) -> list[str]:
    found = list(map(str, numbers))
    found += [f"{a}{o}{b}" for a, b in permutations(numbers, 2) for o in "+-*/"]
    for (a, b, c), o, p in product(permutations(numbers, 3), "+-*/", "+-*/"):
        found += [f"({a}{o}{b}){p}{c}", f"{a}{o}({b}{p}{c})"]
    return found


EXPRESSIONS = st.recursive(
    st.integers(1, 99).map(str),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map("".join), inner.map(lambda e: f"({e})")
    ),
    max_leaves=6,
)


@given(EXPRESSIONS)
@settings(max_examples=300)
def test_the_parser_agrees_with_python(text: str) -> None:
    expected = python_value(text)
    if expected is None:
        with pytest.raises(ValueError, match="zero"):
            evaluate(text)
    else:
        value, used = evaluate(text)
        assert value == expected
        assert used == [int(n) for n in "".join(c if c.isdigit() else " " for c in text).split()]


NO_NUMBER = ["", "+", "1+", "+1", "-1", "1--1", "()", "1**2", "1//2", "01", "0", "²", "٣", "1+(2", "(("]
NO_END = ["(1", "1)", "(1)(2)", "1 2", "1=1", "1,2", "1_0", "2(3)"]


@pytest.mark.parametrize("text", NO_NUMBER + NO_END)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=" "):
        evaluate(text)
    assert not is_solution(text, [1, 2, 3], 1)


def test_numbers_are_used_at_most_as_often_as_they_are_given() -> None:
    assert is_solution("3+3", [3, 3, 5], 6)
    assert not is_solution("3+3", [3, 4, 5], 6)
    assert not is_solution("6", [3, 4, 5], 6)
    assert not is_solution("2*3", [23, 4, 5], 6)
    # Exact on the way: 8 / (3 - 8 / 3) is 24, which no rounding would find.
    assert is_solution("8/(3-8/3)", [8, 3, 8, 3], 24)
    assert not is_solution("7/3", [7, 3, 1], 2)


@given(
    st.integers(0, 2**31), st.integers(0, 10**6), st.sampled_from(["train", "val", "test"]), st.integers(0, 3)
)
@settings(max_examples=80)
def test_every_problem_has_the_solution_it_supervises(
    seed: int, index: int, split: str, severity: int
) -> None:
    problem = TASK.problem(split, seed, index, severity)
    numbers, target = question(TASK.text(problem.prompt))
    assert len(numbers) == 3
    assert 20 * severity < max(numbers) <= 20 * (severity + 1) or (severity == 0 and max(numbers) <= 20)
    assert 1 <= target <= 999
    assert target not in numbers
    expression = TASK.text(problem.answer)[:-1]
    assert python_value(expression) == target
    assert expression in every_expression(numbers)
    assert problem.answer[-1] == TASK.end
    verdict = TASK.verify(problem, problem.completion)
    assert (verdict.correct, verdict.plan_correct, verdict.chain_correct) == (True, True, True)
    longest = TASK.longest(severity)
    assert len(problem.prompt) <= longest[0]
    assert len(problem.completion) <= longest[1]
    assert TASK.problem(split, seed, index, severity) == problem
    assert member(numbers[::-1], target) == split


def test_the_longest_problem_is_as_long_as_they_say() -> None:
    every = [TASK.problem("train", 0, i) for i in range(3000)]
    assert TASK.longest() == (max(len(p.prompt) for p in every), max(len(p.completion) for p in every))


def test_of_all_expressions_the_verifier_accepts_those_that_make_the_target() -> None:
    task = countdown()
    for index in range(12):
        problem = task.problem("val", 0, index, index % 4)
        numbers, target = question(task.text(problem.prompt))
        several = every_expression(numbers)
        right = {e for e in several if python_value(e) == target}
        accepted = {e for e in several if task.verify(problem, task.tokens(e + ".")).correct}
        assert accepted == right
        assert task.text(problem.answer)[:-1] in right
        assert not task.verify(problem, problem.answer[:-1]).correct
        assert not task.verify(problem, ()).correct


def test_the_values_of_all_expressions_are_pythons() -> None:
    numbers = [4, 4, 7]
    found = expression_values(numbers)
    expected = [python_value(e) for e in every_expression(numbers)]
    assert len(found) == 219

    def count(values: list[Fraction | None]) -> dict[Fraction | None, int]:
        return {v: values.count(v) for v in values}

    assert count(found) == count(expected)


def test_the_guess_rate_is_the_share_of_expressions_that_are_right() -> None:
    task, shares = countdown(), []
    for index in range(GUESSED):
        numbers, target = question(task.text(task.problem("train", 0, index, 1).prompt))
        values = [python_value(e) for e in every_expression(numbers)]
        shares.append(values.count(Fraction(target)) / len(values))
    assert task.guess_rate(1) == pytest.approx(sum(shares) / GUESSED)
    assert 0.005 < task.guess_rate() < 0.05


@pytest.mark.parametrize(
    ("chain", "planned", "right"),
    [
        ("3+5=8,8*7=56", True, True),
        ("8*7=56", False, True),
        ("3+5=9,9*7=63", True, False),
        ("3+5=8,8*7=57", True, False),
        ("3+5=8,3*7=21", False, False),
        ("3+5=8,7*5=35", False, False),
        ("7*3=21,21+5=26", False, True),
        ("3+5=8,8*7", False, False),
        ("", False, False),
        ("3+5=8,,8*7=56", False, False),
    ],
)
def test_a_chain_is_planned_right_and_worked_out_right(chain: str, planned: bool, right: bool) -> None:
    found = follow(chain, [3, 8 if chain == "8*7=56" else 7, 5], 56)
    assert found == (planned, right) or (not planned and not found[0])


def test_the_worked_example() -> None:
    problem = TASK._problem([3, 7, 5], *chosen([3, 7, 5], "(3+5)*7"), 0)
    assert TASK.text(problem.prompt) == "3,7,5:56="
    assert TASK.text(problem.completion) == "3+5=8,8*7=56>(3+5)*7."
    operation = [PLAN] * 3 + [FORMAT]
    assert list(problem.classes) == operation + [EXECUTE, FORMAT] + operation + [EXECUTE] * 2 + [FORMAT]
    wrong = TASK.verify(problem, TASK.tokens("3+5=9,9*7=63>7*(5+3)."))
    assert (wrong.correct, wrong.plan_correct, wrong.chain_correct) == (True, True, False)
    assert not TASK.verify(problem, TASK.tokens("3+5=8,8*7=56>(3+5)*8.")).correct
    assert not TASK.verify(problem, problem.answer).chain_correct


def chosen(numbers: list[int], expression: str):
    """Draws until the expression comes."""
    for i in range(10_000):
        drawn = draw(numbers, generator("test", i))
        if drawn is not None and drawn[1] == expression:
            return drawn
    raise AssertionError(expression)


def test_no_held_out_problem_is_trained_on_in_any_order() -> None:
    task = countdown(max_number=6)
    seen = {
        split: {
            (tuple(sorted(numbers)), target)
            for seed in range(2)
            for i in range(count)
            for numbers, target in [question(task.text(task.problem(split, seed, i).prompt))]
        }
        for split, count in (("train", 3000), ("val", 200), ("test", 200))
    }
    assert len(seen["train"]) < 2500  # so few that it would show if splits met
    assert not seen["train"] & seen["val"]
    assert not seen["train"] & seen["test"]
    assert not seen["val"] & seen["test"]
    assert min(map(len, seen.values())) > 30


def test_division_by_zero_has_no_value() -> None:
    assert apply("/", 1, 0) is None
    assert apply("/", 1, 3) == Fraction(1, 3)


@pytest.mark.parametrize(
    ("number", "message"), [(3, "task.max_number=3"), (100, "task.max_number=100: .* use 4 to 99")]
)
def test_impossible_sizes_are_refused(number: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        countdown(max_number=number)
    assert "\n" not in str(error.value)


def test_the_severities_end_at_two_digits() -> None:
    assert TASK.axes == {"size": 4}
    assert countdown(max_number=60).axes == {"size": 1}
    with pytest.raises(ConfigError, match=r"severity=4, axis=size: .* size 0 to 3"):
        TASK.problem("val", 0, 0, 4)
