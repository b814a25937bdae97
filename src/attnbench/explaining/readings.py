"""Which other reading of the spec or of arithmetic explains an output that rounding does not: one, or two at once.

The readings are those of ``attnbench.agree.diagnose``. One is named only if it explains every element that was looked
at within its bound; where several do, all of them are named. Two at once are tried where none does alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from attnbench.agree.diagnose import readings_numeric as numeric
from attnbench.agree.diagnose.output import EXPLAINED, OutputWitness
from attnbench.agree.diagnose.readings import all_readings, scaled
from attnbench.agree.diagnose.readings_allowed import Reading
from attnbench.agree.diagnose.readings_measured import measure
from attnbench.agree.judge.bounds import Units
from attnbench.agree.rules.facts import Computed, Facts, agreement, answer, bounds_of, distance, within
from attnbench.attention.arrays import Array
from attnbench.attention.precision import Precision, default_precision, wide
from attnbench.explaining.subject import Subject

OF_HEADS = "heads"
# Kinds of readings of which two at once are tried.
PAIRED = {
    *("scale", "causal", "alignment", "window", "mask", "lengths", "segments", "heads", "softcap", "bias", "alibi"),
    *("softmax base", "softmax", "sinks", "dropout", "dead row"),
}
STEP, STEPS, LONGEST_STEP = 1e-4, 12, 0.2  # of a fitted factor, relative to it
MOSTLY = 0.5  # share of elements that must be outside rounding before coarse arithmetic alone is called the cause


@dataclass(frozen=True)
class FittingReading:
    """A reading that explains what rounding does not: its kind, and a sentence. ``facts`` is for what follows of it.

    ``array`` is what it explains: ``output``, ``lse``, a gradient such as ``d_q``, or all ``gradients`` at once.
    Readings of one array are alternatives; those of several arrays are parts of one explanation.
    """

    kind: str
    sentence: str
    facts: Facts | None = None
    array: str = "output"

    def to_dict(self) -> dict[str, str]:
        """JSON-ready."""
        return {"kind": self.kind, "array": self.array, "sentence": self.sentence}


def of_output(large: Subject, small: Subject | None) -> list[FittingReading]:
    """The readings that explain an output, of the first family that has any; ``small``: where two are tried at once."""
    fits = [_named(reading) for reading in singles(large) if explains(reading.facts, large.witness)]
    fits += [_named(reading) for reading in numeric.roundings(large.witness.facts) if rounds_so(reading, large)]
    if not fits:
        measured = (*_measured(large), *_with_fitted_scale(large))
        fits = [_named(reading) for reading in measured if explains(reading.facts, large.witness)]
    if not fits and small is not None:
        fits = list(_two_at_once(large, small))
    return _each_once(fits or _coarse(large.witness))


def _named(reading: Reading) -> FittingReading:
    return FittingReading(reading.kind, reading.sentence, reading.facts)


def _each_once(readings: list[FittingReading]) -> list[FittingReading]:
    return list({reading.sentence: reading for reading in readings}.values())


def singles(of: Subject, facts: Facts | None = None) -> Iterator[Reading]:
    """Every reading of the spec that this part of a call can show."""
    facts = of.witness.facts if facts is None else facts
    for reading in (*all_readings(facts), *numeric.leaks(facts)):
        if of.whole_heads or reading.kind != OF_HEADS:
            yield reading
    yield from numeric.overflows(facts)


def _measured(of: Subject) -> Iterator[Reading]:
    w = of.witness
    with np.errstate(all="ignore"):
        shown = measure(w.facts, w.right, w.got, w.units, None)
    if not of.whole_heads:
        shown = replace(shown, both=None, keys=None, values=None)
    return iter(list(shown.readings(w.facts)))


def _with_fitted_scale(of: Subject) -> Iterator[Reading]:
    """The spec with the one factor on its scale that comes nearest to the output, by least squares."""
    w = of.witness
    got = w.got.astype(np.float64)
    if not np.isfinite(got).all() or not np.isfinite(w.right.output).all():
        return

    def yielded(factor: float) -> Array:
        return answer(scaled(w.facts, factor, "").facts).output

    factor = min((2.0 ** (n / 4) for n in range(-24, 25)), key=lambda c: distance(got, yielded(c)))
    for _ in range(STEPS):
        slope = (yielded(factor * (1 + STEP)) - yielded(factor * (1 - STEP))) / (2 * STEP)
        size = float((slope**2).sum())
        if size == 0:
            return
        factor *= 1 + float(np.clip((slope * (got - yielded(factor))).sum() / size, -LONGEST_STEP, LONGEST_STEP))
    yield scaled(w.facts, factor, f"the scale is {factor:.5g} times the one asked for")


def explains(facts: Facts, witness: OutputWitness, units: Units | None = None) -> bool:
    """Whether a reading explains every element within its bound, in rows that it leaves without a key too."""
    computed = answer(facts)
    judged = agreement(computed, witness.right, witness.got, units or witness.units)
    return judged is not None and judged.ok and _emptied_rows_fit(computed, witness)


def _emptied_rows_fit(computed: Computed, witness: OutputWitness) -> bool:
    """A row that a reading leaves without a key is 0, NaN, or the mean of all values: kernels do each of these."""
    emptied = ~np.any(computed.allowed, axis=-1) & np.any(witness.right.allowed, axis=-1)
    if not emptied.any():
        return True
    got = witness.got.astype(np.float64)
    mean = np.broadcast_to(computed.facts.v.mean(-2, keepdims=True), got.shape)
    size = np.abs(computed.facts.v).max(-2, keepdims=True, initial=0.0)
    near = np.broadcast_to(8 * witness.units.output * size, got.shape)
    fits = [(got == 0).all(-1), np.isnan(got).all(-1), within(got, mean, near).all(-1)]
    return any(bool(fit[emptied].all()) for fit in fits)


# Arithmetic


def coarse_units(level: str, dtype: str) -> Units:
    """Bounds of a kernel that keeps whatever it computes of inputs of ``dtype`` in ``level``."""
    usual = default_precision(dtype)
    kept = Precision(accumulate=level, logits=level, softmax=usual.softmax, p_cast=level, exp_ulp=20.0, flush=True)
    return Units.of(kept, dtype)


def rounds_so(reading: Reading, of: Subject, base: Array | None = None) -> bool:
    """Whether a reading of rounding reproduces most of the error, and arithmetic of its size explains every element.

    Which way a value near a tie is rounded is open, so that no element can be held to the reading itself. ``base`` is
    the output without the rounding; the spec's where it is not given.
    """
    w = of.witness
    computed = answer(reading.facts)
    base = w.right.output if base is None else base
    with np.errstate(over="ignore"):
        exact, read = (array.astype(w.got.dtype) for array in (base, computed.output))
    wrong = distance(w.got, exact)
    if not np.array_equal(np.isnan(read), np.isnan(w.got)) or wrong == 0:
        return False
    if distance(w.got, read) ** 2 > (1 - EXPLAINED) * wrong**2:
        return False
    return bool(_all_within(replace(computed, output=base), w, _units_of(reading.sentence, w.facts.call.dtype)))


def _units_of(sentence: str, dtype: str) -> Units:
    level = next((name for name in ("bfloat16", "float16", "float32") if name in sentence), "tf32")
    return coarse_units("tf32" if "11 bits" in sentence else level, dtype)


def _all_within(computed: Computed, witness: OutputWitness, units: Units) -> bool:
    """Whether all that came out lies within bounds of another arithmetic."""
    bound = np.nan_to_num(bounds_of(computed, units))
    return bool(within(witness.got, computed.output, bound).all())


def _coarse(witness: OutputWitness) -> list[FittingReading]:
    """The least coarse arithmetic within whose bounds all lies, where most elements are off and not only some."""
    dtype = witness.facts.call.dtype
    bound = np.nan_to_num(bounds_of(witness.right, witness.units))
    outside = ~within(witness.got, witness.right.output, bound)
    if outside.mean() < MOSTLY:
        return []
    for words, precision in _coarser(dtype):
        if _all_within(witness.right, witness, Units.of(precision, dtype)):
            sentence = f"arithmetic as coarse as {words}: all errors are of that size, and no single step is told from "
            return [FittingReading("precision", sentence + "the others")]
    return []


def _coarser(dtype: str) -> Iterator[tuple[str, Precision]]:
    fast = replace(default_precision(dtype), exp_ulp=20.0, tanh_ulp=8.0, flush=True)
    if dtype == "float64":
        yield "a softmax in float32", replace(fast, softmax="float32")
        yield "float32 throughout", replace(fast, softmax="float32", accumulate="float32")
    elif dtype == "float32":
        yield "weights rounded to float16 before P·V", replace(fast, p_cast="float16")
        yield "products of 11 bits (TF32)", replace(fast, accumulate="tf32")
        yield "weights rounded to bfloat16 before P·V", replace(fast, p_cast="bfloat16")
        yield "products of bfloat16", replace(fast, accumulate="bfloat16")
    else:
        low = replace(fast, logits=dtype, p_cast=dtype)
        yield f"a softmax in {dtype}", replace(low, softmax=dtype)
        yield f"sums kept in {dtype}", replace(low, softmax=dtype, accumulate=dtype)


# Two at once


def _two_at_once(large: Subject, small: Subject) -> Iterator[FittingReading]:
    """Pairs of readings of different kinds, and a reading with a rounding, each tried on little and held to all."""
    seen: set[frozenset[str]] = set()
    on_large: dict[str, Reading] = {reading.sentence: reading for reading in singles(large)}
    for first in singles(small):
        if first.kind not in PAIRED:
            continue
        for second in _seconds(small, first):
            names = frozenset((first.sentence, second.sentence))
            if names in seen or not explains(second.facts, small.witness):
                continue
            whole = _again(large, on_large.get(first.sentence), second.sentence)
            if whole is not None and explains(whole.facts, large.witness):
                seen.add(names)
                yield _joined(first, second, whole)
    if not seen and wide(large.inputs.call.dtype) == large.inputs.call.dtype:
        yield from _with_rounding(large, on_large)


def _seconds(of: Subject, first: Reading) -> Iterator[Reading]:
    return (r for r in singles(of, first.facts) if r.kind in PAIRED and r.kind != first.kind)


def _again(of: Subject, first: Reading | None, sentence: str) -> Reading | None:
    """The same two on the larger part."""
    if first is None:
        return None
    return next((second for second in _seconds(of, first) if second.sentence == sentence), None)


def _joined(first: Reading, second: Reading, whole: Reading) -> FittingReading:
    return FittingReading(f"{first.kind} and {second.kind}", f"{first.sentence}; and {second.sentence}", whole.facts)


def _with_rounding(large: Subject, on_large: dict[str, Reading]) -> Iterator[FittingReading]:
    """A reading of the spec, with a rounding that explains what it leaves."""
    w = large.witness
    coarsest = coarse_units("bfloat16", w.facts.call.dtype)
    for first in on_large.values():
        if first.kind not in PAIRED or not explains(first.facts, w, coarsest):
            continue
        base = answer(first.facts).output
        fits = [r for r in numeric.roundings(first.facts) if rounds_so(r, large, base)]
        for rounding in fits:
            yield _joined(first, rounding, rounding)
