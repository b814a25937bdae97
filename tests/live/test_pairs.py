"""Pairs of processes: who computes when, what is measured again, what ends a cell, and when it is enough."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from attnbench.api.suites import AttentionSpec, Case, Problem
from attnbench.live.duo import Name, Side, Twin, twins_of
from attnbench.live.pair import ABBA, BAAB, PairedEffort, common_calls
from attnbench.live.pairs import TOO_SHORT, Pairs, PairsOutcome
from attnbench.suite import Cell
from attnbench.workers.process import Setting
from attnbench.workers.protocol import Reply

EFFORT = PairedEffort(quads=2, memory_repeats=0)
BURST_S = 0.03


def cell(T: int = 8, impl: str = "numpy/naive") -> Cell:
    return Cell("tiny", {"T": T}, Case(AttentionSpec(), Problem(Tq=T, D=4)), impl)


@dataclass
class World:
    """A machine that is not there: its clock, and what its workers did, in order."""

    seconds: Mapping[str, float] = field(default_factory=lambda: {"A": 1e-3, "B": 1e-3})
    now: float = 0.0
    log: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    answers: dict[tuple[str, str], Callable[[int, dict[str, Any]], Reply | None]] = field(default_factory=dict)
    alive: int = 0
    most_alive: int = 0
    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def start(self, _backend: str, setting: Setting) -> FakeWorker:
        self.settings.append(setting)
        self.alive += 1
        self.most_alive = max(self.most_alive, self.alive)
        return FakeWorker(self, setting.environment["SIDE"])

    @property
    def prepared(self) -> dict[str, Any]:
        seconds = dict.fromkeys(("import_s", "trace_s", "compile_s", "first_call_s"), 0.0)
        return seconds | {"calls": 30, "error_ratio": 0.1, "warmups": [], "states": ["none"]}

    def bursts(self) -> list[str]:
        return [side for side, op, _ in self.log if op == "burst"]

    def answer(self, side: str, op: str, arguments: dict[str, Any]) -> Reply:
        number = self.counts[side, op] = self.counts.get((side, op), -1) + 1
        self.log.append((side, op, arguments))
        if (answer := self.answers.get((side, op))) is not None and (reply := answer(number, arguments)) is not None:
            return reply
        values: dict[str, dict[str, Any]] = {
            "hello": {"import_s": 0.1, "versions": {}, "devices": ["cpu"], "threads": {}, "affinity": [], "pid": 1},
            "prepare": self.prepared,
            "memory": {"peak_bytes": 10 * 2**20, "source": "VmHWM"},
            "verify": {},
        }
        if op == "burst":
            self.now += BURST_S
            return self.burst(side, arguments["calls"])
        if op not in values:  # as a worker of an older revision says it
            return Reply(number, "crashed", f"the worker has no operation {op!r}")
        self.now += 0.05
        return Reply(number, "ok", value=values[op])

    def burst(self, side: str, calls: int = 30, **changes: Any) -> Reply:
        wall = round(self.seconds[side] * calls * 1e9)
        usual = {"calls": calls, "wall_ns": wall, "cpu_ns": wall, "receipt": {}, "started_at": self.now}
        return Reply(0, "ok", value=usual | changes)


class FakeWorker:
    pid = keeper_pid = 0

    def __init__(self, world: World, side: str) -> None:
        self.alive, self._world, self._side = True, world, side

    def call(self, op: str, _timeout: float, /, **arguments: Any) -> Reply:
        reply = self._world.answer(self._side, op, arguments)
        if reply.status in ("crashed", "timeout") and "has no operation" not in (reply.reason or ""):
            self.alive = False
        return reply

    def working_s(self, _seconds: float) -> float | None:
        return None

    def close(self) -> None:
        self._world.alive -= 1


class Enough:
    """A judge that wants so many pairs."""

    stage = "screen"

    def __init__(self, wanted: int) -> None:
        self.wanted, self.heard = wanted, list[float]()

    def add(self, log_ratio: float) -> object | None:
        self.heard.append(log_ratio)
        return "enough" if len(self.heard) >= self.wanted else None


@dataclass
class Book:
    """What was recorded."""

    pairs: list[Mapping[str, Any]] = field(default_factory=list)
    events: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def pair(self, record: Mapping[str, Any]) -> None:
        self.pairs.append(record)

    def event(self, name: str, **detail: Any) -> None:
        self.events.append((name, detail))


def measure(
    world: World, cells: int = 1, wanted: int = 3, *, seed: int = 0, **changes: Any
) -> tuple[PairsOutcome, Book]:
    book = Book()
    code = changes.pop("code", None)
    sides: dict[Name, Side] = {name: Side(name, environment={"SIDE": name}, code=code) for name in ("A", "B")}
    usual: dict[str, Any] = {"effort": EFFORT, "start": world.start, "clock": lambda: world.now}
    twins = twins_of(cell(8 + i) for i in range(cells))
    rng = random.Random(seed)  # noqa: S311
    return Pairs(sides, twins, lambda: Enough(wanted), book, rng, **(usual | changes)).measure(), book


def disturbed(world: World, *numbers: int) -> None:
    """Let A's bursts of these numbers be over the limit."""
    world.answers["A", "burst"] = lambda number, arguments: (
        world.burst("A", arguments["calls"], receipt={"delay_s": 1.0}) if number in numbers else None
    )


