"""From runs to their machines side by side: grouped by machine, with a column for each run that has a suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.analysis.leading import lead
from attnbench.comparing.runs import machine_key
from attnbench.errors import UsageError
from attnbench.report.defaults import varying
from attnbench.report.glance.cases import case_names, names_of
from attnbench.report.glance.forest import ForestLine
from attnbench.report.glance.machines import (
    Machines,
    SideCell,
    SideClaim,
    SideHead,
    SideMachine,
    SideRow,
    SideTable,
    SideTime,
    SideVerdict,
)
from attnbench.results.fingerprint import machine_names
from attnbench.results.frames import POINT, column_names, records
from attnbench.results.schema import RunInfo
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

CASE = ("case_id", "device", "threads")
NOT_THERE = "not measured there"


@dataclass(frozen=True)
class SideRun:
    """What of a run is put beside others: its suites' rows by name, its answers by suite, its claims."""

    info: RunInfo
    frames: Mapping[str, pd.DataFrame]
    answers: Mapping[str, str]
    claims: tuple[ForestLine, ...]


def machines(runs: Sequence[SideRun]) -> Machines | None:
    """Runs grouped by machine; ``None`` where all of them are of one.

    Raises ``UsageError`` for one run that is there as of two machines: its columns could not be told apart.
    """
    by_machine: dict[str, list[SideRun]] = {}
    for run in runs:
        by_machine.setdefault(machine_key(run.info), []).append(run)
    if len(by_machine) < 2:  # noqa: PLR2004
        return None
    twice = [run_id for run_id, count in Counter(run.info.run_id for run in runs).items() if count > 1]
    if twice:
        msg = f"run {twice[0]} is there twice, beside runs of other machines; name one of its folders"
        raise UsageError(msg)
    names = machine_names([group[0].info.fingerprint for group in by_machine.values()])
    named = [
        SideMachine(_told(name, names, group[0]), key, tuple(run.info.run_id for run in group), tuple(_answers(group)))
        for name, (key, group) in zip(names, by_machine.items(), strict=True)
    ]
    ordered = [run for group in by_machine.values() for run in group]
    of_run = {run.info.run_id: machine.name for machine in named for run in by_machine[machine.key]}
    suites = dict.fromkeys(suite for run in ordered for suite, frame in run.frames.items() if len(_timed(frame)))
    tables = tuple(_table(suite, [run for run in ordered if suite in run.frames], of_run) for suite in suites)
    judged = [run for run in ordered if run.claims]
    return Machines(tuple(named), tables, _heads(judged, of_run), tuple(_claims(judged)))


def _told(name: str, names: Sequence[str], run: SideRun) -> str:
    """A name that two machines share, as imports that name none have it, is told apart by the run."""
    return f"{name}, of {run.info.run_id}" if names.count(name) > 1 else name


def _answers(group: Sequence[SideRun]) -> Iterable[tuple[str, str]]:
    several = len({suite for run in group for suite in run.answers}) > 1
    for run in group:
        for suite, sentence in run.answers.items():
            yield (suite if several else "", sentence)


def _timed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["kind"] == "timed"]


def _heads(runs: Sequence[SideRun], of_run: Mapping[str, str]) -> tuple[SideHead, ...]:
    """Heads of columns; a machine that has several of them here says which run each is."""
    count = Counter(of_run[run.info.run_id] for run in runs)
    return tuple(
        SideHead(name, run.info.run_id, run.info.run_id if count[name] > 1 else "")
        for run in runs
        if (name := of_run[run.info.run_id])
    )


def _table(suite: str, runs: Sequence[SideRun], of_run: Mapping[str, str]) -> SideTable:
    import pandas as pd

    frames = [_timed(run.frames[suite]) for run in runs]
    cases = pd.concat([frame.drop_duplicates([*CASE]) for frame in frames], ignore_index=True)
    cases = cases.drop_duplicates([*CASE])
    partly = [name for name in column_names(cases) if name.startswith(POINT) and bool(cases[name].isna().any())]
    names = names_of(cases, varying(cases.drop(columns=partly)))
    cells = [_cells(frame) for frame in frames]
    columns = tuple(of_run[run.info.run_id] for run in runs)
    rows = tuple(
        SideRow(
            name,
            str(row["case_label"]),
            tuple(mine.get(_key(row), SideCell(why=NOT_THERE)) for mine in cells),
            columns,
        )
        for row, name in zip(records(cases), names, strict=True)
    )
    by_key = dict(zip(map(_key, records(cases)), rows, strict=True))
    return SideTable(suite, _heads(runs, of_run), rows, tuple(_times(by_key, frames)))


def _times(rows: Mapping[tuple[Hashable, ...], SideRow], frames: Sequence[pd.DataFrame]) -> Iterable[SideTime]:
    """Every implementation of every case, in the order of the cases."""
    seen: list[dict[tuple[Hashable, ...], str]] = []
    for frame in frames:
        texts: dict[tuple[Hashable, ...], str] = {}
        for row in records(frame):
            time = units.seconds(row["time_median_s"]) if row["status"] == "ok" else str(row["status"])
            texts.setdefault((*_key(row), str(row["impl"])), time)
        seen.append(texts)
    impls = dict.fromkeys(str(key[-1]) for texts in seen for key in texts)
    for case, side_row in rows.items():
        for impl in impls:
            if any((*case, impl) in texts for texts in seen):
                yield SideTime(side_row, impl, tuple(texts.get((*case, impl), units.NOTHING) for texts in seen))


def _key(row: Mapping[Any, Any]) -> tuple[Hashable, ...]:
    return tuple(row[name] for name in CASE)


def _cells(frame: pd.DataFrame) -> dict[tuple[Hashable, ...], SideCell]:
    """Each case of a run, by its own block alone."""
    names = case_names(frame)
    cells: dict[tuple[Hashable, ...], SideCell] = {}
    for place, block in frame.groupby(["block_id", "case_id"], sort=False):
        cells.setdefault(_key(records(block.iloc[:1])[0]), _cell(block, names[place]))
    return cells


def _cell(block: pd.DataFrame, name: str) -> SideCell:
    ok = block[block["status"] == "ok"]
    if ok.empty:
        counts = Counter(map(str, block["status"]))
        why = f"no time: {', '.join(f'{count} {status}' for status, count in counts.items())}"
        return SideCell(why=why, name=name)
    first = lead(ok)
    time = next(row["time_median_s"] for row in records(ok) if row["impl"] == first.first)
    ratio = first.ratio if first.behind else None
    return SideCell(first.first, units.seconds(time), first.second, ratio, first.together, name=name)


def _claims(runs: Sequence[SideRun]) -> Iterable[SideClaim]:
    """Every claim of every run, in the order of the first that speaks of it."""
    by_run = [{_claim_key(line): line for line in run.claims} for run in runs]
    for key in dict.fromkeys(key for lines in by_run for key in lines):
        lines = [lines.get(key) for lines in by_run]
        yield SideClaim(key[0], key[1], tuple(SideVerdict() if line is None else _verdict(line) for line in lines))


def _claim_key(line: ForestLine) -> tuple[str, ...]:
    return line.suite, line.claim, line.source, line.published, line.margin


def _verdict(line: ForestLine) -> SideVerdict:
    more = len(line.marks) - 1
    return SideVerdict(f"{line.marks[0].text}{f' and {more} more' if more else ''}", line.counted)
