"""Writes a report (page, Markdown, CSV files, figures): the same bytes for the same runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.analysis.judged import JudgedRun, judge_run
from attnbench.backends.discover import suite as discover_suite
from attnbench.errors import ResultsError
from attnbench.report.content import Report, collect
from attnbench.report.exports.comma import without_formulas
from attnbench.report.html.page import page
from attnbench.report.markdown import markdown
from attnbench.results.journal import fail_writing
from attnbench.results.read import run_folder
from attnbench.results.store import write_whole

if TYPE_CHECKING:
    from attnbench.suite import Suite

PAGE, MARKDOWN, TABLE, VERDICTS, FIGURES = "index.html", "report.md", "cells.csv", "verdicts.csv", "figures"
MARK = '<meta name="generator" content="attnbench">'


def write_report(
    run_paths: Sequence[str | Path], out_dir: str | Path, suites: Mapping[str, Suite] | None = None
) -> Path:
    """Write the report of one run or several into ``out_dir`` and return the path of its index.html.

    ``suites`` gives suites by name where they are not the installed ones. A report that is there is replaced;
    anything else of that name is not. Raises ``ResultsError``, also where the folder cannot be written.
    """
    refuse_other(Path(out_dir))
    return write_collected(collected(run_paths, suites), out_dir)


def collected(run_paths: Sequence[str | Path], suites: Mapping[str, Suite] | None = None) -> Report:
    """Runs read, judged and collected into one report; a run that is named twice counts once."""
    folders = dict.fromkeys(run_folder(path).resolve() for path in run_paths)
    return collect([judge_run(folder, lambda name: find_suite(name, suites or {}), suites) for folder in folders])


def write_judged(runs: Sequence[JudgedRun], out_dir: str | Path) -> Path:
    """The same of runs that were read and judged before."""
    refuse_other(Path(out_dir))
    return write_collected(collect(runs), out_dir)


def write_collected(report: Report, out_dir: str | Path) -> Path:
    """The same of a report that was collected before."""
    out = Path(out_dir)
    refuse_other(out)
    try:
        (out / FIGURES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail_writing(out, error)
    for figure in report.figures:
        if figure.svg:
            write_whole(out / FIGURES / f"{figure.name}.svg", figure.svg)
    write_whole(out / TABLE, csv_text(report))
    _write_verdicts(out / VERDICTS, report)
    write_whole(out / MARKDOWN, markdown(report))
    write_whole(out / PAGE, page(report))
    return out / PAGE


def csv_text(report: Report) -> str:
    """All rows as CSV: one line for each planned cell, numbers in full, missing ones empty, no text a formula."""
    text: str = without_formulas(report.frame).to_csv(index=False, lineterminator="\n")
    return text


def _write_verdicts(path: Path, report: Report) -> None:
    """The verdicts on published claims as CSV, where there are any; an earlier report's are not left behind."""
    import pandas as pd

    if not report.verdicts:
        path.unlink(missing_ok=True)
        return
    text: str = without_formulas(pd.DataFrame(report.verdicts)).to_csv(index=False, lineterminator="\n")
    write_whole(path, text)


def find_suite(name: str, given: Mapping[str, Suite]) -> Suite:
    """A suite by name, a given one before an installed one; ``UsageError`` where it is neither."""
    return given[name] if name in given else discover_suite(name)


def refuse_other(out: Path) -> None:
    """Raise ``ResultsError`` where writing would replace a file that is not an earlier report of ours."""
    if out.exists() and not out.is_dir():
        msg = f"{out} is a file; name a folder for the report with -o DIR"
        raise ResultsError(msg)
    there = out / PAGE
    if there.exists() and MARK not in there.read_text(encoding="utf-8", errors="replace"):
        msg = f"{there} was not written by attnbench and is left untouched; name another folder with -o DIR"
        raise ResultsError(msg)
    ours = there.exists()
    for name in (TABLE, VERDICTS, MARKDOWN):
        if (out / name).exists() and not ours:
            msg = f"{out / name} is there without a report of ours; name another folder with -o DIR"
            raise ResultsError(msg)
