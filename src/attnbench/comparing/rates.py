"""Rates with their intervals: exact for independent trials, and for cells of runs that share their machine's hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """``count`` of ``of``, with the ends of its 95 % interval."""

    count: int
    of: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """The rate; NaN of nothing."""
        return self.count / self.of if self.of else float("nan")

    def __str__(self) -> str:
        if not self.of:
            return "–"
        return f"{number(self.share)} % [{number(self.low)}, {number(self.high)}]"


def number(share: float) -> str:
    """A share in per cent, with as many digits as small ones need."""
    value = 100 * share
    return f"{value:.0f}" if value in (0, 100) else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def exact(count: int, of: int) -> Rate:
    """Clopper and Pearson's interval."""
    return _exact(count, of, float(of))


def clustered(counts: Sequence[int], sizes: Sequence[int]) -> Rate:
    """The interval of ``counts`` of ``sizes`` cells in each run, whose cells have the machine's state in common.

    Clopper and Pearson's at the effective number of cells, with the factor for the few runs by which that is known
    (Korn and Graubard 1998). Where none or all cells count, nothing shows how alike the cells of a run are, and they
    would take all cells as independent; here a run then weighs as much as one cell. No interval ends nearer than that
    one, or a first false alarm would make it narrower. Runs without a cell do not count.
    """
    given = [(int(count), int(size)) for count, size in zip(counts, sizes, strict=True) if size]
    count, of, runs = sum(hits for hits, _ in given), sum(size for _, size in given), len(given)
    if runs < 2 or count in (0, of):  # noqa: PLR2004
        return _exact(count, of, float(runs))
    share = count / of
    residuals = np.array([hits - share * size for hits, size in given])
    variance = runs / (runs - 1) * float((residuals**2).sum()) / of**2
    effective = min(share * (1 - share) / variance, of) if variance > 0 else of
    few = float(stats.t.ppf((1 + CONFIDENCE) / 2, of - 1) / stats.t.ppf((1 + CONFIDENCE) / 2, runs - 1))
    interval = _exact(count, of, max(effective * few**2, 1.0))
    none, every = _exact(0, of, float(runs)), _exact(of, of, float(runs))
    return Rate(count, of, min(interval.low, every.low), max(interval.high, none.high))


def _exact(count: int, of: int, effective: float) -> Rate:
    if not of:
        return Rate(0, 0, 0.0, 1.0)
    x, tail = count / of * effective, (1 - CONFIDENCE) / 2
    low = 0.0 if count == 0 else float(stats.beta.ppf(tail, x, effective - x + 1))
    high = 1.0 if count == of else float(stats.beta.ppf(1 - tail, x + 1, effective - x))
    return Rate(count, of, low, high)
