"""The Triton kernels of ``triton/additive``: the tanh sum of Bahdanau's score in tiles, forward and backward.

A tile holds the logits of BLOCK_M queries and BLOCK_N keys. Its score is summed over the hidden units, CHUNK of them at
a time, so that no more than (BLOCK_M, BLOCK_N, CHUNK) numbers of the hidden layer exist at once. The backward kernels
compute the tiles again. Each program writes its own part of every result, and nothing is added by several programs:
two runs give the same bits.

Layouts, with N = B · Hq: queries and keys after their projections (N, Da, T), so that what belongs to one hidden unit
lies side by side; v (B, Hkv, S, Dv); output and its gradient (N, Tq, Dv); lse and what else belongs to a row (N, Tq);
``places`` (B, 3) holds the offset, the number of queries and the number of keys of each batch entry.
"""

from __future__ import annotations

from attnbench.impls.triton_backend.elementary import MINUS_INF, tanh
from attnbench.impls.triton_backend.importing import tl, triton


@triton.jit
def hidden_of(query, key, units, n_units, rows, Tq, cols, S):
    """The tanh of some hidden units for a tile, (rows, cols, units); beyond the ends of an array there are zeros."""
    u = units.to(tl.int64)[None, :]
    of_rows = tl.load(query + u * Tq + rows[:, None], mask=(rows < Tq)[:, None] & (units < n_units)[None, :], other=0.0)
    of_cols = tl.load(key + u * S + cols[:, None], mask=(cols < S)[:, None] & (units < n_units)[None, :], other=0.0)
    return tanh(of_rows[:, None, :] + of_cols[None, :, :])


@triton.jit
def rows_of(array, rows, length, channels, width):
    """Some rows of an array (T, width); 0 beyond its ends."""
    inside = (rows < length)[:, None] & (channels < width)[None, :]
    return tl.load(array + rows[:, None].to(tl.int64) * width + channels[None, :], mask=inside, other=0.0)


