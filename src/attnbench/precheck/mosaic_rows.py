"""The part about kernels of Mosaic GPU (Pallas for Hopper and Blackwell): numbers and races in Pallas' interpreter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attnbench.backends import discover
from attnbench.precheck.question import PrecheckQuestion
from attnbench.precheck.rows import PartRow, PrecheckRow, Status
from attnbench.workers.process import Setting
from attnbench.workers.session import Session

# Every warpgroup of a block holds a thread of XLA's pool while it waits at a barrier.
THREADS = 16
BACKENDS = ("jax",)
MOSAIC = "a kernel of Mosaic GPU"
# How a process begins its last line whose kernel read beyond an array, or used a barrier wrongly.
RAISED = "raised in the interpreter: "
WATCHED = "reads within arrays, nothing read that nobody wrote, all barriers waited for"


def mosaic_kernels(impl: str, question: PrecheckQuestion, kernels: Sequence[str]) -> Iterator[PrecheckRow]:
    """Two rows, numerics and memory; none of an implementation whose program has no such kernel."""
    backend = impl.partition("/")[0]
    if backend not in BACKENDS or discover.backend(backend).why_missing():
        return
    if not any(kernel.startswith(MOSAIC) for kernel in kernels):
        return
    files = list(question.files)
    with Session(backend, question.timeout_s, Setting(threads=THREADS)) as session:
        plan = session.ask("precheck_interpretable", impl=impl, files=files)
        if not plan.ok or not plan.value["cases"]:
            reason = plan.reason or "this JAX interprets no kernel of Mosaic GPU"
            yield PartRow(impl, "numerics", "unknown" if plan.ok else "lost", reason=reason)
            return
        shown = []
        for each in plan.value["cases"]:
            reply = session.ask("precheck_interpreted", impl=impl, files=files, case=each["case"])
            shown.append({**each, "status": reply.status, "reason": reply.reason, **(reply.value if reply.ok else {})})
    yield from rows_of(impl, shown)
    if unasked := ", ".join(plan.value["unasked"]):
        yield PartRow(impl, "numerics", "unknown", unasked, "claimed, and in none of the cases that were interpreted")


def rows_of(impl: str, shown: Sequence[dict[str, Any]]) -> Iterator[PartRow]:
    """What the interpreter showed of every case, as two rows."""
    raised = [each for each in shown if RAISED in str(each["reason"])]
    lost = [each for each in shown if "result" not in each and each not in raised]
    results = [each for each in shown if "result" in each]
    wrong = [each for each in results if each["result"]["status"] != "ok"]
    raced = [each for each in results if each["raced"]]
    ratios = [float(each["result"]["error_ratio"]) for each in results if each["result"]["error_ratio"] is not None]
    features = list(dict.fromkeys(each["feature"] for each in shown))
    detail = {"cases": len(shown), "features": features, "error_ratio": max(ratios, default=None)}
    status: Status = "lost" if lost else "wrong" if wrong else "ok"
    if bad := lost or wrong:
        first = bad[0]
        why = first["reason"] if lost else first["result"]["reason"]
        yield PartRow(
            impl, "numerics", status, "interpreter", f"{first['feature']}: {why}; case {first['case']}", detail
        )
    elif results:
        most = f", the largest error {detail['error_ratio']:.2g} of its bound" if ratios else ""
        yield PartRow(
            impl, "numerics", "ok", "interpreter", f"{len(results)} cases, {len(features)} features{most}", detail
        )
    if raised:
        what = str(raised[0]["reason"]).partition(RAISED)[2]
        why = f"raised in {raised[0]['feature']}: {what}; case {raised[0]['case']}"
        yield PartRow(impl, "memory", "wrong", "interpreter", why, detail)
    elif raced:
        why = f"a race in {raced[0]['feature']}: two warpgroups, and no barrier between; case {raced[0]['case']}"
        yield PartRow(impl, "memory", "wrong", "interpreter", why, detail)
    elif not lost and not wrong:
        yield PartRow(impl, "memory", "ok", "interpreter", f"no race that it can tell; {WATCHED}", detail)
