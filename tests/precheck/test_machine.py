"""Kernels as machine code: what they need is read off, and planted faults are named; one architecture, few variants."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from attnbench.precheck.machine_rows import machine_rows
from attnbench.precheck.rows import KernelRow, PartRow
from attnbench.precheck.triton import machine
from attnbench.precheck.triton.architectures import occupancy
from attnbench.workers.process import Setting
from attnbench.workers.protocol import Reply
from attnbench.workers.session import Session
from tests.precheck.planted import GOOD, MACHINE, NAME, Planted, write

COMPILER = Setting(environment={"TRITON_INTERPRET": "0", "TRITON_DEFAULT_FP_FUSION": "1"})
# One head size and no feature: two or three variants of a kernel, each of which takes a second to compile.
PLAIN = (
    "causal=True, gqa=True, lse=True,",
    "only=('square',), limits=(Limit('D', 'few variants', at_least=128, at_most=128),),",
)


@pytest.fixture(scope="module")
def compiler() -> Iterator[Session]:
    """A worker whose kernels are compiled."""
    with Session("torch", 120.0, COMPILER) as session:
        yield session


def compiled(session: Session, folder: Path, text: str, arch: str = "sm_90") -> list[dict[str, Any]]:
    """The variants of the kernel in float16."""
    text = text.replace(*PLAIN).replace("Capabilities, Precision", "Capabilities, Limit, Precision")
    reply = session.ask("precheck_machine", impl=NAME, files=[write(folder, text)], arch=arch, dtype="float16")
    assert reply.ok, reply.reason
    assert reply.value["failed"] == {}
    variants: list[dict[str, Any]] = reply.value["variants"]
    return variants


@pytest.mark.parametrize(
    ("arch", "product"), [("sm_80", "mma.sync"), ("sm_90", "wgmma.mma_async"), ("sm_100", "tcgen05.mma")]
)
def test_a_right_kernel_is_compiled_with_tensor_cores(
    arch: str, product: str, compiler: Session, tmp_path: Path
) -> None:
    (variant,) = compiled(compiler, tmp_path, GOOD, arch)
    assert variant["compiled"]
    assert variant["faults"] == []
    assert product in variant["instructions"]
    assert variant["spill_bytes"] == 0
    assert 0 < variant["registers"] <= 255
    assert 0 < variant["occupancy"] <= 1
    assert variant["tensor_core"]
    assert variant["grid"] == [16, 8]


@pytest.mark.parametrize("planted", MACHINE.values(), ids=MACHINE)
def test_faults_of_machine_code_are_named(planted: Planted, compiler: Session, tmp_path: Path) -> None:
    variants = compiled(compiler, tmp_path, planted.text())
    faults = [fault for variant in variants for fault in variant["faults"]]
    assert any(all(words in fault for words in planted.named) for fault in faults), faults


def test_an_exact_product_beside_one_on_tensor_cores_is_no_fault(compiler: Session, tmp_path: Path) -> None:
    product = 'tl.dot(p.to(v.dtype), v, input_precision="ieee")'
    mixed = GOOD.replace(product, 'tl.dot(p, v.to(tl.float32), input_precision="ieee")')
    (variant,) = compiled(compiler, tmp_path, mixed)
    assert variant["multiplies"] == ["f16", "f32"]
    assert not [fault for fault in variant["faults"] if "tensor cores" in fault]


def test_of_an_autotuner_the_configurations_count_that_it_can_choose(compiler: Session, tmp_path: Path) -> None:
    choices = "@triton.autotune([triton.Config({'N': 32}), triton.Config({'N': 48})], key=['T'])"
    tuned = GOOD.replace("@triton.jit", f"{choices}\n@triton.jit")
    tuned = tuned.replace("M=M, N=N, num_warps=num_warps, num_stages=num_stages", "M=M")
    variants = compiled(compiler, tmp_path, tuned)
    assert [bool(variant["faults"]) for variant in variants] == [False, True]
    reply = Reply(1, "ok", value={"variants": variants})
    (row,) = (row for row in machine_rows(NAME, [("sm_90", "float16", reply)]) if isinstance(row, KernelRow))
    assert (row.status, row.variants) == ("ok", 1)


def test_every_grid_of_the_same_machine_code_is_looked_at(compiler: Session, tmp_path: Path) -> None:
    start, stop = GOOD.index("B * Hq)](") + len("B * Hq)]("), GOOD.index("    )\n    return")
    arguments = GOOD[start:stop]
    twice = GOOD.replace(
        "    forward[(triton",
        f"    for rows in (1, 70000):\n        forward[(1, rows)]({arguments})\n    forward[(triton",
    )
    (variant,) = compiled(compiler, tmp_path, twice)
    assert variant["grid"] == [1, 70000]
    assert "70,000 programs along axis 1" in variant["faults"][0]


def test_a_call_that_raises_is_wrong_unless_it_asks_for_a_gpu(compiler: Session, tmp_path: Path) -> None:
    raising = GOOD.replace("    M, N, num_stages", "    raise KeyError('no tile')\n    M, N, num_stages")
    elsewhere = GOOD.replace("device=q.device)\n    lse", 'device="cuda")\n    lse')
    for text, status, named in ((raising, "wrong", "no tile"), (elsewhere, "unknown", "CUDA")):
        reply = compiler.ask(
            "precheck_machine", impl=NAME, files=[write(tmp_path, text)], arch="sm_90", dtype="float16", cases=["Tq=4"]
        )
        (row,) = machine_rows(NAME, [("sm_90", "float16", reply)])
        assert isinstance(row, PartRow)
        assert (row.part, row.status) == ("launches", status)
        assert named in str(row.reason)


def test_spills_that_nobody_can_read_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = SimpleNamespace(path="cuobjdump", version="13.9")
    monkeypatch.setattr(
        importlib, "import_module", lambda _name: SimpleNamespace(nvidia=SimpleNamespace(cuobjdump=tool))
    )
    made, launch = SimpleNamespace(asm={"cubin": b"", "ptx": ""}), SimpleNamespace()
    for usage, words, expected in (
        ("REG:90 STACK:0", "", (90, 0, False)),
        ("REG:90 STACK:16", "16 bytes spill stores, 8 bytes spill loads", (90, 24, False)),
        ("REG:90 STACK:16", "spilled: 16", (90, None, True)),
        ("registers: 90", "", (None, None, True)),
    ):
        monkeypatch.setattr(machine, "_run", lambda _command, usage=usage: usage)
        monkeypatch.setattr(machine, "_words_of_ptxas", lambda *_, words=words: words)
        told = machine._resources(launch, made, "sm_90")  # type: ignore[arg-type]
        assert (told.registers, told.spills, told.why is not None) == expected
    monkeypatch.setattr(machine, "_run", lambda _command: (_ for _ in ()).throw(OSError("no such program")))
    assert "no such program" in str(machine._resources(launch, made, "sm_90").why)  # type: ignore[arg-type]


def test_a_kernel_with_a_variant_that_nobody_can_read_is_not_known() -> None:
    good = {
        "kernel": "k", "variant": "v", "compiled": True, "registers": 90, "spill_bytes": 0, "shared_bytes": 0,
        "instructions": [], "multiplies": [], "tensor_core": False, "occupancy": 0.5, "limited_by": "warps",
        "num_warps": 4, "num_stages": 1, "grid": [1], "case": "c", "choice": 0, "faults": [], "untold": None,
    }  # fmt: skip
    for other, status, spills in (
        (good, "ok", 0),
        ({**good, "untold": "no words", "spill_bytes": None}, "unknown", None),
    ):
        reply = Reply(1, "ok", value={"variants": [good, other]})
        row = next(iter(machine_rows(NAME, [("sm_90", "float16", reply)])))
        assert isinstance(row, KernelRow)
        assert (row.status, row.spill_bytes) == (status, spills)


def test_occupancy_is_that_of_the_calculator() -> None:
    # 65,536 registers are 4 blocks of 4 warps of 128 registers; 96 KiB of shared memory are 2 blocks of 228 KiB.
    assert occupancy("sm_90", 4, 128, 0).share == 4 * 4 / 64
    assert occupancy("sm_100", 4, 32, 96 * 1024).share == 2 * 4 / 64
    assert occupancy("sm_90", 4, 32, 96 * 1024).limited_by == "shared memory"
    assert occupancy("sm_80", 4, 32, 0).share == 1
    assert occupancy("sm_80", 8, 255, 0).limited_by == "registers"
