"""Executing one call on one implementation: NumPy in, NumPy out, whatever the backend.

Empty problems are answered here and never reach a kernel; unsupported ones raise ``UnsupportedError`` with the
reason. What comes back is what the kernel returned, unchanged: judging it is the business of ``attnbench.agree``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.call import Call, Operands
from attnbench.attention.precision import numpy_dtype, wide
from attnbench.backends.answers import as_given, empty_gradients, empty_output
from attnbench.backends.bind import given_inputs
from attnbench.backends.kept import KEPT, checked_threads
from attnbench.errors import SpecError

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.attention.spec import AttentionSpec
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import AttentionOutput, Implementation


def execute(
    backend: Backend,
    implementation: Implementation,
    spec: AttentionSpec,
    operands: Operands,
    outputs: tuple[str, ...] = (),
    device: str = "cpu",
    threads: int | None = None,
) -> AttentionOutput:
    """Forward: output (B, Hq, Tq, Dv) and what ``outputs`` names, as NumPy arrays."""
    threads = None if threads is None else checked_threads(threads)
    inputs = given_inputs(spec, operands, outputs)
    implementation.require(inputs.call.needs(device))
    if inputs.call.sizes.empty:
        return empty_output(inputs.call)
    return KEPT.answer(backend, implementation, inputs, device, threads).output


def execute_vjp(
    backend: Backend,
    implementation: Implementation,
    spec: AttentionSpec,
    operands: Operands,
    d_output: Float[Array, "B Hq Tq Dv"],
    d_lse: Float[Array, "B Hq Tq"] | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> dict[str, Float[Array, " ..."]]:
    """Gradients by name, each in the shape of its operand; with a cache those of k and v are split off the past."""
    threads = None if threads is None else checked_threads(threads)
    inputs = given_inputs(spec, operands, () if d_lse is None else ("lse",), d_output, d_lse)
    call = inputs.call
    check_cotangents(call, d_output, d_lse)
    implementation.require(call.needs(device, gradients=True))
    if call.sizes.empty:
        return as_given(empty_gradients(*inputs.qkv, call, d_lse), operands, call)
    return as_given(KEPT.answer(backend, implementation, inputs, device, threads).grads, operands, call)


def check_cotangents(call: Call, d_output: Any, d_lse: Any) -> None:
    """Raise ``SpecError`` unless d_output (B, Hq, Tq, Dv) and d_lse (B, Hq, Tq) fit."""
    sizes = call.sizes
    shape = (sizes.B, sizes.Hq, sizes.Tq, sizes.Dv)
    _check_cotangent("d_output", d_output, call.dtype, "(B, Hq, Tq, Dv)", shape)
    if d_lse is not None:
        _check_cotangent("d_lse", d_lse, wide(call.dtype), "(B, Hq, Tq)", shape[:3])


def _check_cotangent(name: str, array: Any, dtype: str, axes: str, shape: tuple[int, ...]) -> None:
    if isinstance(array, np.ndarray) and array.shape == shape and array.dtype == numpy_dtype(dtype):
        return
    got = repr(array)
    if isinstance(array, np.ndarray):
        got = f"{array.dtype.name if array.dtype.isnative else array.dtype.str}{array.shape}"
    msg = f"{name} is {dtype} of shape {axes} = {shape}; got {got}"
    raise SpecError(msg)
