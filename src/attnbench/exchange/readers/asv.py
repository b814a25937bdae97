"""Reading one results file of asv (results version 2), with the ``benchmarks.json`` of its results folder.

Source: asv's developer documentation, "Benchmark suite layout and file formats". The results file names benchmarks and
their parameters; what they measure stands in benchmarks.json. ``null`` is asv's failed, NaN its n/a.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attnbench.errors import ResultsError
from attnbench.exchange.readers.foreign import Benchmark, Foreign
from attnbench.exchange.readers.values import UNKNOWN, damaged, mapping, no_benchmark, processor, times, utc, whole
from attnbench.exchange.writers.asv import RESULTS_VERSION
from attnbench.results.schema import Fingerprint, Hardware

TOOL = "asv"
BENCHMARKS = "benchmarks.json"
NO_SAMPLES = "single samples (keep them with asv run --record-samples)"
FAILED = ("crashed", "asv has it as failed; the file keeps no reason")
ABSENT = ("unsupported", "asv has it as n/a: its setup skipped it, or it was not selected")
MILLISECOND = 1e-3


def recognises(data: Any) -> bool:
    """Whether a JSON document is a results file of asv's."""
    return isinstance(data, Mapping) and {"commit_hash", "env_name", "results"} <= set(data)


def read(data: Mapping[str, Any], file: Path) -> Foreign:
    """The file, understood. Raises ``ResultsError`` that names what is wrong with it, or what is missing beside it."""
    if data.get("version") != RESULTS_VERSION:
        said = data.get("version")
        msg = f"{file} is of asv's results version {said}; import reads version {RESULTS_VERSION}: asv update rewrites"
        raise ResultsError(msg + " older ones. Nothing was imported")
    described = _described(file)
    try:
        columns = data["result_columns"]
        benchmarks = [
            benchmark
            for name, line in data["results"].items()
            for benchmark in _benchmarks(name, dict(zip(columns, line, strict=False)), described.get(name))
        ]
        fingerprint = _fingerprint(data)
        started = _started(data, columns)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        damaged(file, TOOL, error)
    if not benchmarks:
        no_benchmark(file)
    unknown: tuple[str, ...] = (
        *UNKNOWN,
        "peak memory of a call",
        "threads",
        "which process a sample is of",
        "the kernel",
    )
    unknown += (NO_SAMPLES,) if any(benchmark.summary for benchmark in benchmarks) else ()
    return Foreign(TOOL, None, started, fingerprint, benchmarks, unknown=unknown)


def _described(file: Path) -> Mapping[str, Any]:
    """What benchmarks.json says of every benchmark; it lies one folder above the results, or beside them."""
    for folder in (file.absolute().parent.parent, file.absolute().parent):
        path = folder / BENCHMARKS
        if not path.is_file():
            continue
        try:
            return mapping(json.loads(path.read_text(encoding="utf-8")), BENCHMARKS)
        except (OSError, ValueError, TypeError) as error:
            damaged(path, TOOL, error)
    msg = f"{file} is a results file of asv, and the {BENCHMARKS} of its results folder, which says what was measured, "
    raise ResultsError(msg + "is neither beside it nor one folder above; copy it there")


def _benchmarks(name: str, line: Mapping[str, Any], described: Mapping[str, Any] | None) -> Iterator[Benchmark]:
    """A benchmark of asv is one of ours for each combination of its parameters."""
    if described is None:
        msg = f"benchmark {name} is not in {BENCHMARKS}"
        raise ValueError(msg)
    grid = list(itertools.product(*(line.get("params") or [])))
    values = line["result"] if line["result"] is not None else [None] * len(grid)
    if len(values) != len(grid):
        msg = f"benchmark {name} has {len(values)} results for {len(grid)} combinations of its parameters"
        raise ValueError(msg)
    names = described.get("param_names") or []
    for number, levels in enumerate(grid):
        numbers = {key: _at(value, number) for key, value in line.items() if key in ("samples", *_STATS)}
        label = f"{name}({', '.join(levels)})" if levels else name
        yield Benchmark(
            name=label,
            # asv compares a benchmark with itself only while its code, and so its version, stays.
            fullname=f"{label} {line.get('version') or ''}".strip(),
            group=name,
            params=dict(zip(names, map(_level, levels), strict=True)),
            **_measured(label, values[number], numbers, described),
        )


_STATS = ("stats_number", "stats_repeat")


def _at(values: Sequence[Any] | None, number: int) -> Any:
    return None if values is None else values[number]


def _level(text: str) -> Any:
    """A parameter's value, which asv keeps as the text of its ``repr``."""
    try:
        value = json.loads(text)
    except ValueError:
        return text.strip("'\"")
    return value if isinstance(value, (int, float, str)) else text


def _measured(label: str, value: Any, numbers: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    if value is None:
        return {"failure": FAILED}
    if math.isnan(float(value)):
        return {"failure": ABSENT}
    if described.get("type") != "time" or described.get("unit") != "seconds":
        return {"metrics": {f"{described.get('type', 'value')}_{described.get('unit', 'unit')}": float(value)}}
    samples = numbers.get("samples")
    if samples:
        return {"seconds": times(samples, label), "calls": whole(numbers.get("stats_number")) or 1}
    count = whole(numbers.get("stats_repeat")) or 1
    return {"summary": {"n_samples": count, "n_bursts": count, "time_median_s": times([value], label)[0]}}


def _fingerprint(data: Mapping[str, Any]) -> Fingerprint:
    machine = mapping(data.get("params") or {}, "params")
    name = machine.get("machine") or "unknown"
    return Fingerprint(
        hardware=Hardware(
            architecture=machine.get("arch") or "unknown",
            cpu_model=processor(machine.get("cpu"), name, "machine"),
            logical_cores=whole(machine.get("num_cpu")),
            memory_bytes=whole(machine.get("ram")),
        ),
        # asv's own name of the machine is what tells two of a kind apart.
        kernel=f"{machine.get('os') or 'unknown'}, machine {name}",
        python=f"Python {data.get('python') or 'unknown'}",
        packages={str(key): str(value) for key, value in (data.get("requirements") or {}).items()},
        frameworks={TOOL: {"environment": str(data["env_name"])}},
        git=str(data["commit_hash"])[:12],
    )


def _started(data: Mapping[str, Any], columns: Sequence[str]) -> str:
    """When the first benchmark started; the date of the file is that of the commit."""
    lines = (dict(zip(columns, line, strict=False)) for line in data["results"].values())
    known = [line["started_at"] for line in lines if line.get("started_at")]
    moment = min(known) if known else data.get("date")
    return utc(None if moment is None else datetime.fromtimestamp(moment * MILLISECOND, UTC))
