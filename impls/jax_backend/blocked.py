"""``jax/blocked``: exact attention tile by tile, in both directions; no (Tq, S) array is ever stored.

A tile is a head, some hundred queries and up to 2,048 of their keys (``tiles``): row maximum, sum and output are
rescaled from tile to tile (Milakov & Gimelshein 2018; FlashAttention, Dao 2022). What positions exclude is left out.
The backward pass computes the logits of each tile again, and its weights from the row maximum and
sum, which are kept apart: beside a maximum that a finite bias has made very low the sum would be rounded away. What
comes before the tiles (a learned score's products with its weights, the unit vectors of a cosine) and the logits of a
tile (``tile_scores``) are differentiated by JAX. Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from attnbench.api import AttentionOutput, Capabilities, Precision, implementation
from attnbench.impls.jax_backend.tile_scores import allowed_keys, from_above, logits, seen_keys, values, weighted
from attnbench.impls.jax_backend.tiles import (
    AXES,
    BACKWARD,
    add,
    all_reach,
    compact,
    flattened,
    halved,
    lies_flat,
    over_tiles,
    put,
    several,
    strips,
    take,
    untouched,
    with_group,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Bool, Float, Shaped

    from attnbench.api import Call
    from attnbench.impls.jax_backend.tiles import Place

    Arrays = dict[str, Array]

# As probed in a tile, with jax 0.10 on a CPU with AVX-512, in unit roundoffs: exp is off by up to 1.54 in float32 and
# 1.70 in float64, tanh by 4.90 and 6.92. Subnormals are zero. The backward pass takes Σ P dP from the output as it was
# computed, before it is rounded to 16 bits.
SEEN = "jax>=0.10,<0.11"
IN_FLOAT32 = Precision(exp_ulp=2.0, tanh_ulp=5.0, flush=True, stored_output="float32", seen=SEEN)
IN_FLOAT64 = Precision(
    accumulate="float64", softmax="float64", exp_ulp=2.0, tanh_ulp=8.0, flush=True, stored_output="float64", seen=SEEN
)
# What has a gradient within a tile.
MOVING = ("q", "k", "bias", "unit")
# What excludes keys beside their positions.
RESTRICTING = {"kv_lengths", "q_lengths", "q_segments", "mask", "finite"}

BLOCKED = Capabilities(
    scores=("dot", "general", "additive", "concat", "cosine"),
    dtypes=("float64", "float32", "bfloat16", "float16"),
    devices=("cpu", "cuda"),
    causal=True,
    gqa=True,
    mask=True,
    bias=True,
    window=True,
    lengths=True,
    segments=True,
    softcap=True,
    sinks=True,
    dropout=True,
    slopes=True,
    head_scale=True,
    log_n=True,
    batch_offset=True,
    lse=True,
    nan_isolation=True,
    gradients=True,
    precision={"float64": IN_FLOAT64, "float32": IN_FLOAT32, "bfloat16": IN_FLOAT32, "float16": IN_FLOAT32},
    lacks={"stages": "no (Tq, S) array is ever stored"},
)


@implementation("jax/blocked", BLOCKED)
def attend(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend, computed in float32 (float64 in float64)."""
    with jax.default_matmul_precision("highest"):  # float32 products in float32, never TF32; so too the transposes
        output, lse = Blocked(call)(*operands(q, k, v, call))
    output = output.reshape(*q.shape[:3], v.shape[3]).astype(q.dtype)
    return AttentionOutput(output, lse=lse.reshape(q.shape[:3]) if call.wants("lse") else None)


# Operands


