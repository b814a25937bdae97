"""Record runs of one commit over hours, as small files that ``tests.comparing.replay`` judges.

``python -m tests.benchmarks.record_anchored OUT --runs 20 --every 180`` begins a run of 40 seconds every three
minutes: few contestants, five processes of each, with the anchor beside every burst. OUT is written anew after each
run, so that it can be stopped at any time; called again it goes on, if the commit and the machine are the same. Nothing
else should run. ``python -m tests.comparing.replay OUT`` then prints the figures.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnbench.backends import discover
from attnbench.comparing import SavedRun, load_saved
from attnbench.comparing.runs import unlike_machine
from attnbench.measure.run.options import RunOptions
from attnbench.measure.run.run import run
from attnbench.results.schema import CellResult, RunInfo
from attnbench.suite import TimedSuite

IMPLS = ("numpy/blocked", "torch/sdpa")
# Forward and decoding, by tiles and by a reading: as much as five processes of each have time for.
OVERRIDES = ("setting=forward,decode", "T=512,2048")
BUDGET_S = 40.0
COLUMNS = ("run", "cell", "replicate", "burst", "disturbed", "wall_s", "anchor_s")
BURSTS, RUNS = "bursts.csv", "runs.json"
OF_RUN = ("run_id", "started", "finished")
OF_CELL = ("impl", "case", "point", "error_ratio", "anchor", "anchor_library")


def measured(budget_s: float, impls: Sequence[str]) -> tuple[SavedRun, Sequence[CellResult]]:
    """One run and its rows; its folder is not kept."""
    suite = discover.suite("smoke")
    assert isinstance(suite, TimedSuite)
    folder = Path(tempfile.mkdtemp())
    try:
        outcome = run(
            RunOptions(
                suites=[replace(suite, weigh=False)],
                patterns=impls,
                overrides=OVERRIDES,
                budget_s=budget_s,
                out=folder,
                command=("attnbench", "run", "smoke"),
            )
        )
        return load_saved(outcome.folder), outcome.rows
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Recording:
    """A recording as its files, to which runs are added."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.common: dict[str, Any] = {"run": None, "runs": [], "cells": []}
        self.lines: list[dict[str, str]] = []
        if (out / RUNS).exists():
            self.common = json.loads((out / RUNS).read_text(encoding="utf-8"))
            with (out / BURSTS).open(encoding="utf-8") as file:
                self.lines = list(csv.DictReader(file))

    def add(self, saved: SavedRun, rows: Sequence[CellResult]) -> None:
        """A run more, and the files anew. A run of other code or of another machine is refused."""
        info = saved.info.model_dump(mode="json")
        if self.common["run"] is None:
            self.common["run"] = info
        self._check(saved.info)
        number = len(self.common["runs"])
        self.common["runs"].append({name: info[name] for name in OF_RUN})
        self.lines += list(self._bursts(saved, rows, number))
        self._write()

    def _check(self, info: RunInfo) -> None:
        first = RunInfo.model_validate(self.common["run"])
        commits = first.fingerprint.git, info.fingerprint.git
        why = unlike_machine(first, info) or (
            f"commits {commits[0]} and {commits[1]}" if len(set(commits)) > 1 else None
        )
        if why is not None:
            msg = f"{self.out} holds runs that are unlike this one ({why}); record into another folder"
            raise SystemExit(msg)

    def _bursts(self, saved: SavedRun, rows: Sequence[CellResult], number: int) -> Iterator[dict[str, str]]:
        for row in rows:
            if row.status != "ok":
                continue
            mine = saved.samples[(saved.samples["cell_id"] == row.cell_id) & ~saved.samples["warmup"]]
            cell = self._cell(row)
            for sample in mine.to_dict("records"):
                anchor_s = sample["anchor_s"]
                yield {
                    "run": str(number),
                    "cell": str(cell),
                    "replicate": str(sample["replicate"]),
                    "burst": str(sample["burst"]),
                    "disturbed": str(int(sample["disturbed"])),
                    "wall_s": f"{sample['wall_s']:.4g}",
                    "anchor_s": "" if anchor_s is None or math.isnan(anchor_s) else f"{anchor_s:.4g}",
                }

    def _cell(self, row: CellResult) -> int:
        """The number of a cell, which is new the first time."""
        about = {name: getattr(row, name) for name in OF_CELL}
        for number, cell in enumerate(self.common["cells"]):
            if (cell["impl"], cell["point"], cell["anchor"]) == (about["impl"], about["point"], about["anchor"]):
                return number
        self.common["cells"].append(about)
        return len(self.common["cells"]) - 1

    def _write(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / RUNS).write_text(json.dumps(self.common, indent=1) + "\n", encoding="utf-8")
        with (self.out / BURSTS).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.lines)


def main() -> None:
    """Record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument(
        "--every", type=float, default=180.0, help="seconds from the beginning of a run to that of the next"
    )
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds of a run")
    parser.add_argument("--impl", action="append", help=f"implementations; by default {', '.join(IMPLS)}")
    given = parser.parse_args()
    recording = Recording(given.out)
    while (number := len(recording.common["runs"])) < given.runs:
        began = time.monotonic()
        saved, rows = measured(given.budget, tuple(given.impl or IMPLS))
        recording.add(saved, rows)
        seen = saved.cells["n_replicates"].dropna()
        print(
            f"run {number + 1} of {given.runs}: {len(seen)} cells, {seen.min():.0f} to {seen.max():.0f} processes",
            flush=True,
        )
        if number + 1 < given.runs:
            time.sleep(max(0.0, given.every - (time.monotonic() - began)))


if __name__ == "__main__":
    main()