def failing(world: World, side: str, op: str, reply: Reply, at: int = 0) -> None:
    world.answers[side, op] = lambda number, _: reply if number == at else None


def test_bursts_come_in_quads_one_side_at_a_time_and_both_processes_live() -> None:
    world = World()
    outcome, _ = measure(world, cells=2, wanted=2)
    bursts = world.bursts()
    quads = {tuple(bursts[i : i + 4]) for i in range(0, len(bursts), 4)}
    assert quads == {ABBA, BAAB}
    assert len(bursts) == 2 * 2 * EFFORT.quads * 4
    assert (world.most_alive, world.alive) == (2, 0)
    assert outcome.pairs == 2


def test_everything_drawn_is_drawn_anew_and_recorded() -> None:
    world = World()
    _, book = measure(world, cells=3, wanted=6)
    hashes = {setting.environment["PYTHONHASHSEED"] for setting in world.settings}
    assert len(hashes) == 12
    assert {pair["drawn"]["starts"] for pair in book.pairs} == {"A", "B"}
    assert {str(seed) for pair in book.pairs for seed in pair["drawn"]["hash_seeds"].values()} == hashes
    assert len({tuple(pair["cells"]) for pair in book.pairs}) > 1, "the order of cells is drawn"
    assert measure(World(), cells=3, wanted=6)[1].pairs == book.pairs, "by the seed alone"


def test_the_number_of_a_pair_is_the_log_ratio_of_medians_and_raw_bursts_are_kept() -> None:
    world = World(seconds={"A": 1e-3, "B": 1.1e-3})
    # One burst of eight is far off: a median does not care.
    world.answers["B", "burst"] = lambda number, arguments: (
        world.burst("B", arguments["calls"], wall_ns=10**10) if number == 0 else None
    )
    outcome, book = measure(world, wanted=1)
    (state,) = outcome.states
    assert state.log_ratios == [pytest.approx(math.log(1.1), rel=1e-6)]
    (cell_,) = book.pairs[0]["cells"].values()
    assert len(cell_["bursts"]) == 4 * EFFORT.quads
    assert cell_["log_ratio"] == state.log_ratios[0]


def test_a_decided_cell_leaves() -> None:
    world = World()
    outcome, book = measure(world, cells=2, wanted=2)
    first = outcome.states[0]
    assert all(len(state.log_ratios) == 2 for state in outcome.states)
    assert first.decided
    slow = Enough(4)
    judges = iter([Enough(1), slow])
    sides: dict[Name, Side] = {name: Side(name, environment={"SIDE": name}) for name in ("A", "B")}
    pairs = Pairs(
        sides,
        twins_of([cell(8), cell(9)]),
        lambda: next(judges),
        book,
        random.Random(0),  # noqa: S311
        effort=EFFORT,
        start=world.start,
        clock=lambda: world.now,
    )
    assert [len(state.log_ratios) for state in pairs.measure().states] == [1, 4]


def test_agreement_is_checked_and_what_was_timed_verified_in_the_first_pair_only() -> None:
    world = World()
    measure(world, wanted=3)
    assert [arguments["gate"] for _, op, arguments in world.log if op == "prepare"] == [True] * 2 + [False] * 4
    assert [side for side, op, _ in world.log if op == "verify"].count("A") == 1


def test_a_disturbed_burst_has_its_whole_quad_measured_again() -> None:
    world = World()
    disturbed(world, 0)
    outcome, book = measure(world, wanted=1)
    (state,) = outcome.states
    assert (state.again, state.quads, state.disturbed) == (1, 2, 0)
    (cell_,) = book.pairs[0]["cells"].values()
    again = [burst for burst in cell_["bursts"] if burst["again"]]
    assert len(again) == 1
    assert again[0]["over"].startswith("run delay")
    kept = [burst for burst in cell_["bursts"] if burst["attempt"] == 1]
    assert len(kept) == 4


