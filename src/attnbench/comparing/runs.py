"""Two saved runs, side by side: what they hold, which cells match, and what makes their machines unlike."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.errors import UsageError
from attnbench.results.dataset import plain as load
from attnbench.results.fingerprint import MACHINE_FIELDS, machine_name, machine_of
from attnbench.results.frames import records
from attnbench.results.read import read_info, run_folder
from attnbench.results.schema import RunInfo
from attnbench.results.summary import Bursts

if TYPE_CHECKING:
    import pandas as pd

# What a cell is matched by.
CELL = ("suite", "case_id", "impl", "device", "threads")
Key = tuple[str, str, str, str, int]


def key_of(row: Mapping[str, Any]) -> Key:
    """What the cell of a row is matched by."""
    return row["suite"], row["case_id"], row["impl"], row["device"], row["threads"]


@dataclass(frozen=True)
class SavedRun:
    """A run folder in memory: its info, one row per cell, its samples."""

    info: RunInfo
    cells: pd.DataFrame
    samples: pd.DataFrame

    @cached_property
    def rows(self) -> dict[Key, dict[str, Any]]:
        """The row of every cell by its key; two rows for one key are an error."""
        by_key: dict[Key, dict[str, Any]] = {}
        for row in records(self.cells):
            key = key_of(row)
            if key in by_key:
                msg = f"run {self.info.run_id} holds two rows for {row['impl']} · {row['case_label']}"
                raise UsageError(msg)
            by_key[key] = row
        return by_key

    @cached_property
    def threads(self) -> dict[tuple[Any, ...], list[int]]:
        """The thread counts of every cell, by what else it is matched by."""
        threads: dict[tuple[Any, ...], list[int]] = {}
        for key in self.rows:
            threads.setdefault(key[:-1], []).append(key[-1])
        return threads

    def bursts(self, cell_id: str, cache: str | None) -> Bursts:
        """The bursts of a cell that count, as ``summary.bursts`` gives them."""
        if isinstance(cache, str):
            return self._bursts.get((cell_id, cache), Bursts((), ()))
        medians = _medians(self._counting[self._counting["cell_id"] == cell_id], ["replicate", "burst"])
        return Bursts(tuple(medians["wall_s"].tolist()), tuple(medians["replicate"].tolist()))

    def anchors(self, row: Mapping[str, Any]) -> tuple[float, ...]:
        """What the anchor took just after each of the ``bursts`` of a row; NaN where it is not known."""
        return self._anchors.get((row["cell_id"], row["cache"]), ())

    def ratios(self, row: Mapping[str, Any]) -> Bursts:
        """The times of a row's bursts over those of the anchor just after; bursts without one are left out."""
        bursts = self.bursts(row["cell_id"], row["cache"])
        beside = zip(bursts.values, bursts.replicates, self.anchors(row), strict=False)
        known = [(value / anchor, replicate) for value, replicate, anchor in beside if anchor > 0]
        return Bursts(tuple(value for value, _ in known), tuple(replicate for _, replicate in known))

    def anchor_bursts(self, row: Mapping[str, Any]) -> Bursts:
        """What the anchor took just after the bursts of ``ratios``."""
        replicates = self.bursts(row["cell_id"], row["cache"]).replicates
        known = [pair for pair in zip(self.anchors(row), replicates, strict=False) if pair[0] > 0]
        return Bursts(tuple(value for value, _ in known), tuple(replicate for _, replicate in known))

    @cached_property
    def _counting(self) -> pd.DataFrame:
        return self.samples[~self.samples["warmup"] & ~self.samples["disturbed"]]

    @cached_property
    def _by_cell(self) -> tuple[pd.DataFrame, dict[tuple[str, str], slice]]:
        """Every burst, and those of every cell in every cache state: all at once, for a run may hold thousands."""
        medians = _medians(self._counting, ["cell_id", "cache", "replicate", "burst"])
        cells = list(zip(medians["cell_id"], medians["cache"], strict=True))
        starts = [i for i, cell in enumerate(cells) if i == 0 or cell != cells[i - 1]]
        return medians, {cells[start]: slice(start, end) for start, end in itertools.pairwise([*starts, len(cells)])}

    @cached_property
    def _bursts(self) -> dict[tuple[str, str], Bursts]:
        medians, places = self._by_cell
        values, replicates = tuple(medians["wall_s"].tolist()), tuple(medians["replicate"].tolist())
        return {cell: Bursts(values[place], replicates[place]) for cell, place in places.items()}

    @cached_property
    def _anchors(self) -> dict[tuple[str, str], tuple[float, ...]]:
        medians, places = self._by_cell
        values = tuple(medians["anchor_s"].tolist())
        return {cell: values[place] for cell, place in places.items()}


def load_saved(path: str | Path) -> SavedRun:
    """Read a run with its samples. Raises ``ResultsError``."""
    folder = run_folder(path)
    return SavedRun(read_info(folder), load(folder), load(folder, samples=True))


def matched(base: SavedRun, head: SavedRun) -> Iterator[tuple[Key, dict[str, Any] | None, dict[str, Any] | None]]:
    """Every cell of either run with its row on both sides, ``None`` where a side lacks it; in the order of base."""
    left, right = base.rows, head.rows
    for key in dict.fromkeys([*left, *right]):
        yield key, left.get(key), right.get(key)


def other_threads(run: SavedRun, key: Key) -> list[int]:
    """The thread counts with which ``run`` has this cell, if it has it only with others."""
    return sorted(run.threads.get(key[:-1], ()))


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
            names = _hardware(base, head) if field == "machine_id" else ("", "")
            return f"{name} differs: {_shown(in_base)}{names[0]} in BASE, {_shown(in_head)}{names[1]} in HEAD"
    return None


def machine_key(info: RunInfo) -> str:
    """What runs of one machine share, as ``unlike_machine`` has it; an import that names no machine is alone."""
    unnamed = info.imported is not None and not info.fingerprint.hardware.is_known
    return info.run_id if unnamed else machine_of(info.fingerprint)


def _hardware(*infos: RunInfo) -> list[str]:
    return [f" ({machine_name(info.fingerprint)})" for info in infos]


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


def none(value: Any) -> Any:
    """``None`` for what a frame has in its place, NaN; every other value as it is."""
    return None if value is None or value != value else value  # noqa: PLR0124


def _shown(value: object) -> str:
    return "unknown" if value is None else str(value)


def _medians(samples: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The median time of every burst and its anchor, in the order of ``keys``; NaN where a time among them is."""
    bursts = samples.assign(unknown=samples["wall_s"].isna()).groupby(keys, sort=True, observed=True)
    medians = bursts["wall_s"].median().where(~bursts["unknown"].any())
    return medians.reset_index().assign(anchor_s=bursts["anchor_s"].median().to_numpy())
