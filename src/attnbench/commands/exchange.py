"""``attnbench export`` and ``attnbench import``: other tools' formats."""

from __future__ import annotations

from pathlib import Path

from attnbench.commands.output import document, say, show
from attnbench.errors import EXIT_OK, UsageError
from attnbench.results.extra import check_report_extra


def export_command(run: str, to: str, out: Path | None, commit: str | None, *, as_json: bool) -> int:
    """Write a run in another tool's format, to a file or to standard output."""
    check_report_extra("attnbench export")
    from attnbench.exchange.export import export
    from attnbench.exchange.saved import counts

    if as_json and out is None:
        msg = "--json needs the export in a file: -o FILE"
        raise UsageError(msg)
    done = export(run, to, out, commit)
    if as_json:
        statuses = {row.cell_id: row.status for row in done.saved.cells}
        told = {"format": to, "file": str(done.file), "run_id": done.saved.info.run_id, "cells": statuses}
        document(told | {"annotations": list(done.commands), "exit_code": EXIT_OK})
        return EXIT_OK
    for command in done.commands:
        show(command)
    if done.text is not None:
        show(done.text.rstrip("\n"))
    say(f"{counts(done.saved.cells)}{'' if done.file is None else f'; written to {done.file}'}")
    return EXIT_OK


def import_command(file: Path, out: Path, *, as_json: bool) -> int:
    """Turn a file of another tool into a run folder, labelled as imported."""
    check_report_extra("attnbench import")
    from attnbench.exchange.importing import import_file
    from attnbench.exchange.saved import counts, read_saved

    folder = import_file(file, out)
    saved = read_saved(folder)
    imported = saved.info.imported
    unknown = imported.unknown if imported else ()
    if as_json:
        told = {"run_id": saved.info.run_id, "folder": str(folder), "imported": imported and imported.model_dump()}
        document(told | {"cells": len(saved.cells), "exit_code": EXIT_OK})
        return EXIT_OK
    say(counts(saved.cells))
    if unknown:
        say(f"Not known of an imported run: {', '.join(unknown)}. Verdicts on it are weaker.")
    show(f"run: {folder}")
    return EXIT_OK
