"""Keras on NumPy: nothing is asynchronous, and there are no gradients."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import threadpoolctl

from attnbench.api import Array, AttentionOutput
from attnbench.api.backends import Bound, UndeliveredError, as_output
from attnbench.impls.keras_backend import strides
from attnbench.impls.keras_backend.adapter import OnKeras

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Shaped

    from attnbench.api import Call, Implementation


class Adapter(OnKeras):
    """Arrays of NumPy, which an implementation can read but not write."""

    name = "keras_numpy"
    side = "numpy"

    def __init__(self) -> None:
        super().__init__()
        self._limiting = threading.RLock()

    def _versions_below(self) -> dict[str, str]:
        return {"numpy": np.__version__} | {f"blas.{pool['internal_api']}": str(pool["version"]) for pool in _pools()}

    def to_native(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[Array, " *axes"]:
        """A contiguous copy; Keras makes another of all that it is given."""
        self.only_cpu(device)
        copy = np.array(array, order="C", copy=True)
        copy.flags.writeable = False
        return copy

    def borrow(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[Array, " *axes"]:
        """A view; a copy only where it is not contiguous."""
        self.only_cpu(device)
        view = np.ascontiguousarray(array).view()
        view.flags.writeable = False
        return view

    def laid_out(self, native: Shaped[Array, " *axes"], layout: str) -> Shaped[Array, " *axes"]:
        """See ``strides.py``."""
        return strides.of_array(native, layout)

    def overwrite(self, native: Shaped[Array, " *axes"], array: Shaped[Array, " *axes"]) -> bool:
        """Copy the values in, but not where several elements are one place in memory."""
        if any(stride == 0 and n > 1 for stride, n in zip(native.strides, native.shape, strict=True)):
            return False
        native.flags.writeable = True
        np.copyto(native, array)
        native.flags.writeable = False
        return True

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
        if d_output is not None:
            msg = f"{implementation.name} has no gradients: Keras has none on NumPy"
            raise UndeliveredError(msg)
        return Bound(lambda q, k, v, call: lambda: _forward(implementation, q, k, v, call))

    def set_threads(self, threads: int) -> None:
        """Set the threads of every BLAS pool in the process; ``numpy.einsum`` and elementwise functions have one."""
        threadpoolctl.threadpool_limits(threads)

    @contextmanager
    def limited(self, threads: int) -> Iterator[None]:
        """Every BLAS pool; one thread of Python at a time, so that what was comes back."""
        with self._limiting, threadpoolctl.threadpool_limits(threads, user_api="blas"):
            yield

    def threads(self) -> dict[str, int]:
        """Threads of every BLAS pool, as the pools report them."""
        return {str(pool["internal_api"]): int(pool["num_threads"]) for pool in _pools()}


def _pools() -> list[dict[str, Any]]:
    return [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


def _forward(attend: Callable[..., Any], q: Any, k: Any, v: Any, call: Call) -> AttentionOutput:
    """Without NumPy's warnings: a NaN that is reached makes one, and is meant to be seen in the output."""
    with np.errstate(all="ignore"):
        return as_output(attend(q, k, v, call))
