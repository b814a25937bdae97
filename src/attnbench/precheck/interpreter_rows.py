"""From what the interpreter saw to rows: one for each feature's numbers, and one for each fault of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attnbench.precheck.rows import MEMORY, NUMERICS, PartRow, Status
from attnbench.workers.protocol import CRASHED, TIMEOUT, Reply

WORST: tuple[Status, ...] = ("lost", "wrong", "unknown", "ok")
OFFSETS = "offsets"
REFUSED = "it is declared, and every case of it is refused"
NO_KERNEL = "no kernel of Triton's is launched in any case of it: something else gives the answer"


def interpreter_rows(
    impl: str, cases: Sequence[dict[str, Any]], replies: Sequence[Reply], left_out: str
) -> Iterator[PartRow]:
    """Numerics by feature, then memory by fault."""
    by_feature: dict[str, list[tuple[dict[str, Any], Reply]]] = {}
    for case, reply in zip(cases, replies, strict=True):
        by_feature.setdefault(case["feature"], []).append((case, reply))
    rows = [_numerics(impl, feature, some, left_out) for feature, some in by_feature.items()]
    rows += list(_refused(impl, by_feature))
    yield from rows
    yield from _elsewhere(impl, by_feature)
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


def _refused(impl: str, by_feature: dict[str, list[tuple[dict[str, Any], Reply]]]) -> Iterator[PartRow]:
    """Features that are declared, and refused in every case of a dtype of which other cases are taken."""
    taken = {case["dtype"] for some in by_feature.values() for case, reply in some if not _is_refused(reply)}
    for feature, some in by_feature.items():
        for dtype in dict.fromkeys(case["dtype"] for case, _ in some if case["dtype"] in taken):
            of_dtype = [(case, reply) for case, reply in some if case["dtype"] == dtype]
            if all(_is_refused(reply) for _, reply in of_dtype):
                case, reply = of_dtype[0]
                reason = f"{REFUSED}: {reply.value['reason']} ({_where(case)})"
                yield PartRow(impl, NUMERICS, "wrong", f"{feature} in {dtype}", reason, {"case": case["case"]})


def _is_refused(reply: Reply) -> bool:
    return bool(reply.ok and reply.value.get("refused"))


def _elsewhere(impl: str, by_feature: dict[str, list[tuple[dict[str, Any], Reply]]]) -> Iterator[PartRow]:
    """Features that are answered without any kernel, as where a wrapper falls back to its framework."""
    for feature, some in by_feature.items():
        judged = [reply for _, reply in some if _status(reply) in ("ok", "wrong")]
        if judged and not any(reply.value["launched"] for reply in judged):
            yield PartRow(impl, NUMERICS, "unknown", f"{feature} by a kernel", NO_KERNEL, {"case": some[0][0]["case"]})


def unasked_rows(impl: str, features: Sequence[str]) -> Iterator[PartRow]:
    """Features that are claimed, and that no case is about which the interpreter could be asked."""
    for feature in features:
        yield PartRow(
            impl, NUMERICS, "unknown", feature, "it is claimed, and no small case of it fits what is declared"
        )


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
    whole = sum(value["error_ratio"] is not None and value["launched"] for _, value in answered)
    seen = {"cases": whole, "notes": list(notes)}
    if not whole and not faults:
        yield PartRow(impl, MEMORY, "unknown", reason="no case ran to its end in a kernel")
    elif not faults:
        said = "nothing out of bounds, unwritten or raced for"
        yield PartRow(impl, MEMORY, "ok", reason="; ".join([said, *notes]), detail=seen)


def offset_rows(impl: str, cases: Sequence[dict[str, Any]], replies: Sequence[Reply]) -> Iterator[PartRow]:
    """Of every large call whether addresses stay within its tensors."""
    for case, reply in zip(cases, replies, strict=True):
        about = case["says"]
        if reply.status == TIMEOUT:
            reason = f"the interpreter is too slow for what a program does in so large a call: {reply.reason}"
            yield PartRow(impl, OFFSETS, "unknown", about, reason)
        elif not reply.ok:
            yield PartRow(impl, OFFSETS, _status(reply), about, reply.reason)
        else:
            yield PartRow(impl, OFFSETS, reply.value["status"], about, reply.value["reason"], reply.value["detail"])
