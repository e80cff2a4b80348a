import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl_baseline.advantage import ADVANTAGES, dr_grpo, grpo, signal


def test_grpo_divides_by_the_sample_standard_deviation():
    advantages = grpo(torch.tensor([[1.0, 0, 0, 0]]))
    assert advantages.tolist()[0] == pytest.approx([1.499997, -0.499999, -0.499999, -0.499999], abs=1e-6)


def test_dr_grpo_only_centres():
    advantages = dr_grpo(torch.tensor([[1.0, 0, 0, 0]]))
    assert advantages.tolist()[0] == pytest.approx([0.75, -0.25, -0.25, -0.25], abs=1e-6)


@pytest.mark.parametrize("name", ADVANTAGES)
@given(reward=st.floats(-10, 10, width=32), group=st.integers(2, 9))
def test_a_group_of_equal_rewards_gives_exact_zeros(name: str, reward: float, group: int):
    assert not ADVANTAGES[name](torch.full((1, group), reward)).any()


@pytest.mark.parametrize("name", ADVANTAGES)
def test_groups_do_not_see_each_other(name: str):
    first, second = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0.0, 1, 1]])
    together = ADVANTAGES[name](torch.cat((first, second)))
    torch.testing.assert_close(together, torch.cat((ADVANTAGES[name](first), ADVANTAGES[name](second))))


def test_signal_is_the_share_of_groups_with_unequal_rewards():
    assert signal(torch.tensor([[1.0, 0], [1, 1], [0, 0], [0, 1]])).item() == 0.5
