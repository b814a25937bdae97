"""``triton/flash``: FlashAttention-2 (Dao 2023) in Triton, forward and backward.

Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnbench.api import AttentionOutput, implementation
from attnbench.impls.triton_backend import tiles
from attnbench.impls.triton_backend.backward import gradients_of_keys, gradients_of_queries, sum_rows
from attnbench.impls.triton_backend.backward_bias import gradient_of_bias
from attnbench.impls.triton_backend.declared import ON_CPU, ON_GPU
from attnbench.impls.triton_backend.forward import attend_tile
from attnbench.impls.triton_backend.importing import launching
from attnbench.impls.triton_backend.rules import rules_of, strides_of

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.api import Call

# Rows of Δ that one program sums.
ROWS = 32


@implementation("triton/flash", ON_CPU, on={"cuda": ON_GPU})
def attend(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend by the kernels."""
    output, lse = Flash.apply(q, k, v, call.bias, call.sinks, rules_of(call))  # type: ignore[no-untyped-call]
    return AttentionOutput(output, lse=lse if call.wants("lse") else None)


class Flash(torch.autograd.Function):
    """Output and lse, and what autograd asks of them."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Float[Tensor, "B Hq Tq D"],
        k: Float[Tensor, "B Hkv S D"],
        v: Float[Tensor, "B Hkv S Dv"],
        bias: Float[Tensor, "#B #Hq #Tq #S"] | None,
        sinks: Float[Tensor, " Hq"] | None,
        rules: dict[str, Any],
    ) -> tuple[Float[Tensor, "B Hq Tq Dv"], Float[Tensor, "B Hq Tq"]]:
        """One launch."""
        output, lse, sums = attended(q, k, v, sinks, rules)
        ctx.save_for_backward(q, k, v, bias, sinks, output, lse, sums)
        ctx.rules = rules
        ctx.set_materialize_grads(False)
        return output, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Float[Tensor, " ..."] | None) -> tuple[Float[Tensor, " ..."] | None, ...]:
        """Δ of each row, and then a launch for each operand whose gradient is wanted."""
        q, k, v, bias, sinks, output, lse, sums = ctx.saved_tensors
        d_output, d_lse = cotangents
        d_output = torch.zeros_like(output) if d_output is None else d_output.contiguous()
        delta = row_sums(output, d_output, None if d_lse is None else d_lse.contiguous())
        given = q, k, v, d_output, lse if sums is None else sums, delta
        of_q, of_k, of_v, of_bias, of_sinks, _ = ctx.needs_input_grad
        d_q = d_queries(*given, ctx.rules) if of_q else None
        d_k, d_v = d_keys(*given, ctx.rules) if of_k or of_v else (None, None)
        d_bias = d_bias_of(*given, bias, ctx.rules) if of_bias else None
        d_sinks = d_sinks_of(sinks, lse, delta) if of_sinks else None
        return d_q, d_k, d_v, d_bias, d_sinks, None


def attended(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    sinks: Float[Tensor, " Hq"] | None,
    rules: dict[str, Any],
) -> tuple[Float[Tensor, "B Hq Tq Dv"], Float[Tensor, "B Hq Tq"], Float[Tensor, "B Hq Tq 2"] | None]:
    """Output and lse; with a bias the largest logit and the sum of each row as well."""
    tile = tiles.of("forward", q, v, rules)
    output = torch.empty(*q.shape[:3], v.shape[3], dtype=q.dtype, device=q.device)
    lse = torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
    sums = None if rules["bias"] is None else torch.empty(*lse.shape, 2, dtype=torch.float32, device=q.device)
    grid = (q.shape[0] * q.shape[1] * tiles.count(q.shape[2], tile.queries),)
    with launching():
        attend_tile[grid](
            q, k, v, output, lse, sums, sinks=sinks, **rules, **strides_of(q=q, k=k, v=v), **tile.shape(),
            **tile.options(),
        )  # fmt: skip
    return output, lse, sums


def row_sums(
    output: Float[Tensor, "B Hq Tq Dv"],
    d_output: Float[Tensor, "B Hq Tq Dv"],
    d_lse: Float[Tensor, "B Hq Tq"] | None,
) -> Float[Tensor, "B Hq Tq"]:
    """Δ = Σ dO·O − d_lse."""
    delta = torch.empty(output.shape[:3], dtype=torch.float32, device=output.device)
    grid = (tiles.count(delta.numel(), ROWS),)
    with launching():
        sum_rows[grid](
            output, d_output, d_lse, delta, delta.numel(), output.shape[3], BLOCK_M=ROWS,
            BLOCK_DV=tiles.width_of(output.shape[3]), num_warps=4, enable_fp_fusion=True,
        )  # fmt: skip
    return delta


def d_queries(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    d_output: Float[Tensor, "B Hq Tq Dv"],
    lse: Float[Tensor, "B Hq Tq"] | Float[Tensor, "B Hq Tq 2"],
    delta: Float[Tensor, "B Hq Tq"],
    rules: dict[str, Any],
) -> Float[Tensor, "B Hq Tq D"]:
    """The gradient of q."""
    tile = tiles.of("queries", q, v, rules)
    d_q = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    grid = (q.shape[0] * q.shape[1] * tiles.count(q.shape[2], tile.queries),)
    with launching():
        gradients_of_queries[grid](
            q, k, v, d_output, lse, delta, d_q, **rules, **strides_of(q=q, k=k, v=v), **tile.shape(), **tile.options()
        )  # fmt: skip
    return d_q


def d_keys(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    d_output: Float[Tensor, "B Hq Tq Dv"],
    lse: Float[Tensor, "B Hq Tq"] | Float[Tensor, "B Hq Tq 2"],
    delta: Float[Tensor, "B Hq Tq"],
    rules: dict[str, Any],
) -> tuple[Float[Tensor, "B Hkv S D"], Float[Tensor, "B Hkv S Dv"]]:
    """The gradients of k and v."""
    tile = tiles.of("keys", q, v, rules)
    d_k, d_v = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (k, v))
    grid = (k.shape[0] * k.shape[1] * tiles.count(k.shape[2], tile.keys),)
    with launching():
        gradients_of_keys[grid](
            q, k, v, d_output, lse, delta, d_k, d_v, **rules, **strides_of(q=q, k=k, v=v), **tile.shape(),
            **tile.options(),
        )  # fmt: skip
    return d_k, d_v


def d_bias_of(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    d_output: Float[Tensor, "B Hq Tq Dv"],
    lse: Float[Tensor, "B Hq Tq"] | Float[Tensor, "B Hq Tq 2"],
    delta: Float[Tensor, "B Hq Tq"],
    bias: Float[Tensor, "#B #Hq #Tq #S"],
    rules: dict[str, Any],
) -> Float[Tensor, "#B #Hq #Tq #S"]:
    """The gradient of a bias, whose shared batch entries and heads the kernel sums; the rest of a shared axis here."""
    tile = tiles.of("bias", q, v, rules)
    batches, heads = (full // kept for full, kept in zip(q.shape[:2], bias.shape[:2], strict=True))
    down, across = tiles.count(q.shape[2], tile.queries), tiles.count(k.shape[2], tile.keys)
    shared_t, shared_s = bias.shape[2] == 1, bias.shape[3] == 1
    shape = (*bias.shape[:2], down if shared_t else q.shape[2], across if shared_s else k.shape[2])
    parts = torch.empty(shape, dtype=torch.float32, device=q.device)
    with launching():
        gradient_of_bias[(bias.shape[0] * bias.shape[1] * down * across,)](
            q, k, v, d_output, lse, delta, parts, **rules, **strides_of(q=q, k=k, v=v), OWN_H=bias.shape[1],
            BATCHES=batches, HEADS=heads, SHARED_T=shared_t, SHARED_S=shared_s, **tile.shape(), **tile.options(),
        )  # fmt: skip
    return parts.sum_to_size(bias.shape).to(bias.dtype)


def d_sinks_of(
    sinks: Float[Tensor, " Hq"], lse: Float[Tensor, "B Hq Tq"], delta: Float[Tensor, "B Hq Tq"]
) -> Float[Tensor, " Hq"]:
    """The gradient of the sinks: each has the weight exp(sink − lse) in a row, and the value 0."""
    logits = sinks.to(torch.float32)[:, None]
    weights = torch.exp(logits - lse).masked_fill(logits == -math.inf, 0.0)  # of a row without a key and a sink as well
    return -(weights * delta).sum((0, 2)).to(sinks.dtype)
