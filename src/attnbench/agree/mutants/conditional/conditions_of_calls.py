"""Conditions of everything but sizes: dtype, pass, positions, lengths, window, bias, other features, earlier calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from attnbench.agree.mutants.conditional.drawing import (
    FARTHEST,
    at_least,
    drawn,
    log_uniform,
    placed,
    resized,
    with_operand,
    with_spec,
)
from attnbench.agree.mutants.conditional.moments import Moment
from attnbench.attention.arrays import Array
from attnbench.attention.precision import DTYPES
from attnbench.attention.problem import OPERAND_KINDS, Case

LOW = -1e3


# Dtype and pass


@drawn("only one dtype")
def _dtype(rng: np.random.Generator) -> dict[str, Any]:
    dtype = str(rng.choice(DTYPES))
    return {
        "text": f"{dtype} alone",
        "when": lambda m: m.call.dtype == dtype,
        "fit": lambda case: case.with_problem(dtype=dtype),
    }


@drawn("only in one dtype's gradient")
def _dtype_gradient(rng: np.random.Generator) -> dict[str, Any]:
    dtype = str(rng.choice(DTYPES))
    return {
        "text": f"the gradient in {dtype} alone",
        "when": lambda m: m.backward and m.call.dtype == dtype,
        "fit": lambda case: replace(case.with_problem(dtype=dtype), phase="backward"),
    }


@drawn("only the gradient")
def _gradient(_: np.random.Generator) -> dict[str, Any]:
    return {
        "text": "the gradient alone",
        "when": lambda m: m.backward,
        "fit": lambda case: replace(case, phase="backward"),
    }


@drawn("only the forward")
def _forward(_: np.random.Generator) -> dict[str, Any]:
    return {"text": "the forward pass alone", "when": lambda m: not m.backward, "fit": lambda case: case}


# Positions, lengths, windows, bias


@drawn("only at an offset of a class")
def _offset(rng: np.random.Generator) -> dict[str, Any]:
    n = log_uniform(rng, 1, FARTHEST // 4)
    classes: dict[str, tuple[Callable[[Array], bool], str, Callable[[Case], Case]]] = {
        "an offset < 0": (lambda o: bool((o < 0).any()), "offset_negative", lambda case: case),
        "an offset < 0 in a batch": (lambda o: o.size > 1 and bool((o < 0).any()), "offsets_negative", lambda c: c),
        f"an offset <= -{n}": (
            lambda o: bool((o <= -n).any()),
            "offsets_negative",
            resized(S=at_least(n // 10)),
        ),
        f"an offset >= {n}": (lambda o: bool((o >= n).any()), "offset", resized(S=at_least(2 * n))),
        "unequal offsets": (lambda o: len(set(o.tolist())) > 1, "offsets", resized(B=at_least(2))),
    }
    text = list(classes)[int(rng.integers(len(classes)))]
    when, kind, fit = classes[text]
    return {
        "text": text,
        "when": lambda m: _positions_matter(m) and when(np.atleast_1d(np.asarray(m.call.offset))),
        "fit": lambda case: placed(kind)(fit(case)),
    }


def _positions_matter(m: Moment) -> bool:
    return m.call.spec.causal or m.call.spec.window is not None or m.call.slopes is not None


@drawn("only where a length is of a class")
def _length(rng: np.random.Generator) -> dict[str, Any]:
    tile = int(rng.choice((8, 16, 32, 64)))
    classes: dict[str, Callable[[Array, int], bool]] = {
        "a length of 0": lambda n, _: bool((n == 0).any()),
        "a length of 1": lambda n, _: bool((n == 1).any()),
        "a full length": lambda n, whole: bool((n == whole).any()),
        f"a length > 0 on the edge of a tile of {tile}": lambda n, _: bool(((n > 0) & (n % tile == 0)).any()),
    }
    text = list(classes)[int(rng.integers(len(classes)))]
    name, size = (("kv_lengths", "S"), ("q_lengths", "Tq"))[int(rng.integers(4) == 0)]

    def when(m: Moment) -> bool:
        lengths = getattr(m.call, name)
        return lengths is not None and classes[text](lengths, getattr(m.call.sizes, size))

    edges = f"{name}_edges"
    kind = edges if edges in OPERAND_KINDS else name
    return {
        "text": f"{name}: {text}",
        "when": when,
        "fit": lambda case: resized(B=at_least(4))(_with_lengths(case, name, kind)),
    }


def _with_lengths(case: Case, name: str, kind: str) -> Case:
    return case if name in case.problem.operands else with_operand(case, kind)


@drawn("only where a window's side is of a class")
def _window_side(rng: np.random.Generator) -> dict[str, Any]:
    n, side = log_uniform(rng, 2, 300), int(rng.integers(2))
    classes: dict[str, tuple[Callable[[int | None], bool], int | None]] = {
        "0": (lambda edge: edge == 0, 0),
        "none": (lambda edge: edge is None, None),
        f"at least {n}": (lambda edge: edge is not None and edge >= n, n),
    }
    text = list(classes)[int(rng.integers(len(classes)))]
    when, edge = classes[text]

    def fit(case: Case) -> Case:
        sides: list[int | None] = list(case.spec.window or (3, 2))
        sides[side] = edge
        enough = 0 if edge is None else edge + 20
        return with_spec(window=tuple(sides))(resized(S=at_least(enough), Tq=at_least(min(enough, 40)))(case))

    def holds(m: Moment) -> bool:
        return m.call.spec.window is not None and when(m.call.spec.window[side])

    return {"text": f"the window's {('left', 'right')[side]} side is {text}", "when": holds, "fit": fit}


@drawn("only where a finite low bias is present", "bias_low")
def _low_bias(_: np.random.Generator) -> dict[str, Any]:
    def when(m: Moment) -> bool:
        bias = m.call.bias
        return bias is not None and bool((np.isfinite(bias) & (bias < LOW)).any())

    return {"text": f"a finite bias below {LOW:g}", "when": when, "fit": lambda case: with_operand(case, "bias_low")}


# What else is on

BESIDES: dict[str, tuple[Callable[[Moment], bool], Callable[[Case], Case]]] = {
    "causal": (lambda m: m.call.spec.causal, with_spec(causal=True)),
    "window": (lambda m: m.call.spec.window is not None, with_spec(window=(9, 4))),
    "softcap": (lambda m: m.call.spec.softcap is not None, with_spec(softcap=2.5)),
    "mask": (lambda m: m.call.mask is not None, lambda case: with_operand(case, "mask")),
    "bias": (lambda m: m.call.bias is not None, lambda case: with_operand(case, "bias")),
    "lengths": (lambda m: m.call.kv_lengths is not None, lambda case: with_operand(case, "kv_lengths")),
    "segments": (lambda m: m.call.q_segments is not None, lambda case: with_operand(case, "segments")),
    "sinks": (lambda m: m.call.sinks is not None, lambda case: with_operand(case, "sinks")),
    "slopes": (lambda m: m.call.slopes is not None, lambda case: with_operand(case, "slopes")),
    "dropout": (lambda m: m.call.keep is not None, with_spec(dropout=0.3)),
    "lse": (lambda m: m.call.wants("lse"), lambda case: replace(case, outputs=tuple({*case.outputs, "lse"}))),
    "gqa": (lambda m: m.call.sizes.group > 1, lambda case: case.with_problem(Hq=6, Hkv=2)),
}


@drawn("only beside another feature")
def _beside(rng: np.random.Generator) -> dict[str, Any]:
    name = str(rng.choice(list(BESIDES)))
    when, fit = BESIDES[name]
    return {"text": f"beside {name}", "when": when, "fit": fit}


# What came before


@drawn("only from the c-th call on")
def _later_call(rng: np.random.Generator) -> dict[str, Any]:
    c = int(rng.integers(1, 9))
    return {
        "text": f"after {c} calls",
        "when": lambda m: m.calls >= c,
        "fit": lambda case: case,
        "before": c,
    }


@drawn("only after a call of another size")
def _after_another(_: np.random.Generator) -> dict[str, Any]:
    return {
        "text": "after a call of another size",
        "when": lambda m: m.last is not None and m.last != m.call.sizes,
        "fit": lambda case: case,
        "before": 1,
    }
