"""What a contender does on held-out problems: likelihood, and exact answers where they can be verified."""

import torch

from arena.contender import Contender
from arena.data import Batch, collate
from arena.tasks.base import Problem, Task
from compare.record import Evaluation

BATCH = 128
"""Problems evaluated at once."""


def evaluate(
    contender: Contender, task: Task, problems: list[Problem], axis: str, severity: int, stage: str
) -> list[Evaluation]:
    """Likelihood and, where answers can be verified, exact match on held-out problems."""
    chunks = [problems[i : i + BATCH] for i in range(0, len(problems), BATCH)]
    found: list[Evaluation] = []
    with torch.no_grad():
        batches = [collate(chunk, task.pad).to(contender.device) for chunk in chunks]
        for effort in contender.likelihood_efforts():
            found.append(_loss(contender, batches, effort, axis, severity, stage))
        outcomes: dict[str, str] = {}
        flops: dict[str, float] = {}
        for i, chunk in enumerate(chunks if task.verifiable else ()):
            for effort, solutions in contender.answers(chunk, key=(stage, severity, i)).items():
                pairs = zip(chunk, solutions.completions, strict=True)
                right = "".join("1" if task.verify(p, c).correct else "0" for p, c in pairs)
                outcomes[effort] = outcomes.get(effort, "") + right
                flops[effort] = flops.get(effort, 0.0) + solutions.flops
        for effort, bits in outcomes.items():
            share = bits.count("1") / len(bits)
            found.append(
                Evaluation(
                    stage=stage,
                    axis=axis,
                    severity=severity,
                    effort=effort,
                    metric="exact",
                    value=share,
                    n=len(bits),
                    sd=(share * (1 - share)) ** 0.5,
                    outcomes=bits,
                    flops=flops[effort] / len(bits),
                )
            )
    return found


def _loss(
    contender: Contender, batches: list[Batch], effort: str, axis: str, severity: int, stage: str
) -> Evaluation:
    parts = [contender.evaluate(batch, effort) for batch in batches]
    nats = torch.cat([p.nats_B for p in parts]).cpu().double()
    tokens = torch.cat([p.tokens_B for p in parts]).cpu().double()
    mean = float(nats.sum() / tokens.sum())
    if not torch.isfinite(nats).all():
        raise FloatingPointError(f"held-out loss is {mean} at effort {effort}, {axis} {severity}")
    # Residuals of the ratio estimator: problems differ in length.
    residuals = (nats - mean * tokens) / tokens.mean()
    return Evaluation(
        stage=stage,
        axis=axis,
        severity=severity,
        effort=effort,
        metric="loss",
        value=mean,
        n=len(nats),
        sd=float(residuals.std(unbiased=len(nats) > 1)),
        flops=sum(p.flops for p in parts) / len(nats),
    )
