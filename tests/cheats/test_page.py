"""The page docs/cheats.md: what stands around its table is what the program that measures it writes."""

from __future__ import annotations

from tests.cheats import cheats_page
from tests.cheats.table import CHEATS


def test_the_words_around_the_table_are_those_of_the_program() -> None:
    page = cheats_page.PAGE.read_text("utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(lines) == len(CHEATS)
    assert page == cheats_page.assembled(lines), "write it again: python -m tests.docs.write cheats"
