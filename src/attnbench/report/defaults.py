"""The figures of a timed suite that brings none: time and memory against length, and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attnbench.results.frames import column_names, records
from attnbench.suite import Figure

if TYPE_CHECKING:
    import pandas as pd

LENGTHS = ("Tq", "S")
SETTING = "setting"


def with_setting(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a column ``setting``: in words, all that varies besides length and implementation."""
    length = length_of(frame)
    columns = [name for name in varying(frame) if not _follows(frame, name, length)]
    # Before 3.1 pandas has no records in a frame without columns, however many rows it has.
    rows = records(frame[columns]) if columns else [{}] * len(frame)
    return frame.assign(**{SETTING: [worded(row, columns) for row in rows]})


def varying(frame: pd.DataFrame) -> list[str]:
    """The axes, the device and the threads, as far as a frame has several levels of them."""
    candidates = [name for name in column_names(frame) if name.startswith("point.") or name in ("device", "threads")]
    return [name for name in candidates if name != "point.impl" and _levels(frame[name]) > 1]


def worded(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The levels of a row on these columns in words, such as ``training, T = 512``."""
    return ", ".join(_words(name.removeprefix("point."), row[name]) for name in columns)


def _levels(values: pd.Series[Any]) -> int:
    return len(values.unique())


def _words(name: str, value: object) -> str:
    if isinstance(value, bool):
        return name if value else f"not {name}"
    return str(value) if isinstance(value, str) else f"{name} = {value}"


def _follows(frame: pd.DataFrame, name: str, length: str) -> bool:
    """Whether an axis is the length by another name: each level of one belongs to one level of the other."""
    pairs = frame[[name, length]].drop_duplicates()
    return len(pairs) == _levels(frame[name]) == _levels(frame[length])


def length_of(frame: pd.DataFrame) -> str:
    """Which length the suite varies: queries, unless only the keys vary (as in decoding)."""
    return max(LENGTHS, key=lambda name: (frame[name].nunique(), name == "Tq"))


def default_figures(frame: pd.DataFrame) -> tuple[Figure, ...]:
    """Figures for a timed frame that has gone through ``with_setting``; none for an observed one."""
    timed = frame[frame["kind"] == "timed"]
    if timed.empty:
        return ()
    length = length_of(timed)
    varies = _levels(timed[length]) > 1
    col = SETTING if _levels(timed[SETTING]) > 1 else None
    return (_time(length, col, varies=varies), _memory(length, col, varies=varies), _errors())


def _time(length: str, col: str | None, *, varies: bool) -> Figure:
    title = "Time per call"
    if varies:
        caption = "Median of burst medians; the band is its interval. Both axes are logarithmic."
        return Figure("time", title, length, "time_median_s", "impl", col=col, log_x=True, log_y=True, caption=caption)
    caption = "Median of burst medians; the dark line is its interval."
    return Figure("time", title, "impl", "time_median_s", col=col, kind="bar", caption=caption)


def _memory(length: str, col: str | None, *, varies: bool) -> Figure:
    title = "Peak memory of a call, beyond what was held before it"
    if varies:
        caption = "High-water mark during the call less the level just before it. Both axes are logarithmic."
        return Figure("memory", title, length, "peak_bytes", "impl", col=col, log_x=True, log_y=True, caption=caption)
    caption = "High-water mark during the call less the level just before it."
    return Figure("memory", title, "impl", "peak_bytes", col=col, kind="bar", caption=caption)


def _errors() -> Figure:
    caption = "One point for each case: the largest error as a fraction of the bound that it must stay within."
    return Figure(
        "errors",
        "Agreement with the float64 oracle",
        "impl",
        "error_ratio",
        kind="strip",
        log_y=True,
        guide=(1.0, 0.0, "the bound"),
        caption=caption,
    )
