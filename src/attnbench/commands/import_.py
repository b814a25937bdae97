"""``attnbench import``: another tool's file as a run, labelled as imported."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from attnbench.commands import options
from attnbench.errors import EXIT_OK
from attnbench.show.console import document, say, set_quiet, show


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
    from attnbench.exchange.writers.saved import counts, read_saved

    warnings: list[str] = []
    folder = import_file(file, out, machine=machine, commit=commit, warn=warnings.append)
    saved = read_saved(folder)
    imported = saved.info.imported
    unknown = imported.unknown if imported else ()
    if as_json:
        kept = {"run_id": saved.info.run_id, "folder": str(folder), "imported": imported and imported.model_dump()}
        document(kept | {"cells": len(saved.cells), "warnings": warnings, "exit_code": EXIT_OK})
        return
    say(counts(saved.cells))
    for warning in warnings:
        say(f"note: {warning}")
    if unknown:
        say(f"Not known of an imported run: {', '.join(unknown)}. Verdicts on it are weaker.")
    if not saved.info.fingerprint.hardware.is_known:
        again = f"attnbench import {shlex.quote(str(file))} --machine NAME"
        say(f"It names no machine, so that compare takes it for no other's equal; if you know it, type: {again}")
    show(f"run: {folder}")
