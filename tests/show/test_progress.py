"""Progress: one line that is drawn over on a terminal, plain lines in a pipe, nothing with --quiet."""

from __future__ import annotations

import io
import re
import sys
import threading
from collections.abc import Iterator

import pytest

from attnbench.show import console
from attnbench.show.progress import SECONDS_BETWEEN, SECONDS_BETWEEN_LINES, ProgressLine

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Time:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put a terminal of 80 columns where standard error was: in a test, for pytest sets it before each."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    return made


@pytest.fixture
def quiet() -> Iterator[None]:
    """As with --quiet."""
    console.set_quiet(True)
    yield
    console.set_quiet(False)


def frames(terminal: Terminal) -> list[str]:
    """What was drawn, one after the other, without what moves the cursor."""
    return [" ".join(CONTROL.sub("", part).split()) for part in re.split(r"[\r\n]+", terminal.getvalue())]


def test_a_terminal_sees_the_cell_in_work_the_counts_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    time = Time()
    with ProgressLine(now=time) as progress:
        progress(0, 10, "smoke: forward T128")
        time.now = 60.0
        progress(5, 10, "smoke: forward T512")
    shown = frames(terminal)
    assert any(frame.endswith("0/10 smoke: forward T128") for frame in shown)
    assert any(frame.endswith("5/10 about 60 s left smoke: forward T512") for frame in shown)


def test_a_long_label_is_cut_where_the_line_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    with ProgressLine() as progress:
        progress(0, 10, "x" * 200)
    assert max(map(len, frames(terminal))) <= 80
    assert any(frame.endswith("…") for frame in frames(terminal))


def test_it_is_drawn_at_most_four_times_a_second_and_the_end_always(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    time = Time()
    with ProgressLine(now=time) as progress:
        for done in range(100):
            progress(done, 1000, f"case {done}")
            time.now += SECONDS_BETWEEN / 10
        labels = set(re.findall(r"case \d+", terminal.getvalue()))
        assert 9 <= len(labels) <= 11
        progress(1000, 1000, "")
        assert "1000/1000" in terminal.getvalue()


def test_no_thread_wakes_up_beside_a_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    before = threading.active_count()
    with ProgressLine() as progress:
        progress(1, 10, "a")
        assert threading.active_count() == before
    assert terminal.getvalue()


def test_the_cursor_and_standard_error_come_back_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    out = sys.stdout

    def interrupted() -> None:
        with ProgressLine() as progress:
            progress(1, 10, "a")
            assert sys.stdout is out  # results go where they went
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sys.stderr is terminal
    assert "\x1b[?25l" not in terminal.getvalue()  # it was never hidden, so that no signal leaves it so


def test_a_note_stands_above_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    with ProgressLine() as progress:
        progress(1, 10, "working")
        console.say("something to know")
    assert "something to know" in frames(terminal)


def test_a_pipe_gets_each_label_once_as_a_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine(600.0) as progress:
        for done, label in ((0, "a"), (1, "a"), (2, "b"), (3, "")):
            progress(done, 3, label, "hint")
    assert capsys.readouterr() == ("", "[0/3] a, at most 10 min left\n[2/3] b, about 1 s left\n")


def test_a_pipe_is_told_what_is_in_work_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    time = Time()
    with ProgressLine(now=time) as progress:
        progress(0, 0, "planning")
        progress(0, 10, "smoke: forward T128")
        for name in ("preparing a", "preparing b", "timing a", "timing b"):
            time.now += SECONDS_BETWEEN_LINES / 2
            progress(0.5, 10, "smoke: forward T128")
            progress.at_work(name)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["planning", "[0/10] smoke: forward T128"]
    assert [line.partition(" · ")[2].partition(",")[0] for line in lines[2:]] == ["preparing b", "timing b"]
    assert lines[2].endswith("about 2 min left")


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    with ProgressLine() as progress:
        progress(0, 3, "a")
    assert terminal.getvalue() == "[0/3] a\n"


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)

    def coloured() -> bool:
        with ProgressLine() as progress:
            progress(5, 10, "a")
        return re.search(r"\x1b\[[0-9;]*[39]\d", terminal.getvalue()) is not None

    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured()
    monkeypatch.delenv("NO_COLOR")
    assert coloured()


