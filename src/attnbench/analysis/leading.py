"""Who is the fastest of a block: the fastest of its cells, and all that its rounds do not tell from it.

The fastest is the one that no other beats in the rounds that both were in. Times do not say who that is: cells that
rest were in fewer processes than those that went on, and the machine may have been slower in those that followed.

Every cell is compared with the fastest one, in paired rounds (``attnbench.analysis.rounds``); the p-values of a block
are adjusted together (Holm). They are held to ``LEVEL``, so that a run of the size of ``smoke`` calls twins different
in at most 5 % of runs: ``python -m tests.benchmarks.told_apart`` counts it. "Told from the fastest" is said, or is not;
nothing follows for two others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median, variance
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.analysis.contrasts import holm
from attnbench.analysis.rounds import ASSUMED, FEWEST, Paired, levels, middle_square, paired, rounds
from attnbench.results.frames import refuse_machines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from attnbench.analysis.intervals import Interval

TIME, LOW, HIGH = "time_median_s", "time_low_s", "time_high_s"
# The rate of false calls that the comparisons of one block share.
LEVEL = 0.015
# So many processes show no spread by which a fastest cell is told from others.
PAIR = 2
# Nobody is asked for more processes than these, and so many of 100 measurements are to tell.
MOST_PROCESSES, POWER = 60, 0.95


@dataclass(frozen=True)
class Lead:
    """The fastest of a block: who was not told from it (``together``, itself first), and who is behind.

    Both are in the order of their ratios to it. ``second`` is the nearest of those behind, or the first of the others
    where nobody is; ``ratio`` is its time over that of the fastest, and ``rests_on`` says by what. All three are
    ``None`` where there is no second. ``pairs`` has each of the others over the fastest.
    """

    first: str
    together: tuple[str, ...]
    behind: tuple[str, ...]
    second: str | None = None
    ratio: Interval | None = None
    rests_on: str | None = None
    pairs: Mapping[str, Paired] = field(default_factory=dict)


def leaders(block: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of a block that may be the fastest, and the others, each in the order of their ratios to the first.

    The first is the fastest; an implementation is behind it where the paired rounds of both tell the two apart.
    """
    ordered, pairs = _against_the_fastest(block)
    is_behind = [False, *_told(pairs)]
    return ordered[[not behind for behind in is_behind]], ordered[is_behind]


def lead(block: pd.DataFrame, level: float = LEVEL) -> Lead:
    """Who leads a block, and by how much; told apart at ``level``. The block has at least one row."""
    ordered, pairs = _against_the_fastest(block)
    names, apart = [str(name) for name in ordered["impl"]], _told(pairs, level)
    together = (names[0], *(name for name, behind in zip(names[1:], apart, strict=True) if not behind))
    behind = tuple(name for name, is_behind in zip(names[1:], apart, strict=True) if is_behind)
    if not pairs:
        return Lead(names[0], together, behind)
    at = apart.index(True) if behind else 0
    pair = pairs[at]
    by_name = dict(zip(names[1:], pairs, strict=True))
    return Lead(names[0], together, behind, names[at + 1], pair.interval(), pair.rests_on(), by_name)


@dataclass(frozen=True)
class OverFastest:
    """A cell over the fastest of its block; ``told``: the two are told apart. The fastest has no ratio."""

    ratio: Interval | None
    told: bool


def compared(block: pd.DataFrame) -> list[OverFastest]:
    """Every cell of a block over the fastest: itself first, the others in the order of their ratios."""
    return _over_fastest(_against_the_fastest(block)[1])


def standings(block: pd.DataFrame) -> dict[str, OverFastest]:
    """Each measured cell of a block over the fastest, by its id."""
    ok = block[block["status"] == "ok"]
    if ok.empty:
        return {}
    ordered, pairs = _against_the_fastest(ok)
    return dict(zip(ordered["cell_id"], _over_fastest(pairs), strict=True))


def all_standings(frame: pd.DataFrame) -> dict[str, OverFastest]:
    """The same of every block of a suite's timed cells: worked out once for all that show it."""
    timed = frame[frame["kind"] == "timed"]
    over: dict[str, OverFastest] = {}
    for _, block in timed.groupby(["block_id", "case_id"], sort=False):
        over |= standings(block)
    return over


def between(block: pd.DataFrame, over: int, under: int) -> Paired:
    """Two cells of a block by their places in it, judged by the spread between processes that the block shows."""
    cells = block.to_dict("records")
    return _judged(_Known.of(cells), over, under)


def _against_the_fastest(block: pd.DataFrame) -> tuple[pd.DataFrame, list[Paired]]:
    """The rows of a block, the fastest first, and each of the others over it, the nearest first."""
    refuse_machines(block)
    by_time = block.sort_values([TIME, "impl"])
    first, pairs = _first(_Known.of(by_time.to_dict("records")))
    others = sorted(pairs, key=lambda place: pairs[place].estimate)
    return by_time.iloc[[first, *others]], [pairs[place] for place in others]


