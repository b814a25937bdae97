"""A run as pytest-benchmark JSON, which ``pytest-benchmark compare`` reads: a round for each burst that counts.

A cell without a time is a benchmark too, infinitely slow, with its status in its name. ``extra_info`` holds the row
itself, and ``machine_info`` our fingerprint, so that ``attnbench import`` restores the run. Infinity is written as
1e999, a number of plain JSON that every reader takes for it.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from attnbench.exchange.writers.benchmark_stats import benchmark_stats, no_stats
from attnbench.exchange.writers.saved import Rounds, Saved, case_text, one_line, plain
from attnbench.results.schema import CellResult, Fingerprint, RunInfo
from attnbench.show import finite

# The release of pytest-benchmark whose format this is.
FORMAT_VERSION = "5.3.1"
ROW, OWN = "attnbench_row", "attnbench"
INFINITE = "\x00infinite\x00"


def to_json(saved: Saved) -> str:
    """The text of the JSON file."""
    timed = [row for row in saved.cells if row.kind == "timed"]
    names = Counter(_fullname(row) for row in timed)
    benchmarks = [_benchmark(row, saved, twin=names[_fullname(row)] > 1) for row in timed]
    rest = [row_data(row) for row in saved.cells if row.kind != "timed"]
    return dumps(
        {
            "machine_info": machine_info(saved.info.fingerprint),
            "commit_info": commit_info(saved.info.fingerprint),
            "benchmarks": benchmarks,
            "datetime": saved.info.started.replace("Z", "+00:00"),
            "version": FORMAT_VERSION,
            OWN: {"run": run_data(saved.info), "rows": rest},
        }
    )


def dumps(data: Any) -> str:
    """JSON without NaN and with infinity as 1e999."""
    text = json.dumps(finite.replaced(data, _stand_in), indent=1, allow_nan=False, ensure_ascii=False)
    mark = json.dumps(INFINITE)
    return text.replace(mark, "1e999") + "\n"


def _stand_in(number: float) -> str | None:
    return INFINITE if number > 0 else None


def _fullname(row: CellResult) -> str:
    """A name that is the same in every run of the cell: what pytest-benchmark compares by."""
    return f"attnbench/{row.suite}::{row.impl}[{case_text(row)}]"


def _benchmark(row: CellResult, saved: Saved, *, twin: bool) -> dict[str, Any]:
    rounds = saved.rounds.get(row.cell_id, Rounds((), (), 1))
    measured = row.status == "ok" and bool(rounds.seconds)
    status = "" if measured else f" {row.status.upper() if row.status != 'ok' else 'no samples'}"
    return {
        "group": f"{row.suite}: {case_text(row)}",
        "name": f"{row.impl}[{row.case_label}]{status}",
        "fullname": _fullname(row) + (f"#{row.cell_id}" if twin else ""),
        "params": {"impl": row.impl} | {axis: plain(level) for axis, level in row.point.items()},
        "param": f"{row.impl}-{row.case_label}",
        "extra_info": extra_info(row, saved.info.fingerprint) | {"replicates": list(rounds.replicates)},
        "options": {"timer": "perf_counter_ns", "warmup": True, "disable_gc": False, "min_rounds": 1},
        "stats": benchmark_stats(rounds.seconds, rounds.calls) if measured else no_stats(),
    }


def extra_info(row: CellResult, fingerprint: Fingerprint) -> dict[str, Any]:
    """What a person looks for beside the times, and the row as a whole."""
    shown = ("suite", "impl", "dtype", "phase", "device", "threads", "status", "error_ratio", "flops", "min_bytes")
    info: dict[str, Any] = {name: getattr(row, name) for name in (*shown, "peak_bytes", "cell_id")}
    info |= {"case": row.case_label, "reason": one_line(row.reason) or None}
    versions = fingerprint.frameworks.get(row.backend, {})
    return info | {"versions": dict(versions), ROW: row_data(row)}


def row_data(row: CellResult) -> dict[str, Any]:
    """A row as JSON, empty fields left out."""
    return row.model_dump(mode="json", exclude_none=True)


def run_data(info: RunInfo) -> dict[str, Any]:
    """A run as JSON; the machine is in ``machine_info``."""
    return info.model_dump(mode="json", exclude={"fingerprint"})


def machine_info(fingerprint: Fingerprint) -> dict[str, Any]:
    """The fingerprint in pytest-benchmark's words, and as a whole under ``attnbench``."""
    system, _, release = fingerprint.kernel.partition(" ")
    implementation, _, version = fingerprint.python.partition(" ")
    hardware = fingerprint.hardware
    return {
        "node": fingerprint.machine_id,
        "processor": hardware.architecture,
        "machine": hardware.architecture,
        "python_compiler": "",
        "python_implementation": implementation,
        "python_implementation_version": version,
        "python_version": version,
        "python_build": [],
        "release": release,
        "system": system,
        "cpu": {"arch": hardware.architecture, "brand_raw": hardware.cpu_model, "count": hardware.logical_cores},
        OWN: fingerprint.model_dump(mode="json"),
    }


def commit_info(fingerprint: Fingerprint) -> dict[str, Any]:
    """The commit of the code that ran; pytest-benchmark calls code outside a checkout ``unversioned``."""
    commit = fingerprint.git or "unversioned"
    return {
        "id": commit.rstrip("+"),
        "time": None,
        "author_time": None,
        "dirty": commit.endswith("+"),
        "project": "attnbench",
        "branch": "(unknown)",
    }
