"""Reading google-benchmark JSON of all its ages: every repetition is a burst; of aggregates alone the median is all.

Source: google-benchmark's user guide, "Output Formats", its JSON reporter (schema 1) and, for names, ``BenchmarkName``.
A run is ``iteration`` or ``aggregate``; before 2019 there was no ``run_type``, and aggregates are known by the end of
their name. Times are per iteration, in ``time_unit``; ``real_time`` is the wall clock, or what the benchmark itself
said with manual timing. ``BigO`` and ``RMS`` are a fit over the sizes of a family, and no benchmark.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from attnbench.exchange.readers.foreign import Benchmark, Foreign, odd
from attnbench.exchange.readers.values import (
    NO_DATE,
    ODD,
    UNKNOWN,
    damaged,
    instant,
    mapping,
    mapping_or_empty,
    no_benchmark,
    number,
    processor,
    sift,
    whole,
    why,
)
from attnbench.results.schema import Fingerprint, Hardware

TOOL = "google-benchmark"
UNITS = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0}  # of them in a second
KIB = 1024
OLD_DATE = "%Y/%m/%d-%H:%M:%S"  # until 2016
# What is at the end of a name and says how was measured, not what; threads stand there, too, and are an axis.
SETTING = re.compile(r"real_time|process_time|manual_time|(repeats|iterations|min_time|min_warmup_time):[\d.]+s?")
THREADS = re.compile(r"threads:(\d+)")
LEVEL = re.compile(r"([^:]+):([^:]+)")
ADDED = ("mean", "median", "stddev", "cv")  # what stands behind a name, and makes it one of an aggregate
FITS = ("BigO", "RMS")
# What every run has; other numbers in it are counters.
FIELDS = (
    "family_index",
    "per_family_instance_index",
    "repetitions",
    "repetition_index",
    "threads",
    "iterations",
    "real_time",
    "cpu_time",
    "max_bytes_used",
)
PEAK = {"source": "google-benchmark's memory manager: the heap of all the benchmark does, its preparation with it"}
MEMORY = ("allocs_per_iter", "total_allocated_bytes", "net_heap_growth")
NOT_SET = 2**60  # more than there is: what stands in numbers of memory that nobody set
ONLY_AGGREGATES = "single repetitions (only aggregates were kept; leave --benchmark_report_aggregates_only out)"
ONCE = "variation (one repetition; measure with --benchmark_repetitions=10)"
Run = Mapping[str, Any]


def recognises(data: Any) -> bool:
    """Whether a JSON document is one of google-benchmark's."""
    if not isinstance(data, Mapping) or not isinstance(data.get("benchmarks"), list):
        return False
    context = data.get("context")
    if isinstance(context, Mapping) and {"num_cpus", "mhz_per_cpu", "library_build_type"} & set(context):
        return True
    runs = [run for run in data["benchmarks"] if isinstance(run, Mapping)]  # some keep the benchmarks and no context
    return any({"name", "real_time", "cpu_time"} <= set(run) or {"name", "run_type"} <= set(run) for run in runs)


def read(data: Mapping[str, Any], file: Path) -> Foreign:
    """The file, understood. Raises ``ResultsError`` that names what is wrong with it."""
    warnings: list[str] = []
    context = mapping_or_empty(data.get("context"), "context", warnings)
    try:
        grouped = _grouped(data["benchmarks"], warnings)
        benchmarks = [known for (name, _), runs in grouped.items() if (known := _benchmark(name, runs, warnings))]
        fingerprint = _fingerprint(context)
    except ODD as error:
        damaged(file, TOOL, error)
    if not benchmarks:
        no_benchmark(file, warnings)
    unknown: tuple[str, ...] = UNKNOWN
    unknown += () if any("peak_bytes" in benchmark.beside for benchmark in benchmarks) else ("peak memory",)
    unknown += ("the CPU's model", "how processes differ (all was one process)")
    unknown += (ONLY_AGGREGATES,) if any(benchmark.summary for benchmark in benchmarks) else ()
    unknown += (ONCE,) if any(len(benchmark.seconds) == 1 for benchmark in benchmarks) else ()
    unknown += () if context.get("date") else (NO_DATE,)
    version = None if context.get("library_version") is None else str(context["library_version"])
    started = instant(context.get("date"), warnings, OLD_DATE)
    return Foreign(TOOL, version, started, fingerprint, benchmarks, unknown=unknown, warnings=tuple(warnings))


