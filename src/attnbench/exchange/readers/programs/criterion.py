"""Reading criterion (Rust): its folder, one file of it, or the messages of ``cargo criterion --message-format=json``.

Source: criterion.rs's user guide, and the files of its ``target/criterion``: ``GROUP/FUNCTION/VALUE/new`` holds
``benchmark.json`` (names), ``sample.json`` (``times`` in ns of ``iters`` iterations each) and ``estimates.json``.
Linear sampling runs more iterations in each sample, flat sampling the same number; either way a sample is a burst.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnbench.exchange.readers.entries import Entries, level, number_of, single, time_of
from attnbench.exchange.readers.foreign import Benchmark, Foreign
from attnbench.exchange.readers.opening import JsonLines
from attnbench.exchange.readers.units import SECONDS
from attnbench.exchange.readers.values import ODD, UNKNOWN, no_benchmark, number, utc
from attnbench.results.schema import Fingerprint, Hardware

TOOL = "criterion"
NEWEST = "new"  # criterion keeps the last measurement here, and in `base` that before it
NAMES, SAMPLE, ESTIMATES = "benchmark.json", "sample.json", "estimates.json"
COMPLETE, GROUP_COMPLETE = "benchmark-complete", "group-complete"
UNIT = "the unit (criterion's files do not say it; wall time in ns, its default, is taken)"
SINGLE = "single samples (import criterion's folder, which has them in sample.json)"
NOT_SAID = (
    "the machine",
    "when it was measured",
    "peak memory",
    "threads",
    "how processes differ (all was one process)",
)


def recognises(data: Any) -> bool:
    """Whether a folder, a JSON document or lines of JSON are of criterion's."""
    if isinstance(data, Path):
        return bool(_folders(data))
    if isinstance(data, JsonLines):
        return any(_is_message(document) for document in data.documents)
    return _is_message(data) or _is_estimates(data) or _is_sample(data)


def _is_message(data: Any) -> bool:
    if not isinstance(data, Mapping) or data.get("reason") not in (COMPLETE, GROUP_COMPLETE):
        return False
    return "id" in data or "group_name" in data


def _is_estimates(data: Any) -> bool:
    keys = {"mean", "median", "std_dev"}
    return isinstance(data, Mapping) and keys <= set(data) and "point_estimate" in _object(data["mean"])


def _is_sample(data: Any) -> bool:
    return isinstance(data, Mapping) and {"iters", "times"} <= set(data)


def _object(data: Any) -> Mapping[str, Any]:
    return data if isinstance(data, Mapping) else {}


def read(data: Any, file: Path) -> Foreign:
    """The benchmarks, understood. Raises ``ResultsError`` that names what is wrong with them."""
    entries = Entries()
    if isinstance(data, Path):
        folders = _folders(data)
        for folder in folders:
            entries.add(_place(folder, data), _of_folder, folder, data, entries)
    elif _is_estimates(data) or _is_sample(data):
        _of_file(data, file, entries)
    else:
        _of_messages(data.documents if isinstance(data, JsonLines) else [data], entries)
    benchmarks = entries.benchmarks
    if not benchmarks:
        no_benchmark(file, entries.warnings)
    unknown: tuple[str, ...] = (*UNKNOWN, *NOT_SAID)
    unknown += () if _says_units(data) else (UNIT,)
    unknown += (SINGLE,) if any(benchmark.summary for benchmark in benchmarks) else ()
    hardware = Hardware(architecture="unknown")
    fingerprint = Fingerprint(hardware=hardware, kernel="unknown", python="none", frameworks={TOOL: {}})
    return Foreign(TOOL, None, utc(None), fingerprint, benchmarks, unknown=unknown, warnings=tuple(entries.warnings))


def _says_units(data: Any) -> bool:
    return isinstance(data, JsonLines) or _is_message(data)


def _folders(data: Path) -> list[Path]:
    """The folders with a measurement: this one, or the newest of each benchmark below it."""
    if (data / SAMPLE).is_file() or (data / ESTIMATES).is_file():
        return [data]
    measured = {file.parent for name in (SAMPLE, ESTIMATES) for file in data.rglob(f"{NEWEST}/{name}")}
    return sorted(measured)


def _of_file(data: Mapping[str, Any], file: Path, entries: Entries) -> None:
    """One file of a measurement; beside it lies what names it, and perhaps its samples."""
    folder = file.absolute().parent
    whole = file.name in (SAMPLE, ESTIMATES) and (folder / NAMES).is_file()
    if whole:
        entries.add(_place(folder, folder), _of_folder, folder, folder, entries)
        return
    name = _place(folder, folder) if file.name in (SAMPLE, ESTIMATES) else file.stem
    entries.warn(f"{NAMES}, which names the benchmark, is not beside {file.name}; it is called {name}")
    entries.add(name, _alone, name, data, entries)


def _alone(name: str, data: Mapping[str, Any], entries: Entries) -> Benchmark:
    sample, estimates = (data, None) if _is_sample(data) else (None, data)
    return Benchmark(name=name, fullname=name, group=name, **_measured(name, sample, estimates, entries))


