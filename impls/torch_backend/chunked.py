"""``torch/chunked``: learned scores block by block of queries, so that no (Tq, S, Da) tensor is ever stored.

v·tanh(q W_q + k W_k + b) written out needs a hidden layer for every query and key, and autograd keeps it. Here a block
of queries has its scores, weights and output before the next begins, and its hidden layer lies, some rows at a time, in
one buffer that fits a processor's cache. The backward pass computes each block again; nothing of size Tq × S is kept.
Keys that causality hides from a block are left out. Legend of the shapes in ``attnbench.attention.spec``; N is B · Hq.
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
# Elements of a hidden layer at a time: 2 MiB of float32 were fastest where two cores have 2 MiB of second-level cache
# each. Elements of a block's scores: so many that what is done to them once costs little beside the hidden layer.
HIDDEN = {"cpu": 1 << 19, "cuda": 1 << 24}
SCORES = {"cpu": 1 << 18, "cuda": 1 << 24}


def kind_of(device: torch.device) -> str:
    """The CPU, or a GPU; tensors without memory (``meta``) stand for a GPU."""
    return "cpu" if device.type == "cpu" else "cuda"


@dataclass(frozen=True)
class RowsOfHeads:
    """Some queries of one head, or all of several heads, and the keys that they see."""

    heads: slice
    rows: slice
    keys: slice


@dataclass(frozen=True)
class InRows:
    """What blocks are made of, and what is done to their scores."""

    heads: int
    queries: int
    keys: int
    units: int  # of a hidden layer; 1 without any
    device: str
    scale: float
    offset: int | None  # of query 0 among the keys; ``None`` where every key is seen

    def blocks(self) -> Iterator[RowsOfHeads]:
        """Those with a key; nothing is to be computed of the others."""
        rows = min(max(1, SCORES[self.device] // self.keys), self.queries)
        heads = 1
        if rows == self.queries:  # and one row of all of these heads fits the buffer
            most = min(SCORES[self.device] // rows, HIDDEN[self.device] // self.units)
            heads = max(1, most // self.keys)
        for head in range(0, self.heads, heads):
            for row in range(0, self.queries, rows):
                last = min(row + rows, self.queries)
                seen = self.keys if self.offset is None else min(self.keys, last + self.offset)
                if seen > 0:
                    yield RowsOfHeads(slice(head, min(head + heads, self.heads)), slice(row, last), slice(0, seen))


@dataclass(frozen=True)
class Layer:
    """The hidden layer of a block: tanh(query + key), and the weights of its units."""

    query: Float[Tensor, "heads n rows"]
    key: Float[Tensor, "heads n keys"]
    units: Float[Tensor, "heads n"]
    buffer: Float[Tensor, " size"]

    def parts(self) -> Iterator[slice]:
        """Rows of which the layer lies in the buffer at a time."""
        step = max(1, len(self.buffer) // self.key.numel())
        return (slice(row, row + step) for row in range(0, self.query.shape[2], step))

    def tanh(self, query: Float[Tensor, "heads ..."], key: Float[Tensor, "heads ..."]) -> Float[Tensor, "heads ..."]:
        """The tanh of query + key, in the buffer."""
        sizes = torch.broadcast_shapes(query.shape, key.shape)
        return torch.add(query, key, out=self.buffer[: math.prod(sizes)].view(sizes)).tanh_()

    def scores(self) -> Float[Tensor, "heads rows keys"]:
        """The weighted sum over units. With the row first, what is summed was computed by the same processor."""
        scores = self.query.new_empty(self.query.shape[0], self.query.shape[2], self.key.shape[2])
        query, key = self.query.mT[:, :, :, None], self.key[:, None]
        for rows in self.parts():
            hidden = self.tanh(query[:, rows], key)
            weights = self.units[:, None, None, :].expand(-1, hidden.shape[1], -1, -1)
            scores[:, rows] = (weights @ hidden).squeeze(2)
        return scores

    def add_gradients(
        self,
        d_scores: Float[Tensor, "heads rows keys"],
        d_query: Float[Tensor, "heads n rows"],
        d_key: Float[Tensor, "heads n keys"],
        d_units: Float[Tensor, "heads n"],
    ) -> None:
        """Add what d_scores give; of query and key, without the factor of the units. With the unit first, see above."""
        query, key = self.query[:, :, :, None], self.key[:, :, None, :]
        for rows in self.parts():
            hidden, of_rows = self.tanh(query[:, :, rows], key), d_scores[:, rows]
            d_units += (hidden.flatten(2) @ of_rows.flatten(1)[:, :, None]).squeeze(2)
            # d_scores · (1 − tanh²) in the place of the tanh, in one step.
            spread = of_rows[:, None].expand_as(hidden)
            torch.ops.aten.tanh_backward.grad_input(spread, hidden, grad_input=hidden)
            d_query[:, :, rows] = hidden.sum(3)
            d_key += hidden.sum(2)


class InBlocks(torch.autograd.Function):
    """Output and lse of queries and keys after their projections; ``units`` are the weights of a hidden layer."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Float[Tensor, "N n Tq"],
        key: Float[Tensor, "N n S"],
        values: Float[Tensor, "N S Dv"],
        units: Float[Tensor, "N n"] | None,
        shape: InRows,
    ) -> tuple[Float[Tensor, "N Tq Dv"], Float[Tensor, "N Tq"]]:
        """Block by block."""
        ctx.save_for_backward(query, key, values, units)
        ctx.shape = shape
        ctx.set_materialize_grads(False)
        output = values.new_zeros(shape.heads, shape.queries, values.shape[2])
        lse = values.new_full((shape.heads, shape.queries), -math.inf)
        buffer = buffer_for(query, key, units)
        for block in shape.blocks():
            layer = layer_of(query, key, units, buffer, block)
            weights, lse[block.heads, block.rows] = weights_of(query, key, layer, shape, block)
            output[block.heads, block.rows] = weights @ values[block.heads, block.keys]
        return output, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Float[Tensor, " ..."] | None) -> tuple[Float[Tensor, " ..."] | None, ...]:
        """Block by block, each computed again."""
        d_output, d_lse = cotangents
        query, key, values, units = ctx.saved_tensors
        d_query, d_key, d_values = (torch.zeros_like(of) for of in (query, key, values))
        d_units = None if units is None else torch.zeros_like(units)
        buffer = buffer_for(query, key, units)
        for block in ctx.shape.blocks():
            heads, rows, keys = block.heads, block.rows, block.keys
            layer = layer_of(query, key, units, buffer, block)
            weights, _ = weights_of(query, key, layer, ctx.shape, block)
            d_o = None if d_output is None else d_output[heads, rows]
            of_lse = None if d_lse is None else d_lse[heads, rows]
            if d_o is not None:
                d_values[heads, keys] += weights.mT @ d_o
            d_scores = d_logits_of(weights, values[heads, keys], d_o, of_lse) * ctx.shape.scale
            if layer is None or d_units is None:
                d_query[heads, :, rows] = key[heads, :, keys] @ d_scores.mT
                d_key[heads, :, keys] += query[heads, :, rows] @ d_scores
            else:
                layer.add_gradients(d_scores, d_query[heads, :, rows], d_key[heads, :, keys], d_units[heads])
        if units is not None:
            d_query, d_key = d_query.mul_(units[:, :, None]), d_key.mul_(units[:, :, None])
        return d_query, d_key, d_values, d_units, None


