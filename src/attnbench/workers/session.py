"""A worker that stays at hand: started and greeted when it is first asked, and again after it was lost.

Whoever asks one thing after another, and goes on after a kernel has ended the process, asks a ``Session``; several at
a time are ``Sessions``; a single question is ``ask_once``. None of them knows what it asks.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from tempfile import TemporaryDirectory
from typing import Any, Protocol, Self, TypeVar

from attnbench.backends import discover
from attnbench.workers.process import Setting, WorkerProcess
from attnbench.workers.protocol import NOT_RUN, SPENT, Hello, Reply, unless_late, value

HELLO = "hello"
USUAL = Setting()

Part = TypeVar("Part")
Done = TypeVar("Done")
Until = Callable[[], float]


def never() -> float:
    """The end of a time that has none."""
    return math.inf


class Greeted(Protocol):
    """What can be greeted; a ``WorkerProcess`` is one."""

    def call(self, op: str, timeout: float, /, **arguments: Any) -> Reply:
        """Ask and wait for the answer."""


def greet(worker: Greeted, backend: str, threads: int, timeout_s: float) -> Reply:
    """The first question to every worker of a framework: import it, and compute with so many threads."""
    return worker.call(HELLO, timeout_s, backend=backend, threads=threads)


class Session:
    """A worker of one backend, or of none (``backend=None``, which nobody greets). Use it as a context.

    ``timeout_s`` bounds its hello, and every question that does not bring seconds of its own. No answer is waited for
    beyond the moment ``until()`` (of ``time.monotonic``): it is then ``not-run``. ``versions`` are those that the
    framework told at the last start, empty before it.
    """

    def __init__(self, backend: str | None, timeout_s: float, setting: Setting = USUAL, until: Until = never) -> None:
        self.versions: dict[str, str] = {}
        self._backend, self._timeout_s, self._setting, self._until = backend, timeout_s, setting, until
        self._worker: WorkerProcess | None = None
        self._hello: Reply | None = None

    def ask(self, op: str, /, *, timeout_s: float | None = None, **arguments: Any) -> Reply:
        """Ask the worker, starting it first where there is none.

        A hello that fails is the answer, and the next question starts another worker. Asked for ``hello``, a session
        gives that of its start.
        """
        if time.monotonic() >= self._until():
            return Reply(0, NOT_RUN, SPENT)
        worker = self._worker if self._worker is not None and self._worker.alive else self.start()
        if self._hello is not None and (op == HELLO or not self._hello.ok):
            return self._unless_late(self._hello)
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        return self._unless_late(worker.call(op, self._patience(timeout_s), **arguments))

    def _patience(self, timeout_s: float) -> float:
        return min(timeout_s, max(0.0, self._until() - time.monotonic()))

    def _unless_late(self, reply: Reply) -> Reply:
        return unless_late(reply, late=time.monotonic() >= self._until())

    def start(self) -> WorkerProcess:
        """A new worker in place of the one there may be; one of a backend is greeted, and waited for."""
        self.close()
        worker = self._worker = WorkerProcess(self._backend, self._setting)
        if self._backend is not None:
            self._hello = greet(worker, self._backend, self._setting.threads, self._patience(self._timeout_s))
            if self._hello.ok:
                self.versions = value(Hello, self._hello).versions
            else:
                self.close()
        return worker

    def abandon(self) -> None:
        """End the worker at once, from another thread than the one that is asking."""
        if (worker := self._worker) is not None:
            worker.end()

    def close(self) -> None:
        """End the worker; a question after that starts another one."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Sessions:
    """Sessions of one backend, at most ``at_once`` at a time; one that is free is used again. Use it as a context.

    What is of another ``kind`` is never asked of the same process. They share what they compile, where the backend says
    how: in a folder that is gone at the end.
    """

    def __init__(self, backend: str, timeout_s: float, at_once: int = 1, until: Until = never) -> None:
        self._backend, self._timeout_s, self._at_once, self._until = backend, timeout_s, at_once, until
        self._free: dict[str, list[Session]] = {}
        self._every: list[Session] = []
        self._lock = threading.Lock()
        self._shared = TemporaryDirectory(prefix="attnbench-shared-", ignore_cleanup_errors=True)
        sharing = discover.backend(backend).sharing
        self._setting = Setting(environment={n: v.format(folder=self._shared.name) for n, v in sharing.items()})

    def do(self, work: Callable[[Session], Done], kind: str = "") -> Done:
        """Work with a session that is free and was asked for this kind alone, or with a new one."""
        with self._lock:
            free = self._free.setdefault(kind, [])
            session = free.pop() if free else self._new()
        try:
            return work(session)
        finally:
            with self._lock:
                free.append(session)

    def _new(self) -> Session:
        self._every.append(Session(self._backend, self._timeout_s, self._setting, self._until))
        return self._every[-1]

    def abandon(self) -> None:
        """End every worker at once, from another thread than those that are asking."""
        for session in list(self._every):
            session.abandon()

    def map(
        self, work: Callable[[Session, Part], Done], parts: Sequence[Part], kind: Callable[[Part], str] = lambda _: ""
    ) -> list[Done]:
        """``work`` for every part, several at a time, in order."""
        with ThreadPoolExecutor(self._at_once) as pool:
            return list(pool.map(lambda part: self.do(lambda session: work(session, part), kind(part)), parts))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for session in (session for free in self._free.values() for session in free):
            session.close()
        self._shared.cleanup()


def ask_once(backend: str | None, op: str, /, *, timeout_s: float, setting: Setting = USUAL, **arguments: Any) -> Reply:
    """One question to a worker of its own, which is gone afterwards; ``hello`` asks for no more than its start."""
    with Session(backend, timeout_s, setting) as session:
        return session.ask(op, **arguments)
