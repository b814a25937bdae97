"""What was typed, as values: times, margins, lists with commas, names of a known kind. What is none is a clear line."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from attnbench.errors import UsageError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def split(values: Sequence[str] | None) -> list[str]:
    """Options that may be given several times, or once with commas."""
    return [part for value in values or [] for part in value.split(",") if part]


def drop_ins(files: Sequence[Path] | None) -> list[Path]:
    """The drop-in files that ``--impls`` names, itself or by their folder: what no output may be written over."""
    return [file for given in files or () for file in (given, *given.glob("*.py"))]


def seconds(text: str | None) -> float | None:
    """A duration such as 90s, 10m or 1h, in seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not match or float(match[1]) <= 0:
        msg = f"a duration is a number above 0 and a unit, such as 90s, 10m or 1h; got {text!r}"
        raise UsageError(msg)
    return float(match[1]) * UNITS[match[2] or "s"]


def percentage(text: str) -> float:
    """A margin such as 5% or 0.05, as a fraction."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    if not match:
        msg = f"a margin is a percentage such as 5%, or a fraction such as 0.05; got {text!r}"
        raise UsageError(msg)
    return float(match[1]) / (100 if match[2] else 1)


def check_positive(what: str, value: float) -> None:
    """Raise ``UsageError`` unless a number of seconds is above 0."""
    if not 0 < value < math.inf:
        msg = f"{what} is a number of seconds above 0; got {value:g}"
        raise UsageError(msg)
