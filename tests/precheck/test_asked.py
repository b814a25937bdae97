"""What is asked of an implementation, and what is said where its kernels are not asked, refuse, or never run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attnbench.api import Capabilities, Implementation, Limit
from attnbench.errors import EXIT_NOTHING_MEASURED
from attnbench.precheck import kernels
from attnbench.precheck.interpreter_rows import interpreter_rows, offset_rows, unasked_rows
from attnbench.precheck.question import PrecheckQuestion
from attnbench.precheck.rows import PartRow, Prechecked
from attnbench.precheck.triton.cases import EDGES, FeatureCase, interpreted, launched, unasked
from attnbench.precheck.triton.standin import wants_a_gpu
from attnbench.workers.protocol import OK, TIMEOUT, UNSUPPORTED, Reply
from attnbench.workers.session import Session
from tests.precheck.planted import GOOD, NAME, SQUARE, write
from tests.precheck.test_interpreted import INTERPRETER, asked
from tests.precheck.test_machine import COMPILER, PLAIN

SMALL = (Limit("D", "small", at_most=64), Limit("Dv", "small", at_most=64))
DECODE = (*SMALL, Limit("Tq", "decode", at_most=4))

DESCRIPTORS = """
import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from attnbench.api import Capabilities, implementation


@triton.jit
def mean(V, Out, S, N: tl.constexpr):
    total = tl.zeros((1, 16), tl.float32)
    for start in range(0, S, N):
        total += tl.sum(V.load([start, 0]).to(tl.float32), 0)[None, :]
    Out.store([tl.program_id(0), 0], (total / S).to(Out.dtype))


@implementation("torch/planted", Capabilities(dtypes=("float16",), devices=("cuda",)))
def attend(q, k, v, call):
    out = torch.empty_like(q)
    values = TensorDescriptor.from_tensor(v[0, 0], [8, 16])
    mean[(q.shape[2],)](values, TensorDescriptor.from_tensor(out[0, 0], [1, 16]), v.shape[2], N=8)
    return out
"""
LAST_ONE = """
import torch
import triton
import triton.language as tl

from attnbench.api import Capabilities, implementation


@triton.jit
def mean(V, Out, Parts, Count, S, N: tl.constexpr):
    d, keys = tl.arange(0, 16), tl.program_id(0) * N + tl.arange(0, N)
    part = tl.sum(tl.load(V + keys[:, None] * 16 + d[None, :], mask=keys[:, None] < S, other=0.0).to(tl.float32), 0)
    tl.store(Parts + tl.program_id(0) * 16 + d, part)
    seen = tl.atomic_add(Count, 1)
    if seen == tl.num_programs(0) - 1:
        total = tl.zeros((16,), tl.float32)
        for other in range(tl.num_programs(0)):
            total += tl.load(Parts + other * 16 + d)
        tl.store(Out + d, total / S)


@implementation("torch/planted", Capabilities(dtypes=("float16",), devices=("cuda",)))
def attend(q, k, v, call):
    out, parts = torch.empty_like(q), torch.empty(3, 16)
    mean[(3,)](v, out, parts, torch.zeros(1, dtype=torch.int32), v.shape[2], N=8)
    return out
"""
FALLEN_BACK = """
    try:
        return launch(q, k, v, call)
    except Exception:
        return (torch.softmax(q @ k.mT * call.scale, -1) @ v)
