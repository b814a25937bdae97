"""The order of a block: who may be the fastest, who is behind, and each one's ratio to the first, round by round.

All that ``best`` and ``table`` know of statistics stands here, and it is that of ``analysis.leading``: who is told from
the fastest, by how much, and what that rests on. Cells of two blocks are never compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.analysis.intervals import Interval
from attnbench.analysis.leading import lead
from attnbench.analysis.rounds import FEWEST, Paired
from attnbench.results.frames import records

if TYPE_CHECKING:
    import pandas as pd

TIME = "time_median_s"


@dataclass(frozen=True)
class Order:
    """``leading`` may be the fastest, ``behind`` are told from it; both by their times. Ratios are to the first.

    ``rests_on`` says what the ratio of the second rests on; nothing where there is no second.
    """

    leading: tuple[str, ...]
    behind: tuple[str, ...]
    pairs: Mapping[str, Paired]
    rests_on: str | None = None

    @property
    def all(self) -> tuple[str, ...]:
        """Everybody: who may be the fastest, then who is behind."""
        return (*self.leading, *self.behind)

    def ratio(self, impl: str) -> Interval | None:
        """How many times as long as the first one takes; ``None`` for the first itself."""
        return self.pairs[impl].interval() if impl in self.pairs else None

    def spread(self, impl: str) -> float | None:
        """The standard deviation of the log-ratio to the first between processes; ``None`` with too few of them."""
        pair = self.pairs.get(impl)
        return pair.spread if pair is not None and pair.processes >= FEWEST else None


def order(rows: pd.DataFrame) -> Order:
    """The order of the measured rows of one case in one block, with their rounds (``analysis.sampled``)."""
    first = lead(rows)
    return Order(first.together, first.behind, first.pairs, first.rests_on)


def noise(rows: pd.DataFrame, impl: str) -> float | None:
    """Half the width of an implementation's interval over its median; ``None`` without an interval."""
    row: dict[str, Any] = next(row for row in records(rows) if row["impl"] == impl)
    low, high = row["time_low_s"], row["time_high_s"]
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return None
    return float((high - low) / 2 / row[TIME])
