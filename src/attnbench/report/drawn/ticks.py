"""Ticks: at the levels that were chosen, with their units, and as many as have room."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

TICK = 0.75  # inches of a text such as ``500 µs``, and the gap beside it
DENSE, HALVED, SPARSE = (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)
LABELS = {
    "time_median_s": "time per call",
    "time_hot_median_s": "time per call, hot",
    "cpu_time_s": "CPU time per call",
    "compile_s": "compile time",
    "first_call_s": "first call",
    "import_s": "import time",
    "peak_bytes": "peak memory of the call",
    "error_ratio": "error, as a fraction of the bound",
    "flop_rate": "operations per second",
    "roofline_fraction": "fraction of the roofline",
    "impl": "implementation",
    "Tq": "queries Tq",
    "S": "keys S",
}


def label(column: str) -> str:
    """What stands on an axis for a column."""
    return LABELS.get(column, column.removeprefix("point.").removeprefix("metric.").replace("_", " "))


def plain_numbers(axis: Any) -> None:
    """Numbers as they are on an axis of logarithms, where a formula would stand otherwise."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def doubling(values: pd.Series[Any]) -> bool:
    """Whether all of them are powers of two."""
    return all(value > 0 and math.log2(value).is_integer() for value in values.dropna())


def ticks_at_levels(place: Any, values: pd.Series[Any]) -> None:
    """Ticks where the levels are, if these are few."""
    levels = sorted(set(values.dropna().tolist()))
    if len(levels) <= 9:  # noqa: PLR2004  (more would not fit)
        place.set_xticks(levels, labels=[units.level(level) for level in levels])
        place.set_xticks([], minor=True)


def beside_each_other(place: Any) -> int:
    """How many ticks with their units have room beside each other below a panel."""
    across = place.get_subplotspec().get_gridspec().ncols
    return max(3, int(place.figure.get_figwidth() / across / TICK))


def ticks_with_units(
    axis: Any, column: str, values: pd.Series[Any], *, logarithmic: bool, room: int | None = None
) -> None:
    """Ticks with the unit of a column; ``room``: for so many, where their texts stand beside each other."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    write = units.seconds if column.endswith("_s") else units.size if column.endswith("_bytes") else units.significant
    if write is not units.significant:
        axis.set_major_formatter(FuncFormatter(lambda value, _: _short(write(value))))
    if logarithmic:
        positive = values[values > 0]
        decades = math.log10(positive.max() / positive.min()) if len(positive) else 0.0
        if write is units.size:
            axis.set_major_locator(LogLocator(base=2 if decades < 1.5 else 4 if decades < 3 else 16))  # noqa: PLR2004
        else:
            axis.set_major_locator(LogLocator(base=10, subs=_steps(decades, room)))
        if write is units.significant:
            plain_numbers(axis)
        axis.set_minor_formatter(NullFormatter())
    elif room is not None:
        axis.set_major_locator(MaxNLocator(room, steps=[1, 2, 2.5, 5, 10]))


def _steps(decades: float, room: int | None) -> tuple[float, ...]:
    """Where ticks stand in a decade: at more places where there are few decades, and room."""
    usual = DENSE if decades < 2 else SPARSE  # noqa: PLR2004  (two decades need no more ticks)
    if room is None:
        return usual
    return next((steps for steps in (usual, HALVED) if decades * len(steps) + 1 <= room), SPARSE)


def _short(text: str) -> str:
    """``1.00 ms`` as ``1 ms``: ticks are round numbers."""
    amount, _, unit = text.partition(" ")
    if not unit:
        return text
    return "0" if float(amount) == 0 else f"{float(amount):g} {unit}"
