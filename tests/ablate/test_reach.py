"""The gradient by steps between: who stands how far from whom, and how many decades are lost."""

import math

import numpy as np
import pytest

from attnbench.ablate import reach

T, S = 4, 5


def falling(decades: float) -> dict[str, np.ndarray]:
    """Norms that lose so many decades at every step."""
    return {
        name: np.stack([10.0 ** (-decades * reach.steps_between(name, T, S))] * 3) for name in ("forward", "backward")
    }


def test_the_nearest_state_is_the_last_that_its_direction_makes() -> None:
    forward, backward = (reach.steps_between(name, T, S) for name in ("forward", "backward"))
    assert forward[0, S - 1] == backward[0, 0] == 0
    assert forward[T - 1, 0] == backward[T - 1, S - 1] == T + S - 2


def test_a_fall_is_found_again() -> None:
    np.testing.assert_allclose(reach.by_steps(falling(0.5)), 10.0 ** (-0.5 * np.arange(T + S - 1)))
    places = np.zeros((3, T), int)
    metrics = reach.summary("x", falling(0.5), places, 1)
    assert metrics["x.fall"] == pytest.approx(0.5 * (T + S - 2))
    assert metrics["x.step3"] == pytest.approx(10**-1.5)
    level = reach.summary("x", falling(0.0), places, 2)
    assert level["x.fall"] == 0.0
    assert level["x.right"] == pytest.approx(1.0)


def test_the_right_place_is_looked_up() -> None:
    norms = {name: np.zeros((1, T, S)) for name in ("forward", "backward")}
    for each in norms.values():
        each[0, np.arange(T), np.arange(T)] = 1.0
    assert reach.summary("x", norms, np.arange(T)[None], 1)["x.right"] == pytest.approx(S)
    assert reach.summary("x", norms, np.full((1, T), S - 1), 1)["x.right"] == 0.0


def test_a_gradient_that_is_nothing_is_a_number_all_the_same() -> None:
    nothing = {name: np.zeros((1, T, S)) for name in ("forward", "backward")}
    metrics = reach.summary("x", nothing, np.zeros((1, T), int), 1)
    assert all(map(math.isfinite, metrics.values()))
