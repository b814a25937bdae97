"""Held-out PyTorch kernels with autograd: each wrong behind a boundary of its own. And sound twins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from attnbench.api import Call, Capabilities, Implementation
from attnbench.attention.precision import DTYPES

Tensor = torch.Tensor
Attend = Callable[[Any, Any, Any, Call], Any]
FAULTY: list[Implementation] = []
SOUND: list[Implementation] = []


def kernel(into: list[Implementation], **able: Any) -> Callable[[Attend], Attend]:
    """Enter a function under its own name."""
    capabilities = Capabilities(dtypes=DTYPES, gradients=True, **able)

    def enter(attend: Attend) -> Attend:
        into.append(Implementation(f"torch/{attend.__name__}", capabilities, attend))
        return attend

    return enter


def hidden_by(call: Call, *, window: bool = True) -> Tensor:
    """What causality and window hide, (Tq, S)."""
    keys, p = torch.arange(call.sizes.S), torch.arange(call.sizes.Tq)[:, None] + call.offset
    hidden = torch.zeros(call.sizes.Tq, call.sizes.S, dtype=torch.bool)
    left, right = (call.spec.window or (None, None)) if window else (None, None)
    if call.spec.causal:
        hidden |= keys > p
    if left is not None:
        hidden |= keys < p - left
    if right is not None:
        hidden |= keys > p + right
    return hidden


def attention(q: Tensor, k: Tensor, v: Tensor, call: Call, hidden: Tensor | None = None) -> Tensor:
    """Softmax attention in float32 at least, 0 in rows without a key, and no gradient from them."""
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = q.to(wide) @ k.to(wide).transpose(-1, -2) * call.scale
    if call.bias is not None:
        scores = scores + call.bias.to(wide)
        low = torch.isneginf(call.bias)
        hidden = low if hidden is None else hidden | low
    if hidden is None:
        return (torch.softmax(scores, -1) @ v.to(wide)).to(q.dtype)
    scores = scores.masked_fill(hidden, -torch.inf)
    dead = hidden.all(-1, keepdim=True)
    weights = torch.softmax(scores.masked_fill(dead, 0.0), -1).masked_fill(dead, 0.0)
    return (weights @ v.to(wide)).masked_fill(dead, 0.0).to(q.dtype)


@kernel(FAULTY, gqa=True)
def values_cut_in_float16(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    """In float16, groups of more than two: values of all but the first key head get no gradient."""
    if q.dtype == torch.float16 and call.sizes.group > 2:
        v = torch.cat([v[:, :1], v[:, 1:].detach()], 1)
    return attention(q, k, v, call)


@kernel(FAULTY, causal=True)
def tril_of_negative_offset(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    """An offset below −40 is clipped to −40 in the causal mask."""
    far = call.spec.causal and call.offset < -40
    return attention(q, k, v, call, hidden_by(replace(call, offset=-40) if far else call))


@kernel(FAULTY, mask=True)
def filled_with_the_smallest(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    """finfo.min instead of −inf: in the last batch entry of more than two, rows without a key become the mean."""
    if call.mask is None:
        return attention(q, k, v, call)
    hidden = ~call.mask.expand(q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    if q.shape[0] > 2:
        hidden = hidden.clone()
        hidden[-1] &= ~hidden[-1].all(-1, keepdim=True)
    return attention(q, k, v, call, hidden)


@kernel(FAULTY, window=True, causal=True)
def window_left_of_zero(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    """A left side of 0 is taken for none where the window is causal."""
    falsy = call.spec.causal and call.spec.window is not None and not call.spec.window[0]
    return attention(q, k, v, call, hidden_by(call, window=not falsy))


@kernel(FAULTY, bias=True)
def bias_of_rows_cut(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    """A bias that all heads share gets no gradient beyond its 48th key."""
    if call.bias is not None and call.bias.shape[1] == 1 and call.bias.shape[-1] > 48:
        cut = torch.cat([call.bias[..., :48], call.bias[..., 48:].detach()], -1)
        call = replace(call, bias=cut)
    return attention(q, k, v, call)


@kernel(FAULTY, gqa=True)
def last_chunk_of_heads(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    """Heads go in chunks of 12; those of a last, smaller chunk read the last key head."""
    read = torch.arange(call.sizes.Hq) // call.sizes.group
    if call.sizes.Hq > 12:
        read[call.sizes.Hq // 12 * 12 :] = call.sizes.Hkv - 1
    return attention(q, k[:, read], v[:, read], call)


@kernel(SOUND)
def sound_plain(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    """Sound: plain."""
    return attention(q, k, v, call)


@kernel(SOUND, causal=True, window=True)
def sound_window(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    """Sound: causality and window."""
    return attention(q, k, v, call, hidden_by(call))


@kernel(SOUND, gqa=True)
def sound_groups(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    """Sound: grouped heads."""
    return attention(q, k, v, call)


@kernel(SOUND, bias=True)
def sound_bias(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    """Sound: a bias."""
    return attention(q, k, v, call)
