"""What a question that got no answer says of the implementation: an exception, a crash or a hang is a disagreement.

A reply that says "unsupported" is no disagreement: the framework cannot be used there, or the kernel refuses. Neither
is one for which no time was left.
"""

from __future__ import annotations

from attnbench.agree.check.rows import UNTRIED, CheckRow
from attnbench.workers.protocol import NOT_RUN, OOM, TIMEOUT, UNSUPPORTED, Reply

LOST = ("crash", "timeout", "memory")  # faults that take the worker along


def fault(reply: Reply) -> str:
    """The fault, in the words of the check's rows."""
    return {TIMEOUT: "timeout", OOM: "memory"}.get(reply.status, "crash")


def lost_row(impl: str, feature: str, dtype: str, device: str, reply: Reply, case: str | None = None) -> CheckRow:
    """The row of the check that such a reply stands for."""
    if reply.status in (UNSUPPORTED, NOT_RUN):
        status = UNSUPPORTED if reply.status == UNSUPPORTED else UNTRIED
        return CheckRow(impl, feature, dtype, device, status, 0, reason=reply.reason, case=case)
    return CheckRow(impl, feature, dtype, device, "wrong", 0, fault=fault(reply), reason=reply.reason, case=case)
