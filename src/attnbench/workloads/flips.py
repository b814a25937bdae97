"""At which share of prefill the winner flips: another mix of the same calls, more of one stage and fewer of the other.

Let a be what one prefill call takes an implementation on average, d one decode call. With a share p of prefill among
the calls a call of the mix takes p·a + (1 − p)·d. The winner along p is the lower envelope of these lines, and where
two of them cross the winner flips. The interval holds every share at which the ratio of the two is not told from 1 (a
test of each share by Student's t over processes, as Fieller 1954 did for ratios of means); at both ends of the axis,
where a stage stands alone, it must be told, with different signs: otherwise no flip is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnbench.analysis.intervals import CONFIDENCE
from attnbench.analysis.rounds import ASSUMED, LEAST, student
from attnbench.analysis.rounds import FEWEST as ENOUGH
from attnbench.workloads.grammar import DECODE, PREFILL
from attnbench.workloads.paired import FEWEST
from attnbench.workloads.totals import Seconds, Served, geometric_mean

# Shares between 0 and 1, dense at both ends: decode calls are often a hundred times as many.
SHARES = 4001


@dataclass(frozen=True)
class Line:
    """An implementation's mean seconds of a call of each stage, for each process."""

    impl: str
    prefill: Seconds
    decode: Seconds

    def at(self, share: Any, processes: Sequence[int]) -> Any:
        """Seconds of a mean call at shares of prefill, an axis behind that of the processes."""
        a, d = (np.array([seconds[process] for process in processes]) for seconds in (self.prefill, self.decode))
        return a[:, None] * share + d[:, None] * (1 - share)

    def mean(self) -> tuple[float, float]:
        """A decode call and a prefill call, geometric means over processes."""
        return geometric_mean(self.decode), geometric_mean(self.prefill)


@dataclass(frozen=True)
class Flip:
    """Where the winner flips, as prefill's share of the calls: ``at`` within ``low`` to ``high``.

    ``reason`` says why it cannot be told; then there are no numbers. ``query_share`` gives ``at``, ``low`` and ``high``
    as prefill's share of the queries, which are the tokens that are new.
    """

    below: str
    above: str
    at: float | None = None
    low: float | None = None
    high: float | None = None
    query_share: tuple[float, float, float] | None = None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        numbers = {"at": self.at, "low": self.low, "high": self.high, "query_share": self.query_share}
        return {**numbers, "faster_below": self.below, "faster_above": self.above, "reason": self.reason or None}


def lines(served: Served) -> list[Line]:
    """The line of every implementation that serves both stages; none where the mix has one stage alone."""
    if set(served.calls) != {PREFILL, DECODE}:
        return []
    a, d = served.stages[PREFILL], served.stages[DECODE]
    return [
        Line(impl, _per_call(a[impl].seconds, served.calls[PREFILL]), _per_call(d[impl].seconds, served.calls[DECODE]))
        for impl in a
        if impl in d and set(a[impl].seconds) & set(d[impl].seconds)
    ]


def _per_call(seconds: Seconds, calls: int) -> dict[int, float]:
    return {process: value / calls for process, value in seconds.items()}


def winners(of_all: Sequence[Line]) -> list[Line]:
    """Who is fastest along the share of prefill, from none to all: the lower envelope of the mean lines."""
    grid = shares()
    means = np.array([line.mean() for line in of_all])
    heights = means[:, :1] * (1 - grid) + means[:, 1:] * grid
    order = dict.fromkeys(int(place) for place in heights.argmin(0))
    return [of_all[place] for place in order]


def shares() -> Any:
    """The shares that are tried."""
    from scipy.special import expit

    inner = expit(np.linspace(-14.0, 14.0, SHARES - 2))
    return np.concatenate([[0.0], inner, [1.0]])


def flip(first: Line, second: Line, queries_per_call: Mapping[str, float], *, apart: bool = False) -> Flip:
    """Where ``second`` overtakes ``first`` as prefill's share grows; ``apart`` as in ``paired.against_best``."""
    processes = sorted(set(first.prefill) & set(first.decode) & set(second.prefill) & set(second.decode))
    if len(processes) < FEWEST:
        return Flip(
            first.impl, second.impl, reason=f"{len(processes)} processes are too few to tell; {FEWEST} are needed"
        )
    grid = shares()
    logs = np.log(first.at(grid, processes) / second.at(grid, processes))
    mean, half = logs.mean(0), _half_width(logs, ASSUMED if apart or len(logs) < ENOUGH else LEAST)
    sure_first, sure_second = mean + half < 0, mean - half > 0
    if not (sure_first[0] and sure_second[-1]):
        stage = DECODE if not sure_first[0] else PREFILL
        return Flip(
            first.impl, second.impl, reason=f"{first.impl} and {second.impl} cannot be told apart in {stage} alone"
        )
    open_to = np.flatnonzero(~(sure_first | sure_second))
    low, high = int(np.flatnonzero(sure_first)[-1]), int(np.flatnonzero(sure_second)[0])
    if len(open_to):  # the shares around the open ones are told: that is where the interval ends
        low, high = min(int(open_to[0]) - 1, low), max(int(open_to[-1]) + 1, high)
    at = float(np.interp(0.0, mean, grid)) if (np.diff(mean) > 0).all() else float(grid[int(np.abs(mean).argmin())])
    ends = float(grid[low]), float(grid[high])
    of_queries = tuple(_of_queries(share, queries_per_call) for share in (at, *ends))
    return Flip(first.impl, second.impl, at, *ends, query_share=(of_queries[0], of_queries[1], of_queries[2]))


def _half_width(logs: Any, least: float) -> Any:
    """Half of Student's interval of the mean over processes, at every share, of a spread of ``least`` or more."""
    spread = np.maximum(logs.std(axis=0, ddof=1), least)
    return student(CONFIDENCE, max(len(logs), ENOUGH) - 1) * spread / np.sqrt(len(logs))


def _of_queries(share: float, queries_per_call: Mapping[str, float]) -> float:
    prefill, decode = share * queries_per_call[PREFILL], (1 - share) * queries_per_call[DECODE]
    return prefill / (prefill + decode)
