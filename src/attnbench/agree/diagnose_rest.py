"""Diagnosis of everything but the output itself: lse, stages and gradients, where the output is right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from attnbench.agree.bounds import Units, stage_bounds
from attnbench.agree.diagnose_output import kinds_of, readings_of_probe
from attnbench.agree.diagnosis import OTHER_SEEDS, UNKNOWN, Diagnosis, Doctor, Seen
from attnbench.agree.facts import Array, answer, distance, head_of
from attnbench.agree.gradient_bounds import gradient_bounds
from attnbench.agree.judge import Judgement
from attnbench.agree.readings import all_readings
from attnbench.agree.readings_gradient import Gradients, gradient_readings, gradients, reach_of_sinks
from attnbench.agree.weight_bounds import SLACK
from attnbench.inputs import draw_cotangents

if TYPE_CHECKING:
    from attnbench.problem import Case

CANCELLED = (
    "the weight of a sink is off by a roundoff of 1, as if it were 1 less the other weights (a sigmoid's derivative is "
    "such): where it is small nothing is left of it"
)
ENOUGH = 4  # rows that must show the same number
AMPLIFIED = 4.0  # a wrong gradient may be larger than the right one, and its bound with it


def of_outputs(doctor: Doctor, seen: Seen, failed: Sequence[Judgement]) -> Diagnosis:
    """An lse or a stage that is not what the spec means by it."""
    name = failed[0].tensor
    got = getattr(seen.result, name).astype(np.float64)
    found = [text for text, value in _candidates(seen, name).items() if _is(doctor, seen, name, got, value)]
    if found:
        return Diagnosis(name if name == "lse" else "stages", found[0])
    if name == "lse":
        if (added := _constant(doctor, seen)) is not None:
            return Diagnosis("lse", f"lse is off by the same number everywhere: {_signed(added)} is added")
        found = list(dict.fromkeys(one.kind for one in all_readings(seen.facts) if _lse_of(doctor, seen, one, got)))
        if len(found) == 1:
            return Diagnosis("lse", f"lse is computed with another {found[0]} than the output")
    return Diagnosis(UNKNOWN, f"the output is right, and no known fault explains {name}")


def _constant(doctor: Doctor, seen: Seen) -> float | None:
    """The number that is added to every lse, on other inputs too; ``None`` if there is none."""
    added = None
    for one in (seen, *(doctor.other(seen, seed=seed) for seed in OTHER_SEEDS)):
        if one is None:
            return None
        got, right = one.result.lse.astype(np.float64), one.right.softmax.lse
        live = np.isfinite(right) & np.isfinite(got)
        if not live.any():
            return None
        added = float(np.median((got - right)[live])) if added is None else added
        if live.sum() < ENOUGH or not _is(doctor, one, "lse", got, right + added):
            return None
    return added


def _signed(number: float) -> str:
    """With its sign, and by its name where it has one."""
    named = {math.log(2): "ln 2", math.log(10): "ln 10", 1.0: "1"}
    name = next((text for value, text in named.items() if abs(abs(number) - value) < 1e-4), None)  # noqa: PLR2004
    return f"{number:+.4g}" + (f" ({'−' if number < 0 else ''}{name})" if name and name != "1" else "")


def _lse_of(doctor: Doctor, seen: Seen, reading: object, got: Array) -> bool:
    value = answer(reading.facts).softmax.lse  # type: ignore[attr-defined]
    return not _is(doctor, seen, "lse", seen.right.softmax.lse, value) and _is(doctor, seen, "lse", got, value)


def _candidates(seen: Seen, name: str) -> dict[str, Array]:
    one, w = seen.right, seen.right.softmax
    top = np.where(np.isneginf(w.row_max), 0.0, w.row_max)
    dead = np.isneginf(w.lse)
    if name == "lse":
        with np.errstate(all="ignore"):
            return {
                "lse is in base 2": w.lse / math.log(2),
                "lse is in base 2 but for its maximum": top + (w.lse - top) / math.log(2),
                "lse lacks the row maximum: ln Z alone": np.where(dead, -np.inf, w.lse - top),
                "lse is the row maximum without ln Z": w.row_max,
                "lse has the wrong sign": -w.lse,
                "lse is Z itself, not its logarithm": np.exp(w.lse),
                "lse is the normaliser exp(lse − m), not its logarithm": np.where(dead, 0, np.exp(w.lse - top)),
                "lse of a row without a key is 0 instead of −inf": np.where(dead, 0.0, w.lse),
                "lse of a row without a key is NaN instead of −inf": np.where(dead, np.nan, w.lse),
                "lse of a row without a key is +inf instead of −inf": np.where(dead, np.inf, w.lse),
            }
    stages = {"scores": one.scores, "capped": one.capped, "logits": one.logits, "weights": w.weights}
    found = {f"{name} returns {other}": value for other, value in stages.items() if other != name}
    if name == "scores":
        with np.errstate(all="ignore"):
            found["scores are returned before the scale"] = one.scores / one.facts.scale
    if name == "logits":
        found["logits outside the allowed set are finite instead of −inf"] = one.capped + one.facts.bias
    if name == "weights":
        found["weights are returned after dropout"] = w.weights * one.facts.keep
    return found


def _is(doctor: Doctor, seen: Seen, name: str, got: Array, expected: Array) -> bool:
    """Within the bound of the stage, grown with the candidate where that is larger."""
    right = seen.right.softmax.lse if name == "lse" else getattr(seen.right, name, seen.right.softmax.weights)
    bound = np.empty(right.shape)
    units = doctor.units(seen.call)
    for b, h in np.ndindex(*right.shape[:2]):
        bound[b, h] = stage_bounds(head_of(seen.right, b, h), seen.call, h, units)[name]
    with np.errstate(all="ignore"):
        growth = np.maximum(1.0, np.abs(expected) / np.maximum(np.abs(right), 1e-300))
        growth = np.where(np.isfinite(growth), growth, 1.0)
        top = np.abs(np.where(np.isfinite(seen.right.softmax.row_max), seen.right.softmax.row_max, 0.0)).max()
        bound = bound * growth + 4 * units.softmax * (np.abs(expected) + top)
        near = np.isfinite(got) & np.isfinite(expected) & (np.abs(got - expected) <= SLACK * bound)
    return bool((near | (got == expected) | (np.isnan(got) & np.isnan(expected))).all())


# Gradients


def of_gradients(doctor: Doctor, seen: Seen, case: Case, judged: Sequence[Judgement]) -> Diagnosis:
    """A backward pass with one wrong step, or gradients that are each other's, zero or a multiple."""
    d_output, d_lse = draw_cotangents(case)
    q, k, v = seen.qkv
    got = doctor.box.gradients(q, k, v, seen.call, d_output) if d_lse is None else _with_lse(doctor, seen, case)
    right = gradients(seen.right, d_output, d_lse)
    sizes, units = seen.call.sizes, doctor.units(seen.call)
    rows, pairs = np.arange(sizes.Tq), tuple(np.ndindex(sizes.B, sizes.Hq))
    bounds = gradient_bounds(q, k, v, seen.call, d_output, d_lse, units, rows, pairs)
    found = []
    for one in gradient_readings(seen.right, d_lse):
        if doctor.late:
            break
        wrong = gradients(seen.right, d_output, d_lse, one.steps)
        if _all_are(got, wrong, right, bounds):
            found.append(one)
    if found:
        return Diagnosis(found[0].kind, found[0].sentence)
    failed = [j.tensor.removeprefix("d_") for j in judged if not j.ok]
    # The attention matrix may show a fault that drowns in the output, but not where a gradient must be exactly 0.
    told = list(readings_of_probe(doctor, seen))
    if len(kinds_of(told)) == 1:
        return Diagnosis(told[0].kind, told[0].sentence)
    if failed == ["sinks"] and _cancels(got["sinks"], right["sinks"], seen, d_output, d_lse, units):
        return Diagnosis("precision", CANCELLED)
    return _of_tensors(doctor, case, got, right, bounds, failed, seen)


