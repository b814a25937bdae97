"""How many elements lie within rounding, the worst of them and where, and which arithmetic it takes to explain them.

Rounding is what any implementation of this project may declare for a dtype: weights and logits in the inputs' dtype,
subnormals that become 0, an exponential of 20 units in the last place. Whatever is coarser is a reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attnbench.agree.judge.array import error_ratios
from attnbench.agree.judge.bounds import Units
from attnbench.agree.judge.selection import Selection, Truth, choose, true_forward, true_gradients
from attnbench.agree.judge.weight_bounds import SLACK
from attnbench.attention.arrays import Array
from attnbench.attention.oracle import Evaluated
from attnbench.attention.precision import Precision, default_precision, wide
from attnbench.backends.answers import empty_gradients, empty_output
from attnbench.backends.bind import Inputs
from attnbench.errors import UsageError
from attnbench.explaining.question import PosedCall

AXES = {
    "output": ("batch entry", "head", "query", "feature"),
    "lse": ("batch entry", "head", "query"),
    "d_q": ("batch entry", "head", "query", "feature"),
    "d_k": ("batch entry", "head", "key", "feature"),
    "d_v": ("batch entry", "head", "key", "feature"),
    "d_bias": ("batch entry", "head", "query", "key"),
    "d_sinks": ("head",),
}
OF_ROWS = ("d_q", "d_k", "d_v")  # gradients with a row for each query or key
EXP_ULP, TANH_ULP, STORED_SUMS = 20.0, 8.0, 64
GRADIENTS_WHOLE = 1 << 22  # B·Hq·Tq·S up to which every gradient is judged


@dataclass(frozen=True)
class Worst:
    """The element with the largest error over its bound: where it is, what it is, and what it should be.

    ``allowed`` is the largest error there that rounding explains.
    """

    where: Mapping[str, int]
    value: float
    truth: float
    allowed: float

    @property
    def error(self) -> float:
        """How far it is from the truth."""
        return abs(self.value - self.truth)


@dataclass(frozen=True)
class JudgedArray:
    """One array held to the truth. ``ratio`` is the worst error over what rounding explains; above 1 it does not."""

    name: str
    elements: int
    within: int
    ratio: float
    largest_error: float
    worst: Worst | None

    @property
    def ok(self) -> bool:
        """Whether rounding explains every element."""
        return self.within == self.elements


@dataclass(frozen=True)
class JudgedAll:
    """All arrays, and the least arithmetic that explains them (in words), else the most that is allowed.

    ``bad`` marks the rows of the output (selected heads and rows of it) in which something is wrong.
    """

    arrays: Mapping[str, JudgedArray]
    arithmetic: str
    units: Units
    selection: Selection
    truth: Mapping[str, Truth]
    bad: Mapping[str, Array]

    @property
    def ok(self) -> bool:
        """Whether rounding explains all of it."""
        return all(array.ok for array in self.arrays.values())


def arithmetics(dtype: str) -> dict[str, Precision]:
    """The arithmetic that is allowed for a dtype, from the finest to the coarsest, by what it is in words."""
    level = wide(dtype)
    plain = default_precision(dtype)
    fast = replace(plain, exp_ulp=EXP_ULP, tanh_ulp=TANH_ULP, flush=True)
    cast = replace(fast, p_cast=dtype, stored_output=dtype, stored_sums=STORED_SUMS)
    return {
        f"{level} throughout": plain,
        f"{level} throughout, with a fast exponential (20 units in the last place) and subnormals as 0": fast,
        f"weights rounded to {dtype} before P·V": cast,
        f"weights and logits kept in {dtype}": replace(cast, logits=dtype),
    }


def refuse_unjudged(question: PosedCall) -> None:
    """Raise ``UsageError`` where gradients are given of a call in which they could not be judged."""
    pairs = _pairs(question.inputs)
    if question.grads and pairs > GRADIENTS_WHOLE:
        msg = (
            f"gradients are judged of calls of up to {GRADIENTS_WHOLE:,} pairs of query and key (B·Hq·Tq·S), and this "
            f"one has {pairs:,}: save a smaller call, or leave out --grad, --d-out and --d-lse (grads, d_output and "
            "d_lse in Python), and the output and its lse are judged"
        )
        raise UsageError(msg)


def judged(question: PosedCall) -> JudgedAll:
    """Hold every array to the truth, by the finest arithmetic that explains all of it."""
    call = question.inputs.call
    selection = choose(call, 0)
    evaluated = Evaluated(*question.inputs.qkv, call, selection.rows, selection.pairs)
    coarsest = list(arithmetics(call.dtype).items())[-1]
    all_of_it = _held(question, *coarsest, selection, evaluated)
    if not all_of_it.ok:
        return all_of_it
    for words, precision in list(arithmetics(call.dtype).items())[:-1]:
        finer = _held(question, words, precision, selection, evaluated)
        if finer.ok:
            return finer
    return all_of_it


def _held(
    question: PosedCall, words: str, precision: Precision, selection: Selection, evaluated: Evaluated
) -> JudgedAll:
    units = Units.of(precision, question.inputs.call.dtype)
    truth = truth_of(question, units, selection, evaluated)
    arrays, bad = {}, {}
    for name, right in truth.items():
        got = picked(question, name, question.answers[name], selection)
        ratios = error_ratios(got.astype(np.float64), right.expected, right.below, right.dtype, right.above)
        counted = counted_of(question, name, selection, ratios.shape)
        arrays[name] = _summary(name, got.astype(np.float64), right, ratios, counted, _index(name, selection, question))
        bad[name] = (ratios > 1) & counted
    return JudgedAll(arrays, words, units, selection, truth, bad)


def truth_of(
    question: PosedCall, units: Units, selection: Selection, evaluated: Evaluated | None = None
) -> dict[str, Truth]:
    """The truth about each array that was given."""
    inputs = question.inputs
    if inputs.call.sizes.empty:
        return {name: right for name, right in _of_nothing(inputs) if name in question.answers}
    truth = true_forward(inputs, units, selection, evaluated)
    grads = question.grads
    if not grads:
        return truth
    s = inputs.call.sizes
    whole = Selection(np.arange(s.Tq), tuple(np.ndindex(s.B, s.Hq)))
    backward = true_gradients(inputs, units, whole, evaluated if selection.is_whole(inputs.call) else None)
    return truth | {f"d_{name}": backward[name] for name in grads}


def output_fits(question: PosedCall, before: JudgedAll) -> bool:
    """Whether rounding explains another output of the same call, whose truth was found ``before``."""
    right = before.truth["output"]
    got = picked(question, "output", question.answers["output"], before.selection).astype(np.float64)
    ratios = error_ratios(got, right.expected, right.below, right.dtype, right.above)
    return not ((ratios > 1) & counted_of(question, "output", before.selection, ratios.shape)).any()


def _pairs(inputs: Inputs) -> int:
    s = inputs.call.sizes
    return s.B * s.Hq * s.Tq * s.S


def _of_nothing(inputs: Inputs) -> Iterator[tuple[str, Truth]]:
    """The truth where nobody attends to anything."""
    given: dict[str, Array] = dict(empty_output(inputs.call).items())
    if inputs.d_output is not None:
        grads = empty_gradients(*inputs.qkv, inputs.call, inputs.d_lse)
        given |= {f"d_{name}": grad for name, grad in grads.items()}
    for name, array in given.items():
        none = np.zeros(array.shape)
        yield name, Truth(array.astype(np.float64), none, none, array.dtype.name, 1.0)


def picked(question: PosedCall, name: str, array: Array, selection: Selection) -> Array:
    """The part of an array that is judged: selected rows and heads of what the forward pass returned."""
    if name.startswith("d_") or question.inputs.call.sizes.empty:
        return array
    return np.stack([array[b, h][selection.rows] for b, h in selection.pairs])


def counted_of(question: PosedCall, name: str, selection: Selection, shape: tuple[int, ...]) -> Array:
    """What is no padding, of the shape of what is judged."""
    if question.inputs.call.sizes.empty:
        return np.ones(shape, bool)
    if name in OF_ROWS:
        return np.broadcast_to((question.counted if name == "d_q" else question.counted_keys)[..., None], shape)
    if name not in ("output", "lse"):
        return np.ones(shape, bool)
    rows = np.stack([question.counted[b, 0][selection.rows] for b, _ in selection.pairs])
    return np.broadcast_to(rows.reshape(rows.shape + (1,) * (len(shape) - 2)), shape)


def _index(name: str, selection: Selection, question: PosedCall) -> Any:
    """From a place in what is judged to the place in the array."""
    if name.startswith("d_") or question.inputs.call.sizes.empty:
        return lambda place: place
    return lambda place: (*selection.pairs[place[0]], selection.rows[place[1]], *place[2:])


def _summary(name: str, got: Array, right: Truth, ratios: Array, counted: Array, index: Any) -> JudgedArray:
    ratios = np.where(counted, ratios, 0.0)
    within = int(counted.sum() - (ratios > 1).sum())
    if not ratios.size:
        return JudgedArray(name, 0, 0, 0.0, 0.0, None)
    place = tuple(int(i) for i in np.unravel_index(int(np.argmax(ratios)), ratios.shape))
    value, truth = float(got[place]), float(right.expected[place])
    bound = np.where(got > right.expected, right.above, right.below)
    with np.errstate(invalid="ignore"):
        errors = np.abs(got - right.expected)[counted]
    finite = errors[np.isfinite(errors)]
    at = tuple(int(i) for i in index(place))
    axes = AXES.get(name, tuple(f"axis {n}" for n in range(len(at))))
    worst = Worst(dict(zip(axes, at, strict=True)), value, truth, float(SLACK * bound[place]))
    largest = float(finite.max(initial=0.0))
    return JudgedArray(name, int(counted.sum()), within, float(ratios[place]), largest, worst)
