"""Diagnostics against closed forms, against their definition in extended precision, and against their bounds."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbench.analysis import diagnostics

logits = st.lists(st.floats(-30.0, 30.0), min_size=2, max_size=12)


def softmax(row: list[float]) -> np.ndarray:
    terms = np.exp(np.array(row) - max(row))
    return np.asarray(terms / terms.sum())


@given(logits)
def test_entropy_lies_between_zero_and_log_n(row: list[float]) -> None:
    entropy = float(diagnostics.entropy(softmax(row)))
    assert -1e-12 <= entropy <= math.log(len(row)) + 1e-12


@pytest.mark.parametrize("n", [2, 3, 64])
def test_uniform_weights_have_the_largest_entropy(n: int) -> None:
    uniform = np.full((3, n), 1 / n)
    np.testing.assert_allclose(diagnostics.normalised_entropy(uniform), 1.0, atol=1e-14)
    np.testing.assert_allclose(diagnostics.max_weight(uniform), 1 / n)


def test_one_key_alone_has_no_entropy() -> None:
    alone = np.eye(5)[:2]
    assert (diagnostics.entropy(alone) == 0).all()
    assert (diagnostics.max_weight(alone) == 1).all()
    assert (diagnostics.softmax_jacobian_norm(alone) == 0).all()
    assert (diagnostics.normalised_entropy(np.ones((2, 1))) == 0).all()


@given(logits)
def test_the_jacobian_norm_is_that_of_the_matrix(row: list[float]) -> None:
    p = softmax(row)
    with mpmath.workdps(60):
        exact = [mpmath.mpf(float(x)) for x in p]
        top = int(p.argmax())
        exact[top] = 1 - mpmath.fsum(x for i, x in enumerate(exact) if i != top)
        pairs = ((i, j) for i in range(len(exact)) for j in range(len(exact)))
        squares = ((exact[i] * (i == j) - exact[i] * exact[j]) ** 2 for i, j in pairs)
        expected = float(mpmath.sqrt(mpmath.fsum(squares)))
    assert float(diagnostics.softmax_jacobian_norm(p)) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(logits)
def test_the_jacobian_norm_is_at_most_its_bound(row: list[float]) -> None:
    assert float(diagnostics.softmax_jacobian_norm(softmax(row))) <= 0.5 + 1e-12


def test_two_equal_keys_reach_the_jacobian_bound() -> None:
    assert float(diagnostics.softmax_jacobian_norm(np.array([0.5, 0.5]))) == pytest.approx(0.5)


def test_the_jacobian_norm_keeps_its_digits_near_saturation() -> None:
    tiny = 1e-20
    # To first order: the largest weight's row and column and the other's diagonal, three entries and one of `tiny`.
    assert float(diagnostics.softmax_jacobian_norm(np.array([1.0, tiny]))) == pytest.approx(2 * tiny)


@given(st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=9), st.sampled_from([1e-200, 1.0, 1e200]))
def test_row_norms_neither_underflow_nor_overflow(row: list[float], factor: float) -> None:
    expected = math.hypot(*row) * factor
    assert float(diagnostics.row_norms(np.array(row) * factor)) == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_the_quantile_fan_is_per_seed_and_in_order() -> None:
    values = np.arange(2 * 101.0).reshape(2, 1, 101)
    fan = diagnostics.quantile_fan(values)
    np.testing.assert_allclose(fan["median"], [50.0, 151.0])
    np.testing.assert_allclose(fan["p10"], [10.0, 111.0])
    np.testing.assert_allclose(fan["p90"], [90.0, 191.0])
    np.testing.assert_allclose(fan["mean"], [50.0, 151.0])


@given(st.floats(-3.0, 3.0), st.floats(0.01, 100.0))
def test_a_power_law_has_its_exponent(power: float, factor: float) -> None:
    x = [1.0, 4.0, 16.0, 256.0]
    assert diagnostics.loglog_slope(x, [factor * value**power for value in x]) == pytest.approx(power, abs=1e-9)


@pytest.mark.parametrize(("x", "y"), [([2.0, 2.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 1.0]), ([4.0], [1.0])])
def test_an_exponent_without_a_line_is_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="an exponent needs two different x"):
        diagnostics.loglog_slope(x, y)


def test_numbers_by_seed_hold_the_mean_and_the_kept_ones() -> None:
    metrics = diagnostics.by_seed({"a": np.array([1.0, 3.0]), "b": np.array([2.0, 2.0])}, kept=("a",))
    assert metrics == {"a": 2.0, "b": 2.0, "a.seed0": 1.0, "a.seed1": 3.0}


@given(logits)
def test_no_softmax_has_less_entropy_than_the_norm_of_its_logits_allows(row: list[float]) -> None:
    floor = float(diagnostics.entropy_floor(float(np.linalg.norm(row)), len(row)))
    assert float(diagnostics.entropy(softmax(row))) >= floor - 1e-12


@pytest.mark.parametrize(("keys", "norm"), [(2, 3.0), (7, 0.5), (64, 9.0)])
def test_the_floor_of_the_entropy_is_reached(keys: int, norm: float) -> None:
    row = np.full(keys, -1.0 / keys)
    row[0] += 1.0
    row *= norm / np.linalg.norm(row)
    floor = float(diagnostics.entropy_floor(norm, keys))
    assert float(diagnostics.entropy(softmax(list(row)))) == pytest.approx(floor, rel=1e-12)
    assert float(diagnostics.entropy_floor(0.0, keys)) == pytest.approx(math.log(keys))
