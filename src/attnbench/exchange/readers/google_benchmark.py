"""Reading google-benchmark JSON: every repetition is a burst; where only aggregates were kept, their median is all.

Source: google-benchmark's user guide, "Output Formats", and its JSON reporter (schema 1). A run is ``iteration`` or
``aggregate``; its times are per iteration, in ``time_unit``; ``real_time`` is the wall clock, or what the benchmark
itself said with manual timing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from attnbench.exchange.readers.foreign import Benchmark, Foreign
from attnbench.exchange.readers.values import UNKNOWN, damaged, no_benchmark, processor, times, utc, whole
from attnbench.results.schema import Fingerprint, Hardware

TOOL = "google-benchmark"
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
KIB = 1024
# Parts of a name that say how was measured, not what.
SETTINGS = ("real_time", "process_time", "manual_time", "repeats", "iterations", "min_time", "min_warmup_time")
ONLY_AGGREGATES = "single repetitions (only aggregates were kept; leave --benchmark_report_aggregates_only out)"
ONCE = "variation (one repetition; measure with --benchmark_repetitions=10)"
Run = Mapping[str, Any]


def recognises(data: Any) -> bool:
    """Whether a JSON document is one of google-benchmark's."""
    if not isinstance(data, Mapping) or not {"context", "benchmarks"} <= set(data):
        return False
    context = data["context"]
    return isinstance(context, Mapping) and "num_cpus" in context


def read(data: Mapping[str, Any], file: Path) -> Foreign:
    """The file, understood. Raises ``ResultsError`` that names what is wrong with it."""
    context = data["context"]
    try:
        grouped: dict[str, list[Run]] = {}
        for run in data["benchmarks"]:
            grouped.setdefault(str(run.get("run_name") or run["name"]), []).append(run)
        benchmarks = [_benchmark(name, runs) for name, runs in grouped.items()]
        fingerprint = _fingerprint(context)
        date = context.get("date")
        started = utc(datetime.fromisoformat(date) if date else None)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        damaged(file, TOOL, error)
    if not benchmarks:
        no_benchmark(file)
    unknown: tuple[str, ...] = (
        *UNKNOWN,
        "peak memory",
        "the CPU's model",
        "how processes differ (all was one process)",
    )
    unknown += (ONLY_AGGREGATES,) if any(benchmark.summary for benchmark in benchmarks) else ()
    unknown += (ONCE,) if any(len(benchmark.seconds) == 1 for benchmark in benchmarks) else ()
    return Foreign(TOOL, context.get("library_version"), started, fingerprint, benchmarks, unknown=unknown)


def _benchmark(name: str, runs: Sequence[Run]) -> Benchmark:
    family, params = _named(name)
    known: dict[str, Any] = {"name": name, "fullname": name, "group": family, "params": params}
    known["threads"] = whole(runs[0].get("threads")) or 1
    for run in runs:
        if run.get("error_occurred"):
            return Benchmark(**known, failure=("crashed", f"it said: {run.get('error_message') or 'an error'}"))
        if run.get("skipped"):
            return Benchmark(
                **known, failure=("unsupported", f"skipped: {run.get('skip_message') or 'no reason given'}")
            )
    rounds = [run for run in runs if run.get("run_type", "iteration") == "iteration"]
    if not rounds:
        return Benchmark(**known, **_aggregated(name, runs))
    return Benchmark(
        **known,
        seconds=times((float(run["real_time"]) * _unit(run) for run in rounds), name),
        cpu_s=[float(run["cpu_time"]) * _unit(run) for run in rounds],
        calls=[max(int(run["iterations"]), 1) for run in rounds],
    )


def _aggregated(name: str, runs: Iterable[Run]) -> dict[str, Any]:
    """What is known of a benchmark of which only the aggregates were kept: the median of its repetitions."""
    for run in runs:
        if run.get("aggregate_name") == "median":
            seconds = times([float(run["real_time"]) * _unit(run)], name)[0]
            count = whole(run.get("repetitions")) or 1
            return {"summary": {"n_samples": count, "n_bursts": count, "time_median_s": seconds}}
    return {"failure": ("not-run", "the file has neither repetitions nor a median of it")}


def _unit(run: Run) -> float:
    unit = run.get("time_unit", "ns")
    if unit not in UNITS:
        msg = f"time_unit is {unit!r}; there are {', '.join(UNITS)}"
        raise ValueError(msg)
    return UNITS[unit]


def _named(name: str) -> tuple[str, dict[str, Any]]:
    """The family, and the arguments in the rest of the name: ``BM_Copy/8/threads:2`` has arg0 = 8 and threads = 2."""
    family, *parts = name.split("/")
    params: dict[str, Any] = {}
    for part in parts:
        key, colon, value = part.rpartition(":")
        if key in SETTINGS or part in SETTINGS:
            continue
        if colon:
            params[key] = _number(value)
        elif re.fullmatch(r"-?\d+", part):
            params[f"arg{sum(param.startswith('arg') for param in params)}"] = int(part)
        else:
            params["variant"] = part
    return family, params


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _fingerprint(context: Mapping[str, Any]) -> Fingerprint:
    """What the file says of the machine; without a CPU model, only the host's name tells two machines apart."""
    host = context.get("host_name")
    versions = {TOOL: str(context.get("library_version") or "unknown")}
    build = context.get("library_build_type")
    return Fingerprint(
        hardware=Hardware(
            architecture="unknown",
            cpu_model=processor(None, host),
            logical_cores=whole(context.get("num_cpus")),
            caches={_cache(cache): f"{int(cache['size']) // KIB}K" for cache in context.get("caches") or ()},
        ),
        kernel=f"unknown, of host {host}" if host else "unknown",
        python="none",
        governor="scaling" if context.get("cpu_scaling_enabled") else None,
        frameworks={TOOL: versions | ({"build": str(build)} if build else {})},
    )


def _cache(cache: Mapping[str, Any]) -> str:
    return f"L{cache['level']}" + {"Data": "d", "Instruction": "i"}.get(cache.get("type", ""), "")
