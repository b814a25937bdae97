"""Attention in 50 digits, written from docs/spec.md with mpmath and Python lists alone; shares no code with the oracle.

Slow and only for tiny shapes. Every number is an ``mpf``; ``Operands`` hold nested lists of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mpmath as mp
import numpy as np

from attnbench.attention.call import Operands
from attnbench.attention.spec import AttentionSpec

DIGITS = 50
STEP = mp.mpf(10) ** -15
Nested = Any


def lift(array: np.ndarray[Any, Any]) -> Nested:
    """A float array as nested lists of mpf."""
    if array.ndim == 0:
        return mp.mpf(float(array))
    return [lift(row) for row in array]


def lower(nested: Nested) -> np.ndarray[Any, Any]:
    """Nested lists of mpf in float64."""
    if isinstance(nested, list):
        return np.array([lower(x) for x in nested], np.float64)
    return np.array(float(nested))


def _head(param: Nested, h: int) -> Nested:
    return param[h] if len(param) > 1 else param[0]


def _at(array: np.ndarray[Any, Any], *index: int) -> Any:
    """One element of an array that broadcasts to four axes."""
    index = index[4 - array.ndim :]
    return array[tuple(i if n > 1 else 0 for i, n in zip(index, array.shape, strict=True))]


def _dot(x: Nested, y: Nested) -> Any:
    return mp.fdot(x, y)


def _column(matrix: Nested, j: int) -> Nested:
    return [row[j] for row in matrix]


def score(name: str, q: Nested, k: Nested, params: dict[str, Nested], h: int) -> Any:
    """One score of one query and one key, before the scale."""
    of_head = {n: _head(p, h) for n, p in params.items()}
    if name == "dot":
        return _dot(q, k)
    if name == "general":
        return mp.fsum(q[a] * of_head["W"][a][b] * k[b] for a in range(len(q)) for b in range(len(k)))
    if name == "cosine":
        norms = [max(mp.sqrt(_dot(x, x)), mp.mpf("1e-12")) for x in (q, k)]
        return of_head["temperature"] * _dot(q, k) / (norms[0] * norms[1])
    total = mp.mpf(0)
    for a, weight in enumerate(of_head["v"]):
        if name == "additive":
            inside = _dot(q, _column(of_head["Wq"], a)) + _dot(k, _column(of_head["Wk"], a)) + of_head["b"][a]
        else:
            inside = _dot(q + k, _column(of_head["W"], a))
        total += weight * mp.tanh(inside)
    return total


def attention(spec: AttentionSpec, given: Operands, nested: dict[str, Nested]) -> dict[str, Nested]:
    """Output, lse and stages; float operands come from ``nested`` (so that they can be moved), the rest from given."""
    q, k, v = nested["q"], nested["k"], nested["v"]
    if given.past_k is not None:
        k = [[p + n for p, n in zip(pb, nb, strict=True)] for pb, nb in zip(nested["past_k"], k, strict=True)]
        v = [[p + n for p, n in zip(pb, nb, strict=True)] for pb, nb in zip(nested["past_v"], v, strict=True)]
    params = {name.removeprefix("params."): p for name, p in nested.items() if name.startswith("params.")}
    names = ("output", "lse", "scores", "capped", "logits", "weights")
    result: dict[str, Nested] = {name: [] for name in names}
    for b in range(len(q)):
        rows: dict[str, Nested] = {name: [] for name in names}
        for h in range(len(q[0])):
            row = _one_head(spec, given, nested, (q[b][h], k[b], v[b]), params, b, h)
            for name in names:
                rows[name].append(row[name])
        for name in names:
            result[name].append(rows[name])
    return result


def _one_head(
    spec: AttentionSpec,
    given: Operands,
    nested: dict[str, Nested],
    qkv: tuple[Nested, Nested, Nested],
    params: dict[str, Nested],
    b: int,
    h: int,
) -> dict[str, Nested]:
    q, heads_k, heads_v = qkv
    g = h // (given.q.shape[1] // len(heads_k))
    k, v = heads_k[g], heads_v[g]
    out: dict[str, Nested] = {name: [] for name in ("output", "lse", "scores", "capped", "logits", "weights")}
    for i, query in enumerate(q):
        p = i + _offset(spec, given, b, len(q), len(k))
        allowed = [_allowed(spec, given, b, h, i, j, p) for j in range(len(k))]
        factor = _scale(spec, h, given.q.shape[3], sum(allowed))
        scores = [factor * score(spec.score, query, key, params, h) for key in k]
        cap = spec.softcap
        capped = scores if cap is None else [mp.mpf(cap) * mp.tanh(s / mp.mpf(cap)) for s in scores]
        logits = [
            capped[j] + _bias(given, nested, b, h, i, j, p) if allowed[j] else mp.mpf("-inf") for j in range(len(k))
        ]
        terms = [mp.exp(x) if a else mp.mpf(0) for x, a in zip(logits, allowed, strict=True)]
        z = mp.fsum(terms) + (mp.exp(nested["sinks"][h]) if given.sinks is not None else 0)
        weights = [t / z if z else mp.mpf(0) for t in terms]
        keep = [
            mp.mpf(1)
            if given.keep is None
            else (1 / (1 - mp.mpf(spec.dropout)) if given.keep[b, h, i, j] else mp.mpf(0))
            for j in range(len(k))
        ]
        out["output"].append(
            [mp.fsum(weights[j] * keep[j] * v[j][c] for j in range(len(k)) if allowed[j]) for c in range(len(v[0]))]
        )
        out["lse"].append(mp.log(z) if z else mp.mpf("-inf"))
        for name, row in (("scores", scores), ("capped", capped), ("logits", logits), ("weights", weights)):
            out[name].append(row)
    return out


def _offset(spec: AttentionSpec, given: Operands, b: int, queries: int, keys: int) -> int:
    if given.past_k is not None:
        return int(given.past_k.shape[2])
    if given.offset is not None:
        return int(given.offset[b]) if isinstance(given.offset, np.ndarray) else int(given.offset)
    if spec.align != "bottom_right":
        return 0
    kv_len = keys if given.kv_lengths is None else int(given.kv_lengths[b])
    q_len = queries if given.q_lengths is None else int(given.q_lengths[b])
    return kv_len - q_len


def _allowed(spec: AttentionSpec, given: Operands, b: int, h: int, i: int, j: int, p: int) -> bool:
    left, right = spec.window or (None, None)
    forbidden = (
        (given.kv_lengths is not None and j >= given.kv_lengths[b])
        or (given.q_lengths is not None and i >= given.q_lengths[b])
        or (spec.causal and j > p)
        or (left is not None and j < p - left)
        or (right is not None and j > p + right)
        or (given.q_segments is not None and given.q_segments[b, i] != given.kv_segments[b, j])  # type: ignore[index]
        or (given.mask is not None and not _at(given.mask, b, h, i, j))
        or (given.bias is not None and _at(given.bias, b, h, i, j) == -np.inf)
    )
    return not forbidden


def _scale(spec: AttentionSpec, h: int, d: int, allowed: int) -> Any:
    if isinstance(spec.scale, tuple):
        return mp.mpf(spec.scale[h])
    if isinstance(spec.scale, float):
        return mp.mpf(spec.scale)
    if spec.scale == "1/d":
        return 1 / mp.mpf(d)
    if spec.scale == "log_n":
        return mp.log(max(allowed, 2)) / mp.sqrt(d)
    return mp.mpf(1) if spec.scale == "none" or spec.score != "dot" else 1 / mp.sqrt(d)


def _bias(given: Operands, nested: dict[str, Nested], b: int, h: int, i: int, j: int, p: int) -> Any:
    total = mp.mpf(0)
    if given.bias is not None:
        total += nested["bias"][b][h][i][j]
    if given.slopes is not None:
        total -= mp.mpf(float(given.slopes[h])) * abs(p - j)
    return total


def lifted(given: Operands) -> dict[str, Nested]:
    """The float operands as nested lists, by name; a bias is given all four axes."""
    arrays = {n: a for n, a in given.arrays().items() if a.dtype.kind == "f" and n != "slopes"}
    return {name: lift(array) for name, array in arrays.items()}


def full_bias(given: Operands) -> Operands:
    """The same with the bias broadcast to four full axes."""
    if given.bias is None:
        return given
    past = 0 if given.past_k is None else given.past_k.shape[2]
    full = (*given.q.shape[:3], given.k.shape[2] + past)
    return replace(given, bias=np.ascontiguousarray(np.broadcast_to(given.bias, full)))


def gradients(
    spec: AttentionSpec, given: Operands, d_output: np.ndarray[Any, Any], d_lse: np.ndarray[Any, Any] | None
) -> dict[str, np.ndarray[Any, Any]]:
    """Central differences with a step of 1e-15 in 50 digits: 30 digits of the derivative, of every float operand."""
    nested = lifted(given)
    grads = {}
    for name, array in nested.items():
        grad = np.zeros(lower(array).shape)
        for index in np.ndindex(grad.shape):
            grad[index] = float(_derivative(spec, given, nested, name, index, d_output, d_lse))
        grads[name] = grad
    return grads


def _derivative(
    spec: AttentionSpec,
    given: Operands,
    nested: dict[str, Nested],
    name: str,
    index: tuple[int, ...],
    d_output: np.ndarray[Any, Any],
    d_lse: np.ndarray[Any, Any] | None,
) -> Any:
    row = nested[name]
    for i in index[:-1]:
        row = row[i]
    start = row[index[-1]]
    if mp.isinf(start):
        return mp.mpf(0)
    values = []
    for sign in (1, -1):
        row[index[-1]] = start + sign * STEP
        values.append(_objective(attention(spec, given, nested), d_output, d_lse))
    row[index[-1]] = start
    return (values[0] - values[1]) / (2 * STEP)


def _objective(result: dict[str, Nested], d_output: np.ndarray[Any, Any], d_lse: np.ndarray[Any, Any] | None) -> Any:
    total = mp.mpf(0)
    for index in np.ndindex(d_output.shape):
        b, h, i, c = index
        total += result["output"][b][h][i][c] * mp.mpf(float(d_output[index]))
    if d_lse is None:
        return total
    for index in np.ndindex(d_lse.shape):
        b, h, i = index
        lse = result["lse"][b][h][i]
        total += 0 if mp.isinf(lse) else lse * mp.mpf(float(d_lse[index]))
    return total
