"""Two totals paired by process: the ratio with Student's interval of its logarithm, and whether it is 1.

One number for each process: bursts and rounds within a process are never taken for independent observations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from attnbench.analysis.contrasts import holm
from attnbench.analysis.intervals import CONFIDENCE, Interval, geometric_interval
from attnbench.workloads.totals import Seconds, geometric_mean

# With fewer processes nothing is claimed: two tell a spread by luck.
FEWEST = 3
# The rate at which anything of a verdict may be wrong by chance.
ALPHA = 1 - CONFIDENCE


@dataclass(frozen=True)
class TotalRatio:
    """How many times as long one takes as another; ``p`` is that of a ratio of 1, ``told`` whether it is excluded."""

    over: str
    under: str
    ratio: Interval
    p: float
    told: bool = False


def compared(over: tuple[str, Seconds], under: tuple[str, Seconds]) -> TotalRatio:
    """One over the other, by the processes that both were in."""
    logs = log_ratios(over[1], under[1])
    ratio = geometric_interval([math.exp(log) for log in logs]) if logs else Interval(math.nan, 0.0, math.inf, 0)
    return TotalRatio(over[0], under[0], ratio, p_of_one(logs))


def log_ratios(over: Seconds, under: Seconds) -> list[float]:
    """The logarithm of the ratio in every process that both were in."""
    return [math.log(over[process] / under[process]) for process in sorted(set(over) & set(under))]


def p_of_one(logs: Sequence[float]) -> float:
    """Student's p of a mean of 0; 1 with fewer than ``FEWEST`` processes, which show nothing."""
    from scipy import stats

    if len(logs) < FEWEST or not any(logs):
        return 1.0
    if max(logs) == min(logs):
        return 0.0
    return float(stats.ttest_1samp(logs, 0.0).pvalue)


def against_best(seconds: Mapping[str, Seconds]) -> list[TotalRatio]:
    """Every other one over the fastest, in the order of their times; nothing is ``told`` yet (``judged``)."""
    order = sorted(seconds, key=lambda name: geometric_mean(seconds[name]))
    return [compared((name, seconds[name]), (order[0], seconds[order[0]])) for name in order[1:]]


def judged(families: Mapping[str, Sequence[TotalRatio]]) -> dict[str, list[TotalRatio]]:
    """The same with ``told``: Holm's procedure over all comparisons of a verdict together.

    The fastest is chosen by the same data, so each counts for the comparisons that it could have been: all pairs.
    """
    every = [each for family in families.values() for each in family]
    pairs = sum(len(family) * (len(family) + 1) // 2 for family in families.values())
    unasked = [1.0] * (pairs - len(every))
    adjusted = iter(holm([*(each.p for each in every), *unasked]))
    return {
        name: [replace(each, told=next(adjusted) <= ALPHA and each.ratio.value > 1) for each in family]
        for name, family in families.items()
    }


def not_told(family: Iterable[TotalRatio]) -> list[str]:
    """Those that could not be told from the fastest."""
    return [each.over for each in family if not each.told]
