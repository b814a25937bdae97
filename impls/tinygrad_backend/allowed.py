"""The allowed set A of the spec, and the bias that follows from positions, as tinygrad tensors.

Axes on which nothing varies have size 1.
"""

from __future__ import annotations

import math
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

from tinygrad.tensor import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from attnbench.api import Call


def allowed_keys(call: Call) -> Bool[Tensor, "#B #Hq Tq S"] | None:
    """The allowed set A, or ``None`` where every query attends to every key."""
    spec, sizes = call.spec, call.sizes
    i = counted(sizes.Tq).reshape(-1, 1)
    j = counted(sizes.S)
    p = positions(call)
    left, right = spec.window or (None, None)
    rules: list[Tensor] = []
    if call.kv_lengths is not None:
        rules.append(j < call.kv_lengths.reshape(-1, 1, 1, 1))
    if call.q_lengths is not None:
        rules.append(i < call.q_lengths.reshape(-1, 1, 1, 1))
    if spec.causal and not sees_the_end(call):
        rules.append(j <= p)
    if left is not None:
        rules.append(j >= p - left)
    if right is not None:
        rules.append(j <= p + right)
    if call.q_segments is not None:
        rules.append(call.q_segments.unsqueeze(1).unsqueeze(-1) == call.kv_segments.unsqueeze(1).unsqueeze(1))
    if call.mask is not None:
        rules.append(call.mask)
    if call.bias is not None:
        rules.append(call.bias != -math.inf)
    if not rules:
        return None
    allowed = reduce(and_, rules)
    lead = (1,) * (4 - allowed.ndim) + tuple(allowed.shape[:-2])
    return allowed.expand(*lead, sizes.Tq, sizes.S)


def counted(n: int) -> Int[Tensor, " n"]:
    """0 to n − 1."""
    numbers: Tensor = Tensor.arange(n)
    return numbers


def sees_the_end(call: Call) -> bool:
    """Whether even the first query stands at or behind the last key, as in decoding: then causal excludes nothing."""
    return isinstance(call.offset, int) and call.offset >= call.sizes.S - 1


def positions(call: Call) -> Int[Tensor, "#B 1 Tq 1"]:
    """p_i = i + offset_b: where the queries stand among the keys."""
    offset = call.offset if isinstance(call.offset, int) else call.offset.reshape(-1, 1, 1, 1)
    return counted(call.sizes.Tq).reshape(1, 1, -1, 1) + offset


def alibi(call: Call) -> Float[Tensor, "#B Hq Tq S"]:
    """−slope_h · abs(p_i − j) (Press 2021), in the dtype of the slopes."""
    distance = (positions(call) - counted(call.sizes.S)).abs().cast(call.slopes.dtype)
    biases: Tensor = -call.slopes.reshape(-1, 1, 1) * distance
    return biases