def _grouped(runs: Iterable[Any], warnings: list[str]) -> dict[tuple[str, Any], list[Run]]:
    """The runs of every benchmark, by its name and by where it was registered: two may have one name."""
    known: list[tuple[str, Run]] = []
    for place, run in enumerate(runs, 1):
        try:
            known.append((_name_of(mapping(run, "it")), run))
        except ODD as error:
            warnings.append(f"entry {place} of its benchmarks was left out: {why(error)}")
    old = _old_aggregates([(name, run) for name, run in known if "run_type" not in run])
    grouped: dict[tuple[str, Any], list[Run]] = {}
    for name, run in known:
        of, aggregate = old[name] if "run_type" not in run and name in old else (name, None)
        whole_run = {**run, "run_type": "aggregate", "aggregate_name": aggregate} if aggregate else run
        instance = (str(run.get("family_index")), str(run.get("per_family_instance_index")))
        grouped.setdefault((of, instance), []).append(whole_run)
    return grouped


def _name_of(run: Run) -> str:
    """The name of the benchmark, which that of an aggregate has at its beginning."""
    if run.get("run_name"):
        return str(run["run_name"])
    if not run.get("name"):
        raise KeyError("name")
    aggregate = run.get("aggregate_name")
    return str(run["name"]).removesuffix(f"_{aggregate}" if aggregate else "")


def _old_aggregates(runs: Sequence[tuple[str, Run]]) -> dict[str, tuple[str, str]]:
    """Of a file without ``run_type``: which names are aggregates, of which benchmark, and which of them.

    An aggregate is made of two repetitions or more and stands behind them, once. Its name alone is not enough: a
    benchmark may be called ``BM_mean``.
    """
    counts, known = Counter(name for name, _ in runs), dict[str, tuple[str, str]]()
    repeated = ""
    for name, run in runs:
        of, _, added = name.rpartition("_")
        fit = added in FITS and ("real_time" not in run or "rms" in run or "big_o" in run)
        aggregate = added in ADDED and (counts[name] < counts[of] or (not counts[of] and _both(of, counts)))
        if fit or aggregate:
            known[name] = (of, added)
        elif counts[name] > 1:
            repeated = name
        elif repeated and name.startswith(f"{repeated}_") and f"{repeated}_mean" in known:
            known[name] = (repeated, name.removeprefix(f"{repeated}_"))  # a statistic of the user's own
        else:
            repeated = ""
    return known


def _both(of: str, counts: Mapping[str, int]) -> bool:
    """Whether there are aggregates of a benchmark without its repetitions; ever since 2015 there were two or more."""
    return f"{of}_mean" in counts and (f"{of}_stddev" in counts or f"{of}_median" in counts)


def _benchmark(name: str, runs: Sequence[Run], warnings: list[str]) -> Benchmark | None:
    """One benchmark, or ``None`` where its runs are a fit over a family and no times."""
    family, params = _named(name)
    labels = {str(run["label"]) for run in runs if run.get("label")}
    params |= {_unused("label", params): labels.pop()} if len(labels) == 1 else {}
    known = Benchmark(name=name, fullname=name, group=family, params=params)
    try:
        threads = whole(runs[0].get("threads")) or whole(params.get("threads")) or 1
        known = replace(known, threads=max(threads, 1))
        rounds = [run for run in runs if run.get("run_type", "iteration") != "aggregate"]
        if failure := _failure(runs):
            return replace(known, failure=failure)
        if not rounds:
            aggregated = _aggregated([run for run in runs if run.get("aggregate_name") not in FITS])
            return replace(known, **aggregated) if aggregated else None
        return replace(known, **_timed(name, rounds, warnings), beside=_beside(rounds))
    except ODD as error:
        return replace(known, failure=odd(error))


def _failure(runs: Iterable[Run]) -> tuple[str, str] | None:
    for run in runs:
        if run.get("error_occurred"):
            return "crashed", f"it said: {run.get('error_message') or 'an error'}"
        if run.get("skipped"):
            return "unsupported", f"skipped: {run.get('skip_message') or 'no reason given'}"
    return None


def _timed(name: str, rounds: Sequence[Run], warnings: list[str]) -> dict[str, Any]:
    """The repetitions that are times."""
    if all("real_time" not in run for run in rounds):
        raise KeyError("real_time")
    sifted = sift(number(run.get("real_time")) / _unit(run) for run in rounds)
    if sifted.reason:
        return {"failure": ("not-run", sifted.reason)}
    if sifted.left_out:
        warnings.append(f"{name}: {sifted.left_out}")
    kept = [rounds[place] for place in sifted.places]
    cpu = (number(run.get("cpu_time")) / _unit(run) for run in kept)
    return {
        "seconds": sifted.seconds,
        "cpu_s": [seconds if 0 <= seconds < math.inf else None for seconds in cpu],
        "calls": [max(whole(run.get("iterations")) or 1, 1) for run in kept],
    }


