"""What a contender does on held-out problems: likelihood, and its answers where they can be verified.

Metrics of the answers, all of the same completions at one cost, means over problems: `exact`, right
answers; `edit`, edit distance to the reference answer, 0 to 1; and of the problems with a chain `chain`,
whole chains that are right, `plan`, chains whose plan is right, and `execution`, chains whose results are
right whatever their plan, where the task tells. A task may add metrics of its own.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from arena.contender import Contender
from arena.data import Batch, collate
from arena.tasks.base import Problem, Task, Verdict
from compare.store.record import Evaluation

BATCH = 128
"""Problems evaluated at once."""


def evaluate(
    contender: Contender, task: Task, problems: list[Problem], axis: str, severity: int, stage: str
) -> list[Evaluation]:
    """Likelihood and, where answers can be verified, what is right of them, on held-out problems."""
    chunks = [problems[i : i + BATCH] for i in range(0, len(problems), BATCH)]
    place: dict[str, Any] = {"stage": stage, "axis": axis, "severity": severity}
    evaluations: list[Evaluation] = []
    with torch.no_grad():
        batches = [collate(chunk, task.pad).to(contender.device) for chunk in chunks]
        for effort in contender.likelihood_efforts():
            evaluations.append(_loss(contender, batches, effort, place))
        verdicts: dict[str, list[Verdict]] = {}
        own: dict[str, list[dict[str, float]]] = {}
        flops: dict[str, float] = {}
        for i, chunk in enumerate(chunks if task.verifiable else ()):
            for effort, solutions in contender.answers(chunk, key=(stage, severity, i)).items():
                pairs = list(zip(chunk, solutions.completions, strict=True))
                own.setdefault(effort, []).extend(task.scores(p, c) for p, c in pairs)
                verdicts.setdefault(effort, []).extend(task.verify(p, c) for p, c in pairs)
                flops[effort] = flops.get(effort, 0.0) + solutions.flops
        for effort, judged in verdicts.items():
            scored = {metric: [row[metric] for row in own[effort]] for metric in own[effort][0]}
            evaluations += [
                Evaluation(
                    **place,
                    effort=effort,
                    metric=metric,
                    value=float(np.mean(values)),
                    n=len(values),
                    sd=float(np.std(values)),
                    outcomes="".join("1" if value else "0" for value in values) if metric == "exact" else "",
                    flops=flops[effort] / len(judged),
                )
                for metric, values in (measured(problems, judged) | scored).items()
            ]
    return evaluations


def measured(problems: Sequence[Problem], verdicts: Sequence[Verdict]) -> dict[str, list[float]]:
    """Metric -> its value on each problem that has one; metrics that no problem has are left out."""
    chained = [v for p, v in zip(problems, verdicts, strict=True) if p.chain]
    values = {
        "exact": [float(v.correct) for v in verdicts],
        "edit": [v.edit_distance for v in verdicts],
        "chain": [float(v.chain_correct) for v in chained],
        "plan": [float(v.plan_correct) for v in chained],
        "execution": [float(v.execution_correct) for v in chained if v.execution_correct is not None],
    }
    return {metric: known for metric, known in values.items() if known}


def _loss(contender: Contender, batches: list[Batch], effort: str, place: dict[str, Any]) -> Evaluation:
    parts = [contender.evaluate(batch, effort) for batch in batches]
    nats = torch.cat([p.nats_B for p in parts]).cpu().double()
    tokens = torch.cat([p.tokens_B for p in parts]).cpu().double()
    mean = float(nats.sum() / tokens.sum())
    if not torch.isfinite(nats).all():
        where = f"{place['axis']} {place['severity']}"
        raise FloatingPointError(f"held-out loss is {mean} at effort {effort}, {where}")
    # Residuals of the ratio estimator: problems differ in length.
    residuals = (nats - mean * tokens) / tokens.mean()
    return Evaluation(
        **place,
        effort=effort,
        metric="loss",
        value=mean,
        n=len(nats),
        sd=float(residuals.std(unbiased=len(nats) > 1)),
        flops=sum(p.flops for p in parts) / len(nats),
    )