@pytest.mark.usefixtures("quiet")
def test_quiet_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    with ProgressLine() as progress:
        progress(0, 3, "a")
    assert not terminal.getvalue()


@pytest.mark.parametrize(
    ("budget_s", "paced", "done", "text"),
    [
        (None, True, 2, ""),  # what was done before is no pace
        (None, True, 52, "about 60 s left"),
        (30.0, True, 52, "about 1 s left"),
        (3600.0, True, 52, "about 60 s left"),
        (3600.0, True, 3, "at most 59 min left"),
        (3600.0, False, 52, "at most 59 min left"),
        (None, False, 52, ""),
        (None, True, 102, ""),
        (3600.0, True, 102, "at most 59 min left"),  # what is done may be measured further, until the budget ends
    ],
)
def test_the_time_left_is_by_the_pace_and_within_the_budget(
    budget_s: float | None, paced: bool, done: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = a_terminal(monkeypatch)
    time = Time()
    progress = ProgressLine(budget_s, paced=paced, now=time)
    with progress:
        progress(2, 102, "resumed")
        time.now = 60.0
        assert progress.left(done, 102, time.now) == text
    assert terminal.getvalue()


def test_a_hint_brings_its_own_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    time = Time()
    with ProgressLine(600.0, now=time) as progress:
        progress(0, 10, "", "numpy/naive")
        time.now = 60.0
        progress(5, 10, "", "numpy/naive, about 1:00 left")
    assert any(frame.endswith("5/10 numpy/naive, about 1:00 left") for frame in frames(terminal))
    assert "at most" not in terminal.getvalue()


def test_a_terminal_sees_whose_burst_it_is_and_a_pipe_not_every_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressLine() as line:
        line(1, 4, "smoke: T 512")
        line.at_work("numpy/naive")
    assert capsys.readouterr().err == "[1/4] smoke: T 512\n"
    terminal, time = a_terminal(monkeypatch), Time()
    with ProgressLine(now=time) as line:
        line.at_work("nobody yet")
        line(1, 4, "smoke: T 512")
        line.at_work("too soon after")
        time.now += SECONDS_BETWEEN
        line.at_work("numpy/naive")
    drawn = " ".join(frames(terminal))
    assert "smoke: T 512 · numpy/naive" in drawn
    assert "nobody yet" not in drawn
    assert "too soon after" not in drawn


def test_the_next_block_is_drawn_though_it_was_told_too_soon_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, time = a_terminal(monkeypatch), Time()
    with ProgressLine(now=time) as line:
        line(0, 6, "block A")
        line(3, 6, "block B")
        time.now += SECONDS_BETWEEN
        line.at_work("torch/sdpa")
    drawn = " ".join(frames(terminal))
    assert "3/6" in drawn
    assert "block B · torch/sdpa" in drawn
    assert "block A · torch/sdpa" not in drawn


def test_who_tells_something_after_the_end_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, time = a_terminal(monkeypatch), Time()
    with ProgressLine(now=time) as line:
        line(0, 6, "block A")
    drawn = terminal.getvalue()
    time.now += SECONDS_BETWEEN
    line(1, 6, "a straggler")
    line.at_work("torch/sdpa")
    assert terminal.getvalue() == drawn


def test_in_a_pipe_a_hint_is_told_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, lines = iter(range(100)), list[str]()
    monkeypatch.setattr("attnbench.show.console.say", lines.append)
    with ProgressLine(now=lambda: float(next(clock))) as progress:
        for done in range(12):
            progress(done, 12, "", f"numpy/naive, about {12 - done} s left")
    assert lines[0] == "[0/12] numpy/naive, about 12 s left"
    assert 2 <= len(lines) <= 4
