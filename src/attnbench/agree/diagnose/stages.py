"""Diagnosis of lse and the stages, where the output is right: what is returned in their place, on every witness."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from attnbench.agree.diagnose.doctor import OTHER_SEEDS, UNKNOWN, Diagnosis, Doctor, Seen
from attnbench.agree.diagnose.readings import all_readings
from attnbench.agree.judge.array import Judgement
from attnbench.agree.judge.bounds import Units, stage_bounds
from attnbench.agree.rules.facts import Computed, Facts, answer, head_of, within
from attnbench.attention.arrays import Array

ENOUGH = 4  # rows that must show the same number
CLEAR = 8.0  # bounds that a number must be beyond before it is called one
SEVERAL = 3  # sentences that are shown
STAGES = ("scores", "capped", "logits", "weights")
Told = tuple[Array, Array]  # what is told in the place of a stage, and how far from it a kernel can be


@dataclass(frozen=True)
class Witness:
    """One run, and the stage that is asked about."""

    seen: Seen
    name: str
    units: Units

    @property
    def got(self) -> Array:
        """What came out."""
        return np.asarray(getattr(self.seen.result, self.name)).astype(np.float64)

    @cached_property
    def right(self) -> dict[str, Told]:
        """lse and every stage as the spec has them."""
        return _stages(self.seen.right, self.seen, self.units)

    def explained_by(self, told: Told) -> bool:
        """Whether it is what came out, within its bound."""
        return bool(within(self.got, *told).all())

    def tells(self, told: Told) -> bool:
        """Whether it is wrong here at all."""
        return not within(told[0], *self.right[self.name]).all()


def _stages(one: Computed, seen: Seen, units: Units) -> dict[str, Told]:
    values = {name: getattr(one, name) for name in STAGES[:3]}
    values |= {"weights": one.softmax.weights, "lse": one.softmax.lse}
    bounds = {name: np.zeros(value.shape) for name, value in values.items()}
    with np.errstate(all="ignore"):
        for b, h in np.ndindex(*one.softmax.lse.shape[:2]):
            for name, bound in stage_bounds(head_of(one, b, h), seen.call, h, units).items():
                bounds[name][b, h] = bound
    return {name: (value, np.nan_to_num(bounds[name])) for name, value in values.items()}


def of_outputs(doctor: Doctor, seen: Seen, failed: Sequence[Judgement]) -> Diagnosis:
    """An lse or a stage that is not what the spec means by it."""
    name = failed[0].tensor
    kind = name if name == "lse" else "stages"
    first, *others = witnesses = [Witness(one, name, doctor.units(one.call)) for one in (seen, *_others(doctor, seen))]
    on_others = [_candidates(one) for one in others]
    found = [
        text
        for text, told in _candidates(first).items()
        if first.tells(told)
        and first.explained_by(told)
        and all(
            text in candidates and one.explained_by(candidates[text])
            for one, candidates in zip(others, on_others, strict=True)
        )
    ]
    if found:
        return Diagnosis(kind, ", or ".join(found[:SEVERAL]))
    if name == "lse":
        if (added := _constant(witnesses)) is not None:
            return Diagnosis("lse", f"lse is off by the same number everywhere: {_signed(added)} is added")
        found = list(dict.fromkeys(_kinds(doctor, first, *others)))
        if len(found) == 1:
            return Diagnosis("lse", f"lse is computed with another {found[0]} than the output")
    return Diagnosis(UNKNOWN, f"the output is right, and no known fault explains {name}")


def _others(doctor: Doctor, seen: Seen) -> Iterator[Seen]:
    """Other inputs of these sizes, and more keys than these: what is called the same number is so there too."""
    p = seen.case.problem
    more = {"S": p.S + 17, "Tq": p.Tq + (17 if p.Tq == p.S else 0)}
    for changes in (*({"seed": seed} for seed in OTHER_SEEDS), more):
        doctor.go_on()
        if (one := doctor.other(seen, **changes)) is not None:
            yield one


def _constant(witnesses: Sequence[Witness]) -> float | None:
    """The number that is added to every lse, on other inputs too; ``None`` if there is none.

    It must stand far out of the bounds: within a few of them many other errors look like one number.
    """
    added = None
    for one in witnesses:
        got, (right, bound) = one.got, one.right["lse"]
        live = np.isfinite(right) & np.isfinite(got)
        if live.sum() < ENOUGH:
            return None
        added = float(np.median((got - right)[live])) if added is None else added
        rounding = one.units.wide * np.where(live, np.abs(right) + abs(added), 0.0)
        if abs(added) < CLEAR * bound[live].max() or not one.explained_by((right + added, bound + rounding)):
            return None
    return added


def _signed(number: float) -> str:
    """With its sign, and by its name where it has one."""
    named = {math.log(2): "ln 2", math.log(10): "ln 10", 1.0: "1"}
    name = next((text for value, text in named.items() if abs(abs(number) - value) < 1e-4), None)  # noqa: PLR2004
    return f"{number:+.4g}" + (f" ({'−' if number < 0 else ''}{name})" if name and name != "1" else "")


def _kinds(doctor: Doctor, first: Witness, *others: Witness) -> Iterator[str]:
    """Kinds of readings of the spec whose lse this is."""
    on_others = [{one.sentence: one.facts for one in all_readings(other.seen.facts)} for other in others]
    for reading in all_readings(first.seen.facts):
        doctor.go_on()
        told = _stages(answer(reading.facts), first.seen, first.units)["lse"]
        if not first.tells(told) or not first.explained_by(told):
            continue
        if all(
            _shows(other, readings.get(reading.sentence)) for other, readings in zip(others, on_others, strict=True)
        ):
            yield reading.kind


def _shows(other: Witness, reading: Facts | None) -> bool:
    """Whether a reading's lse is what came out; the right one where the reading says nothing."""
    told = other.right if reading is None else _stages(answer(reading), other.seen, other.units)
    return other.explained_by(told["lse"])


