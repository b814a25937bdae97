"""Reading one results file of asv (results version 2), with the ``benchmarks.json`` of its results folder.

Source: asv's developer documentation, "Benchmark suite layout and file formats". The results file names benchmarks and
their parameters; what they measure stands in benchmarks.json, which describes the newest suite: of a benchmark that has
gone since, the name says it, as to asv itself. ``null`` is asv's failed, NaN its n/a.
"""

from __future__ import annotations

import ast
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attnbench.errors import ResultsError
from attnbench.exchange.readers.foreign import Benchmark, Foreign, odd
from attnbench.exchange.readers.values import (
    ODD,
    UNKNOWN,
    damaged,
    kind_of,
    mapping,
    mapping_or_empty,
    no_benchmark,
    number,
    processor,
    sift,
    utc,
    whole,
    why,
)
from attnbench.exchange.writers.asv import RESULTS_VERSION
from attnbench.results.schema import Fingerprint, Hardware

TOOL = "asv"
BENCHMARKS = "benchmarks.json"
NO_SAMPLES = "single samples (keep them with asv run --record-samples)"
FAILED = ("crashed", "asv has it as failed; the file keeps no reason")
ABSENT = ("unsupported", "asv has it as n/a: its setup skipped it, or it was not selected")
MILLISECOND = 1e-3
KIB = 1024
# What a name begins with, of a function as of a class, and what asv then measures: its type and its unit.
PREFIXES = (
    ("timeraw", "time", "seconds"),
    ("time", "time", "seconds"),
    ("peakmem", "peakmemory", "bytes"),
    ("mem", "memory", "bytes"),
    ("track", "track", "unit"),
)
UNNAMED = f"it is not in {BENCHMARKS}, and its name does not say what it measures (time_, mem_, peakmem_, track_)"
Described = Mapping[str, Any]


def recognises(data: Any) -> bool:
    """Whether a JSON document is a results file of asv's."""
    return isinstance(data, Mapping) and {"commit_hash", "params", "results"} <= set(data)


def read(data: Mapping[str, Any], file: Path) -> Foreign:
    """The file, understood. Raises ``ResultsError`` that names what is wrong with it."""
    if data.get("version") != RESULTS_VERSION:
        said = data.get("version")
        msg = f"{file} is of asv's results version {said}; import reads version {RESULTS_VERSION}: asv update rewrites"
        raise ResultsError(msg + " older ones. Nothing was imported")
    warnings: list[str] = []
    described = _described(file, warnings)
    try:
        columns = list(data["result_columns"])
        lines = mapping(data["results"], "results").items()
        benchmarks = [each for name, line in lines for each in _of_line(name, line, columns, described, warnings)]
        fingerprint = _fingerprint(data, warnings)
        started = _started(data, columns)
    except ODD as error:
        damaged(file, TOOL, error)
    if not benchmarks:
        no_benchmark(file, warnings)
    unknown: tuple[str, ...] = (*UNKNOWN, "peak memory of a call", "threads", "which process a sample is of")
    unknown += ("the kernel", *([NO_SAMPLES] if any(benchmark.summary for benchmark in benchmarks) else []))
    return Foreign(TOOL, None, started, fingerprint, benchmarks, unknown=unknown, warnings=tuple(warnings))


def _described(file: Path, warnings: list[str]) -> Mapping[str, Any]:
    """What benchmarks.json says of every benchmark; it lies one folder above the results, or beside them."""
    folders = (file.absolute().parent.parent, file.absolute().parent)
    path = next((folder / BENCHMARKS for folder in folders if (folder / BENCHMARKS).is_file()), None)
    names_say = "What was measured is taken from the names of the benchmarks (time_, mem_, peakmem_, track_)"
    if path is None:
        where = f"is neither beside {file.name} nor one folder above; copy it there"
        warnings.append(f"the {BENCHMARKS} of its results folder, which says what was measured, {where}. {names_say}")
        return {}
    try:
        return mapping(json.loads(path.read_text(encoding="utf-8")), BENCHMARKS)
    except (OSError, *ODD) as error:
        warnings.append(f"{path} cannot be read: {why(error)}. {names_say}")
        return {}


