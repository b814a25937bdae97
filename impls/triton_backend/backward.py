"""The backward kernels of FlashAttention-2 (Dao 2023): every tile is computed again from q, k and lse.

With Δ = Σ dO·O of each row, dL = P (dO·V − Δ + d_lse) is the gradient of a logit. One kernel sums it over queries (for
k and v, all query heads of a group in one program), one over keys (for q), one over what a bias is broadcast along.
Nothing is added by two programs, so that the same call has the same bits. Legend of the shapes in
``attnbench.attention.spec``.
"""

from __future__ import annotations

from attnbench.impls.triton_backend.elementary import LOG2E, MINUS_INF, power
from attnbench.impls.triton_backend.importing import tl, triton
from attnbench.impls.triton_backend.logits import edge_of, length_of, logits_of, scale_of, span_of

PLUS_INF: tl.constexpr = tl.constexpr(float("inf"))


@triton.jit
def sum_rows(output, d_output, d_lse, delta, ROWS, DV: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_DV: tl.constexpr):
    """Δ = Σ dO·O − d_lse of each row."""
    row, e = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_DV)
    at, there = row[:, None] * DV + e[None, :], (row[:, None] < ROWS) & (e[None, :] < DV)
    o = tl.load(output + at, mask=there, other=0.0).to(tl.float32)
    d = tl.load(d_output + at, mask=there, other=0.0).to(tl.float32)
    sums = tl.sum(o * d, 1)
    if d_lse is not None:
        sums -= tl.load(d_lse + row, mask=row < ROWS, other=0.0)
    tl.store(delta + row, sums, mask=row < ROWS)


@triton.jit
def rows_of(lse, delta, head, i, TQ, queries, bias):
    """What P of these queries is computed from, and Δ: lse over ln 2 and 1, or with a bias the largest logit and 1/sum.

    With a bias ``lse`` is ``sums_of_rows`` of the forward kernel: added to the lowest number, the logarithm of a sum
    would be lost. It is +inf, by which P is 0, where there is no key or no query.
    """
    at = head.to(tl.int64) * TQ + i
    if bias is not None:
        total = tl.load(lse + at * 2 + 1, mask=i < queries, other=0.0)
        base = tl.load(lse + at * 2, mask=i < queries, other=0.0)
        of_row, share = tl.where(total == 0, PLUS_INF, base), 1 / tl.where(total == 0, 1.0, total)
    else:
        of_row = tl.load(lse + at, mask=i < queries, other=MINUS_INF)
        of_row, share = tl.where(of_row == MINUS_INF, PLUS_INF, of_row * LOG2E), tl.full(i.shape, 1.0, tl.float32)
    return of_row, share, tl.load(delta + at, mask=i < queries, other=0.0)


@triton.jit
def gradients_of(
    products, d_weights, of_lse, share, of_delta, i, j, b, h, scale, scales, softcap, bias, slopes, mask,
    q_segments, kv_segments, offset, first, last, keys,
    bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, TQ, S, EDGE: tl.constexpr,
):  # fmt: skip
    """P of a tile, the gradient of its logits, and that of its scores before the one scale of all heads."""
    t, ratio = logits_of(
        products, i, j, b, h, scale, softcap, bias, slopes, mask, q_segments, kv_segments, offset, first, last, keys,
        bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, TQ, S, EDGE,
    )  # fmt: skip
    p = power(t - of_lse, bias)
    if bias is not None:
        p *= share
    d_logits = p * (d_weights - of_delta)
    d_scores = d_logits
    if softcap is not None:
        d_scores = d_logits * (1 - ratio * ratio)
    if scales is not None:
        d_scores = d_scores * scale
    return p, d_logits, d_scores


