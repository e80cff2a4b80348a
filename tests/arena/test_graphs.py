"""DAG planning and path-star against enumeration of all paths."""

from collections.abc import Iterator, Sequence
from itertools import permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.config import ConfigError
from arena.tasks.base import Problem
from arena.tasks.dag import Dag, DagTask, search_back, structure
from arena.tasks.graph import COMMA, END, OPEN, question
from arena.tasks.path_star import PathStar, PathStarTask
from arena.token_classes import FORMAT, PLAN

Edges = Sequence[tuple[int, int]]


def dag(**values: object) -> DagTask:
    config = Dag(name="dag", **values)  # pyright: ignore[reportArgumentType]
    config.validate()
    return DagTask(config)


def star(**values: object) -> PathStarTask:
    config = PathStar(name="path_star", **values)  # pyright: ignore[reportArgumentType]
    config.validate()
    return PathStarTask(config)


DAG = dag(chain=True)
SMALL = dag(min_nodes=6, max_nodes=6, degree=1.5)
STAR = star()


def every_path(edges: Edges, at: int, goal: int) -> Iterator[tuple[int, ...]]:
    """All paths from `at` that end at the goal or where nothing leads on."""
    onward = [b for a, b in edges if a == at]
    if at == goal or not onward:
        yield (at,)
        return
    for node in onward:
        yield from ((at, *rest) for rest in every_path(edges, node, goal))


def by_enumeration(problem: Problem) -> tuple[set[tuple[int, ...]], int]:
    edges, start, goal = question(problem.prompt)
    walks = list(every_path(edges, start, goal))
    return {w for w in walks if w[-1] == goal}, len(walks)


SPLITS = st.sampled_from(["train", "val", "test"])


