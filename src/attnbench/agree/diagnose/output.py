"""Diagnosis of an output that is wrong: the reading that explains it on every witness, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from attnbench.agree.diagnose import readings_numeric as numeric
from attnbench.agree.diagnose.doctor import OTHER_SEEDS, UNKNOWN, Diagnosis, Doctor, Seen
from attnbench.agree.diagnose.readings import all_readings, scaled
from attnbench.agree.diagnose.readings_allowed import Reading
from attnbench.agree.diagnose.readings_measured import measure
from attnbench.agree.judge.bounds import Units
from attnbench.agree.rules.facts import (
    LOW,
    Computed,
    Facts,
    agreement,
    answer,
    bounds_of,
    distance,
    facts_of,
    settled,
    within,
)
from attnbench.agree.rules.probes import attention_matrix, kv_head_map, slope, with_values
from attnbench.attention.arrays import Array
from attnbench.errors import SpecError

if TYPE_CHECKING:
    from attnbench.attention.problem import Case

EXPLAINED = 0.9  # share of the squared error that a reading of rounding must explain
POISONS = ("garbage", "nan", "nan_last_key", "nan_query", "nan_key", "nan_value", "nan_cotangent")
PLACES = {"causal", "alignment", "tile", "window"}  # kinds of readings of which keys a query sees
IGNORED = ("the causal mask is ignored", "the window is ignored")
NEAR = 2e-4  # a measured factor this near to 1 is not called another scale


@dataclass(frozen=True)
class OutputWitness:
    """One result that a reading must explain: on the case itself, other inputs, or the probe V = identity."""

    facts: Facts
    right: Computed
    got: Array
    units: Units

    def explained_by(self, reading: Facts, *, glance: bool = True) -> bool:
        """Whether a reading yields this result within its bound."""
        judged = agreement(answer(reading), self.right, self.got, self.units, glance=glance)
        return judged is not None and judged.ok

    @property
    def innocent(self) -> bool:
        """Whether the result is right, so that it says nothing about the fault."""
        return bool(within(self.got, self.right.output, np.nan_to_num(bounds_of(self.right, self.units))).all())


Find = Callable[[Facts], Iterable[Reading]]


def of_output(doctor: Doctor, seen: Seen, narrow: Seen | None = None) -> Diagnosis:
    """The diagnosis of an output: the reading that explains it on every witness, or ``unknown``.

    ``narrow`` is the case that ``seen`` was made from, with fewer bits or more features; a reading must explain both.
    """
    witnesses = _witnesses(doctor, seen) + ([_witness(doctor, narrow)] if narrow else [])
    attention = witnesses[1].got.astype(np.float64) if len(witnesses) > 1 and _is_probe(witnesses[1]) else None
    readings = _looked_for(doctor, seen, witnesses, attention)
    if (plain := _plainest(readings)) is not None:
        return Diagnosis(plain.kind, f"{plain.sentence}, as far as these sizes show")
    if len(kinds_of(readings)) > 1:
        sentences = "; ".join(reading.sentence for reading in readings[:3])
        return Diagnosis(UNKNOWN, f"several readings explain it: {sentences}")
    if not readings:
        return of_output(doctor, narrow) if narrow else Diagnosis(UNKNOWN, _what_is_known(seen, attention))
    if kinds_of(readings) == ["causal"] and _only_with_cache(doctor, seen):
        return Diagnosis("alignment", f"with a cache, queries stand elsewhere: as if {readings[0].sentence}")
    return _named(doctor, seen, readings[0], attention)


def _looked_for(doctor: Doctor, seen: Seen, witnesses: list[OutputWitness], attention: Array | None) -> list[Reading]:
    """The readings that explain every witness, of the first family that has any.

    The families are tried in this order: those of the spec, those whose number the result shows, a scale that the
    probe measures, and those of rounding. Where several readings explain all of it, other cases are run to tell them
    apart.
    """
    penalty = None if attention is None else numeric.fit_penalty(seen.facts, attention)

    def exact(facts: Facts) -> Iterable[Reading]:
        yield from all_readings(facts)
        yield from numeric.overflows(facts)
        yield from numeric.leaks(facts, penalty)

    find: Find = exact
    readings = _explaining(doctor, witnesses, exact)
    if not readings:
        find = measure(seen.facts, seen.right, seen.got, witnesses[0].units, attention).readings
        readings = _explaining(doctor, witnesses, find)
    if not readings:
        readings = _fitted(doctor, seen, witnesses, attention)
    if not readings:
        readings = _rounding(doctor, witnesses)
    if len(readings) > 1:
        readings = _told_apart(doctor, seen, readings, find)
    return readings


def _plainest(readings: Sequence[Reading]) -> Reading | None:
    """The reading that a limit is ignored, where it is one of several kinds that all put the limits of keys elsewhere.

    ``None`` where the readings are of one kind, where some are about something else, or where none says so.
    """
    kinds = kinds_of(readings)
    if len(kinds) < 2 or not set(kinds) <= PLACES:  # noqa: PLR2004
        return None
    return next((reading for reading in readings if reading.sentence in IGNORED), None)


def _only_with_cache(doctor: Doctor, seen: Seen) -> bool:
    """Whether the case is right when its cache is given as plain keys, with the queries at the same positions."""
    p = seen.case.problem
    if "past" not in p.operands:
        return False
    spec = replace(seen.case.spec, align="bottom_right")
    operands = tuple(kind for kind in p.operands if kind != "past")
    plain = replace(seen.case, spec=spec, problem=replace(p, operands=operands))
    other = doctor.other(replace(seen, case=plain))
    return other is not None and _witness(doctor, other).innocent


def kinds_of(readings: Iterable[Reading]) -> list[str]:
    """Their kinds, each once."""
    return list(dict.fromkeys(reading.kind for reading in readings))


def readings_of_probe(doctor: Doctor, seen: Seen) -> Iterable[Reading]:
    """Readings that explain the attention matrix, where the output itself is within its bound."""
    probe = _probe_witness(doctor, seen, doctor.units(seen.call))
    if probe is None or probe.innocent:
        return
    penalty = numeric.fit_penalty(seen.facts, probe.got.astype(np.float64))

    def every(facts: Facts) -> Iterable[Reading]:
        yield from all_readings(facts)
        yield from numeric.leaks(facts, penalty)

    by_sentence = {reading.sentence: reading for reading in every(seen.facts)}
    for reading in every(probe.facts):
        doctor.go_on()
        if probe.explained_by(reading.facts, glance=False):
            yield by_sentence[reading.sentence]


def _is_probe(witness: OutputWitness) -> bool:
    keys, width = witness.facts.call.sizes.S, witness.facts.call.sizes.Dv
    return keys == width and np.array_equal(witness.facts.values[0, 0], np.eye(keys))


def _witnesses(doctor: Doctor, seen: Seen) -> list[OutputWitness]:
    """The case, its attention matrix, and other inputs of the same sizes."""
    units = doctor.units(seen.call)
    witnesses = [OutputWitness(seen.facts, seen.right, seen.got, units)]
    probe = _probe_witness(doctor, seen, units)
    witnesses += [probe] if probe else []
    harmless = tuple(kind for kind in seen.case.problem.operands if kind not in POISONS)
    others = (
        doctor.other(seen, seed=OTHER_SEEDS[0]),
        doctor.other(seen, seed=OTHER_SEEDS[1], distribution="normal", operands=harmless),
    )
    return witnesses + [_witness(doctor, other) for other in others if other]


def _witness(doctor: Doctor, seen: Seen) -> OutputWitness:
    return OutputWitness(seen.facts, seen.right, seen.got, doctor.units(seen.call))


def _probe_witness(doctor: Doctor, seen: Seen, units: Units) -> OutputWitness | None:
    q, k, _ = seen.qkv
    try:
        attention = attention_matrix(doctor.box, q, k, seen.call)
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        return None
    if attention is None:
        return None
    s = seen.call.sizes
    eye = np.broadcast_to(np.eye(s.S), (s.B, s.Hkv, s.S, s.S)).astype(q.dtype)
    facts = facts_of(q, k, eye, with_values(seen.call, s.S))
    return OutputWitness(facts, answer(facts), attention.astype(q.dtype), units)


def _explaining(doctor: Doctor, witnesses: list[OutputWitness], find: Find) -> list[Reading]:
    """Readings that explain the case, and every other witness that they say something about."""
    case, *others = witnesses
    explaining = []
    for reading in find(case.facts):
        doctor.go_on()
        if case.explained_by(reading.facts):
            explaining.append(reading)
    for witness in others:
        if not explaining:
            break
        doctor.go_on()
        sentences = {reading.sentence for reading in explaining}
        on_other = {reading.sentence: reading for reading in find(witness.facts) if reading.sentence in sentences}
        explaining = [reading for reading in explaining if _holds(on_other.get(reading.sentence), witness)]
    return explaining


def _holds(reading: Reading | None, witness: OutputWitness) -> bool:
    """A reading holds where it explains the result, and where both it and the result are right."""
    if reading is None:
        return witness.innocent
    if witness.explained_by(reading.facts):
        return True
    yielded = answer(reading.facts)
    rows = settled(yielded, witness.right)[..., None]
    bound = np.nan_to_num(bounds_of(yielded, witness.units))
    return bool((within(witness.got, yielded.output, bound) | ~rows).all())


def _told_apart(doctor: Doctor, seen: Seen, readings: list[Reading], find: Find) -> list[Reading]:
    """Where several readings explain the case: those that also explain other cases, chosen so that readings differ."""
    readings = _told_apart_by_no_mask(doctor, seen, readings, find)
    for case in _other_questions(seen.case):
        if len(readings) <= 1:
            break
        doctor.go_on()
        other = doctor.ask(case)
        if other is None:
            continue
        witness = _witness(doctor, other)
        if witness.innocent:
            continue
        on_other = {reading.sentence: reading.facts for reading in find(other.facts)}
        kept = [
            reading
            for reading in readings
            if reading.sentence in on_other and witness.explained_by(on_other[reading.sentence])
        ]
        readings = kept or readings
    return readings


def _told_apart_by_no_mask(doctor: Doctor, seen: Seen, readings: list[Reading], find: Find) -> list[Reading]:
    """Those that explain the case without its mask too: if it is right there, a reading of the mask is the one."""
    p = seen.case.problem
    operands = tuple(kind for kind in p.operands if kind != p.kind_of("mask"))
    if len(kinds_of(readings)) < 2 or "mask" not in kinds_of(readings) or operands == p.operands:  # noqa: PLR2004
        return readings
    other = doctor.other(seen, operands=operands)
    if other is None:
        return readings
    witness = _witness(doctor, other)
    on_other = {reading.sentence: reading for reading in find(other.facts)}
    return [reading for reading in readings if _holds(on_other.get(reading.sentence), witness)] or readings


def _other_questions(case: Case) -> Iterable[Case]:
    """Other sizes, and for a window narrow sides and queries that stand among the keys."""
    p, spec = case.problem, case.spec
    longer = 17 if p.Tq == p.S else 0
    sizes: tuple[dict[str, int], ...] = (
        {"S": p.S + 17, "Tq": p.Tq + longer},
        {"B": 3},
        {"Hq": p.Hq * 2, "Hkv": p.Hkv * 2},
        {"D": p.D + 3},
        {"Tq": p.Tq + 32, "S": p.S + (32 if p.Tq == p.S else 0)},
    )
    for change in sizes:
        with suppress(SpecError):
            yield case.with_problem(**change)
    if spec.window is not None:
        left, right = spec.window
        narrow = replace(spec, window=(left and min(left, 2), right and min(right, 1)))
        kept = tuple(kind for kind in p.operands if not kind.startswith(("offset", "past")))
        square = replace(p, Tq=19, S=19, operands=kept)
        yield from (replace(case, spec=narrow), replace(case, spec=narrow, problem=square))


def _fitted(doctor: Doctor, seen: Seen, witnesses: list[OutputWitness], attention: Array | None) -> list[Reading]:
    """A scale that the probe measures."""
    if attention is None:
        return []
    measured = slope(attention, seen.facts)
    if measured is None or abs(measured[0] - 1) < NEAR or not np.isfinite(measured[0]):
        return []
    factor = measured[0]
    sentence = f"scale is {factor:.4g} of the spec's, by the slope of log P"
    for witness in witnesses:
        doctor.go_on()
        rescaled = scaled(witness.facts, factor, sentence).facts
        low = witness.units.output >= LOW and witness.explained_by(rescaled, glance=False)
        if not low and not explains_share(answer(rescaled).output, witness, 0.9999):
            return []
    return [scaled(seen.facts, factor, sentence)]


def explains_share(output: Array, witness: OutputWitness, share: float = EXPLAINED) -> bool:
    """Whether a reading explains this share of the squared error, with the same NaNs, rounded as the output is."""
    if not np.array_equal(np.isnan(output), np.isnan(witness.got)):
        return False
    with np.errstate(over="ignore"):
        right, read = (array.astype(witness.got.dtype) for array in (witness.right.output, output))
    wrong = distance(witness.got, right)
    return wrong > 0 and distance(witness.got, read) ** 2 <= (1 - share) * wrong**2


def _rounding(doctor: Doctor, witnesses: list[OutputWitness]) -> list[Reading]:
    """Readings of rounding that explain almost all of the error everywhere."""
    everywhere: list[Reading] | None = None
    for witness in witnesses:
        explaining = []
        for reading in numeric.roundings(witness.facts):
            doctor.go_on()
            if explains_share(answer(reading.facts).output, witness):
                explaining.append(reading)
        if witness is witnesses[0] or everywhere is None:
            everywhere = explaining
        elif not witness.innocent:
            sentences = {reading.sentence for reading in explaining}
            everywhere = [reading for reading in everywhere if reading.sentence in sentences]
    return everywhere or []


def _named(doctor: Doctor, seen: Seen, reading: Reading, attention: Array | None) -> Diagnosis:
    """The diagnosis that a reading gives: its sentence, with what the probes add to it."""
    evidence = reading.sentence
    if reading.kind == "tail":
        evidence += _condition(doctor, seen)
    if reading.kind == "heads" and "instead of [" not in evidence:
        q, k, _ = seen.qkv
        read = kv_head_map(doctor.box, q, k, seen.call)
        evidence += f" (heads {read} are read)" if read else ""
    if reading.kind == "scale" and attention is not None:
        measured = slope(attention, seen.facts)
        if measured is not None and "by the slope" not in evidence:
            evidence += f" (the slope of log P is {measured[0]:.4g} of the spec's)"
    return Diagnosis(reading.kind, evidence)


TAILS = (2, 3, 17, 18, 32, 33, 35, 48, 49, 64, 65, 81, 96, 97, 129)  # numbers of keys around the edges of tiles
ENOUGH_SIZES = 6  # that must have been seen before anything is said of sizes
CONDITIONS: dict[str, Callable[[int], bool]] = {
    "": lambda s: s > 1,
    " where S % 32 == 1": lambda s: s % 32 == 1 and s > 1,
    " where S % 64 == 1": lambda s: s % 64 == 1 and s > 1,
    " where S % 16 == 1": lambda s: s % 16 == 1 and s > 1,
    " where S is odd": lambda s: s % 2 == 1 and s > 1,
    " where S % 16 != 0": lambda s: s % 16 != 0 and s > 1,
    " where S % 32 != 0": lambda s: s % 32 != 0 and s > 1,
    " where S % 64 != 0": lambda s: s % 64 != 0 and s > 1,
    " where S > 32": lambda s: s > 32,  # noqa: PLR2004
    " where S > 64": lambda s: s > 64,  # noqa: PLR2004
}


def _condition(doctor: Doctor, seen: Seen) -> str:
    """At which sizes a tail is lost: the one condition that fits what the kernel does at sizes around tile edges.

    Where no condition fits alone, or too few sizes were seen, it is the size of this case.
    """
    at_this_size = f" at S = {seen.case.problem.S}"
    square = seen.case.problem.Tq == seen.case.problem.S
    observed = {}
    for s in TAILS:
        if doctor.late:
            return at_this_size
        other = doctor.other(seen, S=s, Tq=s if square else seen.case.problem.Tq)
        if other is not None:
            observed[s] = not _witness(doctor, other).innocent
    fits = [name for name, rule in CONDITIONS.items() if all(rule(s) == wrong for s, wrong in observed.items())]
    return fits[0] if len(fits) == 1 and len(observed) >= ENOUGH_SIZES else at_this_size


def _what_is_known(seen: Seen, attention: Array | None) -> str:
    """No reading explains it; what the probes show."""
    from attnbench.agree.rules.probes import support

    if attention is None:
        return "no known fault explains it"
    differences = support(attention, seen.facts)
    if not differences.exact:
        return f"no known fault explains it; by V = identity, {differences.sentence()}"
    return "no known fault explains it; the support of its attention matrix is the allowed set"
