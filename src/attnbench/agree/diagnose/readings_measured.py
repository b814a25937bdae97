"""Wrong readings with a number that the kernel's result shows: which head is read, where the wrong part begins.

What is measured on the case is a guess until it is held, like every other reading, to the other witnesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from attnbench.agree.diagnose.readings import all_readings
from attnbench.agree.diagnose.readings_allowed import Reading, Readings, part
from attnbench.agree.judge.bounds import Units
from attnbench.agree.rules.facts import Computed, Facts, answer, bounds_of, within
from attnbench.attention.arrays import Array

FEW = 2  # a first wrong query or key below this is no edge
QUERIES = 2
AXES = ("batch entry", "head", "query", "key")
PLURAL = {"batch entry": "batch entries", "head": "heads", "query": "queries", "key": "keys"}
Maps = Sequence[int] | None


@dataclass(frozen=True)
class Span:
    """The part of an axis in which all that is wrong lies, from ``first`` to ``last``; it has ``size`` places."""

    axis: int
    first: int
    last: int
    size: int

    @property
    def sentence(self) -> str:
        """``from query 64 on``, ``in heads 2 to 3``."""
        name = AXES[self.axis]
        if self.first == self.last:
            return f"in {name} {self.first} alone"
        if self.last == self.size - 1:
            return f"from {name} {self.first} on"
        return f"in {PLURAL[name]} {self.first} to {self.last}"

    def inside(self, facts: Facts) -> Array:
        """The places as bool that broadcasts to (B, Hq, Tq, S); a span up to the end goes to the end in other sizes."""
        s = facts.call.sizes
        size = (s.B, s.Hq, s.Tq, s.S)[self.axis]
        last = size if self.last == self.size - 1 else self.last
        index = facts.rows if self.axis == QUERIES else np.arange(size)
        shape = [1, 1, 1, 1]
        shape[self.axis] = len(index)
        return np.asarray(((index >= self.first) & (index <= last)).reshape(shape))


@dataclass(frozen=True)
class Measured:
    """What one result shows of itself."""

    both: Maps = None
    keys: Maps = None
    values: Maps = None
    read: tuple[int, int] | None = None  # first and last key that takes any weight
    spans: tuple[Span, ...] = ()

    def readings(self, facts: Facts) -> Readings:
        """The readings that follow from it, on any facts of the same sizes."""
        yield from self._heads(facts)
        if self.read is not None:
            yield from _keys(facts, *self.read)
        for span in self.spans:
            yield from within_span(facts, span)

    def _heads(self, facts: Facts) -> Readings:
        for what, index in (("key/value", self.both), ("key", self.keys), ("value", self.values)):
            if index is None or len(index) != facts.call.sizes.Hq or max(index) >= facts.call.sizes.Hkv:
                continue
            k = facts.k if what == "value" else facts.keys[:, list(index)]
            v = facts.v if what == "key" else facts.values[:, list(index)]
            group = facts.call.sizes.group
            right = [h // group for h in range(len(index))]
            sentence = f"query heads 0 to {len(index) - 1} read the {what} heads {list(index)} instead of {right}"
            yield Reading("heads", sentence, replace(facts, k=k, v=v))


def measure(facts: Facts, right: Computed, got: Array, units: Units, attention: Array | None) -> Measured:
    """What the output of a call, and its attention matrix where there is one, show."""
    bad = ~within(got, right.output, np.nan_to_num(bounds_of(right, units)))
    spans = [_span(np.asarray(bad.any(tuple(a for a in range(4) if a != axis))), axis) for axis in range(3)]
    read = None
    if attention is not None and np.isfinite(attention).all():
        spans.append(_span(_wrong_keys(attention, right), 3))
        read = _read_keys(attention, right)
    maps = {name: _map(facts, got, units, name) for name in ("both", "keys", "values")}
    return Measured(**maps, read=read, spans=tuple(span for span in spans if span is not None))


def _span(wrong: Array, axis: int) -> Span | None:
    """``None`` where all of an axis is wrong, or nothing."""
    places = np.flatnonzero(wrong)
    if places.size == 0 or len(wrong) == 1:
        return None
    span = Span(axis, int(places[0]), int(places[-1]), len(wrong))
    everything = span.first < (FEW if axis > 1 else 1) and span.last == span.size - 1
    return None if everything else span


def _wrong_keys(attention: Array, right: Computed) -> Array:
    """Keys that take weight outside A, or none inside."""
    weights = right.softmax.weights
    clear = weights > 1e-6  # noqa: PLR2004  (a smaller weight may be lost)
    wrong = ((attention != 0) & ~right.allowed) | ((attention == 0) & clear & right.allowed)
    return np.asarray(wrong.any((0, 1, 2)))


def _read_keys(attention: Array, right: Computed) -> tuple[int, int] | None:
    took = np.flatnonzero((attention != 0).any((0, 1, 2)))
    ought = np.flatnonzero(right.allowed.any((0, 1, 2)))
    if took.size == 0 or (took[0], took[-1]) == (ought[0], ought[-1]):
        return None
    return int(took[0]), int(took[-1])


def _map(facts: Facts, got: Array, units: Units, what: str) -> Maps:
    """For each query head the only head that it can have read, by its output.

    ``None`` where that is not one head for each of them, or where every head is the right one.
    """
    s = facts.call.sizes
    if s.Hkv == 1:
        return None
    fits = np.zeros((s.Hq, s.Hkv), bool)
    for g in range(s.Hkv):
        index = [g] * s.Hq
        k = facts.k if what == "values" else facts.keys[:, index]
        v = facts.v if what == "keys" else facts.values[:, index]
        yielded = answer(replace(facts, k=k, v=v))
        near = within(got, yielded.output, np.nan_to_num(bounds_of(yielded, units)))
        fits[:, g] = near.all((0, 2, 3))
    right = np.arange(s.Hq) // s.group
    if not (fits.sum(1) == 1).all() or (fits.argmax(1) == right).all():
        return None
    return [int(g) for g in fits.argmax(1)]


def _keys(facts: Facts, first: int, last: int) -> Readings:
    j = np.arange(facts.call.sizes.S)
    if last < facts.call.sizes.S - 1:
        yield Reading("tail", f"keys from {last + 1} on are never read", part(facts, "tail", j <= last))
    if first > 0:
        yield Reading("tail", f"keys before {first} are never read", part(facts, "tail", j >= first))


# What else than the allowed set a reading may change for a part of the call alone.
BROADCAST = ("bias", "scale", "keep")


def within_span(facts: Facts, span: Span) -> Readings:
    """Every reading of the allowed set, of the bias and of the scale, but only in a part of the call."""
    inside = span.inside(facts)
    for reading in all_readings(facts):
        if not _local(facts, reading.facts):
            continue
        parts = {"all": np.where(inside, reading.facts.allowed, facts.allowed)}
        changed = {
            name: np.where(inside, getattr(reading.facts, name), getattr(facts, name))
            for name in BROADCAST
            if getattr(reading.facts, name) is not getattr(facts, name)
        }
        mixed = replace(facts, parts=parts, **changed)
        yield Reading(reading.kind, f"{span.sentence}: {reading.sentence}", mixed)


def _local(facts: Facts, changed: Facts) -> bool:
    """Whether a reading changes the allowed set, the bias, the scale or dropout alone."""
    steps = ("call", "q", "k", "v", "sink", "cap", "stored", "join", "weigh", "add", "dead")
    return all(getattr(facts, name) is getattr(changed, name) for name in steps)
