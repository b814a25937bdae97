"""What continuous integration reads of ``attnbench ab``: Markdown, JUnit XML, GitHub's step summary and annotations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.commands.ab_output import closing, interval, machine_line, memory_tables, reason, time_table, title, word
from attnbench.compare.live import FAILED, LiveVerdict, percent
from attnbench.errors import UsageError
from attnbench.results.store import write_whole
from attnbench.show.console import say
from attnbench.show.github import Level, annotation
from attnbench.show.junit import Became, TestCase, TestSuite
from attnbench.show.junit import write as write_xml
from attnbench.show.markdown import escaped
from attnbench.show.markdown import table as markdown_table

if TYPE_CHECKING:
    from attnbench.live.comparison import Compared
    from attnbench.report.tables import Table
    from attnbench.results.calibrations import Calibration

SUMMARY = "GITHUB_STEP_SUMMARY"


def check_writable(*files: Path | None, github: bool) -> None:
    """Raise ``UsageError`` before anything is measured if a file could not be written at the end."""
    if github and not os.environ.get(SUMMARY):
        msg = f"--github writes to the file that {SUMMARY} names, which GitHub sets; elsewhere use --markdown FILE"
        raise UsageError(msg)
    for file in filter(None, files):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        except OSError as error:
            msg = f"{file} cannot be written ({error.strerror}); name another file"
            raise UsageError(msg) from error


def write(
    compared: Compared,
    calibration: Calibration | None,
    *,
    junit: Path | None,
    markdown: Path | None,
    github: bool,
) -> None:
    """Write what was asked for; the annotations go to standard error, where GitHub reads them too."""
    text = page(compared, calibration)
    if markdown is not None:
        write_whole(markdown, text)
    if junit is not None:
        write_junit(compared, calibration, junit)
    if github:
        with Path(os.environ[SUMMARY]).open("a", encoding="utf-8") as file:
            file.write(text + "\n")
        for line in workflow_commands(compared):
            say(line)


def page(compared: Compared, calibration: Calibration | None) -> str:
    """The verdicts as Markdown, short enough for a comment."""
    tables = [_markdown(one) for one in (time_table(compared), *memory_tables(compared))]
    sentences = closing(compared, calibration)
    folder = sentences.pop()
    assert sentences.pop() == machine_line(compared, calibration)  # noqa: S101  (the order of closing)
    told = "\n".join(f"* {escaped(line)}" for line in sentences)
    where, machine = (escaped(text) for text in (folder, machine_line(compared, calibration)))
    last = f"{machine} Exit status {compared.exit_code}; {where}."
    return f"### attnbench ab: {_headline(compared)}\n\n" + "\n\n".join(tables) + f"\n\n{told}\n\n{last}\n"


def _headline(compared: Compared) -> str:
    return {0: "passed", 1: "failed", 3: "inconclusive", 4: "failed", 5: "nothing measured"}[compared.exit_code]


def _markdown(table: Table) -> str:
    kept = [i for i, _ in enumerate(table.columns) if any(row[i] for row in table.rows)]
    heads = [table.columns[i] for i in kept]
    rows = [[escaped(row[i]) for i in kept] for row in table.rows]
    right = [one.name for one in heads if one.right]
    told = markdown_table([one.name for one in heads], rows, right)
    return f"**{escaped(table.title)}**\n\n{told.rstrip()}"


def told(one: LiveVerdict) -> str:
    """A cell in one line."""
    parts = [f"{word(one)} {percent(one.change)} [{interval(one)}]" if one.measured else word(one)]
    if one.reason is not None and one.verdict == "not-comparable":
        parts.append(reason(one))
    elif one.verdict == "inconclusive":
        parts.append(one.price)
    if one.memory is not None:
        why = "; ".join(filter(None, (one.memory.evidence, one.memory.reason)))
        parts.append(f"memory {one.memory.verdict} {why}".strip())
    return "; ".join(parts)


def workflow_commands(compared: Compared) -> list[str]:
    """GitHub's workflow commands: an error for a cell that fails the gate, a warning for one that is let pass."""
    lines = []
    for one in compared.verdicts:
        kind: Level | None = "error" if compared.failing(one) else "warning" if one.opened() else None
        if kind is not None:
            lines.append(annotation(kind, one.label, told(one)))
    if (why := compared.failed_as_a_whole) is not None:
        lines.append(annotation("error", "attnbench ab", why))
    return lines


def write_junit(compared: Compared, calibration: Calibration | None, file: Path) -> None:
    """A test case for each cell: a failure where it fails the gate, an error where a side failed, skipped if let pass.

    One more where the comparison fails and no cell does, so that who reads nothing else sees it.
    """
    cases = [_junit_case(one, compared) for one in compared.verdicts]
    if (why := compared.failed_as_a_whole) is not None:
        cases.append(TestCase("attnbench ab", "the comparison", "error", why))
    about = {"machine": machine_line(compared, calibration)}
    write_xml(file, "attnbench ab", [TestSuite(title(compared), cases, about)])


def _junit_case(one: LiveVerdict, compared: Compared) -> TestCase:
    became = _became(one, compared)
    if became == "passed":
        return TestCase(one.impl, one.case_label, text=told(one))
    return TestCase(one.impl, one.case_label, became, told(one))


def _became(one: LiveVerdict, compared: Compared) -> Became:
    if one.status in FAILED or (one.memory is not None and one.memory.status in FAILED):
        return "error"
    if compared.failing(one):
        return "failure"
    return "skipped" if one.nowhere or one.opened() else "passed"
