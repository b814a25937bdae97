"""The gradient of a bias: tiles of (queries, keys), each summed over the batch entries and heads that share them."""

from __future__ import annotations

from attnbench.impls.triton_backend.backward import gradients_of, rows_of
from attnbench.impls.triton_backend.importing import tl, triton
from attnbench.impls.triton_backend.logits import edge_of, length_of, scale_of


@triton.jit
def gradient_of_pairs(
    q, k, v, d_output, lse, delta, b, h, i, j, bias, mask, q_segments, kv_segments, q_lengths, kv_lengths, offsets,
    slopes, scales, scale, softcap, offset, first, last, q_b, q_h, q_t, q_d, k_b, k_h, k_t, k_d, v_b, v_h, v_t, v_d,
    bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, HQ, GROUP, TQ, S,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """The gradient of the logits of a tile of one head."""
    d, e = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_DV)
    queries, keys = length_of(b, q_lengths, TQ), length_of(b, kv_lengths, S)
    if offsets is not None:
        offset = tl.load(offsets + b).to(tl.int32)
    if first is not None:
        first = edge_of(b, offsets, first)
    if last is not None:
        last = edge_of(b, offsets, last)
    head, row, column = b * HQ + h, i[:, None].to(tl.int64), j[:, None].to(tl.int64)
    of_i, of_j, of_d, of_e = i[:, None] < TQ, j[:, None] < S, d[None, :] < D, e[None, :] < DV
    at = q + b.to(tl.int64) * q_b + h.to(tl.int64) * q_h + row * q_t
    query = tl.load(at + d[None, :] * q_d, mask=of_i & of_d, other=0.0)
    d_o = tl.load(d_output + (head.to(tl.int64) * TQ + row) * DV + e[None, :], mask=of_i & of_e, other=0.0)
    at = k + b.to(tl.int64) * k_b + (h // GROUP).to(tl.int64) * k_h + column * k_t
    key = tl.load(at + d[None, :] * k_d, mask=of_j & of_d, other=0.0)
    at = v + b.to(tl.int64) * v_b + (h // GROUP).to(tl.int64) * v_h + column * v_t
    value = tl.load(at + e[None, :] * v_d, mask=of_j & of_e, other=0.0)
    of_lse, share, of_delta = rows_of(lse, delta, head, i, TQ, queries, bias)
    products = tl.dot(query, tl.trans(key), input_precision="ieee")
    d_weights = tl.dot(d_o, tl.trans(value), input_precision="ieee")
    _, d_logits, _ = gradients_of(
        products, d_weights, of_lse[:, None], share[:, None], of_delta[:, None], i[:, None], j[None, :], b, h,
        scale_of(h, scale, scales), scales, softcap, bias, slopes, mask, q_segments, kv_segments, offset, first, last,
        keys, bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, TQ, S, EDGE=True,
    )  # fmt: skip
    return d_logits


@triton.jit
def gradient_of_bias(
    q, k, v, d_output, lse, delta, d_bias, bias, mask, q_segments, kv_segments, q_lengths, kv_lengths, offsets,
    slopes, scales, scale, softcap, offset, first, last, q_b, q_h, q_t, q_d, k_b, k_h, k_t, k_d, v_b, v_h, v_t, v_d,
    bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, HQ, GROUP, TQ, S,
    D: tl.constexpr, DV: tl.constexpr, OWN_H, BATCHES, HEADS, SHARED_T: tl.constexpr, SHARED_S: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """One tile of the gradient, summed over ``BATCHES`` and ``HEADS``; over a shared axis one number for each tile.

    ``OWN_H`` heads have a bias of their own. ``d_bias`` is (own batch entries, own heads, Tq or tiles, S or tiles).
    """
    across, down = tl.cdiv(S, BLOCK_N), tl.cdiv(TQ, BLOCK_M)
    tile, place = tl.program_id(0) % (across * down), tl.program_id(0) // (across * down)
    row, column = tile // across, tile % across
    i, j = row * BLOCK_M + tl.arange(0, BLOCK_M), column * BLOCK_N + tl.arange(0, BLOCK_N)
    sums = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for n in range(BATCHES * HEADS):
        sums += gradient_of_pairs(
            q, k, v, d_output, lse, delta, place // OWN_H + n // HEADS, place % OWN_H + n % HEADS, i, j, bias, mask,
            q_segments, kv_segments, q_lengths, kv_lengths, offsets, slopes, scales, scale, softcap, offset, first,
            last, q_b, q_h, q_t, q_d, k_b, k_h, k_t, k_d, v_b, v_h, v_t, v_d,
            bias_b, bias_h, bias_t, bias_s, mask_b, mask_h, mask_t, mask_s, HQ, GROUP, TQ, S, D, DV, BLOCK_D, BLOCK_DV,
        )  # fmt: skip
    if SHARED_T and SHARED_S:
        tl.store(d_bias + (place.to(tl.int64) * down + row) * across + column, tl.sum(tl.sum(sums, 1), 0))
    elif SHARED_T:
        tl.store(d_bias + (place.to(tl.int64) * down + row) * S + j, tl.sum(sums, 0), mask=j < S)
    elif SHARED_S:
        tl.store(d_bias + (place.to(tl.int64) * TQ + i) * across + column, tl.sum(sums, 1), mask=i < TQ)
    else:
        at = d_bias + (place.to(tl.int64) * TQ + i[:, None].to(tl.int64)) * S + j[None, :]
        tl.store(at, sums, mask=(i[:, None] < TQ) & (j[None, :] < S))
