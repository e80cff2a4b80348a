"""Strings are transformed as a plain solver does it, and every shift is what it says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.config import ConfigError
from arena.tasks.base import Problem
from arena.tasks.dataalchemy import DataAlchemy, DataAlchemyTask
from arena.token_classes import EXECUTE, FORMAT, PLAN

SHIFTS = [("task", 3), ("element", 3), ("length", 2), ("steps", 2), ("format", 4)]
PAPER: dict[str, Any] = {"letters": 26, "pairs": 0.0, "rotation": 13, "train": ["11"]}
PAPER |= {"composed": [], "partial": ["12"], "unseen": ["22"], "noise": "hybrid"}


def alchemy(**settings: Any) -> DataAlchemyTask:
    config = DataAlchemy(name="dataalchemy", **settings)
    config.validate()
    return DataAlchemyTask(config)


TASK = alchemy()


def solve(question: str, rotation: int = 5, second: int = 9) -> str:
    """The completion of a clean prompt, text to text, sharing no code with the task."""
    word = "".join(c for c in question if c.isalpha())
    rest = "".join(c for c in question if c.isdigit())
    lines = []
    while rest:
        name, rest = rest[0], rest[1:]
        if name in "14":
            word = "".join(chr((ord(c) - 65 + (rotation if name == "1" else second)) % 26 + 65) for c in word)
        elif name == "2":
            word = word[1:] + word[:1]
        else:
            word = "".join(reversed(word))
        lines.append(word + rest)
    return ";".join(lines[:-1]) + ">" + lines[-1] + "."


places = st.sampled_from([("task", 0)] + [(a, s) for a, n in SHIFTS for s in range(1, n + 1)])


@given(places, st.integers(0, 2**31), st.integers(0, 10**6), st.sampled_from(["train", "val", "test"]))
def test_every_problem_is_answered_as_a_plain_solver_does(
    place: tuple[str, int], seed: int, index: int, split: str
) -> None:
    axis, severity = place
    problem = TASK.problem(split, seed, index, severity, axis)
    assert problem == alchemy().problem(split, seed, index, severity, axis)
    assert (problem.axis, problem.severity) == place
    prompt, text = TASK.text(problem.prompt), TASK.text(problem.completion)
    assert prompt[-1] == "="
    assert solve(prompt) == text  # noise that inserts leaves letters and transformations as they were
    kinds = {c: PLAN if c.isdigit() else EXECUTE if c.isalpha() else FORMAT for c in text}
    assert problem.classes == tuple(kinds[c] for c in TASK.text(problem.chain))
    longest = TASK.longest(severity, axis)
    assert len(problem.prompt) <= longest[0]
    assert len(problem.completion) <= longest[1]
    verdict = TASK.verify(problem, problem.completion)
    assert verdict.correct
    assert verdict.chain_correct
    assert verdict.plan_correct
    assert verdict.execution_correct


@pytest.mark.parametrize(("axis", "severity"), [("task", 0)] + [(a, n) for a, n in SHIFTS])
def test_the_longest_problem_is_reached(axis: str, severity: int) -> None:
    drawn = [TASK.problem("train", 0, i, severity, axis) for i in range(300)]
    assert max(len(p.completion) for p in drawn) == TASK.longest(severity, axis)[1]
    if axis != "format":
        assert max(len(p.prompt) for p in drawn) == TASK.longest(severity, axis)[0]


def test_severity_0_is_the_same_item_on_every_axis() -> None:
    first = TASK.problem("test", 0, 3)
    assert all(TASK.problem("test", 0, 3, 0, axis) == first for axis in TASK.axes)
    assert first.axis == "task"


def words(split: str, severity: int = 0, axis: str = "", count: int = 400) -> list[tuple[str, str]]:
    """Element and composition of drawn problems, without noise."""
    drawn = [TASK.text(TASK.problem(split, 0, i, severity, axis).prompt) for i in range(count)]
    return [("".join(filter(str.isalpha, p)), "".join(filter(str.isdigit, p))) for p in drawn]


def test_no_held_out_element_is_ever_trained_on_at_any_shift() -> None:
    trained = {word for seed in range(3) for word in _elements(alchemy(), "train", seed)}
    assert len(trained) > 8000
    for axis, severity in TASK.shifts(9):
        for split in ("val", "test"):
            held = {word for word, _ in words(split, severity, axis)}
            assert not held & trained, (axis, severity)
    val, test = ({word for word, _ in words(s, count=2000)} for s in ("val", "test"))
    assert not val & test


def _elements(task: DataAlchemyTask, split: str, seed: int) -> list[str]:
    return [task.text(task.problem(split, seed, i).prompt)[:4] for i in range(4000)]


def test_the_task_axis_shifts_compositions_alone() -> None:
    assert {c for _, c in words("train")} == {"11", "12", "21"}
    for severity, compositions in enumerate(({"22"}, {"13", "31", "23", "32"}, {"34", "43"}), 1):
        drawn = words("test", severity, "task")
        assert {c for _, c in drawn} == compositions
        assert {c for w, _ in drawn for c in w} == set("ABCDEFGHIJKLMNOP")


def test_the_element_axis_shifts_letters_alone() -> None:
    trained = {w for w, _ in words("train", count=8000)}
    pairs = {w[i : i + 2] for w in trained for i in range(3)}
    assert len(pairs) == 16 * 13
    assert {c for w in trained for c in w} == set("ABCDEFGHIJKLMNOP")
    for word, _ in words("test", 1, "element"):
        assert sum(word[i : i + 2] not in pairs for i in range(3)) == 1
        assert set(word) <= set("ABCDEFGHIJKLMNOP")
    assert all(sum(c > "P" for c in word) == 1 for word, _ in words("test", 2, "element"))
    assert all(sum(c > "P" for c in word) == 4 for word, _ in words("test", 3, "element"))
    assert {c for s in (1, 2, 3) for _, c in words("test", s, "element")} == {"11", "12", "21"}


def test_length_and_steps_move_away_from_what_was_trained_on_both_sides() -> None:
    for severity in (1, 2):
        assert {len(w) for w, _ in words("test", severity, "length")} == {4 - severity, 4 + severity}
    assert {len(c) for _, c in words("test", 1, "steps")} == {1, 3}
    assert {len(c) for _, c in words("test", 2, "steps")} == {4}
    assert {len(w) for w, _ in words("test", 2, "steps")} == {4}


@pytest.mark.parametrize("noise", ["insert", "delete", "modify", "hybrid"])
def test_noise_hits_every_prompt_at_its_rate_and_leaves_what_is_asked_for(noise: str) -> None:
    task = alchemy(noise=noise)
    for severity, rate in enumerate((0.05, 0.1, 0.2, 0.3), 1):
        # Of those prompts of six tokens in which it hits one at least.
        rate /= 1 - (1 - rate) ** 6
        drawn = [task.problem("test", 0, i, severity, "format") for i in range(600)]
        marks = sum(task.text(p.prompt).count("*") for p in drawn) / 3600
        gone = sum(len(task.text(p.prompt).replace("*", "")) < 7 for p in drawn)
        if noise != "delete":
            expected = rate if noise != "hybrid" else 2 / 3 * rate
            assert marks == pytest.approx(expected, rel=0.25)
        assert (gone > 0) == (noise != "insert")
        assert all("*" in task.text(p.prompt) or len(p.prompt) < 7 for p in drawn)
        assert all(p.prompt[-1] == task.tokens("=")[0] for p in drawn)
        # From the first result on, the chain is that of the clean prompt.
        assert all(solve(task.text(p.chain)) == ">" + task.text(p.answer) for p in drawn)


WORKED = Problem(
    prompt=tuple(TASK.tokens("ABCD12=")),
    chain=tuple(TASK.tokens("FGHI2>")),
    answer=tuple(TASK.tokens("GHIF.")),
    classes=(EXECUTE,) * 4 + (PLAN, FORMAT),
)


@pytest.mark.parametrize(
    ("completion", "correct", "chain", "plan", "execution"),
    [
        ("FGHI2>GHIF.", True, True, True, True),
        ("FGHI2>GHIF.ZZ", True, True, True, True),
        ("FGHX2>GHIF.", True, False, True, False),
        ("FGHI1>GHIF.", True, False, False, True),
        ("AGHI1>GHIF.", True, False, False, False),
        ("2FGHI>GHIF.", True, False, True, True),
        ("FGHI2>GHFI.", False, True, True, True),
        ("FGHI2>GHIF", False, True, True, True),
        ("GHIF.", True, False, False, False),
        ("", False, False, False, False),
    ],
)
def test_the_verdict_tells_plan_from_execution_from_answer(
    completion: str, correct: bool, chain: bool, plan: bool, execution: bool
) -> None:
    verdict = TASK.verify(WORKED, TASK.tokens(completion))
    found = (verdict.correct, verdict.chain_correct, verdict.plan_correct, verdict.execution_correct)
    assert found == (correct, chain, plan, execution)


def test_the_edit_distance_is_of_the_answer() -> None:
    assert TASK.verify(WORKED, TASK.tokens("FGHX2>GHIF.")).edit_distance == 0
    assert TASK.verify(WORKED, TASK.tokens("FGHI2>GHFI.")).edit_distance == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("completion", "exact", "edits"),
    [
        ("FGHI2>GHIF.", 1, 0),
        ("FGHI2>GHIF", 1, 0),  # as the public code, which knows no end
        ("FGHI2>GHIX.", 0, 1),
        ("FGHI3>GHIF.", 0, 1),
        ("FGHI2>GHIFZ.", 0, 2),
        ("GHIF.", 0, 22),  # F G H I [F2] <answer> and a space
    ],
)
def test_whole_texts_are_scored_as_the_public_code_writes_them(
    completion: str, exact: float, edits: int
) -> None:
    """F G H I [F2] <answer> G H I F: 29 characters."""
    found = TASK.scores(WORKED, TASK.tokens(completion))
    assert found["text"] == exact
    assert found["text_edit"] == pytest.approx(edits / (31 if "Z" in completion else 29))
    assert (found["text_bleu"] == pytest.approx(1)) == bool(exact)


def test_doing_the_trained_composition_whatever_is_asked_scores_the_papers_distances() -> None:
    paper = alchemy(**PAPER)
    for severity, distance in ((1, 0.1671), (2, 0.2997)):
        found = []
        for i in range(400):
            problem = paper.problem("test", 0, i, severity, "task")
            between, last = map(paper.text, paper.config.results(problem.prompt[:4], "11"))
            found.append(paper.scores(problem, paper.tokens(f"{between}1>{last}."))["text_edit"])
        assert sum(found) / 400 == pytest.approx(distance, abs=0.003)


def test_a_rule_alone_has_no_mark_in_its_text_and_answers_alone_are_not_scored() -> None:
    single = next(p for i in range(99) if len((p := TASK.problem("test", 0, i, 1, "steps")).chain) == 1)
    wrong = [(single.answer[0] + 1) % 26, *single.answer[1:]]
    assert TASK.scores(single, [*single.chain, *wrong])["text_edit"] == pytest.approx(1 / 7)
    task = alchemy(chain=False)
    assert task.scores(task.problem("test", 0, 0), ()) == {}


def test_the_papers_letters_are_one_half_in_training_and_the_other_half_in_the_shift() -> None:
    task = alchemy(**{**PAPER, "letters": 13})
    drawn = [task.text(task.problem("train", 0, i).prompt)[:4] for i in range(400)]
    assert set("".join(drawn)) == set("ABCDEFGHIJKLM")
    drawn = [task.text(task.problem("test", 0, i, 2, "element").prompt)[:4] for i in range(400)]
    assert set("".join(drawn)) == set("NOPQRSTUVWXYZ")


def test_without_the_chain_only_answers_are_supervised() -> None:
    task = alchemy(chain=False)
    problem = task.problem("test", 0, 0)
    assert not problem.chain
    assert task.text(problem.completion) == solve(task.text(problem.prompt)).partition(">")[2]
    assert task.longest() == (7, 5)
    assert task.verify(problem, problem.completion).chain_correct


def test_the_worked_example() -> None:
    assert solve("ABCD12=") == TASK.text(WORKED.completion)


def test_f1f1_is_not_the_identity_by_default_and_is_in_the_papers_setting() -> None:
    assert TASK.config.results((0, 1, 2, 3), "11")[-1] == (10, 11, 12, 13)
    paper = alchemy(**PAPER)
    assert paper.config.results((0, 1, 2, 3), "11")[-1] == (0, 1, 2, 3)
    assert paper.axes == {"task": 3, "length": 3, "steps": 3, "format": 5}
    assert paper.text(paper.problem("test", 0, 0, 2, "task").prompt)[4:] == "22="
    assert alchemy(**{**PAPER, "letters": 13}).axes["element"] == 3


def test_the_guess_rate_counts_letters() -> None:
    assert TASK.guess_rate() == pytest.approx(26.0**-4)
    assert TASK.guess_rate(1, "length") == pytest.approx((26.0**-3 + 26.0**-5) / 2)
    assert TASK.guess_rate(3, "element") == TASK.guess_rate()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 1}, "task.length=1"),
        ({"letters": 27}, "task.letters=27"),
        ({"letters": 4, "length": 3}, "only 36 training elements"),
        ({"rotation": 26}, "task.rotation=26"),
        ({"second_rotation": 5}, "task.second_rotation=5"),
        ({"pairs": 0.7}, "task.pairs=0.7"),
        ({"pairs": 0.01}, "task.pairs=0.01"),
        ({"train": []}, "task.train=[]"),
        ({"train": ["11", "2"]}, "task.train=2"),
        ({"train": ["15"]}, "task.train=15"),
        ({"train": ["12"], "composed": ["21"]}, "task.composed=21: does the same as 12"),
        ({"composed": ["13"]}, "task.composed=13 with task.train=11,12,21"),
        ({"unseen": ["31"]}, "task.unseen=31"),
        ({"noise": "blur"}, "task.noise=blur"),
        ({"batch": 0}, "task.batch=0"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        alchemy(**settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("axis", "severity"), [("task", 4), ("task", -1), ("noise", 1), ("format", 5)])
def test_impossible_shifts_name_the_axes_and_their_ranges(axis: str, severity: int) -> None:
    for ask in (lambda: TASK.problem("test", 0, 0, severity, axis), lambda: TASK.guess_rate(severity, axis)):
        with pytest.raises(ConfigError, match=f"severity={severity}, axis={axis}: .*element 0 to 3"):
            ask()
