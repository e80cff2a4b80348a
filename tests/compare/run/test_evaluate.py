"""An evaluation says of the same answers what is right in them, and asks for each answer once."""

from collections.abc import Sequence

import pytest
import torch

from arena.config import Addition
from arena.contender import Contender, Likelihood, Solutions
from arena.data import Batch, held_out
from arena.tasks.addition import AdditionTask
from arena.tasks.base import Problem, Task, Verdict
from arena.tasks.dataalchemy import DataAlchemy, DataAlchemyTask
from compare.run.evaluate import BATCH, evaluate, measured
from compare.store.record import Evaluation


class Answers(Contender):
    """Gives what it was told to; counts how often it is asked."""

    def __init__(self, given: dict[str, list[tuple[int, ...]]]) -> None:
        torch.nn.Module.__init__(self)
        self.given, self.asked = given, []

    def efforts(self) -> tuple[str, ...]:
        return tuple(self.given)

    def likelihood_efforts(self) -> tuple[str, ...]:
        return ("likelihood",)

    def solve(self, problems: Sequence[Problem], effort: str, key: Sequence[object] = ()) -> Solutions:
        first = len([1 for asked in self.asked if asked[0] == effort]) * BATCH
        self.asked.append((effort, len(problems)))
        return Solutions(
            completions=self.given[effort][first : first + len(problems)], flops=3.0 * len(problems)
        )

    def evaluate(self, batch: Batch, effort: str | None = None) -> Likelihood:
        tokens = batch.supervised_BM.sum(1)
        return Likelihood(nats_B=2.0 * tokens, tokens_B=tokens, flops=1.0)

    def step_flops(self, batch: Batch) -> float:
        return 1.0

    def non_embedding_parameters(self) -> int:
        return 1

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")


def found(
    task: Task, problems: list[Problem], given: dict[str, list[tuple[int, ...]]]
) -> dict[tuple[str, str], Evaluation]:
    contender = Answers(given)
    evaluations = evaluate(contender, task, problems, "", 0, "final")
    # Chunks of BATCH, each once an effort, whatever number of metrics comes of it.
    assert len(contender.asked) == len(given) * -(-len(problems) // BATCH)
    return {(e.metric, e.effort): e for e in evaluations}


def test_plan_execution_chain_and_edit_of_the_same_answers() -> None:
    """ABCD12: what is right, a wrong letter in the chain, a wrong rest of the plan, a wrong answer."""
    task = DataAlchemyTask(DataAlchemy(name="dataalchemy"))
    problem = task.problem("test", 0, 0)
    chain, answer = problem.chain, problem.answer
    element, rest = chain[:4], chain[4:]
    assert task.verify(problem, problem.completion).correct
    other_letter = ((element[0] + 1) % 26, *element[1:])
    other_plan = (26 if rest[0] != 26 else 27, *rest[1:])
    completions = [
        problem.completion,
        (*other_letter, *rest, *answer),
        (*element, *other_plan, *answer),
        (*chain, (answer[0] + 1) % 26, *answer[1:]),
    ]
    by = found(task, [problem] * 4, {"greedy": completions})
    assert {metric: e.value for (metric, _), e in by.items()} == pytest.approx(
        {"loss": 2.0, "exact": 0.75, "edit": 0.05, "chain": 0.5, "plan": 0.75, "execution": 0.75}
        | {
            m: sum(task.scores(problem, c)[m] for c in completions) / 4
            for m in ("text", "text_edit", "text_bleu")
        }
    )
    assert (by["text", "greedy"].value, by["text_edit", "greedy"].value) == (0.25, pytest.approx(3 / 4 / 29))
    assert by["exact", "greedy"].outcomes == "1110"
    assert by["plan", "greedy"].outcomes == ""
    assert {e.flops for (metric, _), e in by.items() if metric != "loss"} == {3.0}
    assert {e.n for e in by.values()} == {4}
    assert by["edit", "greedy"].sd == pytest.approx((0.2**2 * 3 / 16) ** 0.5)


def test_a_task_without_a_chain_has_answers_only_and_many_problems_are_asked_in_parts() -> None:
    task = AdditionTask(Addition(name="addition"))
    problems = held_out(task, "test", BATCH + 10)
    right = [p.completion for p in problems]
    by = found(task, problems, {"greedy": right, "sample": [right[0]] * len(right)})
    assert {metric for metric, _ in by} == {"loss", "exact", "edit"}
    assert (by["exact", "greedy"].value, by["edit", "greedy"].value) == (1.0, 0.0)
    assert by["exact", "sample"].value < 0.1
    assert by["edit", "sample"].value > 0.1
    assert by["exact", "greedy"].n == BATCH + 10


def test_a_chain_whose_execution_the_task_does_not_tell() -> None:
    task = AdditionTask(Addition(name="addition", chain=True))
    problems = held_out(task, "test", 4)
    by = found(task, problems, {"greedy": [p.completion for p in problems]})
    assert {metric for metric, _ in by} == {"loss", "exact", "edit", "chain", "plan"}


def test_problems_without_a_chain_count_in_nothing_of_the_chain() -> None:
    def verdict(right: bool, execution: bool | None) -> Verdict:
        return Verdict(
            correct=True,
            chain_correct=right,
            plan_correct=right,
            edit_distance=0.5,
            execution_correct=execution,
        )

    bare, chained = Problem(prompt=(1,), answer=(2,)), Problem(prompt=(1,), chain=(3,), answer=(2,))
    values = measured(
        [bare, chained, chained], [verdict(True, None), verdict(True, False), verdict(False, None)]
    )
    assert values == {
        "exact": [1.0, 1.0, 1.0],
        "edit": [0.5, 0.5, 0.5],
        "chain": [1.0, 0.0],
        "plan": [1.0, 0.0],
        "execution": [0.0],
    }
