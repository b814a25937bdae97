"""What JAX does for the harness: conversion, devices, waiting, compilation, gradients, threads, memory."""

from __future__ import annotations

import os
import threading
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxlib import version as jaxlib_version

from attnbench.api import Array, AttentionOutput, UnsupportedError, UsageError
from attnbench.api.backends import Backend, Bound, UncountedError, as_output
from attnbench.impls.jax_backend import ceilings
from attnbench.impls.jax_backend.doubles import WIDE, doubles, doubles_for

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    from jaxtyping import Float, Shaped

    from attnbench.api import Call, Implementation
    from attnbench.api.backends import KernelGrid, Learner, Lowered, Model, Optimiser

# More than the L2 cache of any GPU; JAX does not tell its size.
FLUSHED_BYTES = 256 * 2**20
# One thread at a time makes XLA's pool.
POOL = threading.Lock()
# What XLA reads when it makes its pool.
POOL_SIZE = ("PJRT_NPROC", "NPROC")
# What XLA calls the threads of its pool.
POOL_THREAD = "tf_XLAEigen"

# The outputs of a compiled function are pytrees; an absent stage is None, which is an empty one.
jax.tree_util.register_dataclass(AttentionOutput, list(AttentionOutput.__dataclass_fields__), [])


class Adapter(Backend):
    """JAX, compiled ahead of time by XLA. float64 is switched on around float64 calls alone (``doubles``)."""

    name = "jax"

    def __init__(self) -> None:
        self._held = self._earlier_peak = 0

    def versions(self) -> dict[str, str]:
        """Versions of jax, jaxlib (which holds XLA) and the platforms in use."""
        platforms = {
            f"xla_{d}": _device(d).client.platform_version.replace("\n", " ") for d in self.devices() if d != "cpu"
        }
        return {"jax": jax.__version__, "jaxlib": jaxlib_version.__version__} | platforms

    def devices(self) -> tuple[str, ...]:
        """``cpu``, and ``cuda`` where a GPU is usable."""
        try:
            jax.devices("cuda")
        except RuntimeError:
            return ("cpu",)
        return ("cpu", "cuda")

    def to_native(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[jax.Array, " *axes"]:
        """An array of the same shape, dtype and values, committed to the device."""
        # A copy, because JAX may keep using the memory of a NumPy array that it is given.
        copy = np.array(array, order="C", copy=True)
        with doubles_for([copy]):
            native: jax.Array = jax.device_put(copy, _device(device))
        return native

    def borrow(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[jax.Array, " *axes"]:
        """Like ``to_native``; on the CPU without a copy where the array is aligned as XLA wants it.

        Nothing writes to it: JAX's arrays cannot be changed, and no program here is given its arguments to reuse.
        """
        if device != "cpu":
            return self.to_native(array, device)
        with doubles_for([array]):
            native: jax.Array = jax.device_put(np.ascontiguousarray(array), _device(device))
        return native

    def to_numpy(self, native: Shaped[jax.Array, " *axes"]) -> Shaped[Array, " *axes"]:
        """The values as a NumPy array of its own."""
        return np.array(native)

    def wait(self, result: Any) -> None:
        """Block until every array in the result is computed."""
        jax.block_until_ready(result)

    def bind(
        self,
        implementation: Implementation,
        q: Float[jax.Array, "B Hq Tq D"],
        k: Float[jax.Array, "B Hkv S D"],
        v: Float[jax.Array, "B Hkv S Dv"],
        call: Call,
        *,
        d_output: Float[jax.Array, "B Hq Tq Dv"] | None = None,
        d_lse: Float[jax.Array, "B Hq Tq"] | None = None,
    ) -> Bound:
        """Compile ahead of time: the arrays of the call are arguments, the rest of it is constant."""
        return _compiled(*_traced(implementation, q, k, v, call, d_output, d_lse))

    def lowered(
        self,
        implementation: Implementation,
        q: Float[Array, "B Hq Tq D"],
        k: Float[Array, "B Hkv S D"],
        v: Float[Array, "B Hkv S Dv"],
        call: Call,
        *,
        device: str,
        d_output: Float[Array, "B Hq Tq Dv"] | None = None,
        d_lse: Float[Array, "B Hq Tq"] | None = None,
    ) -> Lowered:
        """See ``gpu/exporting.py``."""
        from attnbench.impls.jax_backend.gpu.exporting import exported

        return exported(*_traced(implementation, q, k, v, call, d_output, d_lse), device)

    def grids(
        self,
        implementation: Implementation,
        q: Float[Array, "B Hq Tq D"],
        k: Float[Array, "B Hkv S D"],
        v: Float[Array, "B Hkv S Dv"],
        call: Call,
        **cotangents: Float[Array, " ..."],
    ) -> tuple[KernelGrid, ...]:
        """See ``gpu/grids.py``."""
        from attnbench.impls.jax_backend.gpu.grids import grids

        of_output, of_lse = (cotangents.get(name) for name in ("d_output", "d_lse"))
        return grids(*_traced(implementation, q, k, v, call, of_output, of_lse))

    def interpreting(self) -> AbstractContextManager[Callable[[], bool]] | None:
        """See ``gpu/interpreting.py``; ``None`` where this JAX has no such interpreter."""
        try:
            from attnbench.impls.jax_backend.gpu import interpreting
        except ImportError:
            return None
        return interpreting.interpreting()

    def settings(self) -> Hashable:
        """JAX's settings, as this thread sees them: what is compiled under one is no use under another."""
        config: Any = jax.config
        return config.jax_enable_x64, config.jax_default_matmul_precision, tuple(map(str, config.values.values()))

    def computing(self, dtype: str) -> AbstractContextManager[Any]:
        """float64 is switched on for float64."""
        return doubles() if dtype == "float64" else nullcontext()

    @contextmanager
    def limited(self, threads: int) -> Iterator[None]:
        """XLA's pool cannot be changed: where it does not exist yet it is made with this size, and then stays."""
        with POOL:
            if not _pool_threads():
                before = {name: os.environ.get(name) for name in POOL_SIZE}
                self.set_threads(threads)
                jax.devices("cpu")
                for name, value in before.items():
                    os.environ.pop(name, None)
                    os.environ |= {} if value is None else {name: value}
        yield

    def learner(
        self,
        model: Model,
        implementation: Implementation,
        parameters: Mapping[str, Float[Array, " ..."]],
        optimiser: Optimiser,
        device: str = "cpu",
    ) -> Learner:
        """See ``train.py``. Raises ``UnsupportedError`` without Optax."""
        if find_spec("optax") is None:
            msg = "training in JAX needs optax, which is not installed. Type: pip install 'attnbench[jax]'"
            raise UnsupportedError(msg)
        from attnbench.impls.jax_backend import train

        return train.learner(model, implementation, parameters, optimiser, device)

    def set_threads(self, threads: int) -> None:
        """Bound XLA's CPU pool, if it does not exist yet: it is sized once, when JAX first looks for devices."""
        os.environ |= dict.fromkeys(POOL_SIZE, str(threads))

    def threads(self) -> dict[str, int]:
        """XLA's CPU pool, counted by the names of threads here. Raises ``UncountedError`` where none is its."""
        jax.devices("cpu")
        count = _pool_threads()
        if not count:
            why = "this system does not list threads" if count is None else f"none of them is named {POOL_THREAD}"
            msg = f"the threads of jax {jax.__version__} cannot be counted ({why}), so that no number can be held to"
            raise UncountedError(msg)
        return {"xla_cpu": count}

    def trim(self) -> None:
        """Drop compiled functions."""
        jax.clear_caches()

    def reset_peak(self, device: str) -> None:
        """Remember the level and the peak of XLA's allocator on the GPU, which knows no reset."""
        if device == "cuda":
            stats = _memory(device)
            self._held, self._earlier_peak = stats["bytes_in_use"], stats["peak_bytes_in_use"]

    def peak_bytes(self, device: str) -> int | None:
        """Peak of bytes in use since ``reset_peak``, less those held then; ``None`` while an earlier peak hides it."""
        if device != "cuda":
            return None
        peak = _memory(device)["peak_bytes_in_use"]
        return peak - self._held if peak > self._earlier_peak else None

    def device_name(self, device: str) -> str | None:
        """The model of the GPU."""
        return str(_device(device).device_kind) if device == "cuda" else None

    def ceiling(self, kind: str, dtype: str, size: int, device: str) -> Callable[[], Any] | None:
        """A matrix product in any dtype, exp."""
        return ceilings.ceiling(kind, dtype, size, _device(device))

    def flusher(self, device: str) -> Callable[[], None] | None:
        """A write over more than the L2 cache, waited for: JAX has no events, so the host's clock starts behind it."""
        if device != "cuda":
            return None
        value = jax.device_put(np.int8(1), _device(device))
        write = jax.jit(lambda byte: jax.numpy.broadcast_to(byte, (FLUSHED_BYTES,)))

        def flush() -> None:
            jax.block_until_ready(write(value))

        return flush


def _pool_threads() -> int | None:
    """Threads in XLA's pool, 0 before it exists; ``None`` where the system does not list threads."""
    names = []
    for file in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # a thread may end while they are listed
            names.append(file.read_text().strip())
    return names.count(POOL_THREAD) if names else None


def _device(device: str) -> jax.Device:
    return jax.devices(device)[0]


def _memory(device: str) -> dict[str, int]:
    return dict(_device(device).memory_stats() or {"bytes_in_use": 0, "peak_bytes_in_use": 0})


def arguments(q: Any, k: Any, v: Any, call: Call, d_output: Any = None, d_lse: Any = None) -> tuple[Any, ...]:
    """What a compiled function is called with: the arrays, and with d_output the cotangents.

    A scale per head is float64 in every call; where nothing else is, it is float32, as all that JAX computes there.
    """
    arrays: dict[str, Any] = {"q": q, "k": k, "v": v} | call.arrays()
    if "scale" in arrays and not _in_doubles(q, call):
        arrays["scale"] = arrays["scale"].astype(np.float32)
    return (arrays,) if d_output is None else (arrays, {"d_output": d_output, "d_lse": d_lse})


def _traced(
    implementation: Implementation, q: Any, k: Any, v: Any, call: Call, d_output: Any, d_lse: Any
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """What is traced, and what it is called with: the arrays of the call are arguments, the rest of it is constant."""
    constant = call.with_arrays(dict.fromkeys(call.arrays()) | {"params": {}})
    if d_output is None:
        return lambda a: _forward(implementation, constant, a), arguments(q, k, v, call)
    step = _autodiff if implementation.vjp is None else _own_backward
    return lambda a, d: step(implementation, constant, a, **d), arguments(q, k, v, call, d_output, d_lse)


def _in_doubles(q: Any, call: Call) -> bool:
    """Whether something is differentiated or added in float64."""
    operands = (q, call.bias, call.sinks, call.slopes, *call.params.values())
    return any(str(array.dtype) == "float64" for array in operands if array is not None)


def _compiled(function: Callable[..., Any], given: tuple[Any, ...]) -> Bound:
    """Trace, lower and compile for arguments like these, and time it."""
    if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
        msg = "jax_disable_jit is set, and attnbench compiles ahead of time; switch it off, or call the kernel itself"
        raise UsageError(msg)
    start = time.perf_counter()
    wide = any(str(array.dtype) in WIDE for array in jax.tree_util.tree_leaves(given))
    with doubles() if wide else nullcontext():
        lowered = jax.jit(function).lower(*given)
        traced = time.perf_counter()
        executable = lowered.compile()
    done = time.perf_counter()

    def on(*native: Any, **cotangents: Any) -> Callable[[], Any]:
        laid_out = arguments(*native, **cotangents)

        def in_doubles() -> Any:
            with doubles():  # a callback to the host reads the setting when it runs
                return executable(*laid_out)

        return in_doubles if wide else lambda: executable(*laid_out)

    return Bound(on, trace_s=traced - start, compile_s=done - traced, detail=_analysis(executable))


def _analysis(executable: Any) -> dict[str, int]:
    """What XLA says of the memory of its program: temporaries and outputs, in bytes; empty where it does not say."""
    memory = executable.memory_analysis()
    if memory is None:
        return {}
    return {"xla_temporary_bytes": memory.temp_size_in_bytes, "xla_output_bytes": memory.output_size_in_bytes}


def _forward(attend: Callable[..., Any], call: Call, arrays: dict[str, Any]) -> AttentionOutput:
    """The implementation on the traced arrays."""
    rest = {name: array for name, array in arrays.items() if name not in ("q", "k", "v")}
    return as_output(attend(arrays["q"], arrays["k"], arrays["v"], call.with_arrays(rest)))


def _own_backward(
    implementation: Implementation, call: Call, arrays: dict[str, Any], d_output: Any, d_lse: Any
) -> tuple[AttentionOutput, dict[str, Any]]:
    """Forward, and the gradients of the implementation's own ``vjp``."""
    rest = {name: array for name, array in arrays.items() if name not in ("q", "k", "v")}
    q, k, v, call = arrays["q"], arrays["k"], arrays["v"], call.with_arrays(rest)
    grads: dict[str, Any] = implementation.vjp(q, k, v, call, d_output, d_lse)  # type: ignore[misc]
    return as_output(implementation(q, k, v, call)), grads


def _autodiff(
    attend: Callable[..., Any], call: Call, arrays: dict[str, Any], d_output: Any, d_lse: Any
) -> tuple[AttentionOutput, dict[str, Any]]:
    """Forward and backward by ``jax.vjp``, with respect to what is wanted, by default every operand that is a float."""
    names = call.wanted or ("q", "k", "v", "bias", "sinks", "params")
    leaves = {name: arrays[name] for name in names if name in arrays}

    def of_leaves(leaves: dict[str, Any]) -> tuple[Any, AttentionOutput]:
        output = _forward(attend, call, arrays | leaves)
        return (output.output, None if d_lse is None else output.lse), output

    _, pull_back, output = jax.vjp(of_leaves, leaves, has_aux=True)
    (grads,) = pull_back((d_output, d_lse))
    params = grads.pop("params", {})
    return output, grads | {f"params.{name}": grad for name, grad in params.items()}
