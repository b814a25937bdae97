"""Observed cells, several at once: all of them once, in balance, and gone at an interrupt."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from attnbench.measure.blocks.outcome import Outcome
from attnbench.measure.run.observing import observe_blocks
from attnbench.suite import Cell
from attnbench.workers.processors import at_once
from attnbench.workers.protocol import CRASHED, OK, Reply


class Pool:
    """Answers as processes would; every question is written down with the thread that asked it."""

    def __init__(self, log: list[tuple[str, int]], answer: Callable[[Cell], Reply]) -> None:
        self.log, self.answer, self.closed, self.abandoned = log, answer, 0, False

    def ask(self, cell: Cell, op: str, /, **_: Any) -> Reply:
        assert op == "observe"
        self.log.append((cell.impl, threading.get_ident()))
        return self.answer(cell)

    def close(self) -> None:
        self.closed += 1

    def abandon(self) -> None:
        self.abandoned = True


def cell(block: int, impl: str) -> Cell:
    return Cell("s", {"x": block}, None, impl)


def blocks(n: int) -> list[list[Cell]]:
    return [[cell(block, f"numpy/{block}-{i}") for i in range(2)] for block in range(n)]


def metrics(_: Cell) -> Reply:
    return Reply(1, OK, value={"metrics": {"m": 1.0}})


def test_every_cell_is_observed_once_by_two_at_once() -> None:
    log: list[tuple[str, int]] = []
    barrier = threading.Barrier(2, timeout=10)
    pools: list[Pool] = []

    def together(cell: Cell) -> Reply:
        if cell.impl.endswith("-0") and int(cell.point["x"]) < 2:
            barrier.wait()  # only two observers at once get past it
        return metrics(cell)

    def new_pool(threads: int, observer: int) -> Any:
        del threads, observer
        pools.append(Pool(log, together))
        return pools[-1]

    done: list[Outcome] = []
    observe_blocks(blocks(5), new_pool, done.append, lambda: False, 2)
    assert sorted(outcome.cell.impl for outcome in done) == sorted(c.impl for block in blocks(5) for c in block)
    assert all(outcome.metrics == {"m": 1.0} for outcome in done)
    assert len({thread for _, thread in log}) == 2
    assert [pool.closed for pool in pools] == [1, 1]


def test_a_cell_that_fails_is_an_outcome_and_the_rest_goes_on() -> None:
    def answer(cell: Cell) -> Reply:
        return Reply(1, CRASHED, "gone") if cell.impl == "numpy/1-0" else metrics(cell)

    done: list[Outcome] = []
    observe_blocks(blocks(3), lambda *_: Pool([], answer), done.append, lambda: False, 1)  # type: ignore[arg-type]
    assert [(outcome.cell.impl, outcome.status) for outcome in done if outcome.status != OK] == [("numpy/1-0", CRASHED)]
    assert len(done) == 6


def test_blocks_are_begun_in_planned_order_so_that_a_stop_leaves_them_in_balance() -> None:
    done: list[Outcome] = []
    observe_blocks(blocks(9), lambda *_: Pool([], metrics), done.append, lambda: len(done) >= 5, 1)  # type: ignore[arg-type]
    assert [outcome.cell.point["x"] for outcome in done] == [0, 0, 1, 1, 2]


def test_what_goes_wrong_in_writing_ends_all_observers() -> None:
    begun: list[str] = []
    pools: list[Pool] = []

    def slow(cell: Cell) -> Reply:
        begun.append(cell.impl)
        time.sleep(0.01)
        return metrics(cell)

    def full_disk(_: Outcome) -> None:
        msg = "the disk is full"
        raise OSError(msg)

    def new_pool(*_: int) -> Any:
        pools.append(Pool([], slow))
        return pools[-1]

    with pytest.raises(OSError, match="the disk is full"):
        observe_blocks(blocks(200), new_pool, full_disk, lambda: False, 2)
    assert len(begun) < 20
    assert all(pool.abandoned for pool in pools)


def test_there_are_as_many_observers_as_processors_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert [at_once(threads) for threads in (1, 2, 3, 6, 12)] == [4, 3, 2, 1, 1]
    assert [at_once(threads, most=None) for threads in (1, 2, 12)] == [6, 3, 1]
