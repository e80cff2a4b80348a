"""What a rollout says of the policy, against slow plain arithmetic."""

import pytest
import torch

from arena.rollout import Rollout
from rl_baseline.config import RLArm
from rl_baseline.credit import CLASSES
from rl_baseline.measure import EntropyForecast, of_rollout, of_updates

LENGTHS = [3, 1, 2, 3]
REWARDS = torch.tensor([[1.0, 0], [0, 0]])
ADVANTAGES = torch.tensor([0.5, -0.5, 0.0, 0.0])


def rollout() -> Rollout:
    mask = torch.arange(3) < torch.tensor(LENGTHS)[:, None]
    draw = torch.Generator().manual_seed(0)
    return Rollout(
        completions=[(1,) * n for n in LENGTHS],
        logp_BT=-torch.rand(4, 3, generator=draw) * mask,
        entropy_BT=torch.rand(4, 3, generator=draw) * mask,
        mask_BT=mask,
        flops=0.0,
    )


def test_columns_of_a_rollout() -> None:
    one = rollout()
    found = {k: v.item() for k, v in of_rollout(one, REWARDS, ADVANTAGES, None).items()}
    rows = [
        [(one.logp_BT[b, t].item(), one.entropy_BT[b, t].item(), ADVANTAGES[b].item()) for t in range(n)]
        for b, n in enumerate(LENGTHS)
    ]
    tokens = [x for row in rows for x in row]

    def covariance(pairs: list[tuple[float, float]]) -> float:
        means = [sum(column) / len(pairs) for column in zip(*pairs, strict=True)]
        return sum((x - means[0]) * (y - means[1]) for x, y in pairs) / len(pairs)

    probability = [torch.tensor(p).exp().item() for p, _, _ in tokens]
    pairs = {
        "covariance": [(p, a) for p, _, a in tokens],
        "covariance_pg": [(p, q * a) for (p, _, a), q in zip(tokens, probability, strict=True)],
    }
    for name, points in pairs.items():
        assert found[name] == pytest.approx(covariance(points), abs=1e-6)
    totals = [sum(p for p, _, _ in row) for row in rows]
    sequences = list(zip(totals, ADVANTAGES.tolist(), strict=True))
    groups = (sequences[:2], sequences[2:])
    assert found["covariance_sequence"] == pytest.approx(sum(map(covariance, groups)) / 2, abs=1e-6)
    weighted = [[(p, torch.tensor(p).exp().item() * a) for p, a in group] for group in groups]
    assert found["covariance_sequence_pg"] == pytest.approx(sum(map(covariance, weighted)) / 2, abs=1e-6)
    assert found["entropy"] == pytest.approx(sum(sum(h for _, h, _ in row) / len(row) for row in rows) / 4)
    assert found["covariance_p50"] <= found["covariance_p99"] <= found["covariance_max"]
    assert (found["reward"], found["signal"], found["response_length"]) == (0.25, 0.5, 2.25)
    assert not any(name.startswith("entropy_") for name in found)


def test_entropy_by_class_is_the_mean_over_its_tokens_and_absent_classes_have_no_column() -> None:
    one = rollout()
    plan, answer = CLASSES.index("plan"), CLASSES.index("answer")
    classes = torch.tensor([[plan, plan, answer], [plan, -1, -1], [-1, -1, -1], [answer, -1, -1]])
    found = of_rollout(one, REWARDS, ADVANTAGES, classes)
    entropy = one.entropy_BT
    expected = (entropy[0, 0] + entropy[0, 1] + entropy[1, 0]) / 3
    assert found["entropy_plan"].item() == pytest.approx(expected.item())
    assert found["entropy_answer"].item() == pytest.approx(((entropy[0, 2] + entropy[3, 0]) / 2).item())
    assert "entropy_execute" not in found


def test_columns_of_updates_are_means_but_the_gap_is_the_first_updates() -> None:
    names = ("clip_fraction", "clip_fraction_high", "clip_fraction_dual", "kl", "kl_k2", "kl_k3", "selected")
    rows = [
        {k: torch.tensor(float(i)) for k in (*names, "credited", "gradient_norm", "logp_gap")} for i in (1, 3)
    ]
    found = of_updates(RLArm(name="r"), rows, torch.device("cpu"))
    assert {k: v.item() for k, v in found.items()} == {
        **dict.fromkeys((*names, "gradient_norm"), 2.0),
        "logp_gap": 1.0,
    }
    assert "credited" in of_updates(RLArm(name="r", credit="random"), rows, torch.device("cpu"))
    nothing = of_updates(RLArm(name="r"), [], torch.device("cpu"))
    assert set(nothing) == set(found)
    assert not any(v.item() for v in nothing.values())


def test_the_forecast_stands_in_the_row_of_the_change_it_was_made_for() -> None:
    forecast = EntropyForecast()

    def row(entropy: float, covariance: float, eta: float) -> dict[str, float]:
        found = {"entropy": entropy, "covariance": covariance, "covariance_pg": covariance / 2}
        tensors = {k: torch.tensor(v) for k, v in found.items()}
        return {k: round(v.item(), 6) for k, v in forecast.columns(tensors, eta).items()}

    assert row(0.9, 0.2, 0.1) == {}
    second = row(0.8, 0.4, 0.5)
    assert second == {"entropy_change": -0.1, "entropy_change_npg": -0.02, "entropy_change_pg": -0.01}
    assert row(0.85, 0, 0)["entropy_change_npg"] == -0.2