"""


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Session]:
    """A worker whose kernels are interpreted."""
    with Session("torch", 120.0, INTERPRETER) as session:
        yield session


def taken(**declared: Any) -> tuple[list[FeatureCase], list[FeatureCase], list[str]]:
    """What is compiled and interpreted of an implementation in float16, and what is claimed and not asked."""
    can = Capabilities(dtypes=("float16",), devices=("cuda",), **declared)
    of = Implementation("torch/declared", can, lambda q, k, v, call: q)  # noqa: ARG005
    cases = interpreted(of)
    return list(launched(of, "float16")), cases, unasked(of, {each.feature for each in cases})


def test_limits_that_leave_out_every_usual_size_have_others_asked() -> None:
    compiled, small, left = taken(limits=DECODE, gqa=True, causal=True, segments=True, lse=True)
    assert {each.case.problem.Tq for each in compiled} == {1, 4}
    assert max(each.case.problem.S for each in compiled) == 4096
    assert any(each.case.problem.S > 300 for each in small), "several tiles of keys"
    assert left == []


def test_a_restriction_takes_no_feature_from_what_is_asked() -> None:
    compiled, small, left = taken(gqa=True, limits=SMALL, only=("equal_head_sizes",))
    assert left == []
    for cases in (compiled, small):
        assert any(each.case.problem.Hq != each.case.problem.Hkv for each in cases)
        assert all(each.case.problem.Dv == each.case.problem.D for each in cases)


@pytest.mark.parametrize("only", [(), ("key_lengths",)])
def test_lengths_of_zero_are_asked(only: tuple[str, ...]) -> None:
    _, small, _ = taken(lengths=True, lse=True, only=only)
    edges = [each.case for each in small if EDGES["B"] == each.case.problem.B]
    assert edges
    assert all(case.outputs == ("lse",) for case in edges)


def test_a_bias_that_lowers_whole_rows_is_asked_where_zeros_would_show() -> None:
    _, small, _ = taken(bias=True)
    problems = [each.case.problem for each in small if each.feature == "bias"]
    assert any(p.distribution == "large_mean" and "bias_low" in p.operands for p in problems)
    assert not any(each.feature == "bias" for each in taken()[1])


def test_every_feature_is_asked_over_several_tiles_and_batch_entries() -> None:
    claimed = ("causal", "window", "gqa", "mask", "bias", "lengths", "segments", "softcap", "sinks", "slopes", "lse")
    _, small, _ = taken(**dict.fromkeys(claimed, True))
    large = {each.feature for each in small if (p := each.case.problem).B > 2 and min(p.Tq, p.S) > 128}
    assert large >= set(claimed)


def test_features_that_are_claimed_are_asked_together() -> None:
    _, small, _ = taken(causal=True, window=True, softcap=True)
    specs = [each.case.spec for each in small]
    assert any(spec.causal and spec.window is not None for spec in specs)
    assert any(spec.causal and spec.softcap is not None for spec in specs)
    assert any(spec.window is not None and spec.softcap is not None for spec in specs)


def test_what_no_case_fits_is_said() -> None:
    (row,) = unasked_rows(NAME, ["segments"])
    assert (row.status, row.subject) == ("unknown", "segments")


def test_a_row_without_a_key_that_is_not_written_is_named(interpreter: Session, tmp_path: Path) -> None:
    text = GOOD.replace("lse=True,", "lse=True, lengths=True, only=('key_lengths',),").replace(
        'tl.where(total == 0, float("-inf"), top + tl.log(total)), mask=rows < T)',
        "top + tl.log(total), mask=(rows < T) & (total > 0))",
    )
    text = text.replace("sot,\n            CAUSAL", "sot, Many,\n            CAUSAL").replace(
        "out.stride(2),\n        CAUSAL", "out.stride(2), call.kv_lengths,\n        CAUSAL"
    )
    text = text.replace("keep = cols[None, :] < S", "keep = cols[None, :] < tl.load(Many + bh // Hq)")
    plan = interpreter.ask("precheck_cases", impl=NAME, files=[write(tmp_path, text)], archs=["sm_90"]).value
    edges = next(
        each["case"] for each in plan["cases"] if all(of in each["case"] for of in ("B=6", "Tq=3", "lengths_edges"))
    )
    value = asked(interpreter, write(tmp_path, text), edges)
    assert (value["status"], "lse" in str(value["reason"])) == ("wrong", True), value["reason"]


def test_tensor_descriptors_are_watched(interpreter: Session, tmp_path: Path) -> None:
    value = asked(interpreter, write(tmp_path, DESCRIPTORS), "scale=0.0 Tq=3 S=24 D=16 dtype=float16")
    assert (value["status"], value["faults"]) == ("ok", []), value["reason"]
    inside = "TensorDescriptor.from_tensor(v[0, 0], [8, 16])"
    beyond = DESCRIPTORS.replace(inside, "TensorDescriptor(v, [v.shape[2] + 8, 16], [16, 1], [8, 16])")
    beyond = beyond.replace("range(0, S, N)", "range(0, S + 1, N)")
    value = asked(interpreter, write(tmp_path, beyond), "scale=0.0 Tq=3 S=24 D=16 dtype=float16")
    assert any(fault["kind"] == "out of bounds read" for fault in value["faults"])


def test_a_kernel_that_no_call_launches_is_no_agreement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = GOOD.replace(
        "    q, k, v = q.contig", f"{FALLEN_BACK}\n\ndef launch(q, k, v, call):\n    q, k, v = q.contig"
    )
    text = text.replace("def attend", "def attend", 1).replace("call.scale, Hq, Hq", "call.scale, None, Hq, Hq")
    text = text.replace(*PLAIN).replace("Capabilities, Precision", "Capabilities, Limit, Precision")
    with Session("torch", 120.0, COMPILER) as session:
        how: dict[str, Any] = {"arch": "sm_90", "dtype": "float16", "cases": ["Tq=16 D=128"]}
        reply = session.ask("precheck_machine", impl=NAME, files=[write(tmp_path, text)], **how)
    monkeypatch.setattr(kernels, "_machine_code", lambda *_: [("sm_90", "float16", reply)])
    question = PrecheckQuestion([NAME], [write(tmp_path, text)], ["sm_90"], 120.0)
    found = Prechecked.of([*kernels.triton_kernels(NAME, question), PartRow(NAME, "lowers", "ok")])
    assert [(row.kernel, row.status) for row in found.rows] == [("forward", "unknown")]
    assert "no call launched it" in str(found.rows[0].reason)
    assert found.exit_code == EXIT_NOTHING_MEASURED


def answered(**fields: Any) -> Reply:
    """What a worker answers of a case, but for these fields."""
    usual: dict[str, Any] = {
        "status": "ok",
        "reason": None,
        "error_ratio": 0.1,
        "faults": [],
        "notes": [],
        "launched": True,
    }
    return Reply(1, OK, None, usual | fields)


def rows_of(*answers: tuple[str, Reply]) -> dict[str | None, str]:
    """The status of each row by its subject; of the memory by ``None``."""
    cases = [{"case": "Tq=4", "feature": name, "dtype": "float16", "arch": "sm_90"} for name, _ in answers]
    return {row.subject: row.status for row in interpreter_rows(NAME, cases, [reply for _, reply in answers], "")}


def test_a_feature_that_is_declared_and_always_refused_is_wrong() -> None:
    refused = answered(status="unknown", reason="no window yet", error_ratio=None, refused=True, launched=False)
    told = rows_of(("sizes", answered()), ("window", refused), ("window", refused))
    assert told["window in float16"] == "wrong"
    assert "wrong" not in rows_of(("sizes", answered()), ("window", refused), ("window", answered())).values()
    assert "wrong" not in rows_of(("sizes", refused), ("window", refused)).values(), "as where it needs another GPU"


def test_a_feature_that_no_kernel_answers_is_told() -> None:
    elsewhere = answered(launched=False)
    told = rows_of(("sizes", answered()), ("window", elsewhere))
    assert (told["window by a kernel"], told[None]) == ("unknown", "ok")
    assert rows_of(("sizes", elsewhere))[None] == "unknown", "memory of which nobody saw anything"


def test_a_kernel_that_insists_on_a_gpu_is_not_wrong(interpreter: Session, tmp_path: Path) -> None:
    for line, status in (('assert q.device.type == "cuda"', "unknown"), ("assert q.shape[0] == 7", "wrong")):
        text = GOOD.replace("    q, k, v = q.contig", f"    {line}\n    q, k, v = q.contig")
        value = asked(interpreter, write(tmp_path, text), SQUARE)
        assert value["status"] == status
        assert line in value["reason"], "an assertion without words is told by its line"
        lowered = interpreter.ask("precheck_lowered", impl=NAME, files=[write(tmp_path, text)], dtype="float16").value
        assert bool(lowered["failed"]) == (status == "wrong")
        assert bool(lowered["untold"]) == (status == "unknown")
    assert not wants_a_gpu(AssertionError())


def test_one_element_out_of_bounds_is_no_overflow(interpreter: Session, tmp_path: Path) -> None:
    file = write(tmp_path, GOOD.replace("K + kv * skh + cols", "K - 1 + kv * skh + cols"))
    plan = interpreter.ask("precheck_cases", impl=NAME, files=[file], archs=["sm_90"])
    value = interpreter.ask("precheck_offsets", impl=NAME, files=[file], call=plan.value["large"][1]).value
    assert value["status"] == "wrong"
    assert "1 element before its first one" in value["reason"]
    assert "32 bits" not in value["reason"]


def test_the_last_program_to_arrive_may_read_what_the_others_wrote(interpreter: Session, tmp_path: Path) -> None:
    case = "scale=0.0 Tq=1 S=24 D=16 dtype=float16"
    value = asked(interpreter, write(tmp_path, LAST_ONE), case, orders=3)
    assert (value["status"], value["faults"]) == ("ok", []), value["reason"]
    for before, after in (
        ("tl.atomic_add(Count, 1)", 'tl.atomic_add(Count, 1, sem="relaxed")'),
        ("seen == tl.num", "tl.program_id(0) == tl.num"),
    ):
        value = asked(interpreter, write(tmp_path, LAST_ONE.replace(before, after)), case, orders=3)
        assert value["faults"], after


def test_a_large_call_that_takes_too_long_is_not_known() -> None:
    (row,) = offset_rows(NAME, [{"says": "B128"}], [Reply(1, TIMEOUT, "took more than 300 s", {})])
    assert row.status == "unknown"
    assert "too slow" in str(row.reason)


def test_what_hangs_twice_is_asked_no_more() -> None:
    answers = [OK, TIMEOUT, OK, TIMEOUT]

    def ask(number: int) -> Reply:
        return Reply(number, answers[number])

    replies = kernels._until_it_hangs(ask, range(6), 300.0)
    assert [reply.status for reply in replies] == [*answers, UNSUPPORTED, UNSUPPORTED]
    assert "not tried" in str(replies[-1].reason)