def _candidates(witness: Witness) -> dict[str, Told]:
    return _instead_of_lse(witness) if witness.name == "lse" else _instead_of_a_stage(witness)


def _instead_of_lse(witness: Witness) -> dict[str, Told]:
    (lse, bound), row_max = witness.right["lse"], witness.seen.right.softmax.row_max
    top, dead, u = np.where(np.isneginf(row_max), 0.0, row_max), np.isneginf(lse), witness.units.softmax
    with np.errstate(all="ignore"):
        rest = lse - top
        total = np.where(dead, 0, np.exp(rest))
        # By how much each is off when lse is off by 1.
        told: dict[str, tuple[Array, Array | float]] = {
            "lse is in base 2": (lse / math.log(2), 1 / math.log(2)),
            "lse is in base 2 but for its maximum": (top + rest / math.log(2), 1 / math.log(2)),
            "lse lacks the row maximum: ln Z alone": (np.where(dead, -np.inf, rest), 2.0),
            "lse is the row maximum without ln Z": (row_max, 1.0),
            "lse has the wrong sign": (-lse, 1.0),
            "lse is Z itself, not its logarithm": (np.exp(lse), np.exp(lse)),
            "lse is the normaliser exp(lse − m), not its logarithm": (total, 2 * total),
            "lse of a row without a key is 0 instead of −inf": (np.where(dead, 0.0, lse), 1.0),
            "lse of a row without a key is NaN instead of −inf": (np.where(dead, np.nan, lse), 1.0),
            "lse of a row without a key is +inf instead of −inf": (np.where(dead, np.inf, lse), 1.0),
        }
        return {
            text: (value, np.nan_to_num(by * bound + 2 * u * np.abs(value), posinf=0.0))
            for text, (value, by) in told.items()
        }


def _instead_of_a_stage(witness: Witness) -> dict[str, Told]:
    name, right, facts = witness.name, witness.right, witness.seen.facts
    found = {f"{name} returns {other}": right[other] for other in STAGES if other != name}
    value, bound = right[name]
    if name == "scores":
        with np.errstate(all="ignore"):
            found["scores are returned before the scale"] = (value / facts.scale, bound / np.abs(facts.scale))
    if name == "logits":
        capped, off = right["capped"]
        finite, size = capped + facts.bias, np.abs(np.nan_to_num(capped + facts.bias, neginf=0.0))
        bounds = np.maximum(bound, off + 2 * witness.units.softmax * size)
        found["logits outside the allowed set are finite instead of −inf"] = (finite, bounds)
    if name == "weights":
        found["weights are returned after dropout"] = (value * facts.keep, bound * facts.keep)
    return found
