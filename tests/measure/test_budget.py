"""A budget is kept: every case has its first look before any has a second, and the rest is left out beforehand."""

from __future__ import annotations

import math
import random
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from attnbench.analysis.leading import LEVEL
from attnbench.analysis.rounds import ASSUMED_OF_ONE, FEWEST, student
from attnbench.api.suites import AttentionSpec, Case, Problem, Story, TimedSuite
from attnbench.measure.audits.auditor import Auditor
from attnbench.measure.blocks import budgeted, effort
from attnbench.measure.blocks.block import Block
from attnbench.measure.blocks.budgeted import Budgeted, Waiting
from attnbench.measure.blocks.effort import FEWEST_FOR_INTERVAL, FLOOR, TIGHT_S, Effort
from attnbench.measure.blocks.forecast import FURTHER, SLOW, SLOW_LATER, LookForecast, chosen, reason
from attnbench.measure.blocks.outcome import Outcome, RunClock
from attnbench.measure.blocks.spending import Spending
from attnbench.measure.run import ongoing, plan, rows
from attnbench.measure.run.ongoing import GRACE_S, MOST_CLOSING
from attnbench.measure.run.options import RunOptions
from attnbench.measure.run.plan import make_plan
from attnbench.measure.run.rates import Rates
from attnbench.measure.run.run import run
from attnbench.results.read import read_contents
from attnbench.results.schema import Sample
from attnbench.suite import Cell
from attnbench.workers import process, tree
from attnbench.workers.pool import Pool
from attnbench.workers.process import PATIENCE_S, Setting, WorkerProcess
from attnbench.workers.protocol import NOT_RUN, OK, Ceilings, Memory, Reply
from tests.dropins import tiny

Make = Callable[..., RunOptions]

WEIGHING_S = 0.5
USUAL = 12


# Which cells are chosen


def test_every_block_has_its_cheapest_cell_before_any_has_a_second_one() -> None:
    short, long = [("a", 1.0), ("b", 1.0), ("c", 2.0)], [("x", 5.0), ("y", 9.0)]
    assert chosen([short, long], 6.0) == {"a", "x"}
    assert chosen([short, long], 7.5) == {"a", "b", "x"}
    assert chosen([short, long], 18.0) == {"a", "b", "c", "x", "y"}
    assert chosen([short, long], 5.5) == {"a", "b", "c"}  # what is too long for it all keeps nobody else out
    assert chosen([[], short], 0.5) == set()


def cell(tokens: int, impl: str = "numpy/naive", **changes: Any) -> Cell:
    problem = Problem(B=1, Hq=4, Hkv=4, Tq=tokens, S=tokens, D=64, Dv=64)
    return Cell("s", {"T": tokens}, Case(AttentionSpec(), problem, **changes), impl)


def rates(known: dict[str, float] | None = None) -> Any:
    usual = {"float32_flop_rate": 1e10, "copy_bytes_rate": 1e10, "exp_rate": 1e9} if known is None else known
    return SimpleNamespace(known=lambda _device, _threads: Ceilings(usual))


def looked(of: Cell, call_s: float) -> Outcome:
    sample = Sample(run_id="r", cell_id=of.id, replicate=0, burst=0, index=0, calls=1, wall_s=call_s, cache="none")
    return Outcome(of, prepared=SimpleNamespace(), samples=[sample])  # type: ignore[arg-type]


def test_a_forecast_learns_how_slow_an_implementation_is_and_how_slow_the_machine() -> None:
    forecast = LookForecast(rates())
    least = forecast.call_s(cell(1024)) / SLOW
    assert forecast.look_s(cell(1024), later=True) < forecast.look_s(cell(1024))
    assert forecast.call_s(cell(1024), SLOW_LATER) == pytest.approx(SLOW_LATER * least)
    forecast.learn([looked(cell(512), 2.0)], seconds=4.0)
    assert forecast.call_s(cell(1024)) == pytest.approx(8.0, rel=0.1)  # four times the work of what took 2 s
    assert forecast.call_s(cell(1024, "torch/naive")) == pytest.approx(SLOW * least)
    before = forecast.look_s(cell(512))
    for _ in range(20):
        forecast.learn([looked(cell(512), 2.0)], seconds=3 * before)
    assert forecast.look_s(cell(512)) == pytest.approx(3 * before, rel=0.01)


