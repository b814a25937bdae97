"""Which keys a query may attend, as operators of OpenVINO: everything is folded into one mask that is added.

The operator's row without a key is NaN. So such a row is allowed every key here, and the adapter writes 0 over it in
the array that comes back: an operator behind the attention that does so has wrong outputs (docs/backends.md).
"""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.impls.openvino_backend.graph import cast, constant, expanded, ops, reshaped, traced

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from attnbench.api import Call
    from attnbench.impls.openvino_backend.graph import Traced


def added(q: Float[Traced, "B Hq Tq D"], call: Call) -> Float[Traced, "#B #Hq Tq S"] | None:
    """What is added to the logits in float32, and −inf where nothing may be attended; ``None`` where nothing is."""
    terms = [] if call.bias is None else [cast(call.bias, "float32")]
    if call.slopes is not None:  # −slope_h · abs(p_i − j) (Press 2021)
        p, j = _places(q, call)
        distance = traced(q, ops.absolute(ops.subtract(p.output, j.output)))
        slopes = reshaped(cast(call.slopes, "float32"), (1, call.sizes.Hq, 1, 1))
        product = ops.multiply(slopes.output, cast(distance, "float32").output)
        terms.append(traced(q, ops.negative(product)))
    allowed = allowed_keys(q, call)
    if not terms and allowed is None:
        return None
    zero = traced(q, constant(0.0, "float32"))
    total: Traced = reduce(lambda a, b: traced(q, ops.add(a.output, b.output)), terms or [zero])
    if allowed is not None:
        total = traced(q, ops.select(allowed.output, total.output, constant(-math.inf, "float32")))
    return expanded(total, (*total.shape[:2], call.sizes.Tq, call.sizes.S))


def without_dead_rows(
    mask: Float[Traced, "#B #Hq Tq S"],
) -> tuple[Float[Traced, "#B #Hq Tq S"], Bool[Traced, "#B #Hq Tq 1"]]:
    """The mask with 0 in the rows without a key, and which rows these are."""
    excluded = ops.equal(mask.output, constant(-math.inf, "float32"))  # ReduceMax and Equal miss them
    dead = ops.reduce_logical_and(excluded, constant((-1,), "int64"), keep_dims=True)
    return traced(mask, ops.select(dead, constant(0.0, "float32"), mask.output)), traced(mask, dead)


def allowed_keys(q: Float[Traced, "B Hq Tq D"], call: Call) -> Bool[Traced, "#B #Hq #Tq S"] | None:
    """True where a query may attend, by all but the bias; ``None`` where nothing restricts."""
    sizes = call.sizes
    rules = _by_position(q, call)
    if call.kv_lengths is not None:
        rules.append(ops.less(_counting(sizes.S, (1, 1, 1, sizes.S)), _by_entry(call.kv_lengths).output))
    if call.q_lengths is not None:
        rules.append(ops.less(_counting(sizes.Tq, (1, 1, sizes.Tq, 1)), _by_entry(call.q_lengths).output))
    if call.q_segments is not None:
        queries = reshaped(call.q_segments, (sizes.B, 1, sizes.Tq, 1))
        rules.append(ops.equal(queries.output, reshaped(call.kv_segments, (sizes.B, 1, 1, sizes.S)).output))
    if call.mask is not None:
        rules.append(call.mask.output)
    return traced(q, reduce(ops.logical_and, rules)) if rules else None


def sees_the_end(call: Call) -> bool:
    """Whether even the first query stands at or behind the last key, as in decoding: then causal excludes nothing."""
    return isinstance(call.offset, int) and call.offset >= call.sizes.S - 1


def by_head(
    x: Float[Traced, "#B #Hq Tq S"] | None, call: Call, *, stacked: bool
) -> Float[Traced, "#B #Hkv rows S"] | None:
    """The mask for query heads that share keys as rows of one head."""
    if x is None or not stacked:
        return x
    (b, heads, t, s), group = x.shape, call.sizes.group
    if heads > 1:
        return reshaped(x, (b, call.sizes.Hkv, group * t, s))
    return reshaped(expanded(reshaped(x, (b, 1, 1, t, s)), (b, 1, group, t, s)), (b, 1, group * t, s))


def _by_position(q: Float[Traced, "B Hq Tq D"], call: Call) -> list[Bool[Traced, "#B 1 Tq S"]]:
    """The rules of causality and window, as nodes."""
    left, right = call.spec.window or (None, None)
    bounds = [] if left is None else [(ops.greater_equal, -left)]
    if right is not None:
        bounds.append((ops.less_equal, right))
    if call.spec.causal and not sees_the_end(call):
        bounds.append((ops.less_equal, 0))
    if not bounds:
        return []
    p, j = _places(q, call)
    return [rule(j.output, ops.add(p.output, constant(shift, "int64"))) for rule, shift in bounds]


def _places(q: Float[Traced, "B Hq Tq D"], call: Call) -> tuple[Int[Traced, "#B 1 Tq 1"], Int[Traced, "1 1 1 S"]]:
    """p_i = i + offset_b, where the queries stand among the keys, and the places of the keys."""
    i = _counting(call.sizes.Tq, (1, 1, call.sizes.Tq, 1))
    offset = constant(call.offset, "int64") if isinstance(call.offset, int) else _by_entry(call.offset).output
    return traced(q, ops.add(i, offset)), traced(q, _counting(call.sizes.S, (1, 1, 1, call.sizes.S)))


def _counting(number: int, shape: tuple[int, ...]) -> Any:
    """0, 1, … as a node of this shape."""
    return constant(np.arange(number).reshape(shape), "int64")


def _by_entry(given: Int[Traced, " B"]) -> Int[Traced, "B 1 1 1"]:
    """Whole numbers, one for each batch entry, in int64."""
    return cast(reshaped(given, (*given.shape, 1, 1, 1)), "int64")
