"""``torch/blocked``: dot products block by block, in PyTorch's plain operators.

A block is some queries of one head, or all queries of several; the query heads of a group are stacked into the rows of
one product, so that keys are read once for all of them. Its scores lie in one buffer that fits a processor's cache, and
become weights there. Keys that causality or a window hides from a block are left out. The backward pass computes each
block again; nothing of size Tq × S is kept, but for the bool of a mask, lengths or segments.
Legend of the shapes in ``attnbench.attention.spec``; G is Hq / Hkv; N is Hkv, or B · Hkv where batch entries are alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnbench.api import AttentionOutput, Capabilities, implementation
from attnbench.impls.torch_backend.allowed import allowed_keys, sees_the_end
from attnbench.impls.torch_backend.chunked import d_logits_of, softmax

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from attnbench.api import Call

IN_THE_PRODUCT = "one scale is a part of its products; torch/naive has it"
NOT_HERE = "it is kept to what most models use; torch/naive has it"
CAN = Capabilities(
    dtypes=("float64", "float32", "bfloat16", "float16"),
    causal=True,
    gqa=True,
    mask=True,
    bias=True,
    window=True,
    lengths=True,
    segments=True,
    batch_offset=True,
    lse=True,
    gradients=True,
    lacks={
        **dict.fromkeys(("softcap", "sinks", "slopes", "dropout"), NOT_HERE),
        "head_scale": IN_THE_PRODUCT,
        "log_n": IN_THE_PRODUCT,
        "stages": "it is about what is not stored",
        "nan_isolation": "0 · NaN is NaN in its products",
        "cuda": "it is made for a processor's cache",
    },
)
# Elements of a block's scores. 2 MiB of float32 were fastest at T 512 and 2048, of 0.5, 1 and 2 MiB, where two cores
# have 2 MiB of second-level cache each.
SCORES = 1 << 19


@dataclass(frozen=True)
class Rows:
    """Some queries of some heads of keys in one batch entry, and the keys that they may see."""

    batch: int
    heads: slice
    rows: slice
    keys: slice


@dataclass(frozen=True)
class ScoreRules:
    """What is done to scores: one scale, positions as numbers, and the rest of the allowed set as an array."""

    scale: float
    offset: int | None  # of query 0 among the keys; ``None`` where positions say nothing, or ``allowed`` says it all
    left: int | None
    right: int | None
    allowed: Bool[Tensor, "#b #N #G Tq S"] | None
    dead: bool  # whether a row can be without a key

    def keys_of(self, rows: slice, keys: int) -> slice:
        """From the first key that one of these rows sees to the last."""
        if self.offset is None:
            return slice(0, keys)
        first = 0 if self.left is None else max(0, rows.start + self.offset - self.left)
        last = keys if self.right is None else min(keys, rows.stop + self.offset + self.right)
        return slice(min(first, keys), max(last, 0))

    def hide(self, scores: Float[Tensor, "N G rows keys"], block: Rows) -> None:
        """−inf where a pair of a block is not allowed."""
        if self.allowed is not None:
            scores.masked_fill_(~part(self.allowed, block), -math.inf)
        if self.offset is None:
            return
        first, last = block.rows.start + self.offset, block.rows.stop + self.offset - 1
        p = torch.arange(first, last + 1)[:, None]
        j = torch.arange(block.keys.start, block.keys.stop)
        if self.right is not None and j[-1] > first + self.right:
            begin = max(0, first + self.right + 1 - block.keys.start)
            scores[..., begin:].masked_fill_(j[begin:] > p + self.right, -math.inf)
        if self.left is not None and block.keys.start < last - self.left:
            end = last - self.left - block.keys.start
            scores[..., :end].masked_fill_(j[:end] < p - self.left, -math.inf)


def rules_of(call: Call, device: torch.device) -> ScoreRules:
    """Positions as numbers where the offset is one; else all in one array."""
    spec = call.spec
    left, right = spec.window or (None, None)
    right = 0 if spec.causal else right
    arrays = (call.mask, call.bias, call.q_lengths, call.kv_lengths, call.q_segments)
    by_numbers = isinstance(call.offset, int) and all(array is None for array in arrays)
    free = (left is None and right is None) or (left is None and spec.causal and sees_the_end(call))
    scale = 1.0 if spec.unscaled else float(call.scale)
    if by_numbers:
        if free:
            return ScoreRules(scale, None, None, None, None, dead=False)
        offset, sizes = int(call.offset), call.sizes
        before = right is not None and offset + right < 0
        behind = left is not None and sizes.Tq - 1 + offset - left > sizes.S - 1
        return ScoreRules(scale, offset, left, right, None, dead=before or behind)
    allowed = allowed_keys(call, device)
    if allowed is not None:
        allowed = by_group(allowed, call.sizes.Hkv)
    return ScoreRules(scale, None, None, None, allowed, dead=True)


def by_group(x: Tensor, heads: int) -> Tensor:
    """(#B, #Hq, Tq, S) as (#B, #Hkv, #G, Tq, S)."""
    return x[:, :, None] if x.shape[1] == 1 else x.unflatten(1, (heads, -1))


def part(x: Float[Tensor, "#b #N #G #Tq #S"], block: Rows) -> Float[Tensor, "#N #G #rows #keys"]:
    """What of an array with axes of size 1 belongs to a block; it can be written to."""
    x = x[block.batch if x.shape[0] > 1 else 0]
    x = x if x.shape[0] == 1 else x[block.heads]
    x = x if x.shape[2] == 1 else x[:, :, block.rows]
    return x if x.shape[3] == 1 else x[..., block.keys]


def blocks(q: Float[Tensor, "b N G Tq D"], keys: int, rules: ScoreRules) -> Iterator[Rows]:
    """Those with a key; nothing is to be computed of the others."""
    batch, heads, group, queries = q.shape[:4]
    step = min(max(1, SCORES // (keys * group)), queries)
    heads_at_once = max(1, SCORES // (step * group * keys)) if step == queries else 1
    for b in range(batch):
        for head in range(0, heads, heads_at_once):
            for row in range(0, queries, step):
                rows = slice(row, min(row + step, queries))
                seen = rules.keys_of(rows, keys)
                if seen.stop > seen.start:
                    yield Rows(b, slice(head, min(head + heads_at_once, heads)), rows, seen)


class BlockedProducts(torch.autograd.Function):
    """Output and lse; where lse is not wanted it is not computed."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Float[Tensor, "b N G Tq D"],
        k: Float[Tensor, "b N S D"],
        v: Float[Tensor, "b N S Dv"],
        bias: Float[Tensor, "#b #N #G #Tq #S"] | None,
        rules: ScoreRules,
        want_lse: bool,  # noqa: FBT001  (``apply`` takes no keywords)
    ) -> tuple[Float[Tensor, "b N G Tq Dv"], Float[Tensor, "b N G Tq"] | None]:
        """Block by block."""
        ctx.save_for_backward(q, k, v, bias)
        ctx.rules = rules
        ctx.set_materialize_grads(False)
        output = v.new_zeros(*q.shape[:4], v.shape[-1])
        lse = v.new_full(q.shape[:4], -math.inf) if want_lse else None
        buffer = buffer_for(q, k)
        for block in blocks(q, k.shape[2], rules):
            weights, lse_of_block = weights_of(q, k, bias, buffer, rules, block, want_lse=want_lse)
            values = v[block.batch, block.heads, block.keys]
            output[block.batch, block.heads, :, block.rows] = (weights.flatten(1, 2) @ values).view(
                *weights.shape[:3], -1
            )
            if lse is not None and lse_of_block is not None:
                lse[block.batch, block.heads, :, block.rows] = lse_of_block
        return output, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Float[Tensor, " ..."] | None) -> tuple[Float[Tensor, " ..."] | None, ...]:
        """Block by block, each computed again: dS = P · (dP − Σ P dP + d_lse)."""
        d_output, d_lse = cotangents
        q, k, v, bias = ctx.saved_tensors
        d_q, d_k, d_v = (torch.zeros_like(of) for of in (q, k, v))
        d_bias = None if bias is None else torch.zeros_like(bias)
        buffer, rules = buffer_for(q, k), ctx.rules
        for block in blocks(q, k.shape[2], rules):
            place = (block.batch, block.heads)
            weights, _ = weights_of(q, k, bias, buffer, rules, block, want_lse=False)
            p, keys, rows = weights.flatten(1, 2), (*place, block.keys), (*place, slice(None), block.rows)
            d_o = None if d_output is None else d_output[rows].flatten(1, 2)
            of_lse = None if d_lse is None else d_lse[rows].flatten(1, 2)
            if d_o is not None:
                d_v[keys] += p.mT @ d_o
            d_logits = d_logits_of(p, v[keys], d_o, of_lse)
            if d_bias is not None:
                target = part(d_bias, block)
                target += d_logits.view(weights.shape).sum_to_size(target.shape)
            d_logits *= rules.scale
            d_q[rows] = (d_logits @ k[keys]).view(*weights.shape[:3], -1)
            d_k[keys] += d_logits.mT @ q[rows].flatten(1, 2)
        return d_q, d_k, d_v, d_bias, None, None


def buffer_for(q: Float[Tensor, "b N G Tq D"], k: Float[Tensor, "b N S D"]) -> Float[Tensor, " size"]:
    """Memory for the scores of a block: of one row of a group at least, of all at most."""
    group, keys = q.shape[2], k.shape[2]
    return q.new_empty(min(max(SCORES, group * keys), q.shape[1] * group * q.shape[3] * keys))


def weights_of(
    q: Float[Tensor, "b N G Tq D"],
    k: Float[Tensor, "b N S D"],
    bias: Float[Tensor, "#b #N #G #Tq #S"] | None,
    buffer: Float[Tensor, " size"],
    rules: ScoreRules,
    block: Rows,
    *,
    want_lse: bool,
) -> tuple[Float[Tensor, "n G rows keys"], Float[Tensor, "n G rows"] | None]:
    """P of a block in the buffer, and its lse."""
    queries = q[block.batch, block.heads, :, block.rows]
    keys = k[block.batch, block.heads, block.keys]
    shape = (*queries.shape[:3], keys.shape[1])
    scores = buffer[: math.prod(shape)].view(shape)
    flat = scores.flatten(1, 2)
    if rules.scale:
        torch.baddbmm(flat, queries.flatten(1, 2), keys.mT, beta=0, alpha=rules.scale, out=flat)
    else:  # BLAS would not read what it multiplies by 0, and lose a NaN
        torch.bmm(queries.flatten(1, 2), keys.mT, out=flat).mul_(0)
    if bias is not None:
        scores += part(bias, block)
    rules.hide(scores, block)
    if rules.dead or want_lse:
        return softmax(scores)
    return torch.softmax(scores, -1, out=scores), None


@implementation("torch/blocked", CAN)
def attend(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend, computed in float32 (float64 in float64)."""
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    rules = rules_of(call, q.device)
    bias = None if call.bias is None else by_group(with_four_axes(call.bias.to(wide)), k.shape[1])
    grouped = q.to(wide).unflatten(1, (k.shape[1], -1))
    keys, values = k.to(wide), v.to(wide)
    if all(x is None or x.shape[0] == 1 for x in (rules.allowed, bias)) and all(
        x is None or x.shape[1:3] == (1, 1) for x in (rules.allowed, bias)
    ):
        # Batch entries are heads like others then.
        grouped, keys, values = (x.flatten(0, 1)[None] for x in (grouped, keys, values))
    output, lse = BlockedProducts.apply(grouped, keys, values, bias, rules, call.wants("lse"))  # type: ignore[no-untyped-call]
    output = output.reshape(*q.shape[:3], v.shape[-1]).to(q.dtype)
    return AttentionOutput(output, lse=None if lse is None else lse.reshape(q.shape[:3]))


def with_four_axes(x: Float[Tensor, " *axes"]) -> Float[Tensor, "#B #Hq #Tq #S"]:
    """With axes of size 1 in front."""
    return x[(None,) * (4 - x.ndim)]