def buffer_for(
    query: Float[Tensor, "N n Tq"], key: Float[Tensor, "N n S"], units: Float[Tensor, "N n"] | None
) -> Float[Tensor, " size"]:
    """Memory for a part of a hidden layer: of one row at least, of all at most."""
    if units is None:
        return query.new_empty(0)
    row = key.shape[1] * key.shape[2]
    return query.new_empty(min(max(HIDDEN[kind_of(query.device)], row), query.shape[0] * query.shape[2] * row))


def layer_of(
    query: Float[Tensor, "N n Tq"],
    key: Float[Tensor, "N n S"],
    units: Float[Tensor, "N n"] | None,
    buffer: Float[Tensor, " size"],
    block: RowsOfHeads,
) -> Layer | None:
    """The hidden layer of a block; none where the score is a product."""
    if units is None:
        return None
    return Layer(query[block.heads, :, block.rows], key[block.heads, :, block.keys], units[block.heads], buffer)


def weights_of(
    query: Float[Tensor, "N n Tq"], key: Float[Tensor, "N n S"], layer: Layer | None, shape: InRows, block: RowsOfHeads
) -> tuple[Float[Tensor, "heads rows keys"], Float[Tensor, "heads rows"]]:
    """P and lse of a block."""
    logits = query[block.heads, :, block.rows].mT @ key[block.heads, :, block.keys] if layer is None else layer.scores()
    if shape.scale != 1.0:
        logits *= shape.scale
    if shape.offset is not None and block.keys.stop > block.rows.start + shape.offset + 1:
        reach = torch.arange(block.rows.start, block.rows.stop, device=key.device)[:, None] + shape.offset
        logits.masked_fill_(torch.arange(block.keys.stop, device=key.device) > reach, -math.inf)
    return softmax(logits)


