"""The logits of one tile of ``jax/blocked``: scores, scale, cap, biases, and which keys are allowed.

Arrays have the five axes of ``tiles``: b batch entries, h key/value heads, g query heads of each group (or 1), then t
queries, s keys, and n columns. The legend of the spec's letters is in ``attnbench.attention.spec``.
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

# Hidden units of a learned score that are added in one pass over the tile.
UNITS = 8


def logits(
    moving: Operands, fixed: Operands, call: Call, place: Place, allowed: Bool[Array, "#b #h #g t s"] | None
) -> Float[Array, "b h g t s"]:
    """The logits of a tile, −inf outside A; ``moving`` is what has a gradient."""
    q, k = moving["q"], moving["k"]
    if allowed is not None:  # what nobody sees does not exist: a NaN in it is not to reach the gradients
        q = jnp.where(allowed.any(-1, keepdims=True), q, 0.0)
        k = jnp.where(seen_keys(allowed, k.shape[2]), k, 0.0)
    scores = learned(q, k, moving["unit"]) if "unit" in moving else product(q, k)
    if not call.spec.unscaled:
        scores = scores * fixed.get("scale", call.scale)
    if call.spec.softcap is not None:
        scores = call.spec.softcap * jnp.tanh(scores / call.spec.softcap)
    if "bias" in moving:
        scores = scores + moving["bias"]
    if "slopes" in fixed:
        i, j = indices(place)
        distance = jnp.abs(i + fixed.get("offset", call.offset) - j).astype(scores.dtype)
        scores = scores - fixed["slopes"] * distance
    return scores if allowed is None else jnp.where(allowed, scores, -jnp.inf)


def seen_keys(allowed: Bool[Array, "#b #h #g t s"], group: int) -> Bool[Array, "#b #h #g s 1"]:
    """The keys that some query of the tile sees; in all heads of a group together where they share the keys."""
    seen = allowed.any(-2)
    return (seen.any(2, keepdims=True) if group == 1 else seen)[..., None]


def indices(place: Place) -> tuple[Int[Array, "t 1"], Int[Array, " s"]]:
    """Which queries and which keys stand in the tile."""
    i = place.start["rows"] + jnp.arange(place.size["rows"])[:, None]
    return i, place.start["keys"] + jnp.arange(place.size["keys"])


def allowed_keys(fixed: Operands, call: Call, place: Place) -> Bool[Array, "#b #h #g t s"] | None:
    """A on one tile, or ``None`` where all of it is allowed. What only fills the last tile is not."""
    spec, sizes, strip = call.spec, call.sizes, place.strip
    i, j = indices(place)
    p = i + fixed.get("offset", call.offset)
    left, right = spec.window or (None, None)
    rules: list[Array] = []
    if place.tiling.queries > sizes.Tq:
        rules.append(i < sizes.Tq)
    if place.tiling.keys > sizes.S:
        rules.append(j < sizes.S)
    last = min(strip.low + strip.keys * strip.chunks, sizes.S) - 1
    if spec.causal and not (isinstance(call.offset, int) and strip.first + call.offset >= last):
        rules.append(j <= p)
    if left is not None:
        rules.append(j >= p - left)
    if right is not None:
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


def product(q: Float[Array, "b h g t n"], k: Float[Array, "b h 1 s n"]) -> Float[Array, "b h g t s"]:
    """q·k: the queries of a group stand below each other, as rows of one product."""
    rows = q.reshape(*q.shape[:2], -1, q.shape[4])
    return (rows @ k[:, :, 0].mT).reshape(*q.shape[:4], k.shape[3])


@jax.custom_vjp
def learned(
    q: Float[Array, "b h g t n"], k: Float[Array, "b h g s n"], unit: Float[Array, "1 h g 1 n"]
) -> Float[Array, "b h g t s"]:
    """Σ_a v_a · tanh(q_a + k_a) over hidden units a, some of them in one pass over the tile."""
    q, k, unit = (in_passes(x) for x in (q, k, unit))

    def add(scores: Array, units: tuple[Array, Array, Array]) -> tuple[Array, None]:
        return reduce(jnp.add, (v * jnp.tanh(a + b) for a, b, v in each_unit(units)), scores), None

    empty = jnp.zeros((*q.shape[1:5], k.shape[4]), q.dtype)
    return lax.scan(add, empty, (q, k, unit))[0]


def in_passes(x: Float[Array, "b h g t n"]) -> Float[Array, "passes b h g t UNITS"]:
    """The columns in groups of UNITS; zeros behind the last, which add v · tanh(0) = 0 with v = 0."""
    passes = -(-x.shape[-1] // UNITS)
    full = jnp.pad(x, ((0, 0),) * 4 + ((0, passes * UNITS - x.shape[-1]),))
    return jnp.moveaxis(full.reshape(*x.shape[:4], passes, UNITS), 4, 0)


def each_unit(units: tuple[Array, Array, Array]) -> list[tuple[Array, Array, Array]]:
    """Of each hidden unit a column of queries, a row of keys, and its weight."""
    q, k, v = units
    return [(q[..., u, None], k[..., None, :, u], v[..., u, None]) for u in range(UNITS)]


def _keep_operands(q: Array, k: Array, unit: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    return learned(q, k, unit), (q, k, unit)


def _through_units(kept: tuple[Array, Array, Array], d: Float[Array, "b h g t s"]) -> tuple[Array, Array, Array]:
    """dq_a = Σ_j d v_a (1 − t²), dk_a likewise over queries, dv_a = Σ d t with t = tanh(q_a + k_a) computed again."""
    width = kept[0].shape[-1]

    def of_units(_: None, units: tuple[Array, Array, Array]) -> tuple[None, tuple[Array, Array, Array]]:
        grads = []
        for a, b, v in each_unit(units):
            t = jnp.tanh(a + b)
            slope = d * (1.0 - t * t)
            grads.append((v[..., 0] * slope.sum(-1), v[..., 0] * slope.sum(-2), (d * t).sum((0, 3, 4))[None, :, :, None]))
        dq, dk, dv = (jnp.stack(column, -1) for column in zip(*grads, strict=True))
        return None, (dq, dk, dv)

    _, grads = lax.scan(of_units, None, tuple(in_passes(x) for x in kept))
    dq, dk, dv = (jnp.moveaxis(x, 0, -2).reshape(*x.shape[1:-1], -1)[..., :width] for x in grads)
    return dq, dk, dv


learned.defvjp(_keep_operands, _through_units)


# Values


def values(weights: Float[Array, "b h g t s"], v: Float[Array, "b h 1 s m"]) -> Float[Array, "b h g t m"]:
    """The weights times the values of each head's group."""
    rows = weights.reshape(*weights.shape[:2], -1, weights.shape[4])
    return (rows @ v[:, :, 0]).reshape(*weights.shape[:4], v.shape[4])


def weighted(
    weights: Float[Array, "b h g t s"], v: Float[Array, "b h 1 s m"], allowed: Bool[Array, "#b #h #g t s"] | None
) -> Float[Array, "b h g t m"]:
    """The same, in which a NaN reaches the rows that may attend it, and no other: 0 · NaN is NaN."""
    if allowed is None:
        return values(weights, v)
    missing = jnp.isnan(v)
    output = values(weights, jnp.where(missing, 0.0, v))

    def reached_by_nan() -> Float[Array, "b h g t m"]:
        everywhere = jnp.broadcast_to(allowed, weights.shape).astype(v.dtype)
        return jnp.where(values(everywhere, missing.astype(v.dtype)) > 0, jnp.nan, 0.0).astype(v.dtype)

    return output + lax.cond(missing.any(), reached_by_nan, lambda: jnp.zeros_like(output))
