"""Draws have mean 0 and variance 1, one stream for each seed, the same every time."""

import numpy as np
import pytest

from attnbench.ablate import draws
from attnbench.errors import UsageError


@pytest.mark.parametrize("distribution", list(draws.STANDARDISED))
def test_components_are_standardised(distribution: str) -> None:
    values = draws.standardised(distribution, "q", (50_000,), seeds=(0, 1))
    np.testing.assert_allclose(values.mean(1), 0.0, atol=0.02)
    np.testing.assert_allclose(values.var(1), 1.0, atol=0.02)


def test_seeds_lie_along_the_batch_and_repeat() -> None:
    both = draws.seeded_operands(heads=2, queries=3, keys=5, d=4, values=6, seeds=(0, 7))
    assert both.q.shape == (2, 2, 3, 4)
    assert both.k.shape == (2, 2, 5, 4)
    assert both.v.shape == (2, 2, 5, 6)
    again = draws.seeded_operands(heads=2, queries=3, keys=5, d=4, values=6, seeds=(7,))
    np.testing.assert_array_equal(both.q[1], again.q[0])
    assert not np.array_equal(both.q[0], both.q[1])
    assert not np.array_equal(both.q.ravel()[:20], both.k.ravel()[:20])


def test_a_zero_bias_has_the_shape_of_the_logits() -> None:
    biased = draws.with_zero_bias(draws.seeded_operands(heads=2, queries=3, keys=5, d=4, seeds=(0, 7)))
    assert biased.bias is not None
    assert biased.bias.shape == (2, 2, 3, 5)
    assert not biased.bias.any()


def test_unknown_names_are_refused_with_a_hint() -> None:
    with pytest.raises(UsageError, match="distribution 'normall' is not one of normal, uniform, rademacher"):
        draws.standardised("normall", "q", (1,))
    with pytest.raises(UsageError, match="scale 'sqrt' is not one of none"):
        draws.named_scale("sqrt")
