"""What continuous integration reads of ``attnbench ab``: Markdown, JUnit XML, GitHub's step summary and annotations."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.commands.live.output import (
    folder_line,
    interval,
    machine_line,
    memory_tables,
    reason,
    time_table,
    title,
    what_was_found,
    word,
)
from attnbench.comparing.live import FAILED, LiveVerdict, percent
from attnbench.errors import (
    EXIT_CELLS_FAILED,
    EXIT_GATE_FAILED,
    EXIT_INCONCLUSIVE,
    EXIT_NOTHING_MEASURED,
    EXIT_OK,
    UsageError,
)
from attnbench.results.store import check_output, write_whole
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
HEADLINES = {
    EXIT_OK: "passed",
    EXIT_GATE_FAILED: "failed",
    EXIT_INCONCLUSIVE: "inconclusive",
    EXIT_CELLS_FAILED: "failed",
    EXIT_NOTHING_MEASURED: "nothing measured",
}


def check_writable(junit: Path | None, markdown: Path | None, inputs: Iterable[Path] = (), *, github: bool) -> None:
    """Raise ``UsageError`` before anything is measured if a file could not be written at the end, or is an input."""
    if github and not os.environ.get(SUMMARY):
        msg = f"--github writes to the file that {SUMMARY} names, which GitHub sets; elsewhere use --markdown FILE"
        raise UsageError(msg)
    files = {option: file for option, file in (("--junit", junit), ("--markdown", markdown)) if file is not None}
    for option, file in files.items():
        check_output(option, file, inputs)
    if len(files) > len({file.resolve() for file in files.values()}):
        msg = f"--junit and --markdown both name {junit}, and one would be lost; name two files"
        raise UsageError(msg)


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
    tables = [_markdown(table) for table in (time_table(compared), *memory_tables(compared))]
    sentences = "\n".join(f"* {escaped(line)}" for line in what_was_found(compared))
    machine, folder = escaped(machine_line(compared, calibration)), escaped(folder_line(compared))
    last = f"{machine} Exit status {compared.exit_code}; {folder}."
    return f"### attnbench ab: {_headline(compared)}\n\n" + "\n\n".join(tables) + f"\n\n{sentences}\n\n{last}\n"


def _headline(compared: Compared) -> str:
    return HEADLINES[compared.exit_code]


def _markdown(table: Table) -> str:
    kept = [i for i, _ in enumerate(table.columns) if any(row[i] for row in table.rows)]
    heads = [table.columns[i] for i in kept]
    rows = [[escaped(row[i]) for i in kept] for row in table.rows]
    right = [column.name for column in heads if column.right]
    text = markdown_table([column.name for column in heads], rows, right)
    return f"**{escaped(table.title)}**\n\n{text.rstrip()}"


def in_one_line(verdict: LiveVerdict) -> str:
    """What is said of a cell, in one line."""
    measured = f"{word(verdict)} {percent(verdict.change)} [{interval(verdict)}]"
    parts = [measured if verdict.measured else word(verdict)]
    if verdict.reason is not None and verdict.verdict == "not-comparable":
        parts.append(reason(verdict))
    elif verdict.verdict == "inconclusive":
        parts.append(verdict.price)
    if verdict.memory is not None:
        why = "; ".join(filter(None, (verdict.memory.evidence, verdict.memory.reason)))
        parts.append(f"memory {verdict.memory.verdict} {why}".strip())
    return "; ".join(parts)


def workflow_commands(compared: Compared) -> list[str]:
    """GitHub's workflow commands: an error for a cell that fails the gate, a warning for one that is let pass."""
    lines = []
    for verdict in compared.verdicts:
        level: Level | None = "error" if compared.failing(verdict) else "warning" if verdict.opened() else None
        if level is not None:
            lines.append(annotation(level, verdict.label, in_one_line(verdict)))
    if (why := compared.failed_as_a_whole) is not None:
        lines.append(annotation("error", "attnbench ab", why))
    return lines


def write_junit(compared: Compared, calibration: Calibration | None, file: Path) -> None:
    """A test case for each cell: a failure where it fails the gate, an error where a side failed, skipped if let pass.

    One more where the comparison fails and no cell does, so that who reads nothing else sees it.
    """
    cases = [_junit_case(verdict, compared) for verdict in compared.verdicts]
    if (why := compared.failed_as_a_whole) is not None:
        cases.append(TestCase("attnbench ab", "the comparison", "error", why))
    about = {"machine": machine_line(compared, calibration)}
    write_xml(file, "attnbench ab", [TestSuite(title(compared), cases, about)])


def _junit_case(verdict: LiveVerdict, compared: Compared) -> TestCase:
    became = _became(verdict, compared)
    if became == "passed":
        return TestCase(verdict.impl, verdict.case_label, text=in_one_line(verdict))
    return TestCase(verdict.impl, verdict.case_label, became, in_one_line(verdict))


def _became(verdict: LiveVerdict, compared: Compared) -> Became:
    if verdict.status in FAILED or (verdict.memory is not None and verdict.memory.status in FAILED):
        return "error"
    if compared.failing(verdict):
        return "failure"
    return "skipped" if verdict.nowhere or verdict.opened() else "passed"
