"""The disagreements of ``attnbench check`` as people read them: one fault is one block, with all rows that it touches.

A row that was not taken apart stands in the block of a row that disagrees in the same way, and the block says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from attnbench.interface.checks.junit import details

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow

UNKNOWN = "unknown"


@dataclass
class FaultBlock:
    """Rows of one implementation that one fault makes wrong; ``alike`` were not taken apart and fail as these do."""

    rows: list[CheckRow]
    alike: list[CheckRow] = field(default_factory=list)

    @property
    def best(self) -> CheckRow:
        """The row that tells the most: taken apart, and with the smallest case."""
        return min(self.rows, key=lambda row: (row.smallest_case is None, len("".join(row.smallest_case or []))))

    def text(self) -> str:
        """The fault, the rows, and the best case with its command."""
        best, every = self.best, [*self.rows, *self.alike]
        if len(every) == 1:
            return f"WRONG {best.impl} {best.feature} {best.dtype} ({best.fault}): {best.reason}" + _lines(best)
        known = _named(best)
        head = f"WRONG {best.impl} ({best.fault}): {known or best.reason}"
        lines = [f"touches: {places(self.rows)}"]
        lines += [f"fails in the same way, and was not taken apart: {places(self.alike)}"] if self.alike else []
        lines += [f"first: {best.feature} {best.dtype}: {best.reason}"] if known else []
        return "\n  ".join((head, *lines)) + _lines(best, without="diagnosis: " if known else "")


def blocks(rows: Sequence[CheckRow]) -> list[str]:
    """A block for each fault of each implementation."""
    by_fault: dict[tuple[str, ...], FaultBlock] = {}
    for row in rows:
        if row.diagnosis is not None:
            by_fault.setdefault(_fault(row), FaultBlock([])).rows.append(row)
    for row in rows:
        if row.diagnosis is None:
            _put(row, by_fault)
    order = {id(row): i for i, row in enumerate(rows)}
    return [block.text() for block in sorted(by_fault.values(), key=lambda block: order[id(block.rows[0])])]


def _put(row: CheckRow, by_fault: dict[tuple[str, ...], FaultBlock]) -> None:
    """A row without a diagnosis stands with one that fails in the same way: in its feature, or the only one."""
    same = [block for block in by_fault.values() if block.rows[0].diagnosis and _alike(block.rows[0], row)]
    of_its_feature = [block for block in same if any(other.feature == row.feature for other in block.rows)]
    if row.failing and (of_its_feature or len(same) == 1):
        (of_its_feature or same)[0].alike.append(row)
    else:
        by_fault.setdefault(_fault(row), FaultBlock([])).rows.append(row)


def _alike(row: CheckRow, other: CheckRow) -> bool:
    return (row.impl, row.fault) == (other.impl, other.fault)


def _fault(row: CheckRow) -> tuple[str, ...]:
    """What makes two rows one fault: the diagnosis, or what is seen of it where nothing is known."""
    diagnosis = row.diagnosis or {"kind": UNKNOWN}
    if diagnosis["kind"] == UNKNOWN:
        said = "" if row.failing else row.reason or ""
        return (row.impl, row.device, row.fault or "", said)
    said = diagnosis["evidence"].partition(" (")[0]  # what was measured of it is another number in another case
    return (row.impl, row.device, diagnosis["kind"], said)


def _named(row: CheckRow) -> str:
    diagnosis = row.diagnosis or {"kind": UNKNOWN}
    return "" if diagnosis["kind"] == UNKNOWN else f"{diagnosis['kind']}: {diagnosis['evidence']}"


def places(rows: Sequence[CheckRow]) -> str:
    """``causal and gqa in float32, bfloat16; lse in float32``: the features of rows, by their dtypes."""
    dtypes: dict[str, list[str]] = {}
    for row in rows:
        dtypes.setdefault(row.feature, []).append(row.dtype)
    features: dict[tuple[str, ...], list[str]] = {}
    for feature, names in dtypes.items():
        features.setdefault(tuple(dict.fromkeys(names)), []).append(feature)
    return "; ".join(f"{', '.join(names)} in {', '.join(where)}" for where, names in features.items())


def _lines(row: CheckRow, *, without: str = "") -> str:
    kept = [line for line in details(row) if not (without and line.startswith(without))]
    return "".join(f"\n  {line}" for line in kept)
