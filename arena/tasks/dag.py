"""Planning in a random directed acyclic graph: any path from start to goal is right.

`ab,cb,ad,bd,:ad=` lists the edges in random order, then start and goal; the answer is the nodes of a
path from the one to the other, and the end token. The goal is at least two steps away. The path that
is supervised is a shortest one, found by the search that the chain writes out: backwards from the goal,
breadth first, predecessors in the order in which the prompt lists their edges, until the start turns
up; `>` opens the answer.

The number of nodes is the axis of shift: severity 0 is held-out graphs of the training sizes, severity
s has STEP * s nodes more than the most of them. What is held out is the question's structure, by a hash
that does not see letters or the order of the edges: copies under other letters share their split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from arena.config import ConfigError, TaskConfig, require
from arena.tasks.base import Problem, Verdict, edit_distance
from arena.tasks.draws import ATTEMPTS, below, generator, shuffled, split_of
from arena.tasks.graph import (
    END,
    LETTERS,
    OPEN,
    Edge,
    GraphTask,
    is_path,
    prompt,
    question,
    successors,
    walks,
)
from arena.token_classes import FORMAT, PLAN

STEP = 2
"""Nodes that each severity adds."""
ROUNDS = 4
"""Of refinement in the structure's hash. More tell more structures apart; no number tells copies apart."""
PRIME = 2**61 - 1
GUESSED = 256
"""Problems over which the guess rate is averaged."""


@dataclass(frozen=True, kw_only=True)
class Dag(TaskConfig):
    """Paths in random directed acyclic graphs; the number of nodes is the axis of shift."""

    kind: str = "dag"
    min_nodes: int = 6
    """Fewest nodes of a training graph."""
    max_nodes: int = 10
    """Most nodes of a training graph; severity s tests exactly max_nodes + 2 s."""
    degree: float = 1.3
    """Edges a node; every node but the first has at least one that leads to it."""
    chain: bool = False
    """Whether the search back from the goal is written out (and supervised) before the path."""

    def validate(self) -> None:
        super().validate()
        require(
            4 <= self.min_nodes <= self.max_nodes,
            f"task.min_nodes={self.min_nodes}, task.max_nodes={self.max_nodes}: "
            "need 4 <= min_nodes <= max_nodes",
        )
        require(
            self.max_nodes <= LETTERS,
            f"task.max_nodes={self.max_nodes}: use at most {LETTERS}, one letter a node",
        )
        most = (self.min_nodes - 1) / 2
        require(
            1 <= self.degree <= most,
            f"task.degree={self.degree}: must be at least 1, and {self.min_nodes} nodes have room for "
            f"{most:g} edges each; lower it or raise task.min_nodes",
        )


