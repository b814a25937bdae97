"""``attnbench import``: another tool's file as a run, labelled as imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnbench.commands import options
from attnbench.errors import EXIT_OK
from attnbench.show.console import document, say, set_quiet, show


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON of pytest-benchmark, pyperf, asv or google-benchmark.")
    ],
    *,
    out: options.ImportOut = Path("results"),
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Read another tool's file as a run, labelled as imported, which report and compare take."""
    from attnbench.results.extra import check_report_extra

    set_quiet(quiet)
    check_report_extra("attnbench import")
    from attnbench.exchange.readers.importing import import_file
    from attnbench.exchange.writers.saved import counts
    from attnbench.results.read import read_info, statuses

    folder = import_file(file, out)
    info, became = read_info(folder), statuses(folder)
    imported = info.imported
    unknown = imported.unknown if imported else ()
    if as_json:
        kept = {"run_id": info.run_id, "folder": str(folder), "imported": imported and imported.model_dump()}
        document(kept | {"cells": len(became), "exit_code": EXIT_OK})
        return
    say(counts(became))
    if unknown:
        say(f"Not known of an imported run: {', '.join(unknown)}. Verdicts on it are weaker.")
    show(f"run: {folder}")
