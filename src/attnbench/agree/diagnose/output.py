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
class Witness:
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
        """Whether the result is right: it tells of nothing."""
        return bool(within(self.got, self.right.output, np.nan_to_num(bounds_of(self.right, self.units))).all())


Find = Callable[[Facts], Iterable[Reading]]


def of_output(doctor: Doctor, seen: Seen, narrow: Seen | None = None) -> Diagnosis:
    """The reading that explains the output, everywhere that it is asked; of ``narrow`` too, the same in 16 bits."""
    witnesses = _witnesses(doctor, seen) + ([_witness(doctor, narrow)] if narrow else [])
    attention = witnesses[1].got.astype(np.float64) if len(witnesses) > 1 and _is_probe(witnesses[1]) else None
    penalty = None if attention is None else numeric.fit_penalty(seen.facts, attention)

    def exact(facts: Facts) -> Iterable[Reading]:
        yield from all_readings(facts)
        yield from numeric.overflows(facts)
        yield from numeric.leaks(facts, penalty)

    find: Find = exact
    found = _explaining(doctor, witnesses, exact)
    if not found:
        find = measure(seen.facts, seen.right, seen.got, witnesses[0].units, attention).readings
        found = _explaining(doctor, witnesses, find)
    if not found:
        found = _fitted(doctor, seen, witnesses, attention)
    if not found:
        found = _rounding(doctor, witnesses)
    if len(found) > 1:
        found = _told_apart(doctor, seen, found, find)
    if (plain := _plainest(found)) is not None:
        return Diagnosis(plain.kind, f"{plain.sentence}, as far as these sizes show")
    if len(kinds_of(found)) > 1:
        return Diagnosis(UNKNOWN, "several readings explain it: " + "; ".join(one.sentence for one in found[:3]))
    if not found:
        return of_output(doctor, narrow) if narrow else Diagnosis(UNKNOWN, _what_is_known(seen, attention))
    if kinds_of(found) == ["causal"] and _only_with_cache(doctor, seen):
        return Diagnosis("alignment", f"with a cache, queries stand elsewhere: as if {found[0].sentence}")
    return _told(doctor, seen, found[0], attention)


def _plainest(found: Sequence[Reading]) -> Reading | None:
    """Of readings of several kinds about where keys end, that they do not end at all, where that explains it too."""
    kinds = kinds_of(found)
    if len(kinds) < 2 or not set(kinds) <= PLACES:  # noqa: PLR2004
        return None
    return next((one for one in found if one.sentence in IGNORED), None)


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


def kinds_of(found: Iterable[Reading]) -> list[str]:
    """Their kinds, each once."""
    return list(dict.fromkeys(one.kind for one in found))


def readings_of_probe(doctor: Doctor, seen: Seen) -> Iterable[Reading]:
    """Readings that explain the attention matrix, where the output itself is within its bound."""
    probe = _probe_witness(doctor, seen, doctor.units(seen.call))
    if probe is None or probe.innocent:
        return
    penalty = numeric.fit_penalty(seen.facts, probe.got.astype(np.float64))

    def every(facts: Facts) -> Iterable[Reading]:
        yield from all_readings(facts)
        yield from numeric.leaks(facts, penalty)

    own = {one.sentence: one for one in every(seen.facts)}
    for one in every(probe.facts):
        doctor.go_on()
        if probe.explained_by(one.facts, glance=False):
            yield own[one.sentence]


def _is_probe(witness: Witness) -> bool:
    keys, width = witness.facts.call.sizes.S, witness.facts.call.sizes.Dv
    return keys == width and np.array_equal(witness.facts.values[0, 0], np.eye(keys))


def _witnesses(doctor: Doctor, seen: Seen) -> list[Witness]:
    """The case, its attention matrix, and other inputs of the same sizes."""
    units = doctor.units(seen.call)
    found = [Witness(seen.facts, seen.right, seen.got, units)]
    probe = _probe_witness(doctor, seen, units)
    found += [probe] if probe else []
    harmless = tuple(kind for kind in seen.case.problem.operands if kind not in POISONS)
    others = (
        doctor.other(seen, seed=OTHER_SEEDS[0]),
        doctor.other(seen, seed=OTHER_SEEDS[1], distribution="normal", operands=harmless),
    )
    return found + [_witness(doctor, one) for one in others if one]


def _witness(doctor: Doctor, seen: Seen) -> Witness:
    return Witness(seen.facts, seen.right, seen.got, doctor.units(seen.call))


def _probe_witness(doctor: Doctor, seen: Seen, units: Units) -> Witness | None:
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
    return Witness(facts, answer(facts), attention.astype(q.dtype), units)


