"""A stand-in for PyTorch's two CUDA kernels behind ``varlen_attn``, on the CPU: sequence by sequence, by the formula.

They refuse what the kernels of FlashAttention-2 in PyTorch 2.13 refuse (``flash_api.cpp``), and round where these do: P
and dS before the products that they enter, the output before the backward pass reads it, and the gradients of shared
keys and values head by head.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sequence:
    """The rows of one sequence, and which of its pairs may attend."""

    queries: slice
    keys: slice
    allowed: Tensor


def refuse(q: Tensor, k: Tensor, v: Tensor, ends: tuple[Tensor, Tensor], longest: tuple[int, int]) -> None:
    """Raise as the kernels do, and where they would read or write what is not there."""
    for said, holds in {
        "FlashAttention only support fp16 and bf16 data type": q.dtype in (torch.float16, torch.bfloat16),
        "query, key and value must have the same dtype": q.dtype == k.dtype == v.dtype,
        "FlashAttention forward only supports head dimension at most 256": q.shape[2] <= 256,
        "query, key, value, and out_ must have a head_size that is a multiple of 8": q.shape[2] % 8 == 0,
        "key and value must have the shape (total_k, num_heads_k, head_size)": k.shape == v.shape
        and k.shape[2] == q.shape[2],
        "Number of heads in key/value must divide number of heads in query": q.shape[1] % k.shape[1] == 0,
        "Input tensor must have contiguous last dimension": all(x.stride(-1) == 1 for x in (q, k, v)),
        "cu_seqlens must have dtype int32": all(end.dtype == torch.int32 for end in ends),
        "batch size must be positive": len(ends[0]) == len(ends[1]) > 1,
        "the sequences are not all of the tokens": [int(end[-1]) for end in ends] == [len(q), len(k)],
        "a sequence is longer than the longest": all(
            int(end.diff().max()) <= most for end, most in zip(ends, longest, strict=True)
        ),
    }.items():
        if not holds:
            raise RuntimeError(said)


def sequences(
    ends: tuple[Tensor, Tensor], longest: tuple[int, int], window: tuple[int, int], causal: bool
) -> Iterator[Sequence]:
    """Every sequence, aligned at its last query and its last key."""
    left, right = (-1 if side >= longest[1] else side for side in window)
    right = 0 if causal else right
    for number in range(len(ends[0]) - 1):
        queries, keys = (slice(int(end[number]), int(end[number + 1])) for end in ends)
        n, m = queries.stop - queries.start, keys.stop - keys.start
        p, j = torch.arange(n)[:, None] + m - n, torch.arange(m)
        allowed = torch.ones(n, m, dtype=torch.bool)
        allowed &= (j >= p - left) if left >= 0 else allowed
        allowed &= (j <= p + right) if right >= 0 else allowed
        yield Sequence(queries, keys, allowed)


def sides(left: int | None, right: int | None) -> tuple[int, int]:
    """A window, -1 being without end."""
    return -1 if left is None else left, -1 if right is None else right


def by_head(x: Tensor, rows: slice, group: int) -> Tensor:
    """(Hq, rows, D) in float32, each key head for all that share it."""
    return x[rows].transpose(0, 1).float().repeat_interleave(group, 0)


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cum_seq_q: Tensor,
    cum_seq_k: Tensor,
    max_q: int,
    max_k: int,
    dropout_p: float,
    is_causal: bool,
    return_debug_mask: bool,
    *,
    scale: float | None = None,
    window_size_left: int | None = None,
    window_size_right: int | None = None,
    **others: Any,
) -> tuple[Tensor, ...]:
    """``aten::_flash_attention_forward``."""
    assert dropout_p == 0
    assert not return_debug_mask
    assert not any(value is not None for value in others.values())
    ends, longest = (cum_seq_q, cum_seq_k), (max_q, max_k)
    refuse(q, k, v, ends, longest)
    factor = q.shape[2] ** -0.5 if scale is None else scale
    output, lse = torch.full_like(q, torch.nan), torch.full((q.shape[1], len(q)), torch.nan)
    for one in sequences(ends, longest, sides(window_size_left, window_size_right), is_causal):
        group = q.shape[1] // k.shape[1]
        queries = by_head(q, one.queries, 1)
        keys, values = (by_head(x, one.keys, group) for x in (k, v))
        # The maximum is that of the products before the scale, as in the kernel: a scale below 0 overflows there.
        products = (queries @ keys.transpose(1, 2)).masked_fill(~one.allowed, -torch.inf)
        top = products.amax(-1, keepdim=True)
        terms = torch.exp(products * factor - torch.where(top == -torch.inf, 0, top) * factor)
        total = terms.sum(-1, keepdim=True)
        some = torch.where(total == 0, 1, total)
        output[one.queries] = ((terms.to(q.dtype).float() @ values) / some).to(q.dtype).transpose(0, 1)
        lse[:, one.queries] = torch.where(total == 0, torch.inf, top * factor + some.log())[..., 0]
    state = torch.zeros(2, dtype=torch.uint64)
    return output, lse, state, torch.empty(0), torch.empty(0)


def backward(
    d_output: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    output: Tensor,
    lse: Tensor,
    cum_seq_q: Tensor,
    cum_seq_k: Tensor,
    max_q: int,
    max_k: int,
    dropout_p: float,
    is_causal: bool,
    rng_state: Tensor,
    unused: Tensor,
    *,
    scale: float | None = None,
    window_size_left: int | None = None,
    window_size_right: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """``aten::_flash_attention_backward``."""
    assert dropout_p == 0
    del rng_state, unused
    ends, longest = (cum_seq_q, cum_seq_k), (max_q, max_k)
    refuse(q, k, v, ends, longest)
    factor = q.shape[2] ** -0.5 if scale is None else scale
    group, low = q.shape[1] // k.shape[1], q.dtype
    d_q, d_k, d_v = (torch.full_like(x, torch.nan) for x in (q, k, v))
    for one in sequences(ends, longest, sides(window_size_left, window_size_right), is_causal):
        queries, above, result = (by_head(x, one.queries, 1) for x in (q, d_output, output))
        keys, values = (by_head(x, one.keys, group) for x in (k, v))
        products = (queries @ keys.transpose(1, 2)).masked_fill(~one.allowed, -torch.inf)
        weights = torch.exp(products * factor - lse[:, one.queries, None])
        delta = (above * result).sum(-1, keepdim=True)
        d_products = (weights * (above @ values.transpose(1, 2) - delta)).to(low).float()
        d_q[one.queries] = (d_products @ keys * factor).to(low).transpose(0, 1)
        d_keys = (d_products.transpose(1, 2) @ queries * factor).to(low)
        d_values = (weights.to(low).float().transpose(1, 2) @ above).to(low)
        for gradient, heads in ((d_k, d_keys), (d_v, d_values)):
            shared = heads.float().unflatten(0, (-1, group)).sum(1)
            gradient[one.keys] = shared.to(low).transpose(0, 1)
    return d_q, d_k, d_v


@contextmanager
def kernels_on_the_cpu() -> Iterator[None]:
    """Within it PyTorch's operators find these kernels for tensors on the CPU."""
    library = torch.library.Library("aten", "IMPL")
    library.impl("_flash_attention_forward", forward, "CPU")
    library.impl("_flash_attention_backward", backward, "CPU")
    try:
        yield
    finally:
        library._destroy()
