"""Executing one call on one implementation: NumPy in, NumPy out, whatever the backend.

Empty problems are answered here and never reach a kernel; unsupported ones raise ``UnsupportedError`` with the
reason. What comes back is what the kernel returned, unchanged: judging it is the business of ``attnbench.agree``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.call import Call, Operands, prepare
from attnbench.errors import SpecError, UnsupportedError
from attnbench.implementation import AttentionOutput
from attnbench.precision import numpy_dtype, wide

if TYPE_CHECKING:
    from attnbench.backend import Backend
    from attnbench.implementation import Implementation
    from attnbench.spec import AttentionSpec

Array = np.ndarray[Any, np.dtype[Any]]


def execute(
    backend: Backend,
    implementation: Implementation,
    spec: AttentionSpec,
    operands: Operands,
    outputs: tuple[str, ...] = (),
    device: str = "cpu",
) -> AttentionOutput:
    """Forward: output (B, Hq, Tq, Dv) and what ``outputs`` names, as NumPy arrays."""
    q, k, v, call = prepare(spec, operands, outputs)
    implementation.require(call.needs(device))
    if call.sizes.empty:
        return empty_output(call)
    result = run_bound(backend, implementation, (q, k, v), call, device=device)
    return to_numpy_output(backend, result, call)


def execute_vjp(
    backend: Backend,
    implementation: Implementation,
    spec: AttentionSpec,
    operands: Operands,
    d_output: Array,
    d_lse: Array | None = None,
    device: str = "cpu",
) -> dict[str, Array]:
    """Gradients by name, each in the shape of its operand; with a cache those of k and v are split off the past."""
    q, k, v, call = prepare(spec, operands, () if d_lse is None else ("lse",))
    check_cotangents(call, d_output, d_lse)
    implementation.require(call.needs(device, gradients=True))
    if call.sizes.empty:
        return as_given(empty_gradients(q, k, v, call, d_lse), operands, call)
    result = run_bound(backend, implementation, (q, k, v), call, d_output, d_lse, device)
    return as_given(to_numpy_gradients(backend, result[1], call), operands, call)


def run_bound(
    backend: Backend,
    implementation: Implementation,
    qkv: tuple[Array, Array, Array],
    call: Call,
    d_output: Array | None = None,
    d_lse: Array | None = None,
    device: str = "cpu",
) -> Any:
    """Move everything to the device, bind, run once and wait: exactly what is measured."""
    q, k, v = (backend.to_native(array, device) for array in qkv)
    native = call.map_arrays(lambda array: backend.to_native(array, device))
    cotangents = {
        name: backend.to_native(array, device)
        for name, array in (("d_output", d_output), ("d_lse", d_lse))
        if array is not None
    }
    result = backend.bind(implementation, q, k, v, native, **cotangents).run()
    backend.wait(result)
    return result


def to_numpy_output(backend: Backend, result: AttentionOutput, call: Call) -> AttentionOutput:
    """The arrays of a native result in NumPy; an output that was asked for and is missing is an error."""
    arrays = {name: backend.to_numpy(array) for name, array in result.items()}
    missing = [name for name in call.outputs if name not in arrays]
    if missing:
        msg = f"the implementation did not return {', '.join(missing)}, which was asked for and declared"
        raise UnsupportedError(msg)
    return AttentionOutput(**{name: a for name, a in arrays.items() if name == "output" or name in call.outputs})


def to_numpy_gradients(backend: Backend, grads: dict[str, Any], call: Call) -> dict[str, Array]:
    """Native gradients in NumPy, in a fixed order; nested ``params`` become ``params.NAME``."""
    flat = {name: grad for name, grad in grads.items() if name != "params"}
    flat |= {f"params.{name}": grad for name, grad in grads.get("params", {}).items()}
    missing = [name for name in gradient_names(call) if flat.get(name) is None]
    if missing:
        msg = f"the implementation returned no gradient of {', '.join(missing)}"
        raise UnsupportedError(msg)
    return {name: backend.to_numpy(flat[name]) for name in gradient_names(call)}


def gradient_names(call: Call) -> list[str]:
    """What a VJP of this call returns."""
    optional = [name for name in ("bias", "sinks") if getattr(call, name) is not None]
    return ["q", "k", "v", *optional, *(f"params.{name}" for name in call.params)]


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


def empty_output(call: Call) -> AttentionOutput:
    """The answer where nothing can be attended: zeros, and lse −inf or the sink's logit."""
    sizes, level = call.sizes, wide(call.dtype)
    lead = (sizes.B, sizes.Hq, sizes.Tq)
    lse = np.full(lead, -np.inf, level)
    if call.sinks is not None and sizes.S == 0:
        lse[:] = call.sinks.astype(level)[None, :, None]
    arrays: dict[str, Array] = {name: np.zeros((*lead, sizes.S), level) for name in call.outputs if name != "lse"}
    if "lse" in call.outputs:
        arrays["lse"] = lse
    return AttentionOutput(np.zeros((*lead, sizes.Dv), numpy_dtype(call.dtype)), **arrays)


def empty_gradients(q: Array, k: Array, v: Array, call: Call, d_lse: Array | None) -> dict[str, Array]:
    """Zeros in the shape of every operand, but for a sink's own share of d_lse where S = 0."""
    operands = {"q": q, "k": k, "v": v, "bias": call.bias, "sinks": call.sinks}
    operands |= {f"params.{name}": param for name, param in call.params.items()}
    grads = {name: np.zeros(operands[name].shape, operands[name].dtype) for name in gradient_names(call)}
    if call.sinks is not None and d_lse is not None and call.sizes.S == 0:
        grads["sinks"] = d_lse.sum((0, 2)).astype(call.sinks.dtype)
    return grads


def as_given(grads: dict[str, Array], operands: Operands, call: Call) -> dict[str, Array]:
    """Every gradient in its operand's own shape: k and v split off the cache (past_k, past_v), bias with its axes."""
    if operands.bias is not None:
        grads = grads | {"bias": grads["bias"].reshape(operands.bias.shape)}
    if operands.past_k is None:
        return grads
    past = call.sizes.past
    split = {f"past_{name}": grads[name][:, :, :past] for name in ("k", "v")}
    return grads | {name: grads[name][:, :, past:] for name in ("k", "v")} | split