def d_logits_of(
    weights: Float[Tensor, "heads rows keys"],
    values: Float[Tensor, "heads keys Dv"],
    d_output: Float[Tensor, "heads rows Dv"] | None,
    d_lse: Float[Tensor, "heads rows"] | None,
) -> Float[Tensor, "heads rows keys"]:
    """P · (dP − Σ P dP + d_lse), of a block."""
    if d_output is None:
        d_logits = torch.zeros_like(weights)
    else:
        d_weights = d_output @ values.mT
        d_logits = d_weights.sub_((weights * d_weights).sum(-1, keepdim=True))
    if d_lse is not None:
        d_logits += d_lse[..., None]
    return d_logits.mul_(weights)


def softmax(
    logits: Float[Tensor, "*heads rows keys"],
) -> tuple[Float[Tensor, "*heads rows keys"], Float[Tensor, "*heads rows"]]:
    """P in the place of the logits, and lse; a row without keys has no weight, and −inf."""
    row_max = logits.amax(-1, keepdim=True)
    shift = row_max.masked_fill(row_max.isneginf(), 0.0)
    terms = logits.sub_(shift).exp_()
    total = terms.sum(-1, keepdim=True)
    empty = total == 0
    total = total.masked_fill(empty, 1.0)
    return terms.div_(total), (shift + total.log()).masked_fill(empty, -math.inf).squeeze(-1)


@implementation("torch/chunked", LEARNED)
def attend(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend, computed in float32 (float64 in float64)."""
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    params = {name: param.to(wide) for name, param in call.params.items()}
    group = q.shape[1] // k.shape[1]
    keys, values = (x.to(wide).repeat_interleave(group, 1) if group > 1 else x.to(wide) for x in (k, v))
    query, key, units = projected(q.to(wide), keys, call.spec.score, params)
    shape = InRows(
        heads=q.shape[0] * q.shape[1],
        queries=q.shape[2],
        keys=k.shape[2],
        units=1 if units is None else units.shape[-1],
        device=kind_of(q.device),
        scale=1.0 if call.spec.unscaled else call.scale,
        offset=call.offset if call.spec.causal else None,
    )
    # The hidden unit first: what belongs to one unit lies in one piece of memory.
    flat = (query.flatten(0, 1).mT.contiguous(), key.flatten(0, 1).mT.contiguous(), values.flatten(0, 1))
    of_heads = None if units is None else units.expand(q.shape[1], -1).repeat(q.shape[0], 1)
    output, lse = InBlocks.apply(*flat, of_heads, shape)  # type: ignore[no-untyped-call]
    output, lse = output.unflatten(0, q.shape[:2]), lse.unflatten(0, q.shape[:2])
    return AttentionOutput(output.to(q.dtype), lse=lse if call.wants("lse") else None)


def projected(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hq S D"],
    score: str,
    params: dict[str, Float[Tensor, " ..."]],
) -> tuple[Float[Tensor, "B Hq Tq n"], Float[Tensor, "B Hq S n"], Float[Tensor, "#Hq n"] | None]:
    """What the score multiplies, or sums below a tanh with these weights."""
    if score == "dot":
        return q, k, None
    if score == "general":
        return q @ params["W"], k, None
    if score == "additive":
        return q @ params["Wq"] + params["b"][:, None, :], k @ params["Wk"], params["v"]
    d = q.shape[-1]
    return q @ params["W"][:, :d], k @ params["W"][:, d:], params["v"]
