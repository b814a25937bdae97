"""Signatures say shapes: what is passed is held to them here, and by no call of attention anywhere else."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attnbench.attention import oracle, oracle_vjp
from attnbench.attention.call import prepare
from attnbench.backends import attend, discover
from tests.impls.against_oracle import fresh_process

ROOT = Path(__file__).parents[2]
HOOKED = """
import numpy as np
from tests.impls import checked_signatures
with checked_signatures.hooked("mine"):
    from attnbench.backends.attend import attend, resolve
    from attnbench.attention.oracle import reference
    loops = resolve("numpy/loops")[1]
    import mine
checked_signatures.complete()
q = np.ones((1, 2, 3, 4), np.float32)
"""
MINE = """
from attnbench.api import Array, Capabilities, implementation

@implementation("numpy/mine", Capabilities())
def mine(q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "{values}"], call):
    return v
"""


def ended(program: str, folder: Path, values: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, with the hook and a drop-in whose signature has ``values`` for the shape of v."""
    (folder / "mine.py").write_text(MINE.format(values=values), "utf-8")
    run = [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(ROOT), str(folder)]}{HOOKED}{program}"]
    return subprocess.run(run, capture_output=True, text=True, check=False)


# Tensors of tinygrad do not tell jaxtyping their dtype.
UNREADABLE = {"tinygrad"}


@pytest.mark.slow
@pytest.mark.parametrize("backend", sorted(discover.backends().keys() - UNREADABLE))
def test_arrays_are_what_the_signatures_say(backend: str) -> None:
    if why := discover.backend(backend).why_missing():
        pytest.skip(why)
    run = [sys.executable, "-m", "tests.impls.checked_signatures", backend]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    on_the_cpu = {n for n in discover.backend(backend).names() if "cpu" in devices(n) and not compiled(n)}
    assert {line.split()[0] for line in done.stdout.splitlines()} == on_the_cpu


def compiled(name: str) -> bool:
    """Whether torch.compile has to read its function, which it cannot behind the hook."""
    return discover.load_implementation(name).compiled


def devices(name: str) -> tuple[str, ...]:
    return discover.load_implementation(name).capabilities.devices


@pytest.mark.parametrize(
    "call", ["reference(q[0], q, q, None)", "loops(q, q[:, :, :, :2], q, None)", "attend(q, q, q[:, :1])"]
)
def test_a_wrong_array_is_seen(call: str, tmp_path: Path) -> None:
    done = ended(call, tmp_path, "B Hkv S Dv")
    assert "TypeCheckError" in done.stderr
    assert "Actual value: f32" in done.stderr


def test_a_wrong_shape_in_a_signature_is_seen(tmp_path: Path) -> None:
    right, wrong = (ended("mine.mine(q, q, q, None)", tmp_path, values) for values in ("B Hkv S Dv", "B S Hkv Dv"))
    assert right.returncode == 0, right.stderr
    assert "Expected type: <class 'Float[ndarray, 'B S Hkv Dv']'>" in wrong.stderr


def called() -> list[Callable[..., Any]]:
    """What a call of attention goes through, and what the harness holds it to."""
    kernels = [discover.load_implementation(f"numpy/{name}") for name in ("naive", "blocked", "loops")]
    functions = [function for kernel in kernels for function in (kernel.attend, kernel.vjp) if function is not None]
    return [*functions, attend.attend, attend.vjp, prepare, oracle.reference, oracle.heads, oracle_vjp.reference_vjp]


def test_without_the_hook_no_function_is_wrapped() -> None:
    assert [function.__name__ for function in called() if hasattr(function, "__wrapped__")] == []


def test_a_wrapped_function_would_be_seen(tmp_path: Path) -> None:
    done = ended(
        "print(hasattr(loops.attend, '__wrapped__'), hasattr(reference, '__wrapped__'))", tmp_path, "B Hkv S Dv"
    )
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_a_call_imports_neither_jaxtyping_nor_beartype() -> None:
    program = "import sys, numpy, attnbench; q = numpy.ones((1, 1, 2, 2)); attnbench.attend(q, q, q)"
    assert fresh_process(f"{program}; print({{'jaxtyping', 'beartype'}} & set(sys.modules))") == "set()"
