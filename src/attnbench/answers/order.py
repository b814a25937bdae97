"""The order of a block: who may be the fastest, who is behind, and each one's ratio to the first, round by round.

All that ``best`` and ``table`` know of statistics stands here, and it is that of ``analysis``: ``costs.leaders`` says
who is told from the fastest, ``rounds.paired`` by how much. Cells of two blocks are never compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.analysis.costs import TIME, leaders
from attnbench.analysis.frames import METRIC
from attnbench.analysis.intervals import Interval
from attnbench.analysis.rounds import Paired, Rounds, paired, rounds
from attnbench.results.frames import records
from attnbench.results.schema import Sample
from attnbench.results.summary import rounds as named_rounds

if TYPE_CHECKING:
    import pandas as pd

# With fewer processes their spread is not taken for that of the machine.
FEWEST_PROCESSES = 3


@dataclass(frozen=True)
class Order:
    """``leading`` may be the fastest, ``behind`` are told from it; both by their times. Ratios are to the first."""

    leading: tuple[str, ...]
    behind: tuple[str, ...]
    ratios: Mapping[str, Interval]
    spreads: Mapping[str, float | None]

    @property
    def all(self) -> tuple[str, ...]:
        """Everybody, the fastest first."""
        return (*self.leading, *self.behind)


def with_rounds(samples: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a block with the seconds of every round in columns, from the samples of its run."""
    import pandas as pd

    few = samples[samples["cell_id"].isin(set(rows["cell_id"]))]
    by_cell: dict[str, list[Sample]] = {}
    for sample in records(few.astype(object).where(few.notna(), None)):
        by_cell.setdefault(str(sample["cell_id"]), []).append(Sample(**sample))
    named = [named_rounds(by_cell.get(str(cell), [])) for cell in rows["cell_id"]]
    seconds = pd.DataFrame([{METRIC + name: s for name, s in times.items()} for times in named], index=rows.index)
    return pd.concat([rows.drop(columns=[name for name in seconds.columns if name in rows]), seconds], axis=1)


def order(rows: pd.DataFrame) -> Order:
    """The order of the measured rows of one case in one block; at least one."""
    together, behind = leaders(rows)
    names = [str(name) for part in (together, behind) for name in part["impl"]]
    times: dict[str, Rounds] = {str(row["impl"]): rounds(row) for row in records(rows)}
    medians = dict(zip(rows["impl"], rows[TIME], strict=True))
    first = names[0]
    pairs = {name: paired(times[name], times[first]) for name in names[1:]}
    ratios = {name: _ratio(pairs[name], medians[name] / medians[first]) for name in names[1:]}
    spreads = {name: _spread(pairs[name]) for name in names[1:]}
    return Order(tuple(names[: len(together)]), tuple(names[len(together) :]), ratios, spreads)


def _ratio(pair: Paired | None, medians: float) -> Interval:
    """The ratio of two cells; without a round that both were in, that of their medians without an interval."""
    return Interval(float(medians), 0.0, math.inf, 1) if pair is None else pair.interval()


def _spread(pair: Paired | None) -> float | None:
    """The standard deviation of the log-ratios of processes; ``None`` where there are too few of them."""
    if pair is None or len(pair.logs) < FEWEST_PROCESSES:
        return None
    return float(np.std([np.median(process) for process in pair.logs], ddof=1))


def noise(rows: pd.DataFrame, impl: str) -> float | None:
    """Half the width of an implementation's interval over its median; ``None`` without an interval."""
    row: dict[str, Any] = next(row for row in records(rows) if row["impl"] == impl)
    low, high = row["time_low_s"], row["time_high_s"]
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return None
    return float((high - low) / 2 / row[TIME])
