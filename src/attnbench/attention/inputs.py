"""Drawing inputs: seeded per operand name, identical in every framework, rounded to the dtype.

Each operand has a stream of its own, so that adding a mask does not change the values of q. Everything is drawn in
float64 by NumPy's PCG64 and then rounded to the dtype (float64, float32, bfloat16, float16). The operands that stand
at the boundaries are drawn in ``attnbench.attention.inputs_edges``.
"""

from __future__ import annotations

import hashlib
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands
from attnbench.attention.checked import param_shapes
from attnbench.attention.inputs_edges import EDGES
from attnbench.attention.precision import SMALLEST_NORMAL, numpy_dtype
from attnbench.attention.spec import AttentionSpec
from attnbench.keywords import explained

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float

    from attnbench.attention.problem import Case, Problem

PEAKY = 8.0
HUGE = 1000.0
OUTLIER = 30.0
V_MEAN = 100.0
GARBAGE = 1e4
# Masks that leave some keys to no query, or some queries without a key, whatever the seed: a poison put there must have
# no effect. Other masks do so only by chance.
HIDES_KEYS = ("mask_keys", "mask_shared", "mask_tile")
HIDES_ROWS = ("mask_rows", "mask_tile")


def stream(seed: int, name: str) -> np.random.Generator:
    """The random stream of one operand: a function of the seed and the operand's name alone."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, key])))


def draw(spec: AttentionSpec, problem: Problem, *, values: bool = True) -> Operands:
    """Draw every operand that the spec and the problem ask for (shapes: ``attnbench.attention.call.Operands``).

    Without ``values`` q, k and v are zeros: enough to ask what is allowed, and much cheaper.
    """
    p = problem
    of = _values if values else _zeros
    q = of(p, "q", (p.B, p.Hq, p.Tq, p.D))
    k = of(p, "k", (p.B, p.Hkv, p.S, p.D))
    v = of(p, "v", (p.B, p.Hkv, p.S, p.Dv))
    if p.layout == "expanded":
        k[:], v[:] = k[:1], v[:1]
    given: dict[str, Any] = {}
    for kind in p.operands:
        if kind in DRAWERS:
            given |= DRAWERS[kind](p)
    _poison(p, q, k, v, given)
    if spec.dropout:
        given["keep"] = stream(p.seed, "keep").random((p.B, p.Hq, p.Tq, p.S)) >= spec.dropout
    if spec.score != "dot":
        given["params"] = default_params(spec, heads=p.Hq, d=p.D, hidden=p.Da, seed=p.seed, dtype=p.dtype)
    if "past" in p.operands:
        past = p.S - p.Tq
        given |= {"past_k": k[:, :, :past], "past_v": v[:, :, :past]}
        k, v = k[:, :, past:], v[:, :, past:]
    return Operands(q=q, k=k, v=v, **given)


def drawn(problem: Problem, group: str) -> dict[str, Any]:
    """What ``draw`` gives for one group of ``problem.OPERAND_GROUPS``, by name; nothing where it has none."""
    kind = problem.kind_of(group)
    return {} if kind is None else DRAWERS[kind](problem)


def draw_cotangents(case: Case) -> tuple[Float[Array, "B Hq Tq Dv"], Float[Array, "B Hq Tq"] | None]:
    """d_output in the problem's dtype, and d_lse where the case asks for lse."""
    p = case.problem
    d_output = stream(p.seed, "d_output").standard_normal((p.B, p.Hq, p.Tq, p.Dv)).astype(numpy_dtype(p.dtype))
    if "nan_cotangent" in p.operands:
        _fill_dead_rows(p, d_output)
    if "zero_cotangent" in p.operands:
        d_output[:, :, 1::3] = 0
        d_output[-1, -1] *= p.B == 1
    if "lse" not in case.outputs:
        return d_output, None
    dtype = np.float64 if p.dtype == "float64" else np.float32
    return d_output, stream(p.seed, "d_lse").standard_normal((p.B, p.Hq, p.Tq)).astype(dtype)


@explained
def default_params(
    spec: AttentionSpec, *, heads: int, d: int, hidden: int | None = None, seed: int = 0, dtype: str = "float32"
) -> dict[str, Float[Array, " ..."]]:
    """Parameters of a learned score: normal, of variance 1/fan-in so that scores stay of order one.

    Shapes (heads, ...): general W (D, D); additive Wq, Wk (D, Da), b, v (Da); concat W (2D, Da), v (Da); cosine
    temperature (). ``hidden`` is Da, by default D. The same names and seed give the same values in every spec.
    """
    hidden = hidden or d
    drawn = {}
    for name, shape in param_shapes(spec.score, d, hidden).items():
        values = stream(seed, f"params.{spec.score}.{name}").standard_normal((heads, *shape))
        if name == "temperature":
            values = 4.0 + values
        else:
            fan_in = {"b": 1.0, "v": float(hidden)}.get(name, float(shape[0]))
            values = values / math.sqrt(fan_in)
        drawn[name] = values.astype(numpy_dtype(dtype))
    return drawn


