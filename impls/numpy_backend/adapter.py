"""The NumPy adapter: native arrays are NumPy arrays, nothing is asynchronous, gradients are an implementation's own."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import threadpoolctl

from attnbench.api import Array, Call, Implementation, UnsupportedError
from attnbench.api.backends import Backend, Bound, UndeliveredError, as_output
from attnbench.impls.numpy_backend import ceilings, strides
from attnbench.impls.numpy_backend.tiled import crew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jaxtyping import Float, Shaped

    from attnbench.api.backends import Learner, Model, Optimiser


class Adapter(Backend):
    """NumPy as a backend, on the CPU."""

    name = "numpy"

    def versions(self) -> dict[str, str]:
        """NumPy, and the BLAS that it multiplies with."""
        blas = {f"blas.{pool['internal_api']}": str(pool["version"]) for pool in self._blas_pools()}
        return {"numpy": np.__version__, **blas}

    def devices(self) -> tuple[str, ...]:
        """The CPU only."""
        return ("cpu",)

    def to_native(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[Array, " *axes"]:
        """A contiguous copy that an implementation can read but not write: a kernel never owns its inputs."""
        self._only_cpu(device)
        copy = np.array(array, order="C", copy=True)
        copy.flags.writeable = False
        return copy

    def borrow(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[Array, " *axes"]:
        """A view that an implementation can read but not write; a copy only where it is not contiguous."""
        self._only_cpu(device)
        view = np.ascontiguousarray(array).view()
        view.flags.writeable = False
        return view

    def laid_out(self, native: Shaped[Array, " *axes"], layout: str) -> Shaped[Array, " *axes"]:
        """See ``strides.py``."""
        return strides.laid_out(native, layout)

    def to_numpy(self, native: Any) -> Array:
        """What came out, as it is: a list or a masked array is for the judge to see."""
        as_it_is: Array = native
        return as_it_is

    def overwrite(self, native: Shaped[Array, " *axes"], array: Shaped[Array, " *axes"]) -> bool:
        """Copy the values in, but not where several elements are one place in memory."""
        if any(stride == 0 and n > 1 for stride, n in zip(native.strides, native.shape, strict=True)):
            return False
        native.flags.writeable = True
        np.copyto(native, array)
        native.flags.writeable = False
        return True

    def wait(self, result: Any) -> None:
        """Nothing to wait for: NumPy has finished when it returns."""

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
        """A plain closure: there is nothing to trace or compile."""
        del q, k, v, call, d_lse
        if d_output is None:
            return Bound(lambda q, k, v, call: lambda: as_output(implementation(q, k, v, call)))
        vjp = implementation.vjp
        if vjp is None:
            msg = f"{implementation.name} has no gradients: NumPy has no autograd, so give vjp= to @implementation"
            raise UndeliveredError(msg)
        with_output = getattr(vjp, "with_output", None)  # both of one forward pass, where an implementation has it so

        def on(
            q: Float[Array, "B Hq Tq D"],
            k: Float[Array, "B Hkv S D"],
            v: Float[Array, "B Hkv S Dv"],
            call: Call,
            d_output: Float[Array, "B Hq Tq Dv"],
            d_lse: Float[Array, "B Hq Tq"] | None = None,
        ) -> Callable[[], Any]:
            if with_output is not None:
                return lambda: with_output(q, k, v, call, d_output, d_lse)
            return lambda: (as_output(implementation(q, k, v, call)), vjp(q, k, v, call, d_output, d_lse))

        return Bound(on)

    def learner(
        self,
        model: Model,
        implementation: Implementation,
        parameters: Mapping[str, Float[Array, " ..."]],
        optimiser: Optimiser,
        device: str = "cpu",
    ) -> Learner:
        """See ``train.py``."""
        from attnbench.impls.numpy_backend import train

        return train.learner(model, implementation, parameters, optimiser, device)

    def set_threads(self, threads: int) -> None:
        """Set the threads of every BLAS pool in the process."""
        threadpoolctl.threadpool_limits(threads)
        crew.NUMBER.set(threads)

    @contextmanager
    def limited(self, threads: int) -> Iterator[None]:
        """Every BLAS and the threads of ``numpy/blocked``.

        The whole process shares them: one thread of Python at a time, so that what was comes back.
        """
        with crew.NUMBER.alone():
            yield from self._limited(threads)

    def _limited(self, threads: int) -> Iterator[None]:
        before, others = crew.NUMBER.get(), [(pool, pool.num_threads) for pool in crew.others(len(sys.modules))]
        crew.NUMBER.set(threads)
        for pool, _ in others:
            crew.give(pool, threads)
        try:
            yield
        finally:
            crew.NUMBER.set(before)
            for pool, number in others:
                crew.give(pool, number)

    def threads(self) -> dict[str, int]:
        """Threads of every BLAS pool, as the pools report them, and how many ``numpy/blocked`` would start."""
        pools = {str(pool["internal_api"]): int(pool["num_threads"]) for pool in self._blas_pools()}
        return pools | {"blocked": crew.NUMBER.get()}

    def computing_threads(self) -> dict[str, int]:
        """The BLAS that NumPy multiplies with, and the threads of ``numpy/blocked``."""
        pools = {str(pool.internal_api): int(pool.num_threads) for pool in crew.pools()}
        return pools | {"blocked": crew.NUMBER.get()}

    def trim(self) -> None:
        """Let go of the memory that ``numpy/blocked`` keeps for its next call."""
        crew.trim()

    def ceiling(self, kind: str, dtype: str, size: int, device: str) -> Callable[[], Any] | None:
        """A product in float32 or float64, a copy, exp."""
        self._only_cpu(device)
        return ceilings.ceiling(kind, dtype, size)

    @staticmethod
    def _blas_pools() -> list[dict[str, Any]]:
        return [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    @staticmethod
    def _only_cpu(device: str) -> None:
        if device != "cpu":
            msg = f"numpy runs on the CPU only, not on {device!r}; choose --device cpu or another backend"
            raise UnsupportedError(msg)
