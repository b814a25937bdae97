"""The part about frameworks that lower a call for a GPU that is not there: JAX by export, PyTorch by shapes alone.

A program that has a kernel of Mosaic GPU is interpreted as well (``mosaic_rows``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from attnbench.attention.precision import DTYPES
from attnbench.backends import discover
from attnbench.precheck.mosaic_rows import mosaic_kernels
from attnbench.precheck.question import PrecheckQuestion
from attnbench.precheck.rows import PartRow, PrecheckRow
from attnbench.workers.protocol import Reply
from attnbench.workers.session import Session

PART = "lowers"
# Who is asked, by the framework that an adapter stands on; one that cannot tell says so. Triton's kernels are asked
# after themselves.
LOWERING = ("jax", "torch", "cupy")
NAMED = 3


def lowered_programs(impl: str, question: PrecheckQuestion) -> Iterator[PrecheckRow]:
    """One row: whether all that an implementation claims for a GPU is lowered for it, with the right shapes."""
    backend = impl.partition("/")[0]
    if backend not in LOWERING:
        return
    if why := discover.backend(backend).why_missing():
        yield PartRow(impl, PART, "unknown", reason=why)
        return
    replies = {}
    with Session(backend, question.timeout_s) as session:
        for dtype in DTYPES:
            files = list(question.files)
            replies[dtype] = session.ask("precheck_lowered", impl=impl, files=files, dtype=dtype)
    if all(reply.ok and not reply.value["claimed"] for reply in replies.values()):
        return
    row = lowered_row(impl, replies)
    yield row
    yield from untold_row(impl, row)
    yield from mosaic_kernels(impl, question, list(row.detail["kernels"]))


def lowered_row(impl: str, replies: dict[str, Reply]) -> PartRow:
    """The answers for every dtype as one row; what could not be told beside it is ``untold_row``'s."""
    lost = {dtype: reply for dtype, reply in replies.items() if not reply.ok}
    by_dtype = {dtype: reply.value for dtype, reply in replies.items() if reply.ok and reply.value["cases"]}
    failed = [{**each, "dtype": dtype} for dtype, value in by_dtype.items() for each in value["failed"]]
    untold = [{**each, "dtype": dtype} for dtype, value in by_dtype.items() for each in value["untold"]]
    kernels: Counter[str] = Counter()
    for value in by_dtype.values():
        kernels.update(value["kernels"])
    cases = sum(value["cases"] for value in by_dtype.values())
    good = cases - len(failed) - len(untold)
    features = list(dict.fromkeys(name for value in by_dtype.values() for name in value["features"]))
    detail = {
        "by": next((value["by"] for value in by_dtype.values() if value["by"]), None),
        "cases": cases,
        "lowered": good,
        "dtypes": list(by_dtype),
        "features": features,
        "kernels": dict(kernels),
        "failed": failed,
        "untold": untold,
    }
    if failed:
        return PartRow(impl, PART, "wrong", "cuda", _by_feature(failed), detail)
    if lost:
        dtype, reply = next(iter(lost.items()))
        return PartRow(impl, PART, "lost", "cuda", f"{dtype}: {reply.reason}", detail)
    if not good:
        return PartRow(impl, PART, "unknown", "cuda", untold[0]["reason"] if untold else "no case of it", detail)
    return PartRow(impl, PART, "ok", "cuda", _told(detail, untold), detail)


def untold_row(impl: str, row: PartRow) -> Iterator[PartRow]:
    """Where some features are lowered, and nobody can tell of others here: a row that names these."""
    if row.status == "ok" and (untold := row.detail["untold"]):
        features = ", ".join(dict.fromkeys(each["feature"] for each in untold))
        yield PartRow(impl, PART, "unknown", features, _by_feature(untold))


def _told(detail: dict[str, Any], untold: Sequence[dict[str, Any]]) -> str:
    """What was lowered, with the kernels that are in it, and what could not be told."""
    held = "".join(f"; {name}" for name in detail["kernels"])
    rest = f"; {len(untold)} not told: {untold[0]['reason']}" if untold else ""
    said = f"{detail['lowered']} cases by {detail['by']}, {len(detail['features'])} features"
    return f"{said}, {', '.join(detail['dtypes'])}{held}{rest}"


def _by_feature(failed: Sequence[dict[str, Any]]) -> str:
    """Each reason with the features and the dtypes that it was seen in."""
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for each in failed:
        by_reason.setdefault(each["reason"], []).append(each)
    said = []
    for reason, where in list(by_reason.items())[:NAMED]:
        features = ", ".join(dict.fromkeys(each["feature"] for each in where))
        dtypes = ", ".join(dict.fromkeys(each["dtype"] for each in where))
        said.append(f"{features} ({dtypes}): {reason}; case {where[0]['case']}")
    more = len(by_reason) - NAMED
    return "; ".join(said) + (f"; and {more} more reasons" if more > 0 else "")