def test_a_quad_that_stays_disturbed_is_kept_after_two_repeats_and_counted() -> None:
    world = World()
    disturbed(world, *range(100))
    outcome, _ = measure(world, wanted=1)
    (state,) = outcome.states
    assert (state.again, state.quads, state.disturbed) == (4, 2, 4)
    assert len(state.log_ratios) == 1


@pytest.mark.parametrize("op", ["prepare", "burst", "verify"])
def test_a_failing_side_ends_the_cell_with_its_status_and_reason(op: str) -> None:
    world = World()
    failing(world, "B", op, Reply(0, "crashed", "died of SIGSEGV"))
    outcome, book = measure(world)
    (state,) = outcome.states
    assert (state.status, state.side, state.reason) == ("crashed", "B", "died of SIGSEGV")
    assert state.log_ratios == []
    assert [name for name, _ in book.events] == ["ended"]
    assert world.alive == 0


def test_a_wrong_answer_after_the_clock_leaves_no_number() -> None:
    world = World()
    failing(world, "A", "verify", Reply(0, "wrong", "an answer kept from an earlier call"))
    (state,) = measure(world)[0].states
    assert (state.status, state.side, state.log_ratios) == ("wrong", "A", [])


@pytest.mark.parametrize("op", ["burst", "verify"])
def test_a_refusal_after_the_gate_is_wrong_whatever_the_worker_calls_it(op: str) -> None:
    world = World()
    failing(world, "B", op, Reply(0, "unsupported", "not today"))
    (state,) = measure(world)[0].states
    assert (state.status, state.side, state.reason, state.log_ratios) == ("wrong", "B", "not today", [])


def test_a_refusal_at_the_gate_is_unsupported() -> None:
    world = World()
    for side in ("A", "B"):
        failing(world, side, "prepare", Reply(0, "unsupported", "no such tile"))
    (state,) = measure(world)[0].states
    assert (state.status, state.side, state.reason) == ("unsupported", None, "no such tile")


def test_a_crash_beside_others_is_tried_alone_before_it_is_believed() -> None:
    world = World()
    guilty = cell(8).id
    world.answers["B", "burst"] = lambda _, arguments: (
        Reply(0, "crashed", "again") if arguments["cell_id"] == guilty else None
    )
    outcome, book = measure(world, cells=3, wanted=2)
    by_id = {state.twin.id: state for state in outcome.states}
    assert by_id[guilty].status == "crashed"
    assert by_id[guilty].apart
    assert all(len(state.log_ratios) == 2 for key, state in by_id.items() if key != guilty)
    assert [name for name, _ in book.events] == ["again", "ended"]


def test_a_process_that_somebody_kills_costs_a_pair_and_no_cell() -> None:
    world = World()
    failing(world, "A", "burst", Reply(0, "crashed", "SIGKILL", outside=True))
    (state,) = measure(world, wanted=2)[0].states
    assert (state.status, len(state.log_ratios), state.kills) == ("ok", 2, 1)


@pytest.mark.parametrize("wall", [0, -5, math.nan, math.inf])
def test_a_broken_clock_is_never_a_number(wall: float) -> None:
    world = World()
    world.answers["B", "burst"] = lambda _, arguments: world.burst("B", arguments["calls"], wall_ns=wall)
    (state,) = measure(world)[0].states
    assert state.status == "not-comparable"
    assert "clock" in str(state.reason)
    assert state.log_ratios == []


def test_another_protocol_is_not_comparable() -> None:
    world = World()
    failing(world, "B", "prepare", Reply(0, "ok", value={"seconds": 3}))
    (state,) = measure(world)[0].states
    assert (state.status, state.side) == ("not-comparable", "B")
    assert "protocol" in str(state.reason)


def test_an_implementation_that_one_side_lacks_is_not_comparable_and_no_crash() -> None:
    world = World()
    failing(world, "A", "prepare", Reply(0, "crashed", "UsageError: unknown implementation 'numpy/new'; numpy has ..."))
    (state,) = measure(world)[0].states
    assert (state.status, state.side) == ("not-comparable", "A")


def test_a_worker_that_does_not_start_ends_the_cells() -> None:
    world = World()
    failing(world, "B", "hello", Reply(0, "crashed", "ImportError"))
    outcome, _ = measure(world, cells=2)
    assert [(state.status, state.side) for state in outcome.states] == [("crashed", "B")] * 2
    assert world.alive == 0


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("crashed", "SIGSEGV", "crashed"),
        ("crashed", "ImportError: numpy.core is gone", "crashed"),
        ("timeout", "no answer in 120 s", "timeout"),
        ("crashed", "the worker has no operation 'hello'", "not-comparable"),
        ("crashed", "TypeError: General.hello() got an unexpected keyword argument 'threads'", "not-comparable"),
        ("crashed", "TypeError: Bench.hello() got an unexpected keyword argument 'threads'", "not-comparable"),
        ("crashed", "UsageError: unknown backend 'jax'; there are numpy, torch", "not-comparable"),
    ],
)
def test_a_revision_that_dies_at_hello_has_failed_unless_it_was_not_understood(
    status: str, reason: str, expected: str
) -> None:
    world = World()
    failing(world, "B", "hello", Reply(0, status, reason))
    (state,) = measure(world, code="abc123")[0].states
    assert (state.status, state.side) == (expected, "B")
    assert reason in str(state.reason)


