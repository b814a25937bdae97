"""Recorded runs of one code compared with each other by the real command's judge, and the figures that come out.

``python -m tests.comparing.replay [FOLDER ...]`` prints the lines of docs/regression.md for recordings, by default
all in results/noise that have anchors. ``--half`` judges the pairs of every second run alone, to choose by one half.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attnbench.comparing import SavedRun, Verdict, load_saved
from attnbench.comparing.statistics import process_level
from attnbench.interface.comparison import judge
from attnbench.results.calibrations import VARIABLE
from tests.comparing.recorded_runs import recorded, write_recorded
from tests.repository import REPOSITORY

MARGIN = 0.05
Pair = tuple[SavedRun, SavedRun]


def recordings() -> list[Path]:
    """The recordings with anchors that the repository has."""
    return sorted(path.parent for path in (REPOSITORY / "results" / "noise").glob("*/runs.json"))


def pairs(folder: Path, most: int | None = None) -> list[Pair]:
    """Pairs of runs, the earlier one first; ``most`` of them, spread over all."""
    runs = [load_saved(path) for path in sorted(folder.iterdir())]
    every = list(itertools.combinations(runs, 2))
    return every if most is None else every[:: len(every) // most][:most]


def slowed(run: SavedRun, factor: float) -> SavedRun:
    """The run, had all its code taken so much longer: its cells, and not the anchor."""
    return dataclasses.replace(run, samples=run.samples.assign(wall_s=run.samples["wall_s"] * factor))


def judged(folder: Path, pair: Pair, factor: float = 1.0) -> list[Verdict]:
    """The verdicts of a pair with that slowdown planted in HEAD, as the command gives them."""
    return list(judge(pair[0], slowed(pair[1], factor), MARGIN, [folder]).verdicts)


def counted(folder: Path, chosen: Sequence[Pair], factor: float, *, anchored: bool = True) -> Counter[str]:
    """The words of all cells of these pairs with that slowdown planted in HEAD; by raw times if not ``anchored``."""
    if not anchored:
        chosen = [(_without(base), _without(head)) for base, head in chosen]
    return Counter(verdict.verdict for pair in chosen for verdict in judged(folder, pair, factor))


def _without(run: SavedRun) -> SavedRun:
    return dataclasses.replace(run, cells=run.cells.assign(anchor=None))


def share(words: Counter[str], word: str) -> float:
    """The share of a word."""
    return words[word] / sum(words.values()) if words else 0.0


def lines(folder: Path, out: Path, half: int | None = None) -> Iterator[str]:
    """What docs/regression.md says of a recording, whose runs are written below ``out``."""
    write_recorded(out, folder)
    runs = [load_saved(path) for path in sorted(out.iterdir())]
    processes = np.concatenate([run.cells["n_replicates"].dropna().to_numpy() for run in runs])
    yield f"{folder.name}: {len(runs)} runs, {processes.min():.0f} to {processes.max():.0f} processes a cell"
    yield from _spreads(folder, runs)
    chosen = list(itertools.combinations(runs if half is None else runs[half::2], 2))
    words = {factor: [judged(out, pair, factor) for pair in chosen] for factor in (1.0, 1.1, 1.2)}
    slower = [verdict for verdicts in words[1.0] for verdict in verdicts if verdict.verdict == "slower"]
    faster = sum(verdict.verdict == "faster" for verdicts in words[1.0] for verdict in verdicts)
    cells = sum(map(len, words[1.0]))
    alarms = sum(any(verdict.verdict == "slower" for verdict in verdicts) for verdicts in words[1.0])
    yield f"twins, {len(chosen)} pairs, {cells} cells: {len(slower)} slower (in {alarms} pairs), {faster} faster"
    yield from (f"+{100 * (factor - 1):.0f} %: {_found(words[factor])}" for factor in (1.1, 1.2))


def _spreads(folder: Path, runs: Sequence[SavedRun]) -> Iterator[str]:
    """Standard deviations over the runs of each cell: of raw times, and of ratios to the anchor."""
    yield "| cell | raw | ratio |"
    yield "|---|---|---|"
    squares = []
    for about in recorded(folder)[0]["cells"]:
        rows = [(run, row) for run in runs for row in run.rows.values() if _is(row, about)]
        raw = np.array([process_level(run.bursts(row["cell_id"], row["cache"])) for run, row in rows])
        ratio = np.array([process_level(ratios) for run, row in rows if (ratios := run.ratios(row)).n])
        squares.append((raw.var(ddof=1), ratio.var(ddof=1)))
        name = f"`{about['impl']}` {' '.join(str(level) for level in about['point'].values())}"
        yield f"| {name} | {100 * raw.std(ddof=1):.1f} % | {100 * ratio.std(ddof=1):.1f} % |"
    every = 100 * np.sqrt(np.mean(squares, axis=0))
    yield f"| all, root mean square | {every[0]:.1f} % | {every[1]:.1f} % |"


def _is(row: dict[str, Any], about: dict[str, Any]) -> bool:
    return row["impl"] == about["impl"] and all(row[f"point.{axis}"] == level for axis, level in about["point"].items())


def _found(judged_pairs: Sequence[Sequence[Verdict]]) -> str:
    """How many cells are slower: of all, of those at the machine's usual speed, of the others, of those judged raw."""
    kinds: dict[str, list[bool]] = {"all": [], "at usual speed": [], "off it": [], "judged raw": []}
    for verdict in itertools.chain.from_iterable(judged_pairs):
        off = "off its usual speed" in (verdict.reason or "") or "for the machine's speed" in verdict.evidence
        kind = "judged raw" if verdict.by == "raw" else "off it" if off else "at usual speed"
        for name in ("all", kind):
            kinds[name].append(verdict.verdict == "slower")
    return ", ".join(f"{name} {100 * np.mean(seen):.0f} % of {len(seen)}" for name, seen in kinds.items() if seen)


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--half", type=int, choices=(0, 1))
    given = parser.parse_args()
    for folder in given.folders or recordings():
        with tempfile.TemporaryDirectory() as temporary:
            os.environ[VARIABLE] = str(Path(temporary) / "data")  # no calibration of this machine counts
            for line in lines(folder, Path(temporary) / "results", given.half):
                print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
