"""``numpy/blocked``: exact attention tile by tile, with an online softmax; no T × S array is ever stored.

The algorithm of Milakov & Gimelshein 2018 and FlashAttention (Dao 2022): for a tile of queries keep the running row
maximum, sum and output, and rescale them whenever a tile of keys raises the maximum. Tiles that causality, the window
or the lengths leave empty are skipped. The backward pass computes each tile's weights again from the row maximum and
sum. It does not use lse, which is both in one number: beside a maximum that a finite bias has made very low the sum
would be rounded away. Learned scores are summed unit by unit within a tile (``tile_scores``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnbench.api import Array, AttentionOutput, Call, Capabilities, Precision, implementation

from .tile_scores import Gradients, Projected, add_tile, empty_gradients, project, through_projection, tile_scores

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped

QUERY_TILE = 128
KEY_TILE = 256


@dataclass(frozen=True)
class Head:
    """One query head of one batch entry, in the wide dtype, and where it stands."""

    q: Float[Array, "Tq D"]
    k: Float[Array, "S D"]
    v: Float[Array, "S Dv"]
    b: int
    h: int
    offset: int
    scale: float
    projected: Projected


@dataclass(frozen=True)
class Rows:
    """What the backward pass knows of the rows of a tile: maximum, sum (1 without a key), dO, and −dO·O + dlse."""

    max: Float[Array, "rows 1"]
    total: Float[Array, "rows 1"]
    d_output: Float[Array, "rows Dv"]
    d_row: Float[Array, "rows 1"]


def heads(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> Iterator[Head]:
    """Every head, its operands widened to float32 (float64 for float64)."""
    wide = np.float64 if call.dtype == "float64" else np.float32
    for b in range(call.sizes.B):
        offset = call.offset if isinstance(call.offset, int) else int(call.offset[b])
        for h in range(call.sizes.Hq):
            g = h // call.sizes.group
            scale = call.scale if isinstance(call.scale, float) else float(call.scale[h])
            head_q, head_k, head_v = (a.astype(wide, copy=False) for a in (q[b, h], k[b, g], v[b, g]))
            yield Head(head_q, head_k, head_v, b, h, offset, scale, project(head_q, head_k, call, h))


def key_range(call: Call, head: Head, first: int, last: int) -> tuple[int, int]:
    """The keys that queries first..last-1 can reach by position and length; the tiles outside are never touched."""
    low, high = 0, call.sizes.S if call.kv_lengths is None else int(call.kv_lengths[head.b])
    left, right = call.spec.window or (None, None)
    if call.spec.causal:
        high = min(high, last + head.offset)
    if right is not None:
        high = min(high, last + head.offset + right)
    if left is not None:
        low = max(low, first + head.offset - left)
    if call.q_lengths is not None and first >= int(call.q_lengths[head.b]):
        high = 0
    return low, max(low, high)


def tiles(call: Call, head: Head) -> Iterator[tuple[slice, list[slice]]]:
    """Query tiles, each with the key tiles that it can reach."""
    for first in range(0, call.sizes.Tq, QUERY_TILE):
        rows = slice(first, min(first + QUERY_TILE, call.sizes.Tq))
        low, high = key_range(call, head, rows.start, rows.stop)
        yield rows, [slice(at, min(at + KEY_TILE, high)) for at in range(low, high, KEY_TILE)]


def part(array: Shaped[Array, "#B #Hq #Tq #S"], head: Head, rows: slice, keys: slice) -> Shaped[Array, "#rows #keys"]:
    """The tile of an array that broadcasts to (B, Hq, Tq, S)."""
    plane: Array = array[head.b if array.shape[0] > 1 else 0, head.h if array.shape[1] > 1 else 0]
    return plane[rows if plane.shape[0] > 1 else slice(None), keys if plane.shape[1] > 1 else slice(None)]


def allowed_tile(call: Call, head: Head, rows: slice, keys: slice) -> Bool[Array, "#rows #keys"] | None:
    """A on one tile, or ``None`` where all of it is allowed."""
    i, j = np.arange(rows.start, rows.stop)[:, None], np.arange(keys.start, keys.stop)[None, :]
    p = i + head.offset
    left, right = call.spec.window or (None, None)
    conditions = []
    if call.spec.causal and keys.stop - 1 > rows.start + head.offset:
        conditions.append(j <= p)
    if left is not None and keys.start < rows.stop - 1 + head.offset - left:
        conditions.append(j >= p - left)
    if right is not None and keys.stop - 1 > rows.start + head.offset + right:
        conditions.append(j <= p + right)
    if call.q_lengths is not None and rows.stop > int(call.q_lengths[head.b]):
        conditions.append(np.broadcast_to(i < int(call.q_lengths[head.b]), (i.shape[0], j.shape[1])))
    if call.mask is not None:
        conditions.append(part(call.mask, head, rows, keys))
    if call.bias is not None:
        conditions.append(part(call.bias, head, rows, keys) != -np.inf)
    if not conditions:
        return None
    allowed = conditions[0]
    for condition in conditions[1:]:
        allowed = allowed & condition
    return allowed


def logits_tile(
    call: Call, head: Head, rows: slice, keys: slice
) -> tuple[Float[Array, "rows keys"], Float[Array, "rows keys"] | None]:
    """Logits of one tile, −inf outside A, and the derivative of the cap (``None`` without a cap)."""
    logits = tile_scores(head.projected, rows, keys)
    if not call.spec.unscaled:
        logits *= head.scale
    slope = None
    if call.spec.softcap is not None:
        tanh = np.tanh(logits / call.spec.softcap)
        logits, slope = tanh * call.spec.softcap, 1 - tanh * tanh
    if call.bias is not None:
        logits = logits + part(call.bias, head, rows, keys).astype(logits.dtype)
    allowed = allowed_tile(call, head, rows, keys)
    if allowed is not None:
        logits = np.where(allowed, logits, -np.inf)
    return logits, slope


def attend_tile(
    call: Call, head: Head, rows: slice, key_tiles: list[slice]
) -> tuple[Float[Array, "rows Dv"], Float[Array, " rows"], Float[Array, " rows"]]:
    """Output, row maximum and sum of a tile of queries, by online softmax over the key tiles; 0 without a key."""
    count, dtype = rows.stop - rows.start, head.q.dtype
    row_max, total = np.full((count, 1), -np.inf, dtype), np.zeros((count, 1), dtype)
    output = np.zeros((count, head.v.shape[1]), dtype)
    for keys in key_tiles:
        logits, _ = logits_tile(call, head, rows, keys)
        new_max = np.maximum(row_max, logits.max(1, keepdims=True))
        shift = np.where(new_max == -np.inf, 0, new_max)  # a row without a key so far must not give inf - inf
        terms = np.exp(logits - shift)
        rescale = np.exp(row_max - shift)
        total = total * rescale + terms.sum(1, keepdims=True)
        output = output * rescale + terms @ head.v[keys]
        row_max = new_max
    return output / np.where(total == 0, 1, total), np.where(row_max == -np.inf, 0, row_max)[:, 0], total[:, 0]


def forward(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> tuple[Float[Array, "B Hq Tq Dv"], Float[Array, "B Hq Tq"], Float[Array, "B Hq Tq"]]:
    """Output, row maximum and sum, in the wide dtype."""
    wide = np.float64 if call.dtype == "float64" else np.float32
    output = np.empty((call.sizes.B, call.sizes.Hq, call.sizes.Tq, call.sizes.Dv), wide)
    row_max, total = np.empty(output.shape[:3], wide), np.empty(output.shape[:3], wide)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        for head in heads(q, k, v, call):
            for rows, key_tiles in tiles(call, head):
                at = head.b, head.h, rows
                output[at], row_max[at], total[at] = attend_tile(call, head, rows, key_tiles)
    return output, row_max, total


def vjp(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    call: Call,
    d_output: Float[Array, "B Hq Tq Dv"],
    d_lse: Float[Array, "B Hq Tq"] | None,
) -> dict[str, Float[Array, " ..."]]:
    """Gradients of q, k, v, bias and parameters, tile by tile, from what a forward pass knows of its rows."""
    output, row_max, total = forward(q, k, v, call)
    grads = {name: np.zeros(a.shape, output.dtype) for name, a in (("q", q), ("k", k), ("v", v))}
    if call.bias is not None:
        grads["bias"] = np.zeros(call.bias.shape, output.dtype)
    grads |= {f"params.{name}": np.zeros(param.shape, output.dtype) for name, param in call.params.items()}
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        for head in heads(q, k, v, call):
            at = head.b, head.h
            dead = total[at] == 0
            d_o = np.where(dead[:, None], 0, d_output[at].astype(output.dtype))
            d_row = -(d_o * output[at]).sum(1)
            if d_lse is not None:
                d_row = d_row + np.where(dead, 0, d_lse[at])
            of_head, divisor = empty_gradients(head.projected), np.where(dead, 1, total[at])
            for rows, key_tiles in tiles(call, head):
                of_rows = Rows(row_max[at][rows, None], divisor[rows, None], d_o[rows], d_row[rows, None])
                for keys in key_tiles:
                    _backward_tile(call, head, rows, keys, of_rows, grads, of_head)
            _add_head(call, head, of_head, grads)
    dtypes = {"q": q.dtype, "k": k.dtype, "v": v.dtype} | ({"bias": call.bias.dtype} if call.bias is not None else {})
    dtypes |= {f"params.{name}": param.dtype for name, param in call.params.items()}
    return {name: grad.astype(dtypes[name], copy=False) for name, grad in grads.items()}


def _backward_tile(
    call: Call,
    head: Head,
    rows: slice,
    keys: slice,
    of_rows: Rows,
    grads: dict[str, Array],
    of_head: Gradients,
) -> None:
    logits, slope = logits_tile(call, head, rows, keys)
    weights = np.exp(logits - of_rows.max) / of_rows.total
    d_logits = weights * (of_rows.d_output @ head.v[keys].T + of_rows.d_row)
    if call.bias is not None:
        target = part(grads["bias"], head, rows, keys)
        axes = tuple(axis for axis in (0, 1) if target.shape[axis] == 1 and d_logits.shape[axis] != 1)
        target += d_logits.sum(axes, keepdims=True)
    d_scores = d_logits if slope is None else d_logits * slope
    if not call.spec.unscaled:
        d_scores = d_scores * head.scale
    add_tile(of_head, head.projected, rows, keys, d_scores)
    grads["v"][head.b, head.h // call.sizes.group, keys] += weights.T @ of_rows.d_output


def _add_head(call: Call, head: Head, of_head: Gradients, grads: dict[str, Array]) -> None:
    d_q, d_k, params = through_projection(of_head, head.q, head.k, call, head.h)
    grads["q"][head.b, head.h] += d_q
    grads["k"][head.b, head.h // call.sizes.group] += d_k
    for name, d_param in params.items():
        target = grads[f"params.{name}"]
        target[head.h if target.shape[0] > 1 else 0] += d_param


# d_row is read from the output, so the gradients carry the rounding of O; it is kept wide here.
_WIDE = {name: Precision(stored_output="float32") for name in ("float32", "bfloat16", "float16")}


@implementation(
    "numpy/blocked",
    Capabilities(
        scores=("dot", "general", "additive", "concat"),
        dtypes=("float64", "float32", "bfloat16", "float16"),
        causal=True,
        gqa=True,
        mask=True,
        bias=True,
        window=True,
        lengths=True,
        softcap=True,
        head_scale=True,
        batch_offset=True,
        lse=True,
        precision=_WIDE,
        lacks={"stages": "it never holds a whole row of scores"},
    ),
    vjp=vjp,
)
def blocked(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend, tile by tile."""
    output, row_max, total = forward(q, k, v, call)
    with np.errstate(divide="ignore"):
        lse = np.log(total) + row_max if call.wants("lse") else None
    return AttentionOutput(output.astype(q.dtype, copy=False), lse=lse)
