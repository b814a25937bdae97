"""Small kernels that are wrong somewhere only, and sound twins, for what the plan must and must not accuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from attnbench.api import Capabilities, Implementation, implementation
from attnbench.attention.arrays import Array

Change = Callable[[str, Array, Any], Array]


def soft(scores: Array, v: Array) -> Array:
    """Weights of the allowed keys (the others at −inf), times the values; a row without a key is 0."""
    top = scores.max(-1, keepdims=True)
    terms = np.exp(scores - np.where(np.isinf(top), 0, top))
    total = terms.sum(-1, keepdims=True)
    output: Array = np.einsum("bhts,bhsd->bhtd", terms / np.where(total == 0, 1, total), v).astype(v.dtype)
    return output


def scored(q: Array, k: Array, scale: float) -> Array:
    """q·k times the scale."""
    scores: Array = np.einsum("bhtd,bhsd->bhts", q, k) * scale
    return scores


def causal(name: str, positions: Callable[[Array, Any, int], Array]) -> Implementation:
    """A causal kernel whose positions are changed by ``positions(p, call, queries)``."""

    @implementation(f"numpy/{name}", Capabilities(causal=True))
    def attend(q: Array, k: Array, v: Array, call: Any) -> Array:
        scores = scored(q, k, call.scale)
        if call.spec.causal:
            p = positions(np.arange(q.shape[2])[:, None], call, q.shape[2])
            scores = np.where(np.arange(k.shape[2]) <= p, scores, -np.inf)
        return soft(scores, v)

    return attend


def grouped(name: str, read: Callable[[int, int], Array]) -> Implementation:
    """Grouped heads: query head h reads the key head ``read(Hq, Hkv)[h]``."""

    @implementation(f"numpy/{name}", Capabilities(gqa=True))
    def attend(q: Array, k: Array, v: Array, call: Any) -> Array:
        heads = read(q.shape[1], k.shape[1])
        return soft(scored(q, k[:, heads], call.scale), v[:, heads])

    return attend


def windowed(name: str, right_0: bool) -> Implementation:
    """A window whose right side of 0 is taken for none, or not."""

    @implementation(f"numpy/{name}", Capabilities(window=True))
    def attend(q: Array, k: Array, v: Array, call: Any) -> Array:
        p, j = np.arange(q.shape[2])[:, None] + call.offset, np.arange(k.shape[2])
        left, right = call.spec.window or (None, None)
        seen = np.ones((q.shape[2], k.shape[2]), bool)
        if left is not None:
            seen &= j >= p - left
        if right is not None and (right > 0 or right_0):
            seen &= j <= p + right
        return soft(np.where(seen, scored(q, k, call.scale), -np.inf), v)

    return attend


def sized(name: str, wrong: Callable[[Any], Any]) -> Implementation:
    """Plain attention that drops the last key where ``wrong(sizes)``."""

    @implementation(f"numpy/{name}", Capabilities())
    def attend(q: Array, k: Array, v: Array, call: Any) -> Array:
        if wrong(call.sizes) and k.shape[2] > 1:
            k, v = k[:, :, :-1], v[:, :, :-1]
        return soft(scored(q, k, call.scale), v)

    return attend


def lengths(name: str, hidden: float | None) -> Implementation:
    """Lengths, hidden by −inf or by the lowest number: then a sequence of length 0 becomes a mean."""

    @implementation(f"numpy/{name}", Capabilities(lengths=True))
    def attend(q: Array, k: Array, v: Array, call: Any) -> Array:
        scores, j = scored(q, k, call.scale), np.arange(k.shape[2])
        if call.kv_lengths is not None:
            low = -np.inf if hidden is None else np.finfo(q.dtype).min
            scores = np.where((j < call.kv_lengths[:, None])[:, None, None], scores, low)
        output = soft(scores, v)
        if call.q_lengths is not None:
            there = np.arange(q.shape[2]) < call.q_lengths[:, None]
            output = np.where(there[:, None, :, None], output, output.dtype.type(0))
        return output

    return attend


WRONG = (
    causal("tile-start", lambda i, call, _: i % 128 + call.offset),
    causal("one-query", lambda i, call, queries: i + call.offset if queries > 1 else i + 10**6),
    causal("far-offset", lambda i, call, _: i + max(call.offset, -40) if isinstance(call.offset, int) else i),
    grouped("threes", lambda hq, hkv: np.minimum(np.arange(hq) // (2 if hq // hkv == 3 else hq // hkv), hkv - 1)),
    grouped("fives", lambda hq, hkv: np.arange(hq) % hkv if hq // hkv == 5 else np.arange(hq) // (hq // hkv)),
    windowed("right-0", right_0=False),
    sized("many-keys", lambda sizes: sizes.S > 2048),
    sized("seventeen-heads", lambda sizes: sizes.Hq > 16),
    sized("ninth-entry", lambda sizes: sizes.B > 8),
    sized("many-queries", lambda sizes: sizes.Tq > 1024),
    lengths("length-0", 0.0),
)
SOUND = (
    causal("causal", lambda i, call, _: i + call.offset),
    grouped("grouped", lambda hq, hkv: np.arange(hq) // (hq // hkv)),
    windowed("window", right_0=True),
    sized("plain", lambda _: False),
    lengths("lengths", None),
)
