"""A worker as its parent sees it: started, asked, timed out, found dead, killed.

Every answer is a ``Reply``: a worker that hangs, dies of a signal or leaves without a word gives one too, with a status
and a reason. After such a reply ``alive`` is false, and whoever needs the worker starts another one.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from attnbench import discover
from attnbench.measure.protocol import (
    CRASHED,
    OOM,
    REASON_LENGTH,
    TIMEOUT,
    ProtocolError,
    Reply,
    Request,
    decode,
    encode,
)

LOG_BYTES = 64 * 1024
LOG_TAIL = 300
POLL_S = 0.5
PATIENCE_S = 2.0
LONGEST_REPLY = 16 * 2**20

# A side that waits must sleep, or it takes time from the side that measures.
PASSIVE = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "KMP_BLOCKTIME": "0",
    "OPENBLAS_THREAD_TIMEOUT": "4",
}


@dataclass(frozen=True)
class Setting:
    """How workers are started. ``memory_limit`` in bytes (0: none); ``environment`` beside the backend's own."""

    threads: int = 1
    memory_limit: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable


class Log:
    """The last of what a process printed, read by a thread, so that megabytes of it harm nobody."""

    def __init__(self, descriptor: int) -> None:
        self._tail = b""
        self._thread = threading.Thread(target=self._read, args=(descriptor,), daemon=True)
        self._thread.start()

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb", buffering=0) as pipe:
            while chunk := pipe.read(LOG_BYTES):
                self._tail = (self._tail + chunk)[-LOG_BYTES:]

    def tail(self) -> str:
        """The last lines as one line of readable text."""
        self._thread.join(0.2)
        text = self._tail.decode("utf-8", "replace")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[-LOG_TAIL:]


class WorkerProcess:
    """One worker. ``backend=None`` starts one without a framework, to describe drop-in files."""

    def __init__(self, backend: str | None, setting: Setting) -> None:
        self.backend = backend
        self.alive = True
        self._number = 0
        self._unread = b""
        self._killed = False
        self._start(setting)

    def _start(self, setting: Setting) -> None:
        child_requests, self._requests = os.pipe()
        self._replies, child_replies = os.pipe()
        log, child_log = os.pipe()
        command = [setting.python, "-P", "-m", "attnbench.measure.worker", "--parent", str(os.getpid())]
        command += ["--requests", str(child_requests), "--replies", str(child_replies)]
        command += ["--memory-limit", str(setting.memory_limit)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=child_log,
            stderr=child_log,
            pass_fds=(child_requests, child_replies),
            env=environment(self.backend, setting),
            start_new_session=True,
        )
        for descriptor in (child_requests, child_replies, child_log):
            os.close(descriptor)
        self._log = Log(log)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def call(self, op: str, timeout: float, /, **arguments: Any) -> Reply:
        """Ask and wait for the answer, at most ``timeout`` seconds."""
        self._number += 1
        if not self.alive:
            return Reply(self._number, CRASHED, "the worker is gone")
        try:
            os.write(self._requests, encode(Request(self._number, op, arguments)))
        except OSError:
            return self._died()
        return self._answer(time.monotonic() + timeout, f"{op} took more than {timeout:g} s")

    def _answer(self, deadline: float, late: str) -> Reply:
        while True:
            line = self._line(deadline)
            if line is None:
                self.kill()
                return Reply(self._number, TIMEOUT, self._with_log(late))
            if not line:
                return self._died()
            try:
                reply = decode(Reply, line)
            except ProtocolError:
                continue
            # An answer of another process or to another question is noise.
            if reply.pid == self.pid and reply.number == self._number:
                return reply

    def _line(self, deadline: float) -> bytes | None:
        """The next line; empty at the end of the worker, ``None`` at the deadline."""
        while b"\n" not in self._unread:
            rest = deadline - time.monotonic()
            if rest <= 0:
                return None
            ready, _, _ = select.select([self._replies], [], [], min(rest, POLL_S))
            if ready:
                chunk = os.read(self._replies, 1 << 16)
                if not chunk or len(self._unread) > LONGEST_REPLY:
                    return b""
                self._unread += chunk
            elif self._process.poll() is not None:
                return b""
        line, _, self._unread = self._unread.partition(b"\n")
        return line + b"\n"

    def _died(self) -> Reply:
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return Reply(self._number, CRASHED, self._with_log("the worker closed its pipe and did not end"))
        self.alive = False
        status, reason = death(self._process.returncode)
        self.kill()
        return Reply(self._number, status, self._with_log(reason))

    def _with_log(self, reason: str) -> str:
        tail = self._log.tail()
        return (f"{reason}; it printed last: {tail}" if tail else reason)[:REASON_LENGTH]

    def kill(self) -> None:
        """End the worker and whatever it started, at once."""
        self.alive = False
        if self._killed:
            return
        self._killed = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for descriptor in (self._requests, self._replies):
            os.close(descriptor)

    def close(self) -> None:
        """Let the worker end, and kill it if it does not."""
        if self.alive:
            with suppress(OSError):
                os.write(self._requests, encode(Request(self._number + 1, "quit")))
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE_S)
        self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def environment(backend: str | None, setting: Setting) -> dict[str, str]:
    """The variables of a worker: ours, those of its framework for the threads asked, and a passive wait policy."""
    own = discover.backend(backend).process_environment(setting.threads) if backend else {}
    return os.environ | PASSIVE | own | dict(setting.environment)


def death(returncode: int) -> tuple[str, str]:
    """What a worker's end without an answer says."""
    if returncode >= 0:
        return CRASHED, f"the process left without a result (exit status {returncode})"
    number = -returncode
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL:
        return OOM, "the process was killed (SIGKILL), as the system does when memory runs out"
    return CRASHED, f"the process died of {name}"
