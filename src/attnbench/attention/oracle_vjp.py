"""The oracle's gradients: the vector-Jacobian product of attention in float64, one head at a time.

With P the weights, r_ij = keep_ij/(1 − p) and dO the cotangent of the output:

    dP_ij = r_ij dO_i·v_j                 Δ_i = Σ_j P_ij dP_ij
    dL_ij = P_ij (dP_ij − Δ_i + dlse_i)   the logits; the sink likewise with dP = 0
    dv_j  = Σ_i P_ij r_ij dO_i            dS = dL (1 − tanh²) scale, then through the score

A row without an allowed key has gradient exactly 0, whatever stands in dO; so has a key that no row may attend.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.oracle import HeadReference, heads
from attnbench.attention.oracle_scores import SCORE

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from attnbench.attention.call import Call


def reference_vjp(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    call: Call,
    d_output: Float[Array, "B Hq Tq Dv"],
    d_lse: Float[Array, "B Hq Tq"] | None = None,
    rows: Int[Array, " T"] | None = None,
    pairs: Iterable[tuple[int, int]] | None = None,
    evaluated: Iterable[tuple[int, int, HeadReference]] | None = None,
) -> dict[str, Float[Array, " ..."]]:
    """Gradients in float64 by name: q, k, v, and bias, sinks, params.NAME where the call has them.

    Each gradient has the shape of its operand. With ``rows`` or ``pairs`` of (b, h) only these are evaluated: the
    cotangents ``d_output`` and ``d_lse`` must be zero in all others. ``evaluated`` are these heads, where somebody has
    evaluated them already.
    """
    grads = zeros_like_operands(q, k, v, call)
    group = call.sizes.group
    index = np.arange(call.sizes.Tq) if rows is None else np.asarray(rows)
    for b, h, head in evaluated or heads(q, k, v, call, index, pairs):
        d_row_lse = np.zeros(len(index)) if d_lse is None else d_lse[b, h][index].astype(np.float64)
        of_head = head_vjp(head, call, d_output[b, h][index].astype(np.float64), d_row_lse)
        grads["q"][b, h, index] += of_head["q"]
        grads["k"][b, h // group] += of_head["k"]
        grads["v"][b, h // group] += of_head["v"]
        if call.bias is not None:
            add_broadcast(grads["bias"], of_head["logits"], b, h, index)
        if call.sinks is not None:
            grads["sinks"][h] += of_head["sink"]
        for name, param in call.params.items():
            grads[f"params.{name}"][h if param.shape[0] > 1 else 0] += of_head[f"params.{name}"]
    return grads


def head_vjp(
    head: HeadReference, call: Call, d_output: Float[Array, "T Dv"], d_lse: Float[Array, " T"]
) -> dict[str, Any]:
    """Gradients of one head: q, k, v, logits (T, S), sink (scalar) and its parameters."""
    dead = ~np.asarray(head.allowed.any(1))
    d_output = np.where(dead[:, None], 0.0, d_output)
    d_lse = np.where(dead & np.isneginf(head.lse), 0.0, d_lse)
    keys, queries = np.any(head.allowed, axis=0)[:, None], ~dead[:, None]
    k, v, q = (np.where(alive, a, 0.0) for alive, a in ((keys, head.k), (keys, head.v), (queries, head.q)))
    with np.errstate(invalid="ignore", over="ignore"):
        d_weights = head.keep * (d_output @ v.T)
        delta = np.where(head.allowed, head.weights * d_weights, 0.0).sum(1, keepdims=True)
        d_logits = np.where(head.allowed, head.weights * (d_weights - delta + d_lse[:, None]), 0.0)
        d_scores = d_logits * _cap_slope(head, call.spec.softcap) * head.scale
        d_scores = np.where(head.allowed, d_scores, 0.0)
        grads = SCORE[call.spec.score].backward(q, k, head.params, d_scores)
        score_params = {name: grads[name] for name in head.params}
        d_value = np.where(keys, (head.weights * head.keep).T @ d_output, 0.0)
        d_sink = (head.sink_weight * (d_lse - delta[:, 0])).sum()
    return {"q": grads["q"], "k": grads["k"], "v": d_value, "logits": d_logits, "sink": d_sink} | _named(score_params)


def _named(params: dict[str, Array]) -> dict[str, Array]:
    # The value vector of additive scores is called v too: keep the parameters apart from the operands.
    return {f"params.{name}": array for name, array in params.items()}


def _cap_slope(head: HeadReference, softcap: float | None) -> Array | float:
    return 1.0 if softcap is None else 1.0 - (head.capped / softcap) ** 2


def zeros_like_operands(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> dict[str, Float[Array, " ..."]]:
    """A float64 zero in the shape of every operand that has a gradient, by name."""
    shapes = {"q": q.shape, "k": k.shape, "v": v.shape}
    for name in ("bias", "sinks"):
        if (operand := getattr(call, name)) is not None:
            shapes[name] = operand.shape
    shapes |= {f"params.{name}": param.shape for name, param in call.params.items()}
    return {name: np.zeros(shape) for name, shape in shapes.items()}


def add_broadcast(
    total: Float[Array, "#B #Hq #Tq #S"], part: Float[Array, "T S"], b: int, h: int, rows: Int[Array, " T"]
) -> None:
    """Add the part of one head to the gradient of a bias, summing over the axes on which it was broadcast."""
    target = total[b if total.shape[0] > 1 else 0, h if total.shape[1] > 1 else 0]
    if target.shape[1] == 1 and part.shape[1] != 1:
        part = part.sum(1, keepdims=True)
    if target.shape[0] == 1:
        target += part.sum(0, keepdims=True)
    else:
        target[rows] += part
