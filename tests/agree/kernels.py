"""Correct kernels of other kinds than numpy/naive, and faulty ones, for testing the bounds. All in float32, dot score.

``sequential`` adds one key after the other, forward and backward, as a plain loop does; ``online`` keeps a running
maximum over tiles (flash attention); ``casting`` rounds P to the input's dtype before P·V. The faults are those that
docs/agreement.md quotes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from attnbench.api import AttentionOutput, Call, Capabilities, Implementation, Precision, implementation
from attnbench.attention.arrays import Array

ABLE = Capabilities(
    dtypes=("float32", "bfloat16", "float16"),
    causal=True,
    gqa=True,
    mask=True,
    bias=True,
    lse=True,
    nan_isolation=False,
)
F32 = np.float32


def raising(*_: Any) -> Any:
    """A kernel that computes nothing and raises."""
    msg = "not today"
    raise RuntimeError(msg)


def allowed_of(call: Call) -> Array:
    s = call.sizes
    allowed = np.ones((1, 1, s.Tq, s.S), bool)
    if call.spec.causal:
        allowed = allowed & (np.arange(s.S)[None, :] <= np.arange(s.Tq)[:, None] + call.offset)
    if call.mask is not None:
        allowed = allowed & call.mask
    return np.broadcast_to(allowed, (s.B, s.Hq, s.Tq, s.S))


def per_head(x: Array, call: Call) -> Array:
    return np.repeat(x.astype(F32), call.sizes.group, axis=1) if call.sizes.group > 1 else x.astype(F32)


def added(terms: Any) -> Array:
    """A sum in the order of the terms, one rounding for each."""
    total: Array | None = None
    for term in terms:
        total = term if total is None else total + term
    assert total is not None
    return total


def scores_of(q: Array, k: Array, call: Call) -> Array:
    products = (q.astype(F32)[..., :, None, d] * k[..., None, :, d] for d in range(call.sizes.D))
    return added(products) * F32(call.scale)


def logits_of(q: Array, k: Array, call: Call) -> Array:
    scores = scores_of(q, k, call)
    return scores if call.bias is None else scores + call.bias.astype(F32)


def sequential_stages(q: Array, k: Array, v: Array, call: Call) -> tuple[Array, Array, Array]:
    keys, values, allowed = per_head(k, call), per_head(v, call), allowed_of(call)
    logits = np.where(allowed, logits_of(q, keys, call), F32(-np.inf))
    top = logits.max(-1, keepdims=True)
    top = np.where(np.isneginf(top), F32(0), top)
    terms = np.exp(logits - top)
    total = added(terms[..., j, None] for j in range(call.sizes.S))
    safe = np.where(total == 0, F32(1), total)
    weights = terms / safe
    output = added(weights[..., j, None] * values[..., None, j, :] for j in range(call.sizes.S))
    lse = np.where(total == 0, F32(-np.inf), top + np.log(safe))[..., 0]
    return weights, output, lse


def sequential_vjp(q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None) -> dict[str, Array]:
    weights, _, lse = sequential_stages(q, k, v, call)
    keys, values, d_out = per_head(k, call), per_head(v, call), d_output.astype(F32)
    live = allowed_of(call).any(-1, keepdims=True)
    d_out = np.where(live, d_out, F32(0))
    s = call.sizes
    d_weights = added(d_out[..., :, None, c] * values[..., None, :, c] for c in range(s.Dv))
    delta = added(weights[..., j, None] * d_weights[..., j, None] for j in range(s.S))
    d_row = -delta if d_lse is None else np.where(np.isneginf(lse), F32(0), d_lse)[..., None] - delta
    d_logits = weights * (d_weights + d_row)
    d_scores = d_logits * F32(call.scale)
    d_q = added(d_scores[..., j, None] * keys[..., None, j, :] for j in range(s.S))
    rows = [(slice(None), slice(None), i) for i in range(s.Tq)]
    d_k = added(d_scores[at][..., None] * q.astype(F32)[at][..., None, :] for at in rows)
    d_v = added(weights[at][..., None] * d_out[at][..., None, :] for at in rows)
    shared = (s.B, s.Hkv, s.group, s.S, -1)
    grads = {"q": d_q, "k": d_k.reshape(shared).sum(2), "v": d_v.reshape(shared).sum(2)}
    if call.bias is not None:
        grads["bias"] = d_logits.sum(tuple(a for a, n in enumerate(call.bias.shape) if n == 1), keepdims=True)
    dtypes = {"q": q.dtype, "k": k.dtype, "v": v.dtype} | ({} if call.bias is None else {"bias": call.bias.dtype})
    return {name: grad.astype(dtypes[name]) for name, grad in grads.items()}


@implementation("numpy/sequential", ABLE, vjp=sequential_vjp)
def sequential(q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
    _, output, lse = sequential_stages(q, k, v, call)
    return AttentionOutput(output.astype(q.dtype), lse=lse if call.wants("lse") else None)


@implementation("numpy/online", ABLE)
def online(q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
    keys, values, allowed = per_head(k, call), per_head(v, call), allowed_of(call)
    s = call.sizes
    top = np.full((s.B, s.Hq, s.Tq, 1), -np.inf, F32)
    total, output = np.zeros_like(top), np.zeros((s.B, s.Hq, s.Tq, s.Dv), F32)
    everything = np.where(allowed, logits_of(q, keys, call), F32(-np.inf))
    for start in range(0, s.S, 16):
        tile = slice(start, start + 16)
        logits = everything[..., tile]
        higher = np.maximum(top, logits.max(-1, keepdims=True))
        shift = np.where(np.isneginf(higher), F32(0), higher)
        terms, decay = np.exp(logits - shift), np.exp(np.where(np.isneginf(top), F32(-np.inf), top - shift))
        total = total * decay + terms.sum(-1, keepdims=True)
        output = output * decay + terms @ values[..., tile, :]
        top = higher
    safe = np.where(total == 0, F32(1), total)
    lse = np.where(total == 0, F32(-np.inf), np.where(np.isneginf(top), F32(0), top) + np.log(safe))[..., 0]
    return AttentionOutput((output / safe).astype(q.dtype), lse=lse if call.wants("lse") else None)


CASTS = {dtype: Precision(p_cast=dtype) for dtype in ("bfloat16", "float16")}


@implementation("numpy/casting", replace(ABLE, precision=CASTS))
def casting(q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
    weights, _, lse = sequential_stages(q, k, v, call)
    low = weights.astype(q.dtype).astype(F32)
    return AttentionOutput((low @ per_head(v, call)).astype(q.dtype), lse=lse if call.wants("lse") else None)


def faulty(
    name: str,
    *,
    logits: Callable[[Array, Call], Array] = lambda x, _: x,
    values: Callable[[Array], Array] = lambda x: x,
    output: Callable[[Array], Array] = lambda x: x,
) -> Implementation:
    """A float32 kernel with one fault in its logits, its values or its output."""

    def attend(q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        keys = per_head(k, call)
        raw = (q.astype(F32) @ np.swapaxes(keys, -1, -2)) * F32(call.scale)
        kept = np.where(allowed_of(call), logits(raw, call), F32(-np.inf))
        top = kept.max(-1, keepdims=True)
        terms = np.exp(kept - np.where(np.isneginf(top), F32(0), top))
        total = terms.sum(-1, keepdims=True)
        result = (terms / np.where(total == 0, F32(1), total)) @ values(per_head(v, call))
        return AttentionOutput(output(result).astype(q.dtype))

    return Implementation(f"numpy/{name}", replace(ABLE, lse=False), attend)


def _drop_last_key(logits: Array, _: Call) -> Array:
    logits[..., -1] = -np.inf
    return logits


def _through(dtype: Any) -> Callable[[Array], Array]:
    return lambda x: x.astype(dtype).astype(F32)


def _tf32(x: Array) -> Array:
    """Rounded to the 11 bits of TF32."""
    bits = x.astype(F32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(F32)


FAULTS: dict[str, Implementation] = {
    "scale": faulty("scale", logits=lambda x, call: x * F32(np.sqrt(call.sizes.D / (call.sizes.D + 1)))),
    "temperature": faulty("temperature", logits=lambda x, _: x * F32(1.01)),
    "last key": faulty("last-key", logits=_drop_last_key),
    "bfloat16 logits": faulty("bfloat16-logits", logits=lambda x, _: _through(ml_dtypes.bfloat16)(x)),
    "TF32 logits": faulty("tf32-logits", logits=lambda x, _: _tf32(x)),
    "float16 values": faulty("float16-values", values=_through(np.float16)),
    "output": faulty("output", output=lambda x: x * F32(1.003)),
}
NONE = faulty("no-fault")
