"""What a report says, before any markup: runs and suites as sections with findings, figures and tables.

A section belongs to one suite of one run; cells of different runs are never mixed, so machines cannot be either. Runs
of several machines are ordered by machine, and put side by side (``glance.machines``).
"""

from __future__ import annotations

import itertools
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING

from attnbench.analysis.claims import VERDICTS
from attnbench.analysis.judged import JudgedRun, JudgedSuite, Row
from attnbench.analysis.leading import OverFastest, all_standings
from attnbench.analysis.sampled import without_rounds
from attnbench.comparing.runs import machine_key
from attnbench.errors import UsageError
from attnbench.report import claimed, findings, tables
from attnbench.report.defaults import default_figures, with_setting
from attnbench.report.figures import DrawnFigure, draw
from attnbench.report.glance.advice import Advice, advice_of
from attnbench.report.glance.beside import Beside, beside
from attnbench.report.glance.cases import WORKLOAD
from attnbench.report.glance.conditions import conditions, rates
from attnbench.report.glance.forest import ForestLine, forest, forest_noun
from attnbench.report.glance.grid import AnswerGrid, grid_of
from attnbench.report.glance.machines import Machines
from attnbench.report.glance.side import SideRun, machines
from attnbench.report.html.records import DataTable, data_table
from attnbench.report.palette import Palette
from attnbench.report.tables import Table
from attnbench.results.fingerprint import describe
from attnbench.results.journal import left_out, seconds_by_suite, shortened
from attnbench.results.read import JOURNAL
from attnbench.results.schema import RunInfo
from attnbench.suite import NOT_JUDGED, Story

if TYPE_CHECKING:
    import pandas as pd

SHORT = 220  # characters of a finding that stands beside a figure; longer ones are folded
MOST_IN_NAME = 4
CLAIMS = "claims"
# The story of a suite that is not installed here.
NOT_INSTALLED = Story(question="This suite is not installed here; its rows are shown as they are.")


@dataclass(frozen=True)
class Section:
    """One suite of one run."""

    anchor: str
    suite: str
    title: str
    question: str
    method: str
    limits: str
    counts: str
    findings: tuple[str, ...]
    brief: tuple[str, ...]
    figures: tuple[DrawnFigure, ...]
    verdicts: tuple[Row, ...]
    tables: tuple[tables.Table, ...]
    grid: AnswerGrid | None = None
    advice: Advice | None = None
    answered: bool = False
    data: DataTable | None = None

    @property
    def leads(self) -> bool:
        """Whether its grid belongs on the first screen: what speaks of published claims has its place among these."""
        return self.grid is not None and not self.verdicts

    @property
    def short(self) -> tuple[str, ...]:
        """Two sentences at most: what became of the claims, and the first finding that is short."""
        short = [sentence for sentence in self.findings if len(sentence) <= SHORT]
        return (*filter(None, [claimed.spelled(self.verdicts)]), *short)[:2]

    @property
    def claims(self) -> Table | None:
        """The verdicts as a table; ``None`` where the suite speaks of no claim."""
        return claimed.claims_table(self.verdicts) if self.verdicts else None


@dataclass(frozen=True)
class RunReport:
    """One run: its suites, its machine, what failed, was left out, shortened or disturbed, how to run it again."""

    anchor: str
    info: RunInfo
    command: str
    machine: Mapping[str, str]
    sections: tuple[Section, ...]
    failures: tables.Table
    absent: tables.Table
    disturbed: tables.Table
    conditions: Mapping[str, str]
    counts: str
    minutes: tables.Table
    left_out: tables.Table
    shortened: tuple[str, ...]

    @property
    def rates(self) -> Mapping[str, str]:
        """How fast the machine is, as it was measured beside the cells."""
        return rates(self.info)

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return self.info.status == "complete"

    def place(self, suite: str) -> str:
        """The place of a suite of this run on the page."""
        return next(section.anchor for section in self.sections if section.suite == suite)

    @cached_property
    def forest(self) -> dict[str, tuple[ForestLine, ...]]:
        """The claims of this run by their verdict; empty where none is spoken of, or none is judged."""
        rows = [(section.suite, row) for section in self.sections for row in section.verdicts]
        return forest(pair for pair in rows if pair[1]["verdict"] != NOT_JUDGED)

    @property
    def claims(self) -> str:
        """What its claims are called: ``published claims``, or ``claims of this suite`` where nobody published any."""
        return forest_noun(self.forest)

    @property
    def tallied(self) -> str:
        """The same in a sentence, with how many claims there are."""
        total, lines = sum(self.tally.values()), sum(map(len, self.forest.values()))
        tally = ", ".join(f"{count} {verdict}" for verdict, count in self.tally.items())
        return f"{total} verdict{'s' * (total > 1)} on {lines} {self.claims}: {tally}."

    @property
    def tally(self) -> dict[str, int]:
        """How many verdicts on claims came to what, in the order of ``forest``."""
        counts = Counter(mark.verdict for lines in self.forest.values() for line in lines for mark in line.marks)
        return {name: counts[name] for name in (*VERDICTS, *counts) if counts[name]}


