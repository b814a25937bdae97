"""Reading pyperf JSON: its runs are fresh processes, so they are our replicates; its values are our bursts.

Source: pyperf's documentation, "Metadata" and "JSON format" (a suite of benchmarks; metadata that all share stands
once, above them). Values are seconds per inner loop already. Files of 2016, formats 5 and 6, call values ``samples``,
what all runs share ``common_metadata``, and have the seconds of all loops together for a warm-up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from attnbench.errors import ResultsError
from attnbench.exchange.readers.foreign import Benchmark, Foreign, read_each
from attnbench.exchange.readers.values import (
    NO_DATE,
    UNKNOWN,
    Sifted,
    kind_of,
    mapping,
    mapping_or_empty,
    moment,
    no_benchmark,
    number,
    processor,
    sift,
    utc,
    whole,
)
from attnbench.results.schema import Fingerprint, Hardware

TOOL = "pyperf"
SECOND = "second"
FORMATS = (5, 6, "1.0")  # those that pyperf itself reads
Value = tuple[float, int, int, bool]  # seconds, loops, process, whether it is a warm-up


def recognises(data: Any) -> bool:
    """Whether a JSON document is one of pyperf's."""
    if not isinstance(data, Mapping) or not isinstance(data.get("benchmarks"), list) or "version" not in data:
        return False
    benchmarks = data["benchmarks"]
    return not benchmarks or any(isinstance(benchmark, Mapping) and "runs" in benchmark for benchmark in benchmarks)


def read(data: Mapping[str, Any], file: Path) -> Foreign:
    """The file, understood. Raises ``ResultsError`` that names what is wrong with it."""
    version = data["version"]
    if version not in FORMATS:
        msg = f"{file} is in pyperf's format {version!r}; those that can be read are {', '.join(map(str, FORMATS))}"
        raise ResultsError(msg)
    warnings: list[str] = []
    shared = mapping_or_empty(data.get("metadata"), "the metadata of all benchmarks", warnings)
    benchmarks = read_each(
        enumerate(data["benchmarks"], 1),
        lambda each: _benchmark(
            each[1], _name(each[0], each[1], shared), shared, warnings, together=version != FORMATS[-1]
        ),
        lambda each: (_name(each[0], each[1], shared),) * 2 if isinstance(each[1], Mapping) else None,
        warnings,
    )
    if not benchmarks:
        no_benchmark(file, warnings)
    started = _started(data["benchmarks"])
    known = {**shared, **next((metadata for each in data["benchmarks"] if (metadata := _own(each))), {})}
    return Foreign(
        TOOL,
        _text(known, "perf_version"),
        started or utc(None),
        _fingerprint(known),
        benchmarks,
        unknown=(*UNKNOWN, "peak memory", "threads", *(() if started else (NO_DATE,))),
        warnings=tuple(warnings),
    )


def _runs(benchmark: Any) -> Sequence[Mapping[str, Any]]:
    """The runs of a benchmark that are objects."""
    runs = benchmark.get("runs") if isinstance(benchmark, Mapping) else None
    return [run for run in runs if isinstance(run, Mapping)] if isinstance(runs, list) else []


def _metadata(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    values = (data.get(name) for name in names or ("metadata",))
    return dict(next((value for value in values if value and isinstance(value, Mapping)), {}))


def _name(number: int, benchmark: Any, shared: Mapping[str, Any]) -> str:
    return str({**shared, **_own(benchmark)}.get("name") or f"benchmark {number}")


def _own(benchmark: Any) -> dict[str, Any]:
    """The metadata of a benchmark; what all its runs share may stand in it, or in each of them."""
    if not isinstance(benchmark, Mapping):
        return {}
    runs = [_metadata(run) for run in _runs(benchmark)]
    first = runs[0] if runs else {}
    alike = {name: value for name, value in first.items() if all(run.get(name) == value for run in runs)}
    return alike | _metadata(benchmark, "metadata", "common_metadata")


def _text(metadata: Mapping[str, Any], name: str) -> str | None:
    value = metadata.get(name)
    return None if value is None else str(value)


def _benchmark(data: Any, name: str, shared: Mapping[str, Any], warnings: list[str], *, together: bool) -> Benchmark:
    runs = mapping(data, "it")["runs"]
    if not isinstance(runs, list):
        msg = f"its runs are {kind_of(runs)} and no list"
        raise TypeError(msg)
    metadata = {**shared, **_own(data)}
    if odd := len(runs) - len(_runs(data)):
        warnings.append(f"{name}: {odd} of {len(runs)} runs left out, which are no objects")
    values = list(_values(_runs(data), metadata, together=together))
    unit = metadata.get("unit") or SECOND
    counted = [value for value, *_, warmup in values if not warmup]
    if not counted:
        return Benchmark(name, name, failure=("not-run", "the file has no value of it, only calibrations"))
    if unit != SECOND:
        numbers = [value for value in counted if math.isfinite(value)]
        if not numbers:
            return Benchmark(
                name, name, observed=True, failure=("not-run", f"none of its values in {unit} is a number")
            )
        return Benchmark(name, name, metrics={f"median_{unit}": median(numbers)})
    return _timed(name, values, sift(counted), warnings)


def _timed(name: str, values: Sequence[Value], sifted: Sifted, warnings: list[str]) -> Benchmark:
    if sifted.reason:
        return Benchmark(name, name, failure=("not-run", sifted.reason))
    if sifted.left_out:
        warnings.append(f"{name}: {sifted.left_out}")
    kept = [values[place] for place in sift(value for value, *_ in values).places]
    return Benchmark(
        name=name,
        fullname=name,
        seconds=[value for value, *_ in kept],
        calls=[loops for _, loops, _, _ in kept],
        replicates=[process for *_, process, _ in kept],
        warmups=[warmup for *_, warmup in kept],
    )


def _values(runs: Sequence[Mapping[str, Any]], shared: Mapping[str, Any], *, together: bool) -> Iterator[Value]:
    """Every value in the order of the processes, warm-ups first, as pyperf measures them.

    ``together``: a warm-up has the seconds of all its loops.
    """
    for process, run in enumerate(runs):
        metadata = {**shared, **_metadata(run)}
        inner = metadata.get("inner_loops")
        for loops, value in _pairs(run.get("warmups")):
            calls = _calls(loops, inner)
            yield number(value) / (calls if together else 1), calls, process, True
        for value in run.get("values") or run.get("samples") or ():
            yield number(value), _calls(metadata.get("loops"), inner), process, False


def _calls(loops: Any, inner: Any) -> int:
    return max(whole(max(whole(loops) or 1, 1) * max(whole(inner) or 1, 1)) or 1, 1)


def _pairs(warmups: Any) -> Iterator[tuple[Any, Any]]:
    for each in warmups if isinstance(warmups, list) else ():
        if isinstance(each, list) and len(each) == 2:  # noqa: PLR2004  (loops and their value)
            yield each[0], each[1]


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


def _started(benchmarks: Sequence[Any]) -> str | None:
    """The earliest of its runs, which pyperf writes as local time without a zone."""
    dates = (_metadata(run).get("date") for benchmark in benchmarks for run in _runs(benchmark))
    moments = [known for date in dates if (known := moment(date))]
    return min(moments, default=None)
