"""What other programs read: JUnit XML, Markdown, GitHub's workflow commands."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from attnbench.errors import UsageError
from attnbench.show import github, junit, markdown
from attnbench.show.junit import TestCase, TestSuite

SUITES = [
    TestSuite(
        "first",
        [
            TestCase("g", "passed", seconds=1e-5, text="5 of 5"),
            TestCase("g", "failed", "failure", "is 1, not 2", "more\nof it", "value", 2.0),
            TestCase("g", "gone", "error", "a\x00b"),
        ],
        {"machine": "this <one>"},
        "2026-01-01T00:00:00",
    ),
    TestSuite("second", [TestCase("g", "left out", "skipped", "not supported")]),
]


def test_junit_counts_its_cases_and_says_what_became_of_them() -> None:
    root = ET.fromstring(junit.xml("all", SUITES))  # noqa: S314  (our own text)
    assert [root.get(name) for name in ("name", "tests", "failures", "errors", "skipped")] == [
        "all",
        "4",
        "1",
        "1",
        "1",
    ]
    first, second = root.findall("testsuite")
    assert (first.get("timestamp"), second.get("timestamp")) == ("2026-01-01T00:00:00", None)
    assert [(one.get("name"), one.get("value")) for one in first.iter("property")] == [("machine", "this <one>")]
    failure = root.find(".//failure")
    assert failure is not None
    assert (failure.get("message"), failure.get("type"), failure.text) == ("is 1, not 2", "value", "more\nof it")
    assert [one.text for one in root.iter("system-out")] == ["5 of 5"]
    assert [one.get("message") for one in (*root.iter("error"), *root.iter("skipped"))] == ["a\ufffdb", "not supported"]


def test_junit_writes_times_as_schemas_want_them_and_none_that_nobody_knows() -> None:
    root = ET.fromstring(junit.xml("all", SUITES))  # noqa: S314  (our own text)
    times = [(element.tag, element.get("time")) for element in root.iter() if element.tag.startswith("test")]
    assert times == [
        ("testsuites", "2.000010000"), ("testsuite", "2.000010000"), ("testcase", "0.000010000"),
        ("testcase", "2.000000000"), ("testcase", None), ("testsuite", None), ("testcase", None),
    ]  # fmt: skip


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--junit .*b.xml: No such file or directory"):
        junit.write(tmp_path / "a" / "b.xml", "all", SUITES)
    (tmp_path / "a").mkdir()
    junit.write(tmp_path / "a" / "b.xml", "all", SUITES)
    assert (tmp_path / "a" / "b.xml").read_text("utf-8") == junit.xml("all", SUITES)
    with pytest.raises(UsageError, match=r"--junit .*: Is a directory"):
        junit.write(tmp_path / "a", "all", SUITES)


def test_markdown_is_a_table_and_text_is_no_markup_in_it() -> None:
    told = markdown.table(("a", "b"), [("1", markdown.escaped("x|*y*_z_<`q`\n\\"))], right=("b",))
    assert told == "| a | b |\n| --- | ---: |\n| 1 | x\\|\\*y\\*\\_z\\_&lt;\\`q\\` \\\\ |\n"


def test_an_annotation_is_one_line_and_its_title_ends_where_it_should() -> None:
    told = github.annotation("error", "a: b, c", "100 %\nof d: e, f")
    assert told == "::error title=a%3A b%2C c::100 %25%0Aof d: e, f"
