"""A run in asv's results layout (results version 2): DIR/benchmarks.json, DIR/MACHINE/machine.json and COMMIT-ENV.json.

Runs of several commits go into one DIR, which asv's configuration names as ``results_dir``; then ``asv compare`` and
``asv publish`` read them. Each suite becomes a benchmark for time, one for peak memory and one for each observed
number, over the parameters case, implementation and setting. A cell that failed is asv's ``failed`` (null), one that
was not supported or not reached its ``n/a`` (NaN); a reason has no place in that layout.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from attnbench.errors import ResultsError
from attnbench.exchange.writers.commits import commit_of
from attnbench.exchange.writers.saved import Rounds, Saved, setting
from attnbench.results.journal import fail_writing
from attnbench.results.schema import FAILURES, CellResult, RunInfo
from attnbench.results.store import write_whole
from attnbench.results.summary import median_interval

RESULTS_VERSION, BENCHMARKS_VERSION, MACHINE_VERSION = 2, 2, 1
STATS = ("ci_99_a", "ci_99_b", "q_25", "q_75", "number", "repeat")
COLUMNS = ("result", "params", "version", "started_at", "duration", *(f"stats_{name}" for name in STATS), "samples")
PARAMETERS = ("case", "implementation", "setting")
CONFIDENCE = 0.99


@dataclass(frozen=True)
class Metric:
    """One benchmark of asv: what its name ends in, its type and unit, and its value in a row (``None``: absent)."""

    name: str
    kind: str
    unit: str
    value: Callable[[CellResult], float | None]


def write_asv(saved: Saved, out: Path, commit: str | None = None) -> Path:
    """Write the run into the results folder ``out`` and return the file; what is there of other runs stays.

    Raises ``UsageError`` where the commit is not known, ``ResultsError`` where ``out`` holds another program's files.
    """
    filed = commit_of(saved.info, commit)
    machine = machine_of(saved.info)
    environment = f"attnbench-py{saved.info.fingerprint.python.split(' ')[-1].rpartition('.')[0]}"
    results = out / str(machine["machine"]) / f"{filed.id[:8]}-{environment}.json"
    before, listed = _read(results), _read(out / "benchmarks.json")
    benchmarks = dict(_benchmarks(saved))
    for name, (description, _) in benchmarks.items():
        listed[name] = _merged(listed.get(name), description)
    rows = before.get("results", {}) | {name: row for name, (_, row) in benchmarks.items()}
    data = {
        "commit_hash": filed.id,
        "env_name": environment,
        "date": filed.date_ms,
        "params": {key: value for key, value in machine.items() if key != "version"} | {"python": _python(saved.info)},
        "python": _python(saved.info),
        "requirements": {},
        "env_vars": {},
        "result_columns": list(COLUMNS),
        "results": rows,
        "durations": {},
        "version": RESULTS_VERSION,
    }
    try:
        results.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail_writing(results.parent, error)
    write_whole(results.parent / "machine.json", _text(machine))
    write_whole(out / "benchmarks.json", _text(listed | {"version": BENCHMARKS_VERSION}))
    write_whole(results, _text(data))
    return results


def _python(info: RunInfo) -> str:
    return info.fingerprint.python.split(" ")[-1].rpartition(".")[0]


def _text(data: Mapping[str, Any]) -> str:
    # asv itself writes and reads NaN, which is how it says n/a.
    return json.dumps(data, indent=1, sort_keys=True) + "\n"


def _read(path: Path) -> dict[str, Any]:
    """A JSON file of asv that is there already; empty where there is none."""
    if not path.exists():
        return {}
    with suppress(ValueError, OSError):
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and data.get("version") == RESULTS_VERSION:
            return data
    msg = f"{path} is no file of asv's results version {RESULTS_VERSION} and is left untouched; "
    raise ResultsError(msg + "name another folder: -o DIR")


def machine_of(info: RunInfo) -> dict[str, Any]:
    """asv's description of the machine; its name is our machine_id, so that unlike machines never mix."""
    hardware = info.fingerprint.hardware
    return {
        "machine": f"attnbench-{info.fingerprint.machine_id}",
        "os": info.fingerprint.kernel,
        "arch": hardware.architecture,
        "cpu": hardware.cpu_model or "",
        "num_cpu": str(hardware.logical_cores or ""),
        "ram": "" if hardware.memory_bytes is None else str(hardware.memory_bytes),
        "version": MACHINE_VERSION,
    }