def operands(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> tuple[Arrays, Arrays]:
    """What has a gradient and what has none, with five axes, every floating array in the wide dtype."""
    wide = jnp.float64 if q.dtype == jnp.float64 else jnp.float32
    q, k, v = (x.astype(wide) for x in (q, k, v))
    call = call.map_arrays(lambda x: x.astype(wide) if jnp.issubdtype(x.dtype, jnp.floating) else x)
    moving = scored(q, k, call) | {"v": v[:, :, None]}
    fixed: Arrays = {}
    for name, shape in (("bias", None), ("sinks", (1, -1, 1, 1)), ("slopes", (1, -1, 1, 1)), ("scale", (1, -1, 1, 1)),
                        ("mask", None), ("keep", None), ("q_lengths", (-1, 1, 1, 1)), ("kv_lengths", (-1, 1, 1, 1)),
                        ("offset", (-1, 1, 1, 1)), ("q_segments", (call.sizes.B, 1, -1, 1)),
                        ("kv_segments", (call.sizes.B, 1, 1, -1))):  # fmt: skip
        array = getattr(call, name)
        if hasattr(array, "dtype"):
            into = moving if name in ("bias", "sinks") else fixed
            into[name] = grouped(array if shape is None else array.reshape(shape), call)
    if "bias" in moving:
        fixed["finite"] = moving["bias"] != -jnp.inf
    return moving, fixed


def grouped(x: Shaped[Array, "B H T n"], call: Call) -> Shaped[Array, "B Hkv group T n"]:
    """Query heads as key/value heads and the query heads of each."""
    heads = (1, 1) if x.shape[1] == 1 != call.sizes.Hq else (call.sizes.Hkv, call.sizes.group)
    return x.reshape(x.shape[0], *heads, *x.shape[2:])


def scored(q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], call: Call) -> Arrays:
    """What a tile's scores are made of: q and k, or what comes before their product or sum."""
    score, params = call.spec.score, call.params
    if score in ("additive", "concat"):
        keys = jnp.repeat(k, call.sizes.group, axis=1)  # their weights differ between query heads of a group
        d = q.shape[3]
        if score == "concat":
            q, keys = times(q, params["W"][:, :d]), times(keys, params["W"][:, d:])
        else:
            q, keys = times(q, params["Wq"]) + params["b"][:, None, :], times(keys, params["Wk"])
        unit = jnp.broadcast_to(params["v"], (q.shape[1], q.shape[3]))[None, :, None, :]
        return {"q": grouped(q, call), "k": grouped(keys, call), "unit": grouped(unit, call)}
    if score == "general":
        q = times(q, params["W"])
    if score == "cosine":
        q, k = directed(q, params["temperature"]), row_by_row(unit_vectors, k)
    return {"q": grouped(q, call), "k": k[:, :, None]}


def row_by_row(
    function: Callable[..., Array], x: Float[Array, "B H T n"], *params: Float[Array, " ..."]
) -> Float[Array, "B H T m"]:
    """A function of each row and parameters, whose gradient does not read rows with a cotangent of 0.

    These are the rows that nobody sees, and may hold NaN: 0 · NaN would make the gradients of the parameters NaN. A NaN
    in a row that is seen comes back as a cotangent that is NaN, and is kept.
    """

    @jax.custom_vjp
    def run(x: Array, *params: Array) -> Array:
        return function(x, *params)

    def keep_factors(*given: Array) -> tuple[Array, tuple[Array, ...]]:
        return function(*given), given

    def through(given: tuple[Array, ...], d: Array) -> tuple[Array, ...]:
        moved = (d != 0).any(-1, keepdims=True)
        grads: tuple[Array, ...] = jax.vjp(function, jnp.where(moved, given[0], 0.0), *given[1:])[1](d)
        return grads

    run.defvjp(keep_factors, through)
    return run(x, *params)


def times(x: Float[Array, "B H T n"], w: Float[Array, "#H n m"]) -> Float[Array, "B H T m"]:
    """Each row times the weights of its head."""
    return row_by_row(jnp.matmul, x, w)


def directed(q: Float[Array, "B Hq Tq D"], temperature: Float[Array, " Hq"]) -> Float[Array, "B Hq Tq D"]:
    """Unit vectors, as long as the temperature of the head."""
    return row_by_row(lambda x, length: unit_vectors(x) * length[:, None, None], q, temperature)


def unit_vectors(x: Float[Array, "B H T D"]) -> Float[Array, "B H T D"]:
    """x / max(‖x‖, 1e-12) without overflow or underflow of the squares.

    Divided by its largest element (or the floor, if that is larger), the norm is at least 1, unless x is below the
    floor: then a maximum with 1 makes it, and its gradient, a division by the floor.
    """
    x = x / jnp.maximum(jnp.abs(lax.stop_gradient(x)).max(-1, keepdims=True), 1e-12)
    square = (x * x).sum(-1, keepdims=True)
    return x / jnp.sqrt(jnp.where(square < 1.0, 1.0, square))


# Both directions


