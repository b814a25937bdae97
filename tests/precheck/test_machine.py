"""Kernels as machine code: what they need is read off, and planted faults are named; one architecture, few variants."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attnbench.precheck.machine_rows import machine_rows
from attnbench.precheck.rows import KernelRow
from attnbench.precheck.triton.architectures import occupancy
from attnbench.workers.process import Setting
from attnbench.workers.protocol import Reply
from attnbench.workers.session import Session
from tests.precheck.planted import GOOD, MACHINE, NAME, Planted, write

COMPILER = Setting(environment={"TRITON_INTERPRET": "0", "TRITON_DEFAULT_FP_FUSION": "1"})
# One head size and no feature: two or three variants of a kernel, each of which takes a second to compile.
PLAIN = ("causal=True, gqa=True, lse=True,", "only=('square',), limits=(Limit('D', 'few variants', at_least=128),),")


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
    assert variant["grid"] == [16, 8]


@pytest.mark.parametrize("planted", MACHINE.values(), ids=MACHINE)
def test_faults_of_machine_code_are_named(planted: Planted, compiler: Session, tmp_path: Path) -> None:
    variants = compiled(compiler, tmp_path, planted.text())
    faults = [fault for variant in variants for fault in variant["faults"]]
    assert any(all(words in fault for words in planted.named) for fault in faults), faults


def test_of_an_autotuner_the_configurations_count_that_it_can_choose(compiler: Session, tmp_path: Path) -> None:
    choices = "@triton.autotune([triton.Config({'N': 32}), triton.Config({'N': 48})], key=['T'])"
    tuned = GOOD.replace("@triton.jit", f"{choices}\n@triton.jit")
    tuned = tuned.replace("M=M, N=N, num_warps=num_warps, num_stages=num_stages", "M=M")
    variants = compiled(compiler, tmp_path, tuned)
    assert [bool(variant["faults"]) for variant in variants] == [False, True]
    reply = Reply(1, "ok", value={"variants": variants})
    (row,) = (row for row in machine_rows(NAME, [("sm_90", "float16", reply)]) if isinstance(row, KernelRow))
    assert (row.status, row.variants) == ("ok", 1)


def test_occupancy_is_that_of_the_calculator() -> None:
    # 65,536 registers are 4 blocks of 4 warps of 128 registers; 96 KiB of shared memory are 2 blocks of 228 KiB.
    assert occupancy("sm_90", 4, 128, 0).share == 4 * 4 / 64
    assert occupancy("sm_100", 4, 32, 96 * 1024).share == 2 * 4 / 64
    assert occupancy("sm_90", 4, 32, 96 * 1024).limited_by == "shared memory"
    assert occupancy("sm_80", 4, 32, 0).share == 1
    assert occupancy("sm_80", 8, 255, 0).limited_by == "registers"
