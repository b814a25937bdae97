"""``torch/compiled``: the formula of the spec in plain operations, compiled by ``torch.compile``.

Inductor fuses all that stands between the two products, masks and scores from the positions too. Queries are taken in
at most eight blocks, so that the scores of a block are still in the cache when they are read again. A learned score is
fused into the sum over its hidden units: no (Tq, S, Da) tensor is stored, forward or backward. 16-bit inputs are
computed in float32. Legend of the shapes in ``attnbench.attention.spec``.

The maximum is subtracted by hand: ``torch.softmax`` between two products is a pattern for which Inductor calls SDPA,
and would be ``torch/sdpa`` once more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from attnbench.api import AttentionOutput, Capabilities, implementation
from attnbench.impls.torch_backend.allowed import alibi, allowed_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jaxtyping import Bool, Float, Shaped

    from attnbench.api import Call

MOST_BLOCKS, LEAST_ROWS = 8, 256

CAN = Capabilities(
    scores=("dot", "general", "additive", "concat", "cosine"),
    dtypes=("float64", "float32", "bfloat16", "float16"),
    devices=("cpu", "cuda"),
    causal=True,
    gqa=True,
    mask=True,
    bias=True,
    window=True,
    lengths=True,
    segments=True,
    softcap=True,
    sinks=True,
    dropout=True,
    slopes=True,
    head_scale=True,
    log_n=True,
    batch_offset=True,
    lse=True,
    gradients=True,
    lacks={
        "stages": "it is about what is fused and never stored",
        "nan_isolation": "0 · NaN is NaN in the product with V",
    },
)


@implementation("torch/compiled", CAN, compiled=True)
def attend(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend, block of queries by block of queries."""
    dtype, wide = q.dtype, torch.float64 if q.dtype == torch.float64 else torch.float32
    q, k, v, call = q.to(wide), k.to(wide), v.to(wide), in_wide_precision(call, wide)
    allowed, added = allowed_keys(call, q.device), biases(call, q.device)
    query, key = projected(q, k, call)
    rows = max(LEAST_ROWS, -(-call.sizes.Tq // MOST_BLOCKS))
    blocks = [
        block(query[:, :, i : i + rows], key, v, call, of_block(allowed, i, rows), of_block(added, i, rows), i)
        for i in range(0, call.sizes.Tq, rows)
    ]
    output, lse = (parts[0] if len(parts) == 1 else torch.cat(parts, 2) for parts in zip(*blocks, strict=True))
    return AttentionOutput(output.to(dtype), lse=lse if call.wants("lse") else None)


def in_wide_precision(call: Call, wide: torch.dtype) -> Call:
    """Every floating operand of the call in this dtype."""
    changed: dict[str, Any] = {"params": {name: array.to(wide) for name, array in call.params.items()}}
    for name in ("scale", "bias", "sinks", "slopes"):
        array = getattr(call, name)
        if isinstance(array, Tensor):
            changed[name] = array.to(wide)
    return call.with_arrays(changed)


def block(
    query: Float[Tensor, "B Hq rows n"],
    key: Float[Tensor, "B H S n"],
    v: Float[Tensor, "B Hkv S Dv"],
    call: Call,
    allowed: Bool[Tensor, "#B #Hq rows S"] | None,
    added: Float[Tensor, "#B #Hq #rows S"] | None,
    first: int,
) -> tuple[Float[Tensor, "B Hq rows Dv"], Float[Tensor, "B Hq rows"]]:
    """Output and lse of some queries."""
    logits = scaled(SCORE[call.spec.score](query, key, call.params), call, allowed)
    if call.spec.softcap is not None:
        logits = call.spec.softcap * torch.tanh(logits / call.spec.softcap)
    if added is not None:
        logits = logits + added
    if allowed is not None:
        logits = torch.where(allowed, logits, -math.inf)
    terms, total, lse = softmax(logits, allowed, call)
    if call.keep is not None:
        terms = terms * rows_of(call.keep, first, logits.shape[2]) / (1.0 - call.spec.dropout)
    output = in_groups(terms, v) / total
    if allowed is not None:  # not a product with 0: an undefined cotangent of a row without keys must not come through
        output = torch.where(allowed.any(-1, keepdim=True), output, 0.0)
    return output, lse


def softmax(
    logits: Float[Tensor, "B Hq T S"], allowed: Bool[Tensor, "#B #Hq T S"] | None, call: Call
) -> tuple[Float[Tensor, "B Hq T S"], Float[Tensor, "B Hq T 1"], Float[Tensor, "B Hq T"]]:
    """exp(s − m), its sum Z with the sink (1 where there is nothing to sum), and lse; m is constant for autograd."""
    largest = logits.detach().amax(-1, keepdim=True)
    sink = None if call.sinks is None else call.sinks[:, None, None]
    if sink is not None:
        largest = torch.maximum(largest, sink.detach())
    largest = torch.where(largest == -math.inf, 0.0, largest)
    terms = torch.exp(logits - largest)
    if allowed is not None:
        terms = torch.where(allowed, terms, 0.0)
    total = terms.sum(-1, keepdim=True)
    if sink is not None:
        total = total + torch.exp(sink - largest)
    some = total != 0
    total = torch.where(some, total, 1.0)
    lse = torch.where(some, largest + total.log(), -math.inf)
    return terms, total, lse.squeeze(-1)


def biases(call: Call, device: torch.device) -> Float[Tensor, "#B #Hq #Tq S"] | None:
    """What is added to the capped scores: the bias, and ALiBi."""
    slopes = None if call.slopes is None else alibi(call, device)
    if call.bias is None:
        return slopes
    bias: Tensor = call.bias
    return bias if slopes is None else bias + slopes


def rows_of(x: Shaped[Tensor, "#B #Hq #Tq #S"], first: int, count: int) -> Shaped[Tensor, "#B #Hq #rows #S"]:
    """Some rows of what broadcasts to (B, Hq, Tq, S)."""
    return x if x.shape[2] == 1 else x[:, :, first : first + count]


def of_block(
    x: Shaped[Tensor, "#B #Hq #Tq #S"] | None, first: int, count: int
) -> Shaped[Tensor, "#B #Hq #rows #S"] | None:
    """The same of what may not be there."""
    return None if x is None else rows_of(x, first, count)


def in_groups(x: Float[Tensor, "B Hq T n"], y: Float[Tensor, "B Hkv n m"]) -> Float[Tensor, "B Hq T m"]:
    """The product of each query head with its group's head; no key or value is copied."""
    return (x.reshape(x.shape[0], y.shape[1], -1, x.shape[3]) @ y).reshape(*x.shape[:3], y.shape[3])


# Scores. What depends on the query or the key alone is computed once, before the blocks.


def projected(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], call: Call
) -> tuple[Float[Tensor, "B Hq Tq n"], Float[Tensor, "B H S n"]]:
    """What a score reads of each query and each key: themselves, their directions, or their hidden units."""
    params, score = call.params, call.spec.score
    if score == "general":
        return q @ params["W"], k
    if score == "cosine":
        return unit(q), unit(k)
    if score not in ("additive", "concat"):
        return q, k
    keys = k.repeat_interleave(call.sizes.group, 1)  # W_k differs between the query heads of a group
    if score == "concat":
        return q @ params["W"][:, : call.sizes.D], keys @ params["W"][:, call.sizes.D :]
    return q @ params["Wq"] + params["b"][:, None, :], keys @ params["Wk"]


def unit(x: Float[Tensor, "B H T D"]) -> Float[Tensor, "B H T D"]:
    """x / max(‖x‖, 1e-12), without overflow or underflow of the squares."""
    x = x / x.detach().abs().amax(-1, keepdim=True).clamp_min(1e-12)
    square = (x * x).sum(-1, keepdim=True)
    return x / torch.where(square < 1.0, 1.0, square).sqrt()


def dot(
    query: Float[Tensor, "B Hq T D"], key: Float[Tensor, "B Hkv S D"], params: Mapping[str, Float[Tensor, " ..."]]
) -> Float[Tensor, "B Hq T S"]:
    """q·k, and q W k where the query is q W."""
    del params
    return in_groups(query, key.mT)


def hidden(
    query: Float[Tensor, "B Hq T Da"], key: Float[Tensor, "B Hq S Da"], params: Mapping[str, Float[Tensor, " ..."]]
) -> Float[Tensor, "B Hq T S"]:
    """Σ_a v_a · tanh(query_a + key_a)."""
    units = torch.tanh(query[:, :, :, None, :] + key[:, :, None, :, :])
    return (units * params["v"][:, None, None, :]).sum(-1)


def cosine(
    query: Float[Tensor, "B Hq T D"], key: Float[Tensor, "B Hkv S D"], params: Mapping[str, Float[Tensor, " ..."]]
) -> Float[Tensor, "B Hq T S"]:
    """The product of directions times the temperature."""
    return in_groups(query, key.mT) * params["temperature"][:, None, None]


SCORE: dict[str, Callable[..., Tensor]] = {
    "dot": dot,
    "general": dot,
    "additive": hidden,
    "concat": hidden,
    "cosine": cosine,
}


def scaled(
    scores: Float[Tensor, "B Hq T S"], call: Call, allowed: Bool[Tensor, "#B #Hq T S"] | None
) -> Float[Tensor, "B Hq T S"]:
    """The scores times the scale, which may be that of a head, and ln of the number of keys."""
    if call.spec.unscaled:
        return scores
    scores = scores * (call.scale if isinstance(call.scale, float) else call.scale[:, None, None])
    if call.spec.scale != "log_n":
        return scores
    if allowed is None:
        return scores * math.log(max(scores.shape[-1], 2))
    return scores * allowed.sum(-1, keepdim=True).clamp_min(2).to(scores.dtype).log()
