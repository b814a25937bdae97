"""The two sides of a comparison: how their processes start, which cells stand against each other, and a live pair.

Both processes of a pair are started and prepared at the same time, and both stay alive; from then on only one of them
computes, since the other sleeps in the blocking read of its next request.
"""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

from attnbench.suite import Cell
from attnbench.workers.placement import everywhere, place
from attnbench.workers.pool import HASH_SEEDS, LONGEST_PADDING
from attnbench.workers.process import Setting, WorkerProcess
from attnbench.workers.protocol import CRASHED, NOT_RUN, SPENT, Reply, unless_late
from attnbench.workers.session import greet

Name = Literal["A", "B"]
BOTH: tuple[Name, Name] = ("A", "B")
JOIN_S = 10.0


class Worker(Protocol):
    """What a pair needs of a process; ``WorkerProcess`` is one."""

    alive: bool

    @property
    def pid(self) -> int:
        """The process that computes; 0 while it is not known."""

    @property
    def keeper_pid(self) -> int:
        """The process to end."""

    def call(self, op: str, timeout: float, /, **arguments: Any) -> Reply:
        """Ask and wait for the answer: a side that is not asked waits too, so that only one computes."""

    def working_s(self, seconds: float) -> float | None:
        """Processor time that it uses for so long while nobody asks for anything."""

    def close(self) -> None:
        """End it."""


Start = Callable[[str, Setting], Worker]


@dataclass(frozen=True)
class Side:
    """One of the two versions: the interpreter and the variables of its workers.

    ``label`` is for people, ``code`` says which code it is (a commit). ``problem``: why it cannot be compared at all.
    """

    label: str
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Twin:
    """A cell of A and the cell of B that stands against it: the same case, device and threads."""

    a: Cell
    b: Cell

    @property
    def id(self) -> str:
        """A stable name, the same in every comparison of these two."""
        return self.a.id if self.a.id == self.b.id else f"{self.a.id}-{self.b.id}"

    @property
    def label(self) -> str:
        """Case and implementation for people."""
        return f"{self.case_label} · {self.impl}"

    @property
    def case_label(self) -> str:
        """The case for people."""
        return self.a.case.label() if self.a.case is not None else ""

    @property
    def impl(self) -> str:
        """The implementation, or both."""
        return self.a.impl if self.a.impl == self.b.impl else f"{self.a.impl} : {self.b.impl}"

    @property
    def processes(self) -> tuple[str, ...]:
        """What it shares with others in one pair of processes: two backends, device, threads."""
        return self.a.backend, self.b.backend, self.a.device, str(self.a.threads)

    def cell(self, name: Name) -> Cell:
        """The cell of one side."""
        return self.a if name == "A" else self.b


@dataclass(frozen=True)
class Drawn:
    """What is drawn at random for a pair, and recorded: it moves addresses, and should not do so alike in all pairs."""

    hash_seeds: Mapping[Name, int]
    paddings: Mapping[Name, int]
    starts: Name

    @classmethod
    def by(cls, rng: random.Random) -> Drawn:
        """Draw."""
        seeds: dict[Name, int] = {name: rng.randrange(HASH_SEEDS) for name in BOTH}
        paddings: dict[Name, int] = {name: rng.randrange(LONGEST_PADDING) for name in BOTH}
        return cls(seeds, paddings, rng.choice(BOTH))

    def environment(self, name: Name) -> dict[str, str]:
        """The variables of a side."""
        return {"PYTHONHASHSEED": str(self.hash_seeds[name]), "ATTNBENCH_PADDING": "x" * self.paddings[name]}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"hash_seeds": dict(self.hash_seeds), "paddings": dict(self.paddings), "starts": self.starts}


def setting(side: Side, cell: Cell, drawn: Mapping[str, str], memory_limit: int) -> Setting:
    """How a worker of a side is started."""
    limit = memory_limit if cell.device == "cpu" else 0
    return Setting(cell.threads, limit, {**side.environment, **drawn}, side.python)


class Duo:
    """Two live processes, one for each side. Use it as a context: at its end both are gone."""

    def __init__(
        self,
        sides: Mapping[Name, Side],
        twin: Twin,
        drawn: Drawn,
        *,
        start: Start = WorkerProcess,
        memory_limit: int = 0,
        timeout_s: float = 120.0,
        left: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._timeout, self._left = timeout_s, left
        self.workers: dict[Name, Worker] = {}
        try:
            # In this thread: a worker dies with the thread that started it.
            for name in (drawn.starts, other(drawn.starts)):
                cell = twin.cell(name)
                side_setting = setting(sides[name], cell, drawn.environment(name), memory_limit)
                self.workers[name] = start(cell.backend, side_setting)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End both."""
        for worker in self.workers.values():
            worker.close()

    def ask(self, name: Name, op: str, /, **arguments: Any) -> Reply:
        """Ask one side, and wait, no longer than there is time ``left``: the other sleeps meanwhile."""
        left_s = self._left()
        if left_s <= 0:
            return Reply(0, NOT_RUN, SPENT)
        return self._unless_late(self.workers[name].call(op, min(self._timeout, left_s), **arguments))

    def _unless_late(self, reply: Reply) -> Reply:
        return unless_late(reply, late=self._left() <= 0)

    def place(self, processors: tuple[int, ...] | None) -> tuple[int, ...] | None:
        """Let both sides compute on the same processors; ``None`` where they were not moved."""
        if processors is None:
            return None
        if all(place(worker.pid, processors) for worker in self.workers.values()):
            return processors
        for worker in self.workers.values():  # one of them alone would not have the same
            place(worker.pid, everywhere())
        return None

    def together(self, work: Callable[[Name], None]) -> None:
        """Do something for both sides at the same time, a thread for each; never while anything is timed."""
        threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in self.workers]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:  # an interrupt: end the processes, so that the threads come back from their reads
            for worker in self.workers.values():
                if worker.alive and worker.keeper_pid:
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(worker.keeper_pid, signal.SIGTERM)
            for thread in threads:
                thread.join(JOIN_S)
            raise

    def hello(self, name: Name, cell: Cell) -> Reply:
        """Greet one side."""
        left_s = max(self._left(), 0.0)
        return self._unless_late(greet(self.workers[name], cell.backend, cell.threads, min(self._timeout, left_s)))


def other(name: Name) -> Name:
    """The other side."""
    return "B" if name == "A" else "A"


def no_reply(reason: str) -> Reply:
    """An answer that never came."""
    return Reply(0, CRASHED, reason)


def twins_of(cells: Iterable[Cell], a: str | None = None, b: str | None = None) -> tuple[Twin, ...]:
    """Pairs of cells: the implementation ``a`` against ``b`` case by case, or every cell against itself."""
    planned: Sequence[Cell] = [cell for cell in cells if cell.case is not None]
    if a is None or b is None:
        return tuple(Twin(cell, cell) for cell in planned)
    by_case: dict[tuple[str, str, str, int], dict[str, Cell]] = {}
    for cell in planned:
        by_case.setdefault((cell.suite, cell.case_id, cell.device, cell.threads), {})[cell.impl] = cell
    return tuple(Twin(by_impl[a], by_impl[b]) for by_impl in by_case.values() if a in by_impl and b in by_impl)
