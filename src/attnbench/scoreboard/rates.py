"""Rates with their intervals: exact for independent trials, and for cells of runs that share their machine's hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


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
    """Clopper and Pearson's interval at the effective number of cells (Korn and Graubard 1998).

    ``counts`` of ``sizes`` cells in each run: cells of one run have the machine's state in common. Where none or all
    cells count, nothing shows how alike they are, so a run then weighs as much as one cell.
    """
    count, of, runs = sum(counts), sum(sizes), len(sizes)
    if not of:
        return Rate(0, 0, 0.0, 1.0)
    share = count / of
    if runs < 2 or count in (0, of):  # noqa: PLR2004
        return _exact(count, of, float(runs))
    residuals = np.asarray(counts) - share * np.asarray(sizes)
    variance = runs / (runs - 1) * float((residuals**2).sum()) / of**2
    effective = share * (1 - share) / variance if variance > 0 else of
    return _exact(count, of, min(max(effective, 1.0), float(of)))


def _exact(count: int, of: int, effective: float) -> Rate:
    if not of:
        return Rate(0, 0, 0.0, 1.0)
    x = count / of * effective
    low = 0.0 if count == 0 else float(stats.beta.ppf(0.025, x, effective - x + 1))
    high = 1.0 if count == of else float(stats.beta.ppf(0.975, x + 1, effective - x))
    return Rate(count, of, low, high)