def test_without_ceilings_nothing_is_forecast_of_a_call_and_gradients_take_longer() -> None:
    forecast = LookForecast(rates({}))
    assert forecast.call_s(cell(4096)) == 0
    assert forecast.look_s(cell(512, phase="backward")) > forecast.look_s(cell(512))


def test_cells_of_about_the_same_cost_have_the_same_reason() -> None:
    assert reason(3.1) == reason(4.9) != reason(5.1)
    assert "about 5 s" in reason(3.1)
    assert "about 2 h" in reason(7200.0)


# In which order


@dataclass
class Scripted:
    """A block that takes as long as it is told to, of cells with a cost each."""

    name: str
    costs: dict[str, float]
    world: World
    looks: int = 2
    bursts: int = USUAL
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outcomes = [Outcome(Cell("s", {"n": f"{self.name}{n}"}, None, f"numpy/{n}")) for n in self.costs]

    @property
    def first(self) -> Cell:
        return self.outcomes[0].cell

    @property
    def looks_left(self) -> int:
        return self.looks if self.alive() else 0

    @property
    def to_weigh(self) -> list[Outcome]:
        return [outcome for outcome in self.alive() if outcome.memory is None]

    def alive(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.alive]

    def left_out(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.left_out]

    def leave_out(self, reasons: dict[str, str]) -> None:
        for outcome in self.outcomes:
            if outcome.cell.id in reasons:
                outcome.status, outcome.reason, outcome.left_out = NOT_RUN, reasons[outcome.cell.id], True

    def at_least(self, bursts: int) -> None:
        self.bursts = bursts

    def as_few_as_possible(self) -> None:
        self.bursts = FLOOR

    def look(self, _pool: Pool, _keep_s: float) -> None:
        self.looks -= 1
        self._spend("look", self.alive())

    def look_at(self, cells: Collection[str], _pool: Pool, _keep_s: float) -> None:
        late = [outcome for outcome in self.left_out() if outcome.cell.id in cells]
        for outcome in late:
            outcome.status, outcome.left_out = OK, False
        self._spend("late", late)

    def weigh(self) -> None:
        for outcome in self.to_weigh:
            outcome.memory = Memory(1, "test")
        self._spend("memory", self.alive())

    def ended(self) -> list[Outcome]:
        return self.outcomes

    def _spend(self, what: str, outcomes: list[Outcome]) -> None:
        names = "".join(outcome.cell.impl.removeprefix("numpy/") for outcome in outcomes)
        self.world.log.append(f"{what} {self.name} {names}")
        for outcome in outcomes:
            outcome.prepared = SimpleNamespace()  # type: ignore[assignment]
            outcome.stood.add(len(outcome.stood))
            cost = WEIGHING_S if what == "memory" else self.costs[outcome.cell.impl.removeprefix("numpy/")]
            self.world.now += cost * self.world.slower


