"""Contrasts between arms that share their seeds: paired differences, BCa intervals, exact tests, Holm, equivalence.

A family of contrasts is named before anything is measured; its p-values are adjusted together (Holm 1979). With fewer
than six pairs no exact two-sided test can reach .05, and none is made: a smoke run has no verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from attnbench.analysis.claims import Claim, ClaimVerdict, claim_of, judge
from attnbench.analysis.frames import METRIC, POINT, measured
from attnbench.analysis.intervals import CONFIDENCE, Interval

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 9999
# Contrasts by their claim: the id of a published one, or a suite's own.
Family = Mapping[str, "Contrast"] | Mapping[Claim, "Contrast"] | Mapping[str | Claim, "Contrast"]
# Accuracies are counts over a count: what is beyond these decimals is rounding, and would have a sign of its own.
DECIMALS = 12
# 2/2⁶ is below .05, and 2/2⁵ is not.
FEWEST_PAIRS = 6


@dataclass(frozen=True)
class Contrast:
    """The differences of two arms, one for each seed that both were measured with."""

    differences: tuple[float, ...]

    @property
    def testable(self) -> bool:
        """Whether there are pairs enough for an exact test to reach .05."""
        return len(self.differences) >= FEWEST_PAIRS

    def interval(self) -> Interval:
        """The mean difference with its BCa interval (Efron 1987); without width where all differences are equal."""
        from scipy import stats

        data = np.asarray(self.differences, np.float64)
        mean = float(data.mean())
        if not np.ptp(data):
            return Interval(mean, mean, mean, len(data))
        bootstrapped = stats.bootstrap(
            (data,), np.mean, method="BCa", confidence_level=CONFIDENCE, n_resamples=RESAMPLES, rng=0
        ).confidence_interval
        return Interval(mean, float(bootstrapped.low), float(bootstrapped.high), len(data))

    def p(self) -> float:
        """Two-sided p of no difference, over all 2ⁿ flips of the signs; its floor is 2/2ⁿ."""
        return _flips(np.asarray(self.differences), "two-sided")

    def p_equivalent(self, low: float, high: float) -> float:
        """The p of equivalence within low..high: the larger of two exact one-sided tests (TOST, Schuirmann 1987)."""
        data = np.asarray(self.differences)
        return max(_flips(data - low, "greater"), _flips(data - high, "less"))


def _flips(data: np.ndarray[Any, Any], alternative: Literal["two-sided", "less", "greater"]) -> float:
    from scipy import stats

    every = 2 ** len(data)  # with so many or more, SciPy goes through all of them
    test = stats.permutation_test(
        [data], np.mean, permutation_type="samples", alternative=alternative, n_resamples=every
    )
    return float(test.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979), in the given order: the k-th smallest times n + 1 − k, never falling."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def differences(rows: pd.DataFrame, metric: str, over: Mapping[str, Any], under: Mapping[str, Any]) -> Contrast:
    """A metric at one selection of points less the same at another, paired by the axis ``seed``.

    A selection that leaves several rows for a seed, such as a grid of learning rates, is averaged for that seed.
    """

    def by_seed(point: Mapping[str, Any]) -> Any:
        return measured(rows, **point).groupby(POINT + "seed")[METRIC + metric].mean()

    both = (by_seed(over) - by_seed(under)).dropna()
    return Contrast(tuple(round(float(difference), DECIMALS) for difference in both.sort_index()))


def between_metrics(rows: pd.DataFrame, over: str, under: str, point: Mapping[str, Any]) -> Contrast:
    """One metric less another of the same cells, such as a measure less its control, paired by the axis ``seed``."""
    chosen = measured(rows, **point)
    both = chosen.groupby(POINT + "seed")[[METRIC + over, METRIC + under]].mean().dropna().sort_index()
    paired_differences = both[METRIC + over] - both[METRIC + under]
    return Contrast(tuple(round(float(difference), DECIMALS) for difference in paired_differences))


def judge_family(family: Family, implementations: tuple[str, ...] = ()) -> list[ClaimVerdict]:
    """A verdict for each claim of a family, with the p of its contrast adjusted for all of them.

    A claim is an id of a published one, or a suite's own (``claims.expectation``).
    A claim of equivalence is held to the test of equivalence, every other to that of a difference. A contrast with too
    few pairs for a test is out of scope.
    """
    every: list[tuple[str | Claim, Contrast]] = list(family.items())
    tested = [(claim, contrast) for claim, contrast in every if contrast.testable]
    p_values = holm([_p(claim_of(claim), contrast) for claim, contrast in tested])
    adjusted = {claim: p for (claim, _), p in zip(tested, p_values, strict=True)}
    return [
        judge(claim, contrast.interval() if claim in adjusted else None, implementations, adjusted.get(claim))
        for claim, contrast in every
    ]


def _p(claim: Claim, contrast: Contrast) -> float:
    return contrast.p_equivalent(claim.low, claim.high) if claim.equivalence else contrast.p()


def text(contrast: Contrast) -> str:
    """Such as ``0.412 [0.380, 0.450], p = .008``; without an interval and a p where there are too few pairs."""
    if not contrast.differences:
        return "not measured"
    if not contrast.testable:
        seeds = f"{len(contrast.differences)} seed{'s' * (len(contrast.differences) > 1)}"
        return f"{np.mean(contrast.differences):.3f} ({seeds}, no test)"
    return f"{contrast.interval().text()}, p = {contrast.p():.3f}"