class Blocked:
    """Output and lse of a call, with a backward pass of its own."""

    def __init__(self, call: Call) -> None:
        # No array of the call is read here: what is traced comes with each pass.
        self.call = call.with_arrays(dict.fromkeys(call.arrays()) | {"params": {}})
        self.strips = strips(self.call)
        self.several = several(self.strips)

    def __call__(
        self, moving: Arrays, fixed: Arrays
    ) -> tuple[Float[Array, "B Hkv g Tq Dv"], Float[Array, "B Hkv g Tq 1"]]:
        """Output in the wide dtype, and lse."""

        @jax.custom_vjp
        def run(moving: Arrays, fixed: Arrays) -> tuple[Array, Array]:
            return self.forward(moving, fixed)[0]

        run.defvjp(self.forward, self.backward)
        if self.call.spec.scale == "log_n":
            fixed["scale"] = self.call.scale * self.log_counts(fixed, moving["q"].dtype)
        return run(*({n: compact(x) if any(AXES[n]) else x for n, x in g.items()} for g in (moving, fixed)))

    def over(self, step: Callable[[Place, Arrays], Arrays], state: Arrays, factor: float = 1.0) -> Arrays:
        """A step for every tile, of ``factor`` times the usual size."""
        for strip in self.strips:
            state = over_tiles(self.call, strip if factor == 1.0 else halved(strip), step, state, factor)
        return state

    def rows(self, value: Any, dtype: Any, width: int = 1) -> Shaped[Array, "B Hkv ... Tq n"]:
        """Something for each query."""
        sizes = self.call.sizes
        return compact(jnp.full((sizes.B, sizes.Hkv, sizes.group, sizes.Tq, width), value, dtype))

    def allowed(self, fixed: Arrays, place: Place) -> tuple[Arrays, Bool[Array, "#b #h #g t s"] | None]:
        """The part of the fixed operands that a tile reads, and A on it."""
        parts = {name: take(name, array, place) for name, array in fixed.items()}
        return parts, allowed_keys(parts, self.call, place)

    def log_counts(self, fixed: Arrays, dtype: Any) -> Float[Array, "B Hkv g Tq 1"]:
        """ln(max(n_i, 2)) with n_i the size of A_i."""

        def count(place: Place, state: Arrays) -> Arrays:
            allowed = self.allowed(fixed, place)[1]
            number = (
                jnp.full((1, 1, 1, 1, 1), place.size["keys"]) if allowed is None else allowed.sum(-1, keepdims=True)
            )
            size = (*(place.size[axis] for axis in ("batch", "heads")), self.call.sizes.group, place.size["rows"], 1)
            return {"count": add("count", state["count"], jnp.broadcast_to(number, size).astype(jnp.int32), place)}

        counts = with_group(self.over(count, {"count": self.rows(0, jnp.int32)})["count"])
        return jnp.log(jnp.maximum(counts, 2).astype(dtype))

    def forward(self, moving: Arrays, fixed: Arrays) -> tuple[tuple[Array, Array], tuple[Arrays, Arrays, Arrays]]:
        """Output and lse; and what the backward pass reads."""
        dtype, sinks = moving["q"].dtype, moving.get("sinks")
        missing, fresh = jnp.isnan(moving["v"]).any(), untouched(self.strips)

        def step(place: Place, state: Arrays) -> Arrays:
            tile = self.tile(moving, fixed, place, missing)
            if self.several and place.strip in fresh:
                pass
            elif self.several:
                tile = merged({name: take(name, state[name], place) for name in state}, tile)
            elif sinks is not None:
                tile["output"] = finished(tile, take("sinks", sinks, place))["output"]
            else:
                tile["output"] = finished(tile, None)["output"]
            return {name: put(name, state[name], tile[name], place) for name in state}

        empty = {"output": self.rows(0.0, dtype, moving["v"].shape[-1]), "largest": self.rows(-jnp.inf, dtype)}
        state = self.over(step, empty | {"total": self.rows(0, dtype)})
        state = {name: with_group(x) for name, x in state.items()}
        done = finished(state, sinks)
        output = done["output"] if self.several else state["output"]
        lse = jnp.where(done["total"] != 0, done["largest"] + jnp.log(done["total"]), -jnp.inf)
        kept = {"output": output, "alive": state["total"] != 0} | {n: done[n] for n in ("largest", "total")}
        kept["total"] = jnp.where(kept["total"] != 0, kept["total"], 1.0)
        return (output, lse), (moving, fixed, kept)

    def reaches_all(self, fixed: Arrays, place: Place) -> bool:
        """Whether every query of the tile sees a key of it, and the other way round, as positions alone exclude."""
        return RESTRICTING.isdisjoint(fixed) and all_reach(self.call, place.strip)

    def tile(self, moving: Arrays, fixed: Arrays, place: Place, missing: Bool[Array, ""] | None) -> Arrays:
        """Maximum, sum and unscaled output of the rows of one tile."""
        given = {name: take(name, array, place) for name, array in moving.items()}
        parts, allowed = self.allowed(fixed, place)
        flat, whole = lies_flat(given, parts, place), allowed is None or self.reaches_all(fixed, place)
        if flat:
            given, parts, allowed = flattened(given, parts, allowed, place.size["rows"])
        s = logits(given, parts, self.call, place, allowed, differentiated=False)
        largest = s.max(-1, keepdims=True)
        # exp(−inf) is 0 outside A, and a row whose maximum is NaN is NaN anyhow. A choice between the term and 0 would
        # cost a third of the whole time: XLA's CPU code then takes exp and sum apart.
        terms = jnp.exp(s - (largest if whole else above(largest)))
        v = given["v"] if whole else seen_values(given["v"], allowed)
        output = weighted(self.kept_of(terms, parts), v, allowed, missing)
        tile = {"largest": largest, "total": terms.sum(-1, keepdims=True), "output": output}
        shape = (1, 1, self.call.sizes.group, place.size["rows"])
        return {name: x.reshape(*shape, x.shape[-1]) for name, x in tile.items()} if flat else tile

    def kept_of(self, terms: Float[Array, "... t s"], parts: Arrays) -> Float[Array, "... t s"]:
        """Each times keep / (1 − dropout).

        XLA makes a product with one of two constants a choice between the weight and 0; and the NaN of a row of which
        every key is dropped would be gone.
        """
        if "keep" not in parts:
            return terms
        factor = jnp.where(parts["keep"], 1.0 / (1.0 - self.call.spec.dropout), 0.0).astype(terms.dtype)
        kept: Array = lax.optimization_barrier(factor)
        return terms * kept

    def backward(self, saved: tuple[Arrays, Arrays, Arrays], cotangents: tuple[Array, Array]) -> tuple[Arrays, None]:
        """Gradients of what has one, tile by tile, the weights computed again."""
        moving, fixed, kept = saved
        d_output = jnp.where(kept["alive"], cotangents[0], 0.0)  # an undefined cotangent of a row without keys is none
        mean = (d_output * kept["output"]).sum(-1, keepdims=True)
        rows = {"d_output": d_output, "delta": mean - jnp.where(kept["alive"], cotangents[1], 0.0)}
        rows |= {"largest": kept["largest"], "total": kept["total"]}
        rows = {name: compact(x) for name, x in rows.items()}

        def step(place: Place, grads: Arrays) -> Arrays:
            through = self.through_tile(moving, fixed, {n: take(n, x, place) for n, x in rows.items()}, place)
            return {name: add(name, grads[name], through[name], place) for name in grads}

        with jax.default_matmul_precision("highest"):
            zeros = {name: jnp.zeros_like(array) for name, array in moving.items() if name != "sinks"}
            grads = self.over(step, zeros, BACKWARD)
        if "sinks" in moving:
            weight = jnp.exp(moving["sinks"] - kept["largest"]) / kept["total"]
            grads["sinks"] = (weight * (cotangents[1] - mean)).sum((0, 3, 4), keepdims=True)
        return grads, None

    def through_tile(self, moving: Arrays, fixed: Arrays, rows: Arrays, place: Place) -> Arrays:
        """The part of the gradients that comes from one tile."""
        given = {name: take(name, array, place) for name, array in moving.items()}
        parts, allowed = self.allowed(fixed, place)
        differentiated = {name: given[name] for name in MOVING if name in given}
        s, pull_back = jax.vjp(
            lambda given: logits(given, parts, self.call, place, allowed, differentiated=True), differentiated
        )
        weights = jnp.exp(s - rows["largest"]) / rows["total"]
        if allowed is not None:
            weights = jnp.where(allowed, weights, 0.0)
        v = seen_values(given["v"], allowed)
        d_weights = self.kept_of(values(rows["d_output"], jnp.swapaxes(v, 3, 4)), parts)
        (grads,) = pull_back(weights * (d_weights - rows["delta"]))
        through: Arrays = grads | {"v": from_above(self.kept_of(weights, parts), rows["d_output"])}
        return through


