"""The journal of a run: one JSON line per record, on disk before the next burst begins.

``kill -9`` loses at most the record in flight. Reading forgives a torn last line, which is what a killed writer
leaves, and nothing else: a damaged middle means that the file is not what was written.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, Self, get_args

from attnbench.errors import ResultsError
from attnbench.show import finite

RecordType = Literal["run", "cell", "samples", "event"]
RECORD_TYPES: tuple[str, ...] = get_args(RecordType)
# The event that says which implementations the suites of a run left out.
LEFT_OUT = "left_out"
# The event that says in sentences what a budget made otherwise than it usually is.
SHORTENED = "shortened"
# The event that names the code of all that a GPU can run, in a run that asks anything of one.
CODES = "codes"
# The event that says of a cell that its bursts of a replicate were audited in the process that timed them, and the one
# that says that they never were: those count nowhere.
STANDS, WITHDRAWN = "stands", "withdrawn"


@dataclass(frozen=True)
class JournalRecord:
    """One line: its type, its JSON-ready content, and the byte of the file at which it starts."""

    type: str
    data: Any
    at: int = field(default=0, compare=False)


class Journal:
    """Appends records to a file; every ``append`` is written, flushed and synced, or raises ``ResultsError``."""

    def __init__(self, path: Path, *, new: bool) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_APPEND | (os.O_CREAT | os.O_EXCL if new else 0)
        self._descriptor: int | None = None
        self._writing = threading.Lock()
        try:
            self._descriptor = os.open(path, flags, 0o644)
            self._claim()
            if not new:
                os.ftruncate(self._descriptor, intact_length(path))
        except FileExistsError as error:
            msg = f"{path} exists already; a journal is never overwritten"
            raise ResultsError(msg) from error
        except OSError as error:
            fail_writing(path, error)

    def _claim(self) -> None:
        """One writer at a time; the system frees the claim when the writer ends, however that comes about."""
        try:
            fcntl.flock(self._descriptor or 0, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            msg = f"{self.path} is being written by another process: that run is still going on. Wait for its end"
            raise ResultsError(msg) from error
        except OSError:  # a file system without locks
            return

    def append(self, kind: RecordType, data: Any) -> None:
        """Write one record of JSON-ready ``data``."""
        self.extend(kind, [data])

    def extend(self, kind: RecordType, records: Iterable[Any]) -> None:
        """Write several records and sync them once; from one thread at a time."""
        with self._writing:
            self._extend(kind, records)

    def _extend(self, kind: RecordType, records: Iterable[Any]) -> None:
        if self._descriptor is None:
            msg = f"{self.path} is closed; nothing more is written to it"
            raise ResultsError(msg)
        before = os.fstat(self._descriptor).st_size
        payload = b"".join(_line(kind, data) for data in records)
        try:
            self._write(payload)
            os.fsync(self._descriptor)
        except OSError as error:
            os.truncate(self.path, before)
            fail_writing(self.path, error)
        except BaseException:  # an interrupt: half a line must not stand before the next one
            if os.fstat(self._descriptor).st_size != before + len(payload):
                os.truncate(self.path, before)
            raise

    def _write(self, payload: bytes) -> None:
        rest = memoryview(payload)
        while rest:
            rest = rest[os.write(self._descriptor or 0, rest) :]

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class JsonText(str):
    """A record that is JSON already, and is written as it stands."""

    __slots__ = ()


def _line(kind: RecordType, data: Any) -> bytes:
    if isinstance(data, JsonText):
        return f'{{"type":"{kind}","data":{data}}}\n'.encode()
    try:
        text = _compactly({"type": kind, "data": data})
    except ValueError:  # something in it is NaN or infinite: most records have none, and are not gone through twice
        text = _compactly({"type": kind, "data": finite.replaced(data, finite.in_words)})
    return text.encode() + b"\n"


def _compactly(record: Any) -> str:
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def fail_writing(path: Path, error: OSError) -> NoReturn:
    """Raise the ``ResultsError`` that says in one line why ``path`` cannot be written, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        msg = f"the disk is full: {path} cannot grow. What is written so far is intact; free space, then use --resume"
    elif isinstance(error, (PermissionError, FileNotFoundError, NotADirectoryError)) or error.errno == errno.EROFS:
        msg = f"{path} cannot be written ({error.strerror}); name a folder that can be with --out DIR"
    else:
        msg = f"writing {path} failed: {error.strerror or error}"
    raise ResultsError(msg) from error


