"""Weighing: the memory of one call, read from outside the process that makes it.

The system forgets the high-water mark of a worker when its parent asks for it, and tells it again when the worker is at
rest: threads that go on after the call count. What the worker has started (processes of its own) has no such mark: it
is sampled while the call is made, and said so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Self

from attnbench.suite import Cell
from attnbench.workers import tree
from attnbench.workers.protocol import Memory, Reply

EVERY_S = 0.002
# A worker that uses less than the share RESTING of a processor, seen for LOOK_S seconds, is at rest. It is waited for
# PATIENCE_S seconds at most.
LOOK_S, RESTING, PATIENCE_S = 0.050, 0.1, 5.0
UNSPOKEN = "has no operation"
SOURCE, WITH_OTHERS = "VmHWM", "VmHWM, and processes that it started, sampled"
# Fewer bytes than this in other processes are not reported: an interpreter by itself takes and gives back as much.
LEAST_BELOW = 1 << 16


class Sampling:
    """The most memory that the processes below a worker hold together, looked at again and again. A context.

    ``of_worker`` is the most that was seen of the worker itself: its high-water mark it can reset, this it cannot.
    """

    def __init__(self, pid: int) -> None:
        self._pid, self._done = pid, threading.Event()
        self.most, self.of_worker = tree.below_bytes(pid), 0
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._done.wait(EVERY_S):
            self.most = max(self.most, tree.below_bytes(self._pid))
            self.of_worker = max(self.of_worker, tree.level(self._pid, "VmRSS") or 0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def weigh(ask: Callable[..., Reply], pid: Callable[[], int], cell: Cell) -> Reply:
    """The memory of one call of a cell; its value is a ``Memory``.

    ``ask`` asks its worker, whose process id is ``pid`` once it has answered. On an accelerator, and where the system
    or the worker (of an older revision) does not know the way, the worker tells it itself.
    """
    if cell.device != "cpu":
        return ask("memory", cell=cell.to_dict())
    ready = ask("weigh_ready", cell=cell.to_dict())
    if not ready.ok and UNSPOKEN not in (ready.reason or ""):
        return ready
    worker = pid()
    if not ready.ok or not tree.reset_mark(worker) or (before := tree.level(worker, "VmRSS")) is None:
        return ask("memory", cell=cell.to_dict())
    with Sampling(worker) as sampling:
        below = sampling.most
        reply = ask("weigh_call", cell_id=cell.id)
        if not reply.ok:
            return reply
        rested = _until_at_rest(worker)
    peak, after = tree.level(worker, SOURCE), tree.level(worker, "VmRSS")
    others = max(0, sampling.most - below)
    detail = {**reply.value, "before_bytes": before, "after_bytes": after}
    if peak is None:
        return replace(reply, value=asdict(Memory(None, "not measured: its process is gone", detail)))
    detail |= {} if rested else {"not_at_rest_after_s": PATIENCE_S}
    others = others if others >= LEAST_BELOW else 0
    detail |= {"others_bytes": others} if others else {}
    memory = Memory(max(0, max(peak, sampling.of_worker) - before) + others, WITH_OTHERS if others else SOURCE, detail)
    return replace(reply, value=asdict(memory))


def _until_at_rest(pid: int) -> bool:
    """Wait until a process and those below it compute no more; false where they do not stop."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        used = tree.working_s(pid, LOOK_S)
        if used is None or used < RESTING * LOOK_S:
            return True
    return False
