"""Wrong readings of the spec: what kernels of the field have done instead, each as one changed fact.

Every function takes the facts of a call and yields the readings that differ from the spec there. None of them is a
guess: ``diagnose.kind`` names one only if its result explains what a kernel returned within the bound, on several
inputs, and no reading of another kind does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from attnbench.agree.diagnose.readings_allowed import (
    Reading,
    Readings,
    alignments,
    causals,
    lengths,
    masks,
    part,
    tails,
    windows,
)
from attnbench.agree.rules.facts import Computed, Facts, Weights, masked, of_rows, spec_softmax, with_scale
from attnbench.attention.arrays import Array
from attnbench.attention.precision import LARGEST


def all_readings(facts: Facts) -> Readings:
    """Every reading that applies to these facts."""
    for family in FAMILIES:
        yield from family(facts)


# Scale


def scaled(facts: Facts, factor: float, sentence: str) -> Reading:
    """The scale times a factor."""
    return Reading("scale", sentence, replace(facts, scale=facts.scale * factor))


def scales(facts: Facts) -> Readings:
    """Factors that kernels have used instead of the one asked for."""
    call, spec = facts.call, facts.call.spec
    if spec.scale == "log_n":
        flat = np.reshape(np.asarray(call.scale, np.float64), (1, -1, 1, 1))
        yield Reading("log n", "ln n is left out of the scale", replace(facts, scale=flat * np.ones((1, 1, 1, 1))))
        whole = np.full((1, 1, 1, 1), call.sizes.S)
        yield Reading("log n", "the scale's n counts all keys", with_scale(facts, flat, whole))
        yield scaled(facts, 1 / math.log(2), "the scale takes log2 n instead of ln n")
        return
    given = np.atleast_1d(np.asarray(call.scale, np.float64))
    if given.size > 1:
        yield Reading("scale", "the scale of head 0 is used for all heads", replace(facts, scale=facts.scale[:, :1]))
    if (given < 0).any():
        yield Reading("scale", "the sign of the scale is ignored", replace(facts, scale=np.abs(facts.scale)))
    d, h = call.sizes.D, call.sizes.Hq
    named = {
        "the scale is missing: scores are not scaled at all": 1.0,
        "the scale asked for is ignored: 1/√D is used": 1 / math.sqrt(d),
        "the scale is 1/√(D+1)": 1 / math.sqrt(d + 1),
        "the scale is 1/D": 1 / d,
        "the scale is 1/√(H·D), the width of the model instead of the head": 1 / math.sqrt(h * d),
        "the scale is 1/√Dv": 1 / math.sqrt(max(call.sizes.Dv, 1)),
        "the scale is √D instead of 1/√D": math.sqrt(d),
    }
    for sentence, value in named.items():
        yield Reading("scale", sentence, replace(facts, scale=np.full((1, 1, 1, 1), value)))
    yield Reading("scale", "the scale is applied twice", replace(facts, scale=facts.scale**2))
    yield Reading("scale", "the root of the scale is applied", replace(facts, scale=np.sqrt(np.abs(facts.scale))))


# Heads


def heads(facts: Facts) -> Readings:
    """Another map from query heads to key/value heads."""
    s = facts.call.sizes
    h = np.arange(s.Hq)
    maps = {
        "query head h reads kv head h % Hkv instead of h // group": h % s.Hkv,
        "every query head reads kv head 0": h * 0,
        "query heads read the kv heads in reverse": (h // s.group)[::-1],
    }
    for sentence, index in maps.items():
        if not np.array_equal(index, h // s.group):
            changed = replace(facts, k=facts.keys[:, index], v=facts.values[:, index])
            yield Reading("heads", sentence, changed)
            yield Reading("heads", f"of the keys, {sentence}", replace(facts, k=facts.keys[:, index]))
            yield Reading("heads", f"of the values, {sentence}", replace(facts, v=facts.values[:, index]))
    if s.Hq > 1:
        orders = {"reversed": h[::-1], "shifted by one": np.roll(h, 1), "swapped in pairs": _pairs(s.Hq)}
        for name, order in orders.items():
            swapped = replace(facts, add=partial(_reordered, order=order))
            yield Reading("heads", f"the output's heads are {name}", swapped)


def _pairs(n: int) -> Array:
    order = np.arange(n)
    even = n - n % 2
    order[:even] = order[:even].reshape(-1, 2)[:, ::-1].ravel()
    return order


def _reordered(weights: Array, v: Array, allowed: Array, *, order: Array) -> Array:
    del allowed
    return np.asarray((weights @ v)[:, order])


# Softcap and bias


def softcaps(facts: Facts) -> Readings:
    """The cap at another place, or another cap."""
    cap = facts.cap
    if cap is None:
        return
    yield Reading("softcap", "softcap is ignored", replace(facts, cap=None))
    without = replace(facts, cap=None, stored=lambda x: np.tanh(x / cap))
    yield Reading("softcap", "softcap is applied without c: tanh(s/c) instead of c·tanh(s/c)", without)
    clipped = replace(facts, cap=None, stored=lambda x: np.clip(x, -cap, cap))
    yield Reading("softcap", "scores are clipped at ±c instead of capped by tanh", clipped)
    inverse = replace(facts, cap=None, stored=lambda x: cap * np.tanh(x * cap))
    yield Reading("softcap", "softcap multiplies by c inside tanh instead of dividing", inverse)
    early = replace(facts, cap=None, scale=np.ones((1, 1, 1, 1)), stored=lambda x: cap * np.tanh(x / cap) * facts.scale)
    yield Reading("softcap", "softcap is applied before the scale", early)
    after = replace(facts, cap=None, join=partial(_cap_late, cap=cap, everywhere=True))
    yield Reading("softcap", "softcap is applied after the mask: a masked key gets the logit −c", after)
    if facts.call.bias is not None or facts.call.slopes is not None:
        late = replace(facts, cap=None, join=partial(_cap_late, cap=cap, everywhere=False))
        yield Reading("softcap", "softcap is applied after the bias", late)


def _cap_late(facts: Facts, capped: Array, allowed: Array, *, cap: float, everywhere: bool) -> tuple[Array, Array]:
    bias = np.where(np.isneginf(facts.bias), 0, facts.bias)
    logits = cap * np.tanh(masked(capped + bias, allowed) / cap)
    if everywhere:
        return logits, np.ones_like(allowed)
    return masked(logits, allowed), allowed


def biases(facts: Facts) -> Readings:
    """A bias read otherwise."""
    call = facts.call
    if call.slopes is not None:
        yield from _slopes(facts)
    if call.bias is None:
        return
    none = np.zeros((1, 1, 1, 1))
    yield Reading("bias", "bias is ignored", part(replace(facts, bias=none), "bias", None))
    yield Reading("bias", "bias is ignored but for its −inf", replace(facts, bias=none))
    yield Reading("bias", "bias is subtracted", replace(facts, bias=-_finite(facts.bias)))
    yield Reading("bias", "bias is added twice", replace(facts, bias=2 * facts.bias))
    within = replace(facts, bias=_finite(facts.bias) * facts.scale)
    yield Reading("bias", "bias is added before the scale", within)
    for what, axis in (("batch entry", 0), ("head", 1), ("row", 2), ("key", 3)):
        if facts.bias.shape[axis] > 1 and call.bias.shape[axis] > 1:
            first = np.take(facts.bias, [0], axis)  # the first of some rows is the first of all
            changed = part(replace(facts, bias=first), "bias", ~np.isneginf(first))
            yield Reading("bias", f"the bias of {what} 0 is used for all", changed)
    if facts.whole and facts.bias.shape[2] == facts.bias.shape[3] > 1:
        turned = np.swapaxes(facts.bias, 2, 3)
        yield Reading("bias", "the bias is transposed", part(replace(facts, bias=turned), "bias", ~np.isneginf(turned)))


def low_biases(facts: Facts) -> Readings:
    """Finite biases that are so low that a kernel overflows with them, or takes them for −inf."""
    if facts.call.bias is None:
        return
    largest = LARGEST[facts.call.dtype]
    levels = {
        "times log2 e": largest * math.log(2),
        "in float16": LARGEST["float16"],
        "in float32": LARGEST["float32"],
        "where it is below −1e9": 1e9,
        "where it is below −1e4": 1e4,
    }
    for where, level in levels.items():
        low = (facts.bias < -level) & ~np.isneginf(facts.bias)
        if not low.any() or (level >= largest and where != "times log2 e"):
            continue
        for what, empty in (("NaN", np.nan), ("0", 0.0), ("the mean of its values", None)):
            lost = replace(facts, join=partial(_lost_bias, low=low), weigh=partial(_emptied, empty=empty))
            sentence = f"a finite low bias becomes −inf {where}, and a row of nothing else {what}"
            yield Reading("bias overflow", sentence, lost)
        absent = replace(facts, bias=np.where(low, 0.0, facts.bias))
        yield Reading("bias overflow", f"a finite low bias becomes 0 {where}", absent)


def _lost_bias(facts: Facts, capped: Array, allowed: Array, *, low: Array) -> tuple[Array, Array]:
    """The logits of low biases are −inf, though their keys are in A."""
    return masked(capped + _finite(facts.bias), allowed & ~low), allowed


def _emptied(logits: Array, allowed: Array, sink: Array, *, empty: float | None) -> Weights:
    """The softmax, and what becomes of a row of which every allowed logit is −inf."""
    right = spec_softmax(logits, allowed, sink)
    lost = (np.isneginf(right.row_max) & np.any(allowed, axis=-1))[..., None]
    mean = allowed / np.maximum(allowed.sum(-1, keepdims=True), 1)
    return replace(right, weights=np.where(lost, mean if empty is None else empty, right.weights))


def _finite(bias: Array) -> Array:
    return np.where(np.isneginf(bias), 0.0, bias)


def _slopes(facts: Facts) -> Readings:
    given = facts.call.bias
    bias = np.zeros((1, 1, 1, 1)) if given is None else _finite(of_rows(given, facts.rows).astype(np.float64))
    alibi = _finite(facts.bias) - bias
    slope = facts.call.slopes.astype(np.float64)[None, :, None, None]
    signed = slope * (np.arange(facts.call.sizes.S) - facts.position)
    yield Reading("alibi", "ALiBi is ignored", replace(facts, bias=bias))
    yield Reading("alibi", "ALiBi has the wrong sign", replace(facts, bias=bias - alibi))
    yield Reading("alibi", "ALiBi takes the signed distance", replace(facts, bias=bias + signed))
    yield Reading("alibi", "the ALiBi slope of head 0 is used for all", replace(facts, bias=bias + alibi[:, :1]))


# Softmax, sinks, dropout, rows without a key


def softmaxes(facts: Facts) -> Readings:
    """Something else than the softmax."""
    yield Reading("no softmax", "no softmax: the mean of the allowed values", replace(facts, weigh=_mean))
    yield Reading("no softmax", "no softmax: the value of the largest logit alone", replace(facts, weigh=_argmax))
    yield Reading("no softmax", "the softmax is not normalised: exp(s − m) without 1/Z", replace(facts, weigh=_raw_exp))
    yield Reading("no softmax", "no softmax: the logits themselves weigh the values", replace(facts, weigh=_linear))
    if facts.whole:  # it takes all queries
        by_query = replace(facts, weigh=_by_query)
        yield Reading("axis", "the softmax runs over the queries instead of the keys", by_query)
    base = replace(facts, weigh=partial(_power, base=2.0))
    yield Reading("softmax base", "the softmax takes powers of 2 instead of e", base)
    plus_one = replace(facts, weigh=lambda x, a, s: spec_softmax(x, a, np.logaddexp(s, 0.0)))
    yield Reading("softmax", "one is added to the normaliser", plus_one)
    late = replace(facts, join=_unmasked, weigh=_masked_after)
    yield Reading("softmax", "the mask is applied after the softmax: weights do not sum to 1", late)


def _mean(logits: Array, allowed: Array, sink: Array) -> Weights:
    right = spec_softmax(logits, allowed, sink)
    return replace(right, weights=allowed / np.maximum(allowed.sum(-1, keepdims=True), 1))


def _argmax(logits: Array, allowed: Array, sink: Array) -> Weights:
    best = np.argmax(logits, -1)[..., None] == np.arange(logits.shape[-1])
    return replace(spec_softmax(logits, allowed, sink), weights=(best & allowed).astype(np.float64))


def _raw_exp(logits: Array, allowed: Array, sink: Array) -> Weights:
    right = spec_softmax(logits, allowed, sink)
    top = np.where(np.isneginf(right.row_max), 0.0, right.row_max)[..., None]
    return replace(right, weights=np.where(allowed, np.exp(logits - top), 0.0))


def _linear(logits: Array, allowed: Array, sink: Array) -> Weights:
    return replace(spec_softmax(logits, allowed, sink), weights=np.where(allowed, logits, 0.0))


def _by_query(logits: Array, allowed: Array, sink: Array) -> Weights:
    top = np.max(logits, axis=-2, keepdims=True, initial=-np.inf)
    terms = np.where(allowed, np.exp(logits - np.where(np.isneginf(top), 0, top)), 0.0)
    total = terms.sum(-2, keepdims=True)
    return replace(spec_softmax(logits, allowed, sink), weights=terms / np.where(total == 0, 1, total))


def _power(logits: Array, allowed: Array, sink: Array, *, base: float) -> Weights:
    return spec_softmax(logits * math.log(base), allowed, sink * math.log(base))


def _unmasked(facts: Facts, capped: Array, allowed: Array) -> tuple[Array, Array]:
    return capped + _finite(facts.bias), allowed


def _masked_after(logits: Array, allowed: Array, sink: Array) -> Weights:
    every = spec_softmax(logits, np.ones(logits.shape, bool), sink)
    return replace(every, weights=np.where(allowed, every.weights, 0.0))


def sinks_and_dropout(facts: Facts) -> Readings:
    """Sinks and keep masks read otherwise."""
    none = np.full_like(facts.sink, -np.inf)
    if facts.call.sinks is not None:
        yield Reading("sinks", "the sinks are ignored", replace(facts, sink=none))
        yield Reading("sinks", "the sink of head 0 is used for all", replace(facts, sink=facts.sink[:, :1]))
        scaled_sink = facts.sink * np.mean(facts.scale)
        yield Reading("sinks", "the sinks are scaled like scores", replace(facts, sink=scaled_sink))
    if facts.call.keep is not None:
        rate, keep = facts.call.spec.dropout, facts.call.keep
        yield Reading("dropout", "the keep mask is ignored", replace(facts, keep=np.ones((1, 1, 1, 1))))
        yield Reading("dropout", "the kept weights are not divided by 1 − p", replace(facts, keep=keep * 1.0))
        yield Reading("dropout", "the keep mask is inverted", replace(facts, keep=~keep / (1 - rate)))
        yield Reading("dropout", "the kept weights are divided by p", replace(facts, keep=keep / rate))
        dropped = replace(facts, keep=np.ones((1, 1, 1, 1)), parts={**facts.parts, "keep": keep})
        yield Reading("dropout", "dropout is applied before the softmax", dropped)


def dead_rows(facts: Facts) -> Readings:
    """What a row without a key gives."""
    if np.any(facts.allowed, axis=-1).all():
        return
    some: dict[str, Callable[[Facts, Computed], Array]] = {
        "is NaN": lambda _, a: np.full_like(a.output, np.nan),
        "is the mean of all values": lambda f, a: np.broadcast_to(f.v.mean(-2, keepdims=True), a.output.shape),
        "attends to every key by its logit": _everything,
        "is the first value": lambda f, a: np.broadcast_to(f.v[:, :, :1], a.output.shape),
        "is the last value": lambda f, a: np.broadcast_to(f.v[:, :, -1:], a.output.shape),
        "is the sum of all values": lambda f, a: np.broadcast_to(f.v.sum(-2, keepdims=True), a.output.shape),
    }
    for what, value in some.items():
        yield Reading("dead row", f"a row without a key {what}", replace(facts, dead=value))


def _everything(facts: Facts, right: Computed) -> Array:
    logits = right.capped + _finite(facts.bias)
    return np.asarray(spec_softmax(logits, np.ones(logits.shape, bool), facts.sink).weights @ facts.v)


def learned_scores(facts: Facts) -> Readings:
    """Parameters of a learned score read otherwise."""
    p = {name: array.astype(np.float64) for name, array in facts.call.params.items()}
    score = facts.call.spec.score
    changes: dict[str, dict[str, Array]] = {}
    if score == "general":
        changes["W is transposed"] = {"W": np.swapaxes(p["W"], -1, -2)}
        changes["W is left out"] = {"W": np.broadcast_to(np.eye(p["W"].shape[-1]), p["W"].shape)}
    elif score == "additive":
        changes["the bias b is left out"] = {"b": np.zeros_like(p["b"])}
        changes["the vector v is left out: tanh is only summed"] = {"v": np.ones_like(p["v"])}
        changes["W_q and W_k are swapped"] = {"Wq": p["Wk"], "Wk": p["Wq"]}
    elif score == "concat":
        halves = np.split(p["W"], 2, axis=-2)
        changes["q and k are joined in the wrong order: [k; q]"] = {"W": np.concatenate(halves[::-1], -2)}
        changes["the vector v is left out: tanh is only summed"] = {"v": np.ones_like(p["v"])}
    elif score == "cosine":
        changes["the temperature is left out"] = {"temperature": np.ones_like(p["temperature"])}
        changes["it is divided by the temperature"] = {"temperature": 1 / p["temperature"]}
    changes["the parameters of head 0 are used for all"] = {name: array[:1] for name, array in p.items()}
    for what, new in changes.items() if p else ():
        call = replace(facts.call, params={**p, **new})
        yield Reading("learned score", f"score {score}: {what}", replace(facts, call=call))


FAMILIES: tuple[Callable[[Facts], Readings], ...] = (
    scales, causals, alignments, windows, tails, masks, lengths, heads, softcaps, biases, low_biases,
    softmaxes,
    sinks_and_dropout, dead_rows, learned_scores,
)  # fmt: skip