def _of_line(
    name: str, line: Any, columns: Sequence[str], described: Mapping[str, Any], warnings: list[str]
) -> list[Benchmark]:
    """The benchmarks of one line of the results; where it cannot be understood, one that says why."""
    about = described.get(name)
    if not isinstance(about, Mapping):
        about = _named(name)
        if about and described:
            warnings.append(f"{name} is not in {BENCHMARKS}; by its name it is of type {about['type']}")
    if about is None:
        return [Benchmark(name, name, group=name, failure=("not-run", UNNAMED))]
    said: list[str] = []
    try:
        benchmarks = list(_benchmarks(name, _cells(line, columns), about, said))
    except ODD as error:
        return [Benchmark(name, name, group=name, observed=about.get("type") != "time", failure=odd(error))]
    warnings += said
    return benchmarks


def _named(name: str) -> Described | None:
    """What a benchmark measures by the last part of its name, as asv finds it: ``time_x``, or a class ``TimeX``."""
    last = name.rpartition(".")[2]
    for prefix, kind, unit in PREFIXES:
        if re.match(f"{prefix}_.|{prefix.capitalize().replace('Peakmem', 'PeakMem')}[A-Z_].", last):
            return {"type": kind, "unit": unit}
    return None


def _cells(line: Any, columns: Sequence[str]) -> dict[str, Any]:
    """A line of the results by the names of its columns; columns at its end that say nothing are left out of it."""
    if not isinstance(line, list):
        msg = f"its line is {kind_of(line)} and no list"
        raise TypeError(msg)
    if len(line) > len(columns):
        msg = f"its line has {len(line)} values for {len(columns)} columns"
        raise ValueError(msg)
    return dict(zip(columns, line, strict=False))


def _benchmarks(name: str, line: Mapping[str, Any], described: Described, warnings: list[str]) -> Iterator[Benchmark]:
    """A benchmark of asv is one of ours for each combination of its parameters."""
    grid = list(itertools.product(*([str(level) for level in levels] for levels in line.get("params") or [])))
    values = [None] * len(grid) if line["result"] is None else line["result"]
    if not isinstance(values, list) or len(values) != len(grid):
        count = len(values) if isinstance(values, list) else "no list of"
        msg = f"it has {count} results for {len(grid)} combinations of its parameters"
        raise ValueError(msg)
    names = _parameters(name, line.get("params") or [], described, warnings)
    beside = {key: value for key, value in line.items() if key in ("samples", *_STATS)}
    for key in [key for key, value in beside.items() if value is not None and not _fits(value, len(grid))]:
        warnings.append(f"{name}: its {key} do not fit its {len(grid)} combinations of parameters and are left out")
        del beside[key]
    for place, levels in enumerate(grid):
        numbers = {key: None if value is None else value[place] for key, value in beside.items()}
        label = f"{name}({', '.join(levels)})" if levels else name
        yield Benchmark(
            name=label,
            # asv compares a benchmark with itself only while its code, and so its version, stays.
            fullname=f"{label} {line.get('version') or ''}".strip(),
            group=name,
            params=dict(zip(names, map(_level, levels), strict=True)),
            **_measured(label, values[place], numbers, described, warnings),
        )


_STATS = ("stats_number", "stats_repeat")


