"""``attnbench report``: the page of one run or several."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from attnbench.commands import options
from attnbench.day.archive import DayArchive, is_archive, opened
from attnbench.day.comparison import PredictionComparison, remarks, sentence, tables, text
from attnbench.errors import EXIT_OK, ResultsError, UsageError
from attnbench.interface.places import check_folder, reports_folder
from attnbench.interface.suite_files import suites_for, use_suites
from attnbench.show.console import document, say, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attnbench.day.account import DayAccount
    from attnbench.tried.runs import KeptRuns


def _comparisons(days: Sequence[DayArchive]) -> list[PredictionComparison | None]:
    """What each day was predicted and what was seen; what is damaged is said."""
    comparisons: list[PredictionComparison | None] = []
    for day in days:
        try:
            comparisons.append(day.comparison())
        except ResultsError as error:
            say(str(error))
            comparisons.append(None)
    return comparisons


def _pages_of_days(
    accounts: Sequence[DayAccount], comparisons: Sequence[PredictionComparison | None], place: Path, *, runs: bool
) -> list[Path]:
    """A page of each day, and of its predictions, beside the report."""
    from attnbench.report.html.prechecked import compared_page, day_page
    from attnbench.results.store import write_whole

    pages = []
    for number, (account, comparison) in enumerate(zip(accounts, comparisons, strict=True), 1):
        which = f"-{number}" if len(accounts) > 1 else ""
        links = [("index.html", "the report of all runs")] if runs else []
        if comparison is not None:
            predicted = place / f"predictions{which}.html"
            lead, drawn, lines = sentence(comparison), tables(comparison), remarks(comparison)
            write_whole(predicted, compared_page(lead, comparison.gpu, drawn, lines))
            say(f"what was predicted: {predicted}")
            links.append((predicted.name, "what was predicted, and what was seen"))
        page = place / f"day{which}.html"
        text_ = day_page(account.lead, account.note, account.device, account.tables, account.wrong, links)
        write_whole(page, text_)
        say(f"the day: {page}")
        pages.append(page)
    return pages


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
    from attnbench.day.account import account_of
    from attnbench.report.terminal.answer import answer_text
    from attnbench.report.write import collected, refuse_other, write_collected
    from attnbench.results.read import find_runs, read_info

    given = use_suites(suite_files)
    days = [opened(Path(run)) for run in runs if is_archive(run)]
    for line in [line for day in days for line in day.lines()]:
        say(line)
    comparisons = _comparisons(days)
    accounts = [
        account_of(day, 0 if compared is None else len(compared.impossible))
        for day, compared in zip(days, comparisons, strict=True)
    ]
    for line in [line for account in accounts for line in account.lines()]:
        say(line)
    named = [*(run for run in runs if not is_archive(run)), *(str(run) for each in accounts for run in each.runs)]
    if not named:
        _without_a_run(accounts, comparisons, out)
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
    of_days = _pages_of_days(accounts, comparisons, place, runs=True)
    there = [each for each in comparisons if each is not None]
    recorded = {} if kept is None else _recorded(kept)
    if as_json:
        about = {} if collection.machines is None else {"machines": collection.machines.describe()}
        predicted = {"predictions": [each.to_dict() for each in there]} if there else {}
        about |= {"days": [_described(*day) for day in zip(accounts, of_days, strict=True)]} if days else {}
        document({"report": str(page), "runs": ids, **about, **predicted, **recorded, "exit_code": EXIT_OK})
    else:
        show(answer_text(collection))
        for each in there:
            show(f"\n{text(each)}")
        for of_day in of_days:
            show(f"\nday: {of_day}")
        show(f"\nreport: {page}")
        for folder in folders:
            show(f"tables: attnbench export {shlex.quote(str(folder))} --to markdown")


def _without_a_run(
    accounts: Sequence[DayAccount], comparisons: Sequence[PredictionComparison | None], out: Path | None
) -> NoReturn:
    """No report of runs; but what became of the steps is a page where one was asked for."""
    from attnbench.report.write import refuse_other

    where = ""
    if out is not None:
        refuse_other(out)
        check_folder("--out", out)
        out.mkdir(parents=True, exist_ok=True)
        pages = _pages_of_days(accounts, comparisons, out, runs=False)
        where = f". What became of its steps: {', '.join(str(page) for page in pages)}"
    msg = f"no run had begun when the archive was written, or none can be read: there is nothing to report{where}"
    raise ResultsError(msg)


def _described(account: DayAccount, page: Path) -> dict[str, Any]:
    """A day, for the document."""
    return {"page": str(page), "device": account.device, "steps": account.steps, "wrong": account.wrong}


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
