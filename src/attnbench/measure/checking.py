"""``attnbench check`` in processes of its own: a kernel that crashes or hangs is a row, and the rest is checked.

Several workers at a time where the device is the CPU: agreement is not timed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Self, TypeVar

from attnbench import discover
from attnbench.agree.check import CheckRow
from attnbench.agree.random_check import RandomResult, together
from attnbench.measure.process import Setting, WorkerProcess
from attnbench.measure.protocol import Reply
from attnbench.precision import DTYPES
from attnbench.results.fingerprint import usable_cpus

Progress = Callable[[CheckRow], None]
Part = TypeVar("Part")
Done = TypeVar("Done")
AT_A_TIME = 10  # random cases in one question to a worker


@dataclass(frozen=True)
class CheckOptions:
    """What to check. ``impls`` are full names; ``files`` drop-in files; empty ``features`` means all."""

    impls: Sequence[str]
    files: Sequence[str] = ()
    dtypes: Sequence[str] = DTYPES
    features: Sequence[str] = ()
    device: str = "cpu"
    deep: bool = False
    timeout_s: float = 120.0


def check(options: CheckOptions, progress: Progress | None = None) -> list[CheckRow]:
    """Check every implementation; rows in the order of ``options.impls``.

    With fewer implementations than processors the rows of each are spread over several workers.
    """
    at_once = _at_once(options)
    each = max(1, at_once // max(1, len(options.impls)))
    with ThreadPoolExecutor(at_once) as pool:
        found = pool.map(lambda impl: check_one(impl, options, progress, workers=each), options.impls)
        return [row for rows in found for row in rows]


def check_one(impl: str, options: CheckOptions, progress: Progress | None = None, workers: int = 1) -> list[CheckRow]:
    """Check one implementation; a worker that is lost is replaced for the next row."""
    if reason := _unavailable(impl):
        return [_told(CheckRow(impl, "all", "all", options.device, "unsupported", 0, reason=reason), progress)]
    with _Sessions(impl, options, workers) as sessions:
        names = {"dtypes": list(options.dtypes), "features": list(options.features)}
        plan = sessions.do(lambda own: own.ask("check_plan", impl=impl, **names))
        if not plan.ok:
            return [_told(_lost(impl, "all", "all", options.device, plan), progress)]
        return sessions.map(lambda own, pair: _told(own.row(impl, *pair), progress), plan.value["pairs"])


def check_randomly(options: CheckOptions, count: int, seed: int = 0, draws: int = 1) -> list[RandomResult]:
    """``count`` random cases of each implementation; what a lost worker was asked is a disagreement."""
    at_once = _at_once(options)
    each = max(1, at_once // max(1, len(options.impls)))
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda impl: _one_randomly(impl, options, count, (seed, draws), each), options.impls))


def _one_randomly(impl: str, options: CheckOptions, count: int, kind: tuple[int, int], workers: int) -> RandomResult:
    if reason := _unavailable(impl):
        return RandomResult(impl, unsupported=count, reason=reason)
    parts = [(first, min(AT_A_TIME, count - first)) for first in range(0, count, AT_A_TIME)]
    with _Sessions(impl, options, workers) as sessions:
        return together(impl, sessions.map(lambda own, part: own.random(impl, *part, *kind), parts))


def _at_once(options: CheckOptions) -> int:
    return 1 if options.device != "cpu" else usable_cpus() or 1


def _unavailable(impl: str) -> str | None:
    return discover.backend(impl.partition("/")[0]).why_missing()


def _told(row: CheckRow, progress: Progress | None) -> CheckRow:
    if progress is not None:
        progress(row)
    return row


def _lost(impl: str, feature: str, dtype: str, device: str, reply: Reply) -> CheckRow:
    """An exception, a crash or a hang is a disagreement."""
    fault = {"timeout": "timeout", "oom": "memory"}.get(reply.status, "crash")
    return CheckRow(impl, feature, dtype, device, "wrong", 0, fault=fault, reason=reply.reason)


class _Session:
    """A worker of one backend that is started again when a kernel has ended it."""

    def __init__(self, backend: str, options: CheckOptions, setting: Setting) -> None:
        self._backend, self._options, self._setting = backend, options, setting
        self._worker: WorkerProcess | None = None

    def ask(self, op: str, **arguments: object) -> Reply:
        """Ask the worker, starting it first where there is none."""
        if self._worker is None or not self._worker.alive:
            self.close()
            self._worker = WorkerProcess(self._backend, self._setting)
            hello = self._worker.call("hello", self._options.timeout_s, backend=self._backend, threads=1)
            if not hello.ok:
                return hello
        common = {"files": [str(path) for path in self._options.files], "device": self._options.device}
        return self._worker.call(op, self._options.timeout_s, **common, **arguments)

    def row(self, impl: str, feature: str, dtype: str) -> CheckRow:
        """One row, whatever becomes of the worker."""
        reply = self.ask("check", impl=impl, feature=feature, dtype=dtype, deep=self._options.deep)
        if reply.ok:
            return CheckRow.from_dict(reply.value)
        return _lost(impl, feature, dtype, self._options.device, reply)

    def random(self, impl: str, first: int, count: int, seed: int, draws: int) -> RandomResult:
        """Random cases, whatever becomes of the worker; if it is lost, one after the other to find out where."""
        given = {"dtypes": list(self._options.dtypes), "seed": seed, "draws": draws}
        reply = self.ask("check_random", impl=impl, first=first, count=count, **given)
        if reply.ok:
            return RandomResult.from_dict(reply.value)
        if count > 1:
            return together(impl, [self.random(impl, i, 1, seed, draws) for i in range(first, first + count)])
        told = {
            "case": f"number {first} of --seed {seed} --draws {draws}",
            "reason": reply.reason or "",
            "fault": reply.status,
        }
        return RandomResult(impl, cases=1, wrong=1, disagreements=[told])

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None


class _Sessions:
    """Sessions of one backend, as many as are needed at once; one that is free is used again."""

    def __init__(self, impl: str, options: CheckOptions, workers: int) -> None:
        self._backend, self._options, self._workers = impl.partition("/")[0], options, workers
        self._free: list[_Session] = []
        self._lock = threading.Lock()
        self._shared = TemporaryDirectory(prefix="attnbench-check-", ignore_cleanup_errors=True)
        sharing = discover.backend(self._backend).sharing
        self._setting = Setting(environment={n: v.format(folder=self._shared.name) for n, v in sharing.items()})

    def do(self, ask: Callable[[_Session], Done]) -> Done:
        """Ask a session that is free, or a new one."""
        with self._lock:
            session = self._free.pop() if self._free else _Session(self._backend, self._options, self._setting)
        try:
            return ask(session)
        finally:
            with self._lock:
                self._free.append(session)

    def map(self, ask: Callable[[_Session, Part], Done], parts: Sequence[Part]) -> list[Done]:
        """``ask`` for every part, several at a time, in order."""
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(lambda part: self.do(lambda session: ask(session, part)), parts))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for session in self._free:
            session.close()
        self._shared.cleanup()
