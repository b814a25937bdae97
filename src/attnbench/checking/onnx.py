"""``attnbench check --onnx`` in processes of its own: a node that crashes or hangs a kernel is a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from attnbench.agree.onnx.check import OnnxRow
from attnbench.backends import discover
from attnbench.checking.lost import fault
from attnbench.checking.processes import at_once_on
from attnbench.workers.protocol import UNSUPPORTED, Reply
from attnbench.workers.session import Session

Progress = Callable[[OnnxRow], None]


@dataclass(frozen=True)
class OnnxOptions:
    """What to check: ``nodes`` random nodes from ``seed`` on, or with 0 the cases of the installed onnx."""

    impls: Sequence[str]
    files: Sequence[str] = ()
    nodes: int = 0
    seed: int = 0
    device: str = "cpu"
    timeout_s: float = 120.0


def check_onnx(options: OnnxOptions, progress: Progress | None = None) -> list[OnnxRow]:
    """Check every implementation; rows in the order of ``options.impls``."""
    with ThreadPoolExecutor(at_once_on(options.device)) as pool:
        tables = pool.map(lambda impl: _check_implementation(impl, options, progress), options.impls)
        return [row for rows in tables for row in rows]


def _check_implementation(impl: str, options: OnnxOptions, progress: Progress | None) -> list[OnnxRow]:
    """One implementation; a worker that is lost is replaced for the next node."""
    info = discover.backend(impl.partition("/")[0])
    if reason := info.why_missing():
        return [OnnxRow(impl, "all", 0, options.device, "unsupported", reason=reason)]
    with Session(info.name, options.timeout_s) as session:
        plan = session.ask("onnx_plan", nodes=options.nodes, seed=options.seed)
        if not plan.ok:
            return [_lost(impl, "all", 0, options.device, plan)]
        return [_row(session, impl, case, opset, options, progress) for case, opset in plan.value["cases"]]


def _row(
    session: Session, impl: str, case: str, opset: int, options: OnnxOptions, progress: Progress | None
) -> OnnxRow:
    reply = session.ask("check_onnx", impl=impl, files=list(options.files), case=case, device=options.device)
    row = OnnxRow.from_dict(reply.value) if reply.ok else _lost(impl, case, opset, options.device, reply)
    if progress is not None:
        progress(row)
    return row


def _lost(impl: str, case: str, opset: int, device: str, reply: Reply) -> OnnxRow:
    if reply.status == UNSUPPORTED:
        return OnnxRow(impl, case, opset, device, UNSUPPORTED, reason=reply.reason)
    return OnnxRow(impl, case, opset, device, "wrong", fault=fault(reply), reason=reply.reason)
