"""The allowed set A of the spec, and the bias that follows from positions, as MLX arrays.

Axes on which nothing varies have size 1.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, Any

import mlx.core as mx

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from attnbench.api import Call


def allowed_keys(call: Call) -> Bool[mx.array, "#B #Hq Tq S"] | None:
    """The allowed set A, or ``None`` where every query attends to every key."""
    spec, sizes = call.spec, call.sizes
    i = mx.arange(sizes.Tq)[:, None]
    j = mx.arange(sizes.S)
    p = positions(call)
    left, right = spec.window or (None, None)
    rules: list[mx.array] = []
    if call.kv_lengths is not None:
        rules.append(j < call.kv_lengths[:, None, None, None])
    if call.q_lengths is not None:
        rules.append(i < call.q_lengths[:, None, None, None])
    if spec.causal and not sees_the_end(call):
        rules.append(j <= p)
    if left is not None:
        rules.append(j >= p - left)
    if right is not None:
        rules.append(j <= p + right)
    if call.q_segments is not None:
        rules.append(call.q_segments[:, None, :, None] == call.kv_segments[:, None, None, :])
    if call.mask is not None:
        rules.append(call.mask)
    if call.bias is not None:
        rules.append(call.bias != -math.inf)
    if not rules:
        return None
    allowed = reduce(mx.logical_and, rules)
    lead = (1,) * (4 - allowed.ndim) + tuple(allowed.shape[:-2])
    return mx.broadcast_to(allowed, (*lead, sizes.Tq, sizes.S))


def sees_the_end(call: Call) -> bool:
    """Whether even the first query stands at or behind the last key, as in decoding: then causal excludes nothing."""
    return isinstance(call.offset, int) and call.offset >= call.sizes.S - 1


def positions(call: Call) -> Int[mx.array, "#B 1 Tq 1"]:
    """p_i = i + offset_b: where the queries stand among the keys."""
    offset = call.offset if isinstance(call.offset, int) else call.offset[:, None, None, None]
    return mx.arange(call.sizes.Tq)[None, None, :, None] + offset


def alibi(call: Call) -> Float[mx.array, "#B Hq Tq S"]:
    """−slope_h · abs(p_i − j) (Press 2021), in the dtype of the slopes."""
    distance = mx.abs(positions(call) - mx.arange(call.sizes.S)).astype(call.slopes.dtype)
    slopes: mx.array = call.slopes[:, None, None]
    return -slopes * distance


def only_where(x: mx.array, counts: mx.array) -> mx.array:
    """The elements of x that count, 0 for the rest; the shape of ``counts`` broadcasts to that of x.

    The gradient of ``mx.where`` is a product with the condition, by which an undefined cotangent comes through.
    """
    chosen: Any = _only_where  # typed as a function from objects to objects
    array: mx.array = chosen(x, counts)
    return array


@mx.custom_function
def _only_where(x: mx.array, counts: mx.array) -> mx.array:
    return mx.where(counts, x, mx.array(0, x.dtype))


@_only_where.vjp
def _only_where_back(
    primals: tuple[mx.array, mx.array], cotangent: mx.array, output: mx.array
) -> tuple[mx.array, mx.array]:
    """The cotangent of what counts, and nothing for the condition."""
    del output
    counts = primals[1]
    return mx.where(counts, cotangent, mx.array(0, cotangent.dtype)), mx.zeros_like(counts)