@triton.jit
def over_queries(
    d_k, d_v, key, value, queries_at, d_output, lse, delta, start, stop, j, b, h, head, scale, scales, softcap,
    bias, slopes, mask, q_segments, kv_segments, offset, first, last, keys, queries, q_t, q_d,
    bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, TQ, S, D: tl.constexpr, DV: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """What the tiles of queries from ``start`` to ``stop`` of one head add to the gradients of a tile of keys."""
    m, d, e = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_DV)
    for begin in range(start, stop, BLOCK_M):
        i, row = begin + m, tl.cast(begin, tl.int64)
        query_at = queries_at + row * q_t + m[:, None] * q_t + d[None, :] * q_d
        d_output_at = d_output + (head.to(tl.int64) * TQ + row) * DV + m[:, None] * DV + e[None, :]
        query = tl.load(query_at, mask=(i[:, None] < TQ) & (d[None, :] < D), other=0.0)
        d_o = tl.load(d_output_at, mask=(i[:, None] < TQ) & (e[None, :] < DV), other=0.0)
        of_lse, share, of_delta = rows_of(lse, delta, head, i, TQ, queries, bias)
        products = tl.dot(key, tl.trans(query), input_precision="ieee")
        d_weights = tl.dot(value, tl.trans(d_o), input_precision="ieee")
        p, _, d_scores = gradients_of(
            products, d_weights, of_lse[None, :], share[None, :], of_delta[None, :], i[None, :], j[:, None], b, h,
            scale, scales, softcap, bias, slopes, mask, q_segments, kv_segments, offset, first, last, keys,
            bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, TQ, S, EDGE=True,
        )  # fmt: skip
        d_v = tl.dot(p.to(d_o.dtype), d_o, d_v, input_precision="ieee")
        d_k = tl.dot(d_scores.to(query.dtype), query, d_k, input_precision="ieee")
    return d_k, d_v


@triton.jit
def gradients_of_keys(
    q, k, v, d_output, lse, delta, d_key, d_value, bias, mask, q_segments, kv_segments, q_lengths, kv_lengths, offsets,
    slopes, scales, scale, softcap, offset, first, last, q_b, q_h, q_t, q_d, k_b, k_h, k_t, k_d, v_b, v_h, v_t, v_d,
    bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, HQ, GROUP, TQ, S,
    D: tl.constexpr, DV: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """dk and dv of ``BLOCK_N`` keys of one key/value head, over all query heads of its group."""
    tiles = tl.cdiv(S, BLOCK_N)
    begin, of_keys = tl.program_id(0) % tiles * BLOCK_N, tl.program_id(0) // tiles
    b, g = of_keys // (HQ // GROUP), of_keys % (HQ // GROUP)
    j, d, e = begin + tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_DV)
    queries, keys = length_of(b, q_lengths, TQ), length_of(b, kv_lengths, S)
    if offsets is not None:
        offset = tl.load(offsets + b).to(tl.int32)
    if first is not None:
        first = edge_of(b, offsets, first)
    if last is not None:
        last = edge_of(b, offsets, last)
    of_d, of_e = (j[:, None] < S) & (d[None, :] < D), (j[:, None] < S) & (e[None, :] < DV)
    row = j[:, None].to(tl.int64)
    key = tl.load(k + b.to(tl.int64) * k_b + g.to(tl.int64) * k_h + row * k_t + d[None, :] * k_d, mask=of_d, other=0.0)
    at = v + b.to(tl.int64) * v_b + g.to(tl.int64) * v_h + row * v_t + e[None, :] * v_d
    value = tl.load(at, mask=of_e, other=0.0)
    back, ahead = None, None
    if last is not None:
        back = -last
    if first is not None:
        ahead = -first
    # One loop for edges and the middle: with two of them the registers do not hold what both need.
    start, _, _, stop = span_of(begin, keys, queries, back, ahead, BLOCK_N, BLOCK_M)
    d_k, d_v = tl.zeros([BLOCK_N, BLOCK_D], tl.float32), tl.zeros([BLOCK_N, BLOCK_DV], tl.float32)
    for n in range(GROUP):
        h = g * GROUP + n
        d_k, d_v = over_queries(
            d_k, d_v, key, value, q + b.to(tl.int64) * q_b + h.to(tl.int64) * q_h, d_output, lse, delta, start, stop,
            j, b, h, b * HQ + h, scale_of(h, scale, scales), scales, softcap, bias, slopes, mask, q_segments,
            kv_segments, offset, first, last, keys, queries, q_t, q_d,
            bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, TQ, S, D, DV, BLOCK_M, BLOCK_D, BLOCK_DV,
        )  # fmt: skip
    if scales is None:
        d_k *= scale
    exists = j[:, None] < keys
    of_row = of_keys.to(tl.int64) * S + row
    tl.store(d_key + of_row * D + d[None, :], tl.where(exists, d_k, 0.0).to(d_key.dtype.element_ty), mask=of_d)
    tl.store(d_value + of_row * DV + e[None, :], tl.where(exists, d_v, 0.0).to(d_value.dtype.element_ty), mask=of_e)


