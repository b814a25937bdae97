"""What every kernel does to a tile of products q·k: scale, cap, bias and the allowed set of the spec.

Logits are over ln 2 here, since a GPU's own exponential has base 2, and half of that where a bias is added, so that
its lowest number is finite (``elementary.in_units``). Tiles may lie either way: ``i`` numbers
the queries along one axis of a tile, ``j`` the keys along the other. An operand that is not there is ``None``, and its
lines are not compiled.
"""

from __future__ import annotations

from typing import Any

from attnbench.impls.triton_backend.elementary import LOG2E, MINUS_INF, in_units, tanh
from attnbench.impls.triton_backend.importing import tl, triton

# No query and no key stands farther from its tile's first: sums of positions fit 32 bits.
FARTHEST: Any = tl.constexpr(2**30)


@triton.jit
def edge_of(b, offsets, side):
    """The first or last key that query 0 may see, with the offset of its batch entry; a query i sees i more."""
    if offsets is not None:
        side = tl.load(offsets + b).to(tl.int64) + side
        side = tl.minimum(tl.maximum(side, -FARTHEST), FARTHEST).to(tl.int32)
    return side


@triton.jit
def span_of(begin, rows, columns, first, last, BLOCK: tl.constexpr, STEP: tl.constexpr):
    """Where a tile of ``BLOCK`` rows has its columns: from ``start`` to ``stop``, in the middle of them all pairs.

    A row r is with columns from r + ``first`` to r + ``last``; ``rows`` and ``columns`` of them exist. Returns
    (start, whole_from, whole_to, stop), all but the last of them multiples of ``STEP``: the middle, which needs no
    mask, and the edges on either side are walked over one after the other.
    """
    start, whole_from, whole_to = 0, 0, columns
    stop = tl.where(begin < rows, columns, 0)
    if first is not None:
        start = tl.maximum(begin + first, 0) // STEP * STEP
        whole_from = tl.cdiv(tl.maximum(begin + BLOCK - 1 + first, start), STEP) * STEP
    if last is not None:
        stop = tl.minimum(stop, begin + BLOCK + last)
        whole_to = tl.minimum(whole_to, begin + last + 1)
    stop = tl.maximum(stop, start)
    whole_from = tl.minimum(whole_from, stop)
    whole_to = tl.maximum(tl.maximum(tl.minimum(whole_to, stop), 0) // STEP * STEP, whole_from)
    return start, whole_from, whole_to, stop


@triton.jit
def length_of(b, lengths, size):
    """How many there are in this batch entry."""
    if lengths is not None:
        size = tl.load(lengths + b).to(tl.int32)
    return size


@triton.jit
def scale_of(h, scale, scales):
    """The scale of a head."""
    if scales is not None:
        scale = tl.load(scales + h)
    return scale


@triton.jit
def logits_of(
    products, i, j, b, h, scale, softcap, bias, slopes, mask, q_segments, kv_segments, offset, first, last, keys,
    bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, TQ, S, EDGE: tl.constexpr,
):  # fmt: skip
    """Logits in the units of ``in_units``, −inf where a pair is not allowed; and the capped score over the cap.

    Without ``EDGE`` the caller knows that positions and lengths exclude no pair of the tile.
    """
    inside = (i < TQ) & (j < S)
    t, ratio = products * (scale * LOG2E), products
    if softcap is not None:
        ratio = tanh(products * (scale / softcap))
        t = ratio * (softcap * LOG2E)
    allowed = inside
    if slopes is not None:
        distance = tl.abs(i + offset - j).to(tl.float32)
        t -= (tl.load(slopes + h).to(tl.float32) * LOG2E) * distance
    if bias is not None:
        at = bias + b.to(tl.int64) * bias_b + h.to(tl.int64) * bias_h + i.to(tl.int64) * bias_t
        added = tl.load(at + j * bias_s, mask=inside, other=0.0).to(tl.float32)
        t = 0.5 * t + in_units(added, bias)
        allowed &= added != MINUS_INF
    if mask is not None:
        at = mask + b.to(tl.int64) * mask_b + h.to(tl.int64) * mask_h + i.to(tl.int64) * mask_t
        allowed &= tl.load(at + j * mask_s, mask=inside, other=0) != 0
    if q_segments is not None:
        of_query = tl.load(q_segments + b.to(tl.int64) * TQ + i, mask=i < TQ, other=0)
        allowed &= of_query == tl.load(kv_segments + b.to(tl.int64) * S + j, mask=j < S, other=0)
    if EDGE:
        allowed &= j < keys
        if first is not None:
            allowed &= j >= i + first
        if last is not None:
            allowed &= j <= i + last
    if EDGE or (bias is not None) or (mask is not None) or (q_segments is not None):
        t = tl.where(allowed, t, MINUS_INF)
    return t, ratio
