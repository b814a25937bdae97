"""What was seen of implementations that claim a GPU, in ``gpu_record.json`` beside their code.

Commands write the file, and nobody else: ``attnbench precheck --record`` and ``attnbench report --record``. Every entry
has the name of the code that it is about (``code``), so that it says nothing of other code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from attnbench.backends.card import GPU_RECORD
from attnbench.errors import AttnbenchError, not_one_of
from attnbench.tried.code import CodeName, package_of

FILE = GPU_RECORD
ABOUT = "Written by attnbench precheck --record and attnbench report --record, and by nobody else."


class GpuRecordError(AttnbenchError):
    """A file that holds no record as ``text`` writes them."""


@dataclass(frozen=True)
class GpuPrecheck:
    """A precheck in which nothing was wrong: the parts that were told, and those that were not, or not wholly.

    ``architectures`` are those that machine code was made for.
    """

    date: str
    architectures: tuple[str, ...]
    parts: tuple[str, ...]
    unknown: tuple[str, ...]
    versions: Mapping[str, str]
    code: CodeName


@dataclass(frozen=True)
class GpuRun:
    """Cells of runs, and rows of checks, that a GPU computed: ``ok`` agreed with the oracle, and ``failed`` did not.

    ``source`` names the runs, ``suites`` what was asked: the suites of the cells, and ``check``.
    """

    device: str
    date: str
    driver: str
    versions: Mapping[str, str]
    source: str
    suites: tuple[str, ...]
    ok: int
    failed: int
    code: CodeName


@dataclass(frozen=True)
class GpuRecord:
    """All of one implementation, the newest run first, one for each GPU and code."""

    prechecked: GpuPrecheck | None = None
    ran: tuple[GpuRun, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "prechecked": None if self.prechecked is None else asdict(self.prechecked),
            "ran": [asdict(run) for run in self.ran],
        }


def record_file(impl: str) -> Path | None:
    """Where the record of an implementation is, or would be."""
    folder = package_of(impl)
    return None if folder is None else folder / FILE


def records_in(file: Path) -> dict[str, GpuRecord]:
    """The records in a file by implementation; none where there is no file. ``GpuRecordError`` says what is wrong."""
    if not file.is_file():
        return {}
    try:
        data = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong(file, f"it is not JSON: {error}") from error
    entries = data.get("implementations") if isinstance(data, dict) else None
    if not isinstance(entries, dict):
        raise _wrong(file, 'it has no object "implementations"')
    return {name: _record(entry, f"its entry {name!r}", file) for name, entry in entries.items()}


def text(records: Mapping[str, GpuRecord]) -> str:
    """The file of these records."""
    entries = {name: record.to_dict() for name, record in sorted(records.items())}
    return json.dumps({"about": ABOUT, "implementations": entries}, indent=2, ensure_ascii=False) + "\n"


def _record(entry: Any, where: str, file: Path) -> GpuRecord:
    known = ("prechecked", "ran")
    if not isinstance(entry, dict) or not set(entry) <= set(known):
        raise _wrong(file, f"{where} is no object of {' and '.join(known)}")
    prechecked, ran = entry.get("prechecked"), entry.get("ran", [])
    if not isinstance(ran, list):
        raise _wrong(file, f"{where} has no list of runs: {ran!r}")
    return GpuRecord(
        None if prechecked is None else _parsed(GpuPrecheck, prechecked, where, file),
        tuple(_parsed(GpuRun, run, where, file) for run in ran),
    )


Entry = TypeVar("Entry", GpuPrecheck, GpuRun, CodeName)


def _parsed(kind: type[Entry], data: Any, where: str, file: Path) -> Entry:
    """One entry; every field is there, of its kind, and no other."""
    names = [field.name for field in fields(kind)]
    if not isinstance(data, dict):
        raise _wrong(file, f"{where} holds {data!r} in the place of {', '.join(names)}")
    for name in data:
        if name not in names:
            raise _wrong(file, f"{where}: {not_one_of('key', name, names)}")
    values: dict[str, Any] = {}
    for name in names:
        if name not in data:
            raise _wrong(file, f"{where} lacks the key {name!r}")
        if name == "code" and kind is not CodeName:
            values[name] = _parsed(CodeName, data[name], where, file)
            continue
        right, made = KINDS.get(name, (_is_text, str))
        if not right(data[name]):
            raise _wrong(file, f"{where} has {data[name]!r} for {name!r}")
        values[name] = made(data[name])
    return kind(**values)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_date(value: Any) -> bool:
    try:
        return _is_text(value) and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _is_versions(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


KINDS: Mapping[str, tuple[Callable[[Any], bool], Callable[[Any], Any]]] = {
    "date": (_is_date, str),
    "versions": (_is_versions, dict),
    "ok": (_is_count, int),
    "failed": (_is_count, int),
    **dict.fromkeys(("architectures", "parts", "unknown", "suites"), (_is_texts, tuple)),
}


def _wrong(file: Path, what: str) -> GpuRecordError:
    return GpuRecordError(f"{file} is no record of GPUs: {what}; take it back from git (git checkout -- {file})")
