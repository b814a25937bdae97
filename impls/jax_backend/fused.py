"""``jax/fused``: learned scores in one expression, for XLA to fuse.

XLA may compute the tanh inside the sum over hidden units where both stand in one expression; an ``einsum`` hands the
array to a matrix product, which has to be given it. By its own account XLA's CPU code then stores nothing; with jaxlib
0.10 the library that it calls for the sum (``ynn_fusion``) was observed to hold the whole array all the same.
``jax/blocked`` relies on nobody: it sums over the hidden units one after the other. The tanh is computed again in the
backward pass (``jax.checkpoint``). Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array, lax

from attnbench.api import AttentionOutput, Capabilities, Precision, implementation
from attnbench.impls.jax_backend.allowed import allowed_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float

    from attnbench.api import Call

# As observed of XLA's CPU code: subnormals are zero, and its tanh and exp are this far off (see jax/naive).
IN_FLOAT32 = Precision(accumulate="float32", softmax="float32", tanh_ulp=5.0, flush=True)
IN_FLOAT64 = Precision(accumulate="float64", softmax="float64", exp_ulp=2.0, tanh_ulp=8.0, flush=True)

LEARNED = Capabilities(
    scores=("dot", "general", "additive", "concat"),
    dtypes=("float64", "float32", "bfloat16", "float16"),
    devices=("cpu", "cuda"),
    causal=True,
    gqa=True,
    lse=True,
    gradients=True,
    precision={"float64": IN_FLOAT64, "float32": IN_FLOAT32, "bfloat16": IN_FLOAT32, "float16": IN_FLOAT32},
    lacks={"stages": "it is about what is not stored"}
    | dict.fromkeys(
        ("mask", "window", "lengths", "segments", "batch_offset"),
        "it is there to compare what a learned score costs, and is held to what that needs",
    ),
)


@implementation("jax/fused", LEARNED)
def fused(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """The sum over hidden units in one expression, for XLA to fuse."""
    with jax.default_matmul_precision("highest"):
        return attend(q, k, v, call)


def at_once(
    query: Float[Array, "B Hq Tq Da"], key: Float[Array, "B Hq S Da"], v: Float[Array, "Hq Da"]
) -> Float[Array, "B Hq Tq S"]:
    """Σ_a v_a · tanh(query_a + key_a), the sum over hidden units."""

    def summed(query: Array, key: Array, v: Array) -> Array:
        return (jnp.tanh(query[:, :, :, None, :] + key[:, :, None, :, :]) * v[:, None, None, :]).sum(-1)

    scores: Array = jax.checkpoint(summed)(query, key, v)
    return scores


def attend(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend, computed in float32 (float64 in float64)."""
    dtype = q.dtype
    wide = jnp.float64 if dtype == jnp.float64 else jnp.float32
    params = {name: param.astype(wide) for name, param in call.params.items()}
    allowed = allowed_keys(call)
    logits = scores_of(q.astype(wide), k.astype(wide), call.spec.score, params)
    if not call.spec.unscaled:
        logits = logits * call.scale
    if allowed is not None:
        logits = jnp.where(allowed, logits, -jnp.inf)
    weights, lse = softmax(logits)
    shared = weights.reshape(weights.shape[0], v.shape[1], -1, weights.shape[3])
    output = (shared @ v.astype(wide)).reshape(*weights.shape[:3], v.shape[3])
    return AttentionOutput(output.astype(dtype), lse=lse if call.wants("lse") else None)


def scores_of(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    score: str,
    params: Mapping[str, Float[Array, " ..."]],
) -> Float[Array, "B Hq Tq S"]:
    """The score of every query and key before the scale."""
    if score in ("dot", "general"):
        query = q @ params["W"] if score == "general" else q
        return (query.reshape(q.shape[0], k.shape[1], -1, k.shape[3]) @ k.mT).reshape(*q.shape[:3], k.shape[2])
    d = q.shape[-1]
    keys = jnp.repeat(k, q.shape[1] // k.shape[1], axis=1)  # the keys' weights differ between query heads of a group
    unit_weights = jnp.broadcast_to(params["v"], (q.shape[1], params["v"].shape[-1]))
    if score == "concat":
        return at_once(q @ params["W"][:, :d], keys @ params["W"][:, d:], unit_weights)
    return at_once(q @ params["Wq"] + params["b"][:, None, :], keys @ params["Wk"], unit_weights)


def softmax(logits: Float[Array, "B Hq Tq S"]) -> tuple[Float[Array, "B Hq Tq S"], Float[Array, "B Hq Tq"]]:
    """P and lse; a row without keys has no weight, and −inf."""
    row_max = lax.stop_gradient(logits).max(-1, keepdims=True)
    shift = jnp.where(jnp.isneginf(row_max), 0.0, row_max)
    terms = jnp.exp(logits - shift)
    total = terms.sum(-1, keepdims=True)
    some = total != 0
    total = jnp.where(some, total, 1.0)
    return terms / total, jnp.where(some, shift + jnp.log(total), -jnp.inf).squeeze(-1)