def _with_lse(doctor: Doctor, seen: Seen, case: Case) -> Gradients:
    return doctor.box.gradients(*seen.qkv, seen.call, *draw_cotangents(case))


def _all_are(got: Gradients, wrong: Gradients, right: Gradients, bounds: Gradients) -> bool:
    return all(_near(got[name], wrong[name], right[name], bounds[name]) for name in got)


def _near(got: Array, expected: Array, right: Array, bound: Array) -> bool:
    """Within the bound of the right gradient, grown as the expected one is larger than it."""
    if got.shape != expected.shape:
        return False
    with np.errstate(all="ignore"):
        growth = max(1.0, float(np.abs(expected).max(initial=0.0) / max(np.abs(right).max(initial=0.0), 1e-300)))
        largest = np.maximum(bound, 0.02 * bound.max(initial=0.0))
        values = got.astype(np.float64)
        near = np.abs(values - expected) <= SLACK * AMPLIFIED * growth * largest
    return bool((near | (np.isnan(values) & np.isnan(expected))).all())


def _heals(doctor: Doctor, seen: Seen, case: Case) -> bool:
    """Whether nothing is NaN any more when the cotangents of rows without a key are 0."""
    d_output, _ = draw_cotangents(case)
    dead = ~np.any(seen.right.allowed, axis=-1)[..., None]
    q, k, v = seen.qkv
    grads = doctor.box.gradients(q, k, v, replace(seen.call, outputs=()), np.where(dead, 0, d_output).astype(q.dtype))
    return not any(np.isnan(grad).any() for grad in grads.values())


