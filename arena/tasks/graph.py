"""What graph tasks share: edges as text, walks, and counting them without listing them.

A graph is a list of edges (from, to) over nodes 0..n-1; in the prompt, node i is the letter
labels[i]: `ab,cb,ad,:ad=` lists three edges in random order and asks for a path from a to d.
"""

from collections.abc import Sequence
from itertools import pairwise

from arena.tasks.base import Problem, Task

Edge = tuple[int, int]

LETTERS = 26
COMMA, COLON, EQUALS, OPEN, END, PAD = 26, 27, 28, 29, 30, 31


class GraphTask(Task):
    """Vocabulary 32: the letters a-z, then , : = > end pad. Subclasses draw the graphs."""

    vocabulary = 32
    end = END
    pad = PAD
    symbols = "abcdefghijklmnopqrstuvwxyz,:=>._"


def prompt(edges: Sequence[Edge], start: int, goal: int) -> tuple[int, ...]:
    """The question as tokens; nodes are letters here."""
    return (*(token for edge in edges for token in (*edge, COMMA)), COLON, start, goal, EQUALS)


def question(tokens: Sequence[int]) -> tuple[list[Edge], int, int]:
    """Edges, start and goal of a prompt; the inverse of `prompt`."""
    cut = tokens.index(COLON)
    return [(tokens[i], tokens[i + 1]) for i in range(0, cut, 3)], tokens[cut + 1], tokens[cut + 2]


def is_path(problem: Problem, answer: Sequence[int]) -> bool:
    """Whether the nodes lead from the problem's start to its goal along its edges."""
    edges, start, goal = question(problem.prompt)
    known = set(edges)
    return (
        bool(answer)
        and answer[0] == start
        and answer[-1] == goal
        and all(e in known for e in pairwise(answer))
    )


def successors(edges: Sequence[Edge]) -> dict[int, list[int]]:
    """The ends of each node's outgoing edges, in the order of the list."""
    found: dict[int, list[int]] = {}
    for source, target in edges:
        found.setdefault(source, []).append(target)
    return found


def walks(edges: Sequence[Edge], start: int, goal: int) -> tuple[int, int]:
    """Paths of an acyclic graph from start to goal, and paths that go on from start until they cannot.

    The second kind ends at the goal or at a node without successors.
    """
    following = successors(edges)
    counts: dict[int, tuple[int, int]] = {goal: (1, 1)}

    def count(node: int) -> tuple[int, int]:
        if node not in counts:
            nexts = [count(n) for n in following.get(node, ())]
            counts[node] = (sum(a for a, _ in nexts), sum(b for _, b in nexts)) if nexts else (0, 1)
        return counts[node]

    return count(start)
