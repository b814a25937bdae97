"""Kernels in the interpreter: planted faults of numbers and of memory are named, and a right kernel has none."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from attnbench.backends import discover
from attnbench.precheck.interpreter_rows import interpreter_rows
from attnbench.precheck.triton import plan as planned
from attnbench.precheck.triton.offsets import large_calls
from attnbench.workers.process import Setting
from attnbench.workers.protocol import OK, Reply
from attnbench.workers.session import Session
from tests.precheck.planted import GOOD, MEMORY, NAME, NUMBERS, OVERFLOW, SQUARE, Planted, write

INTERPRETER = Setting(environment={"TRITON_INTERPRET": "1", "TRITON_DEFAULT_FP_FUSION": "1"})


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Session]:
    """A worker whose kernels are interpreted."""
    with Session("torch", 120.0, INTERPRETER) as session:
        yield session


def asked(session: Session, file: str, case: str, orders: int = 1, impl: str = NAME, arch: str = "sm_90") -> Any:
    """What the interpreter says of one case of the kernel in a file."""
    files = [file] if file else []
    reply = session.ask("precheck_case", impl=impl, files=files, case=case, orders=orders, arch=arch)
    assert reply.ok, reply.reason
    return reply.value


def test_a_right_kernel_has_no_fault_in_any_order(interpreter: Session, tmp_path: Path) -> None:
    value = asked(interpreter, write(tmp_path, GOOD), SQUARE, orders=3)
    assert (value["status"], value["faults"], value["notes"]) == ("ok", [], [])


@pytest.mark.parametrize("planted", NUMBERS.values(), ids=NUMBERS)
def test_wrong_numbers_are_named(planted: Planted, interpreter: Session, tmp_path: Path) -> None:
    value = asked(interpreter, write(tmp_path, planted.text()), planted.case)
    assert value["status"] == "wrong"
    assert all(words in value["reason"] for words in planted.named)


@pytest.mark.parametrize("planted", MEMORY.values(), ids=MEMORY)
def test_what_is_wrong_with_memory_is_named(planted: Planted, interpreter: Session, tmp_path: Path) -> None:
    value = asked(interpreter, write(tmp_path, planted.text()), planted.case)
    said = [f"{fault['kind']} {fault['kernel']} {fault['message']}" for fault in value["faults"]]
    said += [value["reason"] or ""]
    assert any(all(words in text for words in planted.named) for text in said), said


def test_results_that_depend_on_the_order_of_programs_are_told(interpreter: Session, tmp_path: Path) -> None:
    # Each program adds to what others left there, with an atomic operation: the bits depend on who comes first.
    text = GOOD.replace("    tl.store(Lse", "    tl.atomic_add(Lse, 1e-3 * tl.sum(total))\n    tl.store(Lse").replace(
        "lse = torch.empty(", "lse = torch.zeros("
    )
    value = asked(interpreter, write(tmp_path, text), f"{SQUARE} outputs=lse", orders=3)
    assert any(fault["kind"] == "race" and fault["tensor"] == "Lse" for fault in value["faults"])


@pytest.mark.parametrize(("text", "status"), [(GOOD, "ok"), (OVERFLOW.text(), "wrong")], ids=["int64", "int32"])
def test_offsets_that_overflow_are_named(text: str, status: str, interpreter: Session, tmp_path: Path) -> None:
    file = write(tmp_path, text)
    plan = interpreter.ask("precheck_cases", impl=NAME, files=[file], archs=["sm_90"])
    reply = interpreter.ask("precheck_offsets", impl=NAME, files=[file], call=plan.value["large"][0])
    assert reply.value["status"] == status, reply.value["reason"]
    assert status == "ok" or all(words in reply.value["reason"] for words in OVERFLOW.named)


def test_a_large_grid_and_small_addresses_are_no_agreement(interpreter: Session, tmp_path: Path) -> None:
    swapped = GOOD.replace("tl.program_id(0) * M", "tl.program_id(1) * M").replace(
        "bh = tl.program_id(1)", "bh = tl.program_id(0)"
    )
    swapped = swapped.replace("forward[(triton.cdiv(T, M), B * Hq)](", "forward[(B * Hq, 70000)](")
    idle = GOOD.replace("range(0, S, N)", "range(0, 0, N)").replace("Q + bh * sqh", "Q + 0 * sqh")
    idle = idle.replace("Out + bh * soh", "Out + 0 * soh").replace("Lse + bh * T", "Lse + 0 * T")
    for text, status, named in ((swapped, "wrong", "70000"), (idle, "unknown", "no element beyond")):
        file = write(tmp_path, text)
        plan = interpreter.ask("precheck_cases", impl=NAME, files=[file], archs=["sm_90"])
        value = interpreter.ask("precheck_offsets", impl=NAME, files=[file], call=plan.value["large"][0]).value
        assert (value["status"], named in value["reason"]) == (status, True), value["reason"]


def test_large_calls_are_those_that_an_implementation_takes() -> None:
    def says(name: str) -> list[str]:
        return [call["says"] for call in large_calls(discover.load_implementation(name, []))]

    assert [text.split()[2] for text in says("triton/decode")] == ["Tq1", "Tq64"]
    assert any(text.endswith("bias") for text in says("triton/decode"))
    assert any(text.endswith("bias") for text in says("triton/flash"))
    assert all("additive" in text for text in says("triton/additive"))
    assert len(says("triton/additive")) == 2


def test_every_claimed_feature_is_asked_in_both_dtypes(interpreter: Session, tmp_path: Path) -> None:
    archs = ["sm_80", "sm_100"]
    plan = interpreter.ask("precheck_cases", impl=NAME, files=[write(tmp_path, GOOD)], archs=archs).value
    assert {case["arch"] for case in plan["cases"]} == set(archs)
    asked_for = {(case["feature"], case["dtype"]) for case in plan["cases"]}
    assert {
        (name, dtype) for name in ("sizes", "causal", "gqa", "lse") for dtype in ("float16", "float32")
    } <= asked_for
    assert "bfloat16" in plan["left_out"]


def test_a_kernel_that_refuses_or_raises_is_no_crash(interpreter: Session, tmp_path: Path) -> None:
    raising = GOOD.replace("    M, N, num_stages", "    raise ValueError('no such tile')\n    M, N, num_stages")
    value = asked(interpreter, write(tmp_path, raising), SQUARE)
    assert (value["status"], "no such tile" in value["reason"]) == ("wrong", True)
    missing = raising.replace("ValueError", "NotImplementedError")
    value = asked(interpreter, write(tmp_path, missing), SQUARE)
    assert (value["status"], "no such tile" in value["reason"]) == ("wrong", True), "a GPU would raise it too"
    there_is_none = GOOD.replace("device=q.device)\n    lse", 'device="cuda")\n    lse')
    value = asked(interpreter, write(tmp_path, there_is_none), SQUARE)
    assert (value["status"], "asks for a real GPU" in value["reason"]) == ("unknown", True)
    beyond = GOOD.replace(
        "    d, e =", '    tl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [rows], tl.int32, True, 1)\n    d, e ='
    )
    value = asked(interpreter, write(tmp_path, beyond), SQUARE)
    assert (value["status"], "interpreter cannot run it" in value["reason"]) == ("unknown", True)


FLAGS = """
    marks = torch.DTYPE((4,), dtype=torch.KIND)
    flag[(1,)](marks, M=4)
