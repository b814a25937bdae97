"""The processes of a block: one for each backend (and one for drop-in files), started when first asked.

A pool is used as a context: at its end every process is gone, so that the next replicate has fresh ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from attnbench.measure.process import Setting, WorkerProcess
from attnbench.measure.protocol import CRASHED, Hello, Reply, value
from attnbench.suite import Cell

HASH_SEEDS = 2**32 - 1
LONGEST_PADDING = 4096

Key = tuple[str, tuple[str, ...]]
Greeted = Callable[[str, Hello, dict[str, Any]], None]


@dataclass
class Member:
    """One process, what it said at its start, and the cells in it: those it ``holds`` and those it has ``seen``."""

    worker: WorkerProcess
    hello: Reply
    holds: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)


class Pool:
    """Workers by backend. ``greeted`` is told of every new process.

    The environment of each process is randomised and reported: its size and the hash seed move addresses and the
    order of sets, and through them times (Mytkowicz 2009), and should not do so alike in all replicates.
    """

    def __init__(
        self,
        *,
        threads: int,
        timeout_s: float,
        rng: random.Random,
        memory_limit: int = 0,
        greeted: Greeted | None = None,
    ) -> None:
        self._threads, self._timeout, self._rng, self._limit = threads, timeout_s, rng, memory_limit
        self._greeted = greeted
        self._members: dict[Key, Member] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process."""
        members, self._members = self._members, {}
        for member in members.values():
            member.worker.close()

    def ask(self, cell: Cell, op: str, /, **arguments: Any) -> Reply:
        """Ask the process of a cell, starting one if there is none; a start that fails is the answer.

        Where the process dies over a cell and others had been in it, one of these may have left the damage: then the
        cell is asked once more, alone in a fresh process. A burst is not, since it needs what was prepared.
        """
        reply, shared = self._ask(cell, op, arguments)
        if reply.status == CRASHED and shared and op != "burst" and not self._up(cell):
            reply, _ = self._ask(cell, op, arguments)
        return reply

    def _ask(self, cell: Cell, op: str, arguments: dict[str, Any]) -> tuple[Reply, bool]:
        member = self._member(cell)
        if not member.hello.ok:
            return member.hello, False
        shared = bool(member.seen - {cell.id})
        member.seen.add(cell.id)
        return member.worker.call(op, self._timeout, **arguments), shared

    def _up(self, cell: Cell) -> bool:
        member = self._members.get(_key(cell))
        return member is not None and member.worker.alive

    def hold(self, cell: Cell) -> None:
        """The process of a cell has it prepared."""
        self._member(cell).holds.add(cell.id)

    def holds(self, cell: Cell) -> bool:
        """Whether the process of a cell is there and has it prepared."""
        return self._up(cell) and cell.id in self._members[_key(cell)].holds

    def import_s(self, cell: Cell) -> float:
        """Seconds that importing the framework of a cell took."""
        return value(Hello, self._member(cell).hello).import_s

    def _member(self, cell: Cell) -> Member:
        key = _key(cell)
        member = self._members.get(key)
        # A framework that could not be started is not tried again for every cell.
        if member is None or (member.hello.ok and not member.worker.alive):
            member = self._members[key] = self._start(cell)
        return member

    def _start(self, cell: Cell) -> Member:
        drawn = {"hash_seed": self._rng.randrange(HASH_SEEDS), "padding": self._rng.randrange(LONGEST_PADDING)}
        environment = {"PYTHONHASHSEED": str(drawn["hash_seed"]), "ATTNBENCH_PADDING": "x" * drawn["padding"]}
        # Address space is not memory on an accelerator's host: its driver maps far more than it uses.
        limit = self._limit if cell.device == "cpu" else 0
        worker = WorkerProcess(cell.backend, Setting(self._threads, limit, environment))
        hello = worker.call("hello", self._timeout, backend=cell.backend, threads=self._threads)
        if hello.ok and self._greeted is not None:
            self._greeted(cell.backend, value(Hello, hello), drawn)
        if not hello.ok:
            worker.kill()
        return Member(worker, hello)


def _key(cell: Cell) -> Key:
    return cell.backend, cell.files
