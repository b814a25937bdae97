"""Keras on JAX: public functions under ``jax.jit``, as ``model.predict`` compiles them, ahead of time."""

from __future__ import annotations

import os
import threading
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from attnbench.api import Array, AttentionOutput, UsageError
from attnbench.api.backends import Bound, UncountedError, as_output
from attnbench.impls.keras_backend.adapter import OnKeras

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from jaxtyping import Shaped

    from attnbench.api import Call, Implementation

WIDE = ("float64", "int64", "uint64")
# One thread at a time makes XLA's pool; what it reads then, and what it calls its threads.
POOL = threading.Lock()
POOL_SIZE = ("PJRT_NPROC", "NPROC")
POOL_THREAD = "tf_XLAEigen"

# What a compiled function returns is a pytree. In a process that has the backend jax as well it is one already.
with suppress(ValueError):
    jax.tree_util.register_dataclass(AttentionOutput, list(AttentionOutput.__dataclass_fields__), [])


class Adapter(OnKeras):
    """Arrays of JAX. float64 is switched on around float64 calls alone."""

    name = "keras_jax"
    side = "jax"

    def _versions_below(self) -> dict[str, str]:
        return {"jax": jax.__version__}

    def to_native(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[jax.Array, " *axes"]:
        """An array of the same shape, dtype and values, committed to the CPU."""
        self.only_cpu(device)
        copy = np.array(array, order="C", copy=True)
        with _doubles_for([copy]):
            native: jax.Array = jax.device_put(copy, jax.devices("cpu")[0])
        return native

    def wait(self, result: Any) -> None:
        """Block until every array in the result is computed."""
        jax.block_until_ready(result)

    def bind(
        self,
        implementation: Implementation,
        q: Any,
        k: Any,
        v: Any,
        call: Call,
        *,
        d_output: Any = None,
        d_lse: Any = None,
    ) -> Bound:
        """Compile ahead of time: the arrays of the call are arguments, the rest of it is constant."""
        del d_lse  # no implementation here declares an lse
        constant = call.with_arrays(dict.fromkeys(call.arrays()) | {"params": {}})
        if d_output is None:
            return _compiled(lambda a: _forward(implementation, constant, a), _arguments(q, k, v, call))
        given = _arguments(q, k, v, call, d_output)
        return _compiled(lambda a, d: _with_gradients(implementation, constant, a, d), given)

    def settings(self) -> Hashable:
        """Those of Keras and of JAX: what is compiled under one is no use under another."""
        config: Any = jax.config
        return super().settings(), config.jax_enable_x64, tuple(map(str, config.values.values()))

    def computing(self, dtype: str) -> AbstractContextManager[Any]:
        """float64 is switched on for float64."""
        return _doubles() if dtype == "float64" else nullcontext()

    def set_threads(self, threads: int) -> None:
        """Bound XLA's CPU pool, if it does not exist yet: it is sized once, when JAX first looks for devices."""
        os.environ |= dict.fromkeys(POOL_SIZE, str(threads))

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


def _doubles() -> AbstractContextManager[Any]:
    """Within it float64 is float64; then the user's own setting comes back."""
    if hasattr(jax, "enable_x64"):
        context: AbstractContextManager[Any] = jax.enable_x64(True)  # noqa: FBT003  (the only way to call it)
    else:
        from jax import experimental  # where it stood before it moved

        context = vars(experimental)["enable_x64"]()
    return context


def _doubles_for(arrays: Any) -> AbstractContextManager[Any]:
    return _doubles() if any(str(array.dtype) in WIDE for array in arrays) else nullcontext()


def _pool_threads() -> int | None:
    """Threads in XLA's pool, 0 before it exists; ``None`` where the system does not list threads."""
    names = []
    for file in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # a thread may end while they are listed
            names.append(file.read_text().strip())
    return names.count(POOL_THREAD) if names else None


def _arguments(q: Any, k: Any, v: Any, call: Call, d_output: Any = None) -> tuple[Any, ...]:
    arrays = {"q": q, "k": k, "v": v} | call.arrays()
    return (arrays,) if d_output is None else (arrays, d_output)


def _compiled(function: Callable[..., Any], given: tuple[Any, ...]) -> Bound:
    """Trace, lower and compile for arguments like these, and time it."""
    if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
        msg = "jax_disable_jit is set, and attnbench compiles ahead of time; switch it off, or call the kernel itself"
        raise UsageError(msg)
    leaves = jax.tree_util.tree_leaves(given)
    start = time.perf_counter()
    with _doubles_for(leaves):
        lowered = jax.jit(function).lower(*given)
        traced = time.perf_counter()
        executable = lowered.compile()
    done = time.perf_counter()

    def on(q: Any, k: Any, v: Any, call: Call, d_output: Any = None, d_lse: Any = None) -> Callable[[], Any]:
        del d_lse
        laid_out = _arguments(q, k, v, call, d_output)
        return lambda: executable(*laid_out)

    return Bound(on, trace_s=traced - start, compile_s=done - traced)


def _forward(attend: Callable[..., Any], call: Call, arrays: dict[str, Any]) -> AttentionOutput:
    """The implementation on the traced arrays."""
    rest = {name: array for name, array in arrays.items() if name not in ("q", "k", "v")}
    return as_output(attend(arrays["q"], arrays["k"], arrays["v"], call.with_arrays(rest)))


def _with_gradients(
    attend: Callable[..., Any], call: Call, arrays: dict[str, Any], d_output: Any
) -> tuple[AttentionOutput, dict[str, Any]]:
    """Forward and backward by ``jax.vjp``, with respect to what is wanted, by default every operand that is a float."""
    names = call.wanted or ("q", "k", "v", "bias", "params")
    leaves = {name: arrays[name] for name in names if name in arrays}
    output, pull_back = jax.vjp(lambda leaves: _forward(attend, call, arrays | leaves).output, leaves)
    (grads,) = pull_back(d_output)
    params = grads.pop("params", {})
    return AttentionOutput(output), grads | {f"params.{name}": grad for name, grad in params.items()}