@dataclass
class World:
    """A clock that only measuring moves, a forecast that knows the costs, and what was done."""

    budget_s: float
    slower: float = 1.0
    learn: Callable[[Sequence[Outcome], float], None] = lambda _outcomes, _seconds: None
    now: float = 0.0
    log: list[str] = field(default_factory=list)
    pools: list[str] = field(default_factory=list)
    now_open: int = 0
    most: int = 0

    def measure(self, *blocks: Scripted, **how: Any) -> Budgeted:
        costs = {o.cell.id: b.costs[o.cell.impl.removeprefix("numpy/")] for b in blocks for o in b.outcomes}
        forecast = SimpleNamespace(
            look_s=lambda cell, later=False: costs[cell.id],  # noqa: ARG005
            audit_s=lambda _cells: 0.0,
            weigh_s=lambda _cell: WEIGHING_S,
            learn=self.learn,
        )
        clock = SimpleNamespace(left=lambda: self.budget_s - self.now, spent=lambda: self.now >= self.budget_s)
        made = Budgeted(
            [Waiting(block) for block in blocks],  # type: ignore[arg-type]
            clock,  # type: ignore[arg-type]
            forecast,  # type: ignore[arg-type]
            self.pool,
            lambda _block: None,
            lambda _block, _what: None,
            lambda _name, **_detail: None,
            **how,
        )
        made.measure()
        return made

    def pool(self, _threads: int, salt: str) -> Any:
        self.pools.append(salt)

        @contextmanager
        def opened() -> Iterator[None]:
            yield

        def close() -> None:
            self.now_open -= 1

        pool = opened()
        pool.close = close  # type: ignore[attr-defined]
        self.now_open += 1
        self.most = max(self.most, self.now_open)
        return pool


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    def make(budget_s: float, **how: Any) -> World:
        made = World(budget_s, **how)
        monkeypatch.setattr(budgeted, "time", SimpleNamespace(monotonic=lambda: made.now))
        return made

    return make


def test_first_looks_of_all_then_second_ones_then_memory_then_further_ones(world: Callable[..., World]) -> None:
    w = world(100.0)
    w.measure(Scripted("A", {"a": 1, "b": 2}, w, looks=3), Scripted("B", {"a": 3, "b": 4}, w, looks=3))
    looks = ["look A ab", "look B ab"]
    assert w.log == [*looks, *looks, "memory A ab", "memory B ab", *looks]


def test_further_looks_are_at_those_that_go_on_and_one_at_rest_may_come_back(world: Callable[..., World]) -> None:
    w, wanted = world(100.0), iter(["bc", "c", "ac", ""])
    block = Scripted("A", {"a": 1, "b": 1, "c": 1}, w, looks=9)

    def goes_on(outcomes: Sequence[Outcome]) -> set[str]:
        names = next(wanted)
        return {outcome.cell.id for outcome in outcomes if outcome.cell.impl.removeprefix("numpy/") in tuple(names)}

    w.measure(block, goes_on=goes_on)
    assert w.log == ["look A abc", "memory A abc", "look A bc", "look A c", "look A ac"]
    assert {outcome.status for outcome in block.outcomes} == {OK}


def test_a_look_at_fewer_cells_is_forecast_to_be_shorter(world: Callable[..., World]) -> None:
    w = world(11.0)
    w.measure(Scripted("A", dict.fromkeys("abcd", 1), w, looks=9), goes_on=lambda outcomes: {outcomes[0].cell.id})
    assert w.log == ["look A abcd", "memory A abcd", *["look A a"] * 4]


def test_what_is_too_long_is_left_out_before_anything_of_it_is_prepared(world: Callable[..., World]) -> None:
    w = world(10.0)
    long = Scripted("B", {"a": 5, "b": 30}, w)
    w.measure(Scripted("A", {"a": 1, "b": 1}, w), long, tight=True)
    assert w.log[:2] == ["look A ab", "look B a"]
    assert [outcome.reason for outcome in long.outcomes] == [None, reason(30)]
    assert w.now <= 10.0


def test_blocks_ahead_keep_their_first_look_though_the_machine_is_slower(world: Callable[..., World]) -> None:
    w = world(20.0, slower=1.4)
    w.measure(Scripted("A", dict.fromkeys("abcdefgh", 1.0), w), Scripted("B", {"a": 6.0}, w), tight=True)
    assert w.log[1] == "look B a"
    assert w.now <= 20.0


def test_time_that_is_left_goes_to_those_that_were_left_out(world: Callable[..., World]) -> None:
    w = world(12.0, slower=0.5)
    w.measure(Scripted("A", dict.fromkeys("abcdef", 1.0), w), Scripted("B", {"a": 6.0}, w), tight=True)
    assert w.log[0] != "look A abcdef"
    assert w.log[2].startswith("late A")


