"""Two processes train by reward as one does: same rollouts, same selections, same gradients, same curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor

from arena.config import Addition, Budget, Cell, ConfigError, TrainerConfig
from arena.data import Problems
from arena.ranks import share
from arena.rollout import Rollout
from arena.seeding import seed_everything
from arena.tasks import build_task
from arena.tasks.base import Problem
from rl_baseline.config import RLArm
from rl_baseline.cost import minimum_flops
from rl_baseline.module import RL, RLModule
from tests.conftest import parameters_of, quiet_trainer
from tests.rl_baseline.conftest import SIZE

pytestmark = pytest.mark.usefixtures("quick_start")

BATCH = 16
ROLLOUTS = 4
# Coins: every group has something to learn from, from the first rollout on.
COMMON: dict[str, Any] = {"prompts": 5, "group": 4, "updates": 2, "warm_start": 0.3, "reward": "coin"}
ARMS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "clip_cov": {"loss": "clip_cov", "cov_share": 0.05, "clip_low": 1.0, "clip_high": 1.0},
    # Without slack the sign of what rounding leaves would decide the penalty's direction.
    "kl_cov": {"loss": "kl_cov", "cov_share": 0.1, "kl_coef": 1.0, "kl_slack": 1e-9, "micro_batch": 2},
    "adaptive": {"entropy": "adaptive", "entropy_target": 10.0, "entropy_step": 0.05, "entropy_max": 0.3},
    # Of 15 samples one process has 7, in one part, the other 8, in two: only that one needs a survey.
    "uneven": {"group": 3, "updates": 1, "micro_batch": 7, "credit": "top_entropy", "credit_share": 0.2},
    "by_sequence": {
        "aggregation": "seq_mean_token_mean",
        "advantage": "reinforce_pp",
        "entropy": "temperature",
        "micro_batch": 3,
    },
    # At times one sample is left to learn from, and a process has none.
    "idle": {"loss": "nll", "prompts": 2, "group": 2, "updates": 1},
}


class Watched(RLModule):
    """In double precision, and keeps what it sampled."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.double()
        self.sampled: list[list[tuple[int, ...]]] = []

    def rewards(self, problems: Sequence[Problem], rollout: Rollout) -> Tensor:
        self.sampled.append(list(rollout.completions))
        return super().rewards(problems, rollout)


class Keep(lightning.Callback):
    """Writes what a process knows at the end; another process reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gradients: list[Tensor] = []

    def on_before_optimizer_step(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        assert isinstance(pl_module, Watched)
        if pl_module.stage == RL:
            gradients = [p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]
            self.gradients.append(torch.cat(gradients).clone())

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Watched)
        known = {
            "history": pl_module.history.columns(1000),
            "flops_by": pl_module.flops_by,
            "problems": pl_module.problems,
            "stage": pl_module.stage,
            "sampled": pl_module.sampled,
            "gradients": self.gradients,
            "controller": pl_module.controller.state(),
            "parameters": parameters_of(pl_module).detach(),
        }
        torch.save(known, self.folder / f"{trainer.world_size}_{trainer.global_rank}.pt")


def trained(options: dict[str, Any], processes: int, folder: Path) -> list[dict[str, Any]]:
    """What each process knows after a few rollouts on the same problems, by one process or by two."""
    task = Addition(name="addition", min_digits=1, max_digits=2, batch=BATCH)
    arm = RLArm(name="a", **{**COMMON, **options})
    trainer = TrainerConfig(accelerator="cpu", problems=8)
    cell = Cell(arm=arm, task=task, size=SIZE, budget=Budget(flops=2e8), trainer=trainer, seed=0)
    cell.validate()
    seed_everything(0)
    module = Watched(cell, build_task(task))
    data = Problems(module.task, seed=0, batch=task.batch, problems=8)
    strategy = "ddp_spawn" if processes > 1 else "auto"
    quiet_trainer(devices=processes, strategy=strategy, callbacks=[Keep(folder)]).fit(module, datamodule=data)
    return [torch.load(folder / f"{processes}_{rank}.pt", weights_only=True) for rank in range(processes)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ARMS)
def test_two_processes_train_by_reward_as_one(name: str, tmp_path) -> None:
    (one,), two = trained(ARMS[name], 1, tmp_path), trained(ARMS[name], 2, tmp_path)
    assert one["stage"] == RL
    if "cov_share" in ARMS[name]:
        assert max(x or 0.0 for x in one["history"]["selected"]) > 0
    if name == "adaptive":
        assert one["controller"]["coefficient"] > 0
    assert len(one["sampled"]) >= ROLLOUTS
    assert 1.5e8 < sum(one["flops_by"].values()) <= 2e8
    for each in two:
        for known in ("flops_by", "problems", "sampled"):
            assert each[known] == one[known], known
        for mine, theirs in zip(each["gradients"], one["gradients"], strict=True):
            assert theirs.norm() > 1e-3
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)
        assert each["history"].keys() == one["history"].keys()
        for column in each["history"]:
            # Shares of tokens are counted in single precision.
            close = 1e-6 if column.startswith("clip") or column in ("selected", "credited") else 1e-10
            for mine, theirs in zip(each["history"][column], one["history"][column], strict=True):
                assert (mine is None) == (theirs is None), column
                assert mine is None or mine == pytest.approx(theirs, rel=close, abs=close), column
        assert each["controller"] == pytest.approx(one["controller"], rel=1e-10)
        torch.testing.assert_close(each["parameters"], one["parameters"], rtol=0, atol=1e-12)
    torch.testing.assert_close(two[0]["parameters"], two[1]["parameters"], rtol=0, atol=0)


@pytest.mark.parametrize(("count", "ranks"), [(0, 2), (1, 3), (7, 2), (8, 8), (9, 4)])
def test_shares_cover_everything_once(count: int, ranks: int) -> None:
    shares = [share(count, rank, ranks) for rank in range(ranks)]
    assert [row for each in shares for row in each] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_needs_a_problem_of_each_rollout(monkeypatch) -> None:
    cell = Cell(
        arm=RLArm(name="a", prompts=2),
        task=Addition(name="addition"),
        size=SIZE,
        budget=Budget(flops=1e9),
        trainer=TrainerConfig(devices=4),
        seed=0,
    )
    task = build_task(cell.task)
    with pytest.raises(ConfigError, match=r"devices=4: .* arm.prompts=2; raise arm.prompts"):
        minimum_flops(cell, task)
    module = RLModule(cell, task)
    module.trainer = quiet_trainer()
    monkeypatch.setattr("arena.ranks.count", lambda: 3)
    with pytest.raises(ConfigError, match=r"devices=3: .* arm.prompts=2; raise arm.prompts"):
        module.setup("fit")
