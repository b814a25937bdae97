"""What it is worth to measure those longer that could not be told apart: blocks of recorded noise, in the same time.

The noise is that of ``tests.benchmarks.told_apart``, less the mean that a finite record has, so that twins are twins
after any number of processes, and its drift of the machine: cells that rest miss what the others go through. Each cell
draws from a series of its own, whoever goes on beside it. Who goes on and who is told are the functions that a run
asks.
``python -m tests.answers.halving`` prints the table of docs/best.md.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from attnbench.analysis.leading import MOST_PROCESSES
from attnbench.answers.order import GoingOn, Order, order, rows_of
from attnbench.measure.run.options import SeenCell
from attnbench.results.schema import Sample
from tests.benchmarks.told_apart import DRIFT, Kind, World, all_kinds, standardised

# Seconds of a look: those in which the processes start, and those of each cell in it.
START_S, CELL_S, ROUNDS = 2.0, 1.0, 6
MIXES: dict[str, tuple[float, ...]] = {
    "a lead of 10 % over one, four far": (1, 1.1, 1.5, 1.5, 2, 3),
    "a lead of 5 % over one, four far": (1, 1.05, 1.5, 1.5, 2, 3),
    "a lead of 3 % over one, six far": (1, 1.03, 1.3, 1.5, 2, 3, 4, 8),
    "2 twins": (1, 1),
    "2 twins, four far": (1, 1, 1.5, 1.5, 2, 3),
    "6 twins": (1,) * 6,
}


@cache
def kinds() -> tuple[Kind, ...]:
    """The recorded noise, each kind with a mean of 0."""
    every, rng = all_kinds(), np.random.default_rng(1)
    levels = standardised(every)

    def centred(kind: Kind) -> Kind:
        drawn = [kind.process(rng, ROUNDS, levels - levels.mean()) for _ in range(200)]
        mean = float(np.mean(np.median(drawn, axis=1)))
        return replace(kind, rounds=tuple(series - mean for series in kind.rounds))

    return tuple(centred(kind) for kind in every)


@dataclass
class Measuring:
    """A block while it is measured: a cell for each ratio of times, with the noise of a recorded one."""

    world: World
    ratios: Sequence[float]
    peaks: Sequence[int] = ()
    looks: int = 0

    def __post_init__(self) -> None:
        drawn = self.world.rng.integers(len(self.world.kinds), size=len(self.ratios))
        self._kinds = [self.world.kinds[int(at)] for at in drawn]
        self._samples: list[list[Sample]] = [[] for _ in self.ratios]
        self._drawing = self.world.rng.spawn(len(self.ratios))
        self._drift = 0.0

    @property
    def cells(self) -> list[SeenCell]:
        """What was seen so far."""
        peaks = self.peaks or [0] * len(self.ratios)
        seen = enumerate(zip(self._samples, peaks, strict=True))
        return [
            SeenCell(f"cell {at}", f"a/{at}", samples, weighed=True, peak_bytes=peak) for at, (samples, peak) in seen
        ]

    @property
    def ids(self) -> set[str]:
        """All cells."""
        return {cell.id for cell in self.cells}

    def look(self, cells: Collection[str]) -> None:
        """A process more of these cells."""
        self._drift += float(self.world.common(1)[0])
        for cell, kind, ratio, rng in zip(self.cells, self._kinds, self.ratios, self._drawing, strict=True):
            if cell.id in cells:
                seconds = 0.01 * ratio * np.exp(self._drift + kind.process(rng, ROUNDS, self.world._levels))
                self._samples[int(cell.impl[2:])] += [self._sample(cell, n, float(s)) for n, s in enumerate(seconds)]
        self.looks += 1

    def _sample(self, cell: SeenCell, burst: int, seconds: float) -> Sample:
        where = {"cell_id": cell.id, "replicate": self.looks, "burst": burst}
        return Sample.model_validate({"run_id": "r", "index": 0, "calls": 1, "wall_s": seconds, **where})


def measured(world: World, ratios: Sequence[float], budget_s: float, *, halving: bool) -> tuple[Order, float]:
    """The order at the end of the budget, and the seconds that were left of it."""
    block, goes_on = Measuring(world, ratios), GoingOn()
    cells = block.ids
    while cells and block.looks < MOST_PROCESSES and (cost := START_S + CELL_S * len(cells)) <= budget_s:
        block.look(cells)
        budget_s -= cost
        cells = goes_on(block.cells) if halving else cells
    return order(rows_of(block.cells)), budget_s


def rates(
    ratios: Sequence[float], budget_s: float, runs: int, *, halving: bool, seed: int = 5, drift: float = DRIFT
) -> dict[str, float]:
    """How often the fastest was named, how often one of the fastest was called behind, and the seconds left over."""
    world = World(kinds(), np.random.default_rng(seed), drift=drift)
    seen = {"named": 0.0, "wrong": 0.0, "left": 0.0}
    for _ in range(runs):
        known, left_s = measured(world, ratios, budget_s, halving=halving)
        seen["named"] += len(known.leading) == 1 and _is_first(known.leading[0], ratios)
        seen["wrong"] += any(_is_first(name, ratios) for name in known.behind)
        seen["left"] += left_s
    return {what: count / runs for what, count in seen.items()}


def _is_first(name: str, ratios: Sequence[float]) -> bool:
    return ratios[int(name.partition("/")[2])] == min(ratios)


def _row(name: str, ratios: tuple[float, ...], budget_s: float, runs: int) -> str:
    alike, halved = (rates(ratios, budget_s, runs, halving=halving) for halving in (False, True))
    twins = ratios.count(1) > 1
    cells = " | ".join(
        f"{'–' if twins else format(seen['named'], '.0%')} | {seen['wrong']:.1%}" for seen in (alike, halved)
    )
    return f"| {name} | {budget_s:g} s | {cells} | {halved['left']:.0f} s |"


HEAD = "| block | budget | all alike: named | wrong | by halving: named | wrong | not needed |\n" + "|---" * 7 + "|"


def table(runs: int = 100) -> str:
    """The rates as a table."""
    rows = [_row(name, ratios, seconds, runs) for name, ratios in MIXES.items() for seconds in (45.0, 90.0)]
    return "\n".join([HEAD, *rows])


if __name__ == "__main__":
    print(table())  # noqa: T201
