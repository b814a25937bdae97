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
Bounded = tuple[Array, Array]  # values that may have been returned, and how far from them a kernel can be


@dataclass(frozen=True)
class StageWitness:
    """One run, and the stage that is asked about."""

    seen: Seen
    name: str
    units: Units

    @property
    def got(self) -> Array:
        """What came out."""
        return np.asarray(getattr(self.seen.result, self.name)).astype(np.float64)

    @cached_property
    def right(self) -> dict[str, Bounded]:
        """lse and every stage as the spec has them."""
        return _stages(self.seen.right, self.seen, self.units)

    def explained_by(self, instead: Bounded) -> bool:
        """Whether these values are what came out, within their bound."""
        return bool(within(self.got, *instead).all())

    def tells(self, instead: Bounded) -> bool:
        """Whether these values differ from the spec's in this run."""
        return not within(instead[0], *self.right[self.name]).all()


def _stages(answered: Computed, seen: Seen, units: Units) -> dict[str, Bounded]:
    """lse and every stage of an answer, each with its bound."""
    values = {name: getattr(answered, name) for name in STAGES[:3]}
    values |= {"weights": answered.softmax.weights, "lse": answered.softmax.lse}
    bounds = {name: np.zeros(value.shape) for name, value in values.items()}
    with np.errstate(all="ignore"):
        for b, h in np.ndindex(*answered.softmax.lse.shape[:2]):
            for name, bound in stage_bounds(head_of(answered, b, h), seen.call, h, units).items():
                bounds[name][b, h] = bound
    return {name: (value, np.nan_to_num(bounds[name])) for name, value in values.items()}


def of_outputs(doctor: Doctor, seen: Seen, failed: Sequence[Judgement]) -> Diagnosis:
    """An lse or a stage that is not what the spec means by it."""
    name = failed[0].tensor
    kind = name if name == "lse" else "stages"
    first, *others = witnesses = [
        StageWitness(run, name, doctor.units(run.call)) for run in (seen, *_others(doctor, seen))
    ]
    if sentences := _explaining(first, others):
        return Diagnosis(kind, ", or ".join(sentences[:SEVERAL]))
    if name == "lse" and (diagnosis := _of_lse(doctor, witnesses)) is not None:
        return diagnosis
    return Diagnosis(UNKNOWN, f"the output is right, and no known fault explains {name}")


def _explaining(first: StageWitness, others: Sequence[StageWitness]) -> list[str]:
    """What was returned instead, by sentence: wrong in the first run, and what came out in all of them."""
    on_others = [_candidates(other) for other in others]
    return [
        text
        for text, instead in _candidates(first).items()
        if first.tells(instead)
        and first.explained_by(instead)
        and all(
            text in candidates and other.explained_by(candidates[text])
            for other, candidates in zip(others, on_others, strict=True)
        )
    ]


def _of_lse(doctor: Doctor, witnesses: Sequence[StageWitness]) -> Diagnosis | None:
    """An lse to which a number is added, or that of a wrong reading of the spec."""
    if (added := _constant(witnesses)) is not None:
        return Diagnosis("lse", f"lse is off by the same number everywhere: {_signed(added)} is added")
    kinds = list(dict.fromkeys(_kinds(doctor, *witnesses)))
    if len(kinds) == 1:
        return Diagnosis("lse", f"lse is computed with another {kinds[0]} than the output")
    return None


def _others(doctor: Doctor, seen: Seen) -> Iterator[Seen]:
    """Other inputs of the same sizes, and a case with more keys: an added number must be the same in all of them."""
    p = seen.case.problem
    more = {"S": p.S + 17, "Tq": p.Tq + (17 if p.Tq == p.S else 0)}
    for changes in (*({"seed": seed} for seed in OTHER_SEEDS), more):
        doctor.go_on()
        if (other := doctor.other(seen, **changes)) is not None:
            yield other


