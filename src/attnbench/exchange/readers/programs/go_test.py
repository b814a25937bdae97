"""Reading ``go test -bench``: its text, also of several runs in one file, or the stream of ``go test -json``.

A cell is a benchmark of a package at one GOMAXPROCS; its repetitions (``-count``) are bursts of that many iterations,
and runs that were appended to one file are processes. Units of time per operation become times, all others metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from attnbench.errors import ResultsError
from attnbench.exchange.readers.entries import Entries, level, medians
from attnbench.exchange.readers.foreign import Benchmark, Foreign
from attnbench.exchange.readers.opening import JsonLines
from attnbench.exchange.readers.programs.go_bench import (
    GoResult,
    Printed,
    is_printed,
    joined,
    lines_of,
    printed,
    with_procs,
)
from attnbench.exchange.readers.values import UNKNOWN, no_benchmark, processor, utc
from attnbench.results.schema import Fingerprint, Hardware

TOOL = "go-test"
PER_OPERATION = {"ns/op": 1e-9, "us/op": 1e-6, "µs/op": 1e-6, "ms/op": 1e-3, "s/op": 1.0, "sec/op": 1.0}
ACTIONS = ("start", "run", "output", "pass", "fail", "skip", "bench", "pause", "cont", "build-output", "build-fail")
ONCE = "variation (one result of each; measure with go test -bench . -count 10)"
Cell = tuple[str, str]


def recognises(data: Any) -> bool:
    """Whether a text, or lines of JSON, are what ``go test`` prints."""
    if isinstance(data, JsonLines):
        return any(document.get("Action") in ACTIONS and "Package" in document for document in data.documents)
    return isinstance(data, str) and any(is_printed(lines_of(data)))


def read(data: Any, file: Path) -> Foreign:
    """The text, understood. Raises ``ResultsError`` that names what is wrong with it."""
    text = data if isinstance(data, str) else joined(data.documents)
    seen, entries = printed(text), Entries()
    for warning in seen.warnings:
        entries.warn(warning)
    grouped: dict[Cell, list[GoResult]] = {}
    for result in seen.results:
        grouped.setdefault((result.package, result.name), []).append(result)
    for (package, name), results in grouped.items():
        entries.add(name, _benchmark, (package, name), results, entries)
    for cell, failure in seen.failures.items():
        if cell in grouped or any(_same(cell, other) for other in grouped):
            entries.warn(f"{cell[1]}: some of its repetitions are {failure[0]}: {failure[1]}")
        else:
            entries.benchmarks.append(Benchmark(**_named(cell), failure=failure))
    benchmarks = entries.benchmarks
    if not benchmarks:
        no_benchmark(file, entries.warnings)
    unknown = (*UNKNOWN, "peak memory", *(() if _started(data) else ("when it was measured",)))
    unknown += (ONCE,) if any(len(benchmark.seconds) == 1 for benchmark in benchmarks) else ()
    fingerprint, started = _fingerprint(seen, file), utc(_started(data))
    return Foreign(TOOL, None, started, fingerprint, benchmarks, unknown=unknown, warnings=tuple(entries.warnings))


def _same(cell: Cell, other: Cell) -> bool:
    """A failure is named without GOMAXPROCS, a result with it."""
    return cell[0] == other[0] and with_procs(other[1])[0] == cell[1]


def _named(cell: Cell) -> dict[str, Any]:
    package, full = cell
    name, procs = with_procs(full)
    family, *parts = name.split("/")
    params: dict[str, Any] = {}
    for place, part in enumerate(parts, 1):
        key, equal, value = part.partition("=")
        params[key if equal and key else f"part{place}"] = level(value if equal and key else part)
    # The suffix may be a part of the name, where GOMAXPROCS is 1: so the name is kept whole where cells are told apart.
    return {
        "name": name,
        "fullname": f"{package} {full}".strip(),
        "group": f"{package}.{family}".lstrip("."),
        "params": params,
        "threads": procs,
    }


def _benchmark(cell: Cell, results: Sequence[GoResult], entries: Entries) -> Benchmark:
    known = _named(cell)
    others = {unit for result in results for unit in result.values if unit not in PER_OPERATION}
    metrics = medians({unit: [r.values[unit] for r in results if unit in r.values] for unit in sorted(others)})
    timed = [result for result in results if any(unit in PER_OPERATION for unit in result.values)]
    if not timed:
        return Benchmark(**known, metrics=metrics)
    sifted = entries.sift(cell[1], map(_seconds, timed))
    if sifted.reason:
        return Benchmark(**known, failure=("not-run", f"{sifted.reason}; the smallest that Go prints is 0 ns/op"))
    kept = [timed[place] for place in sifted.places]
    return Benchmark(
        **known,
        seconds=sifted.seconds,
        calls=[max(result.iterations, 1) for result in kept],
        replicates=[result.process for result in kept],
        metrics=metrics,
    )


def _seconds(result: GoResult) -> float:
    return next(value * PER_OPERATION[unit] for unit, value in result.values.items() if unit in PER_OPERATION)


def _fingerprint(seen: Printed, file: Path) -> Fingerprint:
    """What the header says; two machines in one file are refused, since a run has one."""
    for key in ("cpu", "goarch", "goos"):
        values = sorted(set(seen.settings.get(key, [])))
        if len(values) > 1:
            msg = f"{file} holds results of several machines ({key}: {', '.join(values)}), and a run has one; "
            raise ResultsError(msg + "give each a file of its own. Nothing was imported")
    commit = seen.last("commit")
    return Fingerprint(
        hardware=Hardware(architecture=seen.last("goarch") or "unknown", cpu_model=processor(seen.last("cpu"), None)),
        kernel=seen.last("goos") or "unknown",
        python="none",
        frameworks={TOOL: {}},
        git=commit[:12] or None,
    )


def _started(data: Any) -> datetime | None:
    """When the stream began; a text does not say it."""
    if not isinstance(data, JsonLines):
        return None
    moments = [str(document["Time"]) for document in data.documents if document.get("Time")]
    try:
        return datetime.fromisoformat(moments[0]) if moments else None
    except ValueError:
        return None
