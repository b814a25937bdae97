"""Which keys a query may attend, as operators of OpenVINO: whatever the operator does not know is in its mask."""

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


def allowed_keys(q: Float[Traced, "B Hq Tq D"], call: Call) -> Bool[Traced, "#B #Hq Tq S"] | None:
    """True where a query may attend, by all but the bias; ``None`` where nothing restricts."""
    sizes, rules = call.sizes, _by_position(call)
    if call.kv_lengths is not None:
        rules.append(ops.less(_counting(sizes.S, (1, 1, 1, sizes.S)), _by_entry(call.kv_lengths)))
    if call.q_lengths is not None:
        rules.append(ops.less(_counting(sizes.Tq, (1, 1, sizes.Tq, 1)), _by_entry(call.q_lengths)))
    if call.q_segments is not None:
        queries = reshaped(call.q_segments, (sizes.B, 1, sizes.Tq, 1))
        rules.append(ops.equal(queries.output, reshaped(call.kv_segments, (sizes.B, 1, 1, sizes.S)).output))
    if call.mask is not None:
        rules.append(call.mask.output)
    if not rules:
        return None
    node = ops.convert(reduce(ops.logical_and, rules), "boolean")
    return _whole(traced(q, node), call)


def added(
    q: Float[Traced, "B Hq Tq D"], call: Call, allowed: Bool[Traced, "#B #Hq Tq S"] | None
) -> Float[Traced, "#B #Hq Tq S"] | None:
    """What is added to the logits, in the dtype of q: the bias and ALiBi, and −inf where nothing may be attended."""
    terms = [] if call.bias is None else [cast(call.bias, q.dtype).output]
    if call.slopes is not None:  # −slope_h · abs(p_i − j) (Press 2021)
        distance = ops.convert(ops.abs(ops.subtract(*_places(call))), q.dtype.replace("float", "f"))
        slopes = reshaped(cast(call.slopes, q.dtype), (1, call.sizes.Hq, 1, 1))
        terms.append(ops.negative(ops.multiply(slopes.output, distance)))
    if not terms and allowed is None:
        return None
    total = reduce(ops.add, terms) if terms else constant(0.0, q.dtype)
    if allowed is not None:
        total = ops.select(allowed.output, total, constant(-math.inf, q.dtype))
    return _whole(traced(q, total), call)


def zero_where_nothing_is_allowed(
    output: Float[Traced, "B Hq Tq Dv"], mask: Float[Traced, "#B #Hq Tq S"] | None
) -> Float[Traced, "B Hq Tq Dv"]:
    """The output, and 0 in rows of which every key is excluded by the mask."""
    if mask is None:
        return output
    best = ops.reduce_max(mask.output, constant([3], "int64"), True)
    dead = ops.equal(best, constant(-math.inf, mask.dtype))
    return traced(output, ops.select(dead, constant(0.0, output.dtype), output.output))


def sees_the_end(call: Call) -> bool:
    """Whether even the first query stands at or behind the last key, as in decoding: then causal excludes nothing."""
    return isinstance(call.offset, int) and call.offset >= call.sizes.S - 1


def only_causal(call: Call) -> bool:
    """Whether a top-left causal rule is the only restriction: the operator has one, and ignores its mask then."""
    others = (call.mask, call.bias, call.q_lengths, call.kv_lengths, call.q_segments, call.slopes)
    top_left = call.spec.causal and isinstance(call.offset, int) and call.offset == 0
    return top_left and not sees_the_end(call) and call.spec.window is None and all(x is None for x in others)


def _by_position(call: Call) -> list[Any]:
    """The rules of causality and window, (#B, 1, Tq, S)."""
    left, right = call.spec.window or (None, None)
    p, j = _places(call)
    rules = [] if not call.spec.causal or sees_the_end(call) else [ops.less_equal(j, p)]
    if left is not None:
        rules.append(ops.greater_equal(j, ops.subtract(p, constant(left, "int64"))))
    if right is not None:
        rules.append(ops.less_equal(j, ops.add(p, constant(right, "int64"))))
    return rules


def _places(call: Call) -> tuple[Any, Any]:
    """p_i = i + offset_b (#B, 1, Tq, 1), where the queries stand among the keys, and the places of the keys."""
    i = _counting(call.sizes.Tq, (1, 1, call.sizes.Tq, 1))
    offset = constant(call.offset, "int64") if isinstance(call.offset, int) else _by_entry(call.offset)
    return ops.add(i, offset), _counting(call.sizes.S, (1, 1, 1, call.sizes.S))


def _counting(number: int, shape: tuple[int, ...]) -> Any:
    """0, 1, … in int64."""
    return constant(np.arange(number).reshape(shape), "int64")


def _by_entry(given: Int[Traced, " B"]) -> Any:
    """Whole numbers, one for each batch entry, (B, 1, 1, 1) in int64."""
    return cast(reshaped(given, (*given.shape, 1, 1, 1)), "int64").output


def _whole(mask: Traced, call: Call) -> Traced:
    """With all queries and keys."""
    return expanded(mask, (*mask.shape[:2], call.sizes.Tq, call.sizes.S))
