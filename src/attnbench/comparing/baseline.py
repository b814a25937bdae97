"""Baselines: what a saved run must not fall behind, as one JSON file small enough for git.

It holds, of every cell, what ``compare`` judges by: the medians of its bursts and what the anchor took after each of
them (five digits), its peak memory, and the fingerprint of machine and software. So a check against it is ``compare``,
with all that this is and is not.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnbench.comparing.runs import SavedRun
from attnbench.errors import ResultsError, UsageError, suggest
from attnbench.results.frames import records
from attnbench.results.migrate import migrated
from attnbench.results.schema import RunInfo
from attnbench.results.store import write_whole

FORMAT, VERSION = "attnbench-baseline", 1
FOLDER = Path("results") / "baselines"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
DIGITS = 5
KEPT = (
    "suite",
    "cell_id",
    "case_id",
    "case_label",
    "impl",
    "backend",
    "device",
    "threads",
    "kind",
    "status",
    "reason",
    "cache",
    "spec_version",
    "machine_id",
    "time_median_s",
    "peak_bytes",
    "n_bursts",
    "disturbed_bursts",
)
# What is kept of a cell's anchor. Baselines that were made before there were anchors have none of it.
ANCHORED = ("anchor", "anchor_library", "anchor_reason", "anchor_median_s", "anchor_ratio")
OLDER = {"anchor_reason": "the baseline was made before there were anchors"}


def default_name(run: SavedRun) -> str:
    """Suites and machine: a baseline is of one machine."""
    return f"{'-'.join(run.info.suites)}-{run.info.fingerprint.machine_id[:8]}"


def set_baseline(run: SavedRun, name: str | None = None, folder: Path = FOLDER) -> Path:
    """Write the baseline of a run; the file. Raises ``UsageError`` for a run without a single time."""
    name = name or default_name(run)
    if not NAME.fullmatch(name):
        msg = f"a baseline is named by letters, digits, '.', '_' and '-'; got {name!r}"
        raise UsageError(msg)
    cells = [_kept(run, row) for row in records(run.cells)]
    if not any(cell["bursts"] for cell in cells):
        msg = f"run {run.info.run_id} has no time in it: nothing could be held to it"
        raise UsageError(msg)
    path = folder / f"{name}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{folder} cannot be written ({error.strerror}); name another folder with --dir"
        raise ResultsError(msg) from error
    # A line for each cell, so that a change of the file can be read.
    lines = ",\n".join(json.dumps(cell, separators=(",", ":")) for cell in cells)
    about = {"format": FORMAT, "version": VERSION, "run": run.info.model_dump(mode="json")}
    head = json.dumps(about, indent=1)[:-2]
    write_whole(path, f'{head},\n "cells": [\n{lines}\n ]\n}}\n')
    return path


def _kept(run: SavedRun, row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: _plain(row.get(name)) for name in (*KEPT, *ANCHORED)}
    counted = run.bursts(row["cell_id"], row["cache"])
    anchors = run.anchors(row) or (math.nan,) * counted.n
    bursts = _by_replicate(counted.values, counted.replicates)
    return kept | {"bursts": bursts, "anchors": _by_replicate(anchors, counted.replicates)}


def _by_replicate(values: Sequence[float], replicates: Sequence[int]) -> list[list[float | None]]:
    """Bursts, a list for each replicate, rounded; ``None`` where there is none."""
    lists: dict[int, list[float | None]] = {}
    for value, replicate in zip(values, replicates, strict=True):
        lists.setdefault(replicate, []).append(None if math.isnan(value) else float(f"{value:.{DIGITS}g}"))
    return list(lists.values())


def _plain(value: Any) -> Any:
    if value is None or value != value:  # noqa: PLR0124  (NaN is what a frame has for None)
        return None
    return value.item() if isinstance(value, np.generic) else value


def names(folder: Path = FOLDER) -> list[str]:
    """The baselines that there are."""
    return sorted(path.stem for path in folder.glob("*.json"))


def read_baseline(name: str, folder: Path = FOLDER) -> SavedRun:
    """A baseline as the run that it was made of, as far as comparing needs it. Raises ``ResultsError``."""
    path = folder / f"{name}.json"
    if not path.is_file():
        known = names(folder)
        there = f"there are {', '.join(known)}" if known else "there is none; type: attnbench baseline set RUN"
        msg = f"no baseline {name!r} in {folder}; {there}{suggest(name, known)}"
        raise ResultsError(msg)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT or data["version"] != VERSION:
            msg = f"{path} is of another program, or of a newer attnbench"
            raise ResultsError(msg)
        return _run(data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path} is damaged: {' '.join(str(error).split())[:200]}"
        raise ResultsError(msg) from error


def _run(data: dict[str, Any]) -> SavedRun:
    samples = [sample for cell in data["cells"] for sample in _samples(cell)]
    columns = ["cell_id", "replicate", "burst", "wall_s", "anchor_s", "warmup", "disturbed", "cache"]
    rows = [
        {name: cell[name] for name in KEPT} | {name: cell.get(name, OLDER.get(name)) for name in ANCHORED}
        for cell in data["cells"]
    ]
    info = RunInfo.model_validate(migrated("RunInfo", data["run"], data["run"]["schema_version"]))
    return SavedRun(info, pd.DataFrame(rows, columns=[*KEPT, *ANCHORED]), pd.DataFrame(samples, columns=columns))


def _samples(cell: dict[str, Any]) -> Iterator[dict[str, Any]]:
    common = {"cell_id": cell["cell_id"], "warmup": False, "disturbed": False, "cache": cell["cache"] or "none"}
    anchors = cell.get("anchors") or [[None] * len(values) for values in cell["bursts"]]
    for replicate, (values, beside) in enumerate(zip(cell["bursts"], anchors, strict=True)):
        for burst, (value, anchor) in enumerate(zip(values, beside, strict=True)):
            times = {"wall_s": float(value), "anchor_s": math.nan if anchor is None else float(anchor)}
            yield {**common, "replicate": replicate, "burst": burst, **times}


def choose(run: SavedRun, name: str | None, folder: Path = FOLDER) -> str:
    """The baseline that was named, else the one of this run's suites and machine, else the only one."""
    known = names(folder)
    if name is not None:
        return name
    if default_name(run) in known or len(known) != 1:
        return default_name(run)
    return known[0]