@dataclass(frozen=True)
class Report:
    """A page: one run or several, and all their rows in one frame for the CSV."""

    title: str
    runs: tuple[RunReport, ...]
    frame: pd.DataFrame
    beside: Beside | None = None
    machines: Machines | None = None

    @property
    def name(self) -> str:
        """The title where it is short, else what was typed for it, such as ``ablations-standard``."""
        suites = dict.fromkeys(section.suite for section in self.sections)
        if len(suites) <= MOST_IN_NAME:
            return self.title
        typed = [_named(run.info.command) for run in self.runs]
        return ", ".join(dict.fromkeys(typed)) if all(typed) else f"{len(suites)} suites"

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections of all runs."""
        return tuple(section for run in self.runs for section in run.sections)

    @property
    def carries_workload(self) -> bool:
        """Whether a run measured a workload, of which no cell has a command of its own."""
        return any(word.partition("=")[0] == WORKLOAD for run in self.runs for word in run.info.command)

    @property
    def data(self) -> tuple[DataTable, ...]:
        """The rows of all sections, as tables that can be sorted."""
        return tuple(section.data for section in self.sections if section.data is not None)

    @property
    def figures(self) -> tuple[DrawnFigure, ...]:
        """The figures of all sections."""
        return tuple(figure for section in self.sections for figure in section.figures)

    @property
    def verdicts(self) -> tuple[Row, ...]:
        """The verdicts of all sections on published claims, each with its run and its suite."""
        return tuple(
            {"run_id": run.info.run_id, "suite": section.suite, **row}
            for run in self.runs
            for section in run.sections
            for row in section.verdicts
        )


def collect(judged: Sequence[JudgedRun], *, drawn: bool = True) -> Report:
    """What the report of runs says, its figures only if they are to be ``drawn``.

    Raises ``UsageError`` for no run, ``ResultsError`` for a damaged journal.
    """
    import pandas as pd

    if not judged:
        msg = "a report needs a run. Type: attnbench report results/RUN"
        raise UsageError(msg)
    judged = _by_machine(judged)
    palette = Palette()
    names = pd.concat([run.frame["impl"] for run in judged]).unique()
    palette.places("impl", list(names))
    runs = tuple(
        _run(run, f"run{number}", palette, several=len(judged) > 1, drawn=drawn)
        for number, run in enumerate(judged, start=1)
    )
    suites = dict.fromkeys(section.suite for run in runs for section in run.sections)
    title = ", ".join(suites) or "nothing was planned"
    frame = pd.concat([without_rounds(run.frame) for run in judged], ignore_index=True)
    apart = machines([_side(run, shown) for run, shown in zip(judged, runs, strict=True)])
    return Report(title, runs, frame, beside(judged) if apart is None else None, apart)


def _by_machine(judged: Sequence[JudgedRun]) -> list[JudgedRun]:
    """The runs in the order in which they were named, those of a machine following each other."""
    order: dict[str, int] = {}
    for run in judged:
        order.setdefault(machine_key(run.info), len(order))
    return sorted(judged, key=lambda run: order[machine_key(run.info)])


def _side(judged: JudgedRun, run: RunReport) -> SideRun:
    """What of a run is put beside those of other machines: its claims in one sentence, else that of each suite."""
    claims = tuple(line for lines in run.forest.values() for line in lines)
    answers = {CLAIMS: run.tallied} if run.forest else {}
    for section in run.sections:
        if section.leads or not run.forest:
            brief = next(iter((*section.short, *section.brief)), "") or section.counts
            answers[section.suite] = brief if section.advice is None else section.advice.sentence
    return SideRun(judged.info, {suite.name: suite.frame for suite in judged.suites}, answers, claims)


def _run(judged: JudgedRun, anchor: str, palette: Palette, *, several: bool, drawn: bool) -> RunReport:
    info, frame = judged.info, judged.frame
    prefix = f"{anchor}-" if several else ""
    sections = tuple(section_of(suite, palette, prefix, info, drawn=drawn) for suite in judged.suites)
    label = imported_label(info)
    if label:
        sections = tuple(replace(section, counts=f"{section.counts} {label}") for section in sections)
    return RunReport(
        anchor,
        info,
        command_text(info.command),
        describe(info.fingerprint),
        sections,
        tables.failures_table(frame),
        tables.absent_table(frame),
        tables.disturbed_table(frame),
        conditions(info, frame),
        f"{findings.counts(frame)} {label}".rstrip(),
        tables.minutes_table(seconds_by_suite(judged.folder / JOURNAL), frame),
        tables.left_out_table(left_out(judged.folder / JOURNAL)),
        tuple(shortened(judged.folder / JOURNAL)),
    )


def imported_label(info: RunInfo) -> str:
    """The sentence that says that attnbench did not measure a run; empty for one of its own."""
    source = info.imported
    if source is None:
        return ""
    unknown = f" Not known: {', '.join(source.unknown)}." if source.unknown else ""
    release = f" {source.version}" if source.version else ""
    return f"Imported from {source.tool}{release} ({source.file}), not measured by attnbench run.{unknown}"


def told(judged: JudgedSuite, over: Mapping[str, OverFastest]) -> tuple[Story, tuple[str, ...], Advice | None]:
    """The story of one suite, what it found, and the advice by cases.

    Where the first finding answers the suite as a whole, the advice is headed by it.
    """
    story = judged.story or NOT_INSTALLED
    sentences = tuple(findings.findings(judged.frame, story, judged.place))
    advice = advice_of(judged.frame, over)
    if story.leads and sentences:
        advice = Advice(sentences[0], (), "") if advice is None else replace(advice, sentence=sentences[0])
    return story, sentences, advice


def remarks(judged: JudgedSuite) -> tuple[str, ...]:
    """What is to be known of a suite besides what it found: that its file is gone or changed, or its claims failed."""
    return (*filter(None, [judged.note]), *claimed.failure(judged))


def section_of(
    judged: JudgedSuite, palette: Palette, prefix: str = "", info: RunInfo | None = None, *, drawn: bool = True
) -> Section:
    """The section of one suite from its rows and its verdicts; with the run, its rows have their commands.

    A prefix says that the page has several runs; titles say then which one they are of.
    """
    name, frame = judged.name, judged.frame
    title = f"{name} ({info.run_id})" if prefix and info is not None else name
    over = all_standings(frame)
    ready = with_setting(frame)
    story, answers, advice = told(judged, over)
    sentences = (*filter(None, [judged.note]), *answers, *claimed.failure(judged))
    figures = (story.figures or default_figures(ready)) if drawn else ()
    palette = palette.of_suite()
    return Section(
        anchor=f"{prefix}suite-{name}",
        suite=name,
        title=title,
        question=story.question,
        method=story.method,
        limits=story.limits,
        counts=findings.counts(frame),
        findings=sentences,
        brief=findings.brief(sentences, claimed.tally(judged.verdicts)),
        figures=tuple(draw(figure, ready, palette, f"{prefix}{name}-") for figure in figures),
        verdicts=judged.verdicts,
        tables=(*tables.timing_tables(frame, over), *tables.metrics_tables(frame)),
        grid=grid_of(frame, over),
        advice=advice,
        answered=story.leads,
        data=None if info is None else replace(data_table(info, frame, f"{prefix}{name}", over), title=title),
    )


def _named(command: Sequence[str]) -> str:
    """The suites and groups of a ``run`` as they were typed; empty where the command does not say them."""
    words = list(command)[2:] if list(command[1:2]) == ["run"] else []
    return ", ".join(itertools.takewhile(lambda word: not word.startswith("-"), words))


def command_text(command: Iterable[str]) -> str:
    """The command line as a person types it: the program by its name, wherever it lay."""
    words = list(command)
    if not words:
        return ""
    program = PurePath(words[0]).name  # cli.py: saved runs name the file of the program as it was called then.
    words[0] = "attnbench" if program in ("__main__.py", "attnbench.exe", "app.py", "cli.py") else program
    return shlex.join(words)
