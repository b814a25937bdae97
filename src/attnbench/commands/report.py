"""``attnbench report``: the page of one run or several."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from attnbench.commands import options
from attnbench.errors import EXIT_OK, UsageError
from attnbench.interface.places import reports_folder
from attnbench.interface.suite_files import suites_for, use_suites
from attnbench.show.console import document, show


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders, or ids under results/.")],
    *,
    out: options.ReportOut = None,
    suite_files: options.SuiteFiles = None,
    as_json: options.Json = False,
) -> None:
    """Write an offline HTML page with figures, Markdown and CSV from one run or several."""
    from attnbench.results.extra import check_report_extra

    check_report_extra("attnbench report")
    from attnbench.report.terminal.answer import answer_text
    from attnbench.report.write import collected, refuse_other, write_collected
    from attnbench.results.read import find_runs, read_info

    given = use_suites(suite_files)
    folders = find_runs(runs)
    infos = [read_info(folder) for folder in folders]
    ids = [info.run_id for info in infos]
    suites = suites_for(infos, given)
    if out is None and len(ids) > 1:
        msg = "the report of several runs needs a name: -o DIR"
        raise UsageError(msg)
    place = out or reports_folder(folders[0], ids[0])
    refuse_other(place)
    collection = collected(folders, suites)
    page = write_collected(collection, place)
    if as_json:
        about = {} if collection.machines is None else {"machines": collection.machines.describe()}
        document({"report": str(page), "runs": ids, **about, "exit_code": EXIT_OK})
    else:
        show(answer_text(collection))
        show(f"\nreport: {page}")
        for folder in folders:
            show(f"tables: attnbench export {shlex.quote(str(folder))} --to markdown")
