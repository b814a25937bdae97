"""Two totals paired by process: the ratio with Student's interval of its logarithm, and whether it is 1.

One number for each process: bursts and rounds within a process are never taken for independent observations. The
intervals are those of every other pair of cells (``analysis.rounds``): with few processes their spread is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from attnbench.analysis.contrasts import holm
from attnbench.analysis.intervals import CONFIDENCE, Interval
from attnbench.analysis.rounds import ASSUMED, Paired, paired, usual_spread
from attnbench.workloads.totals import Seconds, geometric_mean

# With fewer processes nothing is claimed: two tell a spread by luck.
FEWEST = 3
# The rate at which anything of a verdict may be wrong by chance.
ALPHA = 1 - CONFIDENCE
# Whether two implementations were measured in other blocks.
Apart = Callable[[str, str], bool]


def _never(a: str, b: str) -> bool:
    del a, b
    return False


@dataclass(frozen=True)
class TotalRatio:
    """How many times as long one takes as another; ``p`` is that of a ratio of 1, ``told`` whether it is excluded."""

    over: str
    under: str
    ratio: Interval
    p: float
    told: bool = False


def compared(over: tuple[str, Seconds], under: tuple[str, Seconds], least: float = 0.0) -> TotalRatio:
    """One over the other, by the processes that both were in, whose spread is taken to be ``least`` or more."""
    pair = pair_of(over[1], under[1], least)
    if pair is None:
        return TotalRatio(over[0], under[0], Interval(math.nan, 0.0, math.inf, 0), 1.0)
    ratio = pair.interval()
    return TotalRatio(over[0], under[0], ratio, pair.p() if pair.processes >= FEWEST else 1.0)


def pair_of(over: Seconds, under: Seconds, least: float = 0.0) -> Paired | None:
    """Two totals, one number for each process that both were in; ``None`` where there is none."""
    return paired({(p, 0): seconds for p, seconds in over.items()}, {(p, 0): s for p, s in under.items()}, least)


def against_best(seconds: Mapping[str, Seconds], apart: Apart = _never) -> list[TotalRatio]:
    """Every other one over the fastest, in the order of their times; nothing is ``told`` yet (``judged``).

    Where two stand ``apart``, in blocks at other times, what changed between these is in no process of theirs: their
    spread is taken to be that of a machine of which nothing is known.
    """
    order = sorted(seconds, key=lambda name: geometric_mean(seconds[name]))
    usual = usual_spread(pair_of(seconds[name], seconds[order[0]]) for name in order[1:])
    return [
        compared((name, seconds[name]), (order[0], seconds[order[0]]), _least(usual, apart=apart(name, order[0])))
        for name in order[1:]
    ]


def _least(usual: float, *, apart: bool) -> float:
    return max(usual, ASSUMED) if apart else usual


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
