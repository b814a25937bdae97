"""The kernels of split-KV decoding (Dao 2023, "Flash-Decoding"): parts of the keys side by side, then one merge.

With few queries there are too few tiles of them for a GPU. So the keys are split as well; each part has an output, a
largest logit and a sum of its own, by which they are merged. The query heads that share a key/value head are the rows
of one tile, so that keys are read once for all of them. Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

from attnbench.impls.triton_backend.elementary import MINUS_INF, in_units, lse_of, power
from attnbench.impls.triton_backend.forward import absorb
from attnbench.impls.triton_backend.importing import tl, triton
from attnbench.impls.triton_backend.logits import edge_of, length_of, scale_of


@triton.jit
def attend_part(
    q, k, v, parts, largest_of, sums_of, bias, mask, q_segments, kv_segments, q_lengths, kv_lengths, offsets, slopes,
    scales, scale, softcap, offset, first, last, q_b, q_h, q_t, q_d, k_b, k_h, k_t, k_d, v_b, v_h, v_t, v_d,
    bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, HQ, GROUP, TQ, S,
    D: tl.constexpr, DV: tl.constexpr, PART, ROWS,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """Output, largest logit and sum of ``BLOCK_M`` rows of one key/value head, from ``PART`` keys.

    A row is a query of one head of the group: row r is query r // GROUP of head r % GROUP. ``ROWS`` are B · Hq · Tq.
    """
    tiles, part = tl.cdiv(TQ * GROUP, BLOCK_M), tl.program_id(1)
    begin, of_keys = tl.program_id(0) % tiles * BLOCK_M, tl.program_id(0) // tiles
    b, g = of_keys // (HQ // GROUP), of_keys % (HQ // GROUP)
    r, d, e = begin + tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_DV)
    i, h = r // GROUP, g * GROUP + r % GROUP
    queries, keys = length_of(b, q_lengths, TQ), length_of(b, kv_lengths, S)
    if offsets is not None:
        offset = tl.load(offsets + b).to(tl.int32)
    if first is not None:
        first = edge_of(b, offsets, first)
    if last is not None:
        last = edge_of(b, offsets, last)
    of_rows = scale_of(h[:, None], scale, scales)
    rows = q + b.to(tl.int64) * q_b + h[:, None].to(tl.int64) * q_h + i[:, None].to(tl.int64) * q_t
    tile = tl.load(rows + d[None, :] * q_d, mask=(i[:, None] < TQ) & (d[None, :] < D), other=0.0)
    keys_at = k + b.to(tl.int64) * k_b + g.to(tl.int64) * k_h
    values_at = v + b.to(tl.int64) * v_b + g.to(tl.int64) * v_h
    start, stop = part * PART, tl.minimum(part * PART + PART, keys)
    if first is not None:
        start = tl.maximum(start, (begin // GROUP + first) // BLOCK_N * BLOCK_N)
    if last is not None:
        stop = tl.minimum(stop, (begin + BLOCK_M - 1) // GROUP + last + 1)
    sums, total, largest = absorb(
        tl.zeros([BLOCK_M, BLOCK_DV], tl.float32), tl.zeros([BLOCK_M], tl.float32),
        tl.full([BLOCK_M], MINUS_INF, tl.float32), tile, keys_at, values_at, start, stop, stop, 0, i, b, h[:, None],
        of_rows, softcap, bias, slopes, mask, q_segments, kv_segments, offset, first, last, keys, k_t, v_t, k_d, v_d,
        bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, TQ, S, D, DV, BLOCK_N, BLOCK_D, BLOCK_DV,
        EDGE=True,
    )  # fmt: skip
    some = (total != 0) & (i < queries)
    divisor = tl.where(some, total, 1.0)
    row = part.to(tl.int64) * ROWS + (b.to(tl.int64) * HQ + h) * TQ + i
    tl.store(largest_of + row, tl.where(some, largest, MINUS_INF), mask=i < TQ)
    tl.store(sums_of + row, tl.where(some, total, 0.0), mask=i < TQ)
    sums = tl.where(some[:, None], sums / divisor[:, None], 0.0)
    tl.store(parts + row[:, None] * DV + e[None, :], sums, mask=(i[:, None] < TQ) & (e[None, :] < DV))


@triton.jit
def merge_parts(
    parts, largest_of, sums_of, output, lse, sinks, bias, HQ, TQ, ROWS, PARTS, DV: tl.constexpr,
    BLOCK_PARTS: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """One row: the parts weighted by their sums, and the sink, whose value is 0."""
    row = tl.program_id(0).to(tl.int64)
    n, e = tl.arange(0, BLOCK_PARTS), tl.arange(0, BLOCK_DV)
    of_part = tl.load(largest_of + n * ROWS + row, mask=n < PARTS, other=MINUS_INF)
    sums = tl.load(sums_of + n * ROWS + row, mask=n < PARTS, other=0.0)
    largest = tl.max(of_part, 0)
    if sinks is not None:
        sink = in_units(tl.load(sinks + row // TQ % HQ).to(tl.float32), bias)
        largest = tl.maximum(largest, sink)
    base = tl.where(largest == MINUS_INF, 0.0, largest)
    weights = sums * power(of_part - base, bias)
    total = tl.sum(weights, 0)
    if sinks is not None:
        total += power(sink - base, bias)
    at = parts + (n[:, None] * ROWS + row) * DV + e[None, :]
    values = tl.load(at, mask=(n[:, None] < PARTS) & (e[None, :] < DV), other=0.0)
    divisor = tl.where(total == 0, 1.0, total)
    merged = tl.sum(weights[:, None] * values, 0) / divisor
    tl.store(output + row * DV + e, merged.to(output.dtype.element_ty), mask=e < DV)
    tl.store(lse + row, tl.where(total == 0, MINUS_INF, lse_of(base, divisor, bias)))
