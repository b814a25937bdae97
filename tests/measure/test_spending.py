"""Where the time of a run goes, suite by suite, and that a report says it."""

from pathlib import Path

import pandas as pd
import pytest

from attnbench.measure.blocks.spending import Spending
from attnbench.report.tables import minutes_table
from attnbench.results.journal import Journal, seconds_by_suite


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that shows what stands in the list."""
    now = [100.0]
    monkeypatch.setattr("attnbench.measure.blocks.spending.time.monotonic", lambda: now[0])
    return now


def test_the_time_between_two_ends_belongs_to_the_suite_of_the_second(clock: list[float]) -> None:
    spent = Spending()
    clock[0] += 7.0  # ceilings: no suite's
    spent.began()
    for suite, seconds in (("a", 30.0), ("b", 60.0), ("a", 90.0)):
        clock[0] += seconds
        spent.ended(suite)
    assert spent.by_suite == {"a": 120.0, "b": 60.0}
    assert spent.total()["wall"] == 187.0
    assert spent.sentence().endswith("\nMinutes by suite: a 2.0, b 1.0.")


def test_of_one_suite_the_time_is_said_once(clock: list[float]) -> None:
    spent = Spending()
    clock[0] += 5.0
    spent.ended("a")
    assert "by suite" not in spent.sentence()


def test_the_share_inside_bursts_is_of_the_time_in_which_something_could_be_timed(clock: list[float]) -> None:
    spent = Spending()
    for phase, seconds in (("prepare", 50.0), ("rounds", 10.0), ("observing", 1000.0)):
        with spent.during(phase):
            clock[0] += seconds
    spent.add("bursts", 6.0)
    assert spent.measured_share() == 0.6
    assert "; prepare, observing aside, 60% inside measured bursts." in spent.sentence()


def test_the_parts_of_a_resumed_run_are_added(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    assert seconds_by_suite(path) == {}
    with Journal(path, new=True) as journal:
        journal.append("event", {"name": "spent", "wall": 3.0})  # from before there were suites in it
        journal.append("event", {"name": "spent", "by_suite": {"a": 30.0}})
        journal.append("event", {"name": "process", "by_suite": {"a": 1000.0}})
        journal.append("event", {"name": "spent", "by_suite": {"a": 30.0, "b": 180.0}})
    assert seconds_by_suite(path) == {"a": 60.0, "b": 180.0}


def test_the_table_says_minutes_longest_first() -> None:
    frame = pd.DataFrame({"suite": ["a", "a", "b"]})
    assert minutes_table({"a": 60.0, "b": 180.0}, frame).rows == (
        ("b", "1", "3.0", "75%"),
        ("a", "2", "1.0", "25%"),
        ("together", "3", "4.0", "100%"),
    )
    assert minutes_table({}, frame).rows == ()