def _metrics(rows: Sequence[CellResult]) -> Iterable[Metric]:
    if any(row.kind == "timed" for row in rows):
        yield Metric("time", "time", "seconds", lambda row: row.time_median_s)
        yield Metric("peakmem", "peakmemory", "bytes", lambda row: row.peak_bytes)
    for name in dict.fromkeys(name for row in rows if row.kind == "observed" for name in row.metrics):
        yield Metric(f"track_{name}", "track", "unit", lambda row, name=name: row.metrics.get(name))  # type: ignore[misc]


def _benchmarks(saved: Saved) -> Iterable[tuple[str, tuple[dict[str, Any], list[Any]]]]:
    """Every benchmark of the run: its name, its description, its line in the results."""
    for suite in dict.fromkeys(row.suite for row in saved.cells):
        rows = [row for row in saved.cells if row.suite == suite]
        parameters = _parameters(rows)
        by_key = {_key(row): row for row in rows}
        grid = [by_key.get(key) for key in itertools.product(*parameters)]
        # An observed suite all of whose cells failed has no number by which it could be named.
        metrics = list(_metrics(rows)) or [Metric("track_nothing", "track", "unit", lambda _: None)]
        for metric in metrics:
            name = f"{re.sub(r'[^A-Za-z0-9_]', '_', suite)}.{metric.name}"
            description = _description(name, metric, parameters)
            yield name, (description, _line(metric, grid, parameters, saved, description["version"]))


def _key(row: CellResult) -> tuple[str, ...]:
    # Two cases may be spelled alike; asv knows a case by its text only.
    return f"{row.case_label} ({row.case_id})", row.impl, setting(row)


def _parameters(rows: Sequence[CellResult]) -> list[list[str]]:
    return [list(dict.fromkeys(values)) for values in zip(*(_key(row) for row in rows), strict=True)]


def _description(name: str, metric: Metric, parameters: list[list[str]]) -> dict[str, Any]:
    return {
        "code": f"# attnbench: {name}",
        "name": name,
        "param_names": list(PARAMETERS),
        "params": [[repr(value) for value in values] for values in parameters],
        "type": metric.kind,
        "unit": metric.unit,
        "timeout": 60,
        "version": hashlib.sha256(f"{name} {metric.unit}".encode()).hexdigest(),
    }


def _merged(before: Mapping[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """The description of a benchmark with the parameters of the runs before and of this one."""
    if before is None:
        return now
    pairs = zip(before["params"], now["params"], strict=True)
    return now | {"params": [list(dict.fromkeys([*old, *new])) for old, new in pairs]}


def _line(
    metric: Metric, grid: Sequence[CellResult | None], parameters: list[list[str]], saved: Saved, version: str
) -> list[Any]:
    """One line of results, in the order of ``COLUMNS``; samples and their statistics belong to times only."""
    rounds = [_rounds(metric, row, saved.rounds) for row in grid]
    stats = [None if cell is None else _stats(cell) for cell in rounds]
    started = int(datetime.fromisoformat(saved.info.started).timestamp() * 1000)
    spread = [_or_none([None if cell is None else cell[key] for cell in stats]) for key in STATS]
    samples = _or_none([None if cell is None else list(cell.seconds) for cell in rounds])
    texts = [[repr(value) for value in values] for values in parameters]
    return [[_value(metric, row) for row in grid], texts, version, started, None, *spread, samples]


def _or_none(values: list[Any]) -> list[Any] | None:
    return None if all(value is None for value in values) else values


def _value(metric: Metric, row: CellResult | None) -> float | None:
    if row is not None and row.status in FAILURES:
        return None
    value = None if row is None or row.status != "ok" else metric.value(row)
    return math.nan if value is None else float(value)


def _rounds(metric: Metric, row: CellResult | None, rounds: Mapping[str, Rounds]) -> Rounds | None:
    if row is None or metric.kind != "time" or row.status != "ok":
        return None
    measured = rounds.get(row.cell_id)
    return measured if measured is not None and measured.seconds else None


def _stats(rounds: Rounds) -> dict[str, float | int]:
    interval = median_interval(rounds.seconds, CONFIDENCE)
    low, high = (float(quartile) for quartile in np.percentile(rounds.seconds, (25, 75)))
    # Too few bursts for an interval: asv, too, takes it as unbounded.
    ends = {
        "ci_99_a": -math.inf if interval.low is None else interval.low,
        "ci_99_b": math.inf if interval.high is None else interval.high,
    }
    return ends | {"q_25": low, "q_75": high, "number": rounds.calls, "repeat": len(rounds.seconds)}
