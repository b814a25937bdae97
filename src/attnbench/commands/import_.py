"""``attnbench import``: another tool's file as a run, labelled as imported."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from attnbench.commands import options
from attnbench.errors import EXIT_NOTHING_MEASURED, EXIT_OK
from attnbench.show.console import document, say, set_quiet, show
from attnbench.show.table import visible

SHOWN_LINES = 10


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="What pytest-benchmark, pyperf, asv, google-benchmark, hyperfine, criterion (its folder, too), "
            "nvbench, go test -bench, github-action-benchmark or memray wrote.",
        ),
    ],
    *,
    out: options.ImportOut = Path("results"),
    machine: options.ImportMachine = None,
    commit: options.ImportCommit = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Read another tool's file as a run, labelled as imported, which report and compare take."""
    from attnbench.results.extra import check_report_extra

    set_quiet(quiet)
    check_report_extra("attnbench import")
    from attnbench.exchange.readers.importing import import_file
    from attnbench.exchange.writers.saved import counts, one_line
    from attnbench.results.read import outcomes, read_info

    warnings: list[str] = []
    folder = import_file(file, out, warnings.append, machine=machine, commit=commit)
    info, became = read_info(folder), outcomes(folder)
    code = EXIT_OK if any(cell.status == "ok" for cell in became) else EXIT_NOTHING_MEASURED
    imported = info.imported
    unknown = imported.unknown if imported else ()
    if as_json:
        kept = {"run_id": info.run_id, "folder": str(folder), "imported": imported and imported.model_dump()}
        document(kept | {"cells": len(became), "warnings": warnings, "exit_code": code})
        raise typer.Exit(code)
    _say_some([f"warning: {warning}" for warning in warnings], folder)
    say(counts(cell.status for cell in became))
    without: dict[str, list[str]] = {}
    for cell in became:
        if cell.status != "ok":
            without.setdefault(f"{cell.status}, {one_line(cell.reason)}", []).append(cell.variant)
    _say_some([f"{_some(names)}: {what}" for what, names in without.items()], folder)
    if unknown:
        say(f"Not known of an imported run: {', '.join(unknown)}. Verdicts on it are weaker.")
    if not info.fingerprint.hardware.is_known:
        again = f"attnbench import {shlex.quote(str(file))} --machine NAME"
        say(f"It names no machine, so that compare takes it for no other's equal; if you know it, type: {again}")
    show(f"run: {folder}")
    raise typer.Exit(code)


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _say_some(lines: list[str], folder: Path) -> None:
    for line in lines[:SHOWN_LINES]:
        say(visible(line))
    if len(lines) > SHOWN_LINES:
        say(f"… and {len(lines) - SHOWN_LINES} more; all of them are in {folder / 'journal.jsonl'}")
