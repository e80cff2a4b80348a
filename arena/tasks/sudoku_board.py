"""Sudoku boards: the rules, singles, an exact solver, and digging puzzles out of solved grids.

A grid is a tuple of digits row by row, 0 for a blank. Inside, a digit d is the bit 1 << d, so that a
set of digits is an int. A cell is forced by a *naked single* if one digit is left for it, by a
*hidden single* if it is the only cell of a row, column or box that is left for a digit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt
from random import Random

from arena.tasks.draws import below, shuffled


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Which cells share a row, a column or a box."""

    side: int
    units: tuple[tuple[int, ...], ...]
    """The cells of each row, then of each column, then of each box."""
    of: tuple[tuple[int, int, int], ...]
    """Row, column and box of each cell, as indices into `units`."""


@lru_cache
def geometry(side: int) -> Geometry:
    """The geometry of a board whose boxes are sqrt(side) by sqrt(side)."""
    box, cells = isqrt(side), range(side * side)
    of = tuple(
        (c // side, side + c % side, 2 * side + c // side // box * box + c % side // box) for c in cells
    )
    units = tuple(tuple(c for c in cells if u in of[c]) for u in range(3 * side))
    return Geometry(side=side, units=units, of=of)


class Board:
    """A grid being filled, with the digits that each unit has used. Digits are bits here."""

    def __init__(self, grid: Sequence[int]) -> None:
        self.geometry = geometry(isqrt(len(grid)))
        self.every = (1 << (self.geometry.side + 1)) - 2
        self.cells = [0] * len(grid)
        self.used = [0] * (3 * self.geometry.side)
        for cell, digit in enumerate(grid):
            if digit:
                self.place(cell, 1 << digit)

    def place(self, cell: int, bit: int) -> None:
        self.cells[cell] = bit
        for unit in self.geometry.of[cell]:
            self.used[unit] |= bit

    def lift(self, cell: int) -> int:
        """Blank a cell; the digit that was there, as a bit."""
        bit, self.cells[cell] = self.cells[cell], 0
        for unit in self.geometry.of[cell]:
            self.used[unit] ^= bit
        return bit

    def candidates(self, cell: int) -> int:
        """Digits that no other cell of its units holds."""
        row, column, box = self.geometry.of[cell]
        used = self.used
        return self.every & ~(used[row] | used[column] | used[box])

    def single(self, cell: int) -> int:
        """The digit that a naked or hidden single forces on a blank cell, as a bit; 0 if none does."""
        mine = self.candidates(cell)
        if mine.bit_count() == 1:
            return mine
        for unit in self.geometry.of[cell]:
            left = mine
            for other in self.geometry.units[unit]:
                if other != cell and not self.cells[other]:
                    left &= ~self.candidates(other)
                    if not left:
                        break
            if left.bit_count() == 1:
                return left
        return 0

    def grid(self) -> tuple[int, ...]:
        return tuple(bit.bit_length() - 1 if bit else 0 for bit in self.cells)

    def completions(self, limit: int, rng: Random | None = None) -> list[tuple[int, ...]]:
        """Up to `limit` solutions, by exhaustive search at the cell with the fewest candidates.

        The clues must not contradict one another. With `rng`, the digits of a cell are tried in random
        order. The board is left as it was.
        """
        found: list[tuple[int, ...]] = []
        self._search([c for c, bit in enumerate(self.cells) if not bit], limit, rng, found)
        return found

    def _search(
        self, blanks: list[int], limit: int, rng: Random | None, found: list[tuple[int, ...]]
    ) -> None:
        if not blanks:
            found.append(self.grid())
            return
        place, fewest, choices = 0, 99, 0
        for i, cell in enumerate(blanks):
            digits = self.candidates(cell)
            count = digits.bit_count()
            if count < fewest:
                place, fewest, choices = i, count, digits
                if count <= 1:
                    break
        cell = blanks[place]
        rest = blanks[:place] + blanks[place + 1 :]
        bits = [1 << d for d in range(1, self.geometry.side + 1) if choices >> d & 1]
        for bit in bits if rng is None or fewest < 2 else shuffled(rng, bits):
            self.place(cell, bit)
            self._search(rest, limit, rng, found)
            self.lift(cell)
            if len(found) == limit:
                return


def solved(side: int, rng: Random) -> tuple[int, ...]:
    """A random solved grid."""
    return Board((0,) * side**2).completions(1, rng)[0]


def dig(grid: tuple[int, ...], blanks: int, rng: Random) -> tuple[int, ...] | None:
    """A puzzle of exactly `blanks` blanks whose only solution is `grid`; none if this try got stuck.

    Cells go in random order. First those that the remaining clues force by a single: filled in again in
    reverse, they show by themselves that the solution is unique. Where these do not suffice, the solver
    decides. Fewer clues never force more, so one round of each is all there is.
    """
    board = Board(grid)
    stubborn: list[int] = []
    for cell in shuffled(rng, range(len(grid))):
        if not blanks:
            break
        bit = board.lift(cell)
        if board.single(cell):
            blanks -= 1
        else:
            board.place(cell, bit)
            stubborn.append(cell)
    for cell in stubborn:
        if not blanks:
            break
        bit = board.lift(cell)
        if len(board.completions(2)) == 1:
            blanks -= 1
        else:
            board.place(cell, bit)
    return None if blanks else board.grid()


def symmetry(side: int, rng: Random) -> list[int]:
    """A random rearrangement of the cells that keeps the rules: cell i of the new grid was cell [i].

    Rows move within their band, bands among themselves, columns likewise, and the board may be
    transposed.
    """
    rows, columns = _lines(side, rng), _lines(side, rng)
    if below(rng, 2):
        return [r * side + c for c in columns for r in rows]
    return [r * side + c for r in rows for c in columns]


def _lines(side: int, rng: Random) -> list[int]:
    box = isqrt(side)
    return [band * box + i for band in shuffled(rng, range(box)) for i in shuffled(rng, range(box))]


def relabelled(grid: Sequence[int]) -> tuple[int, ...]:
    """The same grid with its digits renamed in the order in which they first appear; blanks stay."""
    names = {0: 0}
    return tuple(names.setdefault(digit, len(names)) for digit in grid)


def fill_order(clues: Sequence[int], solution: Sequence[int]) -> list[int]:
    """The blanks in an order of filling: always the first cell, row by row, that a single forces.

    Where no single exists, the first of the cells with the fewest candidates.
    """
    board = Board(clues)
    left = [c for c, digit in enumerate(clues) if not digit]
    order: list[int] = []
    while left:
        cell = next((c for c in left if board.single(c)), None)
        if cell is None:
            cell = min(left, key=lambda c: board.candidates(c).bit_count())
        left.remove(cell)
        board.place(cell, 1 << solution[cell])
        order.append(cell)
    return order


def lawful(grid: Sequence[int]) -> bool:
    """Whether every row, column and box holds every digit once."""
    shape = geometry(isqrt(len(grid)))
    digits = set(range(1, shape.side + 1))
    return all({grid[c] for c in unit} == digits for unit in shape.units)
