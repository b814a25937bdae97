"""What a precheck leaves in the records: of each implementation the parts that were told, where nothing was wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from attnbench.backends import discover
from attnbench.precheck.question import ARCHITECTURES
from attnbench.precheck.rows import KernelRow, Prechecked, PrecheckRow
from attnbench.tried.code import CodeName, code_of
from attnbench.tried.keeping import Change, keep
from attnbench.tried.marks import named
from attnbench.tried.record import GpuPrecheck, GpuRecord
from attnbench.versions import installed

MACHINE_CODE = "machine code"
# What PyTorch's adapter says it lowers by: tensors without memory, which show shapes and dtypes alone.
SHAPES_ALONE = "PyTorch's meta device"


@dataclass
class KeptPrechecks:
    """The implementations that were recorded, those that were not, with the reason, and the files that were written."""

    recorded: dict[str, GpuPrecheck] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    withdrawn: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"recorded: {name} ({', '.join(named(entry.parts))})" for name, entry in self.recorded.items()]
        lines += [f"not recorded: {name}: {why}" for name, why in self.left_out.items()]
        lines += [f"no longer recorded: {name}, whose same code had passed before" for name in self.withdrawn]
        return lines + [f"written: {file}" for file in self.files]


def keep_prechecks(answer: Prechecked, codes: Mapping[str, CodeName | None]) -> KeptPrechecks:
    """Record what passed. ``codes`` are the names of the code before it was prechecked, of every implementation."""
    kept = KeptPrechecks()
    changes: dict[str, Change] = {}
    for impl, before in codes.items():
        rows = [row for row in answer.every if row.impl == impl]
        now = code_of(impl)
        if before is None or now is None:
            kept.left_out[impl] = "its code cannot be read"
        elif now.code != before.code:
            kept.left_out[impl] = "its code changed while it was prechecked; precheck it again"
        elif (why := why_not(rows)) is None:
            untold = [part for name, part in answer.untold if name == impl]
            kept.recorded[impl] = _entry(impl, rows, untold, now)
            changes[impl] = _with(kept.recorded[impl])
        else:
            kept.left_out[impl] = why
            if any(row.status == "wrong" for row in rows):
                changes[impl] = _without(impl, now, kept)
    kept.files = keep(changes)
    return kept


def why_not(rows: Sequence[PrecheckRow]) -> str | None:
    """Why these rows of one implementation are no pass; ``None`` where they are."""
    for status, said in (("wrong", "is wrong"), ("lost", "was lost")):
        if parts := dict.fromkeys(_part(row) for row in rows if row.status == status):
            return f"{', '.join(parts)} {said}"
    if not _told(rows):
        reasons = [row.reason for row in rows if row.status == "unknown" and row.reason]
        return f"nothing of it could be told{f': {reasons[0]}' if reasons else ''}"
    return None


def _told(rows: Sequence[PrecheckRow]) -> list[str]:
    """The parts of which something is right, in the order in which they are named."""
    parts = dict.fromkeys(_part(row) for row in rows if row.status == "ok")
    return [part for part in parts if named([part])]


def _part(row: PrecheckRow) -> str:
    if isinstance(row, KernelRow):
        return MACHINE_CODE
    return "shapes" if row.part == "lowers" and row.detail.get("by") == SHAPES_ALONE else row.part


def _is_not_whole(row: PrecheckRow) -> bool:
    """Whether something of a row could not be told: all of it, or some of its cases."""
    return row.status == "unknown" or (not isinstance(row, KernelRow) and bool(row.detail.get("untold")))


def _entry(impl: str, rows: Sequence[PrecheckRow], untold: Sequence[str], code: CodeName) -> GpuPrecheck:
    """``untold`` are the whole parts that could not be told, perhaps for one architecture."""
    archs = dict.fromkeys(row.arch for row in rows if isinstance(row, KernelRow) and row.arch and row.status == "ok")
    card = discover.backend(impl.partition("/")[0])
    known = {card.requires: card.version()} | {name: installed(name) for name in card.also}
    versions = {name: of for name, of in known.items() if of is not None}
    whole = (MACHINE_CODE if part.startswith(MACHINE_CODE) else part for part in untold)
    unknown = dict.fromkeys([*(_part(row) for row in rows if _is_not_whole(row)), *whole])
    today = datetime.now(UTC).date().isoformat()
    return GpuPrecheck(today, tuple(archs), tuple(_told(rows)), tuple(unknown), versions, code)


def _with(entry: GpuPrecheck) -> Change:
    return lambda record: replace(record, prechecked=_together(record.prechecked, entry))


def _together(before: GpuPrecheck | None, entry: GpuPrecheck) -> GpuPrecheck:
    """What both told, if they are of one code and the same versions, as where an architecture is asked for alone."""
    if before is None or (before.code.code, before.versions) != (entry.code.code, entry.versions):
        return entry
    archs = [arch for arch in ARCHITECTURES if arch in (*before.architectures, *entry.architectures)]
    parts = dict.fromkeys((*before.parts, *entry.parts))
    # What the later one told of a part counts, else what the earlier one did.
    of_later = [part for part in entry.unknown if part in entry.parts or part not in before.parts]
    unknown = dict.fromkeys((*of_later, *(part for part in before.unknown if part not in entry.parts)))
    return replace(entry, architectures=tuple(archs), parts=tuple(parts), unknown=tuple(unknown))


def _without(impl: str, code: CodeName, kept: KeptPrechecks) -> Change:
    """A pass of the same code does not outlive that something was found wrong with it."""

    def change(record: GpuRecord) -> GpuRecord:
        if record.prechecked is None or record.prechecked.code.code != code.code:
            return record
        kept.withdrawn.append(impl)
        return replace(record, prechecked=None)

    return change
