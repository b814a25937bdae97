"""Reading pytest-benchmark JSON: anybody's, and what attnbench exported or its pytest module wrote."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attnbench.errors import ResultsError
from attnbench.exchange.readers.foreign import Benchmark, Foreign
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
    machine, own = data["machine_info"], data.get(OWN) or {}
    version = _version(own, file)
    try:
        benchmarks = [_benchmark(one, version) for one in data["benchmarks"]]
        rows = [migrated("CellResult", row, version) for row in own.get("rows", ())]
        fingerprint = _fingerprint(machine, data["commit_info"], str(data.get("version") or "unknown"))
        started = _utc(data.get("datetime"))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        msg = f"{file} is a damaged file of pytest-benchmark: {what}; nothing was imported"
        raise ResultsError(msg) from error
    if not benchmarks and not rows:
        msg = f"{file} holds no benchmark; nothing was imported"
        raise ResultsError(msg)
    ours = bool(rows) or all(one.row is not None for one in benchmarks)
    unknown: tuple[str, ...] = () if ours else UNKNOWN
    if any(one.summary for one in benchmarks):
        unknown += (NO_ROUNDS,)
    run = own.get("run") or {}
    return Foreign(TOOL, data.get("version"), started, fingerprint, benchmarks, rows, run, unknown)


def _version(own: Mapping[str, Any], file: Path) -> int:
    """The schema version of the rows of ours in the file."""
    found = (own.get("run") or {}).get("schema_version", SCHEMA_VERSION)
    if type(found) is not int or found < OLDEST:
        msg = f"{file} is damaged: schema_version is {found!r}; nothing was imported"
        raise ResultsError(msg)
    if found > SCHEMA_VERSION:
        msg = f"{file} was written by a newer attnbench (schema {found}, this one reads up to {SCHEMA_VERSION}). Type: "
        raise ResultsError(msg + "pip install -U attnbench")
    return found


def _benchmark(data: Mapping[str, Any], version: int) -> Benchmark:
    stats, extra = data["stats"], data.get("extra_info") or {}
    row = extra.get(ROW)
    row = None if row is None else migrated("CellResult", row, version)
    failed = row is not None and row.get("status", "ok") != "ok"
    seconds = [] if failed else [float(one) for one in stats.get("data") or ()]
    if any(not math.isfinite(one) or one <= 0 for one in seconds):
        msg = f"benchmark {data['fullname']} has a time that is NaN, infinite or not above 0"
        raise ValueError(msg)
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
            cpu_model=cpu.get("brand_raw") or cpu.get("brand"),
            logical_cores=cpu.get("count"),
        ),
        kernel=f"{machine.get('system') or 'unknown'} {machine.get('release') or ''}".strip(),
        python=python,
        frameworks={TOOL: {TOOL: version}},
        git=identity[:12] + ("+" if commit.get("dirty") else "") if known else None,
    )


def _utc(text: str | None) -> str:
    """A time of pytest-benchmark as the schema writes it; it wrote UTC without saying so in older releases."""
    found = datetime.fromisoformat(text) if text else datetime.now(UTC)
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