class DagTask(GraphTask):
    """See the module's text."""

    verifiable = Dag.verifiable

    def __init__(self, config: Dag) -> None:
        self.config = config
        self.axes = {"nodes": (LETTERS - config.max_nodes) // STEP + 1}

    def problem(self, split: str, seed: int, index: int, severity: int = 0, axis: str = "") -> Problem:
        self.placed(severity, axis, split)
        sizes = self._sizes(severity)
        for attempt in range(ATTEMPTS):
            rng = generator("dag", split, seed, index, severity, attempt)
            nodes = sizes[below(rng, len(sizes))]
            edges = draw(nodes, round(self.config.degree * nodes), rng)
            ends = distant(edges, nodes, rng)
            if ends is not None and split_of("dag", structure(edges, nodes, *ends)) == split:
                letters = shuffled(rng, range(LETTERS))
                named = [(letters[a], letters[b]) for a, b in shuffled(rng, edges)]
                return self._problem(named, letters[ends[0]], letters[ends[1]], severity)
        raise ConfigError(
            f"task.min_nodes={self.config.min_nodes}, task.max_nodes={self.config.max_nodes}, "
            f"task.degree={self.config.degree}: no graph of severity {severity} belongs to the "
            f"{split} split; raise task.max_nodes"
        )

    def _sizes(self, severity: int) -> range:
        low, high = self.config.min_nodes, self.config.max_nodes
        if severity:
            low = high = high + severity * STEP
        return range(low, high + 1)

    def _problem(self, edges: Sequence[Edge], start: int, goal: int, severity: int) -> Problem:
        visited, path = search_back(edges, start, goal)
        chain: tuple[int, ...] = (*visited, OPEN) if self.config.chain else ()
        return Problem(
            prompt=prompt(edges, start, goal),
            chain=chain,
            answer=(*path, END),
            classes=(PLAN,) * (len(chain) - 1) + (FORMAT,) if chain else (),
            axis="nodes",
            severity=severity,
        )

    def longest(self, severity: int = 0, axis: str = "") -> tuple[int, int]:
        self.placed(severity, axis)
        nodes = self._sizes(severity)[-1]
        return 3 * round(self.config.degree * nodes) + 4, (nodes + 1) * (2 if self.config.chain else 1)

    def guess_rate(self, severity: int = 0, axis: str = "") -> float:
        """Well-formed: a path from the start along edges, to the goal or to where none leads on.

        The share of these that end at the goal, averaged over training problems.
        """
        self.placed(severity, axis)
        return _guess_rate(self.config, severity)

    def verify(self, problem: Problem, completion: Sequence[int]) -> Verdict:
        """Any path is right; so is any search whose every node has an edge into one found before."""
        tokens = tuple(completion)
        ended = END in tokens
        if ended:
            tokens = tokens[: tokens.index(END)]
        visited, answer = (), tokens
        if problem.chain and OPEN in tokens:
            cut = tokens.index(OPEN)
            visited, answer = tokens[:cut], tokens[cut + 1 :]
        searched = not problem.chain or is_search(problem, visited)
        return Verdict(
            correct=ended and is_path(problem, answer),
            chain_correct=searched,
            plan_correct=searched,
            edit_distance=edit_distance((*answer, END) if ended else answer, problem.answer),
        )

    def paths(self, problem: Problem) -> int:
        """How many right answers a problem has."""
        return walks(*question(problem.prompt))[0]

    def fingerprint(self) -> dict[str, Any]:
        return {"generator": "dag", "version": 1}


@lru_cache
def _guess_rate(config: Dag, severity: int) -> float:
    task = DagTask(config)
    counts = (walks(*question(task.problem("train", 0, i, severity).prompt)) for i in range(GUESSED))
    return sum(right / every for right, every in counts) / GUESSED


def draw(nodes: int, count: int, rng: Random) -> list[Edge]:
    """A random tree that grows away from node 0, and further edges from lower to higher nodes."""
    tree = [(below(rng, node), node) for node in range(1, nodes)]
    rest = [(a, b) for b in range(nodes) for a in range(b) if b and tree[b - 1][0] != a]
    return tree + shuffled(rng, rest)[: count - len(tree)]


def distant(edges: Sequence[Edge], nodes: int, rng: Random) -> tuple[int, int] | None:
    """A start and a goal at least two steps apart, every distance that occurs as likely as the others."""
    following = successors(edges)
    pairs: dict[int, list[Edge]] = {}
    for start in range(nodes):
        steps, front, seen = 0, {start}, {start}
        while front:
            front = {n for node in front for n in following.get(node, ())} - seen
            seen |= front
            steps += 1
            if steps > 1:
                pairs.setdefault(steps, []).extend((start, goal) for goal in sorted(front))
    choices = [p for _, p in sorted(pairs.items()) if p]
    if not choices:
        return None
    chosen = choices[below(rng, len(choices))]
    return chosen[below(rng, len(chosen))]


def structure(edges: Sequence[Edge], nodes: int, start: int, goal: int) -> int:
    """A number that questions share if they differ in nothing but nodes' names and the order of edges.

    Colour refinement (Weisfeiler and Leman 1968) from the colours start, goal and neither.
    """
    colours = [1 + (node == start) + 2 * (node == goal) for node in range(nodes)]
    for _ in range(ROUNDS):
        new = [_mix(c, 3) for c in colours]
        for source, target in edges:
            new[source] += _mix(colours[target], 5)
            new[target] += _mix(colours[source], 7)
        colours = [c % PRIME for c in new]
    return sum(_mix(c, 11) for c in colours) % PRIME


def _mix(colour: int, kind: int) -> int:
    x = (colour + kind) * 0x9E3779B97F4A7C15 % PRIME
    return x * x * x % PRIME


def search_back(edges: Sequence[Edge], start: int, goal: int) -> tuple[list[int], list[int]]:
    """The nodes in the order in which the search finds them, goal to start, and the path that results."""
    preceding = successors([(b, a) for a, b in edges])
    onward: dict[int, int] = {}
    visited = [goal]
    for node in visited:  # grows while it is read: a queue
        for before in preceding.get(node, ()):
            if start not in onward and before not in onward:
                onward[before] = node
                visited.append(before)
        if start in onward:
            break
    path = [start]
    while path[-1] != goal:
        path.append(onward[path[-1]])
    return visited, path


def is_search(problem: Problem, visited: Sequence[int]) -> bool:
    """Whether the nodes are a search back from the goal that ends at the start."""
    edges, start, goal = question(problem.prompt)
    known = set(edges)
    return (
        bool(visited)
        and visited[0] == goal
        and visited[-1] == start
        and len(set(visited)) == len(visited)
        and all(any((node, found) in known for found in visited[:i]) for i, node in enumerate(visited) if i)
    )
