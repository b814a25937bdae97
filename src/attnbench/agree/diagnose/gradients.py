"""Diagnosis of gradients, where the output is right: the wrong backward pass that explains them on every witness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from attnbench.agree.diagnose.doctor import OTHER_SEEDS, UNKNOWN, Diagnosis, Doctor, Seen
from attnbench.agree.diagnose.output import NEAR, kinds_of, readings_of_probe
from attnbench.agree.diagnose.readings_allowed import Reading
from attnbench.agree.diagnose.readings_gradient import (
    GradientReading,
    Gradients,
    gradient_readings,
    gradients,
    reach_of_sinks,
)
from attnbench.agree.judge.bounds import Units
from attnbench.agree.judge.gradient_bounds import gradient_bounds
from attnbench.agree.judge.steps import SPEC, Steps
from attnbench.agree.judge.weight_bounds import SLACK
from attnbench.agree.rules.facts import Computed, distance, within
from attnbench.attention.arrays import Array
from attnbench.attention.inputs import draw_cotangents
from attnbench.errors import SpecError

if TYPE_CHECKING:
    from attnbench.attention.problem import Case

CANCELLED = (
    "the weight of a sink is off by a roundoff of 1, as if it were 1 less the other weights (a sigmoid's derivative is "
    "such): where it is small nothing is left of it"
)
LOST = 0.5  # of a gradient, from which on nothing is left of it
SEVERAL = 3  # sentences that are shown


@dataclass(frozen=True)
class SeenBackward:
    """One backward pass that a reading must explain: what was asked, and the gradients that came out."""

    qkv: tuple[Array, Array, Array]
    computed: Computed
    units: Units
    d_output: Array
    d_lse: Array | None
    got: Gradients

    @cached_property
    def right(self) -> Gradients:
        """The gradients of the spec."""
        return self.of(SPEC)

    @cached_property
    def bounds(self) -> Gradients:
        """How far from the gradients of the spec a right kernel can be."""
        return self.bounds_of(SPEC)

    def of(self, steps: Steps) -> Gradients:
        """The gradients of a reading."""
        return gradients(self.computed, self.d_output, self.d_lse, steps)

    def bounds_of(self, steps: Steps) -> Gradients:
        """How far from the gradients of a reading a kernel can be that does just this."""
        call = self.computed.facts.call
        rows, pairs = np.arange(call.sizes.Tq), tuple(np.ndindex(call.sizes.B, call.sizes.Hq))
        given = (*self.qkv, call, self.d_output, self.d_lse, self.units, rows, pairs)
        return gradient_bounds(*given, steps=steps)

    def explained_by(self, steps: Steps) -> bool:
        """Whether a reading yields every gradient within its bound."""
        read, bounds = self.of(steps), self.bounds_of(steps)
        return all(_near(self.got[name], read[name], bounds[name]) for name in self.got)

    def tells(self, steps: Steps) -> bool:
        """Whether the gradients of a reading differ from those of the spec in this backward pass."""
        read = self.of(steps)
        return not all(_near(read[name], self.right[name], self.bounds[name]) for name in read)


@dataclass(frozen=True)
class GradientWitness(SeenBackward):
    """The backward pass of a case that was run."""

    case: Case
    seen: Seen


def _near(got: Array, expected: Array, bound: Array) -> bool:
    return got.shape == expected.shape and bool(within(got, expected, bound).all())


def of_gradients(doctor: Doctor, case: Case, wide: Case | None, wrong: list[str]) -> Diagnosis:
    """A backward pass with one wrong step, or gradients that are each other's, zero or a multiple.

    ``wide`` is the same case in more bits, where it fails alike; ``wrong`` are the gradients that disagree.
    """
    witnesses = [_witness(doctor, variant) for variant in (wide, case) if variant is not None]
    # Other inputs, and every row wants its gradient: where some do not, a part of a sum may be 0 by itself.
    whole = tuple(kind for kind in witnesses[0].case.problem.operands if kind != "zero_cotangent")
    other_inputs = _other(doctor, witnesses[0].case, seed=OTHER_SEEDS[0], operands=whole)
    witnesses += [other_inputs] if other_inputs else []
    readings = list(_explaining(doctor, witnesses))
    if readings:
        return _named(readings)
    # The attention matrix may show a fault that drowns in the output, but not where a gradient must be exactly 0.
    probed = _of_probes(doctor, witnesses[: 1 if wide is None else 2])
    if len(kinds_of(probed)) == 1:
        return Diagnosis(probed[0].kind, probed[0].sentence)
    if wrong == ["sinks"] and _cancels(doctor, witnesses):
        return Diagnosis("precision", CANCELLED)
    tensors = _of_tensors(doctor, witnesses, wrong)
    if not tensors.known and wide is not None:
        return of_gradients(doctor, case, None, wrong)
    return tensors


def _witness(doctor: Doctor, case: Case) -> GradientWitness:
    seen = doctor.see(replace(case, phase="forward"))
    d_output, d_lse = draw_cotangents(case)
    got = doctor.box.gradients(*seen.qkv, seen.call, d_output, d_lse)
    return GradientWitness(seen.qkv, seen.right, doctor.units(seen.call), d_output, d_lse, got, case, seen)


def _other(doctor: Doctor, case: Case, **changes: object) -> GradientWitness | None:
    """The backward pass with changes of the problem, or ``None`` where that cannot be run."""
    try:
        other = case.with_problem(**changes)
        return None if doctor.ask(replace(other, phase="forward")) is None else _witness(doctor, other)
    except SpecError:
        return None


def _explaining(doctor: Doctor, witnesses: list[GradientWitness]) -> Iterator[tuple[str, str]]:
    """Kind and sentence of every reading that is wrong in the case and explains all that was seen."""
    for reading in explaining_steps(witnesses, doctor.go_on):
        yield reading.kind, reading.sentence


def explaining_steps(
    witnesses: Sequence[SeenBackward], before_each: Callable[[], None] = lambda: None
) -> Iterator[GradientReading]:
    """Wrong backward passes that differ from the spec's in the first, and explain all that was seen."""
    first = witnesses[0]
    for reading in gradient_readings(first.computed, first.d_lse):
        before_each()
        if first.tells(reading.steps) and all(witness.explained_by(reading.steps) for witness in witnesses):
            yield reading