def test_what_a_late_look_took_is_counted_before_a_further_look_begins(world: Callable[..., World]) -> None:
    w = world(11.0)
    block = Scripted("A", {"a": 5.0}, w, looks=1)
    made = w.measure(block)
    made.blocks[0].look_s = 0.0
    block.leave_out({block.outcomes[0].cell.id: "no time"})
    w.budget_s = 20.0
    assert made._late_looks()
    assert made.blocks[0].look_s == 5.0


def test_a_further_look_after_a_late_one_is_forecast_by_the_cells_of_both(world: Callable[..., World]) -> None:
    w = world(100.0)
    block = Scripted("A", dict.fromkeys("abcdefghij", 2.0), w, looks=1)
    made = w.measure(block)
    (waiting,), block.looks = made.blocks, 3
    waiting.look_s, waiting.looked_at, waiting.wanted = 6.0, 3, 4  # the first look was at three of them
    block.leave_out({outcome.cell.id: "no time" for outcome in block.outcomes[3:]})
    w.budget_s = w.now + 100.0
    assert made._late_looks()
    assert [waiting.look_s, waiting.again_s] == pytest.approx([20.0, FURTHER * 20.0])


def test_a_forecast_does_not_learn_that_cells_at_rest_take_no_time(world: Callable[..., World]) -> None:
    forecast, learned_of = LookForecast(rates({})), list[int]()

    def learn(outcomes: Sequence[Outcome], seconds: float) -> None:
        learned_of.append(len(outcomes))
        forecast.learn(outcomes, seconds)

    w = world(100.0, learn=learn)
    block = Scripted("A", dict.fromkeys("abcdefghij", 1.0), w, looks=9)
    assert forecast.look_s(block.first) < 0.95
    w.measure(block, goes_on=lambda outcomes: {outcome.cell.id for outcome in outcomes[:2]})
    assert learned_of == [10, *[2] * 8]
    assert forecast.look_s(block.first) == pytest.approx(1.0)


def test_every_look_has_environments_of_its_own(world: Callable[..., World]) -> None:
    w, this_run = world(300.0), SimpleNamespace(_seed=1)
    blocks = [Scripted("A", {"a": 1.0}, w, looks=20), Scripted("B", {"a": 1.0}, w, looks=20)]
    assert not w.measure(*blocks).sharing
    drawn = set()
    for salt in w.pools:
        rng = ongoing.OngoingRun._rng(this_run, salt)  # type: ignore[arg-type]
        environment, _ = Pool(threads=1, timeout_s=1.0, rng=rng)._drawn()
        drawn.add(tuple(environment.values()))
    assert len(drawn) == len(w.pools) == len([line for line in w.log if line.startswith("look")]) == 40


def test_a_cell_with_looks_from_before_is_not_run_until_it_is_checked_again() -> None:
    before = replace(looked(cell(64), 1.0), prepared=None)
    row = rows.finished(rows.planned(before.cell, "r", "m", "v"), before, None)
    assert (row.status, row.reason) == (NOT_RUN, "the budget was spent before its turn")


@pytest.mark.parametrize("status", ["wrong", "crashed", NOT_RUN])
def test_a_result_of_earlier_looks_may_end_without_a_number(status: str) -> None:
    phases = {"trace_s": 0.0, "compile_s": 0.0, "first_call_s": 0.1}
    outcome = replace(looked(cell(64), 1.0), error_ratio=0.1, prepared=SimpleNamespace(**phases))  # type: ignore[arg-type]
    outcome.memory = Memory(64, "test")
    row = rows.finished(rows.planned(outcome.cell, "r", "m", "v"), outcome, None)
    assert (row.status, row.time_median_s, row.peak_bytes) == (OK, 1.0, 64)
    outcome.status, outcome.reason = status, "seen in its second process"
    row = rows.finished(row, outcome, None)
    assert (row.status, row.reason) == (status, "seen in its second process")
    assert (row.time_median_s, row.peak_bytes, row.memory) == (None, None, {})


