"""The worker: ``python -m attnbench.measure.worker``, a process that measures with one framework and can be lost.

It reads requests from one pipe and writes replies to another; standard output and error are the kernels'. Whatever a
kernel raises is a reply. It dies with its parent, the keeper, which ends whatever a kernel has started.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO

from attnbench.checking.declare_operation import declare_operation
from attnbench.checking.operations import check_operations, conformance_operations, plan_operations
from attnbench.measure.anchor.serving import Anchoring
from attnbench.measure.audits.judging import Judging
from attnbench.measure.bench import Bench
from attnbench.measure.general import General, classify
from attnbench.precheck.operations import precheck_operations
from attnbench.workers.protocol import CRASHED, OK, REASON_LENGTH, WRONG, Done, Reply, Request, decode, encode

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend

EXIT_FORKED = 4


def main(arguments: list[str] | None = None) -> int:
    """Serve requests until ``quit`` or the end of the pipe."""
    parser = argparse.ArgumentParser(prog="attnbench.measure.worker", description=__doc__)
    parser.add_argument("--requests", type=int, required=True, help="file descriptor to read requests from")
    parser.add_argument("--replies", type=int, required=True, help="file descriptor to write replies to")
    parser.add_argument("--memory-limit", type=int, default=0, help="bytes of data this process may hold; 0: no limit")
    given = parser.parse_args(arguments)
    limit_memory(given.memory_limit)
    for descriptor in (given.requests, given.replies):
        os.set_inheritable(descriptor, False)  # noqa: FBT003  (the only way to call it)
    os.register_at_fork(after_in_child=leave_with_the_kernel)
    with os.fdopen(given.requests, "rb") as requests, os.fdopen(given.replies, "wb", buffering=0) as replies:
        serve(requests, replies)
    return 0


def limit_memory(limit: int) -> None:
    """Bound the private writable memory: an allocation without end becomes an error here, and not the machine's."""
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def operations() -> dict[str, Callable[..., Done]]:
    """All that a worker does, by the names in the protocol: what every worker does, what is timed, what is checked."""
    general = General()

    def backend() -> Backend:
        return general.backend

    checking = plan_operations(backend) | check_operations(backend) | declare_operation(backend)
    measuring = general.operations() | Bench(backend).operations()
    alone = Judging().operations() | Anchoring().operations() | precheck_operations(backend)
    return measuring | checking | conformance_operations(backend) | alone


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests in order."""
    known, pid = operations(), os.getpid()
    for line in requests:
        request = decode(Request, line)
        if request.op == "quit":
            return
        if request.op in known:
            status, reason, value = attempt(known[request.op], request)
        else:
            status, reason, value = CRASHED, f"the worker has no operation {request.op!r}", {}
        if os.getpid() != pid:
            os._exit(EXIT_FORKED)  # a child that was forked outside Python
        replies.write(encode(Reply(request.number, status, reason, value, pid)))


def attempt(operation: object, request: Request) -> Done:
    """What the operation did; whatever it raised is a status and a reason."""
    try:
        done: Done = operation(**request.arguments)  # type: ignore[operator]
    except BaseException as error:  # noqa: BLE001  (a kernel may raise anything, SystemExit too)
        if isinstance(error, ValueError) and "read-only" in str(error):
            return WRONG, f"tried to write to an input: {error}"[:REASON_LENGTH], {}
        status, reason = classify(error)
        if status != OK:
            traceback.print_exc()
        return status, reason, {}
    return done


def leave_with_the_kernel() -> None:
    """In a forked child: end when the kernel returns, or the child would go on measuring, and fork again each call.

    Every frame of the harness below the kernel gets a trace function, as a debugger does it: the first thing that
    happens there in the child ends it. What the kernel itself does in the child goes on.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  (the way to the frames)
    while frame is not None:
        if _harness(frame.f_globals.get("__name__", "")):
            frame.f_trace = _leave
        frame = frame.f_back
    sys.settrace(_ignore)


def _harness(module: str) -> bool:
    kernels = module.startswith(("attnbench.impls.", "attnbench.suites."))
    return module == "__main__" or (module.startswith("attnbench.") and not kernels)


def _ignore(_frame: FrameType, _event: str, _argument: Any) -> None:
    """New frames are not traced."""


def _leave(_frame: FrameType, _event: str, _argument: Any) -> Any:
    os._exit(EXIT_FORKED)


if __name__ == "__main__":
    os._exit(main())  # what a kernel or a framework wants to do at the end is of no use, and can hang
