"""``attnbench check --junit FILE``: the rows as JUnit XML, one test case each, as continuous integration reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from attnbench.commands.declared_output import besides, is_explained, to_add
from attnbench.errors import UsageError
from attnbench.measure.lost import LOST

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow

# What XML 1.0 cannot hold, not even escaped.
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

NOT_EXAMINED = "unknown: not examined, since the time for that was spent on others; `again` examines it by itself"
SKIPPED = ("unsupported", "untried")


def write_junit(rows: Sequence[CheckRow], file: Path) -> None:
    """Write the rows to ``file``: a suite for each implementation. Raises ``UsageError`` if it cannot be written."""
    root = ET.Element("testsuites", name="attnbench check")
    for impl in dict.fromkeys(row.impl for row in rows):
        own = [row for row in rows if row.impl == impl]
        suite = ET.SubElement(root, "testsuite", {"name": _clean(impl), **_counts(own)})
        for row in own:
            _add(suite, row)
    for name, value in _counts(rows).items():
        root.set(name, value)
    ET.indent(root)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        ET.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        msg = f"--junit {file}: {error.strerror or error}"
        raise UsageError(msg) from error


def _counts(rows: Sequence[CheckRow]) -> dict[str, str]:
    count = {"tests": len(rows), "failures": 0, "errors": 0, "skipped": 0}
    for row in rows:
        count["failures"] += row.status == "wrong"
        count["skipped"] += row.status in SKIPPED
    return {name: str(number) for name, number in count.items()}


def _add(suite: ET.Element, row: CheckRow) -> None:
    name = f"{row.feature} {row.dtype}" + ("" if row.device == "cpu" else f" {row.device}")
    case = ET.SubElement(suite, "testcase", classname=_clean(row.impl), name=_clean(name))
    if row.status in SKIPPED:
        ET.SubElement(case, "skipped", message=_clean(row.reason or "not supported"))
    elif row.status == "wrong":
        failure = ET.SubElement(case, "failure", type=_clean(row.fault or "value"), message=_clean(row.reason or ""))
        failure.text = _clean("\n".join(details(row)))
    elif row.reason or row.left_out:
        ET.SubElement(case, "system-out").text = _clean("\n".join(_remarks(row)))


def _remarks(row: CheckRow) -> list[str]:
    """What a row that does not disagree has to say: why it is known, and which of its cases are not supported."""
    known = [f"{row.status}: {row.reason}"] if row.reason else []
    left_out = (row.left_out or {}).items()
    return known + [f"{count} of {row.asked} cases not supported: {reason}" for reason, count in left_out]


def details(row: CheckRow) -> list[str]:
    """The case, the diagnosis, the smallest case and the command of a disagreement, one line each."""
    found = [f"case: {row.case}"] if row.case else []
    if row.diagnosis:
        found.append(f"diagnosis: {row.diagnosis['kind']}: {row.diagnosis['evidence']}")
    elif row.failing and row.fault not in LOST:
        found.append(f"diagnosis: {NOT_EXAMINED}")
    found += [to_add(row)] if is_explained(row) else besides(row)
    if row.smallest_case:
        found.append(f"smallest case: {', then '.join(row.smallest_case)}")
    found += [f"condition: {row.condition}"] if row.condition else []
    found += [f"again: {row.again}"] if row.again else []
    return found


def _clean(text: str) -> str:
    return FORBIDDEN.sub("�", text)