def _beside(rounds: Sequence[Run]) -> dict[str, Any]:
    """What a benchmark counted beside its time: the medians over its repetitions, and the peak of its memory."""
    names = dict.fromkeys(name for run in rounds for name in run if name not in FIELDS)
    counted = {name: _median(run.get(name) for run in rounds) for name in names}
    columns: dict[str, Any] = {
        "metrics": {
            name: value
            for name, value in counted.items()
            if value is not None and not (name in MEMORY and abs(value) >= NOT_SET)
        }
    }
    peak = _median(run.get("max_bytes_used") for run in rounds)
    # A memory manager that does not follow the peak leaves it at 0.
    return columns | ({"peak_bytes": round(peak), "memory": PEAK} if peak and 0 < peak < NOT_SET else {})


def _median(values: Iterable[Any]) -> float | None:
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    finite = [float(value) for value in numbers if math.isfinite(value)]
    return median(finite) if finite else None


def _aggregated(runs: Sequence[Run]) -> dict[str, Any] | None:
    """What is known of a benchmark of which only the aggregates were kept: the median of its repetitions."""
    for run in runs:
        if run.get("aggregate_name") == "median" and run.get("aggregate_unit", "time") == "time":
            seconds = sift([number(run.get("real_time")) / _unit(run)])
            if seconds.reason:
                return {"failure": ("not-run", f"the median of it is {run.get('real_time')}, which is no time")}
            # Of old files the iterations of a median are its repetitions.
            count = max(whole(run.get("repetitions") or run.get("iterations")) or 1, 1)
            summary = {"n_samples": count, "n_bursts": count, "time_median_s": seconds.seconds[0]}
            return {"summary": summary, "beside": _beside([run])}
    kinds = ", ".join(str(run.get("aggregate_name") or "an aggregate without a name") for run in runs)
    return (
        {"failure": ("not-run", f"the file has neither repetitions nor a median of it, only: {kinds}")}
        if runs
        else None
    )


def _unit(run: Run) -> float:
    unit = run.get("time_unit", "ns")
    if unit not in UNITS:
        msg = f"time_unit is {unit!r}; there are {', '.join(UNITS)}"
        raise ValueError(msg)
    return UNITS[unit]


def _named(name: str) -> tuple[str, dict[str, Any]]:
    """The family, and the parts of the rest: ``BM_Copy/8/x:16/threads:2`` has arg0 = 8, x = 16, threads = 2.

    A part without a name is called after its place, so that each keeps it: ``BM_Attn/fwd/8`` has arg0 = fwd, arg1 = 8.
    """
    family, *parts = _parts(name)
    settings = list(itertools.takewhile(_is_setting, reversed(parts)))
    params: dict[str, Any] = {}
    for place, part in enumerate(parts[: len(parts) - len(settings)]):
        level = LEVEL.fullmatch(part)
        key, text = (level[1], level[2]) if level and level[1] not in params else (f"arg{place}", part)
        params[_unused(key, params)] = _level(text)
    for setting in settings:
        if threads := THREADS.fullmatch(setting):
            params[_unused("threads", params)] = int(threads[1])
    return family, params


def _is_setting(part: str) -> bool:
    return bool(SETTING.fullmatch(part) or THREADS.fullmatch(part))


def _unused(key: str, params: Mapping[str, Any]) -> str:
    return _unused(f"{key}_", params) if key in params else key


def _parts(name: str) -> list[str]:
    """A name at its slashes, but for those inside of brackets, as of a template's arguments."""
    parts, depth = [""], 0
    for letter in name:
        depth = max(depth + (letter in "<({[") - (letter in ">)}]"), 0)
        if letter == "/" and depth == 0 and any(parts):
            parts.append("")
        else:
            parts[-1] += letter
    return parts if depth == 0 else name.split("/")


def _level(text: str) -> int | float | str:
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?\d+\.\d+(e[+-]?\d+)?", text) else text


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
            caches=dict(_caches(context.get("caches"))),
        ),
        kernel=f"unknown, of host {host}" if host else "unknown",
        python="none",
        governor="scaling" if context.get("cpu_scaling_enabled") else None,
        frameworks={TOOL: versions | ({"build": str(build)} if build else {})},
    )


def _caches(caches: Any) -> Iterator[tuple[str, str]]:
    for cache in caches if isinstance(caches, list) else ():
        if isinstance(cache, Mapping) and (size := whole(cache.get("size"))):
            kind = {"Data": "d", "Instruction": "i"}.get(str(cache.get("type")), "")
            yield f"L{cache.get('level')}{kind}", f"{size // KIB}K"
