"""JUnit XML, as continuous integration reads it: suites of test cases, each passed, failed, in error or skipped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

from attnbench.errors import UsageError

# What XML 1.0 cannot hold, not even escaped.
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Became = Literal["passed", "failure", "error", "skipped"]


@dataclass(frozen=True)
class TestCase:
    """One case. ``message`` is a line that says why it did not pass, ``text`` the rest, of a passed one its output.

    ``type`` sorts failures and errors; ``seconds`` is what it took, if that is known.
    """

    __test__ = False  # for pytest, which takes whatever is called so for a test

    group: str
    name: str
    became: Became = "passed"
    message: str = ""
    text: str = ""
    type: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class TestSuite:
    """Cases under one name; ``properties`` are said of all of them, ``timestamp`` is a time of ISO 8601."""

    __test__ = False

    name: str
    cases: Sequence[TestCase]
    properties: Mapping[str, str] = field(default_factory=dict)
    timestamp: str | None = None


def xml(name: str, suites: Sequence[TestSuite]) -> str:
    """The document, with counts of its own. What XML cannot hold is replaced."""
    from junitparser import JUnitXml

    document = JUnitXml(_clean(name))
    for suite in suites:
        document.add_testsuite(_suite(suite))
    document.update_statistics()  # type: ignore[no-untyped-call]
    text = document.tostring()  # type: ignore[no-untyped-call]
    root = ET.fromstring(text)  # noqa: S314  (written a moment ago)
    for element in (*root.iter("testsuites"), *root.iter("testsuite"), *root.iter("testcase")):
        times = [float(case.attrib["time"]) for case in element.iter("testcase") if "time" in case.attrib]
        if times:  # 0.00001 and not 1e-05, which schemas refuse, nor rounded to milliseconds
            element.set("time", f"{sum(times):.9f}")
        else:
            element.attrib.pop("time", None)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def write(file: Path, name: str, suites: Sequence[TestSuite]) -> None:
    """Write the document. Raises ``UsageError`` if it cannot be written."""
    try:
        file.write_text(xml(name, suites), encoding="utf-8")
    except OSError as error:
        msg = f"--junit {file}: {error.strerror or error}"
        raise UsageError(msg) from error


def _suite(suite: TestSuite) -> Any:
    import junitparser

    made = junitparser.TestSuite(_clean(suite.name))
    if suite.timestamp is not None:
        made.timestamp = suite.timestamp
    for name, value in suite.properties.items():
        made.add_property(name, _clean(value))
    for case in suite.cases:
        made.add_testcase(_case(case))
    return made


def _case(case: TestCase) -> Any:
    import junitparser

    made = junitparser.TestCase(_clean(case.name), _clean(case.group), case.seconds)
    if case.became == "passed":
        if case.text:
            made.system_out = _clean(case.text)
        return made
    kinds = {"failure": junitparser.Failure, "error": junitparser.Error, "skipped": junitparser.Skipped}
    why = kinds[case.became](_clean(case.message), case.type)
    if case.text:
        why.text = _clean(case.text)
    made.result = [why]
    return made


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)
