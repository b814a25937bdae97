"""What is found of saved arrays: as data, as text, as JSON and as a table for notebooks."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attnbench.errors import EXIT_GATE_FAILED, EXIT_INCONCLUSIVE, EXIT_OK
from attnbench.explaining.judging import JudgedArray
from attnbench.explaining.nearer import NearerOfTwo
from attnbench.explaining.readings import FittingReading

WITHIN, READING, UNEXPLAINED = "within-rounding", "another-reading", "unexplained"
EXITS = {WITHIN: EXIT_OK, READING: EXIT_INCONCLUSIVE, UNEXPLAINED: EXIT_GATE_FAILED}
COMPARED = ("nearer", "out_rms", "other_rms", "difference", "difference_ratio")
SAID = {
    WITHIN: "within rounding: a right kernel may answer this",
    READING: "not the attention that was asked for: it fits another reading",
    UNEXPLAINED: "not within rounding, and no reading that was tried explains it",
}


@dataclass(frozen=True, repr=False)
class ExplainedArrays:
    """What is known of an output and what came with it.

    ``verdict`` is ``within-rounding``, ``another-reading`` or ``unexplained``; ``arrays`` says of every array how many
    elements rounding explains and which is the worst; ``arithmetic`` is the finest that explains all of it (where
    nothing allowed does, the coarsest that is allowed); ``readings`` are those that fit an output, an lse or gradients
    that rounding does not explain; ``other_readings`` the same of a second output; ``nearer`` compares the two.
    """

    verdict: str
    arrays: Mapping[str, JudgedArray]
    arithmetic: str
    dtype: str
    sizes: Mapping[str, int]
    readings: tuple[FittingReading, ...] = ()
    nearer: NearerOfTwo | None = None
    other_readings: tuple[FittingReading, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether rounding explains every element of out, lse and gradients."""
        return self.verdict == WITHIN

    @property
    def exit_code(self) -> int:
        """The exit status of the command: 0 within rounding, 1 unexplained, 3 another reading."""
        return EXITS[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """The document of ``explain --json``."""
        document: dict[str, Any] = {"verdict": self.verdict, "sentence": SAID[self.verdict], "dtype": self.dtype}
        document |= {"sizes": dict(self.sizes), "arithmetic": self.arithmetic}
        document |= {"arrays": {name: _described(array) for name, array in self.arrays.items()}}
        document |= {"readings": [reading.to_dict() for reading in self.readings], "nearer": None}
        if self.nearer is not None:
            two = {name: getattr(self.nearer, name) for name in COMPARED}
            document["nearer"] = {**two, "normal": self.nearer.normal, "other": _described(self.nearer.other)}
            document["other_readings"] = [reading.to_dict() for reading in self.other_readings]
        return document | {"notes": list(self.notes), "exit_code": self.exit_code}

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """For people."""
        lines = [SAID[self.verdict]]
        lines += [line for array in self.arrays.values() for line in _lines(array)]
        what = (
            "the finest arithmetic that explains it" if self.ok else "the coarsest arithmetic that counts as rounding"
        )
        lines.append(f"{what}: {self.arithmetic}")
        lines += _fits(self.readings, "fits")
        if self.nearer is not None:
            lines += self.nearer.sentences(out_ok=self._output_ok)
            lines += _fits(self.other_readings, "other fits")
        return lines + [f"note: {note}" for note in self.notes]

    @property
    def _output_ok(self) -> bool:
        return self.arrays["output"].ok

    def _repr_html_(self) -> str:
        heads = ("array", "within rounding", "largest error", "worst over what is allowed", "where")
        rows = [
            (
                name,
                f"{array.within:,} of {array.elements:,}",
                f"{array.largest_error:.3g}",
                f"{array.ratio:.3g}",
                _where(array),
            )
            for name, array in self.arrays.items()
        ]
        cells = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        head = "".join(f"<th>{name}</th>" for name in heads)
        skipped = 1 + sum(len(_lines(array)) for array in self.arrays.values())
        rest = "".join(f"<li>{html.escape(line)}</li>" for line in self.lines()[skipped:])
        said = html.escape(SAID[self.verdict])
        return f"<p><strong>{said}</strong></p><table><tr>{head}</tr>{cells}</table><ul>{rest}</ul>"


def _described(array: JudgedArray) -> dict[str, Any]:
    """One array, JSON-ready."""
    fields = {name: getattr(array, name) for name in ("elements", "within", "ratio", "largest_error")}
    w = array.worst
    if w is None:
        return {**fields, "worst": None}
    worst = {"where": dict(w.where), "value": w.value, "truth": w.truth, "error": w.error, "allowed": w.allowed}
    return {**fields, "worst": worst}


def _fits(readings: tuple[FittingReading, ...], verb: str) -> list[str]:
    """The readings of each array; what is wrong in several is named, since their readings are no alternatives."""
    arrays = list(dict.fromkeys(reading.array for reading in readings))
    lines = []
    for array in arrays:
        mine = [reading for reading in readings if reading.array == array]
        if len(mine) > 1:
            whose = f" of {array}" if len(arrays) > 1 else ""
            lines.append(f"{verb} {len(mine)} readings{whose}, which these arrays do not tell apart:")
        who = f" ({array})" if len(arrays) > 1 else ""
        lines += [f"{verb}{who}: {reading.sentence}" for reading in mine]
    return lines


def _where(array: JudgedArray) -> str:
    return "" if array.worst is None else ", ".join(f"{axis} {n}" for axis, n in array.worst.where.items())


def _lines(array: JudgedArray) -> list[str]:
    """One array in two lines."""
    if array.worst is None:
        return [f"{array.name}: no elements"]
    share = f"{array.name}: {array.within:,} of {array.elements:,} elements are within rounding"
    w = array.worst
    worst = f"worst at {_where(array)}: {w.value:.9g}, truth {w.truth:.9g}"
    if array.ratio == 0:
        return [f"{share}, all of them equal to the truth after rounding"]
    size = (
        "differs in kind (NaN or infinite)"
        if array.ratio == float("inf")
        else (f"off by {w.error:.3g}, {array.ratio:.3g} of the {w.allowed:.3g} that rounding explains there")
    )
    largest = f"; largest error {'of a number ' * (array.ratio == float('inf'))}{array.largest_error:.3g}"
    return [share + largest, f"  {worst}: {size}"]