"""
FLAG = """
@triton.jit
def flag(Marks, M: tl.constexpr):
    i = tl.arange(0, M)
    tl.store(Marks + i, tl.load(Marks + i).to(Marks.dtype.element_ty))


PRECISION ="""


@pytest.mark.parametrize(
    ("made", "kind", "unwritten"),
    [
        ("empty", "uint8", True),
        ("empty", "bool", True),
        ("empty", "int32", True),
        ("zeros", "bool", False),
        ("filled", "uint8", False),
        ("filled", "bool", False),
    ],
)
def test_memory_of_one_byte_that_nobody_wrote(
    made: str, kind: str, *, unwritten: bool, interpreter: Session, tmp_path: Path
) -> None:
    """Every byte may be a value: 165, with which other memory is filled, and True, with which this one is."""
    call = FLAGS.replace("DTYPE", "empty" if made == "filled" else made).replace("KIND", kind)
    if made == "filled":
        call = call.replace("    flag[", f"    marks[:] = {165 if kind == 'uint8' else True}\n    flag[")
    text = GOOD.replace("PRECISION =", FLAG.lstrip("\n")).replace(
        "    M, N, num_stages =", f"{call}    M, N, num_stages ="
    )
    value = asked(interpreter, write(tmp_path, text), SQUARE)
    kinds = {fault["kind"] for fault in value["faults"]}
    assert kinds == ({"uninitialised"} if unwritten else set())
    assert value["status"] == "ok"


def test_an_interpreter_that_is_too_old_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda _name: SimpleNamespace(__version__="3.6.0"))
    told = planned.interpreter_plan(NAME, [], ["sm_90"])
    assert told["cases"] == told["large"] == []
    assert "Triton 3.6.0 cannot be watched" in told["why"]
    assert "pip install 'triton>=3.9'" in told["why"]


def test_a_memory_is_told_only_of_calls_that_ran_to_their_end() -> None:
    case = {"case": "Tq=4", "feature": "sizes", "dtype": "float16", "arch": "sm_90"}
    asked_nothing: dict[str, Any] = {
        "status": "unknown",
        "reason": "inline",
        "error_ratio": None,
        "faults": [],
        "notes": [],
        "launched": True,
    }
    rows = list(interpreter_rows(NAME, [case], [Reply(1, OK, None, asked_nothing)], ""))
    assert [(row.part, row.status) for row in rows] == [("numerics", "unknown"), ("memory", "unknown")]
    rows = list(
        interpreter_rows(NAME, [case], [Reply(1, OK, None, asked_nothing | {"error_ratio": 0.1, "status": "ok"})], "")
    )
    assert [(row.part, row.status) for row in rows] == [("numerics", "ok"), ("memory", "ok")]