def seen_values(v: Float[Array, "... s m"], allowed: Bool[Array, "... t s"] | None) -> Float[Array, "... s m"]:
    """0 in the place of what no query of the tile sees."""
    return v if allowed is None else jnp.where(seen_keys(allowed, 1), v, 0.0)


def above(largest: Float[Array, "... t 1"]) -> Float[Array, "... t 1"]:
    """What is subtracted from logits: the largest of them, and 0 where all are −inf."""
    return jnp.where(jnp.isneginf(largest), 0.0, largest)


def merged(before: Arrays, tile: Arrays) -> Arrays:
    """The rows of two tiles together."""
    largest = jnp.maximum(before["largest"], tile["largest"])
    was, now = (jnp.exp(x["largest"] - above(largest)) for x in (before, tile))
    sums = {name: before[name] * was + tile[name] * now for name in ("total", "output")}
    return {"largest": largest} | sums


def finished(tile: Arrays, sinks: Float[Array, "1 Hkv g 1 1"] | None) -> Arrays:
    """With the sinks: what was subtracted from the logits, the whole sum, and the output, which is divided by it."""
    if sinks is None:
        largest, total, factor = above(tile["largest"]), tile["total"], None
    else:
        largest = above(jnp.maximum(tile["largest"], sinks))
        factor = jnp.exp(tile["largest"] - largest)
        total = tile["total"] * factor + jnp.exp(sinks - largest)
    divisor = jnp.where(total != 0, total, 1.0)
    output = tile["output"] if factor is None else tile["output"] * factor
    return {"largest": largest, "total": total, "output": output / divisor}
