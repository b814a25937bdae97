"""Holding an implementation to the float64 oracle by norms, without the element-wise bounds of ``attnbench.agree``.

The tolerance is a small multiple of the unit roundoff times the largest element; the pattern of NaN and infinities,
shapes and dtypes are compared exactly.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnbench.api import AttentionSpec, Call, Capabilities, Implementation, implementation
from attnbench.api.backends import Backend
from attnbench.api.suites import Case, Operands, Problem, draw, draw_cotangents
from attnbench.attention.arrays import Array
from attnbench.attention.call import prepare
from attnbench.attention.oracle import reference
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.attention.precision import UNIT_ROUNDOFF, wide
from attnbench.backends.bind import Inputs, bind
from attnbench.backends.discover import backend, load_implementation

EVERY_OUTPUT = ("lse", "scores", "capped", "logits", "weights")
# Errors in units of roundoff of the largest element: up to 17 were seen in correct kernels on these small problems.
TOLERANCE = 64.0


@dataclass(frozen=True)
class Observed:
    """What an implementation returned, in NumPy, and what it was asked."""

    q: Array
    k: Array
    v: Array
    call: Call
    outputs: dict[str, Array]
    gradients: dict[str, Array]


def load(name: str) -> tuple[Backend, Implementation]:
    """The adapter and the implementation of a full name."""
    return backend(name.partition("/")[0]).load(), load_implementation(name)


def observe(
    name: str,
    spec: AttentionSpec,
    operands: Operands,
    d_output: Array | None = None,
    d_lse: Array | None = None,
    outputs: tuple[str, ...] = (),
    device: str = "cpu",
) -> Observed:
    """Run an implementation as the harness does: to native, bind, run, wait, to NumPy."""
    adapter, kernel = load(name)
    q, k, v, call = prepare(spec, operands, outputs)
    reason = kernel.unsupported(call.needs(device, gradients=d_output is not None))
    assert reason is None, reason
    binding = bind(adapter, kernel, Inputs(q, k, v, call, d_output, d_lse), device)
    result = binding.run()
    adapter.wait(result)
    output, gradients = (result, {}) if d_output is None else result
    return Observed(
        q,
        k,
        v,
        call,
        {n: adapter.to_numpy(array) for n, array in output.items()},
        {n: adapter.to_numpy(array) for n, array in gradients.items()},
    )


def check(name: str, spec: AttentionSpec, problem: Problem, *, extra: bool = True, device: str = "cpu") -> None:
    """Forward and backward, with lse and stages if ``extra``, against the oracle."""
    case = Case(spec, problem, "backward", EVERY_OUTPUT if extra else ())
    d_output, d_lse = draw_cotangents(case)
    seen = observe(name, spec, draw(spec, problem), d_output, d_lse, case.outputs, device)
    expected = reference(seen.q, seen.k, seen.v, seen.call)
    gradients = reference_vjp(seen.q, seen.k, seen.v, seen.call, d_output, d_lse)
    assert set(seen.outputs) == {"output", *case.outputs}
    assert set(seen.gradients) == set(gradients)
    for n, array in seen.outputs.items():
        level = problem.dtype if n == "output" else wide(problem.dtype)
        same(n, array, getattr(expected, n), level)
    for n, array in seen.gradients.items():
        same(f"gradient of {n}", array, gradients[n], problem.dtype)


def check_forward(name: str, spec: AttentionSpec, problem: Problem, outputs: tuple[str, ...] = ()) -> None:
    """The output, and others that are asked for, against the oracle: of a framework that has no gradients."""
    seen = observe(name, spec, draw(spec, problem), outputs=outputs)
    expected = reference(seen.q, seen.k, seen.v, seen.call)
    assert set(seen.outputs) == {"output", *outputs}
    for n, array in seen.outputs.items():
        same(n, array, getattr(expected, n), problem.dtype if n == "output" else wide(problem.dtype))


def check_both_ways(name: str, spec: AttentionSpec, problem: Problem) -> None:
    """Output, lse (in float32) and every gradient agree with the oracle."""
    case = Case(spec, problem, "backward", ("lse",))
    d_output, d_lse = draw_cotangents(case)
    seen = observe(name, spec, draw(spec, problem), d_output, d_lse, ("lse",))
    expected = reference(seen.q, seen.k, seen.v, seen.call)
    same("output", seen.outputs["output"], expected.output, problem.dtype)
    same("lse", seen.outputs["lse"], expected.lse, "float32")
    gradients = reference_vjp(seen.q, seen.k, seen.v, seen.call, d_output, d_lse)
    assert set(seen.gradients) == set(gradients)
    for operand, gradient in seen.gradients.items():
        same(operand, gradient, gradients[operand], problem.dtype)


def same(what: str, array: Array, expected: Array, level: str) -> None:
    """Equal shape, dtype and pattern of NaN and infinities; values within the tolerance."""
    assert array.dtype.name == level, what
    assert array.shape == expected.shape, what
    values = array.astype(np.float64)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(values[~finite], expected[~finite], err_msg=what)
    if finite.any():
        size = max(float(np.abs(expected[finite]).max()), 1e-3)
        error = float(np.abs(values[finite] - expected[finite]).max())
        assert error <= TOLERANCE * UNIT_ROUNDOFF[level] * size, f"{what}: {error} of {size}"


def fresh_process(program: str, **environment: str) -> str:
    """What a program prints in a Python of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def bound_pair(framework: str, attend: Any, *, d_lse: bool = False, vjp: Any = None) -> Any:
    """Forward and backward of a drop-in of a framework on ones: its native output and gradients."""
    adapter = backend(framework).load()
    mine = implementation(f"{framework}/mine", Capabilities(gradients=True, lse=True), vjp=vjp)(attend)
    ones = np.ones((1, 1, 2, 2), np.float32)
    q, k, v, call = prepare(AttentionSpec(), Operands(ones, ones, ones), ("lse",) if d_lse else ())
    q, k, v, d = (adapter.to_native(array) for array in (q, k, v, ones))
    cotangents = {"d_output": d, "d_lse": d[..., 0] if d_lse else None}
    return adapter.bind(mine, q, k, v, call, **cotangents).on(q, k, v, call, **cotangents)()
