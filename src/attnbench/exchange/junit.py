"""A run as JUnit XML: a test case for each cell, in a test suite for each suite of the run.

``wrong`` is a failure; a cell that could not run or was not reached is an error; ``unsupported`` is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from attnbench.exchange.saved import Saved, bytes_text, case_text, one_line, time_text
from attnbench.results.schema import CellResult

# What XML 1.0 cannot hold, not even escaped.
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ELEMENTS = {"wrong": "failure", "unsupported": "skipped"}


def to_junit(saved: Saved) -> str:
    """The XML text."""
    root = ET.Element("testsuites", {"name": f"attnbench {saved.info.run_id}", **_counts(saved.cells)})
    for suite in dict.fromkeys(row.suite for row in saved.cells):
        rows = [row for row in saved.cells if row.suite == suite]
        element = ET.SubElement(root, "testsuite", {"name": _clean(suite), **_counts(rows)})
        element.set("timestamp", saved.info.started.rstrip("Z"))
        for row in rows:
            _add(element, row)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(rows: Sequence[CellResult]) -> dict[str, str]:
    kinds = [ELEMENTS.get(row.status, "error") for row in rows if row.status != "ok"]
    found = {"tests": len(rows), "failures": kinds.count("failure"), "errors": kinds.count("error")}
    numbers = found | {"skipped": kinds.count("skipped")}
    return {name: str(number) for name, number in numbers.items()}


def _add(suite: ET.Element, row: CellResult) -> None:
    name = f"{row.impl} · {case_text(row)}"
    case = ET.SubElement(suite, "testcase", classname=_clean(f"attnbench.{row.suite}"), name=_clean(name))
    if row.time_median_s is not None:
        case.set("time", f"{row.time_median_s:.9f}")
    if row.status == "ok":
        ET.SubElement(case, "system-out").text = _clean(_numbers(row))
        return
    reason = one_line(row.reason)
    kind = ELEMENTS.get(row.status, "error")
    message = reason if kind != "error" else f"{row.status}: {reason}"
    attributes = {"message": _clean(message)} | ({} if kind == "skipped" else {"type": row.status})
    element = ET.SubElement(case, kind, attributes)
    if kind != "skipped":
        element.text = _clean(f"case: {row.case_label}\nimplementation: {row.impl}\nstatus: {row.status}\n{row.reason}")


def _numbers(row: CellResult) -> str:
    if row.kind == "observed":
        return "\n".join(f"{name} {number!r}" for name, number in row.metrics.items())
    times = f"median {time_text(row.time_median_s)} [{time_text(row.time_low_s)}, {time_text(row.time_high_s)}]"
    return f"{times}, peak memory {bytes_text(row.peak_bytes)}, error ratio {row.error_ratio}"


def _clean(text: str) -> str:
    return FORBIDDEN.sub("�", text)
