"""``attnbench export``: a run's answers, tables and figures in the format that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.analysis.judged import JudgedRun, judge_run
from attnbench.errors import UsageError
from attnbench.report.content import Report, collect
from attnbench.report.exports.comma import csv_of
from attnbench.report.exports.latex import latex
from attnbench.report.exports.pictures import PICTURES, chosen, picture
from attnbench.report.exports.workbook import require_openpyxl, workbook
from attnbench.report.markdown import markdown
from attnbench.report.write import find_suite
from attnbench.results.journal import fail_writing
from attnbench.results.read import OF_RUN, run_folder
from attnbench.results.store import check_output, write_whole

if TYPE_CHECKING:
    from attnbench.report.figures import DrawnFigure
    from attnbench.suite import Suite

EXCEL = "excel"
TEXTS = ("markdown", "csv", "latex")
FORMATS = (*TEXTS, EXCEL, *PICTURES)
ENDINGS = {".md": "markdown", ".csv": "csv", ".tex": "latex", ".xlsx": EXCEL, **{f".{to}": to for to in PICTURES}}


@dataclass(frozen=True)
class KeptExport:
    """What an export made: its text where no file was named, the files with what is in each, and the run."""

    run: JudgedRun
    text: str | None = None
    files: tuple[tuple[Path, str], ...] = ()


def export(
    run: str | Path,
    to: str,
    out: Path | None = None,
    figure: str | None = None,
    *,
    samples: bool = False,
    suites: Mapping[str, Suite] | None = None,
) -> KeptExport:
    """Write ``run`` in one of ``FORMATS``. Raises ``UsageError`` or ``ResultsError``; then nothing was written.

    ``out`` is a file, and for figures a folder or, of one figure, a file. Without it a text is returned.
    ``suites`` gives suites by name where they are not the installed ones.
    """
    folder = run_folder(run)
    _check(folder, to, out, figure, samples=samples)
    judged = judge_run(folder, lambda name: find_suite(name, suites or {}), suites)
    if to == "csv":
        return _kept(judged, csv_of(judged), out, "every cell")
    report = collect([judged], drawn=to in PICTURES)
    if to in PICTURES:
        place = out or Path()
        figures = chosen(report.runs[0], figure, single=place.suffix.lower() == f".{to}")
        return _pictures(judged, figures, to, place, figure)
    if to == EXCEL:
        data = workbook(judged, report.runs[0], samples=samples)
        assert out is not None  # noqa: S101  (checked)
        write_whole(out, data)
        return KeptExport(judged, files=((out, "answer, grid, cells, conditions"),))
    return _kept(judged, _text(report, to), out, "answer and tables")


def _text(report: Report, to: str) -> str:
    return markdown(report) if to == "markdown" else latex(report.runs[0])


def _kept(judged: JudgedRun, text: str, out: Path | None, what: str) -> KeptExport:
    if out is None:
        return KeptExport(judged, text.replace("\r\n", "\n"))
    write_whole(out, text.encode())
    return KeptExport(judged, files=((out, what),))


def _check(folder: Path, to: str, out: Path | None, figure: str | None, *, samples: bool) -> None:
    """Raise ``UsageError`` for what does not belong together, before anything is read or drawn."""
    if figure is not None and to not in PICTURES:
        msg = f"--figure chooses a figure, for --to {', '.join(PICTURES)}; --to {to} has none"
        raise UsageError(msg)
    if samples and to != EXCEL:
        msg = f"--samples adds a sheet to --to {EXCEL}; leave it out for --to {to}"
        raise UsageError(msg)
    if out is None and to not in TEXTS:
        what = "DIR (or FILE with --figure NAME)" if to in PICTURES else "run.xlsx"
        msg = f"--to {to} is no text to be printed; name where it goes: -o {what}"
        raise UsageError(msg)
    if to == EXCEL:
        require_openpyxl()
    if out is not None and (other := ENDINGS.get(out.suffix.lower())) not in (None, to) and not out.is_dir():
        msg = f"-o {out} ends like a file of --to {other}, and --to {to} was asked for: name another, or that format"
        raise UsageError(msg)
    if out is None or (to in PICTURES and out.suffix.lower() != f".{to}"):
        return
    if out.is_dir():
        msg = f"-o {out} is a folder; --to {to} writes a file"
        raise UsageError(msg)
    check_output("-o", out, [folder / name for name in OF_RUN])


def _pictures(judged: JudgedRun, figures: list[DrawnFigure], to: str, out: Path, figure: str | None) -> KeptExport:
    names = ", ".join(each.name for each in figures)
    if out.suffix.lower() == f".{to}":
        if len(figures) > 1:
            msg = f"-o {out} is one file, and there are {len(figures)} figures: {names}; add --figure NAME, or -o DIR"
            raise UsageError(msg)
        places = [out]
    else:
        if out.exists() and not out.is_dir():
            msg = f"-o {out} is a file; name a folder, or a file that ends in .{to}" + (
                "" if figure else " with --figure NAME"
            )
            raise UsageError(msg)
        places = [out / f"{each.name}.{to}" for each in figures]
    pictures = [picture(each, to) for each in figures]
    try:
        places[0].parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail_writing(out, error)
    for place, data in zip(places, pictures, strict=True):
        write_whole(place, data)
    return KeptExport(judged, files=tuple((place, each.title) for place, each in zip(places, figures, strict=True)))