def _values(p: Problem, name: str, shape: tuple[int, ...]) -> Array:
    rng = stream(p.seed, name)
    return DISTRIBUTION[p.distribution](p, name, rng, shape).astype(numpy_dtype(p.dtype))


def _zeros(p: Problem, name: str, shape: tuple[int, ...]) -> Array:
    del name
    return np.zeros(shape, numpy_dtype(p.dtype))


def _normal(p: Problem, name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    del p, name
    return rng.standard_normal(shape)


def _times(factor: float) -> Callable[..., Array]:
    def drawer(p: Problem, name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        del p
        return rng.standard_normal(shape) * (factor if name == "q" else 1.0)

    return drawer


def _uniform(p: Problem, name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    del p, name
    return rng.random(shape)


def _outliers(p: Problem, name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    values = rng.standard_normal(shape)
    channel = stream(p.seed, "outlier-channel").integers(shape[-1]) if shape[-1] else 0
    if name in "qk" and shape[-1]:
        values[..., channel] *= math.sqrt(OUTLIER)
    return values


def _near_ties(p: Problem, name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    del p
    values = rng.standard_normal(shape)
    if name == "k" and shape[2]:
        values = values[:, :, :1] + 2.0**-9 * values
    return values


def _denormal(p: Problem, name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    values = rng.standard_normal(shape)
    return values * SMALLEST_NORMAL[p.dtype] / 4 if name == "v" else values


def _large_mean(p: Problem, name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    del p
    values = rng.standard_normal(shape)
    return V_MEAN + values if name == "v" else values


DISTRIBUTION: dict[str, Callable[..., Array]] = {
    "normal": _normal,
    "peaky": _times(PEAKY),
    "huge": _times(HUGE),
    "uniform": _uniform,
    "outliers": _outliers,
    "near_ties": _near_ties,
    "denormal": _denormal,
    "large_mean": _large_mean,
}


def _poison(p: Problem, q: Array, k: Array, v: Array, given: dict[str, Any]) -> None:
    """Put 1e4 or NaN into what lengths and key masks leave out, NaN into the last key or one place, or some zeros."""
    if "nan_last_key" in p.operands:
        k[:, :, -1], v[:, :, -1] = np.nan, np.nan
    for name, array in (("nan_query", q), ("nan_key", k), ("nan_value", v)):
        if name in p.operands and array.size:
            array[0, -1, array.shape[2] // 2, array.shape[3] // 2] = np.nan
    if "zeros" in p.operands:
        q[:, :, ::3], k[:, :, ::3] = 0, 0
    if "garbage" in p.operands or "nan" in p.operands:
        _fill_the_hidden(p, q, k, v, given)


def _fill_the_hidden(p: Problem, q: Array, k: Array, v: Array, given: dict[str, Any]) -> None:
    """Put 1e4 or NaN into keys and queries that lengths and masks leave out."""
    value = np.nan if "nan" in p.operands else GARBAGE
    for b in range(p.B):
        if "kv_lengths" in given:
            k[b, :, given["kv_lengths"][b] :], v[b, :, given["kv_lengths"][b] :] = value, value
        if "q_lengths" in given:
            q[b, :, given["q_lengths"][b] :] = value
    kind = p.kind_of("mask")
    if kind in HIDES_KEYS:
        dead = np.broadcast_to(~given["mask"].any((1, 2)), (p.B, p.S))[:, None]
        k[np.broadcast_to(dead, k.shape[:3])], v[np.broadcast_to(dead, v.shape[:3])] = value, value
    if kind in HIDES_ROWS:
        q[_without_a_key(given["mask"], q)] = value


def _fill_dead_rows(p: Problem, d_output: Array) -> None:
    if "mask_dead_rows" in p.operands:
        d_output[:, :, ::3] = np.nan
    if p.kind_of("mask") in HIDES_ROWS:
        d_output[_without_a_key(drawn(p, "mask")["mask"], d_output)] = np.nan
    if p.kind_of("q_lengths"):
        for b, length in enumerate(drawn(p, "q_lengths")["q_lengths"]):
            d_output[b, :, length:] = np.nan
    if "segments_edges" in p.operands:
        ids = drawn(p, "segments")
        for b, (queries, keys) in enumerate(zip(ids["q_segments"], ids["kv_segments"], strict=True)):
            d_output[b, :, ~np.isin(queries, keys)] = np.nan


def _without_a_key(mask: Array, rows: Array) -> Array:
    """Where a mask leaves no key, broadcast to the first three axes of ``rows``."""
    return np.broadcast_to(~mask.any(3), rows.shape[:3])


def _full(p: Problem) -> tuple[int, int, int, int]:
    return p.B, p.Hq, p.Tq, p.S


def _mask(p: Problem) -> dict[str, Any]:
    return {"mask": stream(p.seed, "mask").random(_full(p)) < 0.7}  # noqa: PLR2004  (a density, not a threshold)


def _mask_keys(p: Problem) -> dict[str, Any]:
    return {"mask": stream(p.seed, "mask_keys").random((p.B, 1, 1, p.S)) < 0.7}  # noqa: PLR2004


def _mask_heads(p: Problem) -> dict[str, Any]:
    return {"mask": stream(p.seed, "mask_heads").random((1, p.Hq, p.Tq, p.S)) < 0.7}  # noqa: PLR2004


def _mask_dead_rows(p: Problem) -> dict[str, Any]:
    mask = stream(p.seed, "mask_dead_rows").random((p.Tq, p.S)) < 0.7  # noqa: PLR2004
    mask[::3] = False
    return {"mask": mask}


def _bias(p: Problem, shape: tuple[int, ...] | None = None) -> Array:
    return stream(p.seed, "bias").standard_normal(shape or _full(p)).astype(numpy_dtype(p.dtype))


def _bias_minus_inf(p: Problem) -> dict[str, Any]:
    bias = _bias(p)
    bias[stream(p.seed, "bias_minus_inf").random(_full(p)) < 0.3] = -np.inf  # noqa: PLR2004
    return {"bias": bias}


def _lengths(p: Problem, name: str, longest: int) -> dict[str, Any]:
    if p.sequences:
        of_each = _of_sequences(p, name)
        return {name: np.array([min(of_each[b % len(of_each)], longest) for b in range(p.B)], np.int32)}
    return {name: stream(p.seed, name).integers(0, longest + 1, p.B).astype(np.int32)}


def _of_sequences(p: Problem, name: str) -> list[int]:
    """How many queries, or keys, each sequence of a problem has."""
    return [pair[not name.startswith("q_")] for pair in p.sequences]


def _packed(p: Problem, name: str, total: int) -> Array:
    """The sequences one after the other, each with its number as its id."""
    of_each = _of_sequences(p, name)
    ids = np.repeat(np.arange(len(of_each), dtype=np.int32), of_each)[:total]
    rest = np.full(total - len(ids), ids[-1], np.int32)
    return np.broadcast_to(np.concatenate([ids, rest]), (p.B, total)).copy()


def _segments(p: Problem) -> dict[str, Any]:
    if p.sequences:
        return {name: _packed(p, name, n) for name, n in (("q_segments", p.Tq), ("kv_segments", p.S))}
    pieces = 3
    cut = {"q": p.Tq, "kv": p.S}
    return {
        f"{name}_segments": np.sort(stream(p.seed, f"{name}_segments").integers(0, pieces, (p.B, n)), 1).astype(
            np.int32
        )
        for name, n in cut.items()
    }


def _offset(p: Problem) -> dict[str, Any]:
    return {"offset": int(stream(p.seed, "offset").integers(-p.Tq // 2, p.S + 1))}


def _offsets(p: Problem) -> dict[str, Any]:
    return {"offset": stream(p.seed, "offsets").integers(-p.Tq // 2, p.S + 1, p.B).astype(np.int32)}


def _offset_negative(p: Problem) -> dict[str, Any]:
    """Two thirds of the queries stand before the first key."""
    return {"offset": -(2 * p.Tq // 3)}


def _offsets_negative(p: Problem) -> dict[str, Any]:
    """All queries of the first batch entry stand far before the first key, half of those of the others."""
    offsets = np.full(p.B, -(p.Tq // 2), np.int32)
    offsets[:1] = -10 * (p.Tq + p.S)
    return {"offset": offsets}


def _heads(p: Problem, name: str) -> dict[str, Any]:
    return {name: stream(p.seed, name).standard_normal(p.Hq).astype(numpy_dtype(p.dtype))}


def _slopes(p: Problem) -> dict[str, Any]:
    # Press 2021: a geometric sequence over heads, starting at 2^(-8/Hq).
    return {"slopes": (2.0 ** (-8.0 * np.arange(1, p.Hq + 1) / p.Hq)).astype(numpy_dtype(p.dtype))}


DRAWERS: dict[str, Callable[[Problem], dict[str, Any]]] = {
    "mask": _mask,
    "mask_keys": _mask_keys,
    "mask_heads": _mask_heads,
    "mask_dead_rows": _mask_dead_rows,
    "bias": lambda p: {"bias": _bias(p)},
    "bias_keys": lambda p: {"bias": _bias(p, (p.B, 1, 1, p.S))},
    "bias_heads": lambda p: {"bias": _bias(p, (1, p.Hq, p.Tq, p.S))},
    "bias_minus_inf": _bias_minus_inf,
    "q_lengths": lambda p: _lengths(p, "q_lengths", p.Tq),
    "kv_lengths": lambda p: _lengths(p, "kv_lengths", p.S),
    "segments": _segments,
    "offset": _offset,
    "offset_negative": _offset_negative,
    "offsets": _offsets,
    "offsets_negative": _offsets_negative,
    "sinks": lambda p: _heads(p, "sinks"),
    "slopes": _slopes,
}


def _at_an_edge(kind: str, p: Problem) -> dict[str, Any]:
    return EDGES[kind](p, stream(p.seed, kind))


DRAWERS |= {kind: partial(_at_an_edge, kind) for kind in EDGES}