def _fits(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count


def _parameters(name: str, params: Sequence[Any], described: Described, warnings: list[str]) -> list[str]:
    """The names of the parameters; where there are none, or others by now, asv's own: ``param1``, ``param2``."""
    names = described.get("param_names") or []
    if _fits(names, len(params)):
        return [str(parameter) for parameter in names]
    numbered = [f"param{place}" for place in range(1, len(params) + 1)]
    if names and numbered:  # of a benchmark that failed as a whole asv may keep none
        called = ", ".join(numbered)
        warnings.append(f"{name} has {len(params)} parameters, in {BENCHMARKS} {len(names)}: they are called {called}")
    return numbered


def _level(text: str) -> Any:
    """A parameter's value, which asv keeps as the text of its ``repr``."""
    for understood in (json.loads, ast.literal_eval):
        try:
            value = understood(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, (int, float, str)) else text
    return text.strip("'\"")


def _measured(
    label: str, value: Any, numbers: Mapping[str, Any], described: Described, warnings: list[str]
) -> dict[str, Any]:
    kind, unit = described.get("type", "value"), described.get("unit", "unit")
    timed = kind == "time" and unit == "seconds"
    if value is None:
        return {"failure": FAILED, "observed": not timed}
    if not isinstance(value, (int, float)):
        what = f"the text {value!r}" if isinstance(value, str) else json.dumps(value)
        return {"failure": ("not-run", f"its result is {what} and no number"), "observed": not timed}
    if math.isnan(value):
        return {"failure": ABSENT, "observed": not timed}
    return _timed(label, value, numbers, warnings) if timed else {"metrics": {f"{kind}_{unit}": float(value)}}


def _timed(label: str, value: float, numbers: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    """The samples of a benchmark, where the file keeps them, or what it says of them."""
    samples = numbers.get("samples")
    if samples and isinstance(samples, list):
        sifted = sift(samples)
        if sifted.reason:
            return {"failure": ("not-run", sifted.reason)}
        if sifted.left_out:
            warnings.append(f"{label}: {sifted.left_out}")
        return {"seconds": sifted.seconds, "calls": max(whole(numbers.get("stats_number")) or 1, 1)}
    if not 0 < value < math.inf:
        return {"failure": ("not-run", f"its result, {value} s, is no time")}
    count = max(whole(numbers.get("stats_repeat")) or 1, 1)
    return {"summary": {"n_samples": count, "n_bursts": count, "time_median_s": value}}


def _fingerprint(data: Mapping[str, Any], warnings: list[str]) -> Fingerprint:
    machine = mapping_or_empty(data.get("params"), "params", warnings)
    packages = mapping_or_empty(data.get("requirements"), "requirements", warnings)
    name = machine.get("machine") or "unknown"
    return Fingerprint(
        hardware=Hardware(
            architecture=str(machine.get("arch") or "unknown"),
            cpu_model=processor(machine.get("cpu"), name, "machine"),
            logical_cores=whole(machine.get("num_cpu")),
            memory_bytes=_memory(whole(machine.get("ram"))),
        ),
        # asv's own name of the machine is what tells two of a kind apart.
        kernel=f"{machine.get('os') or 'unknown'}, machine {name}",
        python=f"Python {data.get('python') or 'unknown'}",
        packages={str(key): str(value) for key, value in packages.items()},
        frameworks={TOOL: {"environment": str(data.get("env_name") or "unknown")}},
        git=str(data["commit_hash"])[:12],
    )


def _memory(ram: int | None) -> int | None:
    """The memory in bytes. On Linux, asv before 0.6 wrote KiB; no machine that runs it has less than a GiB."""
    return None if ram is None or ram < 0 else ram * KIB if ram < KIB**3 else ram


def _started(data: Mapping[str, Any], columns: Sequence[str]) -> str:
    """When the first benchmark started; the date of the file is that of the commit."""
    lines = (line for line in data["results"].values() if isinstance(line, list))
    starts = [number(dict(zip(columns, line, strict=False)).get("started_at")) for line in lines]
    known = [start for start in starts if start > 0] or [number(data.get("date"))]
    try:
        return utc(datetime.fromtimestamp(min(known) * MILLISECOND, UTC))
    except (OSError, *ODD):
        return utc(None)
