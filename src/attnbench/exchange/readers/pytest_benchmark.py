"""Reading pytest-benchmark JSON: anybody's, and what attnbench exported or its pytest module wrote."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnbench.errors import ResultsError, upgrade
from attnbench.exchange.readers.foreign import Benchmark, Foreign, read_each
from attnbench.exchange.readers.values import (
    NO_DATE,
    ODD,
    damaged,
    instant,
    mapping,
    mapping_or_empty,
    no_benchmark,
    number,
    processor,
    sift,
    whole,
)
from attnbench.exchange.writers.pytest_benchmark import OWN, ROW
from attnbench.exchange.writers.saved import plain
from attnbench.results.migrate import OLDEST, migrated
from attnbench.results.schema import SCHEMA_VERSION, Fingerprint, Hardware

TOOL = "pytest-benchmark"
# Without them an interval cannot be had, and compare finds too few samples.
NO_ROUNDS = "single rounds (save them with --benchmark-json, or --benchmark-save-data)"
UNKNOWN = ("agreement with the oracle", "peak memory", "threads", "disturbances")


def recognises(data: Any) -> bool:
    """Whether a JSON document is one of pytest-benchmark's."""
    return isinstance(data, Mapping) and {"benchmarks", "machine_info", "commit_info"} <= set(data)


def read(data: Mapping[str, Any], file: Path) -> Foreign:
    """The file, understood. Raises ``ResultsError`` that names what is wrong with it."""
    attached = data.get(OWN) or {}
    version = _version(attached, file)
    warnings: list[str] = []
    try:
        benchmarks = read_each(data["benchmarks"], lambda each: _benchmark(each, version, warnings), _names, warnings)
        rows = [migrated("CellResult", row, version) for row in attached.get("rows", ())]
        machine = mapping_or_empty(data["machine_info"], "machine_info", warnings)
        commit = mapping_or_empty(data["commit_info"], "commit_info", warnings)
        fingerprint = _fingerprint(machine, commit, str(data.get("version") or "unknown"))
    except ODD as error:
        damaged(file, TOOL, error)
    if not benchmarks and not rows:
        no_benchmark(file, warnings)
    ours = bool(rows) or all(benchmark.row is not None for benchmark in benchmarks)
    unknown: tuple[str, ...] = () if ours else UNKNOWN
    unknown += () if data.get("datetime") else (NO_DATE,)
    if any(benchmark.summary for benchmark in benchmarks):
        unknown += (NO_ROUNDS,)
    return Foreign(
        TOOL,
        None if data.get("version") is None else str(data["version"]),
        instant(data.get("datetime"), warnings),
        fingerprint,
        benchmarks,
        rows,
        attached.get("run") or {},
        unknown,
        tuple(warnings),
    )


def _version(attached: Mapping[str, Any], file: Path) -> int:
    """The schema version of the rows of ours in the file."""
    version = (attached.get("run") or {}).get("schema_version", SCHEMA_VERSION)
    if type(version) is not int or version < OLDEST:
        msg = f"{file} is damaged: schema_version is {version!r}; nothing was imported"
        raise ResultsError(msg)
    if version > SCHEMA_VERSION:
        msg = (
            f"{file} was written by a newer attnbench (schema {version}, this one reads up to {SCHEMA_VERSION}). Type: "
        )
        raise ResultsError(msg + upgrade())
    return version


def _names(data: Any) -> tuple[str, str] | None:
    """An entry's name and full name; each stands in for the other."""
    names = [data.get(key) for key in ("name", "fullname")] if isinstance(data, Mapping) else []
    known = [str(name) for name in names if name]
    return (known[0], known[-1]) if known else None


def _benchmark(data: Mapping[str, Any], version: int, warnings: list[str]) -> Benchmark:
    extra = mapping(data, "it").get("extra_info")
    row = extra.get(ROW) if isinstance(extra, Mapping) else None
    if isinstance(extra, Mapping) and isinstance(row, Mapping):
        return _ours(data, extra, migrated("CellResult", row, version))
    names, params = _names(data), data.get("params")
    if names is None:
        raise KeyError("name")
    name, fullname = names
    known = Benchmark(
        name=name,
        fullname=fullname,
        group=None if data.get("group") is None else str(data["group"]),
        params={level: plain(value) for level, value in params.items()} if isinstance(params, Mapping) else {},
    )
    stats = mapping(data["stats"], "stats")
    timed = _timed(fullname, stats, warnings)
    return replace(known, metrics={} if "failure" in timed else _numbers(extra), **timed)


def _numbers(extra: Any) -> dict[str, float]:
    """What a test itself noted in ``extra_info``, as far as it is a number."""
    noted = extra.items() if isinstance(extra, Mapping) else ()
    return {
        str(name): number(value) for name, value in noted if not isinstance(value, str) and math.isfinite(number(value))
    }


def _ours(data: Mapping[str, Any], extra: Mapping[str, Any], row: Mapping[str, Any]) -> Benchmark:
    """A benchmark whose row attnbench itself wrote into the file."""
    known = Benchmark(str(data["name"]), str(data["fullname"]), row=row)
    if row.get("status", "ok") != "ok":
        return replace(known, failure=(row["status"], row["reason"]))
    stats = data["stats"]
    seconds = [float(value) for value in stats.get("data") or ()]
    if not seconds:
        return replace(known, summary=_summary(stats))
    calls = whole(stats.get("iterations")) or 1
    return replace(known, seconds=seconds, calls=calls, replicates=extra.get("replicates") or ())


def _timed(name: str, stats: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    """The rounds that are times, or the statistics of a benchmark that was saved without its rounds."""
    rounds = stats.get("data")
    if not rounds:
        median = number(stats.get("median"))
        if 0 < median < math.inf:
            return {"summary": _summary(stats)}
        return {
            "failure": ("not-run", f"the file has no rounds of it, and its median, {stats.get('median')}, is no time")
        }
    sifted = sift(rounds)
    if sifted.reason:
        return {"failure": ("not-run", sifted.reason)}
    if sifted.left_out:
        warnings.append(f"{name}: {sifted.left_out}")
    return {"seconds": sifted.seconds, "calls": max(whole(stats.get("iterations")) or 1, 1)}


def _summary(stats: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a benchmark that was saved without its rounds."""
    rounds = max(whole(stats.get("rounds")) or 1, 1)
    return {"n_samples": rounds, "n_bursts": rounds, "time_median_s": float(stats["median"])}


def _fingerprint(machine: Mapping[str, Any], commit: Mapping[str, Any], version: str) -> Fingerprint:
    if OWN in machine:
        return Fingerprint.model_validate(machine[OWN])
    cpu = machine["cpu"] if isinstance(machine.get("cpu"), Mapping) else {}
    identity = str(commit.get("id") or "")
    known = identity not in ("", "unversioned", "unknown")
    python = f"{machine.get('python_implementation', 'Python')} {machine.get('python_version', 'unknown')}"
    return Fingerprint(
        hardware=Hardware(
            architecture=str(machine.get("machine") or "unknown"),
            cpu_model=processor(cpu.get("brand_raw") or cpu.get("brand"), machine.get("node")),
            logical_cores=whole(cpu.get("count")),
        ),
        kernel=f"{machine.get('system') or 'unknown'} {machine.get('release') or ''}".strip(),
        python=python,
        frameworks={TOOL: {TOOL: version}},
        git=identity[:12] + ("+" if commit.get("dirty") else "") if known else None,
    )
