"""The disagreements of ``attnbench check`` as people read them: one fault is one block, with all rows that it touches.

A row that was not taken apart stands in the block of a row that disagrees in the same way, and the block says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from attnbench.commands.checks.junit import details

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow

UNKNOWN = "unknown"


@dataclass
class Block:
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
        found = [f"touches: {places(self.rows)}"]
        found += [f"fails in the same way, and was not taken apart: {places(self.alike)}"] if self.alike else []
        found += [f"first: {best.feature} {best.dtype}: {best.reason}"] if known else []
        return "\n  ".join((head, *found)) + _lines(best, without="diagnosis: " if known else "")


def blocks(rows: Sequence[CheckRow]) -> list[str]:
    """A block for each fault of each implementation."""
    found: dict[tuple[str, ...], Block] = {}
    for row in rows:
        if row.diagnosis is not None:
            found.setdefault(_fault(row), Block([])).rows.append(row)
    for row in rows:
        if row.diagnosis is None:
            _put(row, found)
    order = {id(row): i for i, row in enumerate(rows)}
    return [one.text() for one in sorted(found.values(), key=lambda one: order[id(one.rows[0])])]


def _put(row: CheckRow, found: dict[tuple[str, ...], Block]) -> None:
    """A row without a diagnosis stands with one that fails in the same way: in its feature, or the only one."""
    same = [one for one in found.values() if one.rows[0].diagnosis and _alike(one.rows[0], row)]
    own = [one for one in same if any(other.feature == row.feature for other in one.rows)]
    if row.failing and (own or len(same) == 1):
        (own or same)[0].alike.append(row)
    else:
        found.setdefault(_fault(row), Block([])).rows.append(row)


def _alike(one: CheckRow, other: CheckRow) -> bool:
    return (one.impl, one.fault) == (other.impl, other.fault)


def _fault(row: CheckRow) -> tuple[str, ...]:
    """What makes two rows one fault: the diagnosis, or what is seen of it where nothing is known."""
    told = row.diagnosis or {"kind": UNKNOWN}
    if told["kind"] == UNKNOWN:
        said = "" if row.failing else row.reason or ""
        return (row.impl, row.device, row.fault or "", said)
    said = told["evidence"].partition(" (")[0]  # what was measured of it is another number in another case
    return (row.impl, row.device, told["kind"], said)


def _named(row: CheckRow) -> str:
    told = row.diagnosis or {"kind": UNKNOWN}
    return "" if told["kind"] == UNKNOWN else f"{told['kind']}: {told['evidence']}"


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
