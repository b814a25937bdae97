"""A run as hyperfine's ``--export-json`` has it: a result for each cell, its bursts as ``times``, in seconds per call.

Its scripts (``plot_whisker.py`` and the like) read it. The command is the implementation and its case, the levels of
the suite's axes are the parameters. CPU time is not split into user and system by us, so both are null. A cell without
a time has none, and says why in fields of our own.
"""

from __future__ import annotations

import json
import statistics
from typing import Any

from attnbench.exchange.writers.saved import Saved, case_text, one_line
from attnbench.results.schema import CellResult

STATUS, REASON = "attnbench_status", "attnbench_reason"
NUMBERS = ("mean", "stddev", "median", "user", "system", "min", "max")


def to_hyperfine(saved: Saved) -> str:
    """The JSON text."""
    return json.dumps({"results": [_result(saved, row) for row in saved.cells]}, indent=2) + "\n"


def _result(saved: Saved, row: CellResult) -> dict[str, Any]:
    result: dict[str, Any] = {"command": f"{row.impl} · {case_text(row)}"} | dict.fromkeys(NUMBERS)
    rounds = saved.rounds.get(row.cell_id)
    times = list(rounds.seconds) if rounds is not None and row.kind == "timed" else []
    result |= {"median": row.time_median_s, "times": times, "exit_codes": [0] * len(times)}
    result["parameters"] = {"suite": row.suite} | {name: str(value) for name, value in row.point.items()}
    if times:
        result |= {
            "mean": statistics.mean(times),
            "stddev": statistics.stdev(times) if len(times) > 1 else None,
            "median": statistics.median(times),
            "min": min(times),
            "max": max(times),
        }
    if row.status != "ok":
        result |= {STATUS: row.status, REASON: one_line(row.reason)}
    elif row.kind == "observed":
        result |= {STATUS: "not-run", REASON: f"observed, not timed: {_numbers(row)}"}
    return result


def _numbers(row: CellResult) -> str:
    return ", ".join(f"{name} {number!r}" for name, number in row.metrics.items())
