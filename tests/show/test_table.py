"""Tables on terminals of several widths, without colours, and in a pipe."""

from __future__ import annotations

import io
import sys

import pytest

from attnbench.show import console, markdown
from attnbench.show.table import GAP, Column, Screen, cells, draw, fitting

WIDTHS = [60, 80, 120]
COLUMNS = [Column("implementation"), Column("median time", right=True), Column("what it is", rank=1)]
PROSE = "Attention in blocks of queries, each of which reads the keys once and keeps a running maximum of its scores"
ROWS = [("numpy/blocked", "12.3 ms", PROSE), ("a-name-without-any-blank-in-it", "1.20 s", "short")]


class Terminal(io.StringIO):
    """A standard output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put a terminal of 60 columns, with colours, where standard output was: in a test, for pytest sets it too."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    made = Terminal()
    monkeypatch.setattr(sys, "stdout", made)
    return made


def words_of(text: str) -> set[str]:
    """The words of a drawn table."""
    return set(text.split())


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_fits_the_terminal_and_cuts_no_word(width: int) -> None:
    text = draw(COLUMNS, ROWS, Screen(width, wraps=True), title=PROSE)
    assert max(map(cells, text.splitlines())) <= width
    wanted = {word for row in (*ROWS, [column.name for column in COLUMNS]) for value in row for word in value.split()}
    assert wanted <= words_of(text)
    assert max(map(cells, draw(COLUMNS, ROWS, Screen()).splitlines())) > width  # it needed to be made to fit


def test_numbers_and_their_units_stay_in_one_line() -> None:
    text = draw(COLUMNS, ROWS, Screen(60, wraps=True))
    assert "12.3 ms" in text
    assert " 1.20 s" in text


def test_text_wraps_below_its_own_head() -> None:
    lines = draw(COLUMNS, ROWS, Screen(80, wraps=True)).splitlines()
    start = lines[1].rindex(GAP) + len(GAP)
    prose = [line[start:] for line in lines[2:-1]]
    assert " ".join(part.strip() for part in prose) == PROSE
    assert [line[:start].strip() for line in lines[3:-1]] == [""] * len(prose[1:])


def test_words_are_cut_only_where_not_even_the_longest_of_each_column_fit() -> None:
    heads, rows = [Column("a"), Column("b")], [("x" * 30, "one two " * 10)]
    assert "x" * 30 in draw(heads, rows, Screen(40, wraps=True))
    narrow = draw(heads, rows, Screen(25, wraps=True))
    assert "x" * 30 not in narrow
    assert max(map(cells, narrow.splitlines())) <= 25
    assert sum(line.count("x") for line in narrow.splitlines()) == 30


@pytest.mark.parametrize("width", [1, 2, 5, 10])
def test_no_terminal_is_too_narrow_to_draw_on(width: int) -> None:
    assert "x" in draw([Column("a"), Column("b")], [("x", "y")], Screen(width, wraps=True))


def test_a_column_of_rank_goes_before_it_is_too_narrow_to_read() -> None:
    assert fitting(COLUMNS, ROWS, Screen(65, wraps=True)) == [0, 1, 2]
    assert fitting(COLUMNS, ROWS, Screen(64, wraps=True)) == [0, 1]
    assert fitting(COLUMNS, ROWS, Screen()) == [0, 1, 2]


def test_wide_characters_take_two_columns_on_a_terminal_too() -> None:
    text = draw([Column("a"), Column("b")], [("注意", "x"), ("ab", "y")], Screen(40, wraps=True))
    assert text.splitlines()[-2:] == ["注意  x", "ab    y"]


def test_a_mark_is_a_colour_where_there_are_colours() -> None:
    green, plain = "\x1b[32m", "\x1b"
    assert green in draw(COLUMNS, ROWS, Screen(80, wraps=True, colour=True), ["best", ""])
    assert plain not in draw(COLUMNS, ROWS, Screen(80, wraps=True), ["best", ""], PROSE)
    assert plain not in draw(COLUMNS, ROWS, Screen(80, colour=True), ["best", ""], PROSE)


def test_a_word_in_brackets_is_text_and_no_markup() -> None:
    assert "[red]x[/red] :smile:" in draw([Column("[b]a")], [("[red]x[/red] :smile:",)], Screen(80, wraps=True))


def test_standard_output_that_is_a_terminal_has_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    assert console.screen() == Screen(60, wraps=True, colour=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert console.screen() == Screen(60, wraps=True)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert console.screen() == Screen(60, wraps=True)
    assert not terminal.getvalue()


def test_a_dumb_terminal_has_its_own_width_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    a_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    assert max(map(len, console.table(["a", "b"], [(PROSE, "x")]).splitlines())) <= 60


def test_in_a_pipe_a_row_is_a_line_however_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    text = console.table([column.name for column in COLUMNS], ROWS, indent="  ", ranks={"what it is": 1})
    assert len(text.splitlines()) == 2 + len(ROWS)
    assert text.splitlines()[2] == f"  {'numpy/blocked':30}  12.3 ms      {PROSE}"


def test_a_terminal_says_what_it_was_too_narrow_for(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    heads = [column.name for column in COLUMNS]
    text = console.table(heads, ROWS, indent="    ", ranks={"what it is": 1})
    assert text.splitlines()[-1] == "    (too narrow for: what it is)"
    assert PROSE.split(maxsplit=1)[0] not in text
    assert not terminal.getvalue()


def test_what_stands_in_a_text_ends_no_row_and_commands_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = "two\nlines\tand \x1b[31mred \u202eback"
    for screen in (Screen(), Screen(200, wraps=True)):
        text = draw([Column("name"), Column("time")], [(odd, "1 s")], screen)
        assert text.splitlines()[2:] == ["two\\nlines\\tand \\x1b[31mred \\u202eback  1 s"]
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert len(console.table(["name"], [(odd,)]).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a", "`a`"),
        ("a|b", "`a\\|b`"),
        ("a`b", "`` a`b ``"),
        ("`", "`` ` ``"),
        ("a\nb", "`a\\nb`"),
        ("a``b`", "``` a``b` ```"),
    ],
)
def test_any_text_is_code_in_a_cell_of_markdown(text: str, code: str) -> None:
    assert markdown.code(text) == code
