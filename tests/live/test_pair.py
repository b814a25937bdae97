"""One pair by itself: greetings and failures come as data, and a cell that failed is not asked again in it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from attnbench.live.duo import Drawn, Duo, Name, Side, twins_of
from attnbench.live.pair import Failure, Greeting, Pair
from attnbench.live.twin_state import TwinState
from attnbench.workers.pool import MOST_KILLS
from attnbench.workers.protocol import Reply
from tests.live.test_pairs import EFFORT, Enough, World, cell, failing, measure

KILLED = Reply(0, "crashed", "SIGKILL", outside=True)
WRONG = Reply(0, "wrong", "beyond the bound")


@contextmanager
def pair(world: World, cells: int = 1) -> Iterator[tuple[Pair, list[TwinState], dict[str, Any]]]:
    """A pair of nobody, its cells, and what it writes down."""
    rng = random.Random(0)  # noqa: S311
    sides: dict[Name, Side] = {name: Side(name, environment={"SIDE": name}) for name in ("A", "B")}
    states = [TwinState(twin, Enough(1)) for twin in twins_of(cell(8 + i) for i in range(cells))]
    record: dict[str, Any] = {"cells": {}}
    with Duo(sides, states[0].twin, Drawn.by(rng), start=world.start) as duo:
        yield Pair(duo, states, record, effort=EFFORT, rng=rng, clock=lambda: world.now), states, record


def asked(world: World, state: TwinState, side: Name, op: str) -> int:
    """How often a side was asked something about a cell."""
    key = state.twin.cell(side).id
    return sum(key == arguments.get("cell_id") for name, done, arguments in world.log if (name, done) == (side, op))


def test_a_pair_without_failures_tells_both_greetings_and_has_its_numbers() -> None:
    with pair(World(), cells=2) as (live_pair, states, record):
        seen = list(live_pair.run())
    assert [(type(event), event.side) for event in seen] == [(Greeting, "A"), (Greeting, "B")]
    assert all(len(state.log_ratios) == 1 and state.decided for state in states)
    assert set(record["cells"]) == {state.twin.id for state in states}


@pytest.mark.parametrize(("took_s", "false"), [(0.036, False), (0.27, True)])
def test_a_side_whose_process_does_not_tell_the_time_has_no_number(took_s: float, false: bool) -> None:
    world = World()
    world.answers["B", "burst"] = lambda _, arguments: replace(world.burst("B", arguments["calls"]), took_s=took_s)
    with pair(world) as (live_pair, states, _):
        failures = [failure for failure in live_pair.run() if isinstance(failure, Failure)]
    assert len(states[0].log_ratios) == (not false)
    assert [(failure.side, failure.reply.status) for failure in failures] == [("B", "wrong")] * false
    assert all(
        "the clock in its process does not tell the time" in (failure.reply.reason or "") for failure in failures
    )


def test_bursts_that_are_too_short_to_tell_are_followed_by_longer_ones() -> None:
    world = World()
    world.answers["B", "burst"] = lambda _, arguments: replace(
        world.burst("B", arguments["calls"]), took_s=9e-3 * arguments["calls"] if arguments["calls"] > 30 else 0.002
    )
    with pair(world) as (live_pair, _, _):
        (failure,) = [event for event in live_pair.run() if isinstance(event, Failure)]
    assert (failure.side, failure.reply.status) == ("B", "wrong")


@pytest.mark.parametrize(("op", "at"), [("prepare", 0), ("burst", 3), ("verify", 0)])
def test_a_failure_comes_as_data_and_decides_nothing_by_itself(op: str, at: int) -> None:
    world = World()
    failing(world, "B", op, WRONG, at)
    with pair(world, cells=2) as (live_pair, states, _):
        (failure,) = [event for event in live_pair.run() if isinstance(event, Failure)]
    assert (failure.side, failure.reply, failure.during) == ("B", WRONG, op)
    assert failure.state in states
    assert all(state.status == "ok" and not state.kills and not state.apart for state in states)
    assert failure.state.log_ratios == [], "what becomes of it is the caller's to say; a number it has not"
    (other,) = [state for state in states if state is not failure.state]
    assert len(other.log_ratios) == 1


def test_a_cell_that_failed_is_not_asked_again_in_the_same_pair() -> None:
    world = World()
    failing(world, "B", "burst", WRONG)
    with pair(world, cells=2) as (live_pair, states, _):
        (failure,) = [event for event in live_pair.run() if isinstance(event, Failure)]
    assert asked(world, failure.state, "B", "burst") == 1
    assert asked(world, failure.state, "A", "verify") == asked(world, failure.state, "B", "verify") == 0
    (other,) = [state for state in states if state is not failure.state]
    assert asked(world, other, "B", "burst") == 2 * EFFORT.quads


def test_an_interrupt_loses_no_failure_before_it() -> None:
    world = World()

    def answer(number: int, _: dict[str, Any]) -> Reply | None:
        if number == 2:
            raise KeyboardInterrupt
        return WRONG if number == 0 else None

    world.answers["B", "burst"] = answer
    outcome, book = measure(world, cells=2)
    assert (outcome.note, outcome.pairs) == ("interrupted", 1)
    assert sorted(state.status for state in outcome.states) == ["ok", "wrong"]
    assert [name for name, _ in book.events] == ["ended"]
    assert outcome.versions.keys() == {"A A", "B B"}


def test_a_side_that_was_killed_and_one_that_is_not_understood_are_both_told() -> None:
    world = World()
    failing(world, "A", "hello", KILLED)
    failing(world, "B", "hello", Reply(0, "crashed", "the worker has no operation 'hello'"))
    outcome, book = measure(world)
    (state,) = outcome.states
    assert (state.status, state.side, state.kills) == ("not-comparable", "B", 1)
    assert [(name, event["side"]) for name, event in book.events] == [("again", "A")]


def test_a_cell_that_a_failure_of_one_side_has_ended_takes_none_of_the_other() -> None:
    world = World()
    world.answers["A", "hello"] = lambda *_: KILLED
    world.answers["B", "hello"] = lambda number, _: KILLED if number else None
    outcome, book = measure(world)
    (state,) = outcome.states
    assert (state.status, state.side, state.kills, outcome.pairs) == ("crashed", "A", MOST_KILLS, 3)
    events = [(name, event["side"]) for name, event in book.events]
    assert events == [("again", "A"), ("again", "A"), ("again", "B"), ("ended", "A")]
