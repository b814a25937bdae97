"""What CuPy does for the harness: conversion, waiting, its pool of memory, clocks. On a GPU alone.

CuPy has no autograd: gradients are an implementation's own.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import cupy

from attnbench.api import UnsupportedError
from attnbench.api.backends import Backend, Bound, UndeliveredError, as_output
from attnbench.impls.cupy_backend import ceilings, device_clock, strides
from attnbench.impls.cupy_backend.memory import PeakHook

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Shaped

    from attnbench.api import Array, Call, Implementation
    from attnbench.api.backends import Stopwatch


class Adapter(Backend):
    """CuPy's current device and stream."""

    name = "cupy"

    def __init__(self) -> None:
        self._watched = ExitStack()
        self._peak: PeakHook | None = None

    def versions(self) -> dict[str, str]:
        """CuPy, and the CUDA runtime that it was built with."""
        return {"cupy": cupy.__version__, "cuda": str(cupy.cuda.runtime.runtimeGetVersion())}

    def devices(self) -> tuple[str, ...]:
        """``cuda`` where a GPU is usable; CuPy has no arrays on the CPU."""
        return ("cuda",) if cupy.cuda.is_available() else ()

    def to_native(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[cupy.ndarray, " *axes"]:
        """A contiguous copy on the GPU."""
        if device != "cuda":
            msg = f"cupy runs on a GPU only, not on {device!r}; choose --device cuda or another backend"
            raise UnsupportedError(msg)
        return cupy.array(array, order="C")

    def to_numpy(self, native: Shaped[cupy.ndarray, " *axes"]) -> Shaped[Array, " *axes"]:
        """The values as a NumPy array of its own."""
        array: Array = cupy.asnumpy(native)
        return array

    def laid_out(self, native: Shaped[cupy.ndarray, " *axes"], layout: str) -> Shaped[cupy.ndarray, " *axes"]:
        """See ``strides.py``."""
        return strides.laid_out(native, layout)

    def overwrite(self, native: Shaped[cupy.ndarray, " *axes"], array: Shaped[Array, " *axes"]) -> bool:
        """Copy the values in, but not where several elements are one place in memory."""
        if any(stride == 0 and n > 1 for stride, n in zip(native.strides, native.shape, strict=True)):
            return False
        native[...] = cupy.array(array)
        return True

    def wait(self, result: Any) -> None:
        """Return when the GPU has nothing left to do."""
        del result
        cupy.cuda.Device().synchronize()

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
        """A plain closure: there is nothing to trace, and CuPy compiles a kernel when it is first called."""
        del q, k, v, call, d_lse
        if d_output is None:
            return Bound(lambda q, k, v, call: lambda: as_output(implementation(q, k, v, call)))
        vjp = implementation.vjp
        if vjp is None:
            msg = f"{implementation.name} has no gradients: CuPy has no autograd, so give vjp= to @implementation"
            raise UndeliveredError(msg)

        def on(
            q: Float[cupy.ndarray, "B Hq Tq D"],
            k: Float[cupy.ndarray, "B Hkv S D"],
            v: Float[cupy.ndarray, "B Hkv S Dv"],
            call: Call,
            d_output: Float[cupy.ndarray, "B Hq Tq Dv"],
            d_lse: Float[cupy.ndarray, "B Hq Tq"] | None = None,
        ) -> Callable[[], Any]:
            return lambda: (as_output(implementation(q, k, v, call)), vjp(q, k, v, call, d_output, d_lse))

        return Bound(on)

    def set_threads(self, threads: int) -> None:
        """Nothing can be set: see ``threads``."""

    def threads(self) -> dict[str, int]:
        """The thread of Python that hands the GPU its work."""
        return {"host": 1}

    def trim(self) -> None:
        """Give back what the pools keep, on the GPU and of pinned memory."""
        cupy.get_default_memory_pool().free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()

    def reset_peak(self, device: str) -> None:
        """Watch CuPy's pool from now on."""
        del device
        self._watched.close()
        self._peak = self._watched.enter_context(PeakHook())

    def peak_bytes(self, device: str) -> int | None:
        """Peak of bytes taken out of CuPy's pool since ``reset_peak``, less those held then."""
        del device
        self._watched.close()
        return None if self._peak is None else self._peak.most

    def device_name(self, device: str) -> str | None:
        """The model of the GPU."""
        return device_clock.properties()["name"].decode() if device == "cuda" else None

    def ceiling(self, kind: str, dtype: str, size: int, device: str) -> Callable[[], Any] | None:
        """A matrix product in any dtype, a copy, exp."""
        return ceilings.ceiling(kind, dtype, size) if device == "cuda" else None

    def stopwatch(self, device: str) -> Stopwatch | None:
        """CUDA events."""
        return device_clock.CupyStopwatch() if device == "cuda" else None

    def flusher(self, device: str) -> Callable[[], None] | None:
        """A write over twice the L2 cache."""
        return device_clock.flusher() if device == "cuda" else None