def _first(known: _Known) -> tuple[int, dict[int, Paired]]:
    """The place of the fastest cell, and each of the others over it, by its place.

    From the first in time on, a cell gives way to the one that beats it by most. Where that comes back to one that gave
    way already, as where each of three beats the next, it is the one whose worst defeat is the least, wherever one
    began. Who stood beside nobody, as in processes of its own, takes the place of no one who did.
    """
    places = range(len(known.cells))
    together = {place: [at for at in places if at != place and known.share(at, place)] for place in places}
    ranked = [place for place in places if together[place]] or [*places]
    rivals = {place: together[place] or [at for at in places if at != place] for place in ranked}

    def over(under: int) -> dict[int, Paired]:
        return {place: _judged(known, place, under) for place in places if place != under}

    first, tried = ranked[0], set[int]()
    while first not in tried:
        tried.add(first)
        pairs = over(first)
        faster = [place for place in rivals[first] if pairs[place].estimate < 0]
        if not faster:
            return first, pairs
        first = min(faster, key=lambda place: pairs[place].estimate)
    first = max(ranked, key=lambda place: min(_judged(known, at, place).estimate for at in rivals[place]))
    return first, over(first)


def _over_fastest(pairs: Sequence[Paired]) -> list[OverFastest]:
    others = [OverFastest(pair.interval(), apart) for pair, apart in zip(pairs, _told(pairs), strict=True)]
    return [OverFastest(None, told=False), *others]


def _told(pairs: Sequence[Paired], level: float = LEVEL) -> list[bool]:
    """Which of them are slower than the fastest, by what is known of all of them."""
    adjusted = holm([pair.p() for pair in pairs])
    return [p <= level and pair.estimate > 0 for p, pair in zip(adjusted, pairs, strict=True)]


def processes_to_tell(log_ratio: float, spread: float, equals: int) -> int | None:
    """Processes of each of the equals until the first is told from all others in 95 of 100 measurements.

    By Student's test of paired processes with the level that the comparisons of a block share; ``None``: too many.
    """
    from scipy import stats

    for count in range(FEWEST, MOST_PROCESSES + 1):
        least = stats.t.ppf(1 - LEVEL / (equals - 1) / 2, count - 1)
        if stats.nct.sf(least, count - 1, log_ratio * math.sqrt(count) / spread) >= POWER:
            return count
    return None


@dataclass(frozen=True)
class _Known:
    """The cells of a block with their rounds.

    ``squares`` are the squares of the spread of each between processes, less what the cells have in common in one, and
    ``usual`` is that of the middle one of them.
    """

    cells: Sequence[Mapping[Any, Any]]
    rounds: Sequence[Mapping[tuple[int, int], float]]
    squares: Sequence[float]
    usual: float

    @classmethod
    def of(cls, cells: Sequence[Mapping[Any, Any]]) -> _Known:
        known = [rounds(cell) for cell in cells]
        apart = _apart([levels(mine) for mine in known])
        squares = [variance(mine) if len(mine) > 1 else 0.0 for mine in apart]
        return cls(cells, known, squares, middle_square(apart))

    def share(self, over: int, under: int) -> bool:
        """Whether the two were in a round together."""
        return bool(self.rounds[over].keys() & self.rounds[under].keys())

    def least(self, over: int, under: int) -> float:
        """What the spread of the ratio of two of them is at least; 0 where too few cells show it.

        In two processes the pair shows one difference, and of many pairs some agree by luck: it is no less than what
        is assumed of every machine. Processes that only other cells of the block were in do not count.
        """
        if not self.usual:
            return 0.0
        shown = math.sqrt(max(self.squares[over] + self.squares[under], 2 * self.usual))
        processes = {process for process, _ in self.rounds[over].keys() & self.rounds[under].keys()}
        return max(shown, ASSUMED) if len(processes) <= PAIR else shown


def _apart(by_cell: Sequence[Mapping[int, float]]) -> list[list[float]]:
    """The levels of each cell by process, less its own and less the middle one of the block in that process."""
    of_cells = _of_cells(by_cell)
    centred = [{at: log - level for at, log in mine.items()} for mine, level in zip(by_cell, of_cells, strict=True)]
    processes = {process for mine in centred for process in mine}
    common = {process: median(mine[process] for mine in centred if process in mine) for process in processes}
    return [[log - common[process] for process, log in mine.items()] for mine in centred]


def _of_cells(by_cell: Sequence[Mapping[int, float]]) -> list[float]:
    """One level for each cell, by least squares: a cell's level in a process is its own and that of the process.

    Where all cells were in the same processes it is a cell's mean, but for what is the same for all. A mean alone would
    take it for a cell's own that the machine was slower in processes where others rested.
    """
    places = [(cell, process) for cell, mine in enumerate(by_cell) for process in mine]
    processes = {process: at for at, process in enumerate(sorted({process for _, process in places}))}
    if not places:
        return [0.0] * len(by_cell)
    parts = np.zeros((len(places), len(by_cell) + len(processes)))
    for row, (cell, process) in enumerate(places):
        parts[row, cell] = parts[row, len(by_cell) + processes[process]] = 1.0
    logs = [by_cell[cell][process] for cell, process in places]
    return [float(level) for level in np.linalg.lstsq(parts, np.array(logs))[0][: len(by_cell)]]


def _judged(known: _Known, over: int, under: int) -> Paired:
    both = paired(known.rounds[over], known.rounds[under], known.least(over, under))
    return _of_medians(known.cells[over], known.cells[under]) if both is None else both


def _of_medians(over: Mapping[Any, Any], under: Mapping[Any, Any]) -> Paired:
    """Of two cells without common rounds, such as those of another tool: the ratio of medians with those of the ends.

    It counts as one process.
    """
    times = [[float("nan" if row[name] is None else row[name]) for name in (TIME, LOW, HIGH)] for row in (over, under)]
    (middle, low, high), (below, least, most) = times
    ends = [ratio for ratio in (low / most, high / least) if math.isfinite(ratio) and ratio > 0]
    return Paired((tuple(sorted(math.log(ratio) for ratio in (middle / below, *ends))),))
