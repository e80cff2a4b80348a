import pytest
import torch

from rl_baseline.aggregation import aggregate, divisor, masked_mean
from rl_baseline.config import AGGREGATIONS

VALUES = torch.tensor([[1.0, 2, 3], [4, 9, 9]])


@pytest.mark.parametrize(
    ("how", "expected", "with_an_empty_row"),
    [
        ("token_mean", 2.5, 2),
        ("seq_mean_token_sum", 5, 6),
        ("seq_mean_token_mean", 3, 2),
        ("sum_norm", 10 / 6, 1),
    ],
)
def test_t6_aggregation(how: str, expected: float, with_an_empty_row: float) -> None:
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    assert aggregate(VALUES, mask, how).item() == pytest.approx(expected, abs=1e-6)
    mask[1, 0] = False
    assert aggregate(VALUES, mask, how).item() == pytest.approx(with_an_empty_row, abs=1e-6)
    assert aggregate(VALUES, torch.zeros_like(mask), how).item() == 0


def test_denominators_count_the_tokens_that_they_are_told_to() -> None:
    counted = torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    kept = torch.tensor([[0, 0, 1], [1, 0, 0]], dtype=torch.bool)
    found = [aggregate(VALUES, kept, how, counted_BT=counted).item() for how in AGGREGATIONS]
    assert found == pytest.approx([7 / 4, 7 / 2, (3 / 3 + 4) / 2, 7 / 6])


def test_sum_norm_divides_by_a_given_length() -> None:
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    assert aggregate(VALUES, mask, "sum_norm", length=10).item() == pytest.approx(0.5)


def test_an_unknown_aggregation_is_named() -> None:
    with pytest.raises(ValueError, match="aggregation mean: choose token_mean"):
        aggregate(VALUES, VALUES > 0, "mean")


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_parts_with_the_divisor_of_the_whole_sum_to_the_whole(how: str) -> None:
    draw = torch.Generator().manual_seed(0)
    values = torch.rand(7, 4, generator=draw, dtype=torch.float64)
    counted = torch.arange(4) < torch.tensor([4, 1, 0, 2, 3, 4, 1])[:, None]
    kept = counted & (torch.rand(7, 4, generator=draw) < 0.5)
    whole = aggregate(values, kept, how, counted_BT=counted, length=6)
    divide_by = divisor(counted, how, length=6)
    parts = [
        aggregate(values[rows], kept[rows], how, counted_BT=counted[rows], divide_by=divide_by)
        for rows in torch.arange(7).split(3)
    ]
    torch.testing.assert_close(sum(parts), whole)


def test_means_of_parts_sum_to_the_mean() -> None:
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    parts = [masked_mean(VALUES[i : i + 1], mask[i : i + 1], mask.sum()) for i in range(2)]
    assert sum(parts) == masked_mean(VALUES, mask) == 2.5
    assert masked_mean(VALUES, torch.zeros_like(mask)) == 0
