"""Sudoku, 4x4 or 9x9, with or without the order in which its cells are forced.

The prompt is the grid row by row, 0 for a blank, and `=`; the answer is the whole grid and the end
token. Every puzzle has one solution. With the chain, each blank is filled by three tokens, its row
(A-I), its column (a-i) and its digit, always at the first cell in reading order that a single forces;
`>` opens the answer.

The number of blanks is the axis of shift: severity 0 is held-out puzzles with as many blanks as in
training, severity s has STEP[side] * s more than the most of them.

What is held out never comes back under other names: on 9x9 the *solved grid* is hashed, on 4x4 the
*clues*, both with their digits renamed in the order of first appearance. A 4x4 board has only 288
solved grids, 12 up to renaming: a split of these would hold one or two of them, and ask whether a grid
never seen can be produced rather than whether a puzzle never seen can be solved. So on 4x4 every
solved grid occurs in training, and looking up the one that fits the clues is a way to solve. Boards that
differ in the order of rows or columns, or by transposition, count as different ones on both sides: of 256
boards held out on 4x4 all but one have such a twin among the 19,104 that one run of `ebt_parallel` trains
on. Nor are they hard: filling in at once every blank that a single forces solves 95% of them, and 59, 42,
13 and 0% at severities 1 to 4; three such rounds solve all (tests/arena/test_sudoku_ease.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from arena.config import ConfigError, TaskConfig, require
from arena.tasks import sudoku_board as board
from arena.tasks.base import Problem, Task, Verdict, edit_distance
from arena.tasks.draws import below, generator, split_of
from arena.token_classes import EXECUTE, FORMAT, PLAN

EQUALS, OPEN, END, PAD, ROWS, COLUMNS = 10, 11, 12, 13, 14, 23
STEP = {4: 1, 9: 4}
"""Blanks that each severity adds."""
REACH = {4: 12, 9: 56}
"""Most blanks asked for: on 4x4 all that a unique solution allows; on 9x9, where it allows 64, as many as
digging finds in about 20 ms."""
FEWEST_CLUES = {4: 4, 9: 17}
"""Of any puzzle with one solution (9x9: McGuire, Tugemann and Civario 2012)."""
BOARDS, MOVES = 200, 60
"""Puzzles dug, and symmetries of each tried, before a split is given up."""


@dataclass(frozen=True, kw_only=True)
class Sudoku(TaskConfig):
    """Sudoku with one solution; the number of blanks is the axis of shift."""

    kind: str = "sudoku"
    side: int = 4
    """Cells a side: 4 or 9."""
    min_blanks: int = 4
    """Fewest blanks of a training puzzle."""
    max_blanks: int = 8
    """Most blanks of a training puzzle; severity s tests STEP[side] * s more."""
    chain: bool = False
    """Whether the cells are filled one by one (and supervised) before the answer."""

    def validate(self) -> None:
        super().validate()
        require(self.side in STEP, f"task.side={self.side}: choose 4 or 9")
        cells, clues, reach = self.side**2, FEWEST_CLUES[self.side], REACH[self.side]
        require(
            1 <= self.min_blanks <= self.max_blanks,
            f"task.min_blanks={self.min_blanks}, task.max_blanks={self.max_blanks}: "
            "need 1 <= min_blanks <= max_blanks",
        )
        require(
            self.max_blanks <= cells,
            f"task.max_blanks={self.max_blanks}: a board has {cells} cells; use at most {reach}",
        )
        require(
            self.max_blanks <= cells - clues,
            f"task.max_blanks={self.max_blanks}: leaves fewer than the {clues} clues that a unique solution "
            f"needs; use at most {reach}",
        )
        require(
            self.max_blanks <= reach,
            f"task.max_blanks={self.max_blanks}: such puzzles are too rare to be found by digging; "
            f"use at most {reach}",
        )


class SudokuTask(Task):
    """See the module's text. Vocabulary 32: ten digits, = > end pad, nine rows, nine columns."""

    vocabulary = 32
    end = END
    pad = PAD
    verifiable = Sudoku.verifiable
    symbols = "0123456789=>._ABCDEFGHIabcdefghi"

    def __init__(self, config: Sudoku) -> None:
        self.config = config
        side = config.side
        self.axes = {"blanks": 1 + (REACH[side] - config.max_blanks) // STEP[side]}
        # A chain is as long as there are blanks.
        self.fixed = None if config.chain else (side**2 + 1, side**2 + 1)

    def problem(self, split: str, seed: int, index: int, severity: int = 0, axis: str = "") -> Problem:
        self.placed(severity, axis, split)
        counts = self._blanks(severity)
        for attempt in range(BOARDS):
            rng = generator("sudoku", split, seed, index, severity, attempt)
            found = self._draw(split, counts[below(rng, len(counts))], rng)
            if found is not None:
                return self._problem(*found, severity)
        raise ConfigError(
            f"task.side={self.config.side}, task.min_blanks={self.config.min_blanks}, "
            f"task.max_blanks={self.config.max_blanks}: no puzzle of severity {severity} belongs to the "
            f"{split} split; raise task.max_blanks"
        )

    def _blanks(self, severity: int) -> range:
        low, high = self.config.min_blanks, self.config.max_blanks
        if severity:
            low = high = high + severity * STEP[self.config.side]
        return range(low, high + 1)

    def _draw(self, split: str, blanks: int, rng: Random) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Clues and solution; none if digging got stuck or no symmetry of it is in the split.

        Moving a board by the symmetries of Sudoku costs a fraction of drawing another.
        """
        solution = board.solved(self.config.side, rng)
        clues = board.dig(solution, blanks, rng)
        if clues is None:
            return None
        for _ in range(MOVES):
            if member(clues, solution) == split:
                return clues, solution
            order = board.symmetry(self.config.side, rng)
            clues, solution = tuple(clues[c] for c in order), tuple(solution[c] for c in order)
        return None

    def _problem(self, clues: tuple[int, ...], solution: tuple[int, ...], severity: int) -> Problem:
        chain: tuple[int, ...] = ()
        classes: tuple[str, ...] = ()
        if self.config.chain:
            order = board.fill_order(clues, solution)
            steps = ((*self._place(c), solution[c]) for c in order)
            chain = (*(token for step in steps for token in step), OPEN)
            classes = (*(PLAN, PLAN, EXECUTE) * len(order), FORMAT)
        return Problem(
            prompt=(*clues, EQUALS),
            chain=chain,
            answer=(*solution, END),
            classes=classes,
            axis="blanks",
            severity=severity,
        )

    def _place(self, cell: int) -> tuple[int, int]:
        row, column = divmod(cell, self.config.side)
        return ROWS + row, COLUMNS + column

    def longest(self, severity: int = 0, axis: str = "") -> tuple[int, int]:
        self.placed(severity, axis)
        cells, blanks = self.config.side**2, self._blanks(severity)[-1]
        return cells + 1, cells + 1 + (3 * blanks + 1 if self.config.chain else 0)

    def guess_rate(self, severity: int = 0, axis: str = "") -> float:
        """Well-formed: the clues copied, any digit in each blank."""
        self.placed(severity, axis)
        counts = self._blanks(severity)
        return sum(float(self.config.side) ** -blanks for blanks in counts) / len(counts)

    def verify(self, problem: Problem, completion: Sequence[int]) -> Verdict:
        """The answer is right if it obeys the rules and keeps the clues, the chain if each step does.

        `plan_correct`: the cells, whatever digits were written into them, are the blanks, each once, each
        forced by a single at its turn wherever any was.
        """
        tokens = tuple(completion)
        ended = END in tokens
        if ended:
            tokens = tokens[: tokens.index(END)]
        steps, answer = (), tokens
        if problem.chain and OPEN in tokens:
            cut = tokens.index(OPEN)
            steps, answer = tokens[:cut], tokens[cut + 1 :]
        clues, solution = problem.prompt[:-1], problem.answer[:-1]
        right = (
            ended
            and len(answer) == len(clues)
            and all(1 <= digit <= self.config.side for digit in answer)
            and all(clue in (0, digit) for clue, digit in zip(clues, answer, strict=True))
            and board.lawful(answer)
        )
        planned = executed = not problem.chain
        if problem.chain and len(steps) + 1 == len(problem.chain):
            order: dict[tuple[int, ...], int] = {
                self._place(c): c for c, digit in enumerate(clues) if not digit
            }
            cells = [order.get(steps[i : i + 2], -1) for i in range(0, len(steps), 3)]
            planned = sorted(cells) == sorted(order.values()) and _forced(clues, solution, cells)
            executed = all(
                c >= 0 and solution[c] == digit for c, digit in zip(cells, steps[2::3], strict=True)
            )
        return Verdict(
            correct=right,
            chain_correct=planned and executed,
            plan_correct=planned,
            execution_correct=executed if problem.chain else None,
            edit_distance=edit_distance((*answer, END) if ended else answer, problem.answer),
        )

    def fingerprint(self) -> dict[str, Any]:
        return {"generator": "sudoku", "version": 1}


def member(clues: Sequence[int], solution: Sequence[int]) -> str:
    """The split that a puzzle belongs to, and with it every renaming of its digits."""
    return split_of("sudoku", *board.relabelled(clues if len(clues) == 16 else solution))


def _forced(clues: Sequence[int], solution: Sequence[int], cells: list[int]) -> bool:
    state = board.Board(clues)
    left = set(cells)
    for cell in cells:
        if not state.single(cell) and any(state.single(c) for c in left):
            return False
        left.remove(cell)
        state.place(cell, 1 << solution[cell])
    return True
