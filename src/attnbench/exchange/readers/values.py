"""What every importer does with another tool's values: times that are none, whole numbers, instants, hardware."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from attnbench.errors import ResultsError

# What no other tool's file says of its benchmarks.
UNKNOWN = ("agreement with the oracle", "disturbances (receipts)")
# What tools write where they could not read the processor's name: it says nothing of which one it is.
NO_NAMES = ("", "unknown", "none", "n/a", "na", "not available", "x86_64", "amd64", "i386", "i686", "aarch64", "arm64")


def damaged(file: Path, tool: str, error: Exception) -> NoReturn:
    """Raise the ``ResultsError`` that says what is wrong with a file."""
    what = f"it has no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
    msg = f"{file} is a damaged file of {tool}: {what}; nothing was imported"
    raise ResultsError(msg) from error


def no_benchmark(file: Path) -> NoReturn:
    """Raise the ``ResultsError`` of a file in which there is nothing."""
    msg = f"{file} holds no benchmark; nothing was imported"
    raise ResultsError(msg)


def times(values: Iterable[Any], name: str) -> list[float]:
    """Values as seconds; a ``ValueError`` where one cannot be a time."""
    seconds = [float(value) for value in values]
    if any(not math.isfinite(value) or value <= 0 for value in seconds):
        msg = f"benchmark {name} has a time that is NaN, infinite or not above 0"
        raise ValueError(msg)
    return seconds


def whole(text: Any) -> int | None:
    """A whole number that a tool may write as text, or leave out."""
    with suppress(TypeError, ValueError):
        return int(text) or None
    return None


def processor(model: Any, host: Any, kind: str = "host") -> str | None:
    """The processor's name; where a file has none its host's name stands in, so that two are not taken for one."""
    name = "" if model is None else str(model).strip()
    if name.lower() not in NO_NAMES:
        return name
    return f"unknown, of {kind} {host}" if host else None


def utc(moment: datetime | None) -> str:
    """An instant as the schema writes it; one without a zone is taken as UTC, none at all as now.

    Older releases of pytest-benchmark wrote UTC without saying so.
    """
    instant = moment or datetime.now(UTC)
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """A JSON object, or a ``TypeError`` that names it."""
    if not isinstance(value, Mapping):
        msg = f"{what} is {type(value).__name__} and no object"
        raise TypeError(msg)
    return value
