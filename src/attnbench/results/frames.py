"""Frames, typed: the columns of ours have text for names, which pandas does not promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from attnbench.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

POINT, METRIC = "point.", "metric."


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as dicts by column."""
    return cast("list[dict[str, Any]]", frame.to_dict("records"))


def column_names(frame: pd.DataFrame) -> list[str]:
    """The names of the columns, in order."""
    return [str(name) for name in frame.columns]


def refuse_machines(frame: pd.DataFrame) -> None:
    """Raise ``UsageError`` for rows of several machines, which nothing puts together: it names all of them."""
    if "machine_id" not in frame or frame["machine_id"].nunique() < 2:  # noqa: PLR2004
        return
    parts = {str(machine): part for machine, part in frame.groupby("machine_id", sort=False)}
    runs = [_some_runs(part) for part in parts.values()]
    named = " and ".join(f"{machine}{of}" for machine, of in zip(parts, runs, strict=True))
    msg = (
        f"these rows are of {len(parts)} machines, {named}, and numbers of different machines are never put together. "
        'Ask each by itself: for machine, rows in frame.groupby("machine_id"): ...'
    )
    raise UsageError(msg)


def _some_runs(part: pd.DataFrame) -> str:
    runs = [str(run) for run in part["run_id"].unique()] if "run_id" in part else []
    return f" (run {runs[0]}{f' and {len(runs) - 1} more' if len(runs) > 1 else ''})" if runs else ""


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
