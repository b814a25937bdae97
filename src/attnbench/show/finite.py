"""JSON has no NaN and no infinity: whoever writes them says what stands in their place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any


def replaced(data: Any, stand_in: Callable[[float], str | None]) -> Any:
    """The same data, as far down as it goes, with ``stand_in(number)`` for each number that is not finite."""
    if isinstance(data, float) and not math.isfinite(data):
        return stand_in(data)
    if isinstance(data, Mapping):
        return {str(name): replaced(value, stand_in) for name, value in data.items()}
    return [replaced(value, stand_in) for value in data] if isinstance(data, (list, tuple)) else data


def in_words(number: float) -> str:
    """The word that the schema reads back as this number."""
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def as_null(_: float) -> None:
    """Nothing: what is not finite is not known, such as an unbounded end of an interval."""


def as_inf(number: float) -> str | None:
    """What our own documents have for it: null for NaN, ``"inf"`` and ``"-inf"``."""
    return None if math.isnan(number) else "inf" if number > 0 else "-inf"


def to_record(row: Any) -> dict[str, Any]:
    """The fields of a dataclass for JSON: an infinite one, as a ratio to an exact bound, is ``"inf"``."""
    return {
        name: as_inf(value) if isinstance(value, float) and math.isinf(value) else value
        for name, value in asdict(row).items()
    }


def from_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of ``to_record``."""
    return {name: math.inf if value == "inf" else value for name, value in record.items()}
