"""``attnbench report``: the page of one run or several."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnbench.commands import options
from attnbench.day.archive import DayArchive, is_archive, opened
from attnbench.day.comparison import PredictionComparison, remarks, sentence, tables, text
from attnbench.errors import EXIT_OK, ResultsError, UsageError
from attnbench.interface.places import reports_folder
from attnbench.interface.suite_files import suites_for, use_suites
from attnbench.show.console import document, say, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attnbench.tried.runs import KeptRuns


def _comparisons(days: Sequence[DayArchive], place: Path) -> list[PredictionComparison]:
    """What each day was predicted and what was seen, with a page of it beside the report; what is damaged is said."""
    from attnbench.report.html.prechecked import compared_page
    from attnbench.results.store import write_whole

    comparisons = []
    for number, day in enumerate(days):
        try:
            comparison = day.comparison()
        except ResultsError as error:
            say(str(error))
            continue
        if comparison is not None:
            page = place / (f"predictions-{number + 1}.html" if len(days) > 1 else "predictions.html")
            lead, drawn, lines = sentence(comparison), tables(comparison), remarks(comparison)
            write_whole(page, compared_page(lead, comparison.gpu, drawn, lines))
            say(f"what was predicted: {page}")
            comparisons.append(comparison)
    return comparisons


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders, ids under results/, or a day.tgz.")],
    *,
    out: options.ReportOut = None,
    suite_files: options.SuiteFiles = None,
    record: options.RecordRan = False,
    as_json: options.Json = False,
) -> None:
    """Write an offline HTML page with figures, Markdown and CSV from one run or several, or from a day of the GPU."""
    from attnbench.results.extra import check_report_extra

    check_report_extra("attnbench report")
    from attnbench.report.terminal.answer import answer_text
    from attnbench.report.write import collected, refuse_other, write_collected
    from attnbench.results.read import find_runs, read_info

    given = use_suites(suite_files)
    days = [opened(Path(run)) for run in runs if is_archive(run)]
    for line in [line for day in days for line in day.lines()]:
        say(line)
    named = [*(run for run in runs if not is_archive(run)), *(str(run) for day in days for run in day.runs)]
    if not named:
        msg = "no run had begun when the archive was written: there is nothing to report"
        raise ResultsError(msg)
    folders = find_runs(named)
    kept = _on_gpu(folders, days) if record else None
    infos = [read_info(folder) for folder in folders]
    ids = [info.run_id for info in infos]
    suites = suites_for(infos, given)
    if out is None and (days or len(ids) > 1):
        msg = "the report of several runs, or of an archive, needs a name: -o DIR"
        raise UsageError(msg)
    place = out or reports_folder(folders[0], ids[0])
    refuse_other(place)
    collection = collected(folders, suites)
    page = write_collected(collection, place)
    comparisons = _comparisons(days, place)
    recorded = {} if kept is None else _recorded(kept)
    if as_json:
        about = {} if collection.machines is None else {"machines": collection.machines.describe()}
        predicted = {"predictions": [each.to_dict() for each in comparisons]} if comparisons else {}
        document({"report": str(page), "runs": ids, **about, **predicted, **recorded, "exit_code": EXIT_OK})
    else:
        show(answer_text(collection))
        for each in comparisons:
            show(f"\n{text(each)}")
        show(f"\nreport: {page}")
        for folder in folders:
            show(f"tables: attnbench export {shlex.quote(str(folder))} --to markdown")


def _on_gpu(folders: Sequence[Path], days: Sequence[DayArchive]) -> KeptRuns:
    """What there is to record of runs and days, before anything is written; an error where that is nothing."""
    from attnbench.tried.runs import ran_on_gpu

    return ran_on_gpu(folders, [(day.runs, day.checks) for day in days])


def _recorded(kept: KeptRuns) -> dict[str, Any]:
    """The same, written into the records beside the code; for people at once, and for the document."""
    from attnbench.tried.runs import keep_runs

    keep_runs(kept)
    for line in kept.lines():
        say(line)
    return {"recorded": list(kept.recorded), "not_recorded": kept.left_out}
