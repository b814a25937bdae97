"""The page docs/mutants.md: what stands before its tables is what the program that measures them writes."""

from __future__ import annotations

from tests.agree import killtable, mutants_page


def test_the_words_before_the_tables_are_those_of_the_program() -> None:
    page = killtable.PAGE.read_text("utf-8")
    assert page.startswith(mutants_page.introduction() + mutants_page.SUMMARY.partition("{")[0])
