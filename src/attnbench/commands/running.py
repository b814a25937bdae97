"""``attnbench run`` and ``attnbench report``: measure, keep, show."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench import groups
from attnbench.commands.asking import own_setting
from attnbench.commands.checking import known_device, positive
from attnbench.commands.output import ProgressLine, document, show
from attnbench.errors import EXIT_OK, AttnbenchError, UsageError
from attnbench.results.extra import check_report_extra

if TYPE_CHECKING:
    from attnbench.analysis.judged import JudgedRun

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def run_command(
    suites: list[str],
    *,
    patterns: list[str],
    axes: list[str],
    device: list[str],
    threads: list[int],
    budget: str | None,
    resume: str | None,
    out: Path,
    files: list[Path],
    reports: Path | None,
    timeout_s: float,
    wait: str | None,
    as_json: bool,
) -> int:
    """Run suites, write the run folder and its report, show the tables; the exit status of the run.

    ``axes`` are texts of -a, such as ``commands.asking.overrides`` makes; without ``device`` and ``threads`` a suite
    has its own.
    """
    check_report_extra("attnbench run")
    from attnbench import discover
    from attnbench.analysis.judged import judge_run
    from attnbench.measure.effort import Effort
    from attnbench.measure.run import RunOptions, run

    if not suites and resume is None:
        msg = "name a suite, such as 'attnbench run smoke' (attnbench list suites shows them), or --resume a run"
        raise UsageError(msg)
    for one in device:
        known_device(one)
    positive("--timeout", timeout_s)
    if reports is not None:
        writable(reports)
    options = RunOptions(
        suites=groups.expanded(suites),
        patterns=patterns,
        overrides=axes,
        devices=device or own_setting(suites, "devices"),
        threads=threads or own_setting(suites, "threads"),
        files=[str(path) for path in files],
        budget_s=seconds(budget),
        resume=resume,
        out=out,
        effort=Effort(timeout_s=timeout_s),
        wait_s=seconds(wait) or 0.0,
        command=["attnbench", *sys.argv[1:]],
        progress=ProgressLine(),
    )
    end_as_interrupted()
    outcome = run(options)
    judged = judge_run(outcome.folder, discover.suite)
    _keep_verdicts(judged)
    page = _report(judged, (reports or outcome.folder.parent.parent / "reports") / outcome.run_id)
    if as_json:
        document(_outcome(outcome, page))
    else:
        show(_tables(judged))
        show(_closing(outcome, page))
    return outcome.exit_code


def writable(folder: Path) -> None:
    """Raise ``UsageError`` before anything is measured if reports could not be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"--report {folder} cannot be written ({error.strerror}); name another folder"
        raise UsageError(msg) from error
    if not os.access(folder, os.W_OK):
        msg = f"--report {folder} cannot be written; name another folder"
        raise UsageError(msg)


def end_as_interrupted() -> None:
    """From now on SIGTERM ends the work as Ctrl-C does: what was measured is kept."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def seconds(text: str | None) -> float | None:
    """A duration such as 90s, 10m or 1h, in seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not match or float(match[1]) <= 0:
        msg = f"a duration is a number above 0 and a unit, such as 90s, 10m or 1h; got {text!r}"
        raise UsageError(msg)
    return float(match[1]) * UNITS[match[2] or "s"]


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
    from attnbench.report.console import render, wants_colour
    from attnbench.report.tables import metrics_tables, timing_tables

    shown = [*timing_tables(judged.frame), *metrics_tables(judged.frame)]
    colour = wants_colour(sys.stdout)
    return "\n\n".join(render(one, colour=colour) for one in shown) + "\n"


def _closing(outcome: Any, page: Path | None) -> str:
    counts: dict[str, int] = {}
    for row in outcome.rows:
        counts[row.status] = counts.get(row.status, 0) + 1
    total = ", ".join(f"{count} {status}" for status, count in counts.items())
    lines = [f"{len(outcome.rows)} cells: {total}."]
    if outcome.resumed:
        lines.append(f"Resumed: kept {outcome.kept} finished cells and {outcome.kept_bursts} bursts from before.")
    if outcome.spending is not None:
        lines.append(outcome.spending.sentence())
    if outcome.note:
        lines.append(f"Partial: {outcome.note}. Go on with: attnbench run --resume {outcome.folder}")
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
        "cells": [row.model_dump(mode="json") for row in outcome.rows],
    }


def report_command(runs: list[str], out: Path | None, *, as_json: bool) -> int:
    """Write the report of one run or several; ``out`` defaults to reports/<run_id>."""
    check_report_extra("attnbench report")
    from attnbench.report.write import write_report
    from attnbench.results.read import read_info, run_folder

    folders = [run_folder(run) for run in runs]
    ids = [read_info(folder).run_id for folder in folders]
    if out is None and len(ids) > 1:
        msg = "the report of several runs needs a name: -o DIR"
        raise UsageError(msg)
    page = write_report(folders, out or folders[0].parent.parent / "reports" / ids[0])
    if as_json:
        document({"report": str(page), "runs": ids, "exit_code": EXIT_OK})
    else:
        show(f"report: {page}")
    return EXIT_OK


def percentage(text: str) -> float:
    """A margin such as 5% or 0.05, as a fraction."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    if not match:
        msg = f"a margin is a percentage such as 5%, or a fraction such as 0.05; got {text!r}"
        raise UsageError(msg)
    return float(match[1]) / (100 if match[2] else 1)
