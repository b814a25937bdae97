"""``attnbench history``: runs over time of one machine, their change points, a figure and a CSV file."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attnbench.commands import options
from attnbench.commands.given import percentage, split
from attnbench.errors import EXIT_INCONCLUSIVE, EXIT_OK
from attnbench.interface.places import check_folder
from attnbench.show.console import document, say, set_quiet, show

if TYPE_CHECKING:
    from attnbench.comparing.past_runs import History

FIGURE, TABLE = "history.png", "history.csv"


def history(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs; all in results/ without.")] = None,
    *,
    suite: options.OnlySuites = None,
    impl: options.OnlyImpls = None,
    machine: options.Machine = None,
    margin: options.Margin = "3%",
    out: options.HistoryOut = Path("reports") / "history",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show how times changed over the runs of one machine, and between which runs their level moved."""
    from attnbench.results.extra import check_report_extra

    set_quiet(quiet)
    check_report_extra("attnbench history")
    from attnbench.comparing.history import require_ruptures
    from attnbench.comparing.past_runs import history as over_time
    from attnbench.report.history import draw_history, history_csv
    from attnbench.results.fingerprint import collect_hardware
    from attnbench.results.journal import fail_writing
    from attnbench.results.read import find_runs
    from attnbench.results.store import write_whole

    require_ruptures()
    check_folder("--out", out)
    folders = find_runs(runs or ["results"])
    this_machine = collect_hardware().id
    past = over_time(folders, split(suite), impl or [], machine, percentage(margin), this_machine, choose=not runs)
    try:
        out.mkdir(parents=True, exist_ok=True)
        hidden = draw_history(past, out / FIGURE)
    except OSError as error:
        fail_writing(out, error)
    write_whole(out / TABLE, history_csv(past))
    code = EXIT_OK if past.decided else EXIT_INCONCLUSIVE
    if as_json:
        files = {"figure": str(out / FIGURE), "csv": str(out / TABLE)}
        cells = [
            {**asdict(series), "label": series.label, "word": series.word, "why_raw": series.why_raw}
            for series in past.series
        ]
        document({**asdict(past), "series": cells, **files, "exit_code": code})
    else:
        _tell(past, hidden, out)
    raise typer.Exit(code)


def _tell(past: History, hidden: int, out: Path) -> None:
    """What became of the cells, the tables, what these leave out and where the files are."""
    from attnbench.report.console import render_all
    from attnbench.report.history import history_tables, left_out_lines, raw_lines

    counts = Counter(series.word for series in past.series)
    show(", ".join(f"{count} {word}" for word, count in counts.items()) + ".")
    if counts["too few runs"]:
        show(f"A statement on these cells together needs at least {past.fewest} runs of each.")
    show("\n" + render_all(list(history_tables(past))))
    for line in (*left_out_lines(past), *raw_lines(past)):
        say(line)
    if hidden:
        say(f"{hidden} more cells are in {TABLE} and not in the figure; choose with --suite and --impl")
    show(f"figure: {out / FIGURE}\ntable: {out / TABLE}")
