"""Bursts count only where the process that timed them is audited, and no process knows how it will be audited."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attnbench.analysis.leading import MOST_PROCESSES
from attnbench.measure.audits import auditor
from attnbench.measure.audits.auditor import Auditor
from attnbench.measure.blocks.block import Block
from attnbench.measure.blocks.drawing import ONCE_MORE, Draw
from attnbench.measure.blocks.effort import USUAL
from attnbench.measure.blocks.outcome import Outcome, RunClock
from attnbench.measure.blocks.passes import Passes
from attnbench.results.journal import STANDS, WITHDRAWN
from attnbench.suite import Cell
from attnbench.workers.pool import MOST_KILLS, Pool
from attnbench.workers.process import WorkerProcess
from attnbench.workers.protocol import Reply
from tests.cheats.cheat import HONEST
from tests.cheats.running import CASES, Nobody
from tests.dropins import tiny

from .conftest import QUICK

# It takes a share of the honest time and answers from memory, so that its times look like those of its work.
FROM_MEMORY = """
kept = {}

def from_memory(q, k, v, call, share):
    if not kept:
        seconds = []
        for _ in range(7):
            start = time.perf_counter()
            kept["answer"] = honest(q, k, v, call)
            seconds.append(time.perf_counter() - start)
        kept["seconds"] = min(seconds)
    end = time.perf_counter() + share * kept["seconds"]
    while time.perf_counter() < end:
        pass
    return kept["answer"].copy()
"""

# Its process dies when an audit begins after it has cheated; the one in its place is honest from there on.
DIES = """
import signal
from attnbench.measure.clock import memory

state = {"cheated": False, "honest": False}
keep_freed = memory.keep_freed

def when_an_audit_begins():
    if state["cheated"]:
        os.kill(os.getpid(), signal.SIGKILL)
    state["honest"] = True
    keep_freed()

memory.keep_freed = when_an_audit_begins

@implementation("numpy/dies", CAN)
def attend(q, k, v, call):
    if state["honest"] or not under_the_clock():
        return honest(q, k, v, call)
    state["cheated"] = True
    return from_memory(q, k, v, call, 0.78)
"""

# It looks at what it is asked, and counts its calls: in the process where agreement is checked it is honest, in others
# it does not even look at its inputs, and takes its time, which those that were audited there explain.
LATER = """
state = {"calls": 0, "first": None}

@implementation("numpy/later-processes", CAN)
def attend(q, k, v, call):
    state["calls"] += 1
    if state["first"] is None:
        frame = frame_of("prepare")
        state["first"] = frame is None or bool(frame.f_locals.get("gate", True))
    if state["first"]:
        return honest(q, k, v, call)
    return from_memory(q, k, v, call, 2.0)
"""


@contextmanager
def measured(
    cells: list[Cell], replicates: int = 1, pool: Pool | None = None, draw: Draw | None = None
) -> Iterator[tuple[list[Outcome], Nobody]]:
    """The outcomes of a block of these cells, and what it wrote down."""

    def new_pool(*_: object) -> Pool:
        return pool or Pool(threads=1, timeout_s=30, rng=random.Random(1))  # noqa: S311

    nobody, effort = Nobody(), replace(QUICK, replicates=replicates, min_bursts=3, max_bursts=3)
    with Auditor(60) as auditing:
        common = (effort, RunClock("r", 0.0), nobody, random.Random(2))  # noqa: S311
        block = Block(cells, new_pool(), *common, weigh=False, auditor=auditing)
        block._draw = draw or block._draw
        Passes([block], new_pool, lambda _: None, lambda *_: None, random.Random(3)).measure()  # noqa: S311
        yield block.outcomes, nobody


def cheat(body: str, name: str, folder: Path) -> Cell:
    file = folder / "cheat.py"
    file.write_text(HONEST["numpy"] + FROM_MEMORY + body, encoding="utf-8")
    return Cell("cheats", {}, CASES["longer"], f"numpy/{name}", files=(str(file),))


def events(nobody: Nobody, name: str) -> list[dict[str, Any]]:
    return [detail for written, detail in nobody.events if written == name]


def test_who_cheats_and_dies_at_its_audit_gets_no_number(tmp_path: Path) -> None:
    with measured([cheat(DIES, "dies", tmp_path)]) as ((outcome,), nobody):
        assert outcome.status == "crashed"
        assert f"its process was lost {MOST_KILLS + 1} times between its bursts and the end of" in str(outcome.reason)
        assert len(events(nobody, WITHDRAWN)) == MOST_KILLS
        assert not events(nobody, STANDS)
        assert outcome.replicates <= {MOST_KILLS}  # of the last look, whose process is gone as well


def test_who_is_honest_in_the_first_process_alone_is_caught_in_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditor, "quiet", list)  # where the machine is busy every process is audited in full
    cell = cheat(LATER, "later-processes", tmp_path)
    with measured([cell], replicates=2) as ((outcome,), _):
        assert outcome.status == "wrong"


def test_one_later_process_is_audited_in_full_and_each_is_as_likely() -> None:
    counts = dict.fromkeys(range(4), 0)
    for seed in range(2000):
        draw = Draw(random.Random(seed))  # noqa: S311
        drawn = [draw.in_full("c", left) for left in (3, 2, 1, 0)]
        assert any(drawn)
        counts[drawn.index(True)] += 1
    assert all(420 < count < 580 for count in counts.values())
    after = [Draw(random.Random(seed), {"c"}).in_full("c", 0) for seed in range(2000)]  # noqa: S311
    assert abs(sum(after) / 2000 - ONCE_MORE) < 0.05
    assert isinstance(Draw().rng, random.SystemRandom)  # not the seed that the journal shows


def test_of_sixty_processes_one_of_the_first_five_is_audited_in_full() -> None:
    counts, later = Counter[int](), 0
    for seed in range(2000):
        draw, drawn = Draw(random.Random(seed)), list[int]()  # noqa: S311
        for number in range(10):  # a cell is often done after so many
            in_full = number > 0 and draw.in_full("c", MOST_PROCESSES - 1 - number)
            draw.stands("c", in_full=in_full)
            drawn += [number] if in_full else []
        counts[drawn[0]] += 1
        later += len([number for number in drawn[1:] if number >= USUAL])
    assert sorted(counts) == [1, 2, 3, 4]
    assert all(420 < count < 580 for count in counts.values())
    assert abs(later / 2000 / 5 - ONCE_MORE) < 0.05


class High(random.Random):
    """Draws of which none is one in four."""

    def random(self) -> float:
        return 0.9


def test_who_was_lost_when_it_was_audited_in_full_is_audited_in_full_from_then_on() -> None:
    draw = Draw(High())
    draw.stands("c", in_full=False)
    assert draw.in_full("c", 0)  # and it is lost, perhaps by its own doing
    assert draw.in_full("c", 0)
    draw.stands("c", in_full=False)  # there was no memory for other values
    assert draw.in_full("c", 0)
    draw.stands("c", in_full=True)
    assert draw.in_full("c", 0)  # who was lost once gains nothing by it: all later ones are
    draw.stands("d", in_full=False)
    assert draw.in_full("d", 0)
    draw.stands("d", in_full=True)
    assert not draw.in_full("d", 0)


def test_a_full_audit_that_was_lost_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "quiet", list)  # where the machine is busy every process is audited in full
    pool = Killing(threads=1, timeout_s=30, rng=random.Random(1))  # noqa: S311
    pool.at, pool.spared = "steady", 1  # the first process is audited like this in any case
    cell = Cell("tiny", {"T": 16}, tiny(), "numpy/naive")
    with measured([cell], replicates=2, pool=pool, draw=Draw(High())) as ((outcome,), nobody):
        assert (outcome.status, pool.kills, len(events(nobody, WITHDRAWN))) == ("ok", 0, 1)
        assert [event["explained"] for event in events(nobody, "audit")] == [False, False]


class Chosen(Draw):
    """A draw that is known, of one later process."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.asked_for = at, 0

    def in_full(self, cell_id: str, left: int) -> bool:
        del cell_id, left
        self.asked_for += 1
        return self.asked_for == self.at