def test_what_a_budget_made_otherwise_is_said(world: Callable[..., World]) -> None:
    roomy, tight = world(100.0), world(100.0)
    assert roomy.measure(Scripted("A", {"a": 1}, roomy)).said() == []
    block = Scripted("A", {"a": 1, "b": 1}, tight)
    made = tight.measure(block, tight=True)
    for outcome, replicates in zip(block.outcomes, ([0], [0, 1]), strict=True):
        outcome.samples = [
            s.model_copy(update={"replicate": r}) for s in looked(outcome.cell, 1.0).samples for r in replicates
        ]
    assert made.said() == [budgeted.TIGHT, budgeted.SHARING, f"1 of 2 {budgeted.ONCE}"]


def test_it_is_said_where_the_number_of_processes_is_what_stands_in_the_way(world: Callable[..., World]) -> None:
    w = world(19.5)
    blocks = [Scripted(name, {"a": 2.0, "b": 2.0}, w, looks=5) for name in "AB"]
    made = w.measure(*blocks)
    for block, replicates in zip(blocks, (1, 2), strict=True):
        for outcome in block.outcomes:
            outcome.samples = [
                s.model_copy(update={"replicate": r})
                for s in looked(outcome.cell, 1.0).samples
                for r in range(replicates)
            ]
    once, few, more = made.said()[-3:]
    assert once == f"2 of 4 {budgeted.ONCE}"
    assert few == "2 of 4 timed cells were seen in fewer processes than the usual 5: less is told apart."
    assert re.fullmatch(r"All of them take about \d+ s more\.", more)
    blocks[1].outcomes[0].samples += [
        s.model_copy(update={"replicate": r}) for s in blocks[1].outcomes[0].samples for r in range(2, 6)
    ]
    few = next(sentence for sentence in made.said() if "fewer processes" in sentence)
    assert few.startswith("1 of 4")  # one that was seen in six is none of them
    made.goes_on = lambda _outcomes: ()
    assert made.said() == [once]
    least = math.exp(student(1 - LEVEL / 9, FEWEST - 1) * ASSUMED_OF_ONE)
    assert 9 < least < 10  # "nearly ten times as long"


@pytest.mark.parametrize("wanted", [3, 58])  # those that were seen before count too; nobody usually has sixty
def test_the_usual_processes_are_those_that_an_interval_takes(wanted: int, world: Callable[..., World]) -> None:
    w = world(100.0)
    block = Scripted("A", {"a": 1.0}, w, looks=wanted)
    block.outcomes[0].samples = [
        s.model_copy(update={"replicate": r}) for s in looked(block.first, 1.0).samples for r in range(2)
    ]
    made = w.measure(block)
    assert made.said()[0] == "All timed cells were seen in fewer processes than the usual 5: less is told apart."
    since = "1 of 1 timed cells that were measured after the run was resumed were seen in fewer processes than the"
    assert made.said(resumed=True)[0].startswith(since)  # of the others it knows nothing
    assert FEWEST == effort.USUAL


@pytest.mark.parametrize(("budget_s", "bursts"), [(100.0, USUAL), (12.0, FLOOR), (8.0, FEWEST_FOR_INTERVAL)])
def test_a_look_has_few_bursts_where_there_is_time_for_a_second_one_and_not_for_all(
    budget_s: float, bursts: int, world: Callable[..., World]
) -> None:
    w = world(budget_s)
    blocks = [Scripted(name, {"a": 2.0, "b": 1.0}, w, looks=5) for name in "AB"]
    w.measure(*blocks, tight=True)
    assert [block.bursts for block in blocks] == [bursts] * 2


def test_processes_of_one_number_of_threads_are_there_at_a_time(world: Callable[..., World]) -> None:
    w = world(100.0)
    blocks = [Scripted(name, {"a": 1}, w, looks=1) for name in "ABCD"]
    for block, threads in zip(blocks, (1, 2, 1, 2), strict=True):
        block.outcomes = [replace(o, cell=replace(o.cell, threads=threads)) for o in block.outcomes]
    w.measure(*blocks, tight=True)
    assert [line for line in w.log if line.startswith("look")] == ["look A a", "look C a", "look B a", "look D a"]
    assert (w.pools, w.most) == (["pass 1", "pass 2"], 1)


