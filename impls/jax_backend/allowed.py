"""The allowed set A of the spec, and the bias that follows from positions, as JAX arrays.

Axes on which nothing varies have size 1.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import Array

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from attnbench.api import Call


def allowed_keys(call: Call) -> Bool[Array, "#B #Hq Tq S"] | None:
    """The allowed set A, or ``None`` where every query attends to every key."""
    spec, sizes = call.spec, call.sizes
    i = jnp.arange(sizes.Tq)[:, None]
    j = jnp.arange(sizes.S)
    p = positions(call)
    left, right = spec.window or (None, None)
    rules: list[Array] = []
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
        rules.append(call.bias != -jnp.inf)
    if not rules:
        return None
    allowed = reduce(jnp.logical_and, rules)
    lead = (1,) * (4 - allowed.ndim) + allowed.shape[:-2]
    return jnp.broadcast_to(allowed, (*lead, sizes.Tq, sizes.S))


def allowed_pairs(p: Int[Array, "rows keys"], j: Int[Array, "rows keys"], call: Call) -> Bool[Array, "rows keys"]:
    """The same for a tile of a Pallas kernel, by causality and window: queries stand at ``p``, keys at ``j``.

    None of the keys that fill the last tile is allowed.
    """
    left, right = call.spec.window or (None, None)
    allowed = j < call.sizes.S
    if call.spec.causal:
        allowed &= j <= p
    if left is not None:
        allowed &= j >= p - left
    if right is not None:
        allowed &= j <= p + right
    return allowed


def sees_the_end(call: Call) -> bool:
    """Whether even the first query stands at or behind the last key, as in decoding: then causal excludes nothing."""
    return isinstance(call.offset, int) and call.offset >= call.sizes.S - 1


def positions(call: Call) -> Int[Array, "#B 1 Tq 1"]:
    """p_i = i + offset_b: where the queries stand among the keys."""
    offset = call.offset if isinstance(call.offset, int) else call.offset[:, None, None, None]
    return jnp.arange(call.sizes.Tq)[None, None, :, None] + offset


def alibi(call: Call) -> Float[Array, "#B Hq Tq S"]:
    """−slope_h · abs(p_i − j) (Press 2021), in the dtype of the slopes."""
    distance = jnp.abs(positions(call) - jnp.arange(call.sizes.S)).astype(call.slopes.dtype)
    slopes: Array = call.slopes[:, None, None]
    return -slopes * distance
