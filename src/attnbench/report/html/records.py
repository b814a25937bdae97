"""The rows of a suite as a table that can be sorted: every number with its text, every cell with its command."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.analysis.leading import OverFastest, all_standings
from attnbench.report.glance.cases import case_names, command
from attnbench.report.tables import reason, shown_metrics
from attnbench.results.frames import METRIC, POINT, column_names, records
from attnbench.results.schema import RunInfo
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

# A text, or a number with its text; ``None`` where there is none.
Value = str | tuple[float, str] | None


@dataclass(frozen=True)
class DataColumn:
    """A column: its key in links, its head, whether it is of numbers, and whether it is shown unless it is chosen."""

    key: str
    name: str
    number: bool = False
    shown: bool = True


@dataclass(frozen=True)
class DataTable:
    """The cells of one suite of one run; ``cells`` has a row for each."""

    key: str
    title: str
    columns: tuple[DataColumn, ...]
    cells: tuple[tuple[Value, ...], ...]

    @property
    def texts(self) -> Iterator[list[str]]:
        """The rows as text, all columns of them, for those who read without a script."""
        for row in self.cells:
            yield [text_of(value) for value in row]


def text_of(value: Value) -> str:
    """What a person reads."""
    return units.NOTHING if value is None else value if isinstance(value, str) else value[1]


def data_table(
    info: RunInfo, frame: pd.DataFrame, key: str, over: Mapping[str, OverFastest] | None = None
) -> DataTable:
    """The rows of one suite of a run in planned order."""
    if not (frame["kind"] == "timed").any():
        return _observed(info, frame, key)
    return _timed(info, frame, key, all_standings(frame) if over is None else over)


def _number(value: Any, write: Callable[[Any], str]) -> Value:
    if not units.known(value):
        return None
    return (float(value), write(value)) if math.isfinite(value) else write(value)


def _timed(info: RunInfo, frame: pd.DataFrame, key: str, over: Mapping[str, OverFastest]) -> DataTable:
    names = case_names(frame)
    columns = (
        *(DataColumn("case", "case"), DataColumn("impl", "implementation"), DataColumn("status", "status")),
        DataColumn("time", "median time", number=True),
        DataColumn("interval", "interval (sorts by width)", number=True),
        *(DataColumn("ratio", "vs fastest", number=True), DataColumn("memory", "peak memory", number=True)),
        *(DataColumn("error", "error ratio", number=True, shown=False), DataColumn("reason", "reason")),
        *(
            DataColumn("hot", "hot time", number=True, shown=False),
            DataColumn("first", "first call", number=True, shown=False),
        ),
        *(
            DataColumn("bursts", "bursts", number=True, shown=False),
            DataColumn("processes", "processes", number=True, shown=False),
        ),
        *(DataColumn("full", "case in full", shown=False), DataColumn("again", "run it again")),
    )
    rows = tuple(
        _timed_row(info, row, names[row["block_id"], row["case_id"]], over.get(row["cell_id"]))
        for row in records(frame)
    )
    return _without_empty(DataTable(key, str(frame["suite"].iloc[0]), columns, rows))


def _timed_row(info: RunInfo, row: dict[str, Any], name: str, over: OverFastest | None) -> tuple[Value, ...]:
    median, low, high = row["time_median_s"], row["time_low_s"], row["time_high_s"]
    width = (high - low) / median if all(map(units.known, (median, low, high))) else math.nan
    times = units.interval(median, low, high, named=True)
    return (
        *(name, row["impl"], row["status"], _number(median, units.seconds)),
        _number(width, lambda _: times) or (None if times == units.NOTHING else times),
        _ratio(over),
        _number(row["peak_bytes"], units.size),
        _number(row["error_ratio"], lambda value: units.significant(value, 2)),
        reason(row) or None,
        _number(row["time_hot_median_s"], units.seconds),
        _number(row["first_call_s"], units.seconds),
        _number(row["n_bursts"], units.number),
        _number(row["n_replicates"], units.number),
        str(row["case_label"]),
        command(info, row) or None,
    )


def _ratio(over: OverFastest | None) -> Value:
    """The ratio to the fastest with its interval; ``?`` where the two are not told apart."""
    if over is None:
        return None
    if over.ratio is None:
        return (1.0, "1.00")
    value, low, high = (units.significant(end) for end in (over.ratio.value, over.ratio.low, over.ratio.high))
    return (over.ratio.value, f"{value}{'' if over.told else '?'} [{low}, {high}]")


def _observed(info: RunInfo, frame: pd.DataFrame, key: str) -> DataTable:
    """Observed cells: the levels of their axes, the implementation, its numbers."""
    axes = [name for name in column_names(frame) if name.startswith(POINT)]
    metrics = shown_metrics(frame)
    names = case_names(frame)
    columns = (
        *(
            DataColumn("case", "case", shown=False),
            DataColumn("impl", "implementation"),
            DataColumn("status", "status"),
        ),
        *(DataColumn(name, name.removeprefix(POINT), number=_numeric(frame[name])) for name in axes),
        *(DataColumn(name, name.removeprefix(METRIC), number=True) for name in metrics),
        *(DataColumn("reason", "reason"), DataColumn("again", "run it again")),
    )
    rows = tuple(
        (
            *(names[row["block_id"], row["case_id"]], row["impl"], row["status"]),
            *(_level(row[name]) for name in axes),
            *(_number(row[name], units.number) for name in metrics),
            *(reason(row) or None, command(info, row) or None),
        )
        for row in records(frame)
    )
    return _without_empty(DataTable(key, str(frame["suite"].iloc[0]), columns, rows))


def _numeric(values: pd.Series[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.tolist())


def _level(value: Any) -> Value:
    if isinstance(value, int | float) and not isinstance(value, bool) and units.known(value):
        return (float(value), units.level(value)) if math.isfinite(value) else units.number(value)
    return units.number(value)


def _without_empty(table: DataTable) -> DataTable:
    """The table without columns in which nothing stands."""
    kept = [place for place in range(len(table.columns)) if any(row[place] is not None for row in table.cells)]
    return DataTable(
        table.key,
        table.title,
        tuple(table.columns[place] for place in kept),
        tuple(tuple(row[place] for place in kept) for row in table.cells),
    )
