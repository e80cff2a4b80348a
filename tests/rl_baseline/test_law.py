import math

import pytest

from rl_baseline.law import fit


def test_t8_the_entropy_law() -> None:
    law = fit([math.log(x) for x in (1, 2, 3)], [0.5, 0.42, 0.3])
    assert law.a == pytest.approx(0.1, abs=1e-6)
    assert law.b == pytest.approx(0.606667, abs=1e-6)
    assert law.ceiling == pytest.approx(0.506667, abs=1e-6)
    assert law.standard_error == pytest.approx(0.014907, abs=1e-6)
    assert law.half_width == pytest.approx(0.189413, abs=1e-6)


@pytest.mark.parametrize("entropies", [[0.1, 0.2], [0.3, 0.3, 0.3], []])
def test_too_little_to_fit_is_an_error(entropies: list[float]) -> None:
    with pytest.raises(ValueError, match="need three of unequal entropy"):
        fit(entropies, [0.5] * len(entropies))
