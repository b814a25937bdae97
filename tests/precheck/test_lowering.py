"""What JAX and PyTorch lower for a GPU that is not there, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from attnbench.agree.cases.case_text import case_from_text
from attnbench.backends import discover
from attnbench.backends.backend import Lowered
from attnbench.backends.bind import inputs_of
from attnbench.errors import UnsupportedError
from attnbench.precheck.lowered_rows import lowered_programs, lowered_row, untold_row
from attnbench.precheck.lowering import difference, expected, lowered
from attnbench.precheck.mosaic_rows import rows_of
from attnbench.precheck.question import PrecheckQuestion
from attnbench.workers.protocol import CRASHED, OK, Reply
from attnbench.workers.session import Session
from tests.precheck.planted import GOOD, NAME, write
from tests.precheck.test_machine import COMPILER

TRAIN = "B=1 Hq=2 Hkv=1 Tq=5 S=7 D=16 Dv=8 dtype=bfloat16 phase=backward outputs=lse"
SHORT = """
    import torch
    from attnbench.api import Capabilities, implementation

    @implementation("torch/short", Capabilities(dtypes=("float16",), devices=("cuda",)))
    def short(q, k, v, call):
        return ANSWER
"""


def lowered_by(impl: str, case: str) -> Lowered:
    """What an implementation's framework makes of a case for a GPU."""
    backend = discover.backend(impl.partition("/")[0]).load()
    inputs = inputs_of(case_from_text(case))
    implementation = discover.load_implementation(impl, [])
    return backend.lowered(implementation, *inputs.qkv, inputs.call, device="cuda", **inputs.cotangents)


def asked(impl: str, files: list[str], dtype: str) -> dict[str, Any]:
    return lowered(discover.backend(impl.partition("/")[0]).load(), impl, files, dtype)


@pytest.mark.parametrize("impl", ["jax/naive", "torch/sdpa-math", "torch/chunked"])
def test_a_call_for_a_gpu_has_the_shapes_and_dtypes_that_were_asked_for(impl: str) -> None:
    case = TRAIN.replace(" outputs=lse", "") if impl == "torch/sdpa-math" else TRAIN
    case += " score=additive Da=4" if impl == "torch/chunked" else ""
    told = lowered_by(impl, case)
    wanted = expected(inputs_of(case_from_text(case)))
    assert {"output", "d_q", "d_k", "d_v"} <= set(wanted)
    assert difference(dict(told.arrays), wanted) is None


@pytest.mark.parametrize(
    ("impl", "kernel"), [("jax/pallas", "Triton"), ("jax/pallas-hopper", "mosaic_gpu_v2"), ("jax/nn-xla", None)]
)
def test_the_program_holds_the_kernel_that_it_is_about(impl: str, kernel: str | None) -> None:
    told = lowered_by(impl, "B=1 Hq=2 Tq=130 S=70 D=40 dtype=float16 phase=forward")
    assert [kernel in name for name in told.kernels if kernel] == ([True] if kernel else [])
    assert bool(told.kernels) == (kernel is not None)


def test_cudnn_is_not_told_without_a_gpu() -> None:
    with pytest.raises(UnsupportedError, match="cuDNN only where it is installed"):
        lowered_by("jax/nn-cudnn", "B=1 Hq=1 Tq=8 D=8 dtype=float16 phase=forward")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("q.new_zeros((*q.shape[:3], v.shape[3])).float()", "output is float32, and not float16"),
        ("q.new_zeros(q.shape[:3])", "output has shape"),
        ("q.missing", "AttributeError"),
        ("q.new_zeros((*q.shape[:3], v.shape[3]))", None),
    ],
)
def test_what_is_lowered_wrongly_is_named_with_its_case(answer: str, why: str | None, tmp_path: Path) -> None:
    file = tmp_path / "short.py"
    file.write_text("\n".join(line[4:] for line in SHORT.replace("ANSWER", answer).splitlines()), "utf-8")
    told = asked("torch/short", [str(file)], "float16")
    assert asked("torch/short", [str(file)], "float32")["cases"] == 0, "a dtype that is not claimed"
    row = lowered_row("torch/short", {"float16": Reply(1, OK, None, told)})
    assert row.status == ("ok" if why is None else "wrong")
    if why is not None:
        assert all(why in each["reason"] for each in told["failed"])
        assert row.reason is not None
        assert "case " in row.reason
        assert len(told["failed"]) == told["cases"] > 0
    json.dumps(row.to_dict())


def test_a_kernel_in_triton_is_asked_for_its_shapes_and_not_launched(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    with Session("torch", 120.0, COMPILER) as session:
        reply = session.ask("precheck_lowered", impl=NAME, files=[write(tmp_path, GOOD)], dtype="float16")
    assert reply.ok, reply.reason
    assert (reply.value["failed"], reply.value["untold"]) == ([], [])
    assert reply.value["cases"] > 0


def test_of_what_claims_no_gpu_nothing_is_said() -> None:
    assert asked("torch/mha", [], "float32")["claimed"] == []
    assert list(lowered_programs("numpy/naive", PrecheckQuestion(["numpy/naive"]))) == []


def test_a_process_that_was_lost_and_what_nobody_could_tell_are_no_agreement() -> None:
    untold = {"feature": "sizes", "case": "c", "reason": "it reads a value"}
    none = {"claimed": ["float32"], "cases": 1, "features": [], "failed": [], "untold": [untold], "by": None}
    answers = {"float32": Reply(1, OK, None, {**none, "kernels": {}})}
    assert lowered_row("torch/x", answers).status == "unknown"
    row = lowered_row("torch/x", {**answers, "float16": Reply(1, CRASHED, "it crashed", {})})
    assert (row.status, row.reason) == ("lost", "float16: it crashed")
    some = lowered_row("torch/x", {"float32": Reply(1, OK, None, {**none, "cases": 2, "kernels": {}})})
    (beside,) = untold_row("torch/x", some)
    assert (some.status, beside.status, beside.subject) == ("ok", "unknown", "sizes")
    assert "it reads a value" in str(beside.reason)


def test_a_race_and_a_wrong_number_in_the_interpreter_are_named() -> None:
    def seen(status: str, reason: str | None = None, *, raced: bool = False) -> dict[str, Any]:
        result = {"status": status, "reason": reason, "error_ratio": 0.25}
        return {"feature": "causal", "case": "causal Tq=4", "reason": None, "result": result, "raced": raced}

    good = list(rows_of("jax/x", [seen("ok")]))
    assert [(row.part, row.status) for row in good] == [("numerics", "ok"), ("memory", "ok")]
    wrong = list(rows_of("jax/x", [seen("ok"), seen("wrong", "output is 3")]))
    assert [(row.part, row.status) for row in wrong] == [("numerics", "wrong")]
    assert "causal: output is 3; case causal Tq=4" in str(wrong[0].reason)
    raced = list(rows_of("jax/x", [seen("ok", raced=True)]))
    assert [(row.part, row.status) for row in raced] == [("numerics", "ok"), ("memory", "wrong")]
    lost = list(rows_of("jax/x", [{"feature": "causal", "case": "c", "status": "crashed", "reason": "it hung"}]))
    assert [(row.part, row.status) for row in lost] == [("numerics", "lost")]
