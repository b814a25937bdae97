"""``triton/additive``: Bahdanau's score, v·tanh(q W_q + k W_k + b), fused with the softmax; memory grows with T alone.

The projections are PyTorch's products, differentiated by its autograd. What is quadratic is in four kernels
(``kernels``): forward, the gradients of queries and of the weights of the hidden units, those of keys, and
those of values. The backward pass computes scores again, tile by tile. Legend of the shapes in
``attnbench.attention.spec``; N is B · Hq.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnbench.api import AttentionOutput, Capabilities, Limit, implementation
from attnbench.impls.triton_backend.declared import IN_FLOAT32, INTERPRETED
from attnbench.impls.triton_backend.importing import INTERPRETED as IS_INTERPRETED
from attnbench.impls.triton_backend.importing import launching
from attnbench.impls.triton_backend.learned import kernels
from attnbench.impls.triton_backend.tiles import INTERPRETED as NO_GPU
from attnbench.impls.triton_backend.tiles import architecture_of, width_of

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from attnbench.api import Call

# Queries and keys of a tile on a GPU; in the interpreter no more hidden units than these are summed one by one.
SIDE, MOST_STEPS = 32, 200
# Channels of values whose gradient a program sums.
SLAB = 64
# With 255 registers for each thread, which is all there are, ptxas spills none of them; by itself it takes fewer.
OPTIONS = {"num_warps": 4, "num_stages": 1, "maxnreg": 255, "enable_fp_fusion": True}

# The worst case of the tanh on a GPU, which docs/backends.md derives.
ARITHMETIC = replace(IN_FLOAT32, tanh_ulp=9.0)
# What has an element for every query and key, or asks for a gradient of each.
QUADRATIC = "it would grow with Tq · S, as nothing here does"
PRODUCT = "a product of queries and keys has no hidden units to sum"
ON_GPU = Capabilities(
    scores=("additive", "concat"),
    dtypes=("float32", "bfloat16", "float16"),
    devices=("cpu", "cuda"),
    causal=True,
    gqa=True,
    window=True,
    lengths=True,
    segments=True,
    softcap=True,
    sinks=True,
    head_scale=True,
    batch_offset=True,
    lse=True,
    gradients=True,
    precision={"float32": ARITHMETIC, **{low: replace(ARITHMETIC, p_cast=low) for low in ("bfloat16", "float16")}},
    lacks={
        "float64": "its sums are float32",
        **dict.fromkeys(("dot", "general", "cosine"), PRODUCT),
        **dict.fromkeys(("mask", "bias", "dropout", "stages"), QUADRATIC),
        "slopes": "it adds nothing to the logits",
        "log_n": "the scale is settled before the keys of a row are counted",
        "nan_isolation": "0 · NaN is NaN in its sums",
    },
    limits=(Limit("Dv", "with more channels a tile does not fit the registers of a GPU", at_most=128),),
)
ON_CPU = replace(
    ON_GPU,
    dtypes=("float32", "float16"),
    lacks={**ON_GPU.lacks, "bfloat16": "Triton's interpreter multiplies bfloat16 wrongly"},
    limits=(
        *ON_GPU.limits,
        *(
            Limit(of, INTERPRETED, at_most=most)
            for of, most in (("B*Hq*Tq*S", 2**19), ("B*Hq*Tq", 2**13), ("B*Hq*S", 2**13))
        ),
    ),
)


@dataclass(frozen=True)
class TileSizes:
    """How large the tiles are: queries or keys, channels of values, and hidden units at a time and for a program.

    A GPU sums hidden units one by one, which fits its registers. For the interpreter, where a step on few numbers costs
    as much as one on many, all is larger; but where a precheck stands in for a GPU, small calls have the GPU's tiles.
    ``step`` is how many channels one product sums.
    """

    side: int
    channels: int
    step: int
    chunk: int
    chunks: int

    @classmethod
    def of(cls, q: Float[Tensor, "B Hq Tq D"], v: Float[Tensor, "B Hkv S Dv"], units: int) -> TileSizes:
        """For a call. 32-bit products are no tensor core's: their operands lie in registers, so that they are small."""
        width = width_of(v.shape[3])
        tiles = blocks_of(q.shape[2], SIDE) * blocks_of(v.shape[2], SIDE)
        if architecture_of(v) == NO_GPU or (IS_INTERPRETED and q.shape[0] * q.shape[1] * tiles * units > MOST_STEPS):
            chunk = min(power_of_two(units), 64)
            return cls(64, width, width, chunk, min(power_of_two(blocks_of(units, chunk)), 8))
        return cls(
            SIDE, width, min(width, 16 if v.dtype == torch.float32 else 64), 1, min(max(16, power_of_two(units)), 64)
        )

    def sizes(self) -> dict[str, int]:
        """By the names that kernels have for them."""
        sizes = {"BLOCK_M": self.side, "BLOCK_N": self.side, "BLOCK_V": self.channels, "STEP_V": self.step}
        return sizes | {"CHUNK": self.chunk, "CHUNKS": self.chunks, "SLAB": SLAB}