def intact_length(path: Path) -> int:
    """The length in bytes of the journal without a torn last line."""
    return path.read_bytes().rfind(b"\n") + 1


def read_journal(path: Path) -> Iterator[JournalRecord]:
    """The records of a journal, in order, one at a time; a torn last line is left out.

    Raises ``ResultsError`` where the file is missing, damaged, or not a journal.
    """
    at = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                yield _record(path, number, line, at)
                at += len(line)
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror})"
        raise ResultsError(msg) from error


def records_at(path: Path, places: Iterable[int]) -> Iterator[JournalRecord]:
    """The records that start at these bytes of a journal that was read, in the order of ``places``."""
    with path.open("rb") as file:
        for place in places:
            file.seek(place)
            yield _record(path, 0, file.readline(), place)


def seconds_by_suite(path: Path) -> dict[str, float]:
    """The wall time of each suite of a run, in all its parts; empty without a journal, or one from before this."""
    by_suite: dict[str, float] = {}
    for suite, seconds in (pair for event in _events(path, "spent") for pair in event.get("by_suite", {}).items()):
        by_suite[suite] = by_suite.get(suite, 0.0) + float(seconds)
    return by_suite


def withdrawn(path: Path) -> set[tuple[str, int]]:
    """The cells and replicates of a journal whose bursts count nowhere."""
    sign = json.dumps(WITHDRAWN).encode()
    with path.open("rb") as file:  # most journals have none, and are not parsed once more for it
        any_there = any(sign in line for line in file)
    return replicates_of(_events(path, WITHDRAWN), WITHDRAWN) if any_there else set()


def replicates_of(events: Iterable[Mapping[str, Any]], name: str) -> set[tuple[str, int]]:
    """The cells and replicates that events of this name are about."""
    return {(str(e["cell"]), int(e["replicate"])) for e in events if e.get("name") == name}


def left_out(path: Path) -> list[dict[str, Any]]:
    """What the suites of a run left out: groups of ``suite``, ``implementations`` and ``reason``; empty likewise."""
    return [group for event in _events(path, LEFT_OUT) for group in event.get("groups", ())]


def shortened(path: Path) -> list[str]:
    """What a budget made otherwise than it usually is, in sentences, in all parts of a run; empty likewise."""
    return list(dict.fromkeys(str(s) for event in _events(path, SHORTENED) for s in event.get("sentences", ())))


def codes_in(path: Path) -> dict[str, Mapping[str, str]]:
    """The name of the code that each implementation had in all parts of a run; without those that had two."""
    names: dict[str, list[Mapping[str, str]]] = {}
    for event in _events(path, CODES):
        for impl, code in event.get("implementations", {}).items():
            names.setdefault(impl, []).append(code)
    return {impl: codes[0] for impl, codes in names.items() if all(code == codes[0] for code in codes)}


def _events(path: Path, name: str) -> list[Mapping[str, Any]]:
    """The events of that name in a journal; none without one."""
    records = read_journal(path) if path.exists() else ()
    return [record.data for record in records if record.type == "event" and record.data.get("name") == name]


def _record(path: Path, number: int, line: bytes, at: int) -> JournalRecord:
    try:
        record = json.loads(line)
    except ValueError as error:
        msg = f"{path} is damaged: line {number} is not JSON; the folder is left untouched"
        raise ResultsError(msg) from error
    if not isinstance(record, Mapping) or set(record) != {"type", "data"} or record["type"] not in RECORD_TYPES:
        msg = f"{path} is damaged or not a journal of attnbench: line {number} is no {', '.join(RECORD_TYPES)} record"
        raise ResultsError(msg)
    return JournalRecord(record["type"], record["data"], at)
