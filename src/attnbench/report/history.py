"""The history of a machine as tables, as rows of a CSV file and as a figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from attnbench.compare.past_runs import History, Series
from attnbench.compare.verdicts import percent
from attnbench.report.drawing import INK
from attnbench.report.figures import MAX_PANELS, STYLE
from attnbench.report.palette import COLOURS
from attnbench.report.tables import Table
from attnbench.show import units
from attnbench.show.table import Column

DAY = 10
COMMIT = 13
SHOWN_IDS = 2
NO_INTERVAL = "too few runs for an interval"
COLUMNS = (
    *("suite", "case", "implementation", "device", "threads", "run_id", "started", "revision"),
    *("time_median_s", "time_low_s", "time_high_s", "change", "change_low", "change_high"),
)


def history_tables(found: History) -> list[Table]:
    """The change points, and one row for each cell."""
    columns = (
        *(Column("cell"), Column("between"), Column("revisions"), Column("change", right=True)),
        *(Column("95 % interval", right=True), Column("runs", right=True, rank=1)),
    )
    rows, marks = [], []
    for series in found.series:
        for one in series.changes:
            before, after = series.points[one.at - 1], series.points[one.at]
            rows.append(
                (
                    series.label,
                    f"{before.run_id} and {after.run_id}",
                    f"{before.revision[:COMMIT]} … {after.revision[:COMMIT]}",
                    percent(one.ratio),
                    _interval(one),
                    f"{one.before}+{one.after}",
                )
            )
            marks.append("failed" if one.ratio > 1 else "best")
    listed = [Table("Change points", columns, tuple(rows), tuple(marks))] if rows else []
    return [*listed, _cells(found)]


def _interval(one: Any) -> str:
    return NO_INTERVAL if one.low is None or one.high is None else f"{percent(one.low)} … {percent(one.high)}"


def _cells(found: History) -> Table:
    columns = (
        *(Column("cell"), Column("runs", right=True), Column("first", right=True, rank=1)),
        *(Column("last", right=True, rank=1), Column("what can be said")),
    )
    rows = tuple(
        (
            one.label,
            f"{len(one.points)}" + (f" ({one.gaps} without a time)" if one.gaps else ""),
            units.seconds(one.points[0].seconds) if one.points else units.NOTHING,
            units.seconds(one.points[-1].seconds) if one.points else units.NOTHING,
            f"needs {one.fewest} runs" if one.word == "too few runs" else one.word,
        )
        for one in found.series
    )
    title = f"{len(found.runs)} runs of machine {found.machine_id}, {len(found.series)} cells"
    return Table(title, columns, rows, tuple("" for _ in rows))


def history_csv(found: History) -> str:
    """A line for each cell and run; a change point stands on the first run after it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_lines(found))
    return text.getvalue()


def _lines(found: History) -> Iterator[tuple[Any, ...]]:
    for one in found.series:
        changes = {change.at: change for change in one.changes}
        for at, point in enumerate(one.points):
            change = changes.get(at)
            size = (change.ratio - 1, *_less_one(change)) if change else (None, None, None)
            times = point.seconds, point.low, point.high
            own = one.suite, one.case_label, one.impl, one.device, one.threads
            yield *own, point.run_id, point.started, point.revision, *times, *size


def _less_one(change: Any) -> tuple[float | None, float | None]:
    return tuple(None if one is None else one - 1 for one in (change.low, change.high))  # type: ignore[return-value]


def draw_history(found: History, path: Path) -> int:
    """Draw the cells as a PNG, those that changed first; how many were left out for want of room."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    order = sorted((one for one in found.series if one.points), key=lambda one: -len(one.changes))
    shown = order[:MAX_PANELS]
    across = min(len(shown), 2)
    down = -(-len(shown) // across)
    settings: Any = {**STYLE, "grid.color": "#dddddd", "axes.edgecolor": "#888888", "figure.facecolor": "white"}
    with mpl.rc_context(settings):
        canvas = Figure(figsize=(6.5 * across, 2.6 * down + 0.4), layout="constrained", dpi=110)
        FigureCanvasAgg(canvas)
        places = list(canvas.subplots(down, across, squeeze=False).flat)
        for place, series in zip(places, shown, strict=False):
            _panel(place, series)
        for place in places[len(shown) :]:
            place.set_visible(False)
        canvas.suptitle(f"Machine {found.machine_id}: medians of runs with their intervals, oldest first", fontsize=9)
        canvas.savefig(path, metadata={"Software": None})
    return len(order) - len(shown)


def _panel(place: Any, series: Series) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    points, at = series.points, range(len(series.points))
    seconds = [one.seconds for one in points]
    below = [one.seconds - (one.low or one.seconds) for one in points]
    above = [(one.high or one.seconds) - one.seconds for one in points]
    place.errorbar(at, seconds, yerr=[below, above], fmt="o", ms=3.5, lw=0.9, color=COLOURS[0])
    ends = [0, *(one.at for one in series.changes), len(points)]
    for start, end in pairwise(ends):
        place.plot([start - 0.4, end - 0.6], [median(seconds[start:end])] * 2, lw=1.6, color=COLOURS[1])
    for one in series.changes:
        place.axvline(one.at - 0.5, ls="--", lw=1, color=COLOURS[3])
        place.annotate(
            percent(one.ratio), (one.at - 0.5, 1), xycoords=("data", "axes fraction"), va="top", color=COLOURS[3]
        )
    place.set_title(series.label)
    place.yaxis.set_major_formatter(FuncFormatter(lambda value, _: units.seconds(value)))
    place.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    place.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(series, value)))
    place.tick_params(axis="x", labelsize=7, labelcolor=INK)


def _tick(series: Series, value: float) -> str:
    at = round(value)
    if not 0 <= at < len(series.points):
        return ""
    point = series.points[at]
    return f"{point.started[:DAY]}\n{point.revision[:7]}"


def left_out_lines(found: History) -> Sequence[str]:
    """What is not in the history and why, the same reason once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in found.left_out:
        reasons.setdefault((one.what, one.reason), []).append(one.run_id)
    lines = []
    for (what, reason), ids in reasons.items():
        names = ", ".join(ids[:SHOWN_IDS]) + (f" and {len(ids) - SHOWN_IDS} more" if len(ids) > SHOWN_IDS else "")
        lines.append(f"left out: {what} {names}: {reason}")
    return lines
