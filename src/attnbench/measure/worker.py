"""The worker: ``python -m attnbench.measure.worker``, a process that measures with one framework and can be lost.

It reads requests from one pipe and writes replies to another; standard output and error are the kernels'. Whatever a
kernel raises is a reply. It dies with its parent.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import signal
import sys
import traceback
from typing import BinaryIO

from attnbench.measure.bench import Bench, Done, classify
from attnbench.measure.protocol import CRASHED, OK, Reply, Request, decode, encode

PR_SET_PDEATHSIG = 1
EXIT_ORPHAN = 3
EXIT_FORKED = 4


def main(arguments: list[str] | None = None) -> int:
    """Serve requests until ``quit`` or the end of the pipe."""
    parser = argparse.ArgumentParser(prog="attnbench.measure.worker", description=__doc__)
    parser.add_argument("--requests", type=int, required=True, help="file descriptor to read requests from")
    parser.add_argument("--replies", type=int, required=True, help="file descriptor to write replies to")
    parser.add_argument("--parent", type=int, required=True, help="process to die with")
    parser.add_argument("--memory-limit", type=int, default=0, help="bytes of data this process may hold; 0: no limit")
    given = parser.parse_args(arguments)
    die_with(given.parent)
    limit_memory(given.memory_limit)
    for descriptor in (given.requests, given.replies):
        os.set_inheritable(descriptor, False)  # noqa: FBT003  (the only way to call it)
    with os.fdopen(given.requests, "rb") as requests, os.fdopen(given.replies, "wb", buffering=0) as replies:
        serve(requests, replies)
    return 0


def die_with(parent: int) -> None:
    """Have the system kill this process when its parent ends, so that nothing is left measuring or holding a lock."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(EXIT_ORPHAN)


def limit_memory(limit: int) -> None:
    """Bound the private writable memory: an allocation without end becomes an error here, and not the machine's."""
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests in order."""
    bench, own = Bench(), os.getpid()
    operations = bench.operations()
    for line in requests:
        request = decode(Request, line)
        if request.op == "quit":
            return
        if request.op in operations:
            status, reason, value = attempt(operations[request.op], request)
        else:
            status, reason, value = CRASHED, f"the worker has no operation {request.op!r}", {}
        if os.getpid() != own:
            # A kernel forked, and this is the child, back from the call: it has nothing to say here.
            os._exit(EXIT_FORKED)
        replies.write(encode(Reply(request.number, status, reason, value, own)))


def attempt(operation: object, request: Request) -> Done:
    """What the operation did; whatever it raised is a status and a reason."""
    try:
        done: Done = operation(**request.arguments)  # type: ignore[operator]
    except BaseException as error:  # noqa: BLE001  (a kernel may raise anything, SystemExit too)
        status, reason = classify(error)
        if status != OK:
            traceback.print_exc()
        return status, reason, {}
    return done


if __name__ == "__main__":
    sys.exit(main())
