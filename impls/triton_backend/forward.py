"""The forward kernel of FlashAttention-2 (Dao 2023): one program for a tile of queries of one head.

It walks over tiles of keys with a running maximum, sum and output. Tiles that positions exclude are left out, and
those in the middle, of which every pair is allowed, are not masked. Sums are in float32; with 16 bits P is rounded to
them before it meets V. Where a bias is added, ``sums_of_rows`` takes the largest logit of each row and the sum by it,
for the backward pass. Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

from attnbench.impls.triton_backend.elementary import MINUS_INF, in_units, lse_of, power
from attnbench.impls.triton_backend.importing import tl, triton
from attnbench.impls.triton_backend.logits import edge_of, length_of, logits_of, scale_of, span_of


@triton.jit
def absorb(
    output, total, largest, tile, keys_at, values_at, start, stop, skip_from, skip, i, b, h, scale, softcap, bias,
    slopes, mask, q_segments, kv_segments, offset, first, last, keys, k_t, v_t, k_d, v_d,
    bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, TQ, S, D: tl.constexpr, DV: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr, EDGE: tl.constexpr,
):  # fmt: skip
    """The tiles of keys from ``start`` to ``stop``, from ``skip_from`` on moved by ``skip``, added to those before."""
    n, d, e = tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_DV)
    for step in range(start, stop, BLOCK_N):
        begin = step + tl.where(step >= skip_from, skip, 0)
        j = begin + n
        row = tl.cast(begin, tl.int64)
        key_at = keys_at + row * k_t + n[None, :] * k_t + d[:, None] * k_d
        value_at = values_at + row * v_t + n[:, None] * v_t + e[None, :] * v_d
        if EDGE or D != BLOCK_D:
            key = tl.load(key_at, mask=(j[None, :] < S) & (d[:, None] < D), other=0.0)
        else:
            key = tl.load(key_at)
        products = tl.dot(tile, key, input_precision="ieee")
        t, _ = logits_of(
            products, i[:, None], j[None, :], b, h, scale, softcap, bias, slopes, mask, q_segments, kv_segments,
            offset, first, last, keys, bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, TQ, S, EDGE,
        )  # fmt: skip
        now = tl.maximum(largest, tl.max(t, 1))
        base = tl.where(now == MINUS_INF, 0.0, now)  # −inf − (−inf) is NaN
        before = power(largest - base, bias)
        p = power(t - base[:, None], bias)
        if EDGE or DV != BLOCK_DV:
            value = tl.load(value_at, mask=(j[:, None] < S) & (e[None, :] < DV), other=0.0)
        else:
            value = tl.load(value_at)
        total = total * before + tl.sum(p, 1)
        output = tl.dot(p.to(value.dtype), value, output * before[:, None], input_precision="ieee")
        largest = now
    return output, total, largest


@triton.jit
def attend_tile(
    q, k, v, output, lse, sums_of_rows, bias, mask, q_segments, kv_segments, q_lengths, kv_lengths, offsets, sinks,
    slopes, scales, scale, softcap, offset, first, last, q_b, q_h, q_t, q_d, k_b, k_h, k_t, k_d, v_b, v_h, v_t, v_d,
    bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, HQ, GROUP, TQ, S,
    D: tl.constexpr, DV: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """Output and lse of ``BLOCK_M`` queries of one head. Later tiles, which see more keys if causal, come first."""
    tiles = tl.cdiv(TQ, BLOCK_M)
    begin = (tiles - 1 - tl.program_id(0) % tiles) * BLOCK_M
    head = tl.program_id(0) // tiles
    b, h = head // HQ, head % HQ
    i, d, e = begin + tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_DV)
    queries, keys = length_of(b, q_lengths, TQ), length_of(b, kv_lengths, S)
    if offsets is not None:
        offset = tl.load(offsets + b).to(tl.int32)
    if first is not None:
        first = edge_of(b, offsets, first)
    if last is not None:
        last = edge_of(b, offsets, last)
    scale = scale_of(h, scale, scales)
    rows = q + b.to(tl.int64) * q_b + h.to(tl.int64) * q_h + i[:, None].to(tl.int64) * q_t
    tile = tl.load(rows + d[None, :] * q_d, mask=(i[:, None] < TQ) & (d[None, :] < D), other=0.0)
    keys_at = k + b.to(tl.int64) * k_b + (h // GROUP).to(tl.int64) * k_h
    values_at = v + b.to(tl.int64) * v_b + (h // GROUP).to(tl.int64) * v_h

    total, largest = tl.zeros([BLOCK_M], tl.float32), tl.full([BLOCK_M], MINUS_INF, tl.float32)
    if sinks is not None:
        largest = tl.zeros([BLOCK_M], tl.float32) + in_units(tl.load(sinks + h).to(tl.float32), bias)
        total = tl.where(largest == MINUS_INF, 0.0, 1.0)
    sums = tl.zeros([BLOCK_M, BLOCK_DV], tl.float32)
    total_before, largest_before = total, largest
    start, middle, after, stop = span_of(begin, queries, keys, first, last, BLOCK_M, BLOCK_N)
    skip = after - middle
    if bias is not None or mask is not None or q_segments is not None:
        skip = 0
    for edges in tl.static_range(2):
        if edges or (bias is None and mask is None and q_segments is None):
            sums, total, largest = absorb(
                sums, total, largest, tile, keys_at, values_at, start if edges else middle,
                stop - skip if edges else after, middle, skip if edges else 0, i, b, h, scale, softcap, bias, slopes,
                mask, q_segments, kv_segments, offset, first, last, keys, k_t, v_t, k_d, v_d,
                bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, TQ, S, D, DV,
                BLOCK_N, BLOCK_D, BLOCK_DV, edges == 1,
            )  # fmt: skip
    asks = i < queries
    total, largest = tl.where(asks, total, total_before), tl.where(asks, largest, largest_before)
    divisor = tl.where(total == 0, 1.0, total)
    sums = tl.where(asks[:, None], sums / divisor[:, None], 0.0)
    of_head = head.to(tl.int64) * TQ + i
    tl.store(
        output + of_head[:, None] * DV + e[None, :], sums.to(output.dtype.element_ty),
        mask=(i[:, None] < TQ) & (e[None, :] < DV),
    )  # fmt: skip
    base = tl.where(largest == MINUS_INF, 0.0, largest)
    tl.store(lse + of_head, tl.where(total == 0, MINUS_INF, lse_of(base, divisor, bias)), mask=i < TQ)
    if sums_of_rows is not None:
        tl.store(sums_of_rows + of_head * 2, base, mask=i < TQ)
        tl.store(sums_of_rows + of_head * 2 + 1, total, mask=i < TQ)
