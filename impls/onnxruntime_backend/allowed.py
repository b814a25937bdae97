"""Which keys a query may attend, as operators of ONNX: whatever a node does not know is folded into its mask.

None of it depends on the values of q, k and v; what depends on sizes alone onnxruntime computes as it makes a session.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from attnbench.impls.onnxruntime_backend.graph import cast, constant, counting, expanded, numbers, op, reshaped

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from attnbench.api import Call
    from attnbench.impls.onnxruntime_backend.graph import Symbol


# The lowest finite number and the one above it.
LOWEST = {
    dtype: (float(np.finfo(dtype).min), float(np.nextafter(np.finfo(dtype).min, np.array(0, dtype))))
    for dtype in ("float32", "float16")
}


def allowed_keys(
    q: Float[Symbol, "B Hq Tq D"], call: Call, *, causal: bool = True, lengths: bool = True, window: bool = True
) -> Bool[Symbol, "#B #Hq Tq S"] | None:
    """True where a query may attend, by all but the bias; ``None`` where nothing restricts.

    Without ``causal`` the causal rule is left to the node, without ``lengths`` the lengths of the keys, without
    ``window`` the window.
    """
    sizes = call.sizes
    rules = _by_position(q, call, causal=causal, window=window)
    j = counting(q, sizes.S, (1, 1, 1, sizes.S))
    if call.kv_lengths is not None and lengths:
        rules.append(op("Less", j, _by_entry(call.kv_lengths), dtype="bool"))
    if call.q_lengths is not None:
        i = counting(q, sizes.Tq, (1, 1, sizes.Tq, 1))
        rules.append(op("Less", i, _by_entry(call.q_lengths), dtype="bool"))
    if call.q_segments is not None:
        queries = reshaped(call.q_segments, (sizes.B, 1, sizes.Tq, 1))
        rules.append(op("Equal", queries, reshaped(call.kv_segments, (sizes.B, 1, 1, sizes.S)), dtype="bool"))
    if call.mask is not None:
        rules.append(call.mask)
    if not rules:
        return None
    allowed: Symbol = reduce(lambda a, b: op("And", a, b), rules)
    return expanded(allowed, (*allowed.shape[:2], sizes.Tq, sizes.S))


def added(
    q: Float[Symbol, "B Hq Tq D"], call: Call, allowed: Bool[Symbol, "#B #Hq Tq S"] | None
) -> Float[Symbol, "#B #Hq Tq S"] | None:
    """What is added to the logits, in the dtype of q: the bias and ALiBi, and −inf where nothing may be attended."""
    terms = [] if call.bias is None else [above_the_lowest(cast(call.bias, q.dtype))]
    if call.slopes is not None:  # −slope_h · abs(p_i − j) (Press 2021)
        distance = op("Abs", op("Sub", *_places(q, call)))
        slopes = reshaped(cast(call.slopes, q.dtype), (1, call.sizes.Hq, 1, 1))
        terms.append(op("Neg", op("Mul", slopes, cast(distance, q.dtype))))
    if allowed is not None:
        excluded = [constant(q, number, q.dtype) for number in (0.0, -math.inf)]
        if not terms:
            return op("Where", allowed, *excluded, dtype=q.dtype)
        terms = [op("Where", allowed, reduce(lambda a, b: op("Add", a, b), terms), excluded[1], dtype=q.dtype)]
    if not terms:
        return None
    total: Symbol = reduce(lambda a, b: op("Add", a, b), terms)
    return expanded(total, (*total.shape[:2], call.sizes.Tq, call.sizes.S))


def above_the_lowest(bias: Float[Symbol, "#B #Hq #Tq #S"]) -> Float[Symbol, "#B #Hq #Tq #S"]:
    """The bias with the lowest finite number moved by one rounding.

    Onnxruntime 1.32 writes that number where its own masks exclude a key, and takes a row of nothing else for one
    without a key. Any logit is rounded by as much at this size.
    """
    lowest, next_to_it = (constant(bias, number, bias.dtype) for number in LOWEST[bias.dtype])
    return op("Where", op("Equal", bias, lowest, dtype="bool"), next_to_it, bias, dtype=bias.dtype, shape=bias.shape)


def zero_where_nothing_is_allowed(
    output: Float[Symbol, "B Hq Tq Dv"], mask: Float[Symbol, "#B #Hq Tq S"] | None
) -> Float[Symbol, "B Hq Tq Dv"]:
    """The output, and 0 in rows of which every key is excluded by an added mask."""
    if mask is None:
        return output
    shape = (*mask.shape[:3], 1)
    best = op("ReduceMax", mask, numbers(mask, (-1,)), shape=shape, keepdims=1)
    dead = op("Equal", best, constant(mask, -math.inf, mask.dtype), dtype="bool")
    return op("Where", dead, constant(output, 0.0, output.dtype), output, dtype=output.dtype)


def sees_the_end(call: Call) -> bool:
    """Whether even the first query stands at or behind the last key, as in decoding: then causal excludes nothing."""
    return isinstance(call.offset, int) and call.offset >= call.sizes.S - 1


def _by_position(
    q: Float[Symbol, "B Hq Tq D"], call: Call, *, causal: bool, window: bool
) -> list[Bool[Symbol, "#B 1 Tq S"]]:
    """The rules of causality and window."""
    left, right = (call.spec.window if window else None) or (None, None)
    bounds: list[tuple[str, int]] = []
    if causal and call.spec.causal and not sees_the_end(call):
        bounds.append(("LessOrEqual", 0))
    if left is not None:
        bounds.append(("GreaterOrEqual", -left))
    if right is not None:
        bounds.append(("LessOrEqual", right))
    if not bounds:
        return []
    p, j = _places(q, call)
    return [op(kind, j, op("Add", p, shift), dtype="bool") for kind, shift in bounds]


def _places(q: Float[Symbol, "B Hq Tq D"], call: Call) -> tuple[Int[Symbol, "#B 1 Tq 1"], Int[Symbol, "1 1 1 S"]]:
    """p_i = i + offset_b, where the queries stand among the keys, and the places of the keys."""
    i = counting(q, call.sizes.Tq, (1, 1, call.sizes.Tq, 1))
    offset = call.offset if isinstance(call.offset, int) else _by_entry(call.offset)
    return op("Add", i, offset), counting(q, call.sizes.S, (1, 1, 1, call.sizes.S))


def _by_entry(given: Int[Symbol, " B"]) -> Int[Symbol, "B 1 1 1"]:
    """Whole numbers, one for each batch entry, in int64."""
    return cast(reshaped(given, (*given.shape, 1, 1, 1)), "int64")
