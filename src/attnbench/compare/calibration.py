"""How often this machine cries wolf, and what it finds: recorded pairs of a version with itself, judged again.

A replay draws pairs from those that were recorded, flips their signs by fair coins (which side is called A is
arbitrary where both are the same) and adds a slowdown; then ``Comparison`` judges them as it judges live ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from attnbench.compare.sequential import CONFIRM, SCREEN, Comparison, Decision, Rules
from attnbench.compare.signed_rank import robust_spread
from attnbench.results.calibrations import Replayed

# Drawing from fewer pairs says little of the tails.
FEWEST = 12
ALARM_TRIALS = 2000
POWER_TRIALS = 200
POWER = 0.95
MOST = SCREEN.pairs[-1] + CONFIRM.pairs[-1]
CAPS = (11, 15, 20, 30, 45, 60, MOST)
SLOWDOWNS = (0.02, 0.03, 0.04, 0.05, 0.07, 0.10, 0.15, 0.20, 0.30, 0.50)
# Without a calibration: the spread that a shared machine has, with tails as heavy as Student's t with 3 degrees.
ASSUMED_SPREAD = 0.04
ASSUMED_TAILS = 3.0
SEED = 20_151

Array = np.ndarray[Any, np.dtype[np.float64]]
Noise = Callable[[np.random.Generator, int], Array]


@dataclass(frozen=True)
class Forecast:
    """What finding a slowdown takes: the most pairs of a cell in 95 of 100 replays, and the middle one."""

    pairs: int | None
    typical: float
    power: float
    spread: float
    assumed: bool


def recorded(log_ratios: Sequence[float]) -> Noise:
    """Pairs drawn from recorded ones, with fair signs."""
    pool = np.asarray(log_ratios, dtype=np.float64)
    return lambda rng, n: rng.choice(pool, n) * rng.choice((-1.0, 1.0), n)


def assumed(spread: float = ASSUMED_SPREAD) -> Noise:
    """Student's t, its spread by quantiles as said."""
    factor = spread / (float(stats.t.ppf(0.75, ASSUMED_TAILS)) * 1.4826)
    return lambda rng, n: factor * rng.standard_t(ASSUMED_TAILS, n)


def judge(values: Iterable[float], rules: Rules) -> Decision:
    """The verdict on pairs that come in this order."""
    one = Comparison(rules)
    for value in values:
        spent = (
            len(one.screening) >= SCREEN.pairs[-1] if one.towards is None else len(one.confirming) >= CONFIRM.pairs[-1]
        )
        if spent or one.add(float(value)) is not None:
            break
    return one.close()


def alarms(noise: Noise, rules: Rules, trials: int = ALARM_TRIALS, pairs: int = CAPS[4]) -> int:
    """How many of so many cells without a change are called slower."""
    rng = np.random.default_rng(SEED)
    return sum(judge(noise(rng, pairs), rules).verdict == "slower" for _ in range(trials))


def pairs_to_find(noise: Noise, change: float, rules: Rules, trials: int = POWER_TRIALS) -> Array:
    """Pairs until each of so many replays calls the slowdown ``slower``; infinite where it never does."""
    rng, shift = np.random.default_rng(SEED), math.log1p(change)
    found = []
    for _ in range(trials):
        decision = judge(noise(rng, MOST) + shift, rules)
        found.append(decision.screened + decision.confirmed if decision.verdict == "slower" else math.inf)
    return np.asarray(found, dtype=np.float64)


def clopper_pearson(count: int, of: int) -> tuple[float, float]:
    """The exact 95 % interval of a rate."""
    if not of:
        return 0.0, 1.0
    found = stats.binomtest(count, of).proportion_ci(method="exact")
    return float(found.low), float(found.high)


def replay(log_ratios: Sequence[float], margin: float, cells: int) -> Replayed | None:
    """False alarms and the smallest slowdowns that are found; ``None`` where too few pairs were recorded."""
    if len(log_ratios) < FEWEST:
        return None
    rules, noise = Rules(margin=margin, cells=cells), recorded(log_ratios)
    count = alarms(noise, rules)
    smallest: dict[int, float | None] = dict.fromkeys(CAPS)
    for change in (one for one in SLOWDOWNS if one > margin):
        needed = pairs_to_find(noise, change, rules)
        for cap in CAPS:
            if smallest[cap] is None and float((needed <= cap).mean()) >= POWER:
                smallest[cap] = change
        if smallest[CAPS[0]] is not None:
            break
    low, high = clopper_pearson(count, ALARM_TRIALS)
    spread = robust_spread(recorded_both(log_ratios))
    return Replayed(ALARM_TRIALS, count, low, high, spread, margin, cells, POWER, smallest)


def recorded_both(log_ratios: Sequence[float]) -> list[float]:
    """The log-ratios with both signs: a version against itself has no side."""
    return [*log_ratios, *(-value for value in log_ratios)]


def forecast(noise: Noise, detect: float, rules: Rules, spread: float, *, is_assumed: bool) -> Forecast:
    """Pairs that finding a slowdown of ``detect`` takes; ``None`` where they are more than are ever looked at."""
    needed = np.sort(pairs_to_find(noise, detect, rules))
    power = float(np.isfinite(needed).mean())
    at = math.ceil(POWER * len(needed)) - 1
    enough = int(needed[at]) if math.isfinite(needed[at]) else None
    middle = float(needed[len(needed) // 2])
    return Forecast(enough, middle, power, spread, is_assumed)
