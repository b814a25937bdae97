"""From raw samples to the summary of a cell: the burst is the unit, never the single call.

Calls inside a burst share its caches, clock and neighbours, so they are no independent observations: a burst counts
once, by the median of its samples. Warm-ups and disturbed bursts are left out. The interval of a median is
distribution-free (order statistics), and spans those of every process of the run: it says what these processes showed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from attnbench.results.schema import Cache, Sample

CONFIDENCE = 0.95
MAIN: tuple[Cache, ...] = ("cold", "none", "hot", "graph")
BESIDE: tuple[Cache, ...] = ("hot", "graph")
# A ratio to the anchor rests on so many bursts, the fewest that give a median an interval, of so many processes: what
# moves a process and not the anchor, such as its addresses, one process does not show.
FEWEST_BESIDE, FEWEST_PROCESSES = 6, 2
ROUND = "round."


@dataclass(frozen=True)
class Bursts:
    """The bursts of one cell: the value of each and the replicate (process) that it belongs to, in order."""

    values: tuple[float, ...]
    replicates: tuple[int, ...]

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.values)


@dataclass(frozen=True)
class MedianInterval:
    """A median with its interval; ``low`` and ``high`` are ``None`` where there are too few values for one."""

    median: float
    low: float | None
    high: float | None
    n: int

    @property
    def relative_width(self) -> float:
        """Half the width of the interval over the median; infinite where there is no interval."""
        if self.low is None or self.high is None or self.median <= 0:
            return math.inf
        return (self.high - self.low) / 2 / self.median


def usable(samples: Iterable[Sample], cache: str | None = None) -> list[Sample]:
    """The samples that count: no warm-up, no disturbed burst, and of one cache state if asked."""
    counting = (sample for sample in samples if not sample.warmup and not sample.disturbed)
    return [sample for sample in counting if cache in (None, sample.cache)]


def bursts(samples: Iterable[Sample], field: str = "wall_s") -> Bursts:
    """One value for each burst: the median of ``field`` over its samples. Give it what ``usable`` returned."""
    grouped: dict[tuple[int, int], list[float]] = defaultdict(list)
    for sample in samples:
        if (value := getattr(sample, field)) is not None:
            grouped[sample.replicate, sample.burst].append(value)
    keys = sorted(grouped)
    return Bursts(tuple(_median(grouped[key]) for key in keys), tuple(key[0] for key in keys))


def _median(values: Sequence[float]) -> float:
    """The median; of one value, as most bursts of other tools have, itself: NumPy takes its time for each."""
    return float(values[0]) if len(values) == 1 else float(np.median(values))


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> MedianInterval:
    """The median and its distribution-free interval, from the order statistics (``scipy.stats.quantile_test``).

    Its coverage is at least ``confidence`` for any continuous distribution of independent values. Six values are
    the fewest that give an interval at 95 %. Raises ``ValueError`` for no values, or values that are not finite.
    """
    data = np.sort(np.asarray(values, dtype=float))
    if data.size == 0 or not np.isfinite(data).all():
        msg = f"a median needs finite values; got {data.size} of which {int(np.isfinite(data).sum())} are finite"
        raise ValueError(msg)
    places = _interval_places(data.size, confidence)
    low, high = (None, None) if places is None else (float(data[places[0]]), float(data[places[1]]))
    return MedianInterval(float(np.median(data)), low, high, data.size)


@lru_cache(maxsize=1024)
def _interval_places(n: int, confidence: float) -> tuple[int, int] | None:
    """Which of n values in ascending order are the ends of the interval, counted from 0; ``None`` with too few.

    SciPy is asked once for each n, of the values 0, 1, 2, ...: that takes it a millisecond, and there may be thousands.
    """
    from scipy import stats

    interval: Any = stats.quantile_test(np.arange(n), q=0.0, p=0.5).confidence_interval(confidence)
    known = math.isfinite(interval.low) and math.isfinite(interval.high)
    return (int(interval.low), int(interval.high)) if known else None


def process_interval(bursts: Bursts, confidence: float = CONFIDENCE) -> MedianInterval:
    """The median of all bursts with an interval that spans those of every process.

    Two processes of the same code can differ by more than the bursts of either: an interval over the pooled bursts
    would hide that. Two or three processes are too few to estimate their spread, so the hull of their own intervals
    is shown; of a process with too few bursts for one, the hull of its bursts.
    """
    pooled = median_interval(bursts.values, confidence)
    if pooled.low is None or pooled.high is None:
        return pooled
    low, high = pooled.low, pooled.high
    by_replicate: dict[int, list[float]] = defaultdict(list)
    for value, replicate in zip(bursts.values, bursts.replicates, strict=True):
        by_replicate[replicate].append(value)
    for values in by_replicate.values():
        values.sort()
        first, last = _interval_places(len(values), confidence) or (0, -1)
        low, high = min(low, values[first]), max(high, values[last])
    return MedianInterval(pooled.median, low, high, pooled.n)


def rounds(samples: Iterable[Sample]) -> dict[str, float]:
    """The seconds of a cell's bursts by replicate and round, as metrics: ``round.1.7`` is round 7 in replicate 1.

    A round has one burst that counts of every cell still in it, and a cell that leaves does not come back: so the n-th
    of its bursts in a replicate belongs to round n, and cells of a block are paired by it.
    """
    counted = usable(samples)
    if not counted:
        return {}
    counting = bursts(usable(counted, main_state(counted)))
    seen: dict[int, int] = defaultdict(int)
    named = {}
    for value, replicate in zip(counting.values, counting.replicates, strict=True):
        named[f"{ROUND}{replicate}.{seen[replicate]}"] = value
        seen[replicate] += 1
    return named


def anchor_columns(samples: Sequence[Sample]) -> dict[str, Any]:
    """The columns of a timed cell that come from the anchor beside it; none where no sample has one.

    Where too few have one there is a reason, and no ratio. Give it what ``usable`` returned, of one cache state.
    """
    beside = [sample for sample in samples if sample.anchor_s]
    if not beside:
        return {}
    if (reason := too_few_beside(bursts(beside))) is not None:
        return {"anchor_reason": reason}
    values = [(sample.anchor_s, sample.wall_s / sample.anchor_s) for sample in beside if sample.anchor_s]
    anchor_s, ratio = np.median(values, axis=0)
    return {"anchor_median_s": float(anchor_s), "anchor_ratio": float(ratio)}


def too_few_beside(beside: Bursts) -> str | None:
    """Why the bursts that have an anchor are too few to judge a cell by it; ``None`` where they suffice."""
    return too_few(beside.n, len(set(beside.replicates)))


def too_few(count: int, processes: int) -> str | None:
    """The same of so many bursts and processes."""
    if count >= FEWEST_BESIDE and processes >= FEWEST_PROCESSES:
        return None
    seen = f"{count} burst{'s' * (count != 1)} of {processes} process{'es' * (processes != 1)}"
    needed = f"{FEWEST_BESIDE} bursts of {FEWEST_PROCESSES} processes are needed"
    return f"the anchor is known beside {seen}, and {needed}"


def main_state(samples: Iterable[Sample]) -> Cache:
    """The cache state whose times are a cell's main ones: cold where there is one. Raises where there is no sample."""
    states = {sample.cache for sample in samples}
    return next(name for name in MAIN if name in states)