def _named(readings: list[tuple[str, str]]) -> Diagnosis:
    """What readings (kind and sentence) say where they are of one kind; of several kinds it is ``unknown`` which."""
    sentences = [sentence for _, sentence in readings][:SEVERAL]
    if len({kind for kind, _ in readings}) > 1:
        return Diagnosis(UNKNOWN, "several readings explain it: " + "; ".join(sentences))
    return Diagnosis(readings[0][0], ", or ".join(sentences))


def _of_probes(doctor: Doctor, witnesses: list[GradientWitness]) -> list[Reading]:
    """Readings that explain the attention matrix of every one of these."""
    of_first, *others = (list(readings_of_probe(doctor, witness.seen)) for witness in witnesses)
    kept = [{reading.sentence for reading in other} for other in others]
    return [reading for reading in of_first if all(reading.sentence in names for names in kept)]


def _cancels(doctor: Doctor, witnesses: list[GradientWitness]) -> bool:
    """Whether the gradients of sinks are off by no more than a roundoff of 1 in each weight explains.

    Plain inputs are held to that too. Where weights are small such an error may leave nothing of a gradient; elsewhere
    it is hardly an error.
    """
    first = witnesses[0]
    plain = _other(doctor, first.case, seed=OTHER_SEEDS[1], distribution="normal")
    right = first.right["sinks"]
    lost = ~within(first.got["sinks"], right, np.maximum(first.bounds["sinks"], LOST / SLACK * np.abs(right)))
    if plain is None or not lost.any():
        return False
    return all(_roundoff_of_1(witness) for witness in (*witnesses, plain))


