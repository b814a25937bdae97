"""``attnbench export``: a run in another tool's format."""

from __future__ import annotations

from typing import Annotated

import typer

from attnbench.commands import options
from attnbench.errors import EXIT_OK, UsageError
from attnbench.show.console import document, say, set_quiet, show


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or an id under results/.")],
    *,
    to: options.Format,
    out: options.ExportOut = None,
    commit: options.Commit = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a run in another tool's format; cells without a time are in each of them, with their reason."""
    from attnbench.results.extra import check_report_extra

    set_quiet(quiet)
    check_report_extra("attnbench export")
    from attnbench.exchange.writers.export import export as exported
    from attnbench.exchange.writers.saved import counts

    if as_json and out is None:
        msg = "--json needs the export in a file: -o FILE"
        raise UsageError(msg)
    done = exported(run, to, out, commit)
    if as_json:
        statuses = {row.cell_id: row.status for row in done.saved.cells}
        written = {"format": to, "file": str(done.file), "run_id": done.saved.info.run_id, "cells": statuses}
        document(written | {"annotations": list(done.commands), "exit_code": EXIT_OK})
        return
    for command in done.commands:
        show(command)
    if done.text is not None:
        show(done.text.rstrip("\n"))
    say(f"{counts(row.status for row in done.saved.cells)}{'' if done.file is None else f'; written to {done.file}'}")