@triton.jit
def over_keys(
    d_q, tile, d_o, of_lse, share, of_delta, keys_at, values_at, start, stop, skip_from, skip, i, b, h, scale, scales,
    softcap, bias, slopes, mask, q_segments, kv_segments, offset, first, last, keys, k_t, k_d, v_t, v_d,
    bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, TQ, S, D: tl.constexpr, DV: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr, EDGE: tl.constexpr,
):  # fmt: skip
    """What the tiles of keys from ``start`` to ``stop`` add to the gradient of a tile of queries."""
    n, d, e = tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_DV)
    for step in range(start, stop, BLOCK_N):
        begin = step + tl.where(step >= skip_from, skip, 0)
        j, row = begin + n, tl.cast(begin, tl.int64)
        key_at = keys_at + row * k_t + n[:, None] * k_t + d[None, :] * k_d
        value_at = values_at + row * v_t + n[:, None] * v_t + e[None, :] * v_d
        if EDGE or D != BLOCK_D:
            key = tl.load(key_at, mask=(j[:, None] < S) & (d[None, :] < D), other=0.0)
        else:
            key = tl.load(key_at)
        if EDGE or DV != BLOCK_DV:
            value = tl.load(value_at, mask=(j[:, None] < S) & (e[None, :] < DV), other=0.0)
        else:
            value = tl.load(value_at)
        products = tl.dot(tile, tl.trans(key), input_precision="ieee")
        d_weights = tl.dot(d_o, tl.trans(value), input_precision="ieee")
        _, _, d_scores = gradients_of(
            products, d_weights, of_lse[:, None], share[:, None], of_delta[:, None], i[:, None], j[None, :], b, h,
            scale, scales, softcap, bias, slopes, mask, q_segments, kv_segments, offset, first, last, keys,
            bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, TQ, S, EDGE,
        )  # fmt: skip
        d_q = tl.dot(d_scores.to(key.dtype), key, d_q, input_precision="ieee")
    return d_q


@triton.jit
def gradients_of_queries(
    q, k, v, d_output, lse, delta, d_query, bias, mask, q_segments, kv_segments, q_lengths, kv_lengths, offsets,
    slopes, scales, scale, softcap, offset, first, last, q_b, q_h, q_t, q_d, k_b, k_h, k_t, k_d, v_b, v_h, v_t, v_d,
    bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, HQ, GROUP, TQ, S,
    D: tl.constexpr, DV: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """dq of ``BLOCK_M`` queries of one head."""
    tiles = tl.cdiv(TQ, BLOCK_M)
    begin, head = (tiles - 1 - tl.program_id(0) % tiles) * BLOCK_M, tl.program_id(0) // tiles
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
    of_d, of_row = (i[:, None] < TQ) & (d[None, :] < D), head.to(tl.int64) * TQ + i[:, None]
    rows = q + b.to(tl.int64) * q_b + h.to(tl.int64) * q_h + i[:, None].to(tl.int64) * q_t
    tile = tl.load(rows + d[None, :] * q_d, mask=of_d, other=0.0)
    d_o = tl.load(d_output + of_row * DV + e[None, :], mask=(i[:, None] < TQ) & (e[None, :] < DV), other=0.0)
    of_lse, share, of_delta = rows_of(lse, delta, head, i, TQ, queries, bias)
    keys_at = k + b.to(tl.int64) * k_b + (h // GROUP).to(tl.int64) * k_h
    values_at = v + b.to(tl.int64) * v_b + (h // GROUP).to(tl.int64) * v_h
    start, middle, after, stop = span_of(begin, queries, keys, first, last, BLOCK_M, BLOCK_N)
    skip = after - middle
    if bias is not None or mask is not None or q_segments is not None:
        skip = 0
    d_q = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for edges in tl.static_range(2):
        if edges or (bias is None and mask is None and q_segments is None):
            d_q = over_keys(
                d_q, tile, d_o, of_lse, share, of_delta, keys_at, values_at, start if edges else middle,
                stop - skip if edges else after, middle, skip if edges else 0, i, b, h, scale, scales,
                softcap, bias, slopes, mask, q_segments, kv_segments, offset, first, last, keys, k_t, k_d, v_t, v_d,
                bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, TQ, S, D, DV,
                BLOCK_N, BLOCK_D, BLOCK_DV, edges == 1,
            )  # fmt: skip
    if scales is None:
        d_q *= scale
    tl.store(d_query + of_row * D + d[None, :], d_q.to(d_query.dtype.element_ty), mask=of_d)
