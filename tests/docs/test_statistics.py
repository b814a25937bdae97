"""What docs/statistics.md says in numbers: what its snippets print, and the error rates of docs/scoreboard.md."""

from __future__ import annotations

import contextlib
import io
import re

from attnbench.analysis.leading import LEVEL
from attnbench.analysis.rounds import ASSUMED, ASSUMED_OF_ONE, FEWEST, FREEDOM
from attnbench.comparing.sequential import CONFIRM, REPORTED, SAME, SCREEN, Rules
from tests.docs.test_docs import blocks
from tests.repository import DOCS

PAGE = DOCS / "statistics.md"
TEXT = " ".join(PAGE.read_text("utf-8").split())


def printed(code: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, PAGE.name, "exec"), {"__name__": "documentation"})  # noqa: S102  (our own page)
    return out.getvalue().strip()


def test_what_a_snippet_prints_is_what_the_page_says() -> None:
    first, second = (block.text for block in blocks(PAGE) if block.language == "python")
    assert f"It prints `{printed(first)}`" in TEXT
    said = re.search(r"It prints `(slower \d+ \d+)`", TEXT)
    assert said is not None
    assert said[1] == printed(second)


def test_the_rules_are_those_of_the_code() -> None:
    for looks in (SCREEN, CONFIRM, SAME):
        assert f"| {', '.join(map(str, looks.pairs))} |" in TEXT
    rules = Rules()
    assert f"| {rules.screen_error:.0%}, spread over the looks |".replace("%", " %") in TEXT
    assert f"what is left: {rules.confirm_error:.0%} of a single cell".replace("%", " %") in TEXT
    assert f"Intervals are taken at {REPORTED:.0%}".replace("%", " %") in TEXT
    assert f"Holm's adjustment at {LEVEL:.1%} in a block".replace("%", " %") in TEXT
    assert f"A spread of at least {ASSUMED:.0%} between".replace("%", " %") in TEXT
    assert f"Of one process {ASSUMED_OF_ONE:.0%} is assumed".replace("%", " %") in TEXT
    assert f"by {FREEDOM} degrees of freedom" in TEXT
    assert FEWEST == 5
    assert "With fewer than five processes" in TEXT


def test_the_error_rates_are_those_of_the_scoreboard() -> None:
    board = (DOCS / "scoreboard.md").read_text("utf-8")
    page = PAGE.read_text("utf-8")
    rows = re.findall(r"^\| (at (?:most|least) [\d.]+ %) of [^|]* \| ([\d.]+ %) \|$", page, re.MULTILINE)
    assert len(rows) == 5
    targets = re.findall(r"^\| [^|]* \| (at (?:most|least) [\d.]+ %) \| [^|:]*: ([\d.]+ %) \[", board, re.MULTILINE)
    assert rows == targets


def test_the_example_at_the_top_of_the_scoreboard_is_of_its_table() -> None:
    board = (DOCS / "scoreboard.md").read_text("utf-8")
    example = board.partition("**An example.**")[2].partition("## What is judged")[0]
    rows = re.findall(r"^\| `([^`]+)` \| ([\d.]+ %) \| ([\d.]+ %) \|$", example, re.MULTILINE)
    assert len(rows) == 3
    replayed = board.partition("<!-- replay: begin -->")[2]
    for rule, alarms, found in rows:
        line = next(line for line in replayed.splitlines() if line.startswith(f"| {rule} |"))
        cells = [cell.strip() for cell in line.split("|")]
        assert (cells[2].split(" [")[0], cells[-2]) == (alarms, found)
