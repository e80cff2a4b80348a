"""Sudoku against plain backtracking and the rules as one would say them."""

from collections.abc import Iterator
from itertools import permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.config import ConfigError
from arena.tasks import sudoku_board
from arena.tasks.base import Problem
from arena.tasks.sudoku import END, EQUALS, FEWEST_CLUES, OPEN, REACH, STEP, Sudoku, SudokuTask, member
from arena.token_classes import EXECUTE, FORMAT, PLAN

Grid = tuple[int, ...]

PUZZLE = "530070000600195000098000060800060003400803001700020006060000280000419005000080079"
SOLUTION = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"


def sudoku(**values: object) -> SudokuTask:
    config = Sudoku(name="sudoku", **values)  # pyright: ignore[reportArgumentType]
    config.validate()
    return SudokuTask(config)


FOUR = sudoku(chain=True)
NINE = sudoku(side=9, min_blanks=20, max_blanks=40)


def fits(grid: list[int], cell: int, digit: int) -> bool:
    """The rules, from the cell's row and column numbers alone."""
    side = 4 if len(grid) == 16 else 9
    box = 2 if side == 4 else 3
    row, column = divmod(cell, side)
    for other, there in enumerate(grid):
        r, c = divmod(other, side)
        near = r == row or c == column or (r // box, c // box) == (row // box, column // box)
        if near and other != cell and there == digit:
            return False
    return True


def backtracking(grid: list[int]) -> Iterator[Grid]:
    """Every solution, filling cells in reading order."""
    if 0 not in grid:
        yield tuple(grid)
        return
    cell = grid.index(0)
    for digit in range(1, (4 if len(grid) == 16 else 9) + 1):
        if fits(grid, cell, digit):
            grid[cell] = digit
            yield from backtracking(grid)
            grid[cell] = 0


GRIDS = list(backtracking([0] * 16))


def first_seen(grid: Grid) -> Grid:
    """Digits renamed in the order of first appearance, the long way round."""
    order = sorted({d for d in grid if d}, key=grid.index)
    return tuple(order.index(d) + 1 if d else 0 for d in grid)


def test_the_smaller_board_has_288_grids_12_up_to_renaming() -> None:
    assert len(GRIDS) == 288
    assert set(sudoku_board.Board((0,) * 16).completions(1000)) == set(GRIDS)
    assert len({first_seen(g) for g in GRIDS}) == len({sudoku_board.relabelled(g) for g in GRIDS}) == 12


@given(st.sampled_from(GRIDS), st.sets(st.integers(0, 15), max_size=13))
@settings(max_examples=60)
def test_the_solver_finds_what_backtracking_finds(grid: Grid, blank: set[int]) -> None:
    clues = [0 if c in blank else d for c, d in enumerate(grid)]
    every = set(backtracking(list(clues)))
    assert set(sudoku_board.Board(clues).completions(1000)) == every
    assert len(sudoku_board.Board(clues).completions(2)) == min(2, len(every))


def test_the_solver_solves_a_published_puzzle_and_leaves_the_board_alone() -> None:
    board = sudoku_board.Board([int(d) for d in PUZZLE])
    assert board.completions(2) == [tuple(int(d) for d in SOLUTION)]
    assert board.grid() == tuple(int(d) for d in PUZZLE)


@given(st.sampled_from(GRIDS), st.sets(st.integers(0, 15), min_size=1, max_size=13))
@settings(max_examples=60)
def test_singles_are_what_they_are_called(grid: Grid, blank: set[int]) -> None:
    clues = [0 if c in blank else d for c, d in enumerate(grid)]
    open_to = {c: {d for d in range(1, 5) if fits(clues, c, d)} for c in blank}
    board = sudoku_board.Board(clues)
    for cell in blank:
        units = [[o for o in blank if o != cell and near(o, cell, kind)] for kind in range(3)]
        hidden = [d for d in open_to[cell] for u in units if all(d not in open_to[o] for o in u)]
        forced = len(open_to[cell]) == 1 or bool(hidden)
        assert bool(board.single(cell)) == forced
        if forced:
            assert board.single(cell) == 1 << grid[cell]


def near(a: int, b: int, kind: int) -> bool:
    (r, c), (s, d) = divmod(a, 4), divmod(b, 4)
    return (r == s, c == d, (r // 2, c // 2) == (s // 2, d // 2))[kind]


@given(
    st.integers(0, 2**31), st.integers(0, 10**6), st.sampled_from(["train", "val", "test"]), st.integers(0, 4)
)
@settings(max_examples=60, deadline=None)
def test_every_puzzle_has_one_solution_and_the_blanks_asked_for(
    seed: int, index: int, split: str, severity: int
) -> None:
    problem = FOUR.problem(split, seed, index, severity)
    clues, solution = problem.prompt[:-1], problem.answer[:-1]
    assert (problem.prompt[-1], problem.answer[-1]) == (EQUALS, END)
    assert clues.count(0) == 8 + severity if severity else 4 <= clues.count(0) <= 8
    assert list(backtracking(list(clues))) == [solution]
    assert member(clues, solution) == split
    assert FOUR.problem(split, seed, index, severity) == problem
    assert (len(problem.prompt), len(problem.completion)) <= FOUR.longest(severity)
    verdict = FOUR.verify(problem, problem.completion)
    assert (verdict.correct, verdict.chain_correct, verdict.plan_correct) == (True, True, True)


@pytest.mark.parametrize("severity", [0, 1, 4])
def test_larger_boards_have_one_solution_too(severity: int) -> None:
    for i in range(4):
        problem = NINE.problem("test", 0, i, severity)
        clues, solution = problem.prompt[:-1], problem.answer[:-1]
        assert clues.count(0) == 40 + 4 * severity if severity else 20 <= clues.count(0) <= 40
        if severity < 4:
            assert list(backtracking(list(clues))) == [solution]
        assert sudoku_board.Board(clues).completions(2) == [solution]
        assert all(fits(list(solution), c, d) for c, d in enumerate(solution))
        assert NINE.verify(problem, problem.completion).correct


def test_training_puzzles_are_solved_by_singles_alone() -> None:
    for task, index in ((FOUR, 1), (NINE, 2)):
        problem = task.problem("train", 0, index)
        board, solution = sudoku_board.Board(problem.prompt[:-1]), problem.answer[:-1]
        for cell in sudoku_board.fill_order(problem.prompt[:-1], solution):
            assert board.single(cell) == 1 << solution[cell]
            board.place(cell, 1 << solution[cell])


def test_no_board_of_a_held_out_split_is_trained_on_under_any_names() -> None:
    # 4x4: the clues; 9x9: the solved grid.
    for task, part, trained, held, severities in (
        (FOUR, "prompt", 3000, 400, 3),
        (NINE, "answer", 500, 60, 2),
    ):
        seen = {
            split: {
                first_seen(getattr(task.problem(split, seed, i, severity), part)[:-1])
                for seed in range(2)
                for severity in (range(severities) if split != "train" else (0,))
                for i in range((trained if split == "train" else held // severities) // 2)
            }
            for split in ("train", "val", "test")
        }
        assert not seen["train"] & seen["val"]
        assert not seen["train"] & seen["test"]
        assert not seen["val"] & seen["test"]
        assert min(map(len, seen.values())) > 40


@given(st.sampled_from(list(permutations(range(1, 5)))), st.integers(0, 500))
def test_renaming_digits_does_not_change_the_split(names: tuple[int, ...], index: int) -> None:
    problem = FOUR.problem("test", 0, index)
    clues, solution = ([(0, *names)[d] for d in part] for part in (problem.prompt[:-1], problem.answer[:-1]))
    assert member(clues, solution) == "test"


def test_symmetries_keep_the_rules() -> None:
    solution = [int(d) for d in SOLUTION]
    for i in range(30):
        order = sudoku_board.symmetry(9, Random(i))
        assert sorted(order) == list(range(81))
        assert sudoku_board.lawful([solution[c] for c in order])
    assert not sudoku_board.lawful([*solution[1:], solution[0]])


def test_of_all_grids_the_verifier_accepts_the_one_that_fits() -> None:
    task = sudoku()
    for index in range(20):
        problem = task.problem("val", 0, index, severity=index % 5)
        accepted = [g for g in GRIDS if task.verify(problem, (*g, END)).correct]
        assert accepted == [problem.answer[:-1]]


def test_the_verifier_checks_rules_clues_digits_and_end() -> None:
    task = sudoku()
    # Two solutions: both are right, whichever the reference is.
    grid = next(g for g in GRIDS if len(list(backtracking([0 if d < 3 else d for d in g]))) == 2)
    clues = [0 if d < 3 else d for d in grid]
    one, two = backtracking(list(clues))
    problem = Problem(prompt=(*clues, EQUALS), answer=(*one, END))
    assert task.verify(problem, (*one, END)).correct
    assert task.verify(problem, (*two, END, 3)).correct
    assert task.verify(problem, (*two, END)).edit_distance > 0
    assert not task.verify(problem, one).correct
    assert not task.verify(problem, (*one[:-1], END)).correct
    assert not task.verify(problem, (*clues, END)).correct
    assert not task.verify(problem, (*one, one[0], END)).correct
    other = next(g for g in GRIDS if g not in (one, two))
    assert not task.verify(problem, (*other, END)).correct
    wide = tuple(d + 4 for d in one)
    assert not task.verify(Problem(prompt=(*(0,) * 16, EQUALS), answer=(*one, END)), (*wide, END)).correct


def test_the_chain_is_judged_step_by_step() -> None:
    problem = FOUR.problem("val", 0, 0)
    chain, answer = problem.chain, problem.answer
    assert problem.classes == (PLAN, PLAN, EXECUTE) * problem.prompt.count(0) + (FORMAT,)
    assert chain[-1] == OPEN

    def judged(steps: tuple[int, ...]) -> tuple[bool, bool, bool]:
        verdict = FOUR.verify(problem, (*steps, *answer))
        return verdict.correct, verdict.plan_correct, verdict.chain_correct

    assert judged(chain) == (True, True, True)
    wrong = (*chain[:2], chain[2] % 4 + 1, *chain[3:])
    assert judged(wrong) == (True, True, False)
    assert judged((*chain[3:6], *chain[3:])) == (True, False, False)
    assert judged(chain[3:]) == (True, False, False)
    assert judged((chain[1], chain[0], *chain[2:])) == (True, False, False)


def test_a_plan_may_not_guess_where_a_cell_is_forced() -> None:
    task = sudoku(chain=True, min_blanks=10, max_blanks=10)
    for index in range(100):
        problem = task.problem("val", 0, index)
        steps = [problem.chain[i : i + 3] for i in range(0, 30, 3)]
        board = sudoku_board.Board(problem.prompt[:-1])
        guessed = [s for s in steps if not board.single((s[0] - 14) * 4 + s[1] - 23)]
        if guessed:
            reordered = [guessed[0], *(s for s in steps if s is not guessed[0])]
            tokens = (*(t for s in reordered for t in s), OPEN, *problem.answer)
            verdict = task.verify(problem, tokens)
            assert (verdict.correct, verdict.plan_correct) == (True, False)
            return
    pytest.fail("no puzzle whose first step could be a guess")


def test_the_guess_rate_is_that_of_random_digits() -> None:
    task = sudoku(min_blanks=1, max_blanks=3)
    rng, right, tries = Random(0), 0, 6000
    problems = [task.problem("train", 0, i) for i in range(300)]
    for i in range(tries):
        problem = problems[i % 300]
        answer = [d or rng.randint(1, 4) for d in problem.prompt[:-1]]
        right += task.verify(problem, (*answer, END)).correct
    rate = task.guess_rate()
    assert rate == pytest.approx((1 / 4 + 1 / 16 + 1 / 64) / 3)
    assert right / tries == pytest.approx(rate, abs=0.03)
    assert FOUR.guess_rate(2) == pytest.approx(4.0**-10)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"side": 6}, "task.side=6: choose 4 or 9"),
        ({"min_blanks": 0}, "task.min_blanks=0, task.max_blanks=8"),
        ({"min_blanks": 9}, "task.min_blanks=9, task.max_blanks=8"),
        ({"max_blanks": 17}, "task.max_blanks=17: a board has 16 cells; use at most 12"),
        ({"max_blanks": 13}, "task.max_blanks=13: leaves fewer than the 4 clues"),
        ({"side": 9, "max_blanks": 82}, "task.max_blanks=82: a board has 81 cells; use at most 56"),
        ({"side": 9, "max_blanks": 65}, "task.max_blanks=65: leaves fewer than the 17 clues"),
        ({"side": 9, "max_blanks": 60}, "task.max_blanks=60: such puzzles are too rare"),
        ({"batch": 0}, "task.batch=0"),
    ],
)
def test_impossible_boards_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        sudoku(**values)
    assert "\n" not in str(error.value)


def test_the_severities_end_where_puzzles_do() -> None:
    assert FOUR.axes == {"blanks": 5}
    assert NINE.axes == {"blanks": 5}
    assert sudoku(max_blanks=12).axes == {"blanks": 1}
    for side in (4, 9):
        assert REACH[side] <= side**2 - FEWEST_CLUES[side]
        assert STEP[side] >= 1
    with pytest.raises(ConfigError, match=r"severity=5, axis=blanks: .* blanks 0 to 4"):
        FOUR.problem("val", 0, 0, 5)
