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
from attnbench.exchange.readers.values import UNKNOWN, damaged, no_benchmark, times, utc, whole
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
        for one in data["benchmarks"]:
            grouped.setdefault(str(one.get("run_name") or one["name"]), []).append(one)
        found = [_benchmark(name, runs) for name, runs in grouped.items()]
        fingerprint = _fingerprint(context)
        date = context.get("date")
        started = utc(datetime.fromisoformat(date) if date else None)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        damaged(file, TOOL, error)
    if not found:
        no_benchmark(file)
    unknown: tuple[str, ...] = (
        *UNKNOWN,
        "peak memory",
        "the CPU's model",
        "how processes differ (all was one process)",
    )
    unknown += (ONLY_AGGREGATES,) if any(one.summary for one in found) else ()
    unknown += (ONCE,) if any(len(one.seconds) == 1 for one in found) else ()
    return Foreign(TOOL, context.get("library_version"), started, fingerprint, found, unknown=unknown)


def _benchmark(name: str, runs: Sequence[Run]) -> Benchmark:
    family, params = _named(name)
    own: dict[str, Any] = {"name": name, "fullname": name, "group": family, "params": params}
    own["threads"] = whole(runs[0].get("threads")) or 1
    for one in runs:
        if one.get("error_occurred"):
            return Benchmark(**own, failure=("crashed", f"it said: {one.get('error_message') or 'an error'}"))
        if one.get("skipped"):
            return Benchmark(**own, failure=("unsupported", f"skipped: {one.get('skip_message') or 'no reason given'}"))
    rounds = [one for one in runs if one.get("run_type", "iteration") == "iteration"]
    if not rounds:
        return Benchmark(**own, **_aggregated(name, runs))
    return Benchmark(
        **own,
        seconds=times((float(one["real_time"]) * _unit(one) for one in rounds), name),
        cpu_s=[float(one["cpu_time"]) * _unit(one) for one in rounds],
        calls=[max(int(one["iterations"]), 1) for one in rounds],
    )


def _aggregated(name: str, runs: Iterable[Run]) -> dict[str, Any]:
    """What is known of a benchmark of which only the aggregates were kept: the median of its repetitions."""
    for one in runs:
        if one.get("aggregate_name") == "median":
            seconds = times([float(one["real_time"]) * _unit(one)], name)[0]
            count = whole(one.get("repetitions")) or 1
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
            params[f"arg{sum(one.startswith('arg') for one in params)}"] = int(part)
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
            logical_cores=whole(context.get("num_cpus")),
            caches={_cache(one): f"{int(one['size']) // KIB}K" for one in context.get("caches") or ()},
        ),
        kernel=f"unknown, of host {host}" if host else "unknown",
        python="none",
        governor="scaling" if context.get("cpu_scaling_enabled") else None,
        frameworks={TOOL: versions | ({"build": str(build)} if build else {})},
    )


def _cache(one: Mapping[str, Any]) -> str:
    return f"L{one['level']}" + {"Data": "d", "Instruction": "i"}.get(one.get("type", ""), "")
