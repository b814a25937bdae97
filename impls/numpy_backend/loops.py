"""``numpy/loops``: attention as its definition says it, one number after the other. Read it from top to bottom.

For query i of query head h in batch entry b, with the keys k_j and the values v_j of the key/value head that h reads:

    A   = the keys j that query i may attend                       allowed_keys
    s_j = cap(q_i · k_j · scale) + bias_ij         for j in A      logit
    m   = the largest s_j                                          attend_query
    w_j = exp(s_j − m)
    Z   = Σ w_j
    o   = Σ w_j v_j / Z                            the output of query i, Dv numbers
    lse = m + ln Z                                 what softmax divides by, as a logarithm

Dividing by exp(m) above and below the line changes nothing on paper, and on a computer no exponential overflows.

It is slow on purpose: all is Python loops over numbers in float64, and every sum is exact until it is rounded once, at
its end (``math.fsum``). So it takes at most 4,096 pairs of query and key.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.api import Array, AttentionOutput, Call, Capabilities, Limit, Precision, implementation

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

DTYPES = ("float64", "float32", "bfloat16", "float16")


# Which keys? The set A of one query.


def allowed_keys(call: Call, b: int, h: int, i: int) -> list[int]:
    """A: the keys that query i may attend, in their order."""
    return [j for j in range(call.sizes.S) if is_allowed(call, b, h, i, j)]


def is_allowed(call: Call, b: int, h: int, i: int, j: int) -> bool:
    """Whether key j is in A: nothing takes it away."""
    # Queries and keys need not begin at the same place: query i stands where key p stands.
    p = i + (call.offset if isinstance(call.offset, int) else int(call.offset[b]))
    left, right = call.spec.window or (None, None)
    return not (
        (call.kv_lengths is not None and j >= call.kv_lengths[b])  # the key does not exist
        or (call.q_lengths is not None and i >= call.q_lengths[b])  # the query does not exist
        or (call.spec.causal and j > p)  # the key lies in the future
        or (left is not None and j < p - left)  # it lies too far back
        or (right is not None and j > p + right)  # or too far ahead
        or (call.mask is not None and not at(call.mask, b, h, i, j))  # the mask says no
        or (call.bias is not None and at(call.bias, b, h, i, j) == -np.inf)  # and so does a bias of −inf
    )


def at(array: Shaped[Array, "#B #Hq #Tq #S"], *index: int) -> Any:
    """One element of an array that is broadcast: along an axis of size 1 its one element stands for all."""
    return array[tuple(i if n > 1 else 0 for i, n in zip(index, array.shape, strict=True))]


# How much? The logit of one query and one key.


def logit(
    call: Call, q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], b: int, h: int, i: int, j: int
) -> float:
    """s_j = cap(q_i · k_j · scale) + bias_ij."""
    g = key_value_head(call, h)
    score = math.fsum(float(q[b, h, i, d]) * float(k[b, g, j, d]) for d in range(call.sizes.D))
    score *= call.scale if isinstance(call.scale, float) else float(call.scale[h])
    cap = call.spec.softcap
    if cap is not None:  # bends the scores so that none lies beyond ±cap
        score = cap * math.tanh(score / cap)
    return score if call.bias is None else score + float(at(call.bias, b, h, i, j))


def key_value_head(call: Call, h: int) -> int:
    """The key/value head that query head h reads: neighbouring query heads share one."""
    return h // call.sizes.group


# What comes out? The softmax over A, and the sum of the values by its weights.


def attend_query(
    call: Call,
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    b: int,
    h: int,
    i: int,
) -> tuple[list[float], float]:
    """The output of one query, Dv numbers, and its lse."""
    keys = allowed_keys(call, b, h, i)
    if not keys:  # nothing to attend: no output, and the logarithm of an empty sum
        return [0.0] * call.sizes.Dv, -math.inf
    logits = [logit(call, q, k, b, h, i, j) for j in keys]
    if any(math.isnan(s) for s in logits):
        return [math.nan] * call.sizes.Dv, math.nan
    largest = max(logits)
    weights = [math.exp(s - largest) for s in logits]
    total = math.fsum(weights)
    g = key_value_head(call, h)
    output = []
    for column in range(call.sizes.Dv):
        values = [float(v[b, g, j, column]) for j in keys]
        output.append(math.fsum(weight * value for weight, value in zip(weights, values, strict=True)) / total)
    return output, largest + math.log(total)


# The same for every query, of every head, of every batch entry. What it can do is declared above it.


@implementation(
    "numpy/loops",
    Capabilities(
        dtypes=DTYPES,
        causal=True,
        gqa=True,
        mask=True,
        bias=True,
        window=True,
        lengths=True,
        softcap=True,
        head_scale=True,
        batch_offset=True,
        lse=True,
        nan_isolation=True,
        precision={name: Precision(accumulate="float64", softmax="float64") for name in DTYPES},
        limits=(Limit("Tq*S", at_most=4096, reason="Python loops over every pair of query and key"),),
        lacks={"gradients": "it is the definition of the forward pass only"},
    ),
)
def loops(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend, one query after the other."""
    queries = (call.sizes.B, call.sizes.Hq, call.sizes.Tq)
    output, lse = np.empty((*queries, call.sizes.Dv), q.dtype), np.empty(queries)
    for b, h, i in np.ndindex(*queries):
        output[b, h, i], lse[b, h, i] = attend_query(call, q, k, v, b, h, i)
    wide = np.float64 if call.dtype == "float64" else np.float32
    return AttentionOutput(output, lse=lse.astype(wide) if call.wants("lse") else None)
