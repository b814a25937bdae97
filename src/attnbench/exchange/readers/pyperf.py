"""Reading pyperf JSON: its runs are fresh processes, so they are our replicates; its values are our bursts.

Source: pyperf's documentation, "Metadata" and "JSON format" (a suite of benchmarks; metadata that all share stands
once, above them). Values are seconds per inner loop already. Files of 2016, formats 5 and 6, call values ``samples``,
what all runs share ``common_metadata``, and have the seconds of all loops together for a warm-up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from attnbench.errors import ResultsError
from attnbench.exchange.readers.foreign import Benchmark, Foreign
from attnbench.exchange.readers.values import UNKNOWN, damaged, mapping, no_benchmark, processor, times, utc, whole
from attnbench.results.schema import Fingerprint, Hardware

TOOL = "pyperf"
SECOND = "second"
FORMATS = (5, 6, "1.0")  # those that pyperf itself reads
Value = tuple[float, int, int, bool]  # seconds, loops, process, whether it is a warm-up


def recognises(data: Any) -> bool:
    """Whether a JSON document is one of pyperf's."""
    if not isinstance(data, Mapping) or not isinstance(data.get("benchmarks"), list) or "version" not in data:
        return False
    return all(isinstance(benchmark, Mapping) and "runs" in benchmark for benchmark in data["benchmarks"])


def read(data: Mapping[str, Any], file: Path) -> Foreign:
    """The file, understood. Raises ``ResultsError`` that names what is wrong with it."""
    shared, version = data.get("metadata") or {}, data["version"]
    if version not in FORMATS:
        msg = f"{file} is in pyperf's format {version!r}; those that can be read are {', '.join(map(str, FORMATS))}"
        raise ResultsError(msg)
    try:
        benchmarks = [
            _benchmark(benchmark, shared, number, version) for number, benchmark in enumerate(data["benchmarks"])
        ]
        known = [{**mapping(shared, "its metadata"), **_own(benchmark)} for benchmark in data["benchmarks"]]
        if not benchmarks:
            no_benchmark(file)
        fingerprint = _fingerprint(known[0])
        started = _started(data["benchmarks"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        damaged(file, TOOL, error)
    unknown = (*UNKNOWN, "peak memory", "threads")
    return Foreign(TOOL, _text(known[0], "perf_version"), started, fingerprint, benchmarks, unknown=unknown)


def _own(benchmark: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a benchmark; what all its runs share may stand in it, or in each of them."""
    runs = [run.get("metadata") or {} for run in benchmark["runs"]]
    first = dict(runs[0]) if runs else {}
    alike = {name: value for name, value in first.items() if all(run.get(name) == value for run in runs)}
    return alike | dict(benchmark.get("metadata") or benchmark.get("common_metadata") or {})


def _text(metadata: Mapping[str, Any], name: str) -> str | None:
    value = metadata.get(name)
    return None if value is None else str(value)


def _benchmark(data: Mapping[str, Any], shared: Mapping[str, Any], number: int, version: int | str) -> Benchmark:
    metadata = {**shared, **_own(data)}
    name = str(metadata.get("name") or f"benchmark {number + 1}")
    values = list(_values(data["runs"], metadata, together=version != FORMATS[-1]))
    unit = metadata.get("unit", SECOND)
    if not any(not warmup for *_, warmup in values):
        return Benchmark(name, name, failure=("not-run", "the file has no value of it, only calibrations"))
    if unit != SECOND:
        counted = [float(value) for value, *_, warmup in values if not warmup]
        return Benchmark(name, name, metrics={f"median_{unit}": median(counted)})
    return Benchmark(
        name=name,
        fullname=name,
        seconds=times((value for value, *_ in values), name),
        calls=[loops for _, loops, _, _ in values],
        replicates=[process for *_, process, _ in values],
        warmups=[warmup for *_, warmup in values],
    )


def _values(runs: Sequence[Mapping[str, Any]], shared: Mapping[str, Any], *, together: bool) -> Iterator[Value]:
    """Every value in the order of the processes, warm-ups first, as pyperf measures them.

    ``together``: a warm-up has the seconds of all its loops.
    """
    for process, run in enumerate(runs):
        metadata = {**shared, **(run.get("metadata") or {})}
        inner = whole(metadata.get("inner_loops")) or 1
        for loops, value in run.get("warmups") or ():
            calls = max(int(loops), 1) * inner
            yield float(value) / (calls if together else 1), calls, process, True
        for value in run.get("values") or run.get("samples") or ():
            yield float(value), (whole(metadata.get("loops")) or 1) * inner, process, False


def _fingerprint(metadata: Mapping[str, Any]) -> Fingerprint:
    platform = str(metadata.get("platform") or "unknown")
    host = metadata.get("hostname")
    names = ("x86_64", "aarch64", "arm64", "AMD64", "i686")
    return Fingerprint(
        hardware=Hardware(
            architecture=next((name for name in names if name in platform), "unknown"),
            cpu_model=processor(metadata.get("cpu_model_name"), host),
            logical_cores=whole(metadata.get("cpu_count")),
        ),
        kernel=platform,
        python=f"{metadata.get('python_implementation', 'Python')} {metadata.get('python_version', 'unknown')}",
        governor=_text(metadata, "cpu_config"),
        frameworks={TOOL: {TOOL: str(metadata.get("perf_version") or "unknown")}},
    )


def _started(benchmarks: Sequence[Mapping[str, Any]]) -> str:
    """The earliest of its runs; pyperf writes local time without a zone."""
    dates = [
        datetime.fromisoformat(str((run.get("metadata") or {})["date"]))
        for benchmark in benchmarks
        for run in benchmark["runs"]
        if (run.get("metadata") or {}).get("date")
    ]
    return utc(min(dates) if dates else None)
