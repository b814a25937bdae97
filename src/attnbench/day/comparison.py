"""Predictions against what was seen on a day, as records and as text: times over their floors, and kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from attnbench.show.console import table
from attnbench.show.units import seconds, times

# ok: no faster than the floor. clock: a little faster, as a GPU is that clocks higher than its data sheet counts.
# exponentials: faster than the special units alone allow. impossible: the clock of this measurement is wrong, or the
# floor is. unknown: no data sheet of this GPU is known here.
FloorVerdict = Literal["ok", "clock", "exponentials", "impossible", "unknown"]
WORDS: dict[FloorVerdict, str] = {
    "ok": "",
    "clock": "faster than the floor by less than a tenth: the GPU clocks higher than its data sheet counts",
    "exponentials": "faster than the units for exponentials alone allow: it computes some elsewhere",
    "impossible": "FASTER THAN ITS FLOOR: the clock of this measurement, or the floor, is wrong",
    "unknown": "",
}
NUMBERS = ("registers", "spill_bytes", "shared_bytes")
NOT_KNOWN = "–"


@dataclass(frozen=True)
class FloorRow:
    """One time of one cell, cold, hot or as a graph, and the least that the data sheet of the GPU leaves it."""

    run: str
    impl: str
    label: str
    case_id: str
    state: str
    seconds: float
    floor_s: float | None
    limit: str | None
    verdict: FloorVerdict


@dataclass(frozen=True)
class KernelCompared:
    """One kernel as it was predicted and as Triton describes what ran; ``differs`` names what is not the same."""

    impl: str
    kernel: str
    label: str
    predicted: Mapping[str, Any]
    seen: Mapping[str, Any] | None
    differs: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class PredictionComparison:
    """All of it; ``notes`` says what could not be compared, and why."""

    gpu: str | None
    data_sheet: str | None
    floors: tuple[FloorRow, ...] = ()
    kernels: tuple[KernelCompared, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def impossible(self) -> list[FloorRow]:
        """The times that are faster than can be."""
        return [row for row in self.floors if row.verdict == "impossible"]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``; ``ValueError`` where it is none."""
        try:
            floors = tuple(FloorRow(**_fields(FloorRow, row)) for row in data["floors"])
            kernels = tuple(KernelCompared(**_fields(KernelCompared, row)) for row in data["kernels"])
            return cls(data["gpu"], data["data_sheet"], floors, kernels, tuple(data["notes"]))
        except (KeyError, TypeError, AttributeError) as error:
            msg = f"it is no comparison of predictions: {type(error).__name__}: {error}"
            raise ValueError(msg) from error


def _fields(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are known; lists as tuples."""
    known = {known.name for known in fields(kind)}
    return {name: tuple(value) if name == "differs" else value for name, value in row.items() if name in known}


@dataclass(frozen=True)
class ComparedTable:
    """A table of texts; ``marks`` has a word for each row, ``failed`` or none."""

    title: str
    heads: tuple[str, ...]
    rows: list[list[str]]
    marks: list[str]


def tables(comparison: PredictionComparison) -> list[ComparedTable]:
    """Times over their floors, and kernels; each where there is something."""
    made: list[ComparedTable] = []
    heads: tuple[str, ...]
    if rows := comparison.floors:
        heads = ("implementation", "case", "state", "time", "floor", "over it", "bound by", "what")
        marks = ["failed" if row.verdict == "impossible" else "" for row in rows]
        made.append(ComparedTable("Times over their floors", heads, [_of_floor(row) for row in rows], marks))
    if kernels := comparison.kernels:
        heads = ("implementation", "kernel", "case", "registers", "spills", "shared", "what")
        marks = ["failed" if row.differs else "" for row in kernels]
        made.append(ComparedTable("Kernels, predicted and seen", heads, [_of_kernel(row) for row in kernels], marks))
    return made


def sentence(comparison: PredictionComparison) -> str:
    """How many times and kernels, and what is not as it was predicted."""
    counted = sum(bool(row.floor_s) for row in comparison.floors)
    differing = sum(bool(row.differs) for row in comparison.kernels)
    seen = sum(row.seen is not None for row in comparison.kernels)
    if not counted and not seen:
        return "Nothing could be held to what was predicted"
    sheet = comparison.data_sheet or "no data sheet"
    of_times = f"{counted} times with a floor ({sheet}), {len(comparison.impossible)} faster than can be"
    return f"{of_times}; {seen} kernels as they ran, {differing} not as predicted"


def remarks(comparison: PredictionComparison) -> list[tuple[str, list[str]]]:
    """What is faster than can be, and what was not compared."""
    fast = [f"{row.impl} {row.label} {row.state}: {WORDS[row.verdict]}" for row in comparison.impossible]
    parts = [("What cannot be", fast), ("What was not compared", list(comparison.notes))]
    return [(title, lines) for title, lines in parts if lines]


def text(comparison: PredictionComparison) -> str:
    """All of it, for a terminal."""
    drawn = [f"{made.title}\n{table(made.heads, made.rows)}" for made in tables(comparison)]
    said = [line for _, lines in remarks(comparison) for line in lines]
    return "\n\n".join([*drawn, *(["\n".join(said)] if said else []), sentence(comparison)])


def _of_floor(row: FloorRow) -> list[str]:
    over = NOT_KNOWN if not row.floor_s else times(row.seconds / row.floor_s)
    floor = NOT_KNOWN if row.floor_s is None else seconds(row.floor_s)
    words = [row.impl, row.label, row.state, seconds(row.seconds), floor, over]
    return [*words, row.limit or NOT_KNOWN, WORDS[row.verdict]]


def _of_kernel(row: KernelCompared) -> list[str]:
    numbers = [_both(row.predicted.get(name), None if row.seen is None else row.seen.get(name)) for name in NUMBERS]
    what = f"other {', '.join(row.differs)}" if row.differs else "as predicted" if row.seen is not None else ""
    return [row.impl, row.kernel, row.label, *numbers, row.reason or what]


def _both(predicted: Any, seen: Any) -> str:
    words = [NOT_KNOWN if number is None else f"{number:,}" for number in (predicted, seen)]
    return words[0] if words[0] == words[1] else " → ".join(words)
