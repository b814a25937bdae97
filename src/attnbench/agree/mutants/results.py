"""Faults of what is handed back: buffers, inputs, dtype, layout."""
# ruff: noqa: D102  (the class says what is wrong with the step; the step's own docstring is in Eager)

from __future__ import annotations

from typing import Any

import numpy as np

from attnbench.agree.eager.attention import Eager
from attnbench.agree.mutants.catalogue import BugReport, planted
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call
from attnbench.backends.implementation import AttentionOutput

TILE = 32


@planted(
    "state", "sizes", "inputs", report=BugReport("ml-explore/mlx", 3071, "a cache on the class serves later calls")
)
class EarlierResult(Eager):
    """A buffer kept by shape gives the answer of an earlier call."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, ...], Array] = {}

    def finish(self, output: Array, dtype: Any) -> Array:
        return self._kept.setdefault(output.shape, output).astype(dtype)


@planted("state", "sizes")
class BufferHandedOutTwice(Eager):
    """The output is written into a buffer kept by shape: the earlier result changes with the next call."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], Array] = {}

    def finish(self, output: Array, dtype: Any) -> Array:
        right = super().finish(output, dtype)
        buffer = self._kept.setdefault((right.shape, right.dtype), np.empty_like(right))
        buffer[...] = right
        return buffer


@planted("state", "sizes")
class GradientBufferHandedOutTwice(Eager):
    """dV is written into a buffer kept by shape."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], Array] = {}

    def handed_out(self, grads: dict[str, Array]) -> dict[str, Array]:
        right = grads["v"]
        buffer = self._kept.setdefault((right.shape, right.dtype), np.empty_like(right))
        buffer[...] = right
        return grads | {"v": buffer}


@planted(
    "state",
    "sizes",
    report=BugReport("flashinfer-ai/flashinfer", 2408, "accuracy drops unless the output is preset to zero"),
)
class PartlyUnwritten(Eager):
    """The output behind its first tile is never written."""

    def finish(self, output: Array, dtype: Any) -> Array:
        output[:, :, TILE:] = 0
        return super().finish(output, dtype)


@planted("input", "sizes", report=BugReport("pytorch/pytorch", 73249, "q /= √E, a proposal that was withdrawn"))
class InputChanged(Eager):
    """q is scaled in place."""

    def attend(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        result = super().attend(q, k, v, call)
        q.flags.writeable = True  # as compiled code does, which knows no such flag
        q *= q.dtype.type(0.5)
        return result


@planted("dtype", "sizes", report=BugReport("PaddlePaddle/PaddleMIX", 1141, "the output's dtype is not the input's"))
class WrongDtype(Eager):
    """float32 comes back, whatever went in (float64 for float32)."""

    def finish(self, output: Array, dtype: Any) -> Array:
        return output.astype(np.float64 if dtype == np.float32 else np.float32)


@planted("layout", "sizes")
class TransposedOutput(Eager):
    """(B, T, H, D) where (B, H, T, D) was asked for."""

    def finish(self, output: Array, dtype: Any) -> Array:
        return super().finish(np.ascontiguousarray(np.swapaxes(output, 1, 2)), dtype)


@planted(
    "layout", "sizes", report=BugReport("meta-pytorch/opacus", 825, "a view without a transpose splices the heads")
)
class HeadsSpliced(Eager):
    """The memory of (B, T, H, D) is returned under the shape (B, H, T, D)."""

    def finish(self, output: Array, dtype: Any) -> Array:
        return super().finish(np.swapaxes(output, 1, 2).reshape(output.shape), dtype)


@planted("dtype", "sizes", harmless={"bfloat16": "it has one byte order"})
class ForeignByteOrder(Eager):
    """The output comes back in the byte order of the other machines, as from a file."""

    def finish(self, output: Array, dtype: Any) -> Array:
        right = super().finish(output, dtype)
        return right if right.dtype.name == "bfloat16" else right.astype(right.dtype.newbyteorder())


@planted("type", "sizes")
class MaskedOutput(Eager):
    """A masked array comes back, whose mask hides the elements that are wrong."""

    def finish(self, output: Array, dtype: Any) -> Array:
        right = super().finish(output, dtype)
        return np.ma.MaskedArray(0 * right, mask=True)
