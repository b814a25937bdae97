"""Our own eager attention in a narrow format: about as far from the truth as a kernel that keeps things in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.agree.eager.attention import Eager
from attnbench.agree.eager.baseline import Baseline
from attnbench.attention.arrays import Array
from attnbench.backends.implementation import AttentionOutput

if TYPE_CHECKING:
    from attnbench.attention.call import Call
    from attnbench.backends.implementation import Implementation


class Narrow(Eager):
    """Eager attention that computes in float32 whatever its inputs are."""

    def attend(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        """Forward in float32, handed out in the dtype of the inputs."""
        output = super().attend(_float32(q), _float32(k), _float32(v), replace(call, dtype="float32"))
        return AttentionOutput(**{name: array.astype(q.dtype) for name, array in output.items()})

    def vjp(self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None) -> dict[str, Array]:
        """Backward likewise."""
        low = _float32(q), _float32(k), _float32(v)
        d_lse = None if d_lse is None else _float32(d_lse)
        grads = super().vjp(low[0], low[1], low[2], replace(call, dtype="float32"), _float32(d_output), d_lse)
        return {name: grad.astype(q.dtype) for name, grad in grads.items()}


def _float32(array: Array) -> np.ndarray[Any, np.dtype[Any]]:
    return array.astype(np.float32)


def stock(dtype: str) -> Implementation:
    """In 16 bits every stage is stored in them, as Rule 2 has it; float64 inputs are computed in float32."""
    return (Narrow() if dtype == "float64" else Baseline()).implementation("stock")
