"""``attnbench export``: a run's answers, tables and figures, or all of it in another tool's format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnbench.commands import options
from attnbench.errors import EXIT_OK, UsageError, suggest
from attnbench.interface.suite_files import suites_for, use_suites
from attnbench.show.console import document, say, set_quiet, show

if TYPE_CHECKING:
    from attnbench.exchange.writers.export import Exported
    from attnbench.report.exports.export import KeptExport
    from attnbench.suite import Suite


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or an id under results/.")],
    *,
    to: options.Format,
    out: options.ExportOut = None,
    figure: options.ExportFigure = None,
    samples: options.ExportSamples = False,
    suite_files: options.SuiteFiles = None,
    commit: options.Commit = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a run's answers, tables or figures, or the run in another tool's format; no cell is left out."""
    from attnbench.results.extra import check_report_extra

    set_quiet(quiet)
    check_report_extra("attnbench export")
    from attnbench.exchange.writers.export import BY_COMMIT
    from attnbench.exchange.writers.export import FORMATS as OF_TOOLS
    from attnbench.report.exports.export import FORMATS
    from attnbench.report.exports.pictures import PICTURES

    every = (*FORMATS, *OF_TOOLS)
    if to not in every:
        msg = f"--to {to}: there is no such format; there are {', '.join(every)}{suggest(to, every)}"
        raise UsageError(msg)
    if as_json and out is None:
        msg = f"--json needs the export in a file: -o {'DIR' if to in PICTURES else 'FILE'}"
        raise UsageError(msg)
    if to in FORMATS:
        if commit is not None:
            msg = f"--commit belongs to --to {' and --to '.join(BY_COMMIT)}, not to --to {to}"
            raise UsageError(msg)
        _shown(to, run, out, figure, _given(suite_files, run), samples=samples, as_json=as_json)
        return
    if suite_files:
        msg = f"--suites belongs to --to {', '.join(FORMATS)}, not to --to {to}, which asks no suite"
        raise UsageError(msg)
    if figure is not None or samples:
        what = f"--figure belongs to --to {', '.join(PICTURES)}" if figure is not None else "--samples to --to excel"
        msg = f"{what}, not to --to {to}"
        raise UsageError(msg)
    _for_a_tool(to, run, out, commit, as_json=as_json)


def _given(suite_files: Sequence[Path] | None, run: str) -> dict[str, Suite]:
    """The suites in the files that ``--suites`` names; ``UsageError`` where the run measured none of them."""
    from attnbench.results.read import read_info, run_folder

    given = use_suites(suite_files)
    return suites_for([read_info(run_folder(run))], given) if given else {}


def _shown(
    to: str,
    run: str,
    out: Path | None,
    figure: str | None,
    suites: Mapping[str, Suite],
    *,
    samples: bool,
    as_json: bool,
) -> None:
    """Answers, tables and figures."""
    from attnbench.report.exports.export import export as exported

    done: KeptExport = exported(run, to, out, figure, samples=samples, suites=suites)
    frame = done.run.frame
    statuses = dict(zip(frame["cell_id"], frame["status"], strict=True))
    if as_json:
        files = {"file": str(out), "files": [{"file": str(file), "holds": what} for file, what in done.files]}
        document(_written(to, done.run.info.run_id, statuses) | files | {"exit_code": EXIT_OK})
        return
    if done.text is not None:
        show(done.text.rstrip("\n"))
    total = _counts(statuses)
    say(total + (f"; written to {done.files[0][0]}" if len(done.files) == 1 else ""))
    for file, what in done.files if len(done.files) > 1 else ():
        say(f"{file}: {what}")


def _for_a_tool(to: str, run: str, out: Path | None, commit: str | None, *, as_json: bool) -> None:
    """Another tool's format."""
    from attnbench.exchange.writers.export import export as exported

    done: Exported = exported(run, to, out, commit)
    statuses = {row.cell_id: row.status for row in done.saved.cells}
    if as_json:
        written = _written(to, done.saved.info.run_id, statuses) | {"file": str(done.file)}
        document(written | {"annotations": list(done.commands), "exit_code": EXIT_OK})
        return
    for command in done.commands:
        show(command)
    if done.text is not None:
        show(done.text.rstrip("\n"))
    say(f"{_counts(statuses)}{'' if done.file is None else f'; written to {done.file}'}")


def _written(to: str, run_id: str, statuses: Mapping[str, str]) -> dict[str, Any]:
    return {"format": to, "run_id": run_id, "cells": statuses}


def _counts(statuses: Mapping[str, str]) -> str:
    """How many cells there are and what became of them, such as ``12 cells: 10 ok, 2 wrong``."""
    counts = Counter(statuses.values())
    return f"{counts.total()} cells: {', '.join(f'{n} {word}' for word, n in counts.items()) or 'none planned'}"
