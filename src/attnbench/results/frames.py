"""Frames, typed: the columns of ours have text for names, which pandas does not promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pandas as pd


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as dicts by column."""
    return cast("list[dict[str, Any]]", frame.to_dict("records"))


def column_names(frame: pd.DataFrame) -> list[str]:
    """The names of the columns, in order."""
    return [str(name) for name in frame.columns]
