"""``attnbench run``: measure, keep, show."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnbench.commands import options
from attnbench.commands.interrupt import end_as_interrupted
from attnbench.errors import AttnbenchError
from attnbench.interface.places import check_folder, reports_folder
from attnbench.show.console import complain, document, say, set_quiet, show
from attnbench.show.progress import ProgressLine

if TYPE_CHECKING:
    from attnbench.analysis.judged import JudgedRun
    from attnbench.report.content import Report
    from attnbench.workloads.verdict import ServingVerdict


def run(
    suites: Annotated[list[str] | None, typer.Argument(metavar="SUITE...", help="See: attnbench list suites.")] = None,
    *,
    workload: options.Workload = None,
    impl: options.Impls = None,
    axis: options.Axes = None,
    shape: options.Shapes = None,
    tokens: options.Tokens = None,
    batch: options.Batch = None,
    phase: options.Phases = None,
    dtype: options.Dtypes = None,
    device: options.Devices = None,
    threads: options.ThreadsOfAll = None,
    budget: options.BudgetIfAny = None,
    resume: options.Resume = None,
    out: options.RunsOut = Path("results"),
    reports: options.Reports = None,
    timeout: options.CellTimeout = 120.0,
    wait: options.WaitOnMachine = None,
    files: options.Files = None,
    suite_files: options.SuiteFiles = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Check agreement, measure time and memory, and write a run folder and its report."""
    from attnbench.interface.running import LEVELS, RunWords, run_options

    set_quiet(quiet)
    words = RunWords(
        suites=suites or [],
        workload=workload,
        impl=impl or [],
        axes=axis or [],
        levels=dict(zip(LEVELS, (shape or [], tokens or [], batch or [], phase or [], dtype or []), strict=True)),
        device=device or [],
        threads=threads or [],
        budget=budget,
        resume=resume,
        out=out,
        timeout_s=timeout,
        wait=wait,
        impls=files or [],
        suite_files=suite_files or [],
    )
    options_of_run = run_options(words, say)
    if reports is not None:
        check_folder("--report", reports)
    from attnbench.measure.run.run import run as measured

    progress = ProgressLine(options_of_run.budget_s, first="planning")
    telling: dict[str, Any] = {
        "command": ["attnbench", *sys.argv[1:]],
        "progress": progress,
        "at_work": progress.at_work,
    }
    end_as_interrupted()
    with progress:
        outcome = measured(replace(options_of_run, **telling))
    _keep_and_tell(outcome, reports, as_json=as_json)
    raise typer.Exit(outcome.exit_code)


def _keep_and_tell(outcome: Any, reports: Path | None, *, as_json: bool) -> None:
    """Verdicts and report beside the finished run, then its tables."""
    from attnbench.interface.running import judged as judged_with_verdicts

    judged = judged_with_verdicts(outcome.folder, complain)
    answers = _answers(judged)
    collection = _collected(judged)
    page = _report(collection, _place(outcome, reports))
    if as_json:
        document(_outcome(outcome, page) | _served(answers))
    else:
        for answer in answers:
            show(_answer(answer, several=len(answers) > 1))
        show(_shown(judged, collection, served=bool(answers)) + "\n")
        show(_closing(outcome, page))


def _place(outcome: Any, reports: Path | None) -> Path:
    return reports_folder(outcome.folder, outcome.run_id) if reports is None else reports / outcome.run_id


def _answers(judged: JudgedRun) -> list[ServingVerdict]:
    """The answers of a workload; none where the run has none, or where nothing of it was measured."""
    from attnbench.interface.serving import WORKLOAD
    from attnbench.workloads import answers

    return [answer for suite in judged.suites if suite.name == WORKLOAD for answer in answers(suite.frame)]


def _answer(answer: ServingVerdict, *, several: bool) -> str:
    """The answer to a workload, the totals of all, and what else is to be said."""
    from attnbench.show.console import table
    from attnbench.workloads.said import HEADS, rows, sentences

    first, *rest = sentences(answer, several=several)
    return "\n".join([first, "", table(HEADS, rows(answer), ranks={"called": 2, "interval": 1}), "", *rest, ""])


def _served(answers: Sequence[ServingVerdict]) -> dict[str, Any]:
    from attnbench.workloads.verdict import as_dict

    return {"workload": [as_dict(answer) for answer in answers]} if answers else {}


def _collected(judged: JudgedRun) -> Report | None:
    """What the report of a finished run says; one that cannot be made must not lose the run."""
    from attnbench.report.content import collect

    try:
        return collect([judged])
    except AttnbenchError as error:
        complain(f"the run is kept in {judged.folder}, but it has no report: {error}")
        return None


def _report(collection: Report | None, out: Path) -> Path | None:
    """The page of a finished run; one that cannot be written must not lose the run."""
    from attnbench.report.write import write_collected

    if collection is None:
        return None
    try:
        return write_collected(collection, out)
    except AttnbenchError as error:
        complain(f"the run is kept, but its report was not written: {error}")
        return None


def _shown(judged: JudgedRun, collection: Report | None, *, served: bool) -> str:
    """The answer; the bare tables where no report could be made."""
    from attnbench.report.console import render_all
    from attnbench.report.tables import metrics_tables, timing_tables
    from attnbench.report.terminal.answer import answer_text

    if collection is None:
        return render_all([*timing_tables(judged.frame), *metrics_tables(judged.frame)])
    return answer_text(collection, served=served)


def _closing(outcome: Any, page: Path | None) -> str:
    counts: dict[str, int] = {}
    for row in outcome.rows:
        counts[row.status] = counts.get(row.status, 0) + 1
    total = ", ".join(f"{count} {status}" for status, count in counts.items())
    lines = [f"{len(outcome.rows)} cells: {total}."]
    if outcome.resumed:
        lines.append(f"Resumed: kept {outcome.kept} finished cells and {outcome.kept_bursts} bursts from before.")
    if outcome.bursts_lost:
        lines.append(f"{outcome.bursts_lost} bursts from before do not count: the run ended before they were audited.")
    if outcome.spending is not None:
        lines.append(outcome.spending.sentence())
    if outcome.note:
        lines.append(f"Partial: {outcome.note}. Go on with: attnbench run --resume {shlex.quote(str(outcome.folder))}")
    if outcome.shortened:
        lines.append(f"Under this budget: {' '.join(outcome.shortened)}")
    if outcome.left_out:
        names = dict.fromkeys(name for group in outcome.left_out for name in group.implementations)
        lines.append(f"Left out, with reasons in the report: {', '.join(names)}. --impl NAME measures one.")
    lines.append(f"run:    {outcome.folder}")
    lines.append(f"report: {page or 'not written'}")
    lines.append(f"tables: attnbench export {shlex.quote(str(outcome.folder))} --to markdown")
    return "\n".join(lines)


def _outcome(outcome: Any, page: Path | None) -> dict[str, Any]:
    return {
        "run_id": outcome.run_id,
        "folder": str(outcome.folder),
        "report": str(page) if page else None,
        "exit_code": outcome.exit_code,
        "note": outcome.note,
        "seconds": outcome.spending.total() if outcome.spending else None,
        "kept": outcome.kept,
        "kept_bursts": outcome.kept_bursts,
        "bursts_lost": outcome.bursts_lost,
        "shortened": list(outcome.shortened),
        "left_out": [group.to_dict() for group in outcome.left_out],
        "cells": [row.model_dump(mode="json") for row in outcome.rows],
    }