def test_nothing_that_a_later_process_is_asked_before_its_bursts_are_over_tells_how_it_is_audited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processes: dict[int, list[Any]] = {}
    alive: list[WorkerProcess] = []
    real = WorkerProcess.call

    def call(self: WorkerProcess, op: str, timeout: float, /, **arguments: Any) -> Reply:
        if self.backend is not None:
            alive.append(self)  # the id of one that is gone is given again
            processes.setdefault(id(self), []).append((op, arguments))
        return real(self, op, timeout, **arguments)

    monkeypatch.setattr(WorkerProcess, "call", call)
    cell = Cell("tiny", {"T": 16}, tiny(), "numpy/naive")
    with measured([cell], replicates=3, draw=Chosen(2)) as ((outcome,), nobody):
        assert outcome.status == "ok"
        assert not events(nobody, "audit")[2]["explained"]
    _, second, third = (every[: 2 + 3] for every in processes.values())
    assert [op for op, _ in second] == ["hello", "prepare", *["burst"] * 3]
    assert second == third


class Killing(Pool):
    """A pool whose process is killed once, from outside, before it answers a question of this kind.

    The first ``spared`` of them it answers.
    """

    at = ""
    kills = 1
    spared = 0

    def ask(self, cell: Cell, op: str, /, **arguments: Any) -> Reply:
        if op == self.at and self.spared:
            self.spared -= 1
        elif op == self.at and self.kills:
            self.kills -= 1
            os.kill(self._members[self._key(cell)].worker.pid, signal.SIGKILL)
        return super().ask(cell, op, **arguments)


@pytest.mark.parametrize("at", ["steady", "rest"])
def test_a_process_that_is_lost_at_its_audit_takes_its_bursts_with_it(at: str) -> None:
    pool = Killing(threads=1, timeout_s=30, rng=random.Random(1))  # noqa: S311
    pool.at = at
    cells = [Cell("tiny", {"T": 16}, tiny(), f"numpy/{name}") for name in ("naive", "loops")]
    with measured(cells, pool=pool) as (outcomes, nobody):
        assert [outcome.status for outcome in outcomes] == ["ok", "ok"]
        lost = {(event["cell"], event["replicate"]) for event in events(nobody, WITHDRAWN)}
        stood = {(event["cell"], event["replicate"]) for event in events(nobody, STANDS)}
        assert lost
        assert not lost & stood
        assert {(o.cell.id, r) for o in outcomes for r in o.replicates} == stood
        assert {cell_id for cell_id, _ in stood} == {cell.id for cell in cells}


def test_other_cells_of_an_implementation_are_no_others_that_may_have_spoilt_its_process() -> None:
    naive, longer, loops = (
        Cell("tiny", {"T": T}, tiny(T), f"numpy/{name}") for name, T in (("naive", 16), ("naive", 24), ("loops", 16))
    )
    with Pool(threads=1, timeout_s=30.0, rng=random.Random(1)) as pool:  # noqa: S311
        assert pool.ask(naive, "hello", backend="numpy", threads=1).ok
        assert pool.ask(longer, "hello", backend="numpy", threads=1).ok
        assert not pool.again(longer, "audit", Reply(1, "crashed", "no"))
        assert pool.ask(loops, "hello", backend="numpy", threads=1).ok
        assert pool.again(longer, "audit", Reply(1, "crashed", "no"))
