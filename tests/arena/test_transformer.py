"""The backbone: rotary embedding, causality, caches."""

import pytest
import torch

from arena.config import Size
from arena.transformer import Backbone, RMSNorm, TransformerLM, rotary_tables, rotate
from tests.conftest import TINY


def test_rotation_is_the_complex_product() -> None:
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    positions = torch.tensor([0, 1, 2, 7, 30])
    turned = rotate(x, rotary_tables(positions, 8))
    angles = positions[:, None].double() * 10_000.0 ** (-torch.arange(0, 8, 2).double() / 8)
    expected = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones_like(angles), angles)
    torch.testing.assert_close(turned, torch.cat((expected.real, expected.imag), -1), atol=1e-5, rtol=1e-5)


def test_scores_depend_on_distance_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)

    def score(i: int, j: int) -> torch.Tensor:
        return (
            rotate(q, rotary_tables(torch.tensor([i]), 8)) * rotate(k, rotary_tables(torch.tensor([j]), 8))
        ).sum()

    torch.testing.assert_close(score(3, 1), score(9, 7), atol=1e-5, rtol=1e-5)


def test_norm_by_hand() -> None:
    norm = RMSNorm(2)
    torch.testing.assert_close(norm(torch.tensor([3.0, 4.0])), torch.tensor([3.0, 4.0]) / 12.5**0.5)


def test_no_token_sees_a_later_one() -> None:
    torch.manual_seed(0)
    model = TransformerLM(TINY, 11)
    tokens = torch.randint(11, (2, 9))
    changed = tokens.clone()
    changed[:, 5] = (changed[:, 5] + 1) % 11
    before, after = model(tokens)[0], model(changed)[0]
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


def test_cached_equals_whole() -> None:
    torch.manual_seed(0)
    model = TransformerLM(TINY, 11)
    tokens = torch.randint(11, (2, 9))
    whole, _ = model(tokens)
    hidden, cache = model(tokens[:, :6])
    parts = [hidden]
    for i in range(6, 9):
        # One token after a cache sees all of it, with or without being told so.
        mask = torch.ones(1, 1, 1, i + 1, dtype=torch.bool) if i == 6 else None
        hidden, cache = model(tokens[:, i : i + 1], torch.tensor([i]), mask, cache)
        parts.append(hidden)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="2 tokens after a cache"):
        model(tokens[:, :2], torch.tensor([9, 10]), None, cache)


def test_keys_and_values_are_those_of_the_full_pass() -> None:
    torch.manual_seed(0)
    backbone = Backbone(Size(name="s", layers=3, heads=2, width=16, lr=1e-3))
    x, order = torch.randn(2, 7, 16), torch.arange(7)
    _, full = backbone.observe(x, order)
    short = backbone.keys_values(x, order)
    grown = backbone.keys_values(x[:, :6], order[:6])
    grown = backbone.keys_values(x[:, 6:], order[6:], grown)
    for a, b, c in zip(full, short, grown, strict=True):
        for i in range(2):
            torch.testing.assert_close(a[i], b[i])
            torch.testing.assert_close(a[i], c[i], atol=1e-5, rtol=1e-5)