def blocks_of(length: int, size: int) -> int:
    """How many blocks of a size a length has."""
    return -(-length // size)


def power_of_two(size: int) -> int:
    """The smallest one that is not below ``size``."""
    return 1 << max(0, size - 1).bit_length()


@dataclass(frozen=True)
class Launching:
    """What kernels are launched with besides what depends on queries, keys and values."""

    heads: int
    tiles: TileSizes
    given: dict[str, Any]

    @classmethod
    def of(cls, q: Float[Tensor, "B Hq Tq D"], v: Float[Tensor, "B Hkv S Dv"], call: Call, units: int) -> Launching:
        """For a call."""
        left, right = call.spec.window or (None, None)
        right = 0 if call.spec.causal else right
        segments = {name: getattr(call, name) for name in ("q_segments", "kv_segments")}
        tiles = TileSizes.of(q, v, units)
        places = places_of(call, q.device)
        given = {name: places if ids is None else ids.contiguous() for name, ids in segments.items()} | tiles.sizes()
        given |= {"scales": of_heads(call, q.device), "places": places, "softcap": call.spec.softcap or 1.0}
        given |= {"heads": q.shape[1], "group": q.shape[1] // v.shape[1], "Tq": q.shape[2], "S": v.shape[2]}
        given |= {"n_units": units, "Dv": v.shape[3], "left": left or 0, "right": right or 0}
        given |= {"HAS_LEFT": left is not None, "HAS_RIGHT": right is not None}
        given |= {"HAS_SEGMENTS": call.q_segments is not None, "HAS_CAP": call.spec.softcap is not None}
        return cls(q.shape[1], tiles, given)

    def launch(self, kernel: Any, blocks: int, slabs: int, **arrays: Float[Tensor, " ..."]) -> None:
        """Run a kernel for all heads and blocks of queries or keys, and for slabs of what it sums by."""
        given = self.given | arrays
        arguments = {name: given[name] for name in kernel.arg_names}
        with launching():
            kernel[(len(arrays["query"]) * blocks, slabs)](**arguments, **OPTIONS)


def places_of(call: Call, device: torch.device) -> Int[Tensor, "B 3"]:
    """The offset, the number of queries and the number of keys of each batch entry."""
    places = torch.empty((call.sizes.B, 3), dtype=torch.int32, device=device)
    given = (call.offset, 0), (call.q_lengths, call.sizes.Tq), (call.kv_lengths, call.sizes.S)
    for column, (value, default) in enumerate(given):
        places[:, column] = default if value is None else value
    return places


def of_heads(call: Call, device: torch.device) -> Float[Tensor, " Hq"]:
    """The scale of each query head."""
    scales = torch.empty(call.sizes.Hq, dtype=torch.float32, device=device)
    scales[:] = 1.0 if call.spec.unscaled else call.scale
    return scales


class InTiles(torch.autograd.Function):
    """Output and lse of queries and keys after their projections, in float32."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Float[Tensor, "N Da Tq"],
        key: Float[Tensor, "N Da S"],
        values: Float[Tensor, "B Hkv S Dv"],
        weights: Float[Tensor, "Hq Da"],
        sinks: Float[Tensor, " Hq"] | None,
        how: Launching,
    ) -> tuple[Float[Tensor, "N Tq Dv"], Float[Tensor, "N Tq"]]:
        """The kernel ``forward``."""
        n, queries = query.shape[0], query.shape[2]
        output, lse = query.new_empty(n, queries, values.shape[3]), query.new_empty(n, queries)
        logits = query.new_full((how.heads,), -math.inf) if sinks is None else sinks
        arrays = {"query": query, "key": key, "values": values, "weights": weights}
        how.launch(
            kernels.forward, blocks_of(queries, how.tiles.side), 1, **arrays, sinks=logits, output=output, lse=lse
        )
        ctx.save_for_backward(query, key, values, weights, sinks, output, lse)
        ctx.how = how
        ctx.set_materialize_grads(False)
        return output, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Float[Tensor, " ..."] | None) -> tuple[Float[Tensor, " ..."] | None, ...]:
        """The kernels ``backward_of_queries`` and ``backward_of_keys``; what belongs to rows alone is done here."""
        query, key, values, weights, sinks, output, lse = ctx.saved_tensors
        how, tiles = ctx.how, ctx.how.tiles
        d_output = torch.zeros_like(output) if cotangents[0] is None else cotangents[0]
        less = (d_output * output).sum(-1)
        if cotangents[1] is not None:
            less -= cotangents[1]
        d_output = d_output.to(values.dtype).contiguous()  # the dtype in which it came: nothing is rounded
        arrays = {"query": query, "key": key, "values": values, "weights": weights, "lse": lse, "less": less}
        arrays["d_output"] = d_output

        rows, cols = (blocks_of(x.shape[2], tiles.side) for x in (query, key))
        slabs = blocks_of(query.shape[1], tiles.chunk * tiles.chunks)
        d_query, d_key = torch.empty_like(query), torch.empty_like(key)
        d_weights = query.new_empty(query.shape[0], rows, query.shape[1])
        d_values = query.new_empty(query.shape[0], key.shape[2], values.shape[3])
        how.launch(kernels.backward_of_queries, rows, slabs, **arrays, d_query=d_query, d_weights=d_weights)
        how.launch(kernels.backward_of_keys, cols, slabs, **arrays, d_key=d_key)
        how.launch(kernels.backward_of_values, cols, blocks_of(values.shape[3], SLAB), **arrays, d_values=d_values)

        batch, kv_heads = values.shape[:2]
        d_values = d_values.view(batch, kv_heads, -1, *d_values.shape[1:]).sum(2).to(values.dtype)
        d_weights = d_weights.sum(1).view(batch, how.heads, -1).sum(0)
        return d_query, d_key, d_values, d_weights, d_sinks(sinks, lse, less), None


def d_sinks(
    sinks: Float[Tensor, " Hq"] | None, lse: Float[Tensor, "N Tq"], less: Float[Tensor, "N Tq"]
) -> Float[Tensor, " Hq"] | None:
    """The gradient of a logit without a value: its weight times what is taken from the gradient of each weight."""
    if sinks is None:
        return None
    by_head = (-1, sinks.shape[0], lse.shape[1])
    shift = torch.where(lse.isneginf(), 0.0, lse).view(by_head)
    return -(torch.exp(sinks[:, None] - shift) * less.view(by_head)).sum((0, 2))


@implementation("triton/additive", ON_CPU, on={"cuda": ON_GPU})
def attend(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend: projections in float32, then the kernels."""
    query, key, weights = projected(q.float(), k.float(), call)
    how = Launching.of(q, v, call, weights.shape[1])
    sinks = None if call.sinks is None else call.sinks.float()
    # The hidden unit first: what belongs to one unit lies in one piece of memory.
    flat = (query.flatten(0, 1).mT.contiguous(), key.flatten(0, 1).mT.contiguous(), v.contiguous())
    output, lse = InTiles.apply(*flat, weights, sinks, how)  # type: ignore[no-untyped-call]
    output, lse = output.unflatten(0, q.shape[:2]), lse.unflatten(0, q.shape[:2])
    return AttentionOutput(output.to(q.dtype), lse=lse if call.wants("lse") else None)


def projected(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], call: Call
) -> tuple[Float[Tensor, "B Hq Tq Da"], Float[Tensor, "B Hq S Da"], Float[Tensor, "Hq Da"]]:
    """Queries and keys as they meet below the tanh, and the weights of the hidden units."""
    params = {name: param.float() for name, param in call.params.items()}
    heads, depth = q.shape[1], q.shape[3]
    keys = k.repeat_interleave(heads // k.shape[1], 1)  # W_k may differ between the query heads of a group
    weights = params["v"].expand(heads, -1).contiguous()
    if call.spec.score == "additive":
        return q @ params["Wq"] + params["b"][:, None, :], keys @ params["Wk"], weights
    return q @ params["W"][:, :depth], keys @ params["W"][:, depth:], weights
