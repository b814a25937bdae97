"""The gate of live comparisons fails closed: whatever kept a cell from being measured, it never passes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from attnbench.comparing.live import LiveJudge, LiveVerdict, exit_code
from attnbench.comparing.sequential import Rules
from attnbench.live import pairs
from attnbench.live.comparison import Terms, _verdict
from attnbench.live.duo import Name, Side, twins_of
from attnbench.live.pair import PairedEffort
from attnbench.live.pairs import Pairs
from attnbench.workers.protocol import Reply
from tests.live.test_pairs import Book, World, cell, failing

EFFORT = PairedEffort(quads=2, memory_repeats=0)
Fault = Callable[[World], None]


def judged(world: World, budget_s: float = 60.0) -> tuple[LiveVerdict, ...]:
    """What ``attnbench ab`` would say of one cell in this world."""
    sides: dict[Name, Side] = {name: Side(name, environment={"SIDE": name}) for name in ("A", "B")}
    rng = random.Random(0)  # noqa: S311
    options: dict[str, Any] = {"effort": EFFORT, "start": world.start, "clock": lambda: world.now, "budget_s": budget_s}
    pairs = Pairs(sides, twins_of([cell()]), lambda: LiveJudge(Rules()), Book(), rng, **options)
    outcome = pairs.measure()
    return tuple(_verdict(state, outcome, Terms(effort=EFFORT)) for state in pairs.states)


def bursts(**changes: Any) -> Fault:
    def fault(world: World) -> None:
        world.answers["B", "burst"] = lambda *_: world.burst("B", **changes)

    return fault


def crashes(world: World) -> None:
    world.answers["B", "prepare"] = lambda *_: Reply(0, "crashed", "SIGSEGV")


def both_crash(world: World) -> None:
    crashes(world)
    world.answers["A", "prepare"] = lambda *_: Reply(0, "crashed", "SIGSEGV")


def dies_in_the_last_quad(world: World) -> None:
    """So that one side has fewer bursts than the other, in every pair."""
    world.answers["B", "burst"] = lambda number, _: (
        Reply(0, "crashed", "ended by SIGKILL", outside=True) if number % 4 == 3 else None
    )


def wrong_after_the_clock(world: World) -> None:
    failing(world, "B", "verify", Reply(0, "wrong", "beyond the bound"))


FAULTS: list[tuple[Fault, float, set[int]]] = [
    (lambda _: None, 0.0, {5}),  # no time for a pair: nothing measured
    (crashes, 60.0, {4}),
    (both_crash, 60.0, {4}),
    (dies_in_the_last_quad, 60.0, {4}),
    (wrong_after_the_clock, 60.0, {1}),
    (bursts(wall_ns=math.nan), 60.0, {5}),
    (bursts(wall_ns=math.inf), 60.0, {5}),
    (bursts(wall_ns=-1), 60.0, {5}),  # a clock that went backwards
    (bursts(wall_ns=0), 60.0, {5}),
    (bursts(calls=0), 60.0, {5}),
    (bursts(wall_ns="soon"), 60.0, {5}),
]
NAMES = ["nothing", "one-crashed", "both-crashed", "unequal-counts", "wrong", "nan", "infinite", "backwards", "still"]
NAMES += ["no-calls", "no-number"]


@pytest.mark.parametrize(("fault", "budget_s", "codes"), FAULTS, ids=NAMES)
def test_what_was_not_measured_never_passes(fault: Fault, budget_s: float, codes: set[int]) -> None:
    world = World()
    fault(world)
    verdicts = judged(world, budget_s)
    assert {verdict.verdict for verdict in verdicts} <= {"not-comparable", "inconclusive"}
    assert all(verdict.change is None and not verdict.log_ratios for verdict in verdicts)
    assert exit_code(verdicts) in codes
    assert exit_code(verdicts, inconclusive_passes=True) in codes, "--inconclusive pass forgives no fault"


def test_a_single_pair_never_passes_however_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "FIRST_START_S", 0.1)
    monkeypatch.setattr(pairs, "FIRST_CELL_S", 0.1)
    verdicts = judged(World(), budget_s=1.0)
    assert [len(verdict.log_ratios) for verdict in verdicts] == [1]
    assert {verdict.verdict for verdict in verdicts} == {"inconclusive"}
    assert exit_code(verdicts) == 3
    assert "too few pairs (1)" in verdicts[0].price


def test_the_same_world_without_a_fault_passes() -> None:
    verdicts = judged(World(), budget_s=600.0)
    assert {verdict.verdict for verdict in verdicts} == {"same"}
    assert exit_code(verdicts) == 0
