"""Kernels in the interpreter: planted faults of numbers and of memory are named, and a right kernel has none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attnbench.workers.process import Setting
from attnbench.workers.session import Session
from tests.precheck.planted import GOOD, MEMORY, NAME, NUMBERS, OVERFLOW, SQUARE, Planted, write

INTERPRETER = Setting(environment={"TRITON_INTERPRET": "1", "TRITON_DEFAULT_FP_FUSION": "1"})


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Session]:
    """A worker whose kernels are interpreted."""
    with Session("torch", 120.0, INTERPRETER) as session:
        yield session


def asked(session: Session, file: str, case: str, orders: int = 1) -> Any:
    """What the interpreter says of one case of the kernel in a file."""
    reply = session.ask("precheck_case", impl=NAME, files=[file], case=case, orders=orders)
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
    plan = interpreter.ask("precheck_cases", impl=NAME, files=[file])
    reply = interpreter.ask("precheck_offsets", impl=NAME, files=[file], sizes=plan.value["large"][0])
    assert reply.value["status"] == status, reply.value["reason"]
    assert status == "ok" or all(words in reply.value["reason"] for words in OVERFLOW.named)


def test_every_claimed_feature_is_asked_in_both_dtypes(interpreter: Session, tmp_path: Path) -> None:
    plan = interpreter.ask("precheck_cases", impl=NAME, files=[write(tmp_path, GOOD)]).value
    asked_for = {(case["feature"], case["dtype"]) for case in plan["cases"]}
    assert {
        (name, dtype) for name in ("sizes", "causal", "gqa", "lse") for dtype in ("float16", "float32")
    } <= asked_for
    assert "bfloat16" in plan["left_out"]


def test_a_kernel_that_refuses_or_raises_is_no_crash(interpreter: Session, tmp_path: Path) -> None:
    raising = GOOD.replace("    M, N, num_stages", "    raise ValueError('no such tile')\n    M, N, num_stages")
    value = asked(interpreter, write(tmp_path, raising), SQUARE)
    assert (value["status"], "no such tile" in value["reason"]) == ("wrong", True)
    beyond = GOOD.replace(
        "    d, e =", '    tl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [rows], tl.int32, True, 1)\n    d, e ='
    )
    value = asked(interpreter, write(tmp_path, beyond), SQUARE)
    assert (value["status"], "interpreter cannot run it" in value["reason"]) == ("unknown", True)
