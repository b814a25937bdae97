"""Mutants: attention with one planted fault each, to show that the check can fail.

Every mutant stands for a kind of bug that real attention code has had. ``attnbench check`` must find each in every
dtype where it applies, and must pass the control, from which they differ by one step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attnbench.agree.eager import Array, Eager, State
from attnbench.call import Call
from attnbench.implementation import AttentionOutput, Implementation
from attnbench.precision import numpy_dtype


class MeanOfValues(Eager):
    """The mean of the allowed values, no softmax."""

    kind = "no softmax"

    def softmax(self, logits: Array, allowed: Array) -> tuple[Array, Array]:
        """Uniform weights."""
        count = np.maximum(allowed.sum(-1, keepdims=True), 1)
        return (allowed / count).astype(logits.dtype), super().softmax(logits, allowed)[1]


class Argmax(Eager):
    """All the weight on the largest logit."""

    kind = "no softmax"

    def softmax(self, logits: Array, allowed: Array) -> tuple[Array, Array]:
        """One-hot weights."""
        best = np.argmax(logits, -1)[..., None] == np.arange(logits.shape[-1])
        return (best & allowed).astype(logits.dtype), super().softmax(logits, allowed)[1]


class ScaleMissing(Eager):
    """q·k without 1/√D."""

    kind = "scale"

    def scale(self, call: Call) -> float:
        """1, whatever was asked."""
        del call
        return 1.0


class ScaleTwice(Eager):
    """The scale applied to q and to the product."""

    kind = "scale"

    def scale(self, call: Call) -> float:
        """The square."""
        return super().scale(call) ** 2


class ScaleOffByOne(Eager):
    """1/√(D+1)."""

    kind = "scale"

    def scale(self, call: Call) -> float:
        """As if the head were one wider."""
        return super().scale(call) * math.sqrt(call.sizes.D / (call.sizes.D + 1))


class ScaleOfModel(Eager):
    """1/√(H·D): the width of the model instead of the head."""

    kind = "scale"

    def scale(self, call: Call) -> float:
        """As if the model's width were the head's."""
        return super().scale(call) / math.sqrt(call.sizes.Hq)


class CausalStrict(Eager):
    """A query does not see its own position."""

    kind = "causal"

    def causal(self, call: Call) -> Array | None:
        """j < p instead of j <= p."""
        return np.arange(call.sizes.S) < self.positions(call) if call.spec.causal else None


class CausalPeeks(Eager):
    """A query sees one key of the future."""

    kind = "causal"

    def causal(self, call: Call) -> Array | None:
        """j <= p + 1."""
        return np.arange(call.sizes.S) <= self.positions(call) + 1 if call.spec.causal else None


class CausalWrongCorner(Eager):
    """The causal diagonal starts at the other corner."""

    kind = "alignment"

    def positions(self, call: Call) -> Array:
        """top_left for bottom_right and the reverse."""
        shift = call.sizes.S - call.sizes.Tq
        other = np.where(np.reshape(call.offset, (-1, 1, 1, 1)) == shift, -shift, shift)
        return super().positions(call) + other


class CausalIgnored(Eager):
    """causal is accepted and forgotten."""

    kind = "causal"

    def causal(self, call: Call) -> Array | None:
        """Nothing."""
        del call
        return None


class WindowOffByOne(Eager):
    """A window exclusive on the left."""

    kind = "window"

    def window(self, call: Call) -> Array | None:
        """One key less on the left."""
        inside, (left, _) = super().window(call), call.spec.window or (None, None)
        if inside is None or left is None:
            return inside
        return inside & (np.arange(call.sizes.S) - self.positions(call) > -left)


class LastKeyDropped(Eager):
    """The tail tile is one key short where S % 32 == 1."""

    kind = "tail"

    def lengths(self, call: Call) -> Array | None:
        """Without the last key, in the sizes that show it."""
        tail = np.arange(call.sizes.S) < call.sizes.S - (call.sizes.S % 32 == 1 and call.sizes.S > 1)
        within = super().lengths(call)
        return tail if within is None else within & tail


class FirstKeyDropped(Eager):
    """The loop over keys starts at 1."""

    kind = "tail"

    def lengths(self, call: Call) -> Array | None:
        """Without the first key."""
        later = np.arange(call.sizes.S) >= min(1, call.sizes.S - 1)
        within = super().lengths(call)
        return later if within is None else within & later


class HeadsTiled(Eager):
    """GQA by tile instead of repeat: head h reads h % Hkv."""

    kind = "heads"

    def heads_of_keys(self, array: Array, call: Call) -> Array:
        """The wrong map."""
        return np.tile(array, (1, call.sizes.group, 1, 1))


class MaskInverted(Eager):
    """True means masked."""

    kind = "mask"

    def mask(self, call: Call) -> Array | None:
        """The other polarity."""
        return None if call.mask is None else ~np.asarray(call.mask)


class MaskOfFirstBatch(Eager):
    """The mask of batch entry 0 for all of them."""

    kind = "mask"

    def mask(self, call: Call) -> Array | None:
        """Only the first."""
        return None if call.mask is None else np.asarray(call.mask)[:1]


class SoftcapAfterMask(Eager):
    """−inf is capped to −c, so masked keys get weight."""

    kind = "softcap"

    def cap(self, scores: Array, call: Call) -> Array:
        """Not here."""
        del call
        return scores

    def mask_logits(self, logits: Array, allowed: Array, call: Call) -> Array:
        """Mask, then cap."""
        masked = super().mask_logits(logits, allowed, call)
        return super().cap(masked, call) if call.spec.softcap is not None else masked

    def softmax(self, logits: Array, allowed: Array) -> tuple[Array, Array]:
        """Over everything that is not −inf."""
        return super().softmax(logits, allowed | ~np.isneginf(logits))


class SoftcapWithoutFactor(Eager):
    """tanh(s/c) without c."""

    kind = "softcap"

    def cap(self, scores: Array, call: Call) -> Array:
        """Values in (−1, 1)."""
        return scores if call.spec.softcap is None else np.tanh(scores / call.spec.softcap)


class BiasIgnored(Eager):
    """bias is accepted and forgotten."""

    kind = "bias"

    def add_bias(self, capped: Array, call: Call) -> Array:
        """Nothing is added."""
        del call
        return capped


class DeadRowsNaN(Eager):
    """0/0 in a row without keys."""

    kind = "dead row"

    def dead_rows(self, output: Array, allowed: Array, v: Array) -> Array:
        """NaN."""
        return np.where(np.any(allowed, axis=-1, keepdims=True), output, np.nan).astype(v.dtype)


class DeadRowsMean(Eager):
    """A row without keys attends to all of them alike."""

    kind = "dead row"

    def dead_rows(self, output: Array, allowed: Array, v: Array) -> Array:
        """The mean of all values."""
        return np.where(np.any(allowed, axis=-1, keepdims=True), output, v.mean(-2, keepdims=True))


class LseBaseTwo(Eager):
    """lse in base 2."""

    kind = "lse"

    def softmax(self, logits: Array, allowed: Array) -> tuple[Array, Array]:
        """log2."""
        weights, lse = super().softmax(logits, allowed)
        return weights, (lse / math.log(2)).astype(lse.dtype)


class NoMaxSubtraction(Eager):
    """exp of the logits as they are: overflows."""

    kind = "overflow"

    def softmax(self, logits: Array, allowed: Array) -> tuple[Array, Array]:
        """Without the row maximum."""
        terms = np.where(allowed, np.exp(logits), 0)
        total = terms.sum(-1, keepdims=True)
        return terms / np.where(total == 0, 1, total), np.log(total)[..., 0]


class LeakingNaN(Eager):
    """0 · NaN: what lies outside A is multiplied by a weight of 0."""

    kind = "leak"

    def weighted_sum(self, weights: Array, v: Array, allowed: Array) -> Array:
        """A plain product."""
        del allowed
        return np.asarray(weights @ v)


class GarbageLeaks(Eager):
    """Masked logits get −30 instead of −inf: a large value outside A shines through."""

    kind = "leak"

    def mask_logits(self, logits: Array, allowed: Array, call: Call) -> Array:
        """A finite penalty on the logit itself."""
        del call
        return np.where(allowed, logits, logits - 30)

    def softmax(self, logits: Array, allowed: Array) -> tuple[Array, Array]:
        """Over all keys."""
        return super().softmax(logits, np.ones_like(allowed))


class LogitsInBfloat16(Eager):
    """Logits rounded to bfloat16 between two passes."""

    kind = "precision"

    def mask_logits(self, logits: Array, allowed: Array, call: Call) -> Array:
        """Rounded."""
        return super().mask_logits(logits.astype(numpy_dtype("bfloat16")).astype(logits.dtype), allowed, call)


class TF32(Eager):
    """q and k with 10 bits of mantissa, passed off as float32."""

    kind = "precision"

    def product(self, q: Array, k: Array) -> Array:
        """Truncated factors."""
        return super().product(_tf32(q), _tf32(k))


def _tf32(x: Array) -> Array:
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32).astype(x.dtype)


class EarlierResult(Eager):
    """A buffer kept by shape gives the answer of an earlier call."""

    kind = "state"

    def __init__(self) -> None:
        self._kept: dict[tuple[int, ...], Array] = {}

    def finish(self, output: Array, dtype: Any) -> Array:
        """The first output of this shape, for ever."""
        return self._kept.setdefault(output.shape, output).astype(dtype)


class PartlyUnwritten(Eager):
    """The last tile of the output is never written."""

    kind = "state"

    def finish(self, output: Array, dtype: Any) -> Array:
        """Zeros in the last rows of long sequences."""
        if output.shape[2] > 32:  # noqa: PLR2004  (a tile)
            output[:, :, 32:] = 0
        return output.astype(dtype)


class InputChanged(Eager):
    """q is scaled in place."""

    kind = "input"

    def attend(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        """The right answer, and a changed q."""
        result = super().attend(q, k, v, call)
        q *= q.dtype.type(0.5)
        return result


class WrongDtype(Eager):
    """float32 out, whatever came in (float64 for float32)."""

    kind = "dtype"

    def finish(self, output: Array, dtype: Any) -> Array:
        """Another dtype."""
        return output.astype(np.float64 if dtype == np.float32 else np.float32)


class TransposedOutput(Eager):
    """(B, T, H, D) where (B, H, T, D) was asked for."""

    kind = "layout"

    def finish(self, output: Array, dtype: Any) -> Array:
        """Heads and queries swapped."""
        return np.ascontiguousarray(np.swapaxes(output, 1, 2)).astype(dtype)


class Noise(Eager):
    """Random noise of 1e-2 relative."""

    kind = "noise"

    def finish(self, output: Array, dtype: Any) -> Array:
        """A little off everywhere."""
        noise = np.asarray(np.random.default_rng(0).standard_normal(output.shape))
        return np.asarray(output * (1 + 1e-2 * noise).astype(output.dtype), dtype)


class GradientWithoutNormaliser(Eager):
    """dS = P dP: the softmax's normaliser is not differentiated."""

    kind = "gradient"

    def delta(self, weights: Array, d_weights: Array) -> Array:
        """Nothing."""
        return np.zeros_like(super().delta(weights, d_weights))


