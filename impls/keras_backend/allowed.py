"""The allowed set A of the spec, and the bias that follows from positions, in ``keras.ops``, whatever is below it.

Axes on which nothing varies have size 1. Keras is imported in the functions: what a kernel declares can be read without
it.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from attnbench.api import Call

Tensor = Any  # of PyTorch, JAX or NumPy


def allowed_keys(call: Call) -> Bool[Tensor, "#B #Hq Tq S"] | None:
    """The allowed set A, or ``None`` where every query attends to every key."""
    from keras import ops

    spec, sizes = call.spec, call.sizes
    i, j = ops.arange(sizes.Tq)[:, None], ops.arange(sizes.S)
    ahead = j - positions(call)  # how far the key stands behind the query
    left, right = spec.window or (None, None)
    rules: list[Tensor] = []
    if call.kv_lengths is not None:
        rules.append(j < call.kv_lengths[:, None, None, None])
    if call.q_lengths is not None:
        rules.append(i < call.q_lengths[:, None, None, None])
    if spec.causal and not sees_the_end(call):
        rules.append(ahead <= 0)
    if left is not None:
        rules.append(ahead >= -left)
    if right is not None:
        rules.append(ahead <= right)
    if call.q_segments is not None:
        rules.append(call.q_segments[:, None, :, None] == call.kv_segments[:, None, None, :])
    if call.mask is not None:
        rules.append(call.mask)
    if call.bias is not None:
        rules.append(call.bias != -math.inf)
    if not rules:
        return None
    allowed = reduce(ops.logical_and, rules)
    lead = (1,) * (4 - len(allowed.shape)) + tuple(allowed.shape[:-2])
    return ops.broadcast_to(allowed, (*lead, sizes.Tq, sizes.S))


def sees_the_end(call: Call) -> bool:
    """Whether even the first query stands at or behind the last key, as in decoding: then causal excludes nothing."""
    return isinstance(call.offset, int) and call.offset >= call.sizes.S - 1


def only_causal(call: Call) -> bool:
    """Whether a top-left causal mask is the only restriction, so that ``is_causal`` says it all without a mask."""
    others = (call.mask, call.bias, call.q_lengths, call.kv_lengths, call.q_segments)
    top_left = call.spec.causal and isinstance(call.offset, int) and call.offset == 0
    return top_left and not sees_the_end(call) and call.spec.window is None and all(a is None for a in others)


def positions(call: Call) -> Int[Tensor, "#B 1 Tq 1"]:
    """p_i = i + offset_b: where the queries stand among the keys."""
    from keras import ops

    offset = call.offset if isinstance(call.offset, int) else call.offset[:, None, None, None]
    return ops.arange(call.sizes.Tq)[None, None, :, None] + offset


def zero_without_keys(
    output: Float[Tensor, "B Hq Tq Dv"], allowed: Bool[Tensor, "#B #Hq Tq S"] | None
) -> Float[Tensor, "B Hq Tq Dv"]:
    """By itself Keras gives a row without keys the mean of all values, for its logits are all the same large number."""
    from keras import ops

    return output if allowed is None else ops.where(ops.any(allowed, -1, keepdims=True), output, 0)