def test_brief_rates_are_measured_on_every_device() -> None:
    asked_of: list[tuple[str, str]] = []

    def ask(backend: str, device: str, _threads: int, _what: dict[str, Any]) -> Reply:
        asked_of.append((backend, device))
        return Reply(0, NOT_RUN, "not here")

    on_gpu = Cell("s", {}, cell(64).case, "torch/sdpa", "cuda")
    cells = [cell(64), cell(128), cell(64, "torch/naive"), on_gpu]
    writer = SimpleNamespace(event=lambda *_given, **_more: None)
    Rates(cells, writer, Spending(), 60.0, brief=True).measure(ask)  # type: ignore[arg-type]
    assert asked_of == [("numpy", "cpu"), ("torch", "cuda")]


@pytest.mark.parametrize(
    ("budget_s", "tight", "shared"), [(1000.0, False, False), (12.0, False, True), (1000, True, True)]
)
def test_blocks_share_processes_where_fresh_ones_would_take_the_time(
    budget_s: float, tight: bool, shared: bool, world: Callable[..., World]
) -> None:
    w = world(budget_s)
    w.measure(*(Scripted(name, {"a": 1, "b": 1}, w, looks=1) for name in "ABCDE"), tight=tight)
    assert len(w.pools) == (1 if shared else 5)


# What a budget does to the rules of measuring


def test_a_tight_budget_makes_looks_short() -> None:
    usual = Effort()
    tight, roomy = usual.within(TIGHT_S * 9, 10), usual.within(TIGHT_S * 11, 10)
    assert (tight.brief, tight.retries) == (True, 0)
    assert (roomy.brief, roomy.retries) == (False, usual.retries)
    assert usual.within(None, 10) is usual


def test_an_answer_is_not_waited_for_beyond_the_budget() -> None:
    until = time.monotonic() + 0.5
    with Pool(threads=1, timeout_s=60.0, rng=random.Random(1), until=until) as pool:  # noqa: S311
        reply = pool.ask(cell(64), "prepare", cell=cell(64).to_dict())  # importing takes longer, or else comes after it
        while reply.ok:
            reply = pool.ask(cell(64), "prepare", cell=cell(64).to_dict())
        assert (reply.status, reply.reason and reply.reason.startswith("the budget was spent")) == (NOT_RUN, True)
        assert pool.ask(cell(64), "prepare").reason == "the budget was spent before its turn"
    assert time.monotonic() - until < 5
    with Auditor(60.0, until) as auditor:
        assert not auditor._ask("draw", cell={}).ok


def test_what_the_budget_cuts_off_keeps_what_was_seen_before() -> None:
    outcome = looked(cell(64), 1.0)  # audited before, in this run or in the part of it that was broken off
    assert outcome.cut_off(1)
    assert (outcome.alive, outcome.status, len(outcome.samples)) == (False, OK, 1)
    first = Outcome(cell(64))
    first.samples = looked(cell(64), 1.0).samples  # timed now
    assert not first.cut_off(0)
    assert first.samples == []


def test_what_was_prepared_but_never_audited_is_no_result() -> None:
    block = unasked(cell(64), cell(128))
    seen, unseen = block.outcomes
    seen.prepared = unseen.prepared = SimpleNamespace()  # type: ignore[assignment]
    seen.stood = {0}
    unseen.samples = looked(unseen.cell, 1.0).samples
    block.ended()
    assert seen.status == OK
    assert (unseen.status, unseen.reason) == (NOT_RUN, "the budget was spent before it was timed and audited")


def unasked(*cells: Cell) -> Block:
    """A block whose looks ask nobody."""
    pool = SimpleNamespace(release=lambda _cell: None)
    block = Block(cells, pool, Effort(), RunClock("r", 0.0), SimpleNamespace(), random.Random(1))  # type: ignore[arg-type]  # noqa: S311
    for part in ("_replicate", "_hold_to_the_clock_outside", "_audit"):
        setattr(block, part, lambda _replicate: None)
    return block


