"""Reading memray: captures, what pytest-memray says of those that it keeps, or the JSON of ``memray stats``.

Source: the documentation of memray and of pytest-memray. A capture (``.bin``) is read by the memray library and by
nothing else. pytest-memray writes beside them, in ``metadata/``, the peak of each test as JSON, which needs no library;
so does ``memray stats --json``. All of it is memory and no time, so every benchmark is observed. The report on the
terminal is rounded for people, and refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attnbench.errors import MissingExtraError, ResultsError
from attnbench.exchange.readers.entries import Entries, number_of
from attnbench.exchange.readers.foreign import Benchmark, Foreign
from attnbench.exchange.readers.opening import JsonLines
from attnbench.exchange.readers.values import UNKNOWN, no_benchmark, utc
from attnbench.results.schema import Fingerprint, Hardware

TOOL = "memray"
# A capture begins with memray's name, or is compressed (an LZ4 frame), as `memray run` leaves it.
MAGIC = (b"memray\0", b"\x04\x22\x4d\x18")
LONGEST = max(map(len, MAGIC))
CAPTURES, PEAKS, METADATA = "*.bin", "*.metadata", "metadata"
REPORT = "MEMRAY REPORT"
GROUP = "captures"
PEAK = "peak_memory_bytes"
NOT_SAID = ("the machine", "times", "threads")


def recognises(data: Any) -> bool:
    """Whether a folder, bytes, a JSON document or a text are of memray's."""
    if isinstance(data, Path):
        return bool(_peaks(data)) or any(_is_capture(file) for file in data.glob(CAPTURES))
    if isinstance(data, bytes):
        return data.startswith(MAGIC)
    if isinstance(data, str):
        return REPORT in data
    return not isinstance(data, JsonLines) and (_is_peak(data) or _is_stats(data))


def _is_peak(data: Any) -> bool:
    return isinstance(data, Mapping) and {"test_id", "peak_memory", "result_file"} <= set(data)


def _is_stats(data: Any) -> bool:
    return isinstance(data, Mapping) and {"total_num_allocations", "total_bytes_allocated", "metadata"} <= set(data)


def _is_capture(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(LONGEST).startswith(MAGIC)
    except OSError:
        return False


def _peaks(folder: Path) -> list[Path]:
    """What pytest-memray says of its captures: in the folder that was named to it, or in ``metadata`` below it."""
    return sorted({*folder.glob(PEAKS), *(folder / METADATA).glob(PEAKS)})


def read(data: Any, file: Path) -> Foreign:
    """The peaks, understood. Raises ``ResultsError``, and ``MissingExtraError`` where memray itself is needed."""
    if isinstance(data, str):
        msg = f"{file} is the report of pytest-memray for people, with rounded sizes, and is not read; keep what it is "
        raise ResultsError(msg + "made of: pytest --memray --memray-bin-path=DIR, then attnbench import DIR")
    entries, started = Entries(), None
    if isinstance(data, Path):
        _of_folder(data, entries)
    elif isinstance(data, bytes):
        started = _of_capture(file, entries)
    elif _is_stats(data):
        started = _of_stats(data, file, entries)
    else:
        entries.add(str(data["test_id"]), _of_peak, data)
    benchmarks = entries.benchmarks
    if not benchmarks:
        no_benchmark(file, entries.warnings)
    unknown = (*UNKNOWN, *NOT_SAID, *(() if started else ("when it was measured",)))
    fingerprint = Fingerprint(
        hardware=Hardware(architecture="unknown"), kernel="unknown", python="unknown", frameworks={TOOL: {}}
    )
    return Foreign(TOOL, None, utc(started), fingerprint, benchmarks, unknown=unknown, warnings=tuple(entries.warnings))


def _of_folder(folder: Path, entries: Entries) -> None:
    """What pytest-memray wrote of each test; captures of which it wrote nothing are read by the library."""
    peaks = _peaks(folder)
    for path in peaks:
        entries.add(path.stem, _of_peak_file, path)
    said = {path.stem for path in peaks}
    for path in sorted(folder.glob(CAPTURES)):
        if path.stem in said or not _is_capture(path):
            continue
        try:
            _of_capture(path, entries)
        except MissingExtraError as error:
            entries.benchmarks.append(Benchmark(path.stem, path.stem, GROUP, failure=("not-run", str(error))))


def _of_peak_file(path: Path) -> Benchmark:
    return _of_peak(json.loads(path.read_text(encoding="utf-8")))


def _of_peak(data: Mapping[str, Any]) -> Benchmark:
    name = str(data["test_id"])
    return Benchmark(name, name, name.partition("::")[0], metrics={PEAK: float(data["peak_memory"])})


def _of_capture(path: Path, entries: Entries) -> datetime | None:
    """A capture by itself: its file's name, without the ending, names it."""
    try:
        import memray
    except ImportError as error:
        what = f"{path} is a capture of memray, which only memray itself can read; attnbench import"
        raise MissingExtraError(what, None, "memray") from error
    try:
        with memray.FileReader(path) as reader:
            known = reader.metadata
    except (OSError, RuntimeError, ValueError) as error:
        reason = f"memray cannot read it: {error}"
        entries.benchmarks.append(Benchmark(path.stem, path.stem, GROUP, failure=("not-run", reason)))
        return None
    numbers = {PEAK: float(known.peak_memory), "total_allocations": float(known.total_allocations)}
    numbers["traced_s"] = (known.end_time - known.start_time).total_seconds()
    entries.benchmarks.append(Benchmark(path.stem, path.stem, GROUP, metrics=numbers))
    # memray gives local time without a zone.
    return known.start_time.astimezone(UTC) if known.start_time else None


def _of_stats(data: Mapping[str, Any], file: Path, entries: Entries) -> datetime | None:
    """``memray stats --json``: a command, its peak, and what it allocated in all."""
    about = data["metadata"] if isinstance(data["metadata"], Mapping) else {}
    name = str(about.get("command_line") or file.stem)
    numbers = {
        PEAK: number_of(about.get("peak_memory")),
        "total_allocations": number_of(data["total_num_allocations"]),
        "total_bytes_allocated": number_of(data["total_bytes_allocated"]),
    }
    metrics = {key: number for key, number in numbers.items() if number is not None}
    failure = None if metrics else ("not-run", "its statistics hold no number")
    entries.benchmarks.append(Benchmark(name, name, "commands", metrics=metrics, failure=failure))
    try:
        return datetime.fromisoformat(str(about.get("start_time")))
    except ValueError:
        return None
