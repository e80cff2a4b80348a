"""How easy 4x4 boards are, by a plain solver of its own: the numbers of docs/parallel.md."""

from itertools import permutations, product

import pytest

from arena.data import held_out
from arena.tasks.sudoku import Sudoku, SudokuTask

TASK = SudokuTask(Sudoku(name="sudoku"))
Grid = tuple[int, ...]


def units(cell: int) -> list[set[int]]:
    """The other cells of a cell's row, column and box."""
    row, column = divmod(cell, 4)
    whole = (
        {4 * row + i for i in range(4)},
        {4 * i + column for i in range(4)},
        {4 * (row // 2 * 2 + i) + column // 2 * 2 + j for i, j in product(range(2), range(2))},
    )
    return [unit - {cell} for unit in whole]


def one_pass(grid: Grid) -> Grid:
    """The grid after every blank that a single forces on it has been filled at once."""
    blanks = [cell for cell in range(16) if not grid[cell]]
    may = {c: {1, 2, 3, 4} - {grid[o] for unit in units(c) for o in unit} for c in blanks}
    found = list(grid)
    for cell, digits in may.items():
        for digit in digits:
            hidden = any(all(digit not in may.get(o, ()) for o in unit) for unit in units(cell))
            if digits == {digit} or hidden:
                found[cell] = digit
    return tuple(found)


@pytest.mark.parametrize(("severity", "share"), [(0, 0.949), (1, 0.586), (2, 0.418), (3, 0.129), (4, 0.0)])
def test_one_pass_of_singles_solves_most_boards_in_distribution_and_three_solve_all(
    severity: int, share: float
) -> None:
    problems = held_out(TASK, "test", 256, severity)
    grids = [p.prompt[:-1] for p in problems]
    once = [one_pass(grid) for grid in grids]
    assert sum(0 not in grid for grid in once) / len(grids) == pytest.approx(share, abs=5e-4)
    assert [one_pass(one_pass(grid)) for grid in once] == [p.answer[:-1] for p in problems]


LINES = [p for p in permutations(range(4)) if p[0] // 2 == p[1] // 2]
"""Orders of rows, or of columns, that keep bands together."""
MOVES = [[4 * r + c for r, c in product(rows, columns)] for rows, columns in product(LINES, LINES)]
MOVES += [[4 * r + c for c, r in product(columns, rows)] for rows, columns in product(LINES, LINES)]


def orbit(grid: Grid) -> Grid:
    """The same for all boards that differ in the names of digits, the order of lines or by transposition."""
    found = []
    for move in MOVES:
        names = {0: 0}
        found.append(tuple(names.setdefault(grid[cell], len(names)) for cell in move))
    return min(found)


@pytest.mark.parametrize(
    ("boards", "share"), [(3_000, 0.629), pytest.param(32 * 597, 0.996, marks=pytest.mark.slow)]
)
def test_boards_held_out_have_twins_among_those_of_training(boards: int, share: float) -> None:
    assert len(LINES) == 8
    assert len(set(map(tuple, MOVES))) == 128
    trained = {orbit(TASK.problem("train", 1100, i).prompt[:-1]) for i in range(boards)}
    tested = [orbit(p.prompt[:-1]) for p in held_out(TASK, "test", 256)]
    assert sum(board in trained for board in tested) / len(tested) == pytest.approx(share, abs=5e-4)
