"""What tinygrad does for the harness: conversion, capture by TinyJit, gradients, threads. On its CPU device alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from tinygrad.device import Device
from tinygrad.engine.jit import TinyJit
from tinygrad.helpers import BEAM
from tinygrad.tensor import Tensor

from attnbench.api import Array, AttentionOutput, UnsupportedError
from attnbench.api.backends import Backend, Bound, as_output

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from jaxtyping import Float, Shaped

    from attnbench.api import Call, Implementation

# tinygrad captures one function at a time, for the whole process.
CAPTURING = threading.RLock()
# A TinyJit computes eagerly at its first call and captures at the second: from then on it replays.
CALLS_TO_CAPTURE = 2


class Adapter(Backend):
    """tinygrad, captured ahead of time by TinyJit and compiled by clang."""

    name = "tinygrad"

    def versions(self) -> dict[str, str]:
        """The versions of tinygrad and of the compiler that it runs."""
        clang = shutil.which(os.environ.get("CC") or "clang")
        said = subprocess.run([clang, "--version"], capture_output=True, text=True, check=False) if clang else None
        return {"tinygrad": version("tinygrad")} | ({"clang": said.stdout.partition("\n")[0]} if said else {})

    def devices(self) -> tuple[str, ...]:
        """The CPU alone: nothing here was tried on tinygrad's other devices."""
        return ("cpu",)

    def to_native(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Any:
        """A tensor of the same shape, dtype and values that owns its memory."""
        if device != "cpu":
            msg = f"tinygrad runs on the CPU only, not on {device!r}; choose --device cpu or another backend"
            raise UnsupportedError(msg)
        with CAPTURING:
            return Tensor(np.array(array, order="C", copy=True), device="CPU").clone().realize()

    def to_numpy(self, native: Any) -> Shaped[Array, " ..."]:
        """The values as a NumPy array of its own; a call's results are such already."""
        if isinstance(native, np.ndarray):
            return native
        with CAPTURING:
            return np.asarray(native.numpy())

    def wait(self, result: Any) -> None:
        """Return when the CPU device is done."""
        del result
        Device["CPU"].synchronize()

    def settings(self) -> Hashable:
        """How long tinygrad searches for a faster kernel (0: it does not)."""
        return BEAM.value

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
        """Capture ahead of time: the arrays of the call are arguments, the rest of it is constant."""
        constant = call.with_arrays(dict.fromkeys(call.arrays()) | {"params": {}})
        given = arguments(q, k, v, call, d_output, d_lse)
        names: list[tuple[str, ...]] = []

        def step(**arrays: Tensor) -> tuple[Tensor, ...]:
            results = (
                _forward(implementation, constant, arrays)
                if d_output is None
                else _backward(implementation, constant, arrays)
            )
            names[:] = [tuple(results)]
            Tensor.realize(*results.values())
            return tuple(results.values())

        captured = TinyJit(step)
        start = time.perf_counter()
        with CAPTURING:
            for _ in range(CALLS_TO_CAPTURE):
                captured(**given)
        compile_s = time.perf_counter() - start

        def on(*native: Any, **cotangents: Any) -> Callable[[], Any]:
            arrays = arguments(*native, **cotangents)

            def run() -> Any:
                with CAPTURING:
                    results = captured(**arrays)
                    copies = dict(zip(names[0], map(_copied, results), strict=True))
                output = AttentionOutput(copies.pop("output"))
                return output if d_output is None else (output, copies)

            return run

        return Bound(on, compile_s=compile_s)

    def set_threads(self, threads: int) -> None:
        """Nothing can be set: see ``threads``."""

    def threads(self) -> dict[str, int]:
        """The thread that calls: tinygrad 0.14 splits a kernel by NUM_CPU_THREADS and runs the parts in turn."""
        return {"calling_thread": 1}

    def ceiling(self, kind: str, dtype: str, size: int, device: str) -> Callable[[], Any] | None:
        """None: a product that tinygrad compiles is no limit of this machine."""
        del kind, dtype, size, device
        return None


def arguments(q: Any, k: Any, v: Any, call: Call, d_output: Any = None, d_lse: Any = None) -> dict[str, Any]:
    """What a captured function is called with, by name."""
    del d_lse  # no implementation here has one
    arrays = {"q": q, "k": k, "v": v} | call.arrays()
    return arrays if d_output is None else arrays | {"d_output": d_output}


def _forward(attend: Callable[..., Any], call: Call, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of the implementation, by name."""
    rest = {name: array for name, array in arrays.items() if name not in ("q", "k", "v", "d_output")}
    output = as_output(attend(arrays["q"], arrays["k"], arrays["v"], call.with_arrays(rest)))
    return dict(output.items())


def _backward(attend: Callable[..., Any], call: Call, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """The output, and the gradients by ``Tensor.gradient`` with respect to what is wanted, by default every operand."""
    results = _forward(attend, call, arrays)
    names = [name for name in (call.wanted or ("q", "k", "v", "bias", "sinks")) if name in arrays]
    leaves = [arrays[name] for name in names]
    gradients = results["output"].gradient(*leaves, gradient=arrays["d_output"])
    return results | dict(zip(names, gradients, strict=True))


def _copied(tensor: Tensor) -> Float[Array, " ..."]:
    """The values, which ``numpy`` copies out of memory that the next call of the same TinyJit writes to again."""
    return tensor.numpy()
