"""Two saved runs, side by side: what they hold, which cells match, and what makes their machines unlike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.errors import UsageError
from attnbench.results.dataset import load
from attnbench.results.frames import records
from attnbench.results.read import read_info, run_folder
from attnbench.results.schema import RunInfo
from attnbench.results.summary import Bursts

if TYPE_CHECKING:
    import pandas as pd

# What a cell is matched by.
CELL = ("suite", "case_id", "impl", "device", "threads")
Key = tuple[str, str, str, str, int]

# The fields of a fingerprint that must be alike, with their names for people.
MACHINE_FIELDS = {
    "machine_id": "machine",
    "governor": "CPU governor",
    "turbo": "turbo",
    "cpu_limit": "CPU limit",
    "memory_limit_bytes": "memory limit",
    "usable_cpus": "usable CPUs",
    "virtual": "virtualisation",
    "kernel": "kernel",
    "python": "Python",
    "spec_version": "specification version",
}


@dataclass(frozen=True)
class SavedRun:
    """A run folder in memory: its info, one row per cell, its samples."""

    info: RunInfo
    cells: pd.DataFrame
    samples: pd.DataFrame

    def rows(self) -> dict[Key, dict[str, Any]]:
        """The row of every cell by its key; two rows for one key are an error."""
        by_key: dict[Key, dict[str, Any]] = {}
        for row in records(self.cells):
            key: Key = row["suite"], row["case_id"], row["impl"], row["device"], row["threads"]
            if key in by_key:
                msg = f"run {self.info.run_id} holds two rows for {row['impl']} · {row['case_label']}"
                raise UsageError(msg)
            by_key[key] = row
        return by_key


def load_saved(path: str | Path) -> SavedRun:
    """Read a run with its samples. Raises ``ResultsError``."""
    folder = run_folder(path)
    return SavedRun(read_info(folder), load(folder), load(folder, samples=True))


def matched(base: SavedRun, head: SavedRun) -> Iterator[tuple[Key, dict[str, Any] | None, dict[str, Any] | None]]:
    """Every cell of either run with its row on both sides, ``None`` where a side lacks it; in the order of base."""
    left, right = base.rows(), head.rows()
    for key in dict.fromkeys([*left, *right]):
        yield key, left.get(key), right.get(key)


def other_threads(run: SavedRun, key: Key) -> list[int]:
    """The thread counts with which ``run`` has this cell, if it has it only with others."""
    return sorted(cell[-1] for cell in run.rows() if cell[:-1] == key[:-1])


def unlike(base: RunInfo, head: RunInfo, backend: str) -> str | None:
    """What makes times of ``backend`` in two runs incomparable, by name and values; ``None`` if nothing is."""
    left, right = base.fingerprint, head.fingerprint
    if (reason := unlike_machine(base, head)) is not None:
        return reason
    return _unlike_entry(
        f"{backend} versions", left.frameworks.get(backend), right.frameworks.get(backend)
    ) or _unlike_entry(
        f"{backend} thread pools", left.thread_pools.get(backend, {}), right.thread_pools.get(backend, {})
    )


def unlike_machine(base: RunInfo, head: RunInfo) -> str | None:
    """What makes the machines of two runs unlike, whatever the backend; ``None`` if nothing does."""
    if (reason := unnamed_machine(base, head)) is not None:
        return reason
    for field, name in MACHINE_FIELDS.items():
        in_base, in_head = getattr(base.fingerprint, field), getattr(head.fingerprint, field)
        if in_base != in_head:
            return f"{name} differs: {_shown(in_base)} in BASE, {_shown(in_head)} in HEAD"
    return None


def unnamed_machine(base: RunInfo, head: RunInfo) -> str | None:
    """Which sides were imported from a file that names no machine: two such are not taken for one."""
    unnamed = {
        side: info.imported.file
        for side, info in (("BASE", base), ("HEAD", head))
        if info.imported is not None and not info.fingerprint.hardware.is_known
    }
    if not unnamed:
        return None
    again = f"attnbench import {next(iter(unnamed.values()))} --machine NAME"
    sides = " and of ".join(unnamed)
    return f"the machine of {sides} is not known, since the imported file does not name it; say which it was: {again}"


def _unlike_entry(name: str, left: dict[str, Any] | None, right: dict[str, Any] | None) -> str | None:
    if left is None or right is None:
        return f"{name} are not known in {'BASE' if left is None else 'HEAD'}"
    for key in sorted({*left, *right}):
        if left.get(key) != right.get(key):
            return f"{name}: {key} is {_shown(left.get(key))} in BASE, {_shown(right.get(key))} in HEAD"
    return None


def _shown(value: object) -> str:
    return "unknown" if value is None else str(value)


def frame_bursts(samples: pd.DataFrame, cell_id: str, cache: str | None) -> Bursts:
    """The bursts of a cell that count, as ``summary.bursts`` gives them, from a frame of samples."""
    chosen = samples[(samples["cell_id"] == cell_id) & ~samples["warmup"] & ~samples["disturbed"]]
    if isinstance(cache, str):
        chosen = chosen[chosen["cache"] == cache]
    if chosen.empty:
        return Bursts((), ())
    medians = chosen.groupby(["replicate", "burst"])["wall_s"].agg(lambda burst: burst.median(skipna=False))
    return Bursts(
        tuple(float(value) for value in medians), tuple(int(key) for key in medians.index.get_level_values(0))
    )
