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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from attnbench.backends import discover
from attnbench.workers import tree
from attnbench.workers.limits import Groups, system_kills
from attnbench.workers.protocol import (
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
KEEPER = Path(__file__).with_name("keeper.py")
KEEPER_PATIENCE_S = 5.0
# Seconds of a processor that the system takes to have a byte back; 0.05 ns were seen where XLA frees 300 MB at once.
FREEING_S = 1e-10
# Signals that come from somebody else: they say nothing of the kernel that was running.
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
NO_GROUPS = Groups(None, "not asked for")

# A side that waits must sleep, or it takes time from the side that measures.
PASSIVE = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "KMP_BLOCKTIME": "0",
    "OPENBLAS_THREAD_TIMEOUT": "4",
}


@dataclass(frozen=True)
class Setting:
    """How workers are started.

    ``memory_limit`` in bytes (0: none); ``environment`` beside the backend's own; ``groups`` say where control groups
    can be made.
    """

    threads: int = 1
    memory_limit: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable
    groups: Groups = NO_GROUPS


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
        self._killed = self._dismissed = False
        self._pid = 0
        self._start(setting)

    def _start(self, setting: Setting) -> None:
        child_requests, self._requests = os.pipe()
        self._replies, child_replies = os.pipe()
        log, child_log = os.pipe()
        self._group = setting.groups.make(setting.memory_limit)
        self._kills_before = system_kills()
        pipes = ["--requests", str(child_requests), "--replies", str(child_replies)]
        group = [] if self._group is None else ["--group", str(self._group.path)]
        worker = [setting.python, "-P", "-m", "attnbench.measure.worker", *pipes]
        worker += ["--memory-limit", str(setting.memory_limit)]
        keeper = [setting.python, "-I", "-S", str(KEEPER), "--parent", str(os.getpid()), *pipes, *group]
        self._process = subprocess.Popen(
            [*keeper, "--", *worker],
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
        """The worker's process id; 0 before its first answer. The keeper, its parent, is ``keeper_pid``."""
        return self._pid

    @property
    def keeper_pid(self) -> int:
        """The process id of the worker's keeper."""
        return self._process.pid

    def call(self, op: str, timeout: float, /, **arguments: Any) -> Reply:
        """Ask and wait for the answer, at most ``timeout`` seconds."""
        self._number += 1
        if not self.alive:
            return Reply(self._number, CRASHED, "the worker is gone")
        request = encode(Request(self._number, op, arguments))
        used, ready = tree.cpu_times(self.keeper_pid), tree.waited_s(self._pid)
        sent = time.monotonic()
        try:
            os.write(self._requests, request)
        except OSError:
            return self._died()
        reply = self._answer(sent + timeout, f"{op} took more than {timeout:g} s")
        took_s = time.monotonic() - sent
        cpu_s, waited_s = tree.used_s(used, tree.cpu_times(self.keeper_pid)), _since(ready, tree.waited_s(self._pid))
        return replace(reply, took_s=took_s, cpu_s=cpu_s, waited_s=waited_s)

    def working_s(self, seconds: float) -> float | None:
        """Processor time that it and all below it use for so long while nobody asks for anything.

        What giving memory back to the system may take of it is not computing, and does not count.
        """
        before = tree.level(self._pid, "VmRSS")
        used, after = tree.working_s(self.keeper_pid, seconds), tree.level(self._pid, "VmRSS")
        if used is None or before is None or after is None:
            return used
        return max(0.0, used - FREEING_S * max(0, before - after))

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
            if self._pid == 0 and reply.number == 0:
                self._pid = reply.pid  # the keeper tells it, before the worker has begun
                continue
            # An answer of another process or to another question is noise; who ended a process it cannot say itself.
            if reply.pid == self.pid and reply.number == self._number:
                return replace(reply, outside=False)

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
        end = death(self._process.returncode, out_of_memory=self._out_of_memory())
        self.kill()
        return Reply(self._number, end.status, self._with_log(end.reason), outside=end.outside)

    def _out_of_memory(self) -> bool:
        """Whether the system has killed for memory since the start of this process; true where it does not tell."""
        if self._group is not None and self._group.kills():
            return True
        now = system_kills()
        return now is None or now != self._kills_before

    def _with_log(self, reason: str) -> str:
        tail = self._log.tail()
        return (f"{reason}; it printed last: {tail}" if tail else reason)[:REASON_LENGTH]

    def kill(self) -> None:
        """End the worker and whatever it started, at once: its keeper does it."""
        self.alive = False
        if self._killed:
            return
        self._killed = True
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(KEEPER_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._pid:
            # Where the keeper was killed it could not: then the worker's group at least.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
        if self._group is not None:
            self._group.end()
        for descriptor in (self._requests, self._replies):
            os.close(descriptor)

    def end(self) -> None:
        """Have it killed without waiting, from another thread: whoever waits for an answer finds it dead."""
        if self._process.poll() is None:
            self._process.terminate()

    def close(self) -> None:
        """Let the worker end, and kill it if it does not."""
        self.dismiss()
        if self.alive:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE_S)
        self.kill()

    def dismiss(self) -> None:
        """Tell the worker to end, and do not wait for it; ``close`` does."""
        if self.alive and not self._dismissed:
            self._dismissed = True
            with suppress(OSError):
                os.write(self._requests, encode(Request(self._number + 1, "quit")))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _since(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(0.0, after - before)


def environment(backend: str | None, setting: Setting) -> dict[str, str]:
    """The variables of a worker: ours, those of its framework for the threads asked, and a passive wait policy."""
    framework = discover.backend(backend).process_environment(setting.threads) if backend else {}
    return os.environ | PASSIVE | framework | dict(setting.environment)


@dataclass(frozen=True)
class Death:
    """What a worker's end without an answer says. ``outside``: somebody else ended it, and not what it was doing."""

    status: str
    reason: str
    outside: bool = False


def death(returncode: int, *, out_of_memory: bool) -> Death:
    """The status of a worker that ended with ``returncode``; a SIGKILL is the system's where memory ran out."""
    if returncode >= 0:
        return Death(CRASHED, f"the process left without a result (exit status {returncode})")
    number = -returncode
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL and out_of_memory:
        return Death(OOM, "the process was killed (SIGKILL), as the system does when memory runs out")
    if number in FROM_OUTSIDE:
        return Death(CRASHED, f"the process was ended by {name}, sent by a process and not by the system", outside=True)
    return Death(CRASHED, f"the process died of {name}")