def summarise(samples: Sequence[Sample]) -> dict[str, Any]:
    """The columns of a ``CellResult`` that come from its samples, in the words of the schema.

    Where cold samples exist, the main times are those, and ``time_hot_median_s`` and ``time_graph_median_s`` stand
    beside them. Without any sample that counts only ``disturbed_bursts`` is returned: such a cell is not ``ok``.
    """
    disturbed = len({(sample.replicate, sample.burst) for sample in samples if sample.disturbed and not sample.warmup})
    counted = usable(samples)
    if not counted:
        return {"disturbed_bursts": disturbed}
    state = main_state(counted)
    main = usable(counted, state)
    wall, cpu = bursts(main), bursts(main, "cpu_s")
    interval = process_interval(wall)
    beside = {name: bursts(usable(counted, name)) for name in BESIDE if name != state}
    medians = {f"time_{name}_median_s": float(np.median(timed.values)) for name, timed in beside.items() if timed.n}
    return {
        "n_samples": len(main),
        "n_bursts": wall.n,
        "n_replicates": len(set(wall.replicates)),
        "time_median_s": interval.median,
        "time_low_s": interval.low,
        "time_high_s": interval.high,
        **medians,
        "cache": state,
        "cpu_time_s": float(np.median(cpu.values)) if cpu.n else None,
        "disturbed_bursts": disturbed,
        **anchor_columns(main),
    }
