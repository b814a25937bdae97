"""What all verdicts of a comparison have in common: drift, which rarely shows where there is none, and reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from attnbench.comparing import Verdict, exit_code
from attnbench.comparing.together import drifts, shared_reasons
from attnbench.comparing.verdicts import Word

MARGIN = 0.05
Array = np.ndarray[Any, np.dtype[np.float64]]


def verdict(number: int, word: Word = "same", impl: str | None = None, **fields: Any) -> Verdict:
    name = impl or f"pytest-benchmark/test_{number:02d}"
    return Verdict("s", f"case{number}", f"case {number}", name, "cpu", 1, "time", word, **fields)


def moved(ratios: Sequence[float] | Array, impls: Sequence[str] | None = None) -> list[Verdict]:
    """Verdicts on cells whose times changed by these factors."""
    return [
        verdict(i, impl=impls[i] if impls else None, ratio=float(ratio), low=0.1, high=9.0)
        for i, ratio in enumerate(ratios)
    ]


@pytest.mark.parametrize("factor", [1.12, 1 / 1.12, 2.0, 1.04])
def test_all_cells_that_move_alike_are_said_to(factor: float) -> None:
    (drift,) = drifts(moved(factor * np.exp(0.002 * np.random.default_rng(1).standard_normal(21))), MARGIN)
    assert (drift.cells, drift.alike) == (21, 21)
    assert drift.ratio == pytest.approx(factor, rel=0.003)
    assert drift.low < drift.ratio < drift.high
    assert drift.sentence.startswith("All 21 compared cells moved alike, by about ")
    assert "the machine, or what all of them share?" in drift.sentence


NO_DRIFT: dict[str, Sequence[float]] = {
    "one twice as slow among twenty": [2.0] + [1.0] * 20,
    "unchanged": [1.0] * 21,
    "two cells": [1.12, 1.12],
    "five cells": [1.12] * 5,
    "less than half of the margin": [1.02] * 21,
    "a third of them": [1.12] * 7 + [1.0] * 14,
    "half of them": [1.12] * 11 + [1.0] * 10,
    "three quarters of them": [1.12] * 15 + [1.0] * 5,
    "half up, half down": [1.12] * 10 + [0.89] * 10,
    "each by its own": [1.03, 1.06, 1.1, 1.2, 1.3, 1.5, 1.8, 2.2, 3.0, 4.0],
    "none": [],
}


@pytest.mark.parametrize("what", NO_DRIFT)
def test_nothing_is_said_where_cells_do_not_move_alike(what: str) -> None:
    assert drifts(moved(NO_DRIFT[what]), MARGIN) == []


def test_most_of_them_are_counted() -> None:
    (drift,) = drifts(moved([1.12] * 19 + [1.0, 1.6]), MARGIN)
    assert (drift.cells, drift.alike) == (21, 19)
    assert drift.sentence.startswith("19 of 21 compared cells moved alike")


@pytest.mark.parametrize("cells", [6, 12, 49])
def test_drift_is_rarely_seen_without_any_and_mostly_where_there_is_one(cells: int) -> None:
    """By simulation: noise of each cell by itself, with heavy tails too, slowdowns of many sizes; a common factor."""
    rng, times = np.random.default_rng(7), 200

    def share(draw: Callable[[], Array]) -> float:
        return float(np.mean([bool(drifts(moved(np.exp(draw())), MARGIN)) for _ in range(times)]))

    for noise in (0.005, 0.03, 0.1):
        assert share(lambda noise=noise: noise * rng.standard_normal(cells)) < 0.01  # type: ignore[misc]
        assert share(lambda noise=noise: noise * rng.standard_t(2, cells)) < 0.02  # type: ignore[misc]
    by_itself = 0.1 if cells < 10 else 0.02
    assert share(lambda: rng.exponential(0.3, cells)) < by_itself
    assert share(lambda: rng.uniform(0, 0.5, cells)) < by_itself
    for change in (0.12, -0.12, 0.3):
        assert share(lambda change=change: change + 0.02 * rng.standard_normal(cells)) > 0.95  # type: ignore[misc]
        assert share(lambda change=change: change + 0.01 * rng.standard_t(3, cells)) > 0.95  # type: ignore[misc]


def test_cells_of_one_implementation_may_move_by_its_code() -> None:
    (drift,) = drifts(moved([1.2] * 8, ["numpy/naive"] * 8), MARGIN)
    assert drift.sentence.endswith("the machine? All are of numpy/naive, whose code alone can do that too.")


def test_a_backend_whose_cells_alone_moved_is_named() -> None:
    impls = [f"torch/{i}" for i in range(8)] + [f"numpy/{i}" for i in range(8)]
    (drift,) = drifts(moved([1.2] * 8 + [1.0] * 8, impls), MARGIN)
    assert (drift.backend, drift.cells) == ("torch", 8)
    assert drift.sentence.startswith("All 8 cells of torch moved alike, by about +20.0 %")
    assert drifts(moved([1.2] * 8 + [1.0] * 8, impls[:1] * 16), MARGIN) == []


def test_memory_and_cells_without_a_ratio_do_not_count() -> None:
    cells = moved([1.12] * 8)
    others = [
        Verdict("s", "c", "c", "a/b", "cpu", 1, "memory", "larger", ratio=3.0),
        *(verdict(i, "not-comparable", reason="machines") for i in range(9)),
        verdict(1, ratio=float("inf")),
    ]
    (drift,) = drifts([*cells, *others], MARGIN)
    assert (drift.cells, drift.alike) == (8, 8)


def test_a_reason_that_several_share_is_told_once_and_changes_no_status() -> None:
    machines = [verdict(i, "not-comparable", reason="machine differs") for i in range(40)]
    few = [verdict(i, "inconclusive", reason="too few samples") for i in range(9)]
    measured = [verdict(i, "inconclusive", reason="the interval", ratio=1.0, low=0.9, high=1.1) for i in range(9)]
    first, second = shared_reasons([*few, *machines, *measured])
    assert first.sentence == "not-comparable, 40 of 58: machine differs"
    assert second.sentence == "inconclusive, 9 of 58: too few samples"
    assert shared_reasons(machines)[0].sentence == "not-comparable, all 40: machine differs"
    assert shared_reasons(machines[:2]) == []
    assert exit_code([*machines, *few]) == 3
