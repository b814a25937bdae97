"""What this machine's noise does to verdicts: recorded pairs of a version with itself, judged again.

A replay draws blocks of consecutive pairs of a cell, so that what holds on in time holds on here, and names the sides
of each block by a fair coin; it adds a slowdown, and ``Comparison`` judges the pairs as it judges live ones. It is no
measurement: were pairs drawn one by one, the test would keep its level by construction, and what lasts longer than a
block is not in it. How often the machine cried wolf is counted on live comparisons alone (``live_alarms``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from attnbench.comparing.rates import Rate, clustered, exact
from attnbench.comparing.sequential import CONFIRM, SCREEN, Comparison, Decision, Rules
from attnbench.comparing.signed_rank import robust_spread
from attnbench.results.calibrations import Replayed, SelfComparison, for_machine

# Drawing from fewer pairs says little of the tails.
FEWEST = 12
# Consecutive pairs that are drawn together.
BLOCK = 5
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
# Seconds of a pair and of each cell in it, where nothing was measured here: 4 quads of 4 bursts of 35 ms, and a start.
ASSUMED_STARTUP_S, ASSUMED_CELL_S = 1.5, 1.0
MEMORY_RUNS = 3

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


@dataclass(frozen=True)
class MachineNoise:
    """How pairs of a version with itself differ on a machine, and what a pair takes; recorded, or assumed."""

    draw: Noise
    spread: float
    is_assumed: bool
    startup_s: float = ASSUMED_STARTUP_S
    cell_s: float = ASSUMED_CELL_S

    def seconds(self, pairs: float, cells: int) -> float:
        """What so many pairs take, with memory."""
        return pairs * (self.startup_s + cells * self.cell_s) + MEMORY_RUNS * cells * (self.startup_s + self.cell_s / 4)


def noise_of(machine_id: str, otherwise: float = ASSUMED_SPREAD) -> MachineNoise:
    """By the calibration of a machine; where it has too few pairs, heavy tails with the spread ``otherwise``."""
    known = for_machine(machine_id)
    if known is None:
        return MachineNoise(assumed(otherwise), otherwise, is_assumed=True)
    costs, values = (known.startup_s, known.cell_s), known.log_ratios
    if len(values) < FEWEST:
        return MachineNoise(assumed(otherwise), otherwise, True, *costs)  # noqa: FBT003  (in the order of the fields)
    return MachineNoise(recorded(known.series), robust_spread(recorded_both(values)), False, *costs)  # noqa: FBT003


def recorded(series: Iterable[Sequence[float]]) -> Noise:
    """Blocks of consecutive pairs of a recorded cell, with a fair sign each; a cell's first pair follows its last."""
    cells = [np.asarray(ratios, dtype=np.float64) for ratios in series if len(ratios)]
    blocks = np.concatenate(
        [ratios[(np.arange(len(ratios))[:, None] + np.arange(BLOCK)) % len(ratios)] for ratios in cells]
    )

    def draw(rng: np.random.Generator, n: int) -> Array:
        drawn = rng.choice(blocks, math.ceil(n / BLOCK))
        return np.asarray((drawn * rng.choice((-1.0, 1.0), (len(drawn), 1))).ravel()[:n])

    return draw


def live_alarms(trials: Iterable[SelfComparison], margin: float) -> tuple[Rate, int]:
    """Of cells that were compared with themselves by this margin, those called slower; in how many comparisons.

    Cells of one comparison are not independent, so the interval is clustered by comparison.
    """
    by_run: dict[str, list[bool]] = {}
    for trial in trials:
        if trial.margin is not None and math.isclose(trial.margin, margin):
            by_run.setdefault(trial.started, []).append(trial.verdict == "slower")
    return clustered([sum(slower) for slower in by_run.values()], [len(slower) for slower in by_run.values()]), len(
        by_run
    )


def assumed(spread: float = ASSUMED_SPREAD) -> Noise:
    """Student's t, its spread by quantiles as said."""
    factor = spread / (float(stats.t.ppf(0.75, ASSUMED_TAILS)) * 1.4826)
    return lambda rng, n: factor * rng.standard_t(ASSUMED_TAILS, n)


def judge(values: Iterable[float], rules: Rules) -> Decision:
    """The verdict on pairs that come in this order."""
    comparison = Comparison(rules)
    for value in values:
        spent = (
            len(comparison.screening) >= SCREEN.pairs[-1]
            if comparison.towards is None
            else len(comparison.confirming) >= CONFIRM.pairs[-1]
        )
        if spent or comparison.add(float(value)) is not None:
            break
    return comparison.close()


def alarms(noise: Noise, rules: Rules, trials: int = ALARM_TRIALS, pairs: int = CAPS[4]) -> int:
    """How many of so many cells without a change are called slower."""
    rng = np.random.default_rng(SEED)
    return sum(judge(noise(rng, pairs), rules).verdict == "slower" for _ in range(trials))


def pairs_to_find(noise: Noise, change: float, rules: Rules, trials: int = POWER_TRIALS) -> Array:
    """Pairs until each of so many replays calls the slowdown ``slower``; infinite where it never does."""
    rng, shift = np.random.default_rng(SEED), math.log1p(change)
    pairs = []
    for _ in range(trials):
        decision = judge(noise(rng, MOST) + shift, rules)
        pairs.append(decision.screened + decision.confirmed if decision.verdict == "slower" else math.inf)
    return np.asarray(pairs, dtype=np.float64)


def replay(series: Sequence[Sequence[float]], margin: float, cells: int) -> Replayed | None:
    """False alarms and the smallest slowdowns that are found; ``None`` where too few pairs were recorded.

    ``series`` has the log-ratios of each recorded cell in their order.
    """
    log_ratios = [value for ratios in series for value in ratios]
    if len(log_ratios) < FEWEST:
        return None
    rules, noise = Rules(margin=margin, cells=cells), recorded(series)
    rate = exact(alarms(noise, rules), ALARM_TRIALS)
    smallest: dict[int, float | None] = dict.fromkeys(CAPS)
    for change in (size for size in SLOWDOWNS if size > margin):
        needed = pairs_to_find(noise, change, rules)
        for cap in CAPS:
            if smallest[cap] is None and float((needed <= cap).mean()) >= POWER:
                smallest[cap] = change
        if smallest[CAPS[0]] is not None:
            break
    spread = robust_spread(recorded_both(log_ratios))
    return Replayed(
        trials=ALARM_TRIALS,
        alarms=rate.count,
        low=rate.low,
        high=rate.high,
        spread=spread,
        margin=margin,
        cells=cells,
        power=POWER,
        found=smallest,
    )


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
