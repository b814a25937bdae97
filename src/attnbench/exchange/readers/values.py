"""What every importer does with another tool's values: rounds that are no times, whole numbers, instants, hardware."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from attnbench.errors import ResultsError

# What no other tool's file says of its benchmarks.
UNKNOWN = ("agreement with the oracle", "disturbances (receipts)")
# What is not known of a file without a date; the time of the import stands for it.
NO_DATE = "when it was measured"
# What tools write where they could not read the processor's name: it says nothing of which one it is.
NO_NAMES = ("", "unknown", "none", "n/a", "na", "not available", "x86_64", "amd64", "i386", "i686", "aarch64", "arm64")
# What reading an entry raises that is not as it should be.
ODD = (LookupError, TypeError, AttributeError, ValueError, OverflowError)


def why(error: Exception) -> str:
    """What is wrong with a file, or with an entry of it, in one line."""
    return f"it has no {error}" if isinstance(error, KeyError) else (str(error).splitlines() or ["it is garbled"])[0]


def damaged(file: Path, tool: str, error: Exception) -> NoReturn:
    """Raise the ``ResultsError`` that says what is wrong with a file."""
    msg = f"{file} is a damaged file of {tool}: {why(error)}; nothing was imported"
    raise ResultsError(msg) from error


def no_benchmark(file: Path, warnings: Sequence[str] = ()) -> NoReturn:
    """Raise the ``ResultsError`` of a file in which there is nothing, or nothing that can be understood."""
    what = f" that can be understood: {warnings[0]}" if warnings else ""
    msg = f"{file} holds no benchmark{what}; nothing was imported"
    raise ResultsError(msg)


def number(value: Any) -> float:
    """A number; NaN where the value is none."""
    with suppress(TypeError, ValueError, OverflowError):
        return math.nan if isinstance(value, bool) else float(value)
    return math.nan


@dataclass(frozen=True)
class Sifted:
    """The rounds of a benchmark that are times: the ``places`` of those kept, and their ``seconds``.

    ``left_out`` counts the others in words; ``reason`` says why the rest is no measurement, where it is none.
    """

    places: Sequence[int]
    seconds: Sequence[float]
    left_out: str | None = None
    reason: str | None = None


def sift(values: Iterable[Any]) -> Sifted:
    """The rounds that are times above 0, in order.

    A round of 0 is what a coarse clock says of a short one. A few are left out; where they are more than half, so that
    0 is the median, what the other rounds say would be false.
    """
    numbers = [number(value) for value in values]
    places = [place for place, value in enumerate(numbers) if 0 < value < math.inf]
    zeros = sum(value == 0 for value in numbers)
    odd = len(numbers) - len(places) - zeros
    kinds = [f"{zeros} at 0 s (the clock is too coarse)"] * bool(zeros)
    kinds += [f"{odd} at NaN, infinity, below 0 or no number"] * bool(odd)
    left_out = f"{zeros + odd} of {len(numbers)} rounds left out: {', '.join(kinds)}" if kinds else None
    reason = None
    if not places:
        reason = f"none of its rounds is a time above 0: {', '.join(kinds)}"
    elif 2 * zeros > len(numbers):
        reason = f"{zeros} of its {len(numbers)} rounds are 0 s: the clock is too coarse for it"
    return Sifted(places, [numbers[place] for place in places], left_out, reason)


def whole(text: Any) -> int | None:
    """A whole number that a tool may write as text, or leave out; none where it has no place in our columns."""
    with suppress(TypeError, ValueError, OverflowError):
        return int(text) or None if abs(int(text)) < 2**63 else None
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


def moment(text: Any, *formats: str) -> str | None:
    """A date of a file as the schema writes it: ISO 8601, or one of ``formats``; ``None`` where it is neither."""
    with suppress(*ODD):
        return utc(datetime.fromisoformat(str(text)))
    for form in formats:
        with suppress(*ODD):
            return utc(datetime.strptime(str(text), form))  # noqa: DTZ007  (utc() gives it a zone)
    return None


def instant(text: Any, warnings: list[str], *formats: str) -> str:
    """When a file was written, by its date; a warning where that cannot be understood, and the time now."""
    known = moment(text, *formats)
    if known is None and text not in (None, ""):
        warnings.append(f"its date {text!r} cannot be understood; the time of the import stands for it")
    return known or utc(None)


def kind_of(value: Any) -> str:
    """What a value of a JSON document is, in JSON's own words."""
    kinds = (
        (type(None), "null"),
        (bool, "true or false"),
        (str, "a text"),
        (int | float, "a number"),
        (list | tuple, "a list"),
    )
    return next((word for kind, word in kinds if isinstance(value, kind)), "an object")


def mapping_or_empty(value: Any, what: str, warnings: list[str]) -> Mapping[str, Any]:
    """A JSON object; empty where there is none, with a warning where there is something else."""
    if isinstance(value, Mapping):
        return value
    if value is not None:
        warnings.append(f"{what} is {kind_of(value)} and no object; what it says is not known")
    return {}


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """A JSON object, or a ``TypeError`` that names it."""
    if not isinstance(value, Mapping):
        msg = f"{what} is {kind_of(value)} and no object"
        raise TypeError(msg)
    return value
