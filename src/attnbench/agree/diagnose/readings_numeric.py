"""Wrong readings of the arithmetic: too few bits, no maximum, weights that leak from outside the allowed set.

Readings of rounding cannot be held to an element's bound, since a value near a tie may round either way; they must
explain almost all of the error instead (``explains_share`` in ``attnbench.agree.diagnose.output``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from attnbench.agree.diagnose.readings_allowed import Reading
from attnbench.agree.rules.facts import Facts, Weights, answer, masked, spec_softmax
from attnbench.attention.arrays import Array
from attnbench.attention.precision import SMALLEST_NORMAL, numpy_dtype, wide

# Logits near these leave it to rounding whether exp or a sum of some overflows or vanishes.
OVERFLOW = {"float64": (690.0, 725.0, 765.0), "float32": (78.0, 85.0, 110.0)}


def overflows(facts: Facts) -> Iterator[Reading]:
    """The softmax without its maximum, and products beyond the range of float16."""
    level = wide(facts.call.dtype)
    top = answer(facts).softmax.row_max
    # Low logits alone tell nothing: whoever drops what is low answers the same.
    if not (np.isfinite(top) & (top > OVERFLOW[level][0])).any():
        return
    for sentence, zero in (("", 0.0), (", and 0/0", np.nan)):
        bare = replace(facts, weigh=partial(_no_max, level=level, zero=zero), add=_plain)
        yield Reading("overflow", f"no maximum is subtracted: exp overflows{sentence}", bare)
    if facts.call.dtype == "float16":
        half = replace(facts, stored=lambda x: x.astype(np.float16).astype(np.float64))
        yield Reading("overflow", "scores overflow in float16", half)


def _no_max(logits: Array, allowed: Array, sink: Array, *, level: str, zero: float) -> Weights:
    right = spec_softmax(logits, allowed, sink)
    terms = np.where(allowed, np.exp(logits.astype(level)), 0)
    total = terms.sum(-1, keepdims=True) + np.exp(sink.astype(level))[..., None]
    near, _, low = OVERFLOW[level]
    top = right.row_max
    left_open = ((top > near) & (top < OVERFLOW[level][1] + 8)) | ((top < -near) & (top > -low))
    weights = np.where(total == 0, zero, terms / np.where(total == 0, 1, total))
    empty = ~np.any(allowed, axis=-1)
    return replace(right, weights=weights.astype(np.float64), open=(left_open & np.isfinite(top)) | empty)


def _plain(weights: Array, v: Array, allowed: Array) -> Array:
    """A product that keeps 0·NaN."""
    del allowed
    return np.asarray(weights @ v)


def leaks(facts: Facts, penalty: tuple[str, float] | None = None) -> Iterator[Reading]:
    """What lies outside A is seen: through 0 · NaN, or through a finite penalty that the probe measured."""
    if np.isnan(facts.v).any():
        sentence = "a NaN in v outside the allowed set leaks: 0 · NaN is added"
        yield Reading("leak", sentence, replace(facts, add=_plain))
        guarded = replace(facts, add=_plain, dead=lambda _, a: np.zeros_like(a.output))
        yield Reading("leak", f"{sentence} (but to rows without a key)", guarded)
    if np.isnan(facts.k).any():
        added = replace(facts, join=_added_mask, weigh=_plain_softmax, add=_plain)
        yield Reading("leak", "a NaN in k outside the allowed set leaks: the mask is added to NaN", added)
    if penalty is None:
        return
    how, size = penalty
    if how == "minus":
        sentence = f"masked logits get −{size:.4g} instead of −inf: what is outside shines through"
    else:
        sentence = f"masked logits become {size:.4g} instead of −inf: what is outside shines through"
    leaking = replace(facts, join=partial(_finite_mask, how=how, size=size))
    yield Reading("leak", sentence, leaking)
    guarded = replace(leaking, dead=lambda _, a: np.zeros_like(a.output))
    yield Reading("leak", f"{sentence} (but in rows without a key)", guarded)


def _added_mask(facts: Facts, capped: Array, allowed: Array) -> tuple[Array, Array]:
    return capped + facts.bias + np.where(allowed, 0.0, -np.inf), allowed


def _plain_softmax(logits: Array, allowed: Array, sink: Array) -> Weights:
    del allowed
    return spec_softmax(logits, np.ones(logits.shape, bool), sink)


def _finite_mask(facts: Facts, capped: Array, allowed: Array, *, how: str, size: float) -> tuple[Array, Array]:
    logits = capped + np.where(np.isneginf(facts.bias), 0.0, facts.bias)
    outside = logits - size if how == "minus" else np.full_like(logits, size)
    return np.where(allowed, logits, outside), np.ones(allowed.shape, bool)


# Rounding


def rounded(dtype: str) -> Callable[[Array], Array]:
    """To the nearest of a dtype and back."""
    return lambda x: x.astype(numpy_dtype(dtype)).astype(np.float64)


def tf32(x: Array) -> Array:
    """To the 10 stored bits of TF32."""
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)


def cut(x: Array) -> Array:
    """To TF32 by truncation."""
    bits = x.astype(np.float32).view(np.uint32)
    return (bits & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)


def roundings(facts: Facts) -> Iterator[Reading]:
    """Intermediate results kept with too few bits."""
    low: dict[str, Callable[[Array], Array]] = {"bfloat16": rounded("bfloat16"), "float16": rounded("float16")}
    if facts.call.dtype == "float64":
        low["float32"] = rounded("float32")
    factors: dict[str, Callable[[Array], Array]] = {
        "11 bits, as TF32 and float16 have them": tf32,
        "11 bits by truncation": cut,
        **{name: to for name, to in low.items() if name != "float16"},
    }
    # First, since whatever is rounded to float16 loses them too.
    flushed = replace(facts, add=partial(_low_output, to=partial(_flushed, dtype=facts.call.dtype)))
    yield Reading("precision", f"subnormal numbers of {facts.call.dtype} become 0 in the output", flushed)
    for name, to in low.items():
        yield Reading("precision", f"logits are rounded to {name}", replace(facts, stored=to))
        yield Reading("precision", f"logits with the bias are rounded to {name}", replace(facts, join=_late(to)))
        weights = replace(facts, weigh=partial(_low_weights, to=to))
        yield Reading("precision", f"the weights are rounded to {name} before P·V", weights)
        terms = replace(facts, weigh=partial(_low_terms, to=to))
        yield Reading("precision", f"exp(s − m) is rounded to {name} before the sum", terms)
        apart = replace(facts, weigh=partial(_low_terms, to=to, summed=False))
        yield Reading("precision", f"exp(s − m) is rounded to {name} before P·V, and not before the sum", apart)
        out = replace(facts, add=partial(_low_output, to=to))
        yield Reading("precision", f"the output passes through {name}", out)
    for name, to in factors.items():
        yield Reading("precision", f"q and k are rounded to {name}", replace(facts, q=to(facts.q), k=to(facts.k)))
        yield Reading("precision", f"v is rounded to {name}", replace(facts, v=to(facts.v)))
        every = replace(facts, q=to(facts.q), k=to(facts.k), v=to(facts.v))
        yield Reading("precision", f"q, k and v are rounded to {name}", every)
        both = replace(every, weigh=partial(_low_weights, to=to))
        yield Reading("precision", f"all factors of both products are rounded to {name}", both)


def _flushed(x: Array, *, dtype: str) -> Array:
    return np.where(np.abs(x) < SMALLEST_NORMAL[dtype], 0.0, x)


def _low_output(weights: Array, v: Array, allowed: Array, *, to: Callable[[Array], Array]) -> Array:
    del allowed
    return to(np.asarray(weights @ v))


def _late(to: Callable[[Array], Array]) -> Callable[[Facts, Array, Array], tuple[Array, Array]]:
    def join(facts: Facts, capped: Array, allowed: Array) -> tuple[Array, Array]:
        logits = capped + np.where(np.isneginf(facts.bias), 0, facts.bias)
        return masked(to(logits), allowed), allowed

    return join


def _low_weights(logits: Array, allowed: Array, sink: Array, *, to: Callable[[Array], Array]) -> Weights:
    right = spec_softmax(logits, allowed, sink)
    return replace(right, weights=to(right.weights))


def _low_terms(
    logits: Array, allowed: Array, sink: Array, *, to: Callable[[Array], Array], summed: bool = True
) -> Weights:
    right = spec_softmax(logits, allowed, sink)
    shift = np.where(np.isneginf(right.row_max), 0.0, right.row_max)
    exact = np.where(allowed, np.exp(logits - shift[..., None]), 0.0)
    terms = np.where(allowed, to(exact), 0.0)
    total = (terms if summed else exact).sum(-1) + np.exp(sink - shift)
    return replace(right, weights=terms / np.where(total == 0, 1.0, total)[..., None])


def fit_penalty(facts: Facts, attention: Array) -> tuple[str, float] | None:
    """The finite penalty outside A that an attention matrix shows: of masked logits, or in their place."""
    right = answer(facts)
    logits = right.capped + np.where(np.isneginf(facts.bias), 0.0, facts.bias)
    seen = ~right.allowed & (attention > 0) & np.isfinite(attention) & np.isfinite(right.softmax.lse)[..., None]
    if not seen.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.log(np.where(seen, attention, 1.0)) + np.where(seen, right.softmax.lse[..., None], 0.0)
    minus, instead = (logits - level)[seen], level[seen]
    spread = 1e-2
    if np.ptp(minus) < spread:
        return "minus", float(f"{np.median(minus):.5g}")
    if np.ptp(instead) < spread:
        return "instead", float(f"{np.median(instead):.5g}")
    return None
