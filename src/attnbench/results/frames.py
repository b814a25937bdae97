"""Frames, typed: the columns of ours have text for names, which pandas does not promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pandas as pd

POINT, METRIC = "point.", "metric."


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as dicts by column."""
    return cast("list[dict[str, Any]]", frame.to_dict("records"))


def column_names(frame: pd.DataFrame) -> list[str]:
    """The names of the columns, in order."""
    return [str(name) for name in frame.columns]


def own_columns(part: pd.DataFrame) -> pd.DataFrame:
    """The rows of one suite without the axes and metrics of others, which are empty there."""
    prefixes = (POINT, METRIC)
    foreign = [name for name in column_names(part) if name.startswith(prefixes) and bool(part[name].isna().all())]
    return part.drop(columns=foreign).pipe(_whole_levels)


def _whole_levels(part: pd.DataFrame) -> pd.DataFrame:
    """Levels that are whole numbers as such: beside suites without the axis, a frame holds them as floats."""
    whole = {
        name: "int64"
        for name in column_names(part)
        if name.startswith(POINT) and part[name].dtype.kind == "f" and bool((part[name] % 1 == 0).all())
    }
    return part.astype(whole).copy()  # in one piece again, or pandas warns
