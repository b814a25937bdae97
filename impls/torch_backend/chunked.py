"""``torch/chunked``: learned scores one hidden unit at a time, so that no (Tq, S, Da) tensor is ever stored.

v·tanh(q W_q + k W_k + b) is a sum over hidden units. Summed unit by unit it needs two (Tq, S) tensors, forward and,
where the tanh is computed again, backward; written out it needs one of Da times the size, and autograd keeps it. The
scores themselves are stored, as in the formula. Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnbench.api import AttentionOutput, Capabilities, implementation
from attnbench.impls.torch_backend.allowed import allowed_keys

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.api import Call

LEARNED = Capabilities(
    scores=("dot", "general", "additive", "concat"),
    dtypes=("float64", "float32", "bfloat16", "float16"),
    devices=("cpu", "cuda"),
    causal=True,
    gqa=True,
    lse=True,
    gradients=True,
    lacks={"stages": "it is about what is not stored"},
)


class SumOverUnits(torch.autograd.Function):
    """Σ_a v_a · tanh(query_a + key_a), the sum over hidden units."""

    @staticmethod
    def forward(
        ctx: Any, query: Float[Tensor, "Da B Hq Tq"], key: Float[Tensor, "Da B Hq S"], v: Float[Tensor, "Da Hq"]
    ) -> Float[Tensor, "B Hq Tq S"]:
        """Unit by unit, into one tensor."""
        ctx.save_for_backward(query, key, v)
        scores = query.new_zeros(*query.shape[1:], key.shape[3])
        for of_query, of_key, weight in zip(query, key, v, strict=True):
            scores.addcmul_(weight[:, None, None], activation(of_query, of_key))
        return scores

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, *cotangents: Float[Tensor, "B Hq Tq S"]
    ) -> tuple[Float[Tensor, "Da B Hq Tq"], Float[Tensor, "Da B Hq S"], Float[Tensor, "Da Hq"]]:
        """Unit by unit, each activation computed again."""
        (d_scores,) = cotangents
        query, key, v = ctx.saved_tensors
        d_query, d_key, d_v = torch.empty_like(query), torch.empty_like(key), torch.empty_like(v)
        for unit, (of_query, of_key, weight) in enumerate(zip(query, key, v, strict=True)):
            tanh = activation(of_query, of_key)
            d_v[unit] = (d_scores * tanh).sum((0, 2, 3))
            d_hidden = tanh.square_().neg_().add_(1.0).mul_(d_scores).mul_(weight[:, None, None])
            d_query[unit], d_key[unit] = d_hidden.sum(3), d_hidden.sum(2)
        return d_query, d_key, d_v


def activation(of_query: Float[Tensor, "B Hq Tq"], of_key: Float[Tensor, "B Hq S"]) -> Float[Tensor, "B Hq Tq S"]:
    """tanh(query_a + key_a) of one hidden unit."""
    return (of_query[..., :, None] + of_key[..., None, :]).tanh_()


@implementation("torch/chunked", LEARNED)
def attend(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend, computed in float32 (float64 in float64)."""
    dtype = q.dtype
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    params = {name: param.to(wide) for name, param in call.params.items()}
    allowed = allowed_keys(call, q.device)
    logits = scores_of(q.to(wide), k.to(wide), call.spec.score, params)
    if not call.spec.unscaled:
        logits = logits * call.scale
    if allowed is not None:
        logits = logits.masked_fill(~allowed, -math.inf)
    weights, lse = softmax(logits)
    shared = weights.reshape(weights.shape[0], v.shape[1], -1, weights.shape[3])
    output = (shared @ v.to(wide)).reshape(*weights.shape[:3], v.shape[3])
    return AttentionOutput(output.to(dtype), lse=lse if call.wants("lse") else None)


def scores_of(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    score: str,
    params: dict[str, Float[Tensor, " ..."]],
) -> Float[Tensor, "B Hq Tq S"]:
    """The score of every query and key before the scale."""
    if score in ("dot", "general"):
        query = q @ params["W"] if score == "general" else q
        shared = query.reshape(q.shape[0], k.shape[1], -1, k.shape[3]) @ k.mT
        return shared.reshape(*q.shape[:3], k.shape[2])
    d = q.shape[-1]
    keys = k.repeat_interleave(q.shape[1] // k.shape[1], 1)  # the keys' weights differ between query heads of a group
    to_query = params["W"][:, :d] if score == "concat" else params["Wq"]
    to_key = params["W"][:, d:] if score == "concat" else params["Wk"]
    query = q @ to_query if score == "concat" else q @ to_query + params["b"][:, None, :]
    unit_weights = params["v"].expand(q.shape[1], -1)
    # One hidden unit after the other, each in one piece of memory.
    units = (x.movedim(-1, 0).contiguous() for x in (query, keys @ to_key, unit_weights))
    summed: Tensor = SumOverUnits.apply(*units)  # type: ignore[no-untyped-call]
    return summed


def softmax(logits: Float[Tensor, "B Hq Tq S"]) -> tuple[Float[Tensor, "B Hq Tq S"], Float[Tensor, "B Hq Tq"]]:
    """P and lse; a row without keys has no weight, and −inf."""
    row_max = logits.detach().amax(-1, keepdim=True)
    shift = row_max.masked_fill(row_max.isneginf(), 0.0)
    terms = (logits - shift).exp()
    total = terms.sum(-1, keepdim=True)
    empty = total == 0
    total = total.masked_fill(empty, 1.0)
    return terms / total, (shift + total.log()).masked_fill(empty, -math.inf).squeeze(-1)
