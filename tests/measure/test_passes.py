"""Blocks in passes: which blocks are a lap, and what is done in which order."""

from __future__ import annotations

import random
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

from attnbench.measure.blocks import passes
from attnbench.measure.blocks.passes import LAP, Passes, laps
from attnbench.suite import Cell
from attnbench.workers import pool
from attnbench.workers.protocol import Reply
from tests.dropins import tiny


class Recorded:
    """A block that notes what it is asked."""

    def __init__(
        self, name: str, done: list[tuple[str, str]], looks: int = 2, suite: str = "s", threads: int = 1
    ) -> None:
        self.name, self.looks_left, self._done = name, looks, done
        self.first = SimpleNamespace(suite=suite, threads=threads)
        self.outcomes: list[Any] = []
        self.to_weigh: list[Any] = []

    def alive(self) -> list[Any]:
        return []

    def time(self, pool: Any) -> None:
        self.looks_left -= 1
        self._done.append((f"time in {pool.name}", self.name))

    def audit(self, *, shared: bool) -> None:
        assert shared
        self._done.append(("audit", self.name))

    def weigh(self) -> None:
        self._done.append(("weigh", self.name))

    def ended(self) -> None:
        self._done.append(("ended", self.name))


def measured(blocks: list[Any]) -> list[str]:
    pools: list[str] = []

    @contextmanager
    def new_pool(threads: int, what: str) -> Any:
        pools.append(f"{what}, {threads}")
        yield SimpleNamespace(name=pools[-1], start=lambda _: None)

    order = random.Random(1)  # noqa: S311
    Passes(blocks, new_pool, lambda _: None, lambda *_: None, order).measure()  # type: ignore[arg-type]
    return pools


def test_every_pass_has_fresh_processes_and_times_all_blocks_before_any_is_audited() -> None:
    done: list[tuple[str, str]] = []
    pools = measured([Recorded(name, done) for name in "abc"])
    assert pools == ["pass 1 of 2, 1", "pass 2 of 2, 1"]
    kinds = [what.partition(" in ")[0] for what, _ in done]
    assert kinds == [*(["time"] * 3 + ["audit"] * 3) * 2, *["weigh", "ended"] * 3]
    for start in (0, 3, 6, 9):
        assert {name for _, name in done[start : start + 3]} == set("abc")
    assert {what for what, _ in done[:3]} == {"time in pass 1 of 2, 1"}


def test_blocks_of_other_threads_have_processes_of_their_own_and_one_that_is_done_is_not_timed_again() -> None:
    done: list[tuple[str, str]] = []
    pools = measured([Recorded("a", done, looks=1), Recorded("b", done, threads=2)])
    assert sorted(pools) == ["pass 1 of 2, 1", "pass 1 of 2, 2", "pass 2 of 2, 2"]
    assert sum(what.startswith("time") for what, name in done if name == "a") == 1


class Idle:
    """A worker that does nothing, and counts how many of its kind are alive at once."""

    alive_now: ClassVar[int] = 0
    most: ClassVar[int] = 0

    def __init__(self, *_: object) -> None:
        self.alive = True
        Idle.alive_now += 1
        Idle.most = max(Idle.most, Idle.alive_now)

    def call(self, *_: object, **__: object) -> Reply:
        return Reply(0, "ok", value={"pid": 1, "versions": {}, "threads": 1, "import_s": 0.0})

    def dismiss(self) -> None:
        """It waits for nothing."""

    def close(self) -> None:
        Idle.alive_now -= self.alive
        self.alive = False


class Alive(Recorded):
    """A block whose cells are there to be started."""

    def __init__(self, name: str, cells: list[Cell]) -> None:
        super().__init__(name, [], threads=cells[0].threads)
        self.outcomes = [SimpleNamespace(cell=cell) for cell in cells]

    def alive(self) -> list[Any]:
        return self.outcomes

    def time(self, pool: Any) -> None:
        assert len(pool._members) == len(self.outcomes)
        self.looks_left -= 1


def test_processes_of_one_number_of_threads_are_alive_at_a_time(monkeypatch: Any) -> None:
    """Beside all of them a machine with many processors would hold a process of each framework for each number."""
    monkeypatch.setattr(pool, "WorkerProcess", Idle)
    blocks: list[Any] = []
    for threads in (1, 2, 4, 8):
        for T in (16, 24):
            cells = [Cell("s", {}, tiny(T), f"{name}/naive", threads=threads) for name in ("numpy", "torch", "jax")]
            blocks.append(Alive(f"{T} {threads}", cells))

    def new_pool(threads: int, _what: str) -> pool.Pool:
        return pool.Pool(threads=threads, timeout_s=1.0, rng=random.Random(1))  # noqa: S311

    Passes(blocks, new_pool, lambda _: None, lambda *_: None, random.Random(1)).measure()  # noqa: S311
    assert (Idle.most, Idle.alive_now) == (3, 0)


def test_a_lap_has_so_many_blocks_of_one_suite_and_no_more_bytes_than_are_allowed(monkeypatch: Any) -> None:
    blocks: list[Any] = [Recorded(str(n), [], suite="s" if n < LAP + 3 else "t") for n in range(LAP + 5)]
    assert [len(lap) for lap in laps(blocks)] == [LAP, 3, 2]
    monkeypatch.setattr(passes, "_bytes", lambda _: 0.4 * passes.LAP_BYTES)
    assert [len(lap) for lap in laps(blocks[:5])] == [2, 2, 1]
    monkeypatch.setattr(passes, "_bytes", lambda _: 3.0 * passes.LAP_BYTES)
    assert [len(lap) for lap in laps(blocks[:2])] == [1, 1]