def _cancels(got: Array, right: Array, seen: Seen, d_output: Array, d_lse: Array | None, units: Units) -> bool:
    """Whether the gradients of sinks are off by no more than a roundoff of 1 in each weight does."""
    reach = reach_of_sinks(seen.right, d_output, d_lse)
    return bool((np.abs(got.astype(np.float64) - right) <= SLACK * AMPLIFIED * units.softmax * reach).all())


def _of_tensors(
    doctor: Doctor, case: Case, got: Gradients, right: Gradients, bounds: Gradients, failed: list[str], seen: Seen
) -> Diagnosis:
    """Ratio tests, tensor by tensor."""
    for a, b in (("k", "v"), ("q", "k"), ("q", "v")):
        if got[a].shape == right[b].shape and _near(got[a], right[b], right[b], bounds[b]):
            return Diagnosis("gradient", f"the gradient of {a} is that of {b}")
    dead = ~np.any(seen.right.allowed, axis=-1)
    for name in failed:
        values, expected = got[name].astype(np.float64), right[name]
        if values.shape != expected.shape:
            return Diagnosis("gradient", f"the gradient of {name} has shape {values.shape}, not {expected.shape}")
        if np.isnan(values).any() and dead.any() and not np.isnan(expected).any() and _heals(doctor, seen, case):
            return Diagnosis("dead row", f"the gradient of {name} is NaN because of rows without a key")
        if not np.any(values) and np.any(expected):
            return Diagnosis("gradient", f"the gradient of {name} is 0")
        factor = float((values * expected).sum() / max((expected**2).sum(), 1e-300))
        off = abs(factor - 1) > 100 * distance(values, factor * expected) / max(distance(values, 0 * values), 1e-300)
        if off and _near(values, factor * expected, expected, bounds[name]):
            return Diagnosis("gradient", f"the gradient of {name} is {factor:.4g} times the right one")
    return Diagnosis(UNKNOWN, f"the output is right, and no known fault explains the gradient of {', '.join(failed)}")
