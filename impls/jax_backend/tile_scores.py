"""The logits of one tile of ``jax/blocked``: scores, scale, cap, biases, and which keys are allowed.

Arrays have the five axes of ``tiles``: b batch entries, h key/value heads, g query heads of each group (or 1), then t
queries, s keys, and n columns; or two (``FLAT``). The legend of the spec's letters is in ``attnbench.attention.spec``.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array, lax

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Bool, Float, Int

    from attnbench.api import Call
    from attnbench.impls.jax_backend.tiles import Place

    Operands = Mapping[str, Array]


# Axes of a tile of one head (``tiles.flattened``).
FLAT = 2


def logits(
    moving: Operands,
    fixed: Operands,
    call: Call,
    place: Place,
    allowed: Bool[Array, "... t s"] | None,
    *,
    differentiated: bool,
) -> Float[Array, "... t s"]:
    """The logits of a tile, −inf outside A; ``moving`` is what has a gradient."""
    q, k = moving["q"], moving["k"]
    # What nobody sees does not exist: a NaN in it is not to reach the gradients.
    if allowed is not None and differentiated:
        q = jnp.where(allowed.any(-1, keepdims=True), q, 0.0)
        k = jnp.where(seen_keys(allowed, k.shape[2]), k, 0.0)
    scale = fixed.get("scale", call.scale)
    if "unit" in moving:
        scores = learned(q, k, moving["unit"])
        scores = scores if call.spec.unscaled else scores * scale
    else:  # into the queries, which are fewer; and XLA's softmax stays in one piece with the product
        scores = product(q if call.spec.unscaled else q * scale, k)
    if call.spec.softcap is not None:
        scores = call.spec.softcap * jnp.tanh(scores / call.spec.softcap)
    if "bias" in moving:
        scores = scores + moving["bias"]
    if "slopes" in fixed:
        i, j = indices(place)
        distance = jnp.abs(i + fixed.get("offset", call.offset) - j).astype(scores.dtype)
        scores = scores - fixed["slopes"] * distance
    return scores if allowed is None else jnp.where(allowed, scores, -jnp.inf)


def seen_keys(allowed: Bool[Array, "... t s"], group: int) -> Bool[Array, "... s 1"]:
    """The keys that some query of the tile sees; in all heads of a group together where they share the keys."""
    seen = allowed.any(-2)
    if allowed.ndim == FLAT:
        return seen[:, None]
    return (seen.any(2, keepdims=True) if group == 1 else seen)[..., None]


def indices(place: Place) -> tuple[Int[Array, "t 1"], Int[Array, " s"]]:
    """Which queries and which keys stand in the tile."""
    i = place.start["rows"] + jnp.arange(place.size["rows"])[:, None]
    return i, place.start["keys"] + jnp.arange(place.size["keys"])


def allowed_keys(fixed: Operands, call: Call, place: Place) -> Bool[Array, "#b #h #g t s"] | None:
    """A on one tile, or ``None`` where all of it is allowed."""
    spec, strip = call.spec, place.strip
    i, j = indices(place)
    p = i + fixed.get("offset", call.offset)
    left, right = spec.window or (None, None)
    rules: list[Array] = []
    known = isinstance(call.offset, int)
    (row, key), (end, stop) = (strip.first, strip.low), strip.ends
    if spec.causal and not (known and stop - 1 <= row + call.offset):
        rules.append(j <= p)
    if left is not None and not (known and key >= end - 1 + call.offset - left):
        rules.append(j >= p - left)
    if right is not None and not (known and stop - 1 <= row + call.offset + right):
        rules.append(j <= p + right)
    rules += [j < fixed["kv_lengths"]] if "kv_lengths" in fixed else []
    rules += [i < fixed["q_lengths"]] if "q_lengths" in fixed else []
    rules += [fixed["q_segments"] == fixed["kv_segments"]] if "q_segments" in fixed else []
    rules += [fixed["mask"]] if "mask" in fixed else []
    rules += [fixed["finite"]] if "finite" in fixed else []
    if not rules:
        return None
    allowed = reduce(jnp.logical_and, rules)
    allowed = allowed.reshape((1,) * (5 - allowed.ndim) + allowed.shape)
    return jnp.broadcast_to(allowed, (*allowed.shape[:3], i.shape[0], j.shape[0]))


# Scores


@jax.custom_vjp
def product(q: Float[Array, "... t n"], k: Float[Array, "... s n"]) -> Float[Array, "... t s"]:
    """q·k: the queries of a group stand below each other, as rows of one product."""
    if q.ndim == FLAT:
        return q @ k.T
    return (below(q) @ k[:, :, 0].mT).reshape(*q.shape[:4], k.shape[3])


def _keep_factors(q: Array, k: Array) -> tuple[Array, tuple[Array, Array]]:
    return product(q, k), (q, k)


def _through_product(kept: tuple[Array, Array], d: Float[Array, "b h g t s"]) -> tuple[Array, Array]:
    q, k = kept
    return values(d, k), from_above(d, q)


product.defvjp(_keep_factors, _through_product)


def below(x: Float[Array, "b h g t n"]) -> Float[Array, "b h rows n"]:
    """The query heads of a group below each other."""
    return x.reshape(*x.shape[:2], -1, x.shape[4])


def from_above(weights: Float[Array, "b h g t s"], rows: Float[Array, "b h g t n"]) -> Float[Array, "b h 1 s n"]:
    """The transposed weights times the rows, summed over queries and the heads of a group.

    Computed as the transpose of rowsᵀ · weights, with rowsᵀ laid out first: XLA's CPU code takes more than twice as
    long where it has to read the large factor by columns.
    """
    across: Array = lax.optimization_barrier(below(rows).mT)
    return (across @ below(weights)).mT[:, :, None]


def learned(
    q: Float[Array, "b h g t n"], k: Float[Array, "b h g s n"], unit: Float[Array, "1 h g 1 n"]
) -> Float[Array, "b h g t s"]:
    """Σ_a v_a · tanh(q_a + k_a) over hidden units a, one after the other; computed again in the backward pass.

    Several in one pass over the tile would save memory traffic, but take six times as long: of one unit XLA's CPU code
    makes a call of the library that has a fast tanh (YNNPACK, jax 0.10).
    """
    across = (q.shape[0], -1)  # fewer axes, for the same reason

    def add(scores: Array, units: tuple[Array, Array, Array]) -> tuple[Array, None]:
        of_query, of_key, weight = units
        return scores + weight[..., None, None] * jnp.tanh(of_query[..., :, None] + of_key[..., None, :]), None

    units = [jnp.moveaxis(x.reshape(*across, *x.shape[3:]), -1, 0) for x in (q, k)]
    empty = jnp.zeros((*units[0].shape[1:], k.shape[3]), q.dtype)
    weights = unit.reshape(-1, unit.shape[4]).T
    scores: Array = lax.scan(jax.checkpoint(add), empty, (*units, weights))[0]
    return scores.reshape(*q.shape[:4], k.shape[3])


# Values


def values(weights: Float[Array, "... t s"], v: Float[Array, "... s m"]) -> Float[Array, "... t m"]:
    """The weights times the values of each head's group."""
    if weights.ndim == FLAT:
        return weights @ v
    return (below(weights) @ v[:, :, 0]).reshape(*weights.shape[:4], v.shape[4])


def weighted(
    weights: Float[Array, "... t s"],
    v: Float[Array, "... s m"],
    allowed: Bool[Array, "... t s"] | None,
    missing: Bool[Array, ""] | None,
) -> Float[Array, "... t m"]:
    """The same, in which a NaN reaches the rows that may attend it, and no other: 0 · NaN is NaN.

    ``missing`` says whether there is a NaN in any value of the call.
    """
    if allowed is None or missing is None:
        return values(weights, v)
    there = jnp.isnan(v)

    def reached_by_nan(output: Float[Array, "... t m"]) -> Float[Array, "... t m"]:
        everywhere = jnp.broadcast_to(allowed, weights.shape).astype(v.dtype)
        return jnp.where(values(everywhere, there.astype(v.dtype)) > 0, jnp.nan, output).astype(v.dtype)

    output = values(weights, jnp.where(there, 0.0, v))
    isolated: Array = lax.cond(missing, reached_by_nan, lambda output: output, output)
    return isolated
