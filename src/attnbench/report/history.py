"""The history of a machine as tables, as rows of a CSV file and as a figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from attnbench.comparing.past_runs import History, Series
from attnbench.comparing.verdicts import percent
from attnbench.report.drawing import INK
from attnbench.report.figures import MAX_PANELS, STYLE, without_noise
from attnbench.report.palette import COLOURS
from attnbench.report.tables import Table
from attnbench.show import units
from attnbench.show.table import Column

DAY = 10
COMMIT = 13
SHOWN_IDS = 2
BY = {"anchor": "the ratio to the anchor", "raw": "raw times"}
NO_INTERVAL = "too few runs for an interval"
COLUMNS = (
    *("suite", "case", "implementation", "device", "threads", "run_id", "started", "revision"),
    *("time_median_s", "time_low_s", "time_high_s", "change", "change_low", "change_high"),
    *("judged_by", "anchor_median_s", "anchor_ratio"),
)


def history_tables(history: History) -> list[Table]:
    """The change points, and one row for each cell."""
    columns = (
        *(Column("cell"), Column("between"), Column("revisions"), Column("change", right=True)),
        *(Column("95 % interval", right=True), Column("runs", right=True, rank=1)),
    )
    rows, marks = [], []
    for series in history.series:
        for change in series.changes:
            before, after = series.points[change.at - 1], series.points[change.at]
            rows.append(
                (
                    series.label,
                    f"{before.run_id} and {after.run_id}",
                    f"{before.revision[:COMMIT]} … {after.revision[:COMMIT]}",
                    percent(change.ratio),
                    _interval(change),
                    f"{change.before}+{change.after}",
                )
            )
            marks.append("failed" if change.ratio > 1 else "best")
    listed = [Table("Change points", columns, tuple(rows), tuple(marks))] if rows else []
    return [*listed, _cells(history)]


def raw_lines(history: History) -> list[str]:
    """Which cells are judged by raw times though runs of them have the anchor, and why: a line for each reason."""
    cells: dict[str, list[str]] = {}
    for series in history.series:
        if series.why_raw is not None:
            cells.setdefault(series.why_raw, []).append(series.label)
    return [f"judged by raw times, {', '.join(labels)}: {why}" for why, labels in cells.items()]


def _interval(change: Any) -> str:
    return (
        NO_INTERVAL if change.low is None or change.high is None else f"{percent(change.low)} … {percent(change.high)}"
    )


def _cells(history: History) -> Table:
    columns = (
        *(Column("cell"), Column("runs", right=True), Column("first", right=True, rank=1)),
        *(Column("last", right=True, rank=1), Column("judged by", rank=2), Column("what can be said")),
    )
    rows = tuple(
        (
            series.label,
            f"{len(series.points)}" + (f" ({series.gaps} without a time)" if series.gaps else ""),
            units.seconds(series.points[0].seconds) if series.points else units.NOTHING,
            units.seconds(series.points[-1].seconds) if series.points else units.NOTHING,
            BY[series.by],
            f"needs {series.fewest} runs" if series.word == "too few runs" else series.word,
        )
        for series in history.series
    )
    title = f"{len(history.runs)} runs of machine {history.machine_id}, {len(history.series)} cells"
    return Table(title, columns, rows, tuple("" for _ in rows))


def history_csv(history: History) -> str:
    """A line for each cell and run; a change point stands on the first run after it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_lines(history))
    return text.getvalue()


def _lines(history: History) -> Iterator[tuple[Any, ...]]:
    for series in history.series:
        changes = {change.at: change for change in series.changes}
        for at, point in enumerate(series.points):
            change = changes.get(at)
            size = (change.ratio - 1, *_less_one(change)) if change else (None, None, None)
            times = point.seconds, point.low, point.high
            cell = series.suite, series.case_label, series.impl, series.device, series.threads
            beside = series.by, point.anchor_s, point.ratio
            yield *cell, point.run_id, point.started, point.revision, *times, *size, *beside


def _less_one(change: Any) -> tuple[float | None, float | None]:
    return tuple(None if end is None else end - 1 for end in (change.low, change.high))  # type: ignore[return-value]


def draw_history(history: History, path: Path) -> int:
    """Draw the cells as a PNG, those that changed first; how many were left out for want of room."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    order = sorted((series for series in history.series if series.points), key=lambda series: -len(series.changes))
    shown = order[:MAX_PANELS]
    across = min(len(shown), 2)
    down = -(-len(shown) // across)
    settings: Any = {**STYLE, "grid.color": "#dddddd", "axes.edgecolor": "#888888", "figure.facecolor": "white"}
    with mpl.rc_context(settings), without_noise():
        canvas = Figure(figsize=(6.5 * across, 2.6 * down + 0.4), layout="constrained", dpi=110)
        FigureCanvasAgg(canvas)
        places = list(canvas.subplots(down, across, squeeze=False).flat)
        for place, series in zip(places, shown, strict=False):
            _panel(place, series)
        for place in places[len(shown) :]:
            place.set_visible(False)
        canvas.suptitle(
            f"Machine {history.machine_id}: medians of runs with their intervals, oldest first{_even(history)}",
            fontsize=9,
        )
        canvas.savefig(path, metadata={"Software": None})
    return len(order) - len(shown)


def _even(history: History) -> str:
    """What the figure says of times that are not as they were measured."""
    anchored = any(series.by == "anchor" for series in history.series)
    return "; as if the anchor had always taken as long" if anchored else ""


def _panel(place: Any, series: Series) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    points, at = series.points, range(len(series.points))
    seconds = series.levels
    scale = [level / point.seconds for level, point in zip(seconds, points, strict=True)]
    below = [k * (point.seconds - (point.low or point.seconds)) for k, point in zip(scale, points, strict=True)]
    above = [k * ((point.high or point.seconds) - point.seconds) for k, point in zip(scale, points, strict=True)]
    if series.by == "anchor":
        place.plot(at, [point.seconds for point in points], "x", ms=3.5, color="#999999", label="as measured")
        place.legend(fontsize=6, frameon=False)
    place.errorbar(at, seconds, yerr=[below, above], fmt="o", ms=3.5, lw=0.9, color=COLOURS[0])
    ends = [0, *(change.at for change in series.changes), len(points)]
    for start, end in pairwise(ends):
        place.plot([start - 0.4, end - 0.6], [median(seconds[start:end])] * 2, lw=1.6, color=COLOURS[1])
    for change in series.changes:
        place.axvline(change.at - 0.5, ls="--", lw=1, color=COLOURS[3])
        place.annotate(
            percent(change.ratio), (change.at - 0.5, 1), xycoords=("data", "axes fraction"), va="top", color=COLOURS[3]
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


def left_out_lines(history: History) -> Sequence[str]:
    """What is not in the history and why, the same reason once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for run in history.left_out:
        reasons.setdefault((run.what, run.reason), []).append(run.run_id)
    lines = []
    for (what, reason), ids in reasons.items():
        lines.append(f"left out: {what} {units.some(ids, SHOWN_IDS)}: {reason}")
    return lines
