"""What was seen of an implementation on a GPU, or without one, in a few words; about older code never as of today's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from attnbench.backends import discover
from attnbench.precheck.question import ARCHITECTURES
from attnbench.tried.code import claims_gpu, is_code_of
from attnbench.tried.record import GpuPrecheck, GpuRecord, GpuRecordError, GpuRun, record_file, records_in

# ran: on a GPU, with the code of today. prechecked: the precheck found nothing wrong with the code of today. changed:
# one of both, with other code. never: neither. unreadable: the record is no record.
State = Literal["ran", "prechecked", "changed", "never", "unreadable"]
NEVER = "never tried"
CHANGED, THEN_CHANGED = "before its code changed", "then changed"
# The parts of a precheck for people; those that stand for more come first. Launches are no proof of anything.
PARTS = {
    "machine code": "machine code",
    "numerics": "numbers",
    "memory": "memory",
    "offsets": "offsets",
    "lowers": "lowering",
    "shapes": "shapes",
}
COMPUTED, CODE = "numerics", "machine code"
# What a kernel that was compiled is asked besides: what of it could not be told is said.
OF_A_KERNEL = (COMPUTED, "memory")
NAMED = 5


@dataclass(frozen=True)
class GpuMark:
    """``short`` is for a column, ``text`` for a line; ``record`` is all that was kept."""

    state: State
    short: str
    text: str
    record: GpuRecord

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"state": self.state, "short": self.short, "text": self.text, **self.record.to_dict()}


def mark(impl: str) -> GpuMark | None:
    """The mark of an announced implementation; ``None`` for one that claims no GPU."""
    if not claims_gpu(impl):
        return None
    file = record_file(impl)
    try:
        record = _records(file, _changed(file)).get(impl, GpuRecord()) if file is not None else GpuRecord()
    except GpuRecordError as error:
        return GpuMark("unreadable", "its record cannot be read", str(error), GpuRecord())
    return _marked(impl, record)


def marks() -> dict[str, GpuMark]:
    """The marks of all announced implementations that claim a GPU."""
    names = discover.implementation_names()
    return {name: mark_of_it for name in names if (mark_of_it := mark(name)) is not None}


def untried(impls: Iterable[str]) -> str | None:
    """A sentence about those of these that no GPU is known to have run as they are now; ``None`` where there are none.

    What is announced alone is looked up: of a file of somebody's own nobody keeps a record.
    """
    new = [name for name in dict.fromkeys(impls) if (of := mark(name)) is not None and of.state != "ran"]
    if not new:
        return None
    more = f" and {len(new) - NAMED} more" if len(new) > NAMED else ""
    return (
        f"not known to have run on a GPU as they are now: {', '.join(new[:NAMED])}{more}. Expect to find faults, and "
        "please report what you see"
    )


@cache
def _records(file: Path, _changed: int | None) -> dict[str, GpuRecord]:
    return records_in(file)


def _changed(file: Path | None) -> int | None:
    return file.stat().st_mtime_ns if file is not None and file.is_file() else None


def _marked(impl: str, record: GpuRecord) -> GpuMark:
    current = next((run for run in record.ran if is_code_of(impl, run.code)), None)
    if current is not None:
        failed = f", {current.failed} of {current.ok + current.failed} failed" if current.failed else ""
        return GpuMark("ran", f"ran on {current.device}{failed}", _of_run(current) + failed, record)
    before = f"; {_of_run(record.ran[0])}, {CHANGED}" if record.ran else ""
    prechecked = record.prechecked
    if prechecked is not None and is_code_of(impl, prechecked.code):
        return GpuMark("prechecked", f"prechecked{_only(prechecked)}", _of_precheck(prechecked) + before, record)
    if record.ran:
        return GpuMark("changed", f"ran on {record.ran[0].device}, {THEN_CHANGED}", before.removeprefix("; "), record)
    if prechecked is not None:
        return GpuMark("changed", f"prechecked, {THEN_CHANGED}", f"prechecked {prechecked.date}, {CHANGED}", record)
    return GpuMark("never", NEVER, NEVER, record)


def _of_run(run: GpuRun) -> str:
    return f"ran on {run.device} {run.date}"


def _of_precheck(prechecked: GpuPrecheck) -> str:
    return f"prechecked {prechecked.date}{_only(prechecked)}"


def _only(prechecked: GpuPrecheck) -> str:
    """What was told where nothing was computed, else what was not; and for which architectures, if not for all."""
    parts, archs = prechecked.parts, prechecked.architectures
    some = f" for {', '.join(archs)}" if CODE in parts and set(archs) != set(ARCHITECTURES) else ""
    if COMPUTED not in parts:
        return f"{some}: {', '.join(named(parts))} only"
    wanted = [*(OF_A_KERNEL if CODE in parts else ()), *prechecked.unknown]
    if untold := named([part for part in wanted if part not in parts and part != "lowers"]):
        return f"{some}: {', '.join(untold)} not told"
    return some


def named(parts: Sequence[str]) -> list[str]:
    """The parts of a precheck in the words that people read."""
    return [said for part, said in PARTS.items() if part in parts]