@given(st.integers(0, 2**31), st.integers(0, 10**6), SPLITS, st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_every_graph_is_acyclic_and_its_answer_a_shortest_path(
    seed: int, index: int, split: str, severity: int
) -> None:
    problem = DAG.problem(split, seed, index, severity)
    edges, start, goal = question(problem.prompt)
    nodes = {n for e in edges for n in e}
    assert len(nodes) == 10 + 2 * severity if severity else 6 <= len(nodes) <= 10
    assert len(set(edges)) == len(edges) == round(1.3 * len(nodes))
    remaining = set(edges)
    while remaining:  # Kahn: there is always an edge whose start nothing leads to
        free = {e for e in remaining if e[0] not in {b for _, b in remaining}}
        assert free
        remaining -= free
    paths, _ = by_enumeration(problem)
    assert problem.answer[:-1] in paths
    assert problem.answer[-1] == END
    assert len(problem.answer) - 1 == min(map(len, paths)) >= 3
    assert (problem.chain[0], problem.chain[-2], problem.chain[-1]) == (goal, start, OPEN)
    assert problem.classes == (PLAN,) * (len(problem.chain) - 1) + (FORMAT,)
    assert DAG.problem(split, seed, index, severity) == problem
    longest = DAG.longest(severity)
    assert len(problem.prompt) <= longest[0]
    assert len(problem.completion) <= longest[1]
    verdict = DAG.verify(problem, problem.completion)
    assert (verdict.correct, verdict.chain_correct, verdict.edit_distance) == (True, True, 0)


def test_a_worked_example() -> None:
    # a -> b -> d and a -> c -> d; c's edge into d is listed first.
    a, b, c, d = range(4)
    problem = dag(chain=True)._problem([(a, b), (c, d), (b, d), (a, c)], a, d, 0)
    assert DAG.text(problem.prompt) == "ab,cd,bd,ac,:ad="
    assert DAG.text(problem.completion) == "dcba>acd."
    assert DAG.paths(problem) == 2
    assert search_back([(a, b), (c, d), (b, d), (a, c)], a, c) == ([c, a], [a, c])


def test_every_path_is_right_and_nothing_else() -> None:
    several = 0
    for index in range(25):
        problem = SMALL.problem("val", 0, index)
        paths, _ = by_enumeration(problem)
        nodes = {t for t in problem.prompt if t < COMMA}
        guesses = (order for k in range(1, 7) for order in permutations(sorted(nodes), k))
        assert {g for g in guesses if SMALL.verify(problem, (*g, END)).correct} == paths
        assert SMALL.paths(problem) == len(paths)
        several += len(paths) > 1
        assert not SMALL.verify(problem, problem.answer[:-1]).correct
        assert not SMALL.verify(problem, (END,)).correct
        assert not SMALL.verify(problem, ()).correct
    assert several > 3


def test_any_search_back_is_a_right_chain() -> None:
    a, b, c, d = range(4)
    problem = dag(chain=True)._problem([(a, b), (c, d), (b, d), (a, c)], a, d, 0)
    for chain, right in (
        ((d, b, a), True),
        ((d, b, c, a), True),
        ((d, a), False),
        ((d, b, b, a), False),
        ((b, a), False),
        ((d, b), False),
        ((), False),
    ):
        verdict = DAG.verify(problem, (*chain, OPEN, *problem.answer))
        assert verdict.correct
        assert verdict.chain_correct == verdict.plan_correct == right
    assert not DAG.verify(problem, problem.answer).chain_correct


@pytest.mark.parametrize("severity", [0, 2])
def test_the_guess_rate_is_that_of_walks_drawn_at_random(severity: int) -> None:
    rng, shares = Random(0), []
    for i in range(600):
        problem = DAG.problem("train", 0, i, severity)
        edges, start, goal = question(problem.prompt)
        guess = rng.choice(list(every_path(edges, start, goal)))
        shares.append(DAG.verify(problem, (*problem.chain, *guess, END)).correct)
    assert sum(shares) / 600 == pytest.approx(DAG.guess_rate(severity), abs=0.08)


@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_names_and_order_do_not_change_a_structure(index: int, rng: Random) -> None:
    edges, start, goal = question(DAG.problem("train", 0, index).prompt)
    letters = sorted({n for e in edges for n in e})
    names, others = ({n: i for i, n in enumerate(rng.sample(letters, len(letters)))} for _ in range(2))

    def named(by: dict[int, int]) -> int:
        chosen = [(by[a], by[b]) for a, b in rng.sample(edges, len(edges))]
        return structure(chosen, len(letters), by[start], by[goal])

    assert named(names) == named(others)
    turned = [(names[b], names[a]) for a, b in edges]
    assert structure(turned, len(letters), names[start], names[goal]) != named(names)


def plainest(problem: Problem) -> tuple[tuple[int, int], ...]:
    """The smallest way to write a question with start 0 and goal 1, over all names of the other nodes."""
    edges, start, goal = question(problem.prompt)
    others = sorted({n for e in edges for n in e} - {start, goal})
    found = []
    for order in permutations(others):
        names = {start: 0, goal: 1} | {n: i + 2 for i, n in enumerate(order)}
        found.append(tuple(sorted((names[a], names[b]) for a, b in edges)))
    return min(found)


def test_no_held_out_structure_is_trained_on_under_any_names() -> None:
    seen = {
        split: {plainest(SMALL.problem(split, seed, i)) for seed in range(2) for i in range(count)}
        for split, count in (("train", 1500), ("val", 100), ("test", 100))
    }
    assert not seen["train"] & seen["val"]
    assert not seen["train"] & seen["test"]
    assert not seen["val"] & seen["test"]
    assert min(map(len, seen.values())) > 10


@given(st.integers(0, 2**31), st.integers(0, 10**6), SPLITS, st.integers(0, 4))
@settings(max_examples=50, deadline=None)
def test_a_star_has_one_path_to_each_end(seed: int, index: int, split: str, severity: int) -> None:
    problem = STAR.problem(split, seed, index, severity)
    edges, start, goal = question(problem.prompt)
    length = 4 + severity
    walks = {end: [w for w in every_path(edges, start, end) if w[-1] == end] for _, end in edges}
    ends = {b for _, b in edges} - {a for a, _ in edges}
    assert len(ends) == 3
    assert goal in ends
    assert [len(walks[end]) for end in ends] == [1, 1, 1]
    assert all(len(walks[end][0]) == length + 1 for end in ends)
    assert problem.answer == (*walks[goal][0], END)
    assert [STAR.verify(problem, (*walks[end][0], END)).correct for end in ends].count(True) == 1
    assert STAR.verify(problem, problem.answer).correct
    assert STAR.longest(severity) == (len(problem.prompt), len(problem.answer))


def test_arms_picked_blindly_are_right_at_the_guess_rate() -> None:
    rng, right = Random(0), 0
    for i in range(900):
        problem = STAR.problem("train", 0, i)
        edges, start, _ = question(problem.prompt)
        end = rng.choice(sorted({b for _, b in edges} - {a for a, _ in edges}))
        walk = next(w for w in every_path(edges, start, end) if w[-1] == end)
        right += STAR.verify(problem, (*walk, END)).correct
    assert right / 900 == pytest.approx(STAR.guess_rate(), abs=0.06)
    assert STAR.guess_rate() == pytest.approx(1 / 3)


def test_no_held_out_star_is_trained_on_in_another_order() -> None:
    # Three letters in all: 26 * 25 * 24 labelled stars of two arms of one step, of which many are drawn.
    task = star(arms=2, length=1)

    def content(split: str, seed: int, index: int) -> tuple[object, ...]:
        edges, _, goal = question(task.problem(split, seed, index).prompt)
        return (frozenset(edges), goal)

    seen = {
        split: {content(split, seed, i) for seed in range(3) for i in range(count)}
        for split, count in (("train", 3000), ("val", 300), ("test", 300))
    }
    assert len(seen["train"]) < 7000  # so that it would show if splits met
    assert not seen["train"] & seen["val"]
    assert not seen["train"] & seen["test"]
    assert not seen["val"] & seen["test"]


@pytest.mark.parametrize(
    ("make", "values", "message"),
    [
        (dag, {"min_nodes": 3}, "task.min_nodes=3, task.max_nodes=10: need 4"),
        (dag, {"min_nodes": 11}, "task.min_nodes=11, task.max_nodes=10"),
        (dag, {"max_nodes": 27}, "task.max_nodes=27: use at most 26"),
        (dag, {"degree": 0.5}, "task.degree=0.5: must be at least 1"),
        (dag, {"degree": 3.0}, "task.degree=3.0: .* 6 nodes have room for 2.5"),
        (star, {"arms": 1}, "task.arms=1: one arm leaves no choice"),
        (star, {"length": 0}, "task.length=0"),
        (star, {"arms": 5, "length": 6}, "task.arms=5, task.length=6: 31 nodes and only 26 letters"),
    ],
)
def test_impossible_graphs_are_refused(make, values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        make(**values)
    assert "\n" not in str(error.value)


def test_the_severities_end_where_the_letters_do() -> None:
    assert DAG.axes == {"nodes": 9}
    assert len({t for t in DAG.problem("val", 0, 0, 8).prompt if t < COMMA}) == 26
    assert STAR.axes == {"length": 5}
    assert star(arms=5, length=5).axes == {"length": 1}
    with pytest.raises(ConfigError, match=r"severity=9, axis=nodes: .* nodes 0 to 8"):
        DAG.problem("val", 0, 0, 9)
    with pytest.raises(ConfigError, match=r"severity=5, axis=length: .* length 0 to 4"):
        STAR.longest(5)