@triton.jit
def logits_of(
    query, key, weights, rows, cols, Tq, S, n_units, scale, softcap,
    HAS_CAP: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """The logits of a tile, and their slope by the score: the scale, times 1 − tanh² where there is a cap."""
    scores = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for first in range(0, n_units, CHUNK):
        units = first + tl.arange(0, CHUNK)
        weight = tl.load(weights + units, mask=units < n_units, other=0.0)
        scores += tl.sum(hidden_of(query, key, units, n_units, rows, Tq, cols, S) * weight[None, None, :], 2)
    scores *= scale
    slope = tl.zeros((BLOCK_M, BLOCK_N), tl.float32) + scale
    if HAS_CAP:
        bent = tanh(scores / softcap)
        scores = bent * softcap
        slope = slope * (1.0 - bent * bent)
    return scores, slope


@triton.jit
def may_attend(
    rows, cols, places, left, right, q_segments, kv_segments, Tq, S,
    HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_SEGMENTS: tl.constexpr,
):  # fmt: skip
    """Which keys of a tile each of its queries may attend."""
    allowed = (rows < tl.load(places + 1))[:, None] & (cols < tl.load(places + 2))[None, :]
    ahead = cols[None, :] - (rows + tl.load(places))[:, None]  # how far a key comes after the query's own place
    if HAS_LEFT:
        allowed = allowed & (ahead >= -left)
    if HAS_RIGHT:
        allowed = allowed & (ahead <= right)
    if HAS_SEGMENTS:
        of_rows = tl.load(q_segments + rows, mask=rows < Tq, other=0)
        of_cols = tl.load(kv_segments + cols, mask=cols < S, other=0)
        allowed = allowed & (of_rows[:, None] == of_cols[None, :])
    return allowed


@triton.jit
def clipped(place, length, STEP: tl.constexpr):
    """A place in 64 bits, brought between 0 and the length, at the beginning of a block."""
    return (tl.minimum(tl.maximum(place, 0), length) // STEP * STEP).to(tl.int32)


@triton.jit
def keys_seen(
    first_row, places, left, right,
    HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The first and the last block of keys that any query of a block sees."""
    place = first_row.to(tl.int64) + tl.load(places)
    begin, end = first_row * 0, tl.load(places + 2)
    if HAS_LEFT:
        begin = clipped(place - left, end, BLOCK_N)
    if HAS_RIGHT:
        end = clipped(place + BLOCK_M + right, end, 1)
    return begin, end


@triton.jit
def forward(
    query, key, values, weights, scales, places, q_segments, kv_segments,
    sinks, output, lse,
    heads, group, Tq, S, n_units, Dv, left, right, softcap,
    HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_SEGMENTS: tl.constexpr, HAS_CAP: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_V: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Output and lse of BLOCK_M queries of one head, by the online softmax over tiles of keys."""
    blocks = tl.cdiv(Tq, BLOCK_M)
    n = (tl.program_id(0) // blocks).to(tl.int64)
    first_row = tl.program_id(0) % blocks * BLOCK_M
    rows, channels = first_row + tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_V)
    query, key, weights = query + n * n_units * Tq, key + n * n_units * S, weights + n % heads * n_units
    values, places = values + n // group * S * Dv, places + n // heads * 3
    q_segments, kv_segments = q_segments + n // heads * Tq, kv_segments + n // heads * S
    scale, sink = tl.load(scales + n % heads), tl.load(sinks + n % heads)

    top = tl.zeros((BLOCK_M,), tl.float32) + sink  # −inf where there is no sink
    total = tl.where(top == MINUS_INF, 0.0, 1.0)
    sums = tl.zeros((BLOCK_M, BLOCK_V), tl.float32)
    begin, end = keys_seen(first_row, places, left, right, HAS_LEFT, HAS_RIGHT, BLOCK_M, BLOCK_N)
    for start in range(begin, end, BLOCK_N):
        cols = start + tl.arange(0, BLOCK_N)
        logits, _ = logits_of(
            query, key, weights, rows, cols, Tq, S, n_units, scale, softcap, HAS_CAP, BLOCK_M, BLOCK_N, CHUNK
        )
        allowed = may_attend(
            rows, cols, places, left, right, q_segments, kv_segments, Tq, S, HAS_LEFT, HAS_RIGHT, HAS_SEGMENTS
        )
        logits = tl.where(allowed, logits, MINUS_INF)
        higher = tl.maximum(top, tl.max(logits, 1))
        shift = tl.where(higher == MINUS_INF, 0.0, higher)
        terms, shrink = tl.exp(logits - shift[:, None]), tl.exp(top - shift)
        of_cols = rows_of(values, cols, S, channels, Dv)
        total = total * shrink + tl.sum(terms, 1)
        sums = sums * shrink[:, None] + tl.dot(terms.to(of_cols.dtype), of_cols, input_precision="ieee")
        top = higher
    some = total != 0.0
    total = tl.where(some, total, 1.0)
    inside = (rows < Tq)[:, None] & (channels < Dv)[None, :]
    tl.store(output + (n * Tq + rows)[:, None] * Dv + channels[None, :], sums / total[:, None], mask=inside)
    tl.store(lse + n * Tq + rows, tl.where(some, top + tl.log(total), MINUS_INF), mask=rows < Tq)


@triton.jit
def gradient_of_p(
    d_output, values, rows, cols, Tq, S, Dv,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_V: tl.constexpr, STEP_V: tl.constexpr,
):  # fmt: skip
    """The gradient of a tile of weights, d_output · vᵀ. Some channels at a time, since all of them fill registers."""
    d_p = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for first in range(0, BLOCK_V, STEP_V):
        channels = first + tl.arange(0, STEP_V)
        of_rows, of_cols = rows_of(d_output, rows, Tq, channels, Dv), rows_of(values, cols, S, channels, Dv)
        d_p += tl.dot(of_rows, tl.trans(of_cols), input_precision="ieee")
    return d_p


@triton.jit
def backward_of_queries(
    query, key, values, weights, scales, places, q_segments, kv_segments,
    lse, less, d_output, d_query, d_weights,
    heads, group, Tq, S, n_units, Dv, left, right, softcap,
    HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_SEGMENTS: tl.constexpr, HAS_CAP: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_V: tl.constexpr, CHUNK: tl.constexpr, CHUNKS: tl.constexpr,
    STEP_V: tl.constexpr,
):  # fmt: skip
    """Gradients of BLOCK_M queries and of the weights of CHUNK · CHUNKS hidden units, as far as these queries go.

    ``less`` is what is taken from the gradient of each weight P: Σ P dP − d_lse.
    """
    blocks = tl.cdiv(Tq, BLOCK_M)
    n = (tl.program_id(0) // blocks).to(tl.int64)
    block = tl.program_id(0) % blocks
    rows = block * BLOCK_M + tl.arange(0, BLOCK_M)
    first_unit = tl.program_id(1) * CHUNK * CHUNKS
    query, key, weights = query + n * n_units * Tq, key + n * n_units * S, weights + n % heads * n_units
    values, places = values + n // group * S * Dv, places + n // heads * 3
    q_segments, kv_segments = q_segments + n // heads * Tq, kv_segments + n // heads * S
    scale = tl.load(scales + n % heads)
    row_lse = tl.load(lse + n * Tq + rows, mask=rows < Tq, other=0.0)
    row_less = tl.load(less + n * Tq + rows, mask=rows < Tq, other=0.0)
    d_output = d_output + n * Tq * Dv

    chunk = tl.arange(0, CHUNKS)[None, :, None]
    chunks = tl.minimum(CHUNKS, tl.cdiv(n_units - first_unit, CHUNK))
    sums = tl.zeros((BLOCK_M, CHUNKS, CHUNK), tl.float32)
    of_weights = tl.zeros((BLOCK_M, CHUNKS, CHUNK), tl.float32)
    begin, end = keys_seen(block * BLOCK_M, places, left, right, HAS_LEFT, HAS_RIGHT, BLOCK_M, BLOCK_N)
    for start in range(begin, end, BLOCK_N):
        cols = start + tl.arange(0, BLOCK_N)
        logits, slope = logits_of(
            query, key, weights, rows, cols, Tq, S, n_units, scale, softcap, HAS_CAP, BLOCK_M, BLOCK_N, CHUNK
        )
        allowed = may_attend(
            rows, cols, places, left, right, q_segments, kv_segments, Tq, S, HAS_LEFT, HAS_RIGHT, HAS_SEGMENTS
        )
        p = tl.exp(tl.where(allowed, logits - row_lse[:, None], MINUS_INF))
        d_p = gradient_of_p(d_output, values, rows, cols, Tq, S, Dv, BLOCK_M, BLOCK_N, BLOCK_V, STEP_V)
        d_scores = p * (d_p - row_less[:, None]) * slope
        for index in range(chunks):
            units = first_unit + index * CHUNK + tl.arange(0, CHUNK)
            bent = hidden_of(query, key, units, n_units, rows, Tq, cols, S)
            of_sum = tl.sum(d_scores[:, :, None] * (1.0 - bent * bent), 1)
            of_weight = tl.sum(d_scores[:, :, None] * bent, 1)
            sums += tl.where(chunk == index, of_sum[:, None, :], 0.0)
            of_weights += tl.where(chunk == index, of_weight[:, None, :], 0.0)

    units = (first_unit + tl.arange(0, CHUNKS)[:, None] * CHUNK + tl.arange(0, CHUNK)[None, :])[None, :, :]
    weight = tl.load(weights + units, mask=units < n_units, other=0.0)
    inside = (rows < Tq)[:, None, None] & (units < n_units)
    tl.store(d_query + (n * n_units + units) * Tq + rows[:, None, None], sums * weight, mask=inside)
    of_block = tl.sum(of_weights, 0)[None, :, :]
    tl.store(d_weights + (n * blocks + block) * n_units + units, of_block, mask=units < n_units)


@triton.jit
def queries_seen(
    first_col, places, left, right,
    HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The first and the last block of queries that see any key of a block."""
    place = first_col.to(tl.int64) - tl.load(places)
    begin, end = first_col * 0, tl.load(places + 1)
    if HAS_RIGHT:
        begin = clipped(place - right, end, BLOCK_M)
    if HAS_LEFT:
        end = clipped(place + BLOCK_N + left, end, 1)
    return begin, end


@triton.jit
def backward_of_keys(
    query, key, values, weights, scales, places, q_segments, kv_segments,
    lse, less, d_output, d_key,
    heads, group, Tq, S, n_units, Dv, left, right, softcap,
    HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_SEGMENTS: tl.constexpr, HAS_CAP: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_V: tl.constexpr, CHUNK: tl.constexpr, CHUNKS: tl.constexpr,
    STEP_V: tl.constexpr,
):  # fmt: skip
    """Gradients of BLOCK_N keys by CHUNK · CHUNKS hidden units."""
    blocks = tl.cdiv(S, BLOCK_N)
    n = (tl.program_id(0) // blocks).to(tl.int64)
    first_col = tl.program_id(0) % blocks * BLOCK_N
    cols = first_col + tl.arange(0, BLOCK_N)
    first_unit = tl.program_id(1) * CHUNK * CHUNKS
    query, key, weights = query + n * n_units * Tq, key + n * n_units * S, weights + n % heads * n_units
    places = places + n // heads * 3
    q_segments, kv_segments = q_segments + n // heads * Tq, kv_segments + n // heads * S
    scale = tl.load(scales + n % heads)
    values, d_output = values + n // group * S * Dv, d_output + n * Tq * Dv

    chunk = tl.arange(0, CHUNKS)[None, :, None]
    chunks = tl.minimum(CHUNKS, tl.cdiv(n_units - first_unit, CHUNK))
    sums = tl.zeros((BLOCK_N, CHUNKS, CHUNK), tl.float32)
    begin, end = queries_seen(first_col, places, left, right, HAS_LEFT, HAS_RIGHT, BLOCK_M, BLOCK_N)
    for start in range(begin, end, BLOCK_M):
        rows = start + tl.arange(0, BLOCK_M)
        logits, slope = logits_of(
            query, key, weights, rows, cols, Tq, S, n_units, scale, softcap, HAS_CAP, BLOCK_M, BLOCK_N, CHUNK
        )
        allowed = may_attend(
            rows, cols, places, left, right, q_segments, kv_segments, Tq, S, HAS_LEFT, HAS_RIGHT, HAS_SEGMENTS
        )
        row_lse = tl.load(lse + n * Tq + rows, mask=rows < Tq, other=0.0)
        row_less = tl.load(less + n * Tq + rows, mask=rows < Tq, other=0.0)
        p = tl.exp(tl.where(allowed, logits - row_lse[:, None], MINUS_INF))
        d_p = gradient_of_p(d_output, values, rows, cols, Tq, S, Dv, BLOCK_M, BLOCK_N, BLOCK_V, STEP_V)
        d_scores = p * (d_p - row_less[:, None]) * slope
        for index in range(chunks):
            units = first_unit + index * CHUNK + tl.arange(0, CHUNK)
            bent = hidden_of(query, key, units, n_units, rows, Tq, cols, S)
            of_sum = tl.sum(d_scores[:, :, None] * (1.0 - bent * bent), 0)
            sums += tl.where(chunk == index, of_sum[:, None, :], 0.0)

    units = (first_unit + tl.arange(0, CHUNKS)[:, None] * CHUNK + tl.arange(0, CHUNK)[None, :])[None, :, :]
    weight = tl.load(weights + units, mask=units < n_units, other=0.0)
    inside = (cols < S)[:, None, None] & (units < n_units)
    tl.store(d_key + (n * n_units + units) * S + cols[:, None, None], sums * weight, mask=inside)


@triton.jit
def backward_of_values(
    query, key, weights, scales, places, q_segments, kv_segments,
    lse, d_output, d_values,
    heads, Tq, S, n_units, Dv, left, right, softcap,
    HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_SEGMENTS: tl.constexpr, HAS_CAP: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, CHUNK: tl.constexpr, SLAB: tl.constexpr,
):  # fmt: skip
    """Gradients of SLAB channels of BLOCK_N values."""
    blocks = tl.cdiv(S, BLOCK_N)
    n = (tl.program_id(0) // blocks).to(tl.int64)
    first_col = tl.program_id(0) % blocks * BLOCK_N
    cols = first_col + tl.arange(0, BLOCK_N)
    channels = tl.program_id(1) * SLAB + tl.arange(0, SLAB)
    query, key, weights = query + n * n_units * Tq, key + n * n_units * S, weights + n % heads * n_units
    places = places + n // heads * 3
    q_segments, kv_segments = q_segments + n // heads * Tq, kv_segments + n // heads * S
    scale = tl.load(scales + n % heads)
    sums = tl.zeros((BLOCK_N, SLAB), tl.float32)
    begin, end = queries_seen(first_col, places, left, right, HAS_LEFT, HAS_RIGHT, BLOCK_M, BLOCK_N)
    for start in range(begin, end, BLOCK_M):
        rows = start + tl.arange(0, BLOCK_M)
        logits, _ = logits_of(
            query, key, weights, rows, cols, Tq, S, n_units, scale, softcap, HAS_CAP, BLOCK_M, BLOCK_N, CHUNK
        )
        allowed = may_attend(
            rows, cols, places, left, right, q_segments, kv_segments, Tq, S, HAS_LEFT, HAS_RIGHT, HAS_SEGMENTS
        )
        row_lse = tl.load(lse + n * Tq + rows, mask=rows < Tq, other=0.0)
        p = tl.exp(tl.where(allowed, logits - row_lse[:, None], MINUS_INF))
        d_rows = rows_of(d_output + n * Tq * Dv, rows, Tq, channels, Dv)
        sums += tl.dot(tl.trans(p).to(d_rows.dtype), d_rows, input_precision="ieee")
    inside = (cols < S)[:, None] & (channels < Dv)[None, :]
    tl.store(d_values + (n * S + cols)[:, None] * Dv + channels[None, :], sums, mask=inside)