@pytest.mark.parametrize("op", ["prepare", "burst"])
def test_a_side_that_crashes_in_a_later_pair_leaves_no_half_number(op: str) -> None:
    world = World()
    per_pair = {"prepare": 1, "burst": 2 * EFFORT.quads}[op]
    failing(world, "B", op, Reply(0, "crashed", "SIGSEGV"), at=3 * per_pair)
    outcome, book = measure(world, wanted=8)
    (state,) = outcome.states
    assert (state.status, state.side, outcome.pairs) == ("crashed", "B", 4)
    assert [len(state.log_ratios), *map(len, state.seconds.values())] == [3, 3, 3]
    assert "log_ratio" not in book.pairs[-1]["cells"].get(state.twin.id, {})


@pytest.mark.parametrize("at", range(1, 8))
def test_a_pair_that_ends_halfway_gives_no_number_of_its_other_cells(at: int) -> None:
    world = World()
    both = 2 * 2 * EFFORT.quads
    failing(world, "B", "burst", Reply(0, "crashed", "SIGKILL", outside=True), at=2 * both + at)
    outcome, book = measure(world, cells=2, wanted=4)
    whole = [len(record["bursts"]) for record in book.pairs[2]["cells"].values() if "log_ratio" in record]
    assert set(whole) <= {4 * EFFORT.quads}
    assert len(whole) < 2
    assert [(state.status, len(state.log_ratios)) for state in outcome.states] == [("ok", 4)] * 2


def test_no_pair_starts_that_would_not_end_within_the_budget() -> None:
    world = World()
    outcome, _ = measure(world, wanted=1000, budget_s=10.0)
    assert outcome.note == "the budget was spent"
    assert 8.0 < world.now <= 9.0  # the last second is for what comes after
    assert len(outcome.states[0].log_ratios) == outcome.pairs > 3


def test_every_cell_has_a_first_pair_before_any_has_a_second_and_none_without_time_for_it() -> None:
    world = World()
    outcome, book = measure(world, cells=8, wanted=1000, budget_s=12.0)
    firsts = [set(record["cells"]) for record in book.pairs]
    assert set().union(*firsts[:3]) == {state.twin.id for state in outcome.states}
    assert len(firsts[0]) < 8  # no more than the forecast of a first pair leaves time for
    assert not firsts[0] & firsts[1]
    short, _ = measure(World(), cells=8, wanted=1000, budget_s=2.0)
    assert (short.pairs, short.note) == (0, TOO_SHORT)


def test_what_the_budget_cuts_off_is_no_failure_of_a_side() -> None:
    world = World()

    def slow(_number: int, _arguments: dict[str, Any]) -> None:
        world.now += 2.0

    world.answers["A", "burst"] = slow
    outcome, _ = measure(world, cells=2, wanted=10, budget_s=12.0)
    assert [state.status for state in outcome.states] == ["ok", "ok"]
    assert world.now < 12.0 + 3.0
    assert outcome.note == "the budget was spent"


def test_an_interrupt_keeps_what_is_there_and_ends_both_processes() -> None:
    world = World()

    def interrupt(number: int, _: dict[str, Any]) -> None:
        if number == 20:
            raise KeyboardInterrupt

    world.answers["A", "burst"] = interrupt
    outcome, _ = measure(world, wanted=10)
    assert outcome.note == "interrupted"
    assert len(outcome.states[0].log_ratios) >= 1
    assert world.alive == 0


def test_cells_of_different_backends_have_processes_of_their_own() -> None:
    twins = twins_of([cell(8), cell(8, "torch/naive"), cell(8, "jax/naive")])
    assert len({twin.processes for twin in twins}) == 3
    (both,) = twins_of([cell(8), cell(8, "numpy/blocked"), cell(9)], "numpy/naive", "numpy/blocked")
    assert (both.a.impl, both.b.impl) == ("numpy/naive", "numpy/blocked")
    assert isinstance(both, Twin)


def test_both_sides_make_as_many_calls_unless_they_are_too_unlike() -> None:
    assert common_calls(20, 80) == {"A": 40, "B": 40}
    assert common_calls(10, 300) == {"A": 10, "B": 300}
