"""``attnbench check`` in processes of its own: a kernel that crashes or hangs is a row, and the rest is checked.

One worker for each implementation, several at a time where the device is the CPU: agreement is not timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from attnbench import discover
from attnbench.agree.check import CheckRow
from attnbench.measure.process import Setting, WorkerProcess
from attnbench.measure.protocol import Reply
from attnbench.precision import DTYPES

Progress = Callable[[CheckRow], None]


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
    """Check every implementation; rows in the order of ``options.impls``."""
    at_once = 1 if options.device != "cpu" else max(1, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(at_once) as pool:
        found = pool.map(lambda impl: check_one(impl, options, progress), options.impls)
        return [row for rows in found for row in rows]


def check_one(impl: str, options: CheckOptions, progress: Progress | None = None) -> list[CheckRow]:
    """Check one implementation; a worker that is lost is replaced for the next row."""
    backend = impl.partition("/")[0]
    info = discover.backend(backend)
    if not info.available():
        reason = f"needs {info.requires}: pip install 'attnbench[{info.extra}]'"
        return [_told(CheckRow(impl, "all", "all", options.device, "unsupported", 0, reason=reason), progress)]
    session = _Session(backend, options)
    try:
        plan = session.ask("check_plan", impl=impl, dtypes=list(options.dtypes), features=list(options.features))
        if not plan.ok:
            return [_told(_lost(impl, "all", "all", options.device, plan), progress)]
        return [_told(session.row(impl, feature, dtype), progress) for feature, dtype in plan.value["pairs"]]
    finally:
        session.close()


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

    def __init__(self, backend: str, options: CheckOptions) -> None:
        self._backend, self._options = backend, options
        self._worker: WorkerProcess | None = None

    def ask(self, op: str, **arguments: object) -> Reply:
        """Ask the worker, starting it first where there is none."""
        if self._worker is None or not self._worker.alive:
            self.close()
            self._worker = WorkerProcess(self._backend, Setting())
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

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