class GradientUnscaled(Eager):
    """The scale is forgotten on the way back."""

    kind = "gradient"

    def scale_in_backward(self, call: Call) -> float:
        """1."""
        del call
        return 1.0


class GradientWithoutCap(Eager):
    """The cap is not differentiated."""

    kind = "gradient"

    def cap_slope(self, state: State) -> Array | float:
        """1."""
        del state
        return 1.0


class BiasGradientOfFirstBatch(Eager):
    """dbias is not summed over the axes on which the bias was broadcast."""

    kind = "gradient"

    def reduce_bias(self, d_logits: Array, shape: tuple[int, ...]) -> Array:
        """The first slice instead of the sum."""
        return np.asarray(d_logits[tuple(slice(0, n) for n in shape)])


class GroupGradientOfFirstHead(Eager):
    """dk and dv of the first query head of each group only."""

    kind = "gradient"

    def to_kv_heads(self, grad: Array, call: Call) -> Array:
        """No sum over the group."""
        return grad[:, :: call.sizes.group]


# A fault of float32 or float64 arithmetic is no fault in a dtype that is coarser anyway.
WIDE_ONLY = {
    "LogitsInBfloat16": ("float64", "float32"),
    "TF32": ("float64", "float32"),
    "NoMaxSubtraction": ("float64", "float32", "bfloat16", "float16"),
}


def all_mutants() -> dict[str, type[Eager]]:
    """Every mutant by its name."""
    return {one.__name__: one for one in Eager.__subclasses__()}


def mutant(name: str) -> Implementation:
    """A fresh mutant as an implementation ``numpy/<name>``."""
    return all_mutants()[name]().implementation(name)


def applies(name: str, dtype: str) -> bool:
    """Whether the fault is one in this dtype."""
    return dtype in WIDE_ONLY.get(name, ("float64", "float32", "bfloat16", "float16"))
