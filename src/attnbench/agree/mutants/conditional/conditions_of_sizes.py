"""Conditions of sizes: queries and keys, as a size or as the part of the answer beyond one; heads, batch, head size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from attnbench.agree.mutants.conditional.drawing import (
    at_least,
    at_most,
    drawn,
    in_class,
    log_uniform,
    modulus,
    resized,
    tail,
    threshold,
)
from attnbench.attention.call import Sizes
from attnbench.attention.problem import Case

MOST_HEADS = 40
MOST_BATCH = 9
MOST_GROUP = 8

# Queries and keys: the size, and the part of the answer


def _size_classes(name: str, what: str) -> None:
    @drawn(f"only where {what} are at least n")
    def _least(rng: np.random.Generator) -> dict[str, Any]:
        n = threshold(rng)
        return {
            "text": f"{name} >= {n}",
            "when": lambda m: getattr(m.call.sizes, name) >= n,
            "fit": resized(**{name: at_least(n)}),
        }

    @drawn(f"only where {what} are at most n")
    def _most(rng: np.random.Generator) -> dict[str, Any]:
        n = threshold(rng)
        return {
            "text": f"{name} <= {n}",
            "when": lambda m: getattr(m.call.sizes, name) <= n,
            "fit": resized(**{name: at_most(n)}),
        }

    @drawn(f"only where {what} are a multiple of m")
    def _multiple(rng: np.random.Generator) -> dict[str, Any]:
        m = modulus(rng)
        return {
            "text": f"{name} % {m} == 0",
            "when": lambda at: getattr(at.call.sizes, name) % m == 0,
            "fit": resized(**{name: in_class(m, 0)}),
        }

    @drawn(f"only where {what} are no multiple of m")
    def _no_multiple(rng: np.random.Generator) -> dict[str, Any]:
        m = modulus(rng)
        return {
            "text": f"{name} % {m} != 0",
            "when": lambda at: getattr(at.call.sizes, name) % m != 0,
            "fit": resized(**{name: lambda size: size + (size % m == 0)}),
        }

    @drawn(f"only where {what} leave a rest of r")
    def _rest(rng: np.random.Generator) -> dict[str, Any]:
        m = modulus(rng)
        r = tail(rng, m)
        return {
            "text": f"{name} % {m} == {r}",
            "when": lambda at: getattr(at.call.sizes, name) % m == r,
            "fit": resized(**{name: in_class(m, r)}),
        }


_size_classes("Tq", "queries")
_size_classes("S", "keys")


@drawn("only beyond the n-th query")
def _beyond_query(rng: np.random.Generator) -> dict[str, Any]:
    n = threshold(rng)
    return {
        "text": f"rows >= {n}",
        "part": lambda s: (np.arange(s.Tq) >= n)[None, None],
        "fit": resized(Tq=at_least(n + int(rng.integers(1, 40)))),
    }


@drawn("only in rows that leave a rest of r")
def _rows_of_rest(rng: np.random.Generator) -> dict[str, Any]:
    m = log_uniform(rng, 2, 300)
    r = int(rng.integers(m))
    return {
        "text": f"rows % {m} == {r}",
        "part": lambda s: (np.arange(s.Tq) % m == r)[None, None],
        "fit": resized(Tq=at_least(r + 3)),
    }


@drawn("only beyond the n-th key")
def _beyond_key(rng: np.random.Generator) -> dict[str, Any]:
    n = threshold(rng)
    return {"text": f"keys >= {n}", "keys": n, "fit": resized(S=at_least(n + int(rng.integers(1, 40))))}


@drawn("only where Tq = 1")
def _one_query(_: np.random.Generator) -> dict[str, Any]:
    return {"text": "Tq == 1", "when": lambda m: m.call.sizes.Tq == 1, "fit": resized(Tq=lambda _: 1)}


@drawn("only where Tq < S")
def _fewer_queries(_: np.random.Generator) -> dict[str, Any]:
    return {
        "text": "Tq < S",
        "when": lambda m: m.call.sizes.Tq < m.call.sizes.S,
        "fit": lambda case: case.with_problem(S=max(case.problem.S, case.problem.Tq + 3)),
    }


@drawn("only where Tq > S")
def _more_queries(_: np.random.Generator) -> dict[str, Any]:
    return {
        "text": "Tq > S",
        "when": lambda m: m.call.sizes.Tq > m.call.sizes.S,
        "fit": lambda case: case.with_problem(Tq=max(case.problem.Tq, case.problem.S + 7)),
    }


# Heads, batch, head size


@drawn("only where a group has g heads")
def _group(rng: np.random.Generator) -> dict[str, Any]:
    g = int(rng.integers(2, MOST_GROUP + 1))
    return {
        "text": f"Hq / Hkv == {g}",
        "when": lambda m: m.call.sizes.group == g,
        "fit": lambda case: case.with_problem(Hq=3 * g, Hkv=3),
    }


@drawn("only from the h-th head on")
def _later_heads(rng: np.random.Generator) -> dict[str, Any]:
    h = log_uniform(rng, 1, MOST_HEADS)
    return {
        "text": f"heads >= {h}",
        "part": lambda s: (np.arange(s.Hq) >= h)[None, :, None],
        "fit": resized(Hq=at_least(h + 1)),
    }


@drawn("only where the number of heads is no power of two")
def _odd_heads(_: np.random.Generator) -> dict[str, Any]:
    return {
        "text": "Hq is no power of two",
        "when": lambda m: m.call.sizes.Hq & (m.call.sizes.Hq - 1) != 0,
        "fit": resized(Hq=lambda heads: heads if heads & (heads - 1) else 3 * heads),
    }


@drawn("only in a later batch entry")
def _later_entries(rng: np.random.Generator) -> dict[str, Any]:
    b = log_uniform(rng, 1, MOST_BATCH)
    return {
        "text": f"batch >= {b}",
        "part": lambda s: (np.arange(s.B) >= b)[:, None, None],
        "fit": resized(B=at_least(b + 1)),
    }


@drawn("only where a head size is of a class")
def _head_size(rng: np.random.Generator) -> dict[str, Any]:
    n, m = log_uniform(rng, 8, 255), int(rng.choice((8, 16, 32, 64)))
    classes: dict[str, tuple[Callable[[Sizes], bool], Callable[[Case], Case]]] = {
        f"D > {n}": (lambda s: n < s.D, resized(D=at_least(n + 1))),
        f"Dv > {n}": (lambda s: s.Dv > n, resized(Dv=at_least(n + 1))),
        f"D % {m} != 0": (lambda s: s.D % m != 0, resized(D=lambda d: d + (d % m == 0))),
        "D != Dv": (lambda s: s.Dv != s.D, lambda case: case.with_problem(Dv=case.problem.D + 3)),
        "D > Dv": (lambda s: s.Dv < s.D, lambda case: case.with_problem(Dv=max(1, case.problem.D // 2))),
        "D < Dv": (lambda s: s.Dv > s.D, lambda case: case.with_problem(Dv=2 * case.problem.D)),
    }
    text = list(classes)[int(rng.integers(len(classes)))]
    when, fit = classes[text]
    return {"text": text, "when": lambda m: when(m.call.sizes), "fit": fit}
