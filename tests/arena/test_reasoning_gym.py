"""reasoning-gym's items, in splits that do not overlap, by its own scorers. Skipped without the extra."""

import re
import sys
from typing import Any

import pytest

from arena.config import ConfigError
from arena.tasks.reasoning_gym import ReasoningGym, ReasoningGymTask


def gym(dataset: str = "chain_sum", **settings: Any) -> ReasoningGymTask:
    config = ReasoningGym(name="gym", dataset=dataset, **settings)
    config.validate()
    return ReasoningGymTask(config)


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(ConfigError, match=r"pip install 'ebt-arena\[reasoning_gym\]'"):
        gym()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": 0}, "task.prompt=0"),
        ({"answer": 5000}, "task.answer=5000"),
        ({"settings": ["max_terms"]}, "task.settings=max_terms: write key=value"),
        ({"batch": 0}, "task.batch=0"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        gym(**settings)
    assert message in str(error.value)


# gsm_symbolic makes its items beforehand and word_ladder refuses numbers beyond its size.
@pytest.mark.parametrize("dataset", ["chain_sum", "word_ladder", "number_sorting", "gsm_symbolic"])
def test_items_are_pure_functions_and_scored_by_their_own_scorer(dataset: str) -> None:
    pytest.importorskip("reasoning_gym")
    task, again = (gym(dataset, prompt=3000, answer=300) for _ in range(2))
    for split in ("train", "val", "test"):
        for i in range(4):
            problem = task.problem(split, 1, i)
            assert problem == again.problem(split, 1, i)
            assert len(problem.prompt) <= task.longest()[0]
            assert len(problem.completion) <= task.longest()[1]
            assert again.verify(problem, problem.completion).correct
            assert not task.verify(problem, problem.completion[:-1]).correct
            assert not task.verify(problem, (*task.tokens("no such answer?"), task.end)).correct
            assert not task.verify(problem, ()).correct


def test_neighbouring_seeds_and_splits_share_no_items() -> None:
    pytest.importorskip("reasoning_gym")
    task = gym(settings=["max_terms=3", "max_digits=3"])
    seen = {
        s: {task.problem(s, seed, i).prompt for seed in range(3) for i in range(150)}
        for s in ("train", "val", "test")
    }
    assert not seen["train"] & seen["val"]
    assert not seen["train"] & seen["test"]
    assert not seen["val"] & seen["test"]
    assert len(seen["train"]) > 420
    # The package's own: index i of seed s is index i - 1 of seed s + 1.
    one, two = ([task.problem("train", seed, i) for i in range(20)] for seed in (0, 1))
    assert not {p.prompt for p in one} & {p.prompt for p in two}


def test_a_sum_is_asked_and_answered() -> None:
    pytest.importorskip("reasoning_gym")
    task = gym(settings=["max_terms=2", "max_digits=1"])
    problem = task.problem("test", 0, 0)
    asked, told = task.text(problem.prompt), task.text(problem.answer)
    assert asked[-1] == "→"
    formula = "".join(c for c in asked if c in "0123456789+-")
    terms = re.findall(r"[+-]?\d+", formula)
    assert "".join(terms) == formula
    assert sum(map(int, terms)) == int(told[:-1])
    assert told[-1] == "¶"
    # One or two characters, of 96.
    assert 96.0**-2 < task.guess_rate() < 96.0**-1


@pytest.mark.parametrize(
    ("dataset", "settings", "message"),
    [
        ("chain_summ", {}, "task.dataset=chain_summ: reasoning-gym has none of this name"),
        ("chain_sum", {"settings": ["terms=2"]}, "task.settings=terms=2: refused"),
        ("chain_sum", {"settings": ["min_terms=0"]}, "task.settings=min_terms=0: refused"),
        ("chain_sum", {"prompt": 5}, "task.prompt=5 is too few for its items"),
        ("word_ladder", {"prompt": 3000, "answer": 2}, "task.answer=2 is too few"),
        ("rush_hour", {"prompt": 3000}, "no answer in writing"),
        ("propositional_logic", {"prompt": 3000}, "task.dataset=propositional_logic: its items h"),
    ],
)
def test_what_the_package_cannot_give_is_named(dataset: str, settings: dict[str, Any], message: str) -> None:
    pytest.importorskip("reasoning_gym")
    with pytest.raises(ConfigError) as error:
        gym(dataset, **settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_data_set_of_few_questions_holds_few_of_them_out() -> None:
    pytest.importorskip("reasoning_gym")
    tiny = gym(settings=["min_terms=2", "max_terms=2", "min_digits=1", "max_digits=1"])
    assert len({tiny.problem("val", 0, i).prompt for i in range(60)}) < 20
