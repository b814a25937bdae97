"""A run as JUnit XML: a test case for each cell, in a test suite for each suite of the run.

``wrong`` is a failure; a cell that could not run or was not reached is an error; ``unsupported`` is skipped.
"""

from __future__ import annotations

from attnbench.exchange.writers.saved import Saved, case_text, one_line, peak_text
from attnbench.results.schema import CellResult
from attnbench.show import junit, units

BECAME: dict[str, junit.Became] = {"ok": "passed", "wrong": "failure", "unsupported": "skipped"}


def to_junit(saved: Saved) -> str:
    """The XML text."""
    suites = [
        junit.TestSuite(
            suite,
            [_case(row) for row in saved.cells if row.suite == suite],
            timestamp=saved.info.started.rstrip("Z"),
        )
        for suite in dict.fromkeys(row.suite for row in saved.cells)
    ]
    return junit.xml(f"attnbench {saved.info.run_id}", suites)


def _case(row: CellResult) -> junit.TestCase:
    group, name = f"attnbench.{row.suite}", f"{row.impl} · {case_text(row)}"
    became = BECAME.get(row.status, "error")
    if became == "passed":
        return junit.TestCase(group, name, text=_numbers(row), seconds=row.time_median_s)
    reason = one_line(row.reason)
    if became == "skipped":
        return junit.TestCase(group, name, became, reason, seconds=row.time_median_s)
    message = reason if became == "failure" else f"{row.status}: {reason}"
    text = f"case: {row.case_label}\nimplementation: {row.impl}\nstatus: {row.status}\n{row.reason}"
    return junit.TestCase(group, name, became, message, text, row.status, row.time_median_s)


def _numbers(row: CellResult) -> str:
    if row.kind == "observed":
        return "\n".join(f"{name} {number!r}" for name, number in row.metrics.items())
    median, low, high = (units.seconds(time) for time in (row.time_median_s, row.time_low_s, row.time_high_s))
    return f"median {median} [{low}, {high}], peak memory {peak_text(row)}, error ratio {row.error_ratio}"