def _explaining(doctor: Doctor, witnesses: list[Witness], find: Find) -> list[Reading]:
    """Readings that explain the case, and every other witness that they say something about."""
    case, *others = witnesses
    found = []
    for one in find(case.facts):
        doctor.go_on()
        if case.explained_by(one.facts):
            found.append(one)
    for witness in others:
        if not found:
            break
        doctor.go_on()
        on_other = {one.sentence: one for one in find(witness.facts) if one.sentence in {r.sentence for r in found}}
        found = [one for one in found if _holds(on_other.get(one.sentence), witness)]
    return found


def _holds(reading: Reading | None, witness: Witness) -> bool:
    """A reading holds where it explains the result, and where both it and the result are right."""
    if reading is None:
        return witness.innocent
    if witness.explained_by(reading.facts):
        return True
    yielded = answer(reading.facts)
    rows = settled(yielded, witness.right)[..., None]
    bound = np.nan_to_num(bounds_of(yielded, witness.units))
    return bool((within(witness.got, yielded.output, bound) | ~rows).all())


def _told_apart(doctor: Doctor, seen: Seen, found: list[Reading], find: Find) -> list[Reading]:
    """Several readings explain the case: ask other questions, on which they differ."""
    found = _told_apart_by_no_mask(doctor, seen, found, find)
    for case in _other_questions(seen.case):
        if len(found) <= 1:
            break
        doctor.go_on()
        other = doctor.ask(case)
        if other is None:
            continue
        witness = _witness(doctor, other)
        if witness.innocent:
            continue
        names = {one.sentence: one for one in find(other.facts)}
        kept = [one for one in found if one.sentence in names and witness.explained_by(names[one.sentence].facts)]
        found = kept or found
    return found


def _told_apart_by_no_mask(doctor: Doctor, seen: Seen, found: list[Reading], find: Find) -> list[Reading]:
    """Ask the same without its mask: what is right there was the mask's doing, and what is wrong there was not."""
    p = seen.case.problem
    operands = tuple(kind for kind in p.operands if kind != p.kind_of("mask"))
    if len(kinds_of(found)) < 2 or "mask" not in kinds_of(found) or operands == p.operands:  # noqa: PLR2004
        return found
    other = doctor.other(seen, operands=operands)
    if other is None:
        return found
    witness = _witness(doctor, other)
    names = {one.sentence: one for one in find(other.facts)}
    return [one for one in found if _holds(names.get(one.sentence), witness)] or found


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


def _fitted(doctor: Doctor, seen: Seen, witnesses: list[Witness], attention: Array | None) -> list[Reading]:
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
        one = scaled(witness.facts, factor, sentence).facts
        low = witness.units.output >= LOW and witness.explained_by(one, glance=False)
        if not low and not explains_share(answer(one).output, witness, 0.9999):
            return []
    return [scaled(seen.facts, factor, sentence)]


def explains_share(output: Array, witness: Witness, share: float = EXPLAINED) -> bool:
    """Whether a reading explains this share of the squared error, with the same NaNs, rounded as the output is."""
    if not np.array_equal(np.isnan(output), np.isnan(witness.got)):
        return False
    with np.errstate(over="ignore"):
        right, read = (array.astype(witness.got.dtype) for array in (witness.right.output, output))
    wrong = distance(witness.got, right)
    return wrong > 0 and distance(witness.got, read) ** 2 <= (1 - share) * wrong**2


def _rounding(doctor: Doctor, witnesses: list[Witness]) -> list[Reading]:
    """Readings of rounding that explain almost all of the error everywhere."""
    names: list[Reading] | None = None
    for witness in witnesses:
        found = []
        for one in numeric.roundings(witness.facts):
            doctor.go_on()
            if explains_share(answer(one.facts).output, witness):
                found.append(one)
        if witness is witnesses[0] or names is None:
            names = found
        elif not witness.innocent:
            names = [one for one in names if one.sentence in {f.sentence for f in found}]
    return names or []


def _told(doctor: Doctor, seen: Seen, reading: Reading, attention: Array | None) -> Diagnosis:
    """The sentence, with what the probes add."""
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
    """In which sizes a tail is lost: the one condition that fits what the kernel does at sizes around tile edges."""
    here = f" at S = {seen.case.problem.S}"
    square = seen.case.problem.Tq == seen.case.problem.S
    observed = {}
    for s in TAILS:
        if doctor.late:
            return here
        other = doctor.other(seen, S=s, Tq=s if square else seen.case.problem.Tq)
        if other is not None:
            observed[s] = not _witness(doctor, other).innocent
    fits = [name for name, rule in CONDITIONS.items() if all(rule(s) == wrong for s, wrong in observed.items())]
    return fits[0] if len(fits) == 1 and len(observed) >= ENOUGH_SIZES else here


def _what_is_known(seen: Seen, attention: Array | None) -> str:
    """No reading explains it; what the probes show."""
    from attnbench.agree.rules.probes import support

    if attention is None:
        return "no known fault explains it"
    differences = support(attention, seen.facts)
    if not differences.exact:
        return f"no known fault explains it; by V = identity, {differences.sentence()}"
    return "no known fault explains it; the support of its attention matrix is the allowed set"
