import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl_baseline import config
from rl_baseline.advantage import GROUPED, advantages, signal

ONE = torch.tensor([[1.0, 0, 0, 0]])
EXPECTED = {
    "grpo": [1.499997, -0.499999, -0.499999, -0.499999],
    "dr_grpo": [0.75, -0.25, -0.25, -0.25],
    "rloo": [1, -1 / 3, -1 / 3, -1 / 3],
    "reinforce_pp": [1.620185, -0.540062, -0.540062, -0.540062],
    "pass_at_k": [1.999996, 0, 0, 0],
}


@pytest.mark.parametrize("name", config.ADVANTAGES)
def test_t5_advantages_of_one_correct_sample_in_four(name: str):
    found = advantages(name, ONE, torch.full((1, 4), 2))
    assert found.tolist()[0] == pytest.approx(EXPECTED[name], abs=1e-6)


@pytest.mark.parametrize("name", config.ADVANTAGES)
@given(reward=st.floats(-10, 10, width=32), group=st.integers(2, 9), groups=st.integers(1, 3))
def test_equal_rewards_give_exact_zeros(name: str, reward: float, group: int, groups: int):
    assert not advantages(name, torch.full((groups, group), reward), torch.ones(groups, group)).any()


@pytest.mark.parametrize("name", GROUPED)
def test_groups_do_not_see_each_other(name: str):
    first, second = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0.0, 1, 1]])
    together = GROUPED[name](torch.cat((first, second)))
    torch.testing.assert_close(together, torch.cat((GROUPED[name](first), GROUPED[name](second))))


def test_rloo_is_the_reward_less_the_mean_of_the_others():
    rewards = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slow = [
        [row[i] - (row.sum() - row[i]) / (len(row) - 1) for i in range(len(row))] for row in rewards.unbind()
    ]
    torch.testing.assert_close(GROUPED["rloo"](rewards), torch.tensor(slow, dtype=torch.float64))


def test_pass_at_k_pays_the_best_sample_for_its_lead():
    found = GROUPED["pass_at_k"](torch.tensor([[0.2, 0.9, 0.5], [1, 0, 1]]))
    spread = torch.tensor([0.2, 0.9, 0.5]).std().item()
    assert found[0].tolist() == pytest.approx([0, 0.4 / (spread + 1e-6), 0], rel=1e-5)
    assert not found[1].any()  # two share the best: neither was needed


def test_reinforce_pp_whitens_over_tokens():
    rewards = torch.tensor([[1.0, 0], [0.25, 3]], dtype=torch.float64)
    tokens = torch.tensor([[1, 4], [2, 3]])
    found = advantages("reinforce_pp", rewards, tokens)
    flat = torch.cat([r.repeat(int(n)) for r, n in zip(rewards.flatten(), tokens.flatten(), strict=True)])
    slow = (rewards - flat.mean()) / (flat.var() + 1e-8).sqrt()
    torch.testing.assert_close(found, slow)
    repeated = found.flatten().repeat_interleave(tokens.flatten())
    assert repeated.mean().item() == pytest.approx(0, abs=1e-12)
    assert repeated.var().item() == pytest.approx(1, abs=1e-6)


def test_signal_is_the_share_of_groups_with_unequal_rewards():
    assert signal(torch.tensor([[1.0, 0], [1, 1], [0, 0], [0, 1]])).item() == 0.5
