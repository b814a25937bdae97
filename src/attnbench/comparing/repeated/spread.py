"""How two runs of the same code differ in one cell, as repeated runs showed it.

The level of a run is the mean over its processes of their medians, on the log scale. Repeated runs are of two kinds: in
most the machine had its *usual* speed, by the anchor beside the cell, and their levels differ little; in others it was
slower, and the ratio to the anchor is off by a part of that, another one each time. So the variance of a run is

    variance + wanders · away²,

where ``away`` is how far the anchor was from its usual level. What cells have in common in that part, such as small
tiles that follow the machine less than the cell does, is taken out of the ratio (``follows``).

A cell has few repeats, so its variance is moderated by those of all cells (Smyth 2004, "Linear models and empirical
Bayes methods"), and intervals take Student's t at their own level with the degrees of freedom that are left
(Welch-Satterthwaite for the two parts together), since many cells are judged together, far out in the tails.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from attnbench.comparing.statistics import Ratio, process_level, ratio_interval, replicate_spread
from attnbench.results.summary import Bursts

# Within so much of its usual level, on the log scale, the anchor says that the machine had its usual speed, which is
# the anchor's level that a quarter of the runs are below.
CALM, USUAL = 0.05, 0.25
# What is taken to be known before any run was seen of a slower machine: a ratio is off by 0.3 of what the machine is,
# as if two runs had shown it; and it follows in no direction, as if one had.
WANDERS, AS_RUNS = 0.3, 2
# The tails of levels may be heavier than normal ones, and 130 cells are judged far out in them: with no more degrees of
# freedom than this, twins are slower in at most 5 % of comparisons where levels have those of Student's t with 5.
TAILS = 10.0
# Processes of a pair that differ by more than this share of pairs of unchanged code would let them.
ODD = 0.99
LEAST_VARIANCE, MOST_PRIOR = 1e-12, 1e6

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class CellLevel:
    """A cell in one run: its level and that of its anchor, as logarithms, and its processes."""

    value: float
    anchor: float | None = None
    processes: int = 1


@dataclass(frozen=True)
class Spread:
    """The standard deviation of the log-ratio of two runs, its degrees of freedom, and what is taken out of the ratio.

    ``away`` is by how much the machine was off its usual speed in BASE and in HEAD; 0 where it was not.
    """

    sd: float
    freedom: float = math.inf
    shift: float = 0.0
    away: tuple[float, float] = (0.0, 0.0)

    def half_width(self, confidence: float) -> float:
        """Half of the interval, on the log scale."""
        return self.sd * float(stats.t.ppf((1 + confidence) / 2, self.freedom))

    def held_to(self, base: Bursts, head: Bursts) -> Spread:
        """Itself, or what the processes of the two runs show, where that is more than chance lets it be."""
        seen = math.hypot(replicate_spread(base), replicate_spread(head))
        freedom = sum(len(set(side.replicates)) - 1 for side in (base, head))
        if not freedom or seen**2 <= self.sd**2 * float(stats.chi2.ppf(ODD, freedom)) / freedom:
            return self
        return replace(self, sd=seen, freedom=float(freedom))

    def interval(self, base: Bursts, head: Bursts, confidence: float) -> Ratio:
        """The ratio head / base of levels. Where the bursts alone leave more open than the spread, theirs counts."""
        centre = process_level(head) - process_level(base) - self.shift
        bursts = ratio_interval(base.values, head.values, confidence)
        if math.isinf(bursts.high):
            return Ratio(math.exp(centre), 0.0, math.inf, confidence)
        half = self.half_width(confidence)
        down, up = max(half, math.log(bursts.ratio / bursts.low)), max(half, math.log(bursts.high / bursts.ratio))
        return Ratio(math.exp(centre), math.exp(centre - down), math.exp(centre + up), confidence)


@dataclass(frozen=True)
class CellSpread:
    """What repeated runs showed of a cell; in ``away`` of them the machine was off its usual speed.

    ``variance`` is that of one run at that speed, with ``freedom`` degrees of freedom.
    """

    variance: float
    freedom: float
    processes: float = 1.0
    usual: float | None = None
    follows: float = 0.0
    wanders: float = WANDERS**2
    away: int = 0

    @property
    def sd(self) -> float:
        """Of the log-ratio of two runs at the machine's usual speed."""
        return math.sqrt(2 * self.variance)

    def pair(self, base: CellLevel, head: CellLevel) -> Spread:
        """Of two runs: fewer processes than the repeated runs had make it wider, and more do not make it narrower."""
        away = away_from(self.usual, base.anchor), away_from(self.usual, head.anchor)
        still = self.variance * sum(max(1.0, self.processes / side.processes) for side in (base, head))
        between = away[1] - away[0]
        moved = self.wanders * (away[0] ** 2 + away[1] ** 2)
        if self.away:  # what is taken out is known no better than from so many runs
            moved += self.wanders * between**2 / (self.away + 1)
        freedom = (still + moved) ** 2 / (still**2 / self.freedom + moved**2 / _freedom(self.away))
        return Spread(math.sqrt(still + moved), min(freedom, TAILS), self.follows * between, away)


