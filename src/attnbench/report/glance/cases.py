"""What a case is called beside the others of its suite, and the command that measures a cell again."""

from __future__ import annotations

import itertools
import shlex
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from attnbench.report.defaults import varying, worded
from attnbench.results.frames import POINT, records
from attnbench.results.schema import RunInfo
from attnbench.show import units
from attnbench.suite.written import levels_typed

if TYPE_CHECKING:
    import pandas as pd

# Options of ``attnbench run`` that say what a cell is, besides its levels.
WORKLOAD = "--workload"
CARRIED = ("--impls", WORKLOAD)


def case_names(frame: pd.DataFrame) -> dict[tuple[Hashable, ...], str]:
    """A short name for each (block, case) of a suite: the levels that vary; the whole case where these do not tell."""
    cases = frame.drop_duplicates(["block_id", "case_id"])
    keys = zip(cases["block_id"], cases["case_id"], strict=True)
    return dict(zip(keys, names_of(cases, varying(frame)), strict=True))


def names_of(cases: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The same for a frame that has one row for each case, by the levels that vary."""
    rows = records(cases)
    names = [worded(row, columns) or str(row["case_label"]) for row in rows]
    seen = Counter(names)
    return [name if seen[name] == 1 else f"{name} ({row['case_label']})" for row, name in zip(rows, names, strict=True)]


def command(info: RunInfo, row: dict[str, Any]) -> str:
    """The command line that measures a cell again; empty for what another tool measured."""
    if info.imported is not None or units.known(row.get("imported")):
        return ""
    carried = _carried(info.command)
    source = info.suite_files.get(row["suite"])
    carried += [] if source is None else ["--suites", source.file]
    suite = [] if WORKLOAD in carried else [row["suite"]]
    words = ["attnbench", "run", *suite, *carried, "--impl", row["impl"]]
    levels = {} if WORKLOAD in carried else _levels(row)
    words += [] if row["device"] == "cpu" else ["--device", row["device"]]
    line = f"{shlex.join(map(str, words))} {levels_typed(levels)}".rstrip()
    return line if row["kind"] == "observed" else f"{line} --threads {row['threads']}"


def _carried(typed: Sequence[str]) -> list[str]:
    """The options of a run's command that a cell of it cannot do without."""
    kept: list[str] = []
    for word, after in itertools.pairwise([*typed, ""]):
        option, equals, value = word.partition("=")
        if option in CARRIED:
            kept += [option, value if equals else after]
    return kept


def _levels(row: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(POINT): row[name] for name in row if name.startswith(POINT) and units.known(row[name])}
