"""What MLX does for the harness: conversion, evaluation, gradients, threads, memory. On the CPU alone."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import mlx.core as mx
import numpy as np

from attnbench.api import Array, AttentionOutput, UnsupportedError
from attnbench.api.backends import Backend, Bound, UncountedError, as_output
from attnbench.impls.mlx_backend import ceilings, strides

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Shaped

    from attnbench.api import Call, Implementation

# The reference BLAS of the package mlx-cpu, which computes in the thread that calls it.
REFERENCE_BLAS = "mlx_cpu.libs/libblas"


class Adapter(Backend):
    """MLX, lazy: a call builds its graph and evaluates it, so that its time has both."""

    name = "mlx"

    def versions(self) -> dict[str, str]:
        """The version of MLX."""
        return {"mlx": version("mlx")}

    def devices(self) -> tuple[str, ...]:
        """The CPU alone: nothing here was tried on MLX's GPUs."""
        return ("cpu",)

    def to_native(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[mx.array, " *axes"]:
        """An array of the same shape, dtype and values that owns its memory."""
        if device != "cpu":
            msg = f"mlx runs on the CPU only, not on {device!r}; choose --device cpu or another backend"
            raise UnsupportedError(msg)
        copy = np.array(array, order="C", copy=True)
        with mx.stream(mx.cpu):
            if copy.dtype == ml_dtypes.bfloat16:  # NumPy's bfloat16 is unknown to MLX: hand over the bits
                native = mx.array(copy.view(np.uint16)).view(mx.bfloat16)
            elif copy.dtype == np.float64:  # by itself it would become float32
                native = mx.array(copy, dtype=mx.float64)
            else:
                native = mx.array(copy)
            mx.eval(native)
        return native

    def to_numpy(self, native: Shaped[mx.array, " *axes"]) -> Shaped[Array, " *axes"]:
        """The values as a NumPy array of its own, bfloat16 as ``ml_dtypes.bfloat16``."""
        with mx.stream(mx.cpu):
            if native.dtype == mx.bfloat16:
                return np.array(native.view(mx.uint16)).view(ml_dtypes.bfloat16)
            return np.array(native)

    def laid_out(self, native: Shaped[mx.array, " *axes"], layout: str) -> Shaped[mx.array, " *axes"]:
        """See ``strides.py``."""
        with mx.stream(mx.cpu):
            return strides.laid_out(native, layout)

    def wait(self, result: Any) -> None:
        """Evaluate whatever is left to do; a bound call has left nothing."""
        with mx.stream(mx.cpu):
            mx.eval(_leaves(result))

    def bind(
        self,
        implementation: Implementation,
        q: Float[mx.array, "B Hq Tq D"],
        k: Float[mx.array, "B Hkv S D"],
        v: Float[mx.array, "B Hkv S Dv"],
        call: Call,
        *,
        d_output: Float[mx.array, "B Hq Tq Dv"] | None = None,
        d_lse: Float[mx.array, "B Hq Tq"] | None = None,
    ) -> Bound:
        """Nothing is traced or compiled beforehand: every call builds its graph and evaluates it."""
        del q, k, v, call, d_lse
        if d_output is None:
            return Bound(lambda q, k, v, call: lambda: _evaluated(lambda: as_output(implementation(q, k, v, call))))
        step = _autodiff if implementation.vjp is None else _own_backward

        def on(
            q: Float[mx.array, "B Hq Tq D"],
            k: Float[mx.array, "B Hkv S D"],
            v: Float[mx.array, "B Hkv S Dv"],
            call: Call,
            d_output: Float[mx.array, "B Hq Tq Dv"],
            d_lse: Float[mx.array, "B Hq Tq"] | None = None,
        ) -> Callable[[], Any]:
            return lambda: _evaluated(lambda: step(implementation, (q, k, v), call, d_output, d_lse))

        return Bound(on)

    def set_threads(self, threads: int) -> None:
        """Nothing can be set: see ``threads``."""

    def threads(self) -> dict[str, int]:
        """The one thread of MLX's CPU stream. Raises ``UncountedError`` where MLX calls a BLAS that may have a pool."""
        maps = Path("/proc/self/maps")
        if not maps.exists() or REFERENCE_BLAS not in maps.read_text():
            msg = f"the threads of mlx {version('mlx')} cannot be counted: which BLAS it calls is not known here"
            raise UncountedError(msg)
        return {"cpu_stream": 1}

    def trim(self) -> None:
        """Empty MLX's cache."""
        mx.clear_cache()

    def ceiling(self, kind: str, dtype: str, size: int, device: str) -> Callable[[], Any] | None:
        """A matrix product in any dtype, exp."""
        del device
        return ceilings.ceiling(kind, dtype, size)


def _evaluated(function: Callable[[], Any]) -> Any:
    """What a function builds, evaluated."""
    with mx.stream(mx.cpu):
        result = function()
        mx.eval(_leaves(result))
    return result


def _leaves(result: Any) -> list[mx.array]:
    """Every array in nested dicts, lists, tuples and outputs."""
    if isinstance(result, mx.array):
        return [result]
    if isinstance(result, AttentionOutput):
        return [array for _, value in result.items() for array in _leaves(value)]
    parts = result.values() if isinstance(result, dict) else result if isinstance(result, (list, tuple)) else ()
    return [array for part in parts for array in _leaves(part)]


Qkv = tuple[mx.array, mx.array, mx.array]


def _own_backward(
    implementation: Implementation, qkv: Qkv, call: Call, d_output: mx.array, d_lse: mx.array | None
) -> tuple[AttentionOutput, dict[str, mx.array]]:
    """Forward, and the gradients of the implementation's own ``vjp``."""
    grads: dict[str, mx.array] = implementation.vjp(*qkv, call, d_output, d_lse)  # type: ignore[misc]
    return as_output(implementation(*qkv, call)), grads


def _autodiff(
    attend: Callable[..., Any], qkv: Qkv, call: Call, d_output: mx.array, d_lse: mx.array | None
) -> tuple[AttentionOutput, dict[str, mx.array]]:
    """Forward and backward by ``mx.vjp``, with respect to what is wanted, by default every operand that is a float."""
    arrays = dict(zip("qkv", qkv, strict=True)) | {name: getattr(call, name) for name in ("bias", "sinks")}
    arrays |= {f"params.{name}": param for name, param in call.params.items()}
    names = [name for name in (call.wanted or arrays) if arrays[name] is not None]
    delivered = ("output", *call.outputs)
    differentiated = ("output",) if d_lse is None else ("output", "lse")
    cotangents = {name: _nothing(name, call, d_output) for name in call.outputs} | {"output": d_output}
    cotangents |= {} if d_lse is None else {"lse": d_lse}

    def of_leaves(*leaves: mx.array) -> list[mx.array]:
        given = arrays | dict(zip(names, leaves, strict=True))
        params = {name: given[f"params.{name}"] for name in call.params}
        extra = {name: given[name] for name in ("bias", "sinks") if given[name] is not None}
        output = as_output(attend(given["q"], given["k"], given["v"], call.with_arrays(extra | {"params": params})))
        # Not a cotangent of zeros for the others: 0 · NaN would come back from a stage of what nobody sees.
        results = {name: getattr(output, name) for name in delivered}
        return [x if name in differentiated else mx.stop_gradient(x) for name, x in results.items()]

    leaves = [arrays[name] for name in names]
    values, grads = mx.vjp(of_leaves, leaves, [cotangents[name] for name in delivered])
    return AttentionOutput(**dict(zip(delivered, values, strict=True))), dict(zip(names, grads, strict=True))


def _nothing(name: str, call: Call, like: mx.array) -> mx.array:
    """A cotangent of zeros for an output that is asked for and differentiated by nobody."""
    sizes = call.sizes
    shape = (sizes.B, sizes.Hq, sizes.Tq) if name == "lse" else (sizes.B, sizes.Hq, sizes.Tq, sizes.S)
    return mx.zeros(shape, mx.float64 if like.dtype == mx.float64 else mx.float32)