def away_from(usual: float | None, anchor: float | None) -> float:
    """How far the machine was from its usual speed, as a logarithm; 0 where it had it, or where no anchor tells."""
    if usual is None or anchor is None or abs(anchor - usual) <= CALM:
        return 0.0
    return anchor - usual


def of_cells(repeats: Mapping[Any, Sequence[Sequence[CellLevel]]]) -> dict[Any, CellSpread]:
    """The spread of each cell that has two runs at the usual speed; a cell's levels come in groups of one code."""
    cells = {key: known for key, groups in repeats.items() if (known := _Repeats.of(groups)).freedom}
    variances = np.array([known.squares / known.freedom for known in cells.values()])
    freedoms = np.array([float(known.freedom) for known in cells.values()])
    judged = zip(cells.items(), *moderated(variances, freedoms), strict=True)
    return {key: known.spread(float(variance), float(freedom)) for (key, known), variance, freedom in judged}


@dataclass(frozen=True)
class _Repeats:
    """The repeats of a cell: sum of squares around the mean at usual speed, and how others were off it."""

    squares: float
    freedom: int
    processes: float
    usual: float | None
    away: Array
    off: Array

    @classmethod
    def of(cls, groups: Sequence[Sequence[CellLevel]]) -> _Repeats:
        """From the levels of a cell in groups of runs of the same code: those at usual speed, and the others apart."""
        anchors = [level.anchor for group in groups for level in group if level.anchor is not None]
        usual = float(np.quantile(anchors, USUAL)) if anchors else None
        squares, freedom, processes = 0.0, 0, list[int]()
        away, off = list[float](), list[float]()
        for group in groups:
            moved = [away_from(usual, level.anchor) for level in group]
            calm = [level for level, by in zip(group, moved, strict=True) if not by]
            if not calm:
                continue
            mean = float(np.mean([level.value for level in calm]))
            squares += sum((level.value - mean) ** 2 for level in calm)
            freedom += len(calm) - 1
            processes += [level.processes for level in calm]
            away += [by for by in moved if by]
            off += [level.value - mean for level, by in zip(group, moved, strict=True) if by]
        mean_processes = float(np.mean(processes)) if processes else 1.0
        return cls(squares, freedom, mean_processes, usual, np.array(away), np.array(off))

    def spread(self, variance: float, freedom: float) -> CellSpread:
        """The part that runs share is drawn to none as if one more run had shown that; the rest to ``WANDERS``."""
        runs, squares = self.away.size, float(np.sum(self.away**2))
        if not runs:
            return CellSpread(variance, freedom, self.processes, self.usual)
        shared = float(np.sum(self.away * self.off)) / squares
        left = max(float(np.sum((self.off - shared * self.away) ** 2 - variance)), 0.0) * runs / squares
        wanders = (left + AS_RUNS * WANDERS**2) / _freedom(runs)
        return CellSpread(variance, freedom, self.processes, self.usual, shared * runs / (runs + 1), wanders, runs)


def _freedom(runs: int) -> float:
    """Of what is known of slower machines from so many runs, one of which went into what they share."""
    return AS_RUNS + max(runs - 1, 0)


def moderated(variances: Array, freedoms: Array) -> tuple[Array, Array]:
    """Variances drawn to what all of them show, and their degrees of freedom, by Smyth (2004); of few, themselves."""
    if variances.size < 3:  # noqa: PLR2004  (a spread of two is none)
        return variances, freedoms
    half = freedoms / 2
    logs = np.log(np.maximum(variances, LEAST_VARIANCE)) - special.digamma(half) + np.log(half)
    beyond = float(np.var(logs, ddof=1) - np.mean(special.polygamma(1, half)))
    prior = _prior(beyond)
    usual = math.exp(float(np.mean(logs)) + float(special.digamma(prior / 2)) - math.log(prior / 2))
    together = (prior * usual + freedoms * variances) / (prior + freedoms)
    return together, np.minimum(prior + freedoms, freedoms.sum())


def _prior(beyond: float) -> float:
    """For how many degrees of freedom the other cells count, by how much more than chance cells differ."""
    if beyond <= float(special.polygamma(1, MOST_PRIOR)):
        return 2 * MOST_PRIOR
    return 2 * float(optimize.brentq(lambda half: float(special.polygamma(1, half)) - beyond, 1e-3, MOST_PRIOR))
