"""What the intervals of a run are worth: simulated runs of twins, and of cells that differ by a planted ratio.

The noise is recorded: that of pairs of processes of one kernel (results/noise), and that of cells of the runs in
results/. Beside it the machine drifts, for all cells of a block alike (``DRIFT``): no ratio of theirs may show it. A
simulated process of a cell has the level and the rounds of a recorded one, and the frames that come out are
judged by the functions that judge a run. ``python -m tests.benchmarks.told_apart`` prints the table of
docs/statistics.md.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnbench.analysis.leading import between, leaders
from attnbench.analysis.sampled import load_sampled
from attnbench.measure.blocks.effort import FEWEST_FOR_INTERVAL, FLOOR
from tests.repository import REPOSITORY

NOISE = REPOSITORY / "results" / "noise" / "amd-epyc-2-cores" / "noise.parquet"
SAVED = ("2026-11-22-amd-epyc-2-cores-smoke", "2026-11-28-intel-xeon-2-cores-contestants")
RATIOS = (1.02, 1.05, 1.1, 2.0, 82.0)
# A run as large as smoke is with all frameworks.
BLOCKS, CELLS, ROUNDS = 13, 10, 5
# By so much, relatively, the machine is slower or faster in a process than in the one before (standard deviation).
DRIFT = 0.1
# Processes and rounds in each: without a budget, with less time for each, and under a tight budget, where a second
# process with few rounds takes about as long as one with many.
SEEN = ((5, ROUNDS), (2, ROUNDS), (2, FLOOR), (1, FEWEST_FOR_INTERVAL))

Generator = np.random.Generator
Series = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Kind:
    """The noise of one recorded cell: rounds of each of its processes, as logarithms less what all had in common.

    With few processes they have no level of their own; ``spread`` is then that of their levels.
    """

    rounds: tuple[Series, ...]
    spread: float | None = None

    def process(self, rng: Generator, count: int, levels: Series) -> Series:
        """The rounds of a process; ``levels`` are standardised ones that its own is drawn from where it has none."""
        series = self.rounds[rng.integers(len(self.rounds))]
        start = int(rng.integers(max(1, len(series) - count + 1)))
        rounds = np.resize(series[start : start + count], count)
        return rounds if self.spread is None else rounds + self.spread * rng.choice(levels)


def recorded_pairs() -> list[Kind]:
    """Cells of which many pairs of processes were recorded: what one of a pair has over the other, for one of them."""
    noise = pd.read_parquet(NOISE)
    noise = noise[noise["counts"] & (noise["wall_s"] > 0)].sort_values("started_at")
    noise = noise.assign(log=np.log(noise["wall_s"]))
    kinds = []
    for _, cell in noise.groupby("cell", observed=True):
        series = []
        for _, pair in cell.groupby("pair"):
            a, b = (pair.loc[pair["side"] == side, "log"].to_numpy() for side in "AB")
            if min(len(a), len(b)) >= ROUNDS:
                least = min(len(a), len(b))
                series.append((a[:least] - b[:least]) / np.sqrt(2))
        kinds.append(Kind(tuple(series)))
    return kinds


def saved_cells(folder: Path) -> list[Kind]:
    """The cells of a saved run, less what all cells of their block had in common in a round."""
    frame = load_sampled(folder)
    kinds = []
    for _, block in frame[frame["status"] == "ok"].groupby("block_id"):
        logs = pd.DataFrame({at: pd.Series(rounds) for at, rounds in enumerate(block["rounds"])}).map(np.log)
        if len(block) < 3:
            continue
        apart = logs.sub(logs.mean()).pipe(lambda each: each.sub(each.median(axis=1), axis=0))
        for place in apart.columns:
            cell = apart[place]
            processes = [mine.dropna() for _, mine in cell.groupby(level=0) if mine.notna().sum() >= 3]
            if len(processes) > 1:
                levels = [float(mine.median()) for mine in processes]
                within = tuple((mine - mine.median()).to_numpy() for mine in processes)
                kinds.append(Kind(within, float(np.std(levels, ddof=1))))
    return kinds


def standardised(kinds: Sequence[Kind]) -> Series:
    """How the levels of recorded processes are distributed, with a standard deviation of 1."""
    of_each = [np.array([np.median(series) for series in kind.rounds]) for kind in kinds if kind.spread is None]
    return np.concatenate([(levels - levels.mean()) / levels.std(ddof=1) for levels in of_each])


@dataclass
class World:
    """Draws blocks. ``mixed``: their cells are of several kinds, else all of one."""

    kinds: Sequence[Kind]
    rng: Generator
    processes: int = 5
    rounds: int = ROUNDS
    mixed: bool = True
    drift: float = DRIFT

    def __post_init__(self) -> None:
        self._levels = standardised(self.kinds)
        (self._machine,) = self.rng.spawn(1)

    def common(self, processes: int) -> Series:
        """How much slower the machine is in each of so many processes than before the first, as logarithms."""
        return np.cumsum(self.drift * self._machine.standard_normal(processes))

    def block(self, ratios: Sequence[float]) -> pd.DataFrame:
        """A block with a cell for each ratio to the first."""
        pool = self.kinds if self.mixed else [self.kinds[int(self.rng.integers(len(self.kinds)))]]
        common = self.common(self.processes)
        rows = []
        for place, ratio in enumerate(ratios):
            kind = pool[int(self.rng.integers(len(pool)))]
            logs = [drift + kind.process(self.rng, self.rounds, self._levels) for drift in common]
            rounds = {(r, n): float(ratio * np.exp(log)) for r, mine in enumerate(logs) for n, log in enumerate(mine)}
            rows.append({"impl": f"a/{place}", "time_median_s": float(np.median([*rounds.values()])), "rounds": rounds})
        return pd.DataFrame(rows).assign(time_low_s=np.nan, time_high_s=np.nan)


def runs_of_twins(world: World, runs: int, blocks: int = BLOCKS, cells: int = CELLS) -> float:
    """The share of runs of twins in which one of them is called behind another."""
    return float(
        np.mean([any(len(leaders(world.block([1.0] * cells))[1]) for _ in range(blocks)) for _ in range(runs)])
    )


def judged(world: World, ratio: float, blocks: int, cells: int = CELLS) -> tuple[float, float]:
    """The share of cells with this ratio that are told from the fastest, and that of 95 % intervals that hold it."""
    shares, held = list[float](), list[bool]()
    for _ in range(blocks):
        block = world.block([1.0, *[ratio] * (cells - 1)])
        shares.append(len(leaders(block)[1]) / (cells - 1) if ratio > 1 else 0.0)
        held += [low <= ratio <= high for low, high in _intervals(block)]
    return float(np.mean(shares)), float(np.mean(held))


def _intervals(block: pd.DataFrame) -> Iterator[tuple[float, float]]:
    for over in range(1, len(block)):
        interval = between(block, over, 0).interval()
        yield interval.low, interval.high


def all_kinds(folders: Sequence[Path] = ()) -> list[Kind]:
    """Every cell whose noise is recorded."""
    saved = folders or [REPOSITORY / "results" / f"{name}-sample" for name in SAVED]
    return [*recorded_pairs(), *itertools.chain.from_iterable(saved_cells(folder) for folder in saved)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--runs", type=int, default=200, help="simulated runs of twins")
    parser.add_argument("--blocks", type=int, default=100, help="blocks for each ratio")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    kinds = all_kinds()
    columns = ["processes", "rounds in each", "noise", "runs of twins called different"]
    columns += [*(f"{ratio:g} × told" for ratio in RATIOS), "95 % intervals hold"]
    print(f"| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|")
    for (processes, rounds), mixed in itertools.product(SEEN, (True, False)):
        world = World(kinds, np.random.default_rng(given.seed), processes, rounds, mixed)
        twins = runs_of_twins(world, given.runs)
        shares = [judged(world, ratio, given.blocks) for ratio in (1.0, *RATIOS)]
        held = np.mean([held for _, held in shares])
        row = " | ".join(f"{share:.0%}" for share, _ in shares[1:])
        print(f"| {processes} | {rounds} | {'mixed' if mixed else 'alike'} | {twins:.1%} | {row} | {held:.1%} |")


if __name__ == "__main__":
    main()
