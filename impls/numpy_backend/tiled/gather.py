"""Gradients being gathered: each block's sums brought to q, k and v, and what several blocks share, in one order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.api import Array, Call
from attnbench.impls.numpy_backend.tile_scores import Gradients, through_projection

from . import cosine
from .edges import part
from .layout import Heads, is_learned, is_product
from .operands import FACTOR, BlockOperands, wide_type, widened

if TYPE_CHECKING:
    from .forward import RowSums


class Gathered:
    """All gradients of a call, in the wide dtype."""

    def __init__(self, call: Call, heads: list[Heads], arrays: tuple[Array, Array, Array]) -> None:
        self.call, self.dtype, self._heads, self._arrays = call, wide_type(call), heads, arrays
        self.q, self.k, self.v = (np.zeros(array.shape, self.dtype) for array in arrays)
        self.d_row = np.zeros(self.q.shape[:3], self.dtype)
        self.bias = None if call.bias is None else np.zeros(call.bias.shape, self.dtype)
        self._params: dict[tuple[int, int], dict[str, Array]] = {}
        self._bias_parts: dict[tuple[int, int], list[Array]] = {}

    @property
    def _shares_bias(self) -> bool:
        bias, sizes = self.call.bias, self.call.sizes
        return bias is not None and ((sizes.B > 1 and bias.shape[0] == 1) or (sizes.Hq > 1 and bias.shape[1] == 1))

    @property
    def is_chained(self) -> bool:
        """Whether all heads add to one plane of a bias, too large for each task to have its own."""
        return self.bias is not None and self._shares_bias and min(self.bias.shape[2:]) > 1

    def bias_of_task(self, operands: BlockOperands) -> Array | None:
        """An array of its own for a task that would add to the same numbers as others; ``None`` where none does."""
        bias = self.bias
        if bias is None or self.is_chained or (bias.shape[2] > 1 and not self._shares_bias):
            return None
        heads = operands.heads
        return np.zeros((1, heads.h1 - heads.h0 if bias.shape[1] > 1 else 1, *bias.shape[2:]), self.dtype)

    def add_bias(
        self, operands: BlockOperands, rows: slice, keys: slice, d_logits: Array, of_task: Array | None
    ) -> None:
        """Add the gradient of a tile's logits to that of the bias."""
        if self.bias is None:
            return
        heads = operands.heads
        if of_task is not None:  # its heads are counted from 0
            heads = Heads(0, 0, heads.g1 - heads.g0, heads.group)
        target = part(self.bias if of_task is None else of_task, heads, rows, keys)
        full = d_logits.reshape(operands.count, operands.heads.group, -1, d_logits.shape[-1])
        axes = tuple(axis for axis in range(4) if target.shape[axis] == 1 and full.shape[axis] != 1)
        target += full.sum(axes, keepdims=True)

    def add_block(self, operands: BlockOperands, tasks: Sequence[Any]) -> None:
        """Add up what the tasks of a block have summed, and bring it to its operands."""
        heads = operands.heads
        if tasks[0].bias is not None:
            self._bias_parts[heads.b, heads.g0] = [task.bias for task in tasks]
        self.v[heads.b, heads.g0 : heads.g1] = _summed([task.v for task in tasks])
        if is_learned(self.call):
            self._add_learned(operands, [task.learned for task in tasks])
            return
        d_k = _summed([task.k for task in tasks])
        if is_product(self.call):
            d_k /= self.dtype(FACTOR)
        self._through_query(operands)
        self.k[heads.b, heads.g0 : heads.g1] = (
            cosine.through_unit(operands.raw_k, d_k) if self.call.spec.score == "cosine" else d_k
        )

    def _through_query(self, operands: BlockOperands) -> None:
        """From the gradients of what stands for the queries to those of the queries."""
        call, heads = self.call, operands.heads
        if call.spec.score == "dot":
            return
        given = widened(operands.q, self.dtype)
        d_query = self.q[heads.b, heads.queries]
        if call.spec.score == "cosine":
            direction = cosine.unit(given)[0]
            for at, h in enumerate(range(heads.h0, heads.h1)):
                self._params[heads.b, h] = {"temperature": (d_query[at] * direction[at]).sum()}
            d_query *= cosine.temperatures(call, heads.queries, self.dtype)
            d_query[...] = cosine.through_unit(given, d_query)
            return
        for at, h in enumerate(range(heads.h0, heads.h1)):
            of_head = Gradients(d_query[at], operands.raw_k[0], None)
            d_q, _, self._params[heads.b, h] = through_projection(of_head, given[at], operands.raw_k[0], call, h)
            d_query[at] = d_q

    def _add_learned(self, operands: BlockOperands, tasks: list[list[Gradients]]) -> None:
        heads, given = operands.heads, widened(operands.q, self.dtype)
        for at, h in enumerate(range(heads.h0, heads.h1)):
            of_head = _summed_gradients([task[at] for task in tasks])
            k = operands.raw_k[at // heads.group]
            d_q, d_k, self._params[heads.b, h] = through_projection(of_head, given[at], k, self.call, h)
            self.q[heads.b, h] = d_q
            self.k[heads.b, h // heads.group] += d_k

    def finished(self, known: RowSums) -> dict[str, Array]:
        """All gradients by name, in the dtypes of their operands."""
        call = self.call
        grads = dict(zip("qkv", (self.q, self.k, self.v), strict=True))
        if self.bias is not None:
            self._add_bias_parts()
            grads["bias"] = self.bias
        if call.sinks is not None:
            total = np.where(known.total == 0, 1, known.total)  # no key, and a sink of −inf, which is none
            weight = np.exp(call.sinks.astype(self.dtype)[None, :, None] - known.shift) / total
            grads["sinks"] = (weight * self.d_row).sum((0, 2))
        for name, param in call.params.items():
            of_all = grads[f"params.{name}"] = np.zeros(param.shape, self.dtype)
            for (_, h), of_head in sorted(self._params.items(), key=lambda pair: pair[0]):
                of_all[h if len(param) > 1 else 0] += of_head[name]
        dtypes = dict(zip("qkv", (array.dtype for array in self._arrays), strict=True))
        others = {"bias": call.bias, "sinks": call.sinks} | {
            f"params.{name}": param for name, param in call.params.items()
        }
        dtypes |= {name: array.dtype for name, array in others.items() if array is not None}
        return {name: grad.astype(dtypes[name], copy=False) for name, grad in grads.items()}

    def _add_bias_parts(self) -> None:
        assert self.bias is not None  # noqa: S101  (for a type checker)
        for heads in self._heads:
            for of_task in self._bias_parts.get((heads.b, heads.g0), []):
                b = heads.b if len(self.bias) > 1 else 0
                self.bias[b, heads.queries if self.bias.shape[1] > 1 else slice(None)] += of_task[0]


def _summed(arrays: list[Array]) -> Array:
    """The sum, in this order."""
    total = arrays[0]
    for array in arrays[1:]:
        total += array
    return total


def _summed_gradients(parts: list[Gradients]) -> Gradients:
    units = None if parts[0].units is None else _summed([np.asarray(of_part.units) for of_part in parts])
    return Gradients(_summed([of_part.query for of_part in parts]), _summed([of_part.key for of_part in parts]), units)
