"""``numpy/loops``: the definition, written out with Python loops over batch, head, query and key.

Slow on purpose: what it does can be checked with a finger on the formula. It adds up in float64 and takes at most
4,096 pairs of query and key.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attnbench.api import Array, AttentionOutput, Call, Capabilities, Limit, Precision, implementation


def at(array: Array, *index: int) -> Any:
    """One element of an array that is broadcast to a larger shape."""
    return array[tuple(i if n > 1 else 0 for i, n in zip(index, array.shape, strict=True))]


def is_allowed(call: Call, b: int, h: int, i: int, j: int) -> bool:
    """Whether key j is in A_i."""
    p = i + (call.offset if isinstance(call.offset, int) else int(call.offset[b]))
    left, right = call.spec.window or (None, None)
    return not (
        (call.kv_lengths is not None and j >= call.kv_lengths[b])
        or (call.q_lengths is not None and i >= call.q_lengths[b])
        or (call.spec.causal and j > p)
        or (left is not None and j < p - left)
        or (right is not None and j > p + right)
        or (call.mask is not None and not at(call.mask, b, h, i, j))
        or (call.bias is not None and at(call.bias, b, h, i, j) == -np.inf)
    )


def logit(call: Call, q: Array, k: Array, b: int, h: int, i: int, j: int) -> float:
    """cap(q·k · scale) + bias."""
    scale = call.scale if isinstance(call.scale, float) else float(call.scale[h])
    score = math.fsum(float(q[b, h, i, d]) * float(k[b, h // call.sizes.group, j, d]) for d in range(call.sizes.D))
    score *= scale
    if call.spec.softcap is not None:
        score = call.spec.softcap * math.tanh(score / call.spec.softcap)
    return score if call.bias is None else score + float(at(call.bias, b, h, i, j))


def attend_one(call: Call, q: Array, k: Array, v: Array, b: int, h: int, i: int) -> tuple[list[float], float]:
    """One row: its output and its lse."""
    keys = [j for j in range(call.sizes.S) if is_allowed(call, b, h, i, j)]
    if not keys:
        return [0.0] * call.sizes.Dv, -math.inf
    logits = [logit(call, q, k, b, h, i, j) for j in keys]
    if any(math.isnan(x) for x in logits):
        return [math.nan] * call.sizes.Dv, math.nan
    m = max(logits)
    terms = [math.exp(x - m) for x in logits]
    total = math.fsum(terms)
    values = [[float(v[b, h // call.sizes.group, j, c]) for j in keys] for c in range(call.sizes.Dv)]
    return [math.fsum(t * x for t, x in zip(terms, column, strict=True)) / total for column in values], m + math.log(
        total
    )


@implementation(
    "numpy/loops",
    Capabilities(
        dtypes=("float64", "float32", "bfloat16", "float16"),
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
        precision={
            name: Precision(accumulate="float64", softmax="float64")
            for name in ("float64", "float32", "bfloat16", "float16")
        },
        limits=(Limit("Tq*S", at_most=4096, reason="Python loops over every pair of query and key"),),
        lacks={"gradients": "it is the definition of the forward pass only"},
    ),
)
def loops(q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
    """Attend, one query after the other."""
    shape = (call.sizes.B, call.sizes.Hq, call.sizes.Tq)
    output, lse = np.empty((*shape, call.sizes.Dv), q.dtype), np.empty(shape)
    for b, h, i in np.ndindex(*shape):
        output[b, h, i], lse[b, h, i] = attend_one(call, q, k, v, b, h, i)
    wide = np.float64 if call.dtype == "float64" else np.float32
    return AttentionOutput(output, lse=lse.astype(wide) if call.wants("lse") else None)
