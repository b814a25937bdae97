"""Runs over time of one machine: which belong together, the times of every cell in them, and their change points."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median
from typing import Any, Literal

from attnbench.comparing.anchored.basis import unlike_anchors
from attnbench.comparing.history import MOST_RUNS, ChangePoint, change_points, fewest_runs
from attnbench.comparing.runs import CELL, none, unlike, unlike_machine
from attnbench.errors import NothingSelectedError, ResultsError, UsageError
from attnbench.results.dataset import plain as load
from attnbench.results.fingerprint import machine_name
from attnbench.results.frames import records
from attnbench.results.read import read_info
from attnbench.results.schema import RunInfo
from attnbench.results.summary import too_few

Word = Literal["changed", "no change point", "too few runs"]


@dataclass(frozen=True)
class CellInRun:
    """A cell in one run; ``low`` and ``high`` are the interval within that run.

    ``anchor_s`` is what the anchor took beside it, ``ratio`` the time over that of the anchor, burst by burst;
    ``without`` is why there is no ratio.
    """

    run_id: str
    started: str
    revision: str
    seconds: float
    low: float | None
    high: float | None
    anchor_s: float | None = None
    ratio: float | None = None
    without: str | None = None


@dataclass(frozen=True)
class Series:
    """A cell over its runs, oldest first. ``gaps``: runs in which it was planned and has no time.

    ``by``: whether changes are those of the ratio to the anchor, which all of its runs have, or of raw times.
    """

    suite: str
    case_label: str
    impl: str
    device: str
    threads: int
    points: tuple[CellInRun, ...]
    gaps: int = 0
    changes: tuple[ChangePoint, ...] = ()
    fewest: int = 0
    by: Literal["anchor", "raw"] = "raw"

    @property
    def levels(self) -> list[float]:
        """What is judged, in seconds: raw, or as if the anchor had taken as long in every run (its median of all)."""
        if self.by == "raw":
            return [point.seconds for point in self.points]
        usual = median(point.anchor_s or 0.0 for point in self.points)
        return [usual * (point.ratio or 0.0) for point in self.points]

    @property
    def why_raw(self) -> str | None:
        """Why raw times are judged though runs have the anchor; ``None`` where none has, or all do."""
        without = [point for point in self.points if point.without is not None]
        if not without or len(without) == len(self.points):
            return None
        count = f"{len(without)} of {len(self.points)} runs have no ratio to the anchor"
        return f"{count}, the newest of them {without[-1].run_id}: {without[-1].without}"

    @property
    def label(self) -> str:
        """Case and implementation, with the setting."""
        plural = "s" if self.threads > 1 else ""
        return f"{self.case_label} · {self.impl} · {self.device}, {self.threads} thread{plural}"

    @property
    def word(self) -> Word:
        """What can be said."""
        if len(self.points) < self.fewest:
            return "too few runs"
        return "changed" if self.changes else "no change point"


@dataclass(frozen=True)
class LeftOut:
    """A run, or the cells of one backend in it, that are not like the others."""

    run_id: str
    what: str
    reason: str


@dataclass(frozen=True)
class History:
    """The history of a machine: its runs, oldest first, its cells, and what is not in it."""

    machine_id: str
    runs: tuple[str, ...]
    series: tuple[Series, ...]
    left_out: tuple[LeftOut, ...]
    fewest: int

    @property
    def decided(self) -> bool:
        """Whether any cell has runs enough for a statement."""
        return any(cell.word != "too few runs" for cell in self.series)


@dataclass(frozen=True)
class _Run:
    info: RunInfo
    rows: Sequence[Mapping[str, Any]]


def history(
    folders: Sequence[Path],
    suites: Sequence[str] = (),
    patterns: Sequence[str] = (),
    machine: str | None = None,
    margin: float = 0.0,
    this_machine: str | None = None,
    *,
    choose: bool = True,
) -> History:
    """The history of ``machine`` (the beginning of its id), or of that of the newest run.

    Without ``machine`` it is that of ``this_machine`` if it has runs. Without ``choose`` runs of several machines are
    refused with ``UsageError`` unless ``machine`` says which. ``margin`` is the smallest change that matters. A
    run that cannot be read is left out and told like any other. ``suites`` and shell ``patterns`` of implementations
    choose cells. Raises ``NothingSelectedError`` where no run has one.
    """
    left_out: list[LeftOut] = []
    seen: dict[str, str] = {}
    read = [_read(path, suites, patterns, left_out, seen) for path in folders]
    runs = sorted((run for run in read if run and run.rows), key=lambda run: (run.info.started, run.info.run_id))
    if machine is None and not choose:
        _refuse_several(runs)
    if machine is None and any(run.info.fingerprint.machine_id == this_machine for run in runs):
        machine = this_machine
    ours = [run for run in runs if machine is None or run.info.fingerprint.machine_id.startswith(machine)]
    if not ours:
        known = sorted({run.info.fingerprint.machine_id for run in runs})
        msg = f"no run here is of machine {machine}; there are {', '.join(known)}" if known else _nothing(folders)
        raise NothingSelectedError(msg)
    newest = ours[-1]
    left_out += [LeftOut(r.info.run_id, "all of", why) for r in runs if (why := _unlike_newest(r, newest)) is not None]
    alike = [run for run in runs if _unlike_newest(run, newest) is None]
    old = f"it is older than the newest {MOST_RUNS} runs, which are looked at"
    left_out += [LeftOut(run.info.run_id, "all of", old) for run in alike[:-MOST_RUNS]]
    alike = alike[-MOST_RUNS:]
    series = list(_series(alike, left_out))
    cells = sum(bool(cell.points) for cell in series)
    if not cells:
        raise NothingSelectedError(_nothing(folders))
    fewest = fewest_runs(cells)
    judged = tuple(_judged(cell, cells, fewest, margin) for cell in series)
    ids = tuple(run.info.run_id for run in alike)
    return History(newest.info.fingerprint.machine_id, ids, judged, tuple(left_out), fewest)


def _refuse_several(runs: Sequence[_Run]) -> None:
    by_machine: dict[str, list[_Run]] = {}
    for run in runs:
        by_machine.setdefault(run.info.fingerprint.machine_id, []).append(run)
    if len(by_machine) > 1:
        named = [
            f"{machine} ({machine_name(group[-1].info.fingerprint)}; {len(group)} run{'s' * (len(group) > 1)})"
            for machine, group in by_machine.items()
        ]
        msg = (
            f"the runs are of {len(by_machine)} machines, and a history is of one: {'; '.join(named)}. "
            f"Type which one: --machine {next(iter(by_machine))}"
        )
        raise UsageError(msg)


def _nothing(folders: Sequence[Path]) -> str:
    count = f"{len(folders)} run" + ("s" if len(folders) != 1 else "")
    return f"no time of a cell that was asked for in {count}; attnbench list shows suites and implementations"


def _read(
    folder: Path, suites: Sequence[str], patterns: Sequence[str], left_out: list[LeftOut], seen: dict[str, str]
) -> _Run | None:
    try:
        info, every = read_info(folder), records(load(folder))
    except ResultsError as error:
        left_out.append(LeftOut(folder.name, "all of", str(error)))
        return None
    if info.run_id in seen:
        left_out.append(LeftOut(folder.name, "all of", f"it is a copy of {seen[info.run_id]}"))
        return None
    seen[info.run_id] = folder.name
    rows = [
        row
        for row in every
        if row["kind"] == "timed"
        and (not suites or row["suite"] in suites)
        and (not patterns or any(fnmatchcase(row["impl"], pattern) for pattern in patterns))
    ]
    return _Run(info, rows)


def _unlike_newest(run: _Run, newest: _Run, backend: str | None = None) -> str | None:
    pair = run.info, newest.info
    why = unlike_machine(*pair) if backend is None else unlike(*pair, backend)
    return None if why is None else _in_history(why)


def _in_history(why: str) -> str:
    return re.sub(r"\bin BASE\b", "in this run", re.sub(r"\bin HEAD\b", "in the newest", why))


def _series(runs: Sequence[_Run], left_out: list[LeftOut]) -> Iterator[Series]:
    """Every cell of like runs; of each backend, runs unlike the newest that has it are left out and told."""
    kept: dict[tuple[Any, ...], list[tuple[RunInfo, Mapping[str, Any]]]] = {}
    for backend in dict.fromkeys(str(row["backend"]) for run in runs for row in run.rows):
        having = [run for run in runs if any(row["backend"] == backend for row in run.rows)]
        for run in having:
            why = _unlike_newest(run, having[-1], backend)
            if why is not None:
                left_out.append(LeftOut(run.info.run_id, f"{backend} of", why))
                continue
            for row in run.rows:
                if row["backend"] == backend:
                    kept.setdefault(tuple(none(row[name]) for name in CELL), []).append((run.info, row))
    for key, in_runs in kept.items():
        yield _of_cell(key, in_runs, left_out)


def _of_cell(
    key: tuple[Any, ...], in_runs: Sequence[tuple[RunInfo, Mapping[str, Any]]], left_out: list[LeftOut]
) -> Series:
    suite, _, impl, device, threads = key
    timed = list(_of_one_anchor([(info, row) for info, row in in_runs if row["status"] == "ok"], left_out))
    # A time is of one state of the caches; the newest says which.
    states = {row["cache"] for _, row in timed[-1:]}
    points = [_point(info, row) for info, row in timed if row["cache"] in states]
    label = str(in_runs[-1][1]["case_label"])
    by: Literal["anchor", "raw"] = "anchor" if points and all(point.ratio for point in points) else "raw"
    return Series(suite, label, impl, device, threads, tuple(points), len(in_runs) - len(points), by=by)


def _of_one_anchor(
    timed: Sequence[tuple[RunInfo, Mapping[str, Any]]], left_out: list[LeftOut]
) -> Iterator[tuple[RunInfo, Mapping[str, Any]]]:
    """Runs of a cell whose anchor is that of the newest; others are left out, and those without one stay."""
    newest = timed[-1][1] if timed else {}
    for info, row in timed:
        alike = none(newest.get("anchor")) is None or none(row.get("anchor")) is None
        why = None if alike else unlike_anchors(row, newest)
        if why is None:
            yield info, row
        else:
            left_out.append(LeftOut(info.run_id, f"{row['impl']} of", _in_history(why)))


def _point(info: RunInfo, row: Mapping[str, Any]) -> CellInRun:
    low, high = none(row["time_low_s"]), none(row["time_high_s"])
    seconds, revision, without = float(row["time_median_s"]), info.fingerprint.git or "unknown", _without_ratio(row)
    if without is not None:
        return CellInRun(info.run_id, info.started, revision, seconds, low, high, without=without)
    anchor_s, ratio = float(row["anchor_median_s"]), float(row["anchor_ratio"])
    return CellInRun(info.run_id, info.started, revision, seconds, low, high, anchor_s, ratio)


def _without_ratio(row: Mapping[str, Any]) -> str | None:
    """Why a row has no ratio to the anchor that can be relied on; of an older row by all of its bursts."""
    if none(row["anchor_ratio"]) is None:
        return str(none(row.get("anchor_reason")) or "no burst has the anchor beside it")
    bursts, processes = none(row.get("n_bursts")) or 0, none(row.get("n_replicates")) or 0
    return too_few(int(bursts), int(processes))


def _judged(series: Series, cells: int, fewest: int, margin: float) -> Series:
    return replace(series, changes=tuple(change_points(series.levels, cells, margin)), fewest=fewest)
