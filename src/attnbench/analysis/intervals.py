"""Intervals over seeds, and over measured times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval and the number of observations (seeds, processes) behind it.

    ``p`` is that of no difference, where it was tested.
    """

    value: float
    low: float
    high: float
    n: int
    p: float | None = None

    def text(self, form: str = ".3f") -> str:
        """Such as ``1.000 [0.998, 1.002]``, each number in the format ``form``; without brackets if it has no width."""
        if self.low == self.high:
            return shown(self.value, form)
        return f"{shown(self.value, form)} [{shown(self.low, form)}, {shown(self.high, form)}]"


def shown(value: float, form: str = ".3f") -> str:
    """A number in the format ``form``, and no minus before a zero."""
    text = f"{value:{form}}"
    return text.removeprefix("-") if math.isfinite(value) and float(text) == 0 else text


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The mean over seeds with Student's interval (scipy); unbounded with a single seed.

    Student's and not a bootstrap's: with eight values a bootstrap covers too little. Raises ``ValueError`` for no
    values, or values that are not finite.
    """
    from scipy import stats

    data = np.asarray(values, np.float64)
    if data.size == 0 or not np.isfinite(data).all():
        msg = f"a mean over seeds needs finite values; got {list(values)}"
        raise ValueError(msg)
    mean = float(data.mean())
    if data.size == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    if not data.std():
        return Interval(mean, mean, mean, data.size)
    low, high = stats.t.interval(confidence, data.size - 1, loc=mean, scale=stats.sem(data))
    return Interval(mean, float(low), float(high), data.size)


def geometric_interval(ratios: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The geometric mean of paired ratios (one for each seed) with Student's interval of their logarithms."""
    if not all(ratio > 0 and math.isfinite(ratio) for ratio in ratios):
        msg = f"ratios are finite and above 0; got {list(ratios)}"
        raise ValueError(msg)
    logs = mean_interval([math.log(ratio) for ratio in ratios], confidence)
    return Interval(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high), logs.n)
