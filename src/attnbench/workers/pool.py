"""The processes of a block: one for each backend and one for each implementation from a file, started when needed.

A kernel under development can spoil whatever shares its process, so that one from a file never shares it. Those of a
backend do; a failure that may be another's doing is not believed until the cell has failed in a process of its own.

A pool is used as a context: at its end every process is gone, so that the next replicate has fresh ones.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from attnbench.backends import discover
from attnbench.suite import Cell
from attnbench.workers import tree
from attnbench.workers.limits import Groups
from attnbench.workers.placement import everywhere, first, needed, place
from attnbench.workers.process import NO_GROUPS, Setting, WorkerProcess
from attnbench.workers.processors import at_once
from attnbench.workers.protocol import CRASHED, NOT_RUN, OK, OOM, SPENT, TIMEOUT, Hello, Reply, unless_late, value
from attnbench.workers.session import greet
from attnbench.workers.weighing import weigh

HASH_SEEDS = 2**32 - 1
LONGEST_PADDING = 4096

NEED_PREPARED = ("burst", "steady", "answer", "audit", "rest", "verify", "weigh_call")
# After one of these a cell may be asked again in a fresh process. A wrong answer is not among them.
DOUBTFUL = (CRASHED, OOM, TIMEOUT)
# A cell whose process is killed from outside more often than this is taken to have it killed itself.
MOST_KILLS = 3
# The process of the anchor, which has no framework.
ANCHOR = ("", (), "anchor")

Key = tuple[str, tuple[str, ...], str]
Greeted = Callable[[str, Hello, dict[str, Any]], None]
Noted = Callable[..., None]


@dataclass
class Member:
    """One process, what it said at its start, the cells that it ``holds`` and the implementations it has ``seen``.

    ``processors`` are those that it was put on, ``None`` while it may use all; ``ran_s`` what its threads had computed
    by then. No other one has its ``number``; the system gives a ``pid`` again.
    """

    worker: WorkerProcess
    hello: Reply
    number: int = field(default_factory=itertools.count(1).__next__)
    holds: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    processors: tuple[int, ...] | None = None
    ran_s: dict[str, float] = field(default_factory=dict)


class Pool:
    """Workers by backend. ``greeted`` is told of every new process, ``noted`` of every cell that is asked again.

    No answer is waited for beyond the moment ``until`` (of ``time.monotonic``): that of a cell is then ``not-run``.

    Processes of a framework share what they compile in the folder ``shared``, where the framework can; those of files
    do not.

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
        groups: Groups = NO_GROUPS,
        greeted: Greeted | None = None,
        noted: Noted | None = None,
        until: float = math.inf,
        shared: str | None = None,
    ) -> None:
        self._until, self._shared = until, shared
        self._threads, self._timeout, self._rng, self._limit = threads, timeout_s, rng, memory_limit
        self._groups, self._greeted, self._noted = groups, greeted, noted
        self._salt = rng.random()
        self._abandoned = False
        self._apart: set[str] = set()
        self._kills: dict[str, int] = {}
        self._members: dict[Key, Member] = {}

    def sibling(self, salt: str) -> Pool:
        """A pool of the same settings and without processes yet, its environments drawn by itself."""
        return Pool(
            threads=self._threads,
            timeout_s=self._timeout,
            rng=random.Random(f"{self._salt} {salt}"),  # noqa: S311  (an order to be repeatable, not secret)
            memory_limit=self._limit,
            groups=self._groups,
            greeted=self._greeted,
            noted=self._noted,
            until=self._until,
            shared=self._shared,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.abandon()  # an interrupt does not wait for what they are doing
        self.close()

    def close(self) -> None:
        """End every process."""
        members, self._members = self._members, {}
        for member in members.values():
            member.worker.dismiss()
        for member in members.values():
            member.worker.close()

    def abandon(self) -> None:
        """End every process at once, from another thread than the one that is asking; nothing is started again."""
        self._abandoned = True
        for member in list(self._members.values()):
            member.worker.end()

    def ask(self, cell: Cell, op: str, /, **arguments: Any) -> Reply:
        """Ask the process of a cell, starting one if there is none; a start that fails is the answer.

        A failure that may not be the cell's own (see ``again``) is not the answer: the cell is asked once more. What
        needs a prepared cell (``burst``, ``verify``) is for the caller to ask again, after preparing it.
        """
        reply = self._ask(cell, op, arguments)
        while op not in NEED_PREPARED and self.again(cell, op, reply):
            reply = self._ask(cell, op, arguments)
        return reply

    def ask_anchor(self, op: str, /, **arguments: Any) -> Reply:
        """Ask the process of the anchor, which has no framework, starting it if there is none."""
        if self._patience() <= 0:
            return Reply(0, NOT_RUN, f"{SPENT} before its turn")
        member = self._members.get(ANCHOR)
        if member is None or not member.worker.alive:
            worker = WorkerProcess(None, Setting(self._threads, self._limit, self._drawn()[1], groups=self._groups))
            member = self._members[ANCHOR] = Member(worker, Reply(0, OK))
        return self._unless_late(member.worker.call(op, self._patience(), **arguments), op)

    def weigh(self, cell: Cell) -> Reply:
        """The memory of one call of a cell (``weighing``)."""

        def pid() -> int:
            return self._members[self._key(cell)].worker.pid

        reply = weigh(partial(self.ask, cell), pid, cell)
        while self.again(cell, "memory", reply):
            reply = weigh(partial(self.ask, cell), pid, cell)
        return reply

    def again(self, cell: Cell, op: str, reply: Reply) -> bool:
        """Whether a failure may be another's doing; then the next question finds a fresh process.

        It may be where the process was ended from outside, or where other implementations had been in it. In the second
        case the implementation has a process of its own from now on.
        """
        if reply.ok or self._abandoned:
            return False
        member = self._members.get(self._key(cell))
        if reply.outside and self._kills.get(cell.id, 0) < MOST_KILLS:
            self._kills[cell.id] = self._kills.get(cell.id, 0) + 1
            self._forget(cell)
            self._note(cell, op, reply, "its process was ended from outside")
            return True
        if reply.status in DOUBTFUL and member is not None and member.hello.ok and member.seen - {cell.impl}:
            self._apart.add(cell.impl)
            self._forget(cell)
            self._note(cell, op, reply, "others had been in its process")
            return True
        return False

    def _note(self, cell: Cell, op: str, reply: Reply, why: str) -> None:
        if self._noted is not None:
            self._noted("again", cell=cell.id, during=op, status=reply.status, reason=reply.reason, why=why)

    def _forget(self, cell: Cell) -> None:
        member = self._members.pop(self._key(cell), None)
        if member is not None:
            member.worker.close()

    def _key(self, cell: Cell) -> Key:
        return cell.backend, cell.files, cell.impl if cell.files or cell.impl in self._apart else ""

    def _ask(self, cell: Cell, op: str, arguments: dict[str, Any]) -> Reply:
        if self._patience() <= 0:
            return Reply(0, NOT_RUN, f"{SPENT} before its turn")
        member = self._member(cell)
        if self._abandoned:
            return Reply(0, CRASHED, "abandoned")
        if not member.hello.ok:
            return self._unless_late(member.hello, "starting its process")
        member.seen.add(cell.impl)
        return self._unless_late(member.worker.call(op, self._patience(), **arguments), op)

    def _patience(self) -> float:
        """Seconds that an answer is waited for."""
        return min(self._timeout, self._until - time.monotonic())

    def _unless_late(self, reply: Reply, doing: str) -> Reply:
        return unless_late(reply, late=time.monotonic() >= self._until, reason=f"{SPENT} during {doing}")

    def release(self, cell: Cell) -> None:
        """Let the process of a cell forget it, so that it can be used for others."""
        if self.holds(cell):
            self._members[self._key(cell)].holds.discard(cell.id)
            self._ask(cell, "drop", {"cell_id": cell.id})

    def _up(self, cell: Cell) -> bool:
        member = self._members.get(self._key(cell))
        return member is not None and member.worker.alive

    def hold(self, cell: Cell) -> None:
        """The process of a cell has it prepared."""
        self._members[self._key(cell)].holds.add(cell.id)

    def process_of(self, cell: Cell) -> int | None:
        """The number of the process that has a cell prepared, which no other one has; ``None`` where none has."""
        return self._members[self._key(cell)].number if self.holds(cell) else None

    def holds(self, cell: Cell) -> bool:
        """Whether the process of a cell is there and has it prepared."""
        return self._up(cell) and cell.id in self._members[self._key(cell)].holds

    def place(self, cell: Cell, order: Sequence[int]) -> None:
        """Let the process of a cell compute on the first of these processors, as many as it needs."""
        member = self._members.get(self._key(cell))
        if member is not None and cell.device == "cpu":
            self._put(member, first(order, needed(cell)))
            member.ran_s = tree.ran_s(member.worker.pid) if member.processors is None else {}

    def place_anchor(self, cell: Cell) -> None:
        """Let the anchor compute where a cell has just computed, as far as that can be told.

        A cell that may be on all processors was on that on which its busiest thread last ran.
        """
        member = self._members.get(self._key(cell))
        if member is not None:
            last = None if member.processors else tree.busiest_on(member.worker.pid, member.ran_s)
            alone = (last,) if last is not None and self._threads == 1 else None
            self._put(self._members.get(ANCHOR), member.processors or alone or everywhere())

    def _put(self, member: Member | None, processors: tuple[int, ...] | None) -> None:
        if processors and member is not None and member.processors != processors:
            member.processors = processors if place(member.worker.pid, processors) else None

    def working_s(self, cell: Cell, seconds: float) -> float | None:
        """Processor time that the process of a cell uses for so long while nobody asks for anything."""
        member = self._members.get(self._key(cell))
        return None if member is None else member.worker.working_s(seconds)

    def import_s(self, cell: Cell) -> float:
        """Seconds that importing the framework of a cell took."""
        return value(Hello, self._members[self._key(cell)].hello).import_s

    def _member(self, cell: Cell) -> Member:
        key = self._key(cell)
        member = self._members.get(key)
        # A framework that could not be started is not tried again for every cell.
        if member is None or (member.hello.ok and not member.worker.alive):
            member = self._members[key] = self._start(cell, self._drawn())
        return member

    def start(self, cells: Sequence[Cell]) -> None:
        """Start the processes of these cells, beside each other: nothing is timed meanwhile."""
        first_of = {self._key(cell): cell for cell in cells}
        waiting = [(cell, self._drawn()) for key, cell in first_of.items() if key not in self._members]
        with ThreadPoolExecutor(at_once(self._threads)) as executor:
            try:
                list(executor.map(lambda each: self._keep(*each), waiting))
            except BaseException:  # nobody waits for those that are being started; each ends itself
                executor.shutdown(wait=False, cancel_futures=True)
                self.abandon()
                raise

    def _keep(self, cell: Cell, random_parts: tuple[dict[str, int], dict[str, str]]) -> None:
        """Start the process of a cell and know of it, unless all were abandoned meanwhile."""
        member = self._members[self._key(cell)] = self._start(cell, random_parts)
        if self._abandoned:
            member.worker.end()

    def _drawn(self) -> tuple[dict[str, int], dict[str, str]]:
        """What is random in the environment of a process, and the variables that make it so."""
        drawn = {"hash_seed": self._rng.randrange(HASH_SEEDS), "padding": self._rng.randrange(LONGEST_PADDING)}
        return drawn, {"PYTHONHASHSEED": str(drawn["hash_seed"]), "ATTNBENCH_PADDING": "x" * drawn["padding"]}

    def _start(self, cell: Cell, random_parts: tuple[dict[str, int], dict[str, str]]) -> Member:
        drawn, environment = random_parts
        if self._shared is not None and not cell.files:
            sharing = discover.backend(cell.backend).sharing
            environment = environment | {name: text.format(folder=self._shared) for name, text in sharing.items()}
        # Address space is not memory on an accelerator's host: its driver maps far more than it uses.
        limit = self._limit if cell.device == "cpu" else 0
        worker = WorkerProcess(cell.backend, Setting(self._threads, limit, environment, groups=self._groups))
        try:
            hello = greet(worker, cell.backend, self._threads, max(self._patience(), 0.0))
        except BaseException:  # an interrupt, before anybody knows of the process
            worker.kill()
            raise
        if hello.ok and self._greeted is not None:
            self._greeted(cell.backend, value(Hello, hello), drawn)
        if not hello.ok:
            worker.kill()
        return Member(worker, hello)
