"""What a report says, before any markup: runs and suites as sections with findings, figures and tables.

A section belongs to one suite of one run; cells of different runs are never mixed, so machines cannot be either.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from attnbench.errors import UsageError
from attnbench.report import claimed, findings, tables
from attnbench.report.defaults import default_figures, with_setting
from attnbench.report.figures import Drawn, draw
from attnbench.report.palette import Palette
from attnbench.report.tables import Table
from attnbench.results.dataset import load
from attnbench.results.fingerprint import describe
from attnbench.results.frames import own_columns
from attnbench.results.journal import seconds_by_suite
from attnbench.results.read import JOURNAL, read_info, run_folder
from attnbench.results.schema import RunInfo

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.suite import Suite

SuiteFinder = Callable[[str], "Suite | None"]


@dataclass(frozen=True)
class Section:
    """One suite of one run."""

    anchor: str
    suite: str
    question: str
    method: str
    limits: str
    counts: str
    findings: tuple[str, ...]
    brief: tuple[str, ...]
    figures: tuple[Drawn, ...]
    verdicts: tuple[claimed.Row, ...]
    tables: tuple[tables.Table, ...]

    @property
    def claims(self) -> Table | None:
        """The verdicts as a table; ``None`` where the suite speaks of no claim."""
        return claimed.claims_table(list(self.verdicts)) if self.verdicts else None


@dataclass(frozen=True)
class RunReport:
    """One run: its suites, its machine, what failed and what was disturbed, and how to run it again."""

    anchor: str
    info: RunInfo
    command: str
    machine: Mapping[str, str]
    sections: tuple[Section, ...]
    failures: tables.Table
    disturbed: tables.Table
    counts: str
    minutes: tables.Table

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return self.info.status == "complete"


@dataclass(frozen=True)
class Report:
    """A page: one run or several, and all their rows in one frame for the CSV."""

    title: str
    runs: tuple[RunReport, ...]
    frame: pd.DataFrame

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections of all runs."""
        return tuple(section for run in self.runs for section in run.sections)

    @property
    def figures(self) -> tuple[Drawn, ...]:
        """The figures of all sections."""
        return tuple(figure for section in self.sections for figure in section.figures)

    @property
    def verdicts(self) -> tuple[claimed.Row, ...]:
        """The verdicts of all sections on published claims, each with its run and its suite."""
        return tuple(
            {"run_id": run.info.run_id, "suite": section.suite, **row}
            for run in self.runs
            for section in run.sections
            for row in section.verdicts
        )


def collect(run_paths: Sequence[str | Path], find_suite: SuiteFinder) -> Report:
    """Read runs and work out what their report says. Raises ``ResultsError``, or ``UsageError`` for no run."""
    import pandas as pd

    folders = list(dict.fromkeys(run_folder(path).resolve() for path in run_paths))
    if not folders:
        msg = "a report needs a run. Type: attnbench report results/RUN"
        raise UsageError(msg)
    loaded = [(read_info(folder), load(folder)) for folder in folders]
    seconds = [seconds_by_suite(folder / JOURNAL) for folder in folders]
    palette = Palette()
    names = pd.concat([frame["impl"] for _, frame in loaded]).unique()
    palette.places("impl", list(names))
    runs = tuple(
        _run(info, frame, spent, f"run{number}", find_suite, palette, several=len(loaded) > 1)
        for number, ((info, frame), spent) in enumerate(zip(loaded, seconds, strict=True), start=1)
    )
    suites = dict.fromkeys(section.suite for run in runs for section in run.sections)
    title = ", ".join(suites) or "nothing was planned"
    return Report(title, runs, pd.concat([frame for _, frame in loaded], ignore_index=True))


def _run(
    info: RunInfo,
    frame: pd.DataFrame,
    seconds: Mapping[str, float],
    anchor: str,
    find_suite: SuiteFinder,
    palette: Palette,
    *,
    several: bool,
) -> RunReport:
    prefix = f"{anchor}-" if several else ""
    suites = [(str(name), part) for name, part in frame.groupby("suite", sort=False)]
    sections = tuple(section_of(name, own_columns(part), find_suite(name), palette, prefix) for name, part in suites)
    label = imported_label(info)
    if label:
        sections = tuple(replace(one, counts=f"{one.counts} {label}") for one in sections)
    return RunReport(
        anchor,
        info,
        command_text(info.command),
        describe(info.fingerprint),
        sections,
        tables.failures_table(frame),
        tables.disturbed_table(frame),
        f"{findings.counts(frame)} {label}".rstrip(),
        tables.minutes_table(seconds, frame),
    )


def imported_label(info: RunInfo) -> str:
    """The sentence that says that attnbench did not measure a run; empty for one of its own."""
    source = info.imported
    if source is None:
        return ""
    unknown = f" Not known: {', '.join(source.unknown)}." if source.unknown else ""
    release = f" {source.version}" if source.version else ""
    return f"Imported from {source.tool}{release} ({source.file}), not measured by attnbench run.{unknown}"


def section_of(name: str, frame: pd.DataFrame, suite: Suite | None, palette: Palette, prefix: str = "") -> Section:
    """The section of one suite from its rows."""
    ready = with_setting(frame)
    verdicts, failure = claimed.verdict_rows(frame, suite)
    found = claimed.without_verdicts([*findings.findings(frame, suite), *failure], verdicts)
    figures = suite.figures if suite is not None and suite.figures else default_figures(ready)
    palette = palette.of_suite()
    return Section(
        anchor=f"{prefix}suite-{name}",
        suite=name,
        question=suite.question if suite else "This suite is not installed here; its rows are shown as they are.",
        method=suite.method if suite else "",
        limits=suite.limits if suite else "",
        counts=findings.counts(frame),
        findings=found,
        brief=findings.brief(found, claimed.tally(verdicts)),
        figures=tuple(draw(one, ready, palette, f"{prefix}{name}-") for one in figures),
        verdicts=tuple(verdicts),
        tables=(*tables.timing_tables(frame), *tables.metrics_tables(frame)),
    )


def command_text(command: Iterable[str]) -> str:
    """The command line as a person types it: the program by its name, wherever it lay."""
    words = list(command)
    if not words:
        return ""
    program = PurePath(words[0]).name
    words[0] = "attnbench" if program in ("__main__.py", "attnbench.exe", "cli.py") else program
    return shlex.join(words)
