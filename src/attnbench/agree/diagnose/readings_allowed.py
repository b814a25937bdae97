"""Wrong readings of the allowed set: causality, alignment, windows, tails, masks, lengths and segments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from attnbench.agree.rules.facts import (
    Facts,
    Weights,
    inside,
    masked,
    of_rows,
    parts_of,
    spec_softmax,
    with_scale,
)
from attnbench.attention.arrays import Array

TILES = (2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Reading:
    """One wrong reading: the kind of fault, a sentence that is its name too, and the changed facts."""

    kind: str
    sentence: str
    facts: Facts


Readings = Iterator[Reading]


def part(facts: Facts, name: str, value: Array | None) -> Facts:
    """The same with another part of the allowed set, or without it."""
    parts = {n: p for n, p in facts.parts.items() if n != name}
    changed = replace(facts, parts=parts if value is None else parts | {name: value})
    return _recounted(changed)


def _recounted(facts: Facts) -> Facts:
    """For ``log_n`` the scale of another allowed set."""
    if facts.call.spec.scale != "log_n":
        return facts
    return with_scale(facts, np.reshape(np.asarray(facts.call.scale, np.float64), (1, -1, 1, 1)))


def _plural(n: int) -> str:
    return f"{n} key{'s' * (n != 1)}" if n > 1 else "one key"


def causals(facts: Facts) -> Readings:
    """A causal frontier that is elsewhere, ignored, or in steps."""
    if "causal" not in facts.parts:
        return
    j, p = np.arange(facts.call.sizes.S), facts.position
    yield Reading("causal", "the causal mask is ignored", part(facts, "causal", None))
    for n in (1, 2):
        yield Reading("causal", f"the causal mask is {_plural(n)} too wide", part(facts, "causal", j <= p + n))
        yield Reading("causal", f"the causal mask is {_plural(n)} too narrow", part(facts, "causal", j <= p - n))
    yield Reading("causal", "the causal mask is the wrong way round: j >= p", part(facts, "causal", j >= p))
    for tile in TILES:
        stepped = j // tile <= p // tile
        sentence = f"the causal mask goes by tiles of {tile} keys: a query sees its whole tile"
        yield Reading("causal", sentence, part(facts, "causal", stepped))
        if tile < facts.call.sizes.S:
            sentence = f"in tiles of {tile} keys the tile's start is forgotten: key j stands where j % {tile} does"
            yield Reading("tile", sentence, part(facts, "causal", j % tile <= p))


def moved(facts: Facts, position: Array) -> Facts:
    """The same with the queries at other positions, wherever positions matter."""
    position = np.asarray(position)
    return _recounted(replace(facts, position=position, parts=parts_of(facts.call, position, facts.rows)))


def alignments(facts: Facts) -> Readings:
    """Queries that stand elsewhere among the keys."""
    call, s = facts.call, facts.call.sizes
    if not {"causal", "window"} & set(facts.parts):
        return
    index = facts.rows[None, None, :, None]
    offset = np.reshape(np.asarray(call.offset), (-1, 1, 1, 1))
    corner = s.S - s.Tq
    corners = {"top left": 0, "bottom right": corner}
    for name, shift in corners.items():
        yield Reading("alignment", f"aligned {name}, whatever was asked", moved(facts, index + shift))
    # A kernel that has one corner built in and takes the other as a shift.
    other = np.where(offset == corner, -corner, corner)
    yield Reading("alignment", "aligned at the other corner", moved(facts, index + offset + other))
    yield Reading("alignment", "the offset has the wrong sign", moved(facts, index - offset))
    for tile in TILES:
        if tile < s.Tq:
            sentence = f"in tiles of {tile} queries the tile's start is forgotten: query i stands where i % {tile} does"
            yield Reading("tile", sentence, moved(facts, index % tile + offset))
    if offset.size > 1:
        sentence = "the offset of batch entry 0 is used for all"
        yield Reading("alignment", sentence, moved(facts, index + offset[:1]))


def windows(facts: Facts) -> Readings:
    """A window with other sides."""
    if "window" not in facts.parts or facts.call.spec.window is None:
        return
    left, right = facts.call.spec.window
    keys, p = facts.call.sizes.S, facts.position

    def sides(sentence: str, new_left: int | None, new_right: int | None) -> Reading:
        return Reading("window", sentence, part(facts, "window", inside(p, keys, new_left, new_right)))

    yield Reading("window", "the window is ignored", part(facts, "window", None))
    if left is not None:
        yield sides("the window is one key too narrow on the left", left - 1, right)
        yield sides("the window is one key too wide on the left", left + 1, right)
        yield sides("the left side of the window is ignored", None, right)
        yield sides("the left side of the window is halved", left // 2, right)
    if right is not None:
        yield sides("the window is one key too narrow on the right", left, right - 1)
        yield sides("the window is one key too wide on the right", left, right + 1)
        yield sides("the right side of the window is ignored", left, None)
    if left is not None and right is not None:
        yield sides("the window is one key too narrow on both sides", left - 1, right - 1)
        yield sides("the window is one key too wide on both sides", left + 1, right + 1)
    yield sides("the sides of the window are swapped", right, left)


def tails(facts: Facts) -> Readings:
    """Keys that are never read, or read although they are padding."""
    keys = facts.call.sizes.S
    j = np.arange(keys)
    if keys > 1:
        yield Reading("tail", "the last key is dropped", part(facts, "tail", j < keys - 1))
        yield Reading("tail", "the first key is dropped", part(facts, "tail", j >= 1))
    for tile in TILES:
        rest = keys % tile
        if rest > 1 and keys > tile:
            sentence = f"the tail tile is dropped: the last S % {tile} keys"
            yield Reading("tail", sentence, part(facts, "tail", j < keys - rest))
        if rest:
            sentence = f"keys padded with zeros to a multiple of {tile} take weight"
            yield Reading("tail", sentence, replace(facts, weigh=partial(_padded, extra=tile - rest)))
        if keys > tile:
            sentence = f"keys from {tile} on are never read"
            yield Reading("tail", sentence, part(facts, "tail", j < tile))


def _padded(logits: Array, allowed: Array, sink: Array, *, extra: int) -> Weights:
    """Padding keys have the logit 0 and the value 0: they take part in the normaliser only."""
    zeros = np.where(np.isneginf(sink), 0.0, np.exp(sink)) + extra
    return spec_softmax(logits, allowed, np.log(zeros))


def masks(facts: Facts) -> Readings:
    """A mask read otherwise."""
    if "mask" not in facts.parts:
        return
    whole = np.asarray(facts.call.mask)
    mask = of_rows(whole, facts.rows)
    b, h, t, s = whole.shape
    yield Reading("mask", "the mask's polarity is inverted: True is taken for masked", part(facts, "mask", ~mask))
    yield Reading("mask", "the mask is ignored", part(facts, "mask", None))
    axes = (("batch entry", 0, b), ("head", 1, h), ("row", 2, t), ("key", 3, s))
    for what, axis, n in axes:
        if n > 1:
            first, flipped = np.take(whole, [0], axis), np.flip(whole, axis)
            yield Reading("mask", f"the mask of {what} 0 is used for all", _with_mask(facts, first))
            yield Reading("mask", f"the mask's {what} axis is reversed", _with_mask(facts, flipped))
    if t == s and t > 1:
        yield Reading("mask", "the mask is transposed", _with_mask(facts, np.swapaxes(whole, -1, -2)))
    if b > 1 and h > 1:
        mixed = _by_flat_index(mask, facts)
        yield Reading("mask", "the mask of batch entry b·H + h is read modulo B", part(facts, "mask", mixed))
    if "causal" in facts.parts:
        either = part(part(facts, "causal", None), "mask", mask | facts.parts["causal"])
        yield Reading("mask", "mask and causality are joined by OR instead of AND", either)
        yield Reading("mask", "the mask replaces causality", part(facts, "causal", None))
    added = replace(part(facts, "mask", None), join=_mask_as_number)
    yield Reading("mask", "the mask is added as 0 and 1 instead of removing keys", added)
    times = replace(part(facts, "mask", None), join=_mask_as_factor)
    yield Reading("mask", "logits are multiplied by the mask instead of removed", times)
    yield from _skipped_rows(facts, mask)


def _with_mask(facts: Facts, whole: Array) -> Facts:
    return part(facts, "mask", of_rows(whole, facts.rows))


def _by_flat_index(mask: Array, facts: Facts) -> Array:
    s = facts.call.sizes
    b, h = np.arange(s.B)[:, None], np.arange(s.Hq)[None, :]
    return np.asarray(mask[(b * s.Hq + h) % s.B, h % mask.shape[1]])


def _skipped_rows(facts: Facts, mask: Array) -> Readings:
    """One row whose mask is not looked at."""
    last = facts.call.sizes.Tq - 1
    for name, row in (("first", 0), ("last", last)):
        every = np.broadcast_to(mask, (*mask.shape[:2], len(facts.rows), mask.shape[3])).copy()
        every[:, :, facts.rows == row] = True
        yield Reading("mask", f"the mask is ignored in the {name} row", part(facts, "mask", every))


def _mask_as_number(facts: Facts, capped: Array, allowed: Array) -> tuple[Array, Array]:
    mask = of_rows(np.asarray(facts.call.mask, np.float64), facts.rows)
    return masked(capped + facts.bias + mask, allowed), allowed


def _mask_as_factor(facts: Facts, capped: Array, allowed: Array) -> tuple[Array, Array]:
    mask = of_rows(np.asarray(facts.call.mask, np.float64), facts.rows)
    return masked((capped + facts.bias) * mask, allowed), allowed


def lengths(facts: Facts) -> Readings:
    """Lengths read otherwise."""
    call, s = facts.call, facts.call.sizes
    for name, given in (("kv_lengths", call.kv_lengths), ("q_lengths", call.q_lengths)):
        if given is None:
            continue
        yield Reading("lengths", f"{name} is ignored", part(facts, name, None))
        changes = {"one too long": given + 1, "one too short": given - 1, "of batch entry 0 used for all": given[:1]}
        index = np.arange(s.S) if name == "kv_lengths" else facts.rows[:, None]
        for how, value in changes.items():
            yield Reading("lengths", f"{name} is {how}", part(facts, name, index < value[:, None, None, None]))
    if call.q_segments is not None:
        yield Reading("segments", "segments are ignored", part(facts, "segments", None))
        first = facts.parts["segments"][:1]
        yield Reading("segments", "the segments of batch entry 0 are used for all", part(facts, "segments", first))
        ordered = (call.q_segments[:, facts.rows, None] >= call.kv_segments[:, None, :])[:, None]
        yield Reading("segments", "a query sees earlier segments too", part(facts, "segments", ordered))
