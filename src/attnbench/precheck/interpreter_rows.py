"""From what the interpreter saw to rows: one for each feature's numbers, and one for each fault of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attnbench.precheck.rows import MEMORY, NUMERICS, PartRow, Status
from attnbench.workers.protocol import CRASHED, TIMEOUT, Reply

WORST: tuple[Status, ...] = ("lost", "wrong", "unknown", "ok")
OFFSETS = "offsets"


def interpreter_rows(
    impl: str, cases: Sequence[dict[str, Any]], replies: Sequence[Reply], left_out: str
) -> Iterator[PartRow]:
    """Numerics by feature, then memory by fault."""
    by_feature: dict[str, list[tuple[dict[str, Any], Reply]]] = {}
    for case, reply in zip(cases, replies, strict=True):
        by_feature.setdefault(case["feature"], []).append((case, reply))
    for feature, some in by_feature.items():
        yield _numerics(impl, feature, some, left_out)
    if cases:
        yield from _memory(impl, cases, replies)


def _numerics(impl: str, feature: str, some: Sequence[tuple[dict[str, Any], Reply]], left_out: str) -> PartRow:
    statuses = [_status(reply) for _, reply in some]
    status = next(status for status in WORST if status in statuses)
    case, reply = some[statuses.index(status)]
    ratios: dict[str, float] = {}
    for tried, answer in some:
        if (ratio := answer.value.get("error_ratio")) is not None:
            ratios[tried["dtype"]] = max(ratio, ratios.get(tried["dtype"], 0.0))
    why = reply.value.get("reason") or reply.reason
    reason = None if status == "ok" else f"{why} ({_where(case)})"
    archs = sorted({tried["arch"] for tried, _ in some})
    detail = {"cases": len(some), "error_ratio": ratios, "case": None if status == "ok" else case["case"]}
    detail["archs"] = archs
    return PartRow(impl, NUMERICS, status, feature, reason, detail | ({"left_out": left_out} if left_out else {}))


def _where(case: dict[str, Any]) -> str:
    """The case, and the architecture whose tiles were taken."""
    return f"in the case {case['case']}, as on {case['arch']}"


def _status(reply: Reply) -> Status:
    if not reply.ok:
        return "lost" if reply.status in (CRASHED, TIMEOUT) else "unknown"
    status: Status = reply.value["status"]
    return status


def _memory(impl: str, cases: Sequence[dict[str, Any]], replies: Sequence[Reply]) -> Iterator[PartRow]:
    """Every fault once, with the first case that shows it; one row that says ``ok`` where there is none."""
    faults: dict[tuple[str, str, str], tuple[dict[str, str], dict[str, Any]]] = {}
    notes: dict[str, None] = {}
    answered = [(case, reply.value) for case, reply in zip(cases, replies, strict=True) if reply.ok]
    for case, value in answered:
        notes |= dict.fromkeys(value["notes"])
        for fault in value["faults"]:
            faults.setdefault((fault["kind"], fault["kernel"], fault["tensor"]), (fault, case))
    for fault, case in faults.values():
        detail = {name: fault[name] for name in ("kind", "kernel", "tensor")} | {"case": case["case"]}
        reason = f"{fault['kind']}: {fault['message']} ({_where(case)})"
        yield PartRow(impl, MEMORY, "wrong", f"{fault['kernel']}, {fault['tensor']}", reason, detail)
    # A call that raised has read and written no more than a part of its memory.
    whole = sum(value["error_ratio"] is not None for _, value in answered)
    seen = {"cases": whole, "notes": list(notes)}
    if not whole and not faults:
        yield PartRow(impl, MEMORY, "unknown", reason="no case ran to its end")
    elif not faults:
        said = "nothing out of bounds, unwritten or raced for"
        yield PartRow(impl, MEMORY, "ok", reason="; ".join([said, *notes]), detail=seen)


def offset_rows(impl: str, cases: Sequence[dict[str, Any]], replies: Sequence[Reply]) -> Iterator[PartRow]:
    """Of every large call whether addresses stay within its tensors."""
    for case, reply in zip(cases, replies, strict=True):
        about = case["says"]
        if not reply.ok:
            yield PartRow(impl, OFFSETS, _status(reply), about, reply.reason)
        else:
            yield PartRow(impl, OFFSETS, reply.value["status"], about, reply.value["reason"], reply.value["detail"])
