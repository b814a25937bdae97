"""Reading pytest-benchmark JSON: anybody's, and what attnbench exported or its pytest module wrote."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from attnbench.errors import ResultsError, upgrade
from attnbench.exchange.readers.foreign import Benchmark, Foreign
from attnbench.exchange.readers.values import damaged, no_benchmark, processor, times, utc
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
    machine, attached = data["machine_info"], data.get(OWN) or {}
    version = _version(attached, file)
    try:
        benchmarks = [_benchmark(benchmark, version) for benchmark in data["benchmarks"]]
        rows = [migrated("CellResult", row, version) for row in attached.get("rows", ())]
        fingerprint = _fingerprint(machine, data["commit_info"], str(data.get("version") or "unknown"))
        date = data.get("datetime")
        started = utc(datetime.fromisoformat(date) if date else None)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        damaged(file, TOOL, error)
    if not benchmarks and not rows:
        no_benchmark(file)
    ours = bool(rows) or all(benchmark.row is not None for benchmark in benchmarks)
    unknown: tuple[str, ...] = () if ours else UNKNOWN
    if any(benchmark.summary for benchmark in benchmarks):
        unknown += (NO_ROUNDS,)
    run = attached.get("run") or {}
    return Foreign(TOOL, data.get("version"), started, fingerprint, benchmarks, rows, run, unknown)


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


def _benchmark(data: Mapping[str, Any], version: int) -> Benchmark:
    stats, extra = data["stats"], data.get("extra_info") or {}
    row = extra.get(ROW)
    row = None if row is None else migrated("CellResult", row, version)
    failed = row is not None and row.get("status", "ok") != "ok"
    seconds = [] if failed else times(stats.get("data") or (), data["fullname"])
    return Benchmark(
        name=data["name"],
        fullname=data["fullname"],
        group=data.get("group"),
        params={name: plain(value) for name, value in (data.get("params") or {}).items()},
        seconds=seconds,
        calls=int(stats.get("iterations") or 1),
        replicates=extra.get("replicates") or (),
        summary=_summary(stats) if not seconds and not failed else {},
        row=row,
        failure=(row["status"], row["reason"]) if failed and row is not None else None,
    )


def _summary(stats: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a benchmark that was saved without its rounds."""
    rounds = int(stats["rounds"])
    return {"n_samples": rounds, "n_bursts": rounds, "time_median_s": float(stats["median"])}


def _fingerprint(machine: Mapping[str, Any], commit: Mapping[str, Any], version: str) -> Fingerprint:
    if OWN in machine:
        return Fingerprint.model_validate(machine[OWN])
    cpu = machine.get("cpu") or {}
    identity = str(commit.get("id") or "")
    known = identity not in ("", "unversioned", "unknown")
    python = f"{machine.get('python_implementation', 'Python')} {machine.get('python_version', 'unknown')}"
    return Fingerprint(
        hardware=Hardware(
            architecture=machine.get("machine") or "unknown",
            cpu_model=processor(cpu.get("brand_raw") or cpu.get("brand"), machine.get("node")),
            logical_cores=cpu.get("count"),
        ),
        kernel=f"{machine.get('system') or 'unknown'} {machine.get('release') or ''}".strip(),
        python=python,
        frameworks={TOOL: {TOOL: version}},
        git=identity[:12] + ("+" if commit.get("dirty") else "") if known else None,
    )
