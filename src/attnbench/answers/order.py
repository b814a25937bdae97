"""The order of a block: who may be the fastest, who is behind, and each one's ratio to the first, round by round.

All that ``best`` and ``table`` know of statistics stands here, and it is that of ``analysis.leading``: who is told from
the fastest, by how much, and what that rests on. Cells of two blocks are never compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attnbench.analysis.frames import METRIC
from attnbench.analysis.intervals import Interval
from attnbench.analysis.leading import LEVEL, lead
from attnbench.analysis.rounds import FEWEST, Paired
from attnbench.measure.run.options import SeenCell
from attnbench.results.frames import records
from attnbench.results.summary import rounds, summarise

if TYPE_CHECKING:
    import pandas as pd

TIME = "time_median_s"
# Nobody is told from another before so many looks.
FIRST_CALL = 2


@dataclass(frozen=True)
class Order:
    """``leading`` may be the fastest, ``behind`` are told from it; both by their ratios to the first.

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


@dataclass
class GoingOn:
    """Who has further looks while a case is measured: those that may still be the fastest (successive halving).

    ``at_rest`` are those that were told from the fastest, each after so many looks. That is asked again after every
    look, so the rate of false calls is spent over all of them: LEVEL / 2 after the second, LEVEL / 6, LEVEL / 12, …
    after those that follow, LEVEL in all, and of more than two alike less, since any two of them may differ by chance
    and the one that they are told from is the fastest by the same numbers (half the number of cells). One that the rule
    of the end (``order``) would not leave behind comes back. Where one alone is left, the next one stays with it until
    their ratio has as many processes as an interval over processes needs; then nothing more is to be measured. ``fits``
    are those that may be an answer: whoever does not fit is none that others are told from, and rests.
    """

    fits: Callable[[Sequence[SeenCell]], Sequence[SeenCell]] = tuple
    at_rest: dict[str, int] = field(default_factory=dict)
    looks: int = 0

    def __call__(self, cells: Sequence[SeenCell]) -> set[str]:
        """The cells, by id, that have another look."""
        self.looks += 1
        seen = self.fits(cells)
        rows = rows_of(seen)
        if len(rows) < FIRST_CALL and self.looks >= FEWEST:
            return set()
        if self.looks < FIRST_CALL or len(rows) < FIRST_CALL:
            return {cell.id for cell in seen}
        first = order(rows)
        self.at_rest = {name: look for name, look in self.at_rest.items() if name in first.behind}
        any_two = max(1.0, len(rows) / 2)
        for name in lead(rows, LEVEL / (self.looks * (self.looks - 1)) / any_two).behind:
            self.at_rest.setdefault(name, self.looks)
        names = {name for name in first.all if name not in self.at_rest}
        if len(names) == 1:
            names = set(first.all[:2]) if first.pairs[first.all[1]].processes < FEWEST else set()
        return {cell.id for cell in seen if cell.impl in names}

    def said(self) -> list[str]:
        """Who had fewer looks than the others, in a sentence for people."""
        by_look: dict[int, list[str]] = {}
        for name, look in self.at_rest.items():
            by_look.setdefault(look, []).append(name)
        parts = [f"{', '.join(names)} after {look} looks" for look, names in sorted(by_look.items())]
        if not parts:
            return []
        return [f"told from the fastest early, so that the others had the time: {'; '.join(parts)}"]


def rows_of(cells: Sequence[SeenCell]) -> pd.DataFrame:
    """What was seen of cells, as rows of a frame with their rounds."""
    import pandas as pd

    rows = [
        {"impl": c.impl, **summarise(c.samples), **{METRIC + name: s for name, s in rounds(c.samples).items()}}
        for c in cells
    ]
    return pd.DataFrame([row for row in rows if TIME in row])


def noise(rows: pd.DataFrame, impl: str) -> float | None:
    """Half the width of an implementation's interval over its median; ``None`` without an interval."""
    row: dict[str, Any] = next(row for row in records(rows) if row["impl"] == impl)
    low, high = row["time_low_s"], row["time_high_s"]
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return None
    return float((high - low) / 2 / row[TIME])