def _constant(witnesses: Sequence[StageWitness]) -> float | None:
    """The number that is added to every lse, on other inputs too; ``None`` if there is none.

    It must stand far out of the bounds: within a few of them many other errors look like one number.
    """
    added = None
    for witness in witnesses:
        got, (right, bound) = witness.got, witness.right["lse"]
        live = np.isfinite(right) & np.isfinite(got)
        if live.sum() < ENOUGH:
            return None
        added = float(np.median((got - right)[live])) if added is None else added
        rounding = witness.units.wide * np.where(live, np.abs(right) + abs(added), 0.0)
        if abs(added) < CLEAR * bound[live].max() or not witness.explained_by((right + added, bound + rounding)):
            return None
    return added


def _signed(number: float) -> str:
    """With its sign, and by its name where it has one."""
    named = {math.log(2): "ln 2", math.log(10): "ln 10", 1.0: "1"}
    name = next((text for value, text in named.items() if abs(abs(number) - value) < 1e-4), None)  # noqa: PLR2004
    return f"{number:+.4g}" + (f" ({'−' if number < 0 else ''}{name})" if name and name != "1" else "")


def _kinds(doctor: Doctor, first: StageWitness, *others: StageWitness) -> Iterator[str]:
    """The kinds of the wrong readings of the spec whose lse is what came out, in every run."""
    on_others = [{reading.sentence: reading.facts for reading in all_readings(other.seen.facts)} for other in others]
    for reading in all_readings(first.seen.facts):
        doctor.go_on()
        lse = _stages(answer(reading.facts), first.seen, first.units)["lse"]
        if not first.tells(lse) or not first.explained_by(lse):
            continue
        if all(
            _shows(other, readings.get(reading.sentence)) for other, readings in zip(others, on_others, strict=True)
        ):
            yield reading.kind


def _shows(other: StageWitness, reading: Facts | None) -> bool:
    """Whether a reading's lse is what came out; where the reading does not apply, the spec's."""
    stages = other.right if reading is None else _stages(answer(reading), other.seen, other.units)
    return other.explained_by(stages["lse"])


def _candidates(witness: StageWitness) -> dict[str, Bounded]:
    return _instead_of_lse(witness) if witness.name == "lse" else _instead_of_a_stage(witness)


def _instead_of_lse(witness: StageWitness) -> dict[str, Bounded]:
    """What may be returned instead of lse, by the sentence that says so."""
    return instead_of_lse(*witness.right["lse"], witness.seen.right.softmax.row_max, witness.units.softmax)


def instead_of_lse(lse: Array, bound: Array, row_max: Array, u: float) -> dict[str, Bounded]:
    """The same of an lse with its bound and the maxima of its rows; ``u`` is the softmax's unit roundoff."""
    top, dead = np.where(np.isneginf(row_max), 0.0, row_max), np.isneginf(lse)
    with np.errstate(all="ignore"):
        rest = lse - top
        total = np.where(dead, 0, np.exp(rest))
        # By how much each is off when lse is off by 1.
        instead: dict[str, tuple[Array, Array | float]] = {
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
            for text, (value, by) in instead.items()
        }


def _instead_of_a_stage(witness: StageWitness) -> dict[str, Bounded]:
    """What may be returned instead of a stage, by the sentence that says so."""
    name, right, facts = witness.name, witness.right, witness.seen.facts
    instead = {f"{name} returns {other}": right[other] for other in STAGES if other != name}
    value, bound = right[name]
    if name == "scores":
        with np.errstate(all="ignore"):
            instead["scores are returned before the scale"] = (value / facts.scale, bound / np.abs(facts.scale))
    if name == "logits":
        capped, off = right["capped"]
        finite, size = capped + facts.bias, np.abs(np.nan_to_num(capped + facts.bias, neginf=0.0))
        bounds = np.maximum(bound, off + 2 * witness.units.softmax * size)
        instead["logits outside the allowed set are finite instead of −inf"] = (finite, bounds)
    if name == "weights":
        instead["weights are returned after dropout"] = (value * facts.keep, bound * facts.keep)
    return instead
