"""Two runs of a machine beside each other: both times of every timed cell, and what ``attnbench compare`` calls it.

Runs of several machines come into ``machines``: they are shown and never tested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.analysis.judged import JudgedRun
from attnbench.comparing.runs import Key, key_of
from attnbench.comparing.together import drifts
from attnbench.comparing.verdicts import CLAIM, Verdict, compare, percent
from attnbench.errors import UsageError
from attnbench.results.frames import records
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

PAIR = 2
MARGIN = 0.05  # the smallest change that matters, as attnbench compare has it unless it is given another
SAME = "same"


@dataclass(frozen=True)
class BesideRow:
    """A cell of either run: its times as text, what became of the change, and why there is no judgement."""

    case: str
    impl: str
    base: str
    head: str
    verdict: str
    change: str
    why: str

    @property
    def same(self) -> bool:
        """Whether nothing differs by the rules: what was not judged may."""
        return self.verdict == SAME


@dataclass(frozen=True)
class Beside:
    """Two runs: their ids, what the verdicts are worth, and a row for each cell."""

    base: str
    head: str
    worth: tuple[str, ...]
    rows: tuple[BesideRow, ...]

    @property
    def differing(self) -> int:
        """How many rows are not the same."""
        return sum(not row.same for row in self.rows)


def beside(runs: Sequence[JudgedRun]) -> Beside | None:
    """The table of two runs of one machine that share a timed suite; ``None`` for any others."""
    if len(runs) != PAIR or runs[0].info.run_id == runs[1].info.run_id:
        return None
    base, head = (_timed(run.frame) for run in runs)
    if not {key[0] for key in base} & {key[0] for key in head}:
        return None
    infos = [run.info for run in runs]
    try:
        verdicts = compare(runs[0].folder, runs[1].folder, MARGIN)
    except UsageError as error:  # such as two rows for one cell
        return Beside(infos[0].run_id, infos[1].run_id, (f"The two were not judged: {error}",), ())
    by_cell: dict[Key, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.key in base or verdict.key in head:
            by_cell.setdefault(verdict.key, []).append(verdict)
    every = [verdict for group in by_cell.values() for verdict in group]
    worth = (CLAIM, *(drift.sentence for drift in drifts(every, MARGIN)))
    name = _naming(list(by_cell))
    rows = tuple(_row(name(group[0]), group, base.get(key), head.get(key)) for key, group in by_cell.items())
    return Beside(infos[0].run_id, infos[1].run_id, worth, rows)


def _timed(frame: pd.DataFrame) -> dict[Key, dict[str, Any]]:
    rows = records(frame[frame["kind"] == "timed"])
    return {key_of(row): row for row in rows}


def _naming(keys: Sequence[Key]) -> Callable[[Verdict], str]:
    """How a case is called: with its suite, device and threads where there are several."""
    suites, places = {key[0] for key in keys}, {key[3:] for key in keys}

    def name(verdict: Verdict) -> str:
        suite = f"{verdict.suite}: " if len(suites) > 1 else ""
        threads = f" · {verdict.device}, threads {verdict.threads}" if len(places) > 1 else ""
        return f"{suite}{verdict.case_label}{threads}"

    return name


def _row(
    case: str,
    verdicts: Sequence[Verdict],
    base: Mapping[str, Any] | None,
    head: Mapping[str, Any] | None,
) -> BesideRow:
    time, words = verdicts[0], [verdict.verdict for verdict in verdicts]
    differing = [word for word in words if word != SAME]
    verdict = " · ".join(dict.fromkeys(differing)) or SAME
    change = "" if time.ratio is None else percent(time.ratio)
    bounded = time.low is not None and time.high is not None  # an interval is its own reason
    if time.low is not None and time.high is not None:
        change += f" [{percent(time.low)}, {percent(time.high)}]"
    why = "; ".join(each.reason for each in verdicts[bounded:] if each.reason)
    return BesideRow(case, time.impl, _time(base), _time(head), verdict, change, why)


def _time(row: Mapping[str, Any] | None) -> str:
    """The median time, or what became of the cell instead."""
    if row is None:
        return units.NOTHING
    return units.seconds(row["time_median_s"]) if row["status"] == "ok" else str(row["status"])