def _roundoff_of_1(witness: GradientWitness) -> bool:
    reach = witness.units.softmax * reach_of_sinks(witness.seen.right, witness.d_output, witness.d_lse)
    return _near(witness.got["sinks"], witness.right["sinks"], witness.bounds["sinks"] + reach)


# Tensor by tensor


@dataclass(frozen=True)
class OneTensor:
    """What one gradient may be instead, with its bound."""

    sentence: str
    name: str
    value: Callable[[SeenBackward], tuple[Array, Array]]

    def explains(self, first: SeenBackward, *others: SeenBackward) -> bool:
        """Whether it is wrong in the first, and what every one of them shows."""
        if _near(self.value(first)[0], first.right[self.name], first.bounds[self.name]):
            return False
        return all(_near(witness.got[self.name], *self.value(witness)) for witness in (first, *others))


def _of_tensors(doctor: Doctor, witnesses: list[GradientWitness], wrong: list[str]) -> Diagnosis:
    """The first of the wrong gradients that has an explanation of its own: its shape, dead rows, or another array."""
    first = witnesses[0]
    dead = ~np.any(first.seen.right.allowed, axis=-1)
    for name in wrong:
        values, expected = first.got[name], first.right[name]
        if values.shape != expected.shape:
            return Diagnosis("gradient", f"the gradient of {name} has shape {values.shape}, not {expected.shape}")
        lost = np.isnan(values).any() and not np.isnan(expected).any()
        if lost and dead.any() and _heals(doctor, first):
            return Diagnosis("dead row", f"the gradient of {name} is NaN because of rows without a key")
        doctor.go_on()
        sentences = [tensor.sentence for tensor in instead_of(first, name) if tensor.explains(*witnesses)]
        if sentences:
            return _named([("gradient", sentence) for sentence in sentences])
    return Diagnosis(UNKNOWN, f"the output is right, and no known fault explains the gradient of {', '.join(wrong)}")


def _heals(doctor: Doctor, witness: GradientWitness) -> bool:
    """Whether nothing is NaN any more when the cotangents of rows without a key are 0."""
    seen, d_output = witness.seen, witness.d_output
    dead = ~np.any(seen.right.allowed, axis=-1)[..., None]
    zeroed = np.where(dead, 0, d_output).astype(d_output.dtype)
    grads = doctor.box.gradients(*seen.qkv, replace(seen.call, outputs=()), zeroed)
    return not any(np.isnan(grad).any() for grad in grads.values())


def instead_of(first: SeenBackward, name: str) -> Iterator[OneTensor]:
    """What is handed out instead of one gradient: another one, nothing, or a multiple."""
    for other in ("q", "k", "v"):
        if other != name and name in ("q", "k", "v") and first.right[other].shape == first.right[name].shape:
            yield OneTensor(f"the gradient of {name} is that of {other}", name, _that_of(other))
    factor = _factor(first, name)
    if factor is not None:
        sentence = f"{factor:.4g} times the right one" if factor else "0"
        yield OneTensor(f"the gradient of {name} is {sentence}", name, _times(name, factor))


def _that_of(name: str) -> Callable[[SeenBackward], tuple[Array, Array]]:
    return lambda witness: (witness.right[name], witness.bounds[name])


def _times(name: str, factor: float) -> Callable[[SeenBackward], tuple[Array, Array]]:
    return lambda witness: (factor * witness.right[name], abs(factor) * witness.bounds[name])


def _factor(first: SeenBackward, name: str) -> float | None:
    """The number by which a gradient is a multiple of the right one; ``None`` where it is none but 1, or nearly."""
    values, expected = first.got[name].astype(np.float64), first.right[name]
    if not np.any(values):
        return 0.0
    factor = float((values * expected).sum() / max((expected**2).sum(), 1e-300))
    off = 100 * distance(values, factor * expected) / max(distance(values, 0 * values), 1e-300)
    return factor if abs(factor - 1) > max(off, NEAR) else None