def _place(folder: Path, top: Path) -> str:
    """The name of a benchmark by its place, where no file says it."""
    measured = folder.parent if folder != top or folder.name in (NEWEST, "base") else folder
    try:
        return str(measured.relative_to(top)) if measured not in (top, top.parent) else measured.name
    except ValueError:
        return measured.name


def _of_folder(folder: Path, top: Path, entries: Entries) -> Benchmark:
    place = _place(folder, top)
    names = _object(_json(folder / NAMES, entries))
    full = str(names.get("full_id") or place)
    group, function, value = (names.get(key) for key in ("group_id", "function_id", "value_str"))
    known: dict[str, Any] = {"name": full, "fullname": full, "group": str(group or full)}
    known["params"] = _params(function, value)
    sample, estimates = (_json(folder / name, entries) for name in (SAMPLE, ESTIMATES))
    measured = _measured(full, sample, estimates, entries)
    amounts = _object(names.get("throughput"))
    numbers = {f"{kind.lower()}_per_iteration": number_of(amount) for kind, amount in amounts.items()}
    return Benchmark(**known, **measured | _metrics(measured, numbers))


def _metrics(measured: Mapping[str, Any], numbers: Mapping[str, float | None]) -> dict[str, Any]:
    more = {name: number for name, number in numbers.items() if number is not None}
    return {} if "failure" in measured or not more else {"metrics": dict(measured.get("metrics") or {}) | more}


def _params(function: Any, value: Any) -> dict[str, Any]:
    named = {} if function is None else {"function": str(function)}
    return named | ({} if value is None else {"value": level(value)})


def _json(path: Path, entries: Entries) -> Any:
    """A file of a measurement; ``None`` where it is absent, or cannot be read."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        entries.warn(f"{path.parent.parent.name}/{path.parent.name}/{path.name} cannot be read: {error}")
        return None


def _measured(name: str, sample: Any, estimates: Any, entries: Entries, unit: float = SECONDS["ns"]) -> dict[str, Any]:
    """Bursts where there are samples, else the median that was estimated of them."""
    if _is_sample(sample):
        rounds = _rounds(name, sample["iters"], sample["times"], entries, unit)
        if rounds is not None:
            return rounds
    try:
        point = _object(estimates)["median"]["point_estimate"]
    except ODD:
        return {"failure": ("not-run", "criterion's files have neither its samples nor the median of them")}
    seconds = time_of(point, unit)
    if seconds is None:
        return {"failure": ("not-run", f"the median of it is {point}, which is no time above 0")}
    return {"summary": single(seconds)}


def _rounds(
    name: str, iters: Sequence[Any], times: Sequence[Any], entries: Entries, unit: float
) -> dict[str, Any] | None:
    """What was measured in each sample; ``None`` where there is none."""
    if len(iters) != len(times):
        msg = f"it has {len(times)} times for {len(iters)} numbers of iterations"
        raise ValueError(msg)
    if not times:
        return None
    counts = [number(count) for count in iters]
    sifted = entries.sift(
        name, (number(time) / count if count > 0 else math.nan for time, count in zip(times, counts, strict=True)), unit
    )
    if sifted.reason:
        return {"failure": ("not-run", sifted.reason)}
    return {"seconds": sifted.seconds, "calls": [max(round(counts[place]), 1) for place in sifted.places]}


def _of_messages(documents: Sequence[Mapping[str, Any]], entries: Entries) -> None:
    groups = {
        str(name): str(document.get("group_name"))
        for document in documents
        if document.get("reason") == GROUP_COMPLETE
        for name in document.get("benchmarks") or ()
    }
    for place, document in enumerate(documents, 1):
        if document.get("reason") == COMPLETE:
            name = str(document.get("id") or f"benchmark {place}")
            entries.add(name, _of_message, name, document, groups, entries)


def _of_message(name: str, message: Mapping[str, Any], groups: Mapping[str, str], entries: Entries) -> Benchmark:
    group = groups.get(name) or name.partition("/")[0]
    parts = name.removeprefix(group).strip("/").split("/") if name != group else []
    known: dict[str, Any] = {"name": name, "fullname": name, "group": group}
    # The last part is the value where it is a number, as it mostly is; the message does not say which part is which.
    function = "/".join(parts[:-1] if parts and isinstance(level(parts[-1]), (int, float)) else parts) or None
    known["params"] = _params(function, parts[-1] if parts and isinstance(level(parts[-1]), (int, float)) else None)
    said = str(message.get("unit") or "ns")
    if said not in SECONDS:
        return Benchmark(**known, metrics={f"median_{said}": float(message["median"]["estimate"])})
    sample = {"iters": message.get("iteration_count") or (), "times": message.get("measured_values") or ()}
    estimates = {"median": {"point_estimate": _object(message.get("median")).get("estimate")}}
    measured = _measured(name, sample, estimates, entries, SECONDS[said])
    amounts = {
        f"{amount.get('unit', 'units')}_per_iteration": number_of(amount.get("per_iteration"))
        for amount in message.get("throughput") or ()
    }
    return Benchmark(**known, **measured | _metrics(measured, amounts))
