"""``attnbench run``: measure, keep, show."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnbench.commands import options
from attnbench.commands.given import check_positive, check_threads, say_left_out, seconds, split
from attnbench.commands.interrupt import end_as_interrupted
from attnbench.commands.places import check_folder, check_runs_folder
from attnbench.errors import AttnbenchError, UsageError, check_known
from attnbench.show.console import document, set_quiet, show
from attnbench.show.progress import ProgressLine

if TYPE_CHECKING:
    from attnbench.analysis.judged import JudgedRun
    from attnbench.measure.blocks.effort import Effort
    from attnbench.measure.run.plan import Plan
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
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Check agreement, measure time and memory, and write a run folder and its report."""
    from attnbench import groups
    from attnbench.commands.asking import from_anywhere, overrides, own_setting, serving

    set_quiet(quiet)
    named, made = serving(workload, suites or [], resume)
    words = {"shape": shape, "tokens": tokens, "batch": batch, "phase": phase, "dtype": dtype}
    axes = overrides(named, axis or [], {name: split(levels) for name, levels in words.items()})
    _check(named, device or [], resume, timeout)
    _check_places(None if resume else out, reports)
    check_threads(threads or [])
    from attnbench.measure.run.options import RunOptions
    from attnbench.measure.run.run import run as measured

    progress = ProgressLine(seconds(budget), first="planning")
    options_of_run = RunOptions(
        suites=[*groups.expanded(named[: len(named) - len(made)]), *made],
        patterns=impl or [],
        overrides=axes,
        devices=device or own_setting(named, "devices"),
        threads=threads or own_setting(named, "threads"),
        files=[str(path) for path in files or []],
        budget_s=seconds(budget),
        resume=resume,
        out=out,
        effort=_effort(timeout),
        wait_s=seconds(wait) or 0.0,
        command=["attnbench", *from_anywhere(sys.argv[1:])],
        progress=progress,
        at_work=progress.at_work,
        on_plan=_planned,
    )
    end_as_interrupted()
    with progress:
        outcome = measured(options_of_run)
    _keep_and_tell(outcome, reports, as_json=as_json)
    raise typer.Exit(outcome.exit_code)


def _check(suites: list[str], devices: list[str], resume: str | None, timeout_s: float) -> None:
    """Raise ``UsageError`` before anything is measured for what could not be measured or kept."""
    from attnbench.backends.implementation import DEVICES
    from attnbench.results.extra import check_report_extra

    check_report_extra("attnbench run")
    if not suites and resume is None:
        msg = (
            "name a suite, such as 'attnbench run smoke' (attnbench list suites shows them), a --workload, or --resume "
            "a run"
        )
        raise UsageError(msg)
    check_known("device", devices, DEVICES)
    check_positive("--timeout", timeout_s)


def _effort(timeout_s: float) -> Effort:
    from attnbench.measure.blocks.effort import Effort

    return Effort(timeout_s=timeout_s)


def _planned(plan: Plan) -> None:
    from attnbench.commands.asking import check_servable

    check_servable(plan)
    say_left_out(plan)


def _check_places(out: Path | None, reports: Path | None) -> None:
    """Raise ``UsageError`` before anything is measured for a folder that could not be written at the end."""
    if out is not None:
        check_runs_folder("--out", out)
    if reports is not None:
        check_folder("--report", reports)


def _keep_and_tell(outcome: Any, reports: Path | None, *, as_json: bool) -> None:
    """Verdicts and report beside the finished run, then its tables."""
    from attnbench.analysis.judged import judge_run
    from attnbench.backends import discover

    judged = judge_run(outcome.folder, discover.suite)
    answers = _answers(judged)
    _keep_verdicts(judged)
    page = _report(judged, (reports or outcome.folder.parent.parent / "reports") / outcome.run_id)
    if as_json:
        document(_outcome(outcome, page) | _served(answers))
    else:
        for answer in answers:
            show(_answer(answer, several=len(answers) > 1))
        show(_tables(judged))
        show(_closing(outcome, page))


def _answers(judged: JudgedRun) -> list[ServingVerdict]:
    """The answers of a workload; none where the run has none, or where nothing of it was measured."""
    from attnbench.commands.asking import WORKLOAD
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


def _report(judged: JudgedRun, out: Path) -> Path | None:
    """The report of a finished run; a report that cannot be written must not lose the run."""
    from attnbench.report.write import write_judged

    try:
        return write_judged([judged], out)
    except AttnbenchError as error:
        print(  # noqa: T201  (an error, so --quiet does not hide it)
            f"attnbench: the run is kept in {judged.folder}, but its report was not written: {error}", file=sys.stderr
        )
        return None


def _keep_verdicts(judged: JudgedRun) -> None:
    """The verdicts on published claims beside the rows; what a suite cannot judge must not lose the run."""
    from attnbench.analysis.claim_rows import write_verdicts

    try:
        write_verdicts(judged)
    except Exception as error:  # noqa: BLE001  (a suite's own code)
        print(  # noqa: T201  (an error, so --quiet does not hide it)
            f"attnbench: the run is kept in {judged.folder}, but its verdicts were not written: {error}",
            file=sys.stderr,
        )


def _tables(judged: JudgedRun) -> str:
    from attnbench.report.console import render_all
    from attnbench.report.tables import metrics_tables, timing_tables

    return render_all([*timing_tables(judged.frame), *metrics_tables(judged.frame)])


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
        lines.append(f"Partial: {outcome.note}. Go on with: attnbench run --resume {outcome.folder}")
    if outcome.shortened:
        lines.append(f"Under this budget: {' '.join(outcome.shortened)}")
    if outcome.left_out:
        names = dict.fromkeys(name for group in outcome.left_out for name in group.implementations)
        lines.append(f"Left out, with reasons in the report: {', '.join(names)}. --impl NAME measures one.")
    lines.append(f"run:    {outcome.folder}")
    lines.append(f"report: {page or 'not written'}")
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