def test_a_late_look_takes_none_of_the_looks_that_all_cells_of_a_block_are_to_have() -> None:
    for left_out in ([0], [0, 1]):  # a part of it was seen before, or nothing
        block = unasked(cell(64), cell(128))
        late = [block.outcomes[i].cell.id for i in left_out]
        block.leave_out(dict.fromkeys(late, "no time"))
        if block.alive():
            block.look(block._pool)
        block.look_at(late, block._pool, 0.0)
        assert block.looks_left == Effort().replicates - 1
        assert len(block.alive()) == 2


def test_the_clock_keeps_seconds_for_what_comes_after() -> None:
    clock = RunClock("r", 0.0, time.monotonic() + 10)
    assert clock.spent(11)
    assert not clock.spent(5)
    assert RunClock("r", 0.0).left() == math.inf
    plan = make_plan(["smoke"], patterns=["numpy/*"], probe=False)
    end, until = ongoing._deadline(60.0, plan, began=1000.0)
    assert end is not None
    assert 1060 - 2 < end < 1060 < until + GRACE_S
    assert ongoing._deadline(1.0, plan, began=0.0)[0] == 1 - MOST_CLOSING


def test_a_run_ends_within_its_budget_and_says_what_it_left_out(options: Make) -> None:
    suite = TimedSuite(name="tiny", story=Story(question="?"), axes={"T": tuple(range(16, 40))}, case=tiny)
    began = time.monotonic()
    done = run(options(suites=[suite], patterns=["numpy/naive", "numpy/loops"], budget_s=12.0, effort=Effort()))
    assert time.monotonic() - began < 12 + 5
    assert {row.status for row in done.rows} == {"ok", "not-run"}
    assert len({row.case_id for row in done.rows if row.status == "ok"}) > 1
    reasons = {row.reason for row in done.rows if row.status == "not-run"}
    assert all((why and "beforehand" in why) or why == "the budget was spent before its turn" for why in reasons)
    assert done.note is not None
    events = read_contents(done.folder).events
    assert next(event for event in events if event["name"] == "budget")["sharing"]


# What cannot fit


def test_what_does_not_fit_into_memory_is_refused_in_the_plan(
    suite: TimedSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "free_memory", lambda: 4 * 2**30)
    axes = {"T": (16, 10**9)}
    made = make_plan([suite.with_axes(axes)], patterns=["numpy/naive"], probe=False)
    small, large = made.cells
    assert small.id not in made.refused
    assert made.refused[large.id].startswith("its inputs and outputs alone take ")
    assert "4.00 GiB of memory are free here; ask for fewer tokens" in made.refused[large.id]


def test_giving_memory_back_is_no_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = iter([600 * 2**20, 300 * 2**20, 300 * 2**20, 300 * 2**20])
    monkeypatch.setattr(tree, "level", lambda _pid, _name: next(levels))
    monkeypatch.setattr(tree, "working_s", lambda _pid, _seconds: 0.020)
    with WorkerProcess(None, Setting()) as worker:
        assert worker.working_s(0.03) == 0.0
        assert worker.working_s(0.03) == 0.020
    assert process.FREEING_S * 300 * 2**20 > 0.02


def test_an_interrupt_waits_for_nobody(tmp_path: Path) -> None:
    file = tmp_path / "sleeps.py"
    file.write_text("import time\ntime.sleep(60)\n")
    pool = Pool(threads=1, timeout_s=60.0, rng=random.Random(1))  # noqa: S311
    assert pool.ask(cell(16), "hello", backend="numpy", threads=1).ok
    (member,) = pool._members.values()
    asking = threading.Thread(target=member.worker.call, args=("describe", 60.0), kwargs={"files": [str(file)]})
    asking.start()
    time.sleep(0.3)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), pool:
        raise KeyboardInterrupt
    asking.join(10)
    assert time.monotonic() - began < PATIENCE_S
