"""Held-out NumPy kernels, wrong in what they read: positions, masks, heads, operands. And sound twins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from attnbench.api import Call, Capabilities
from attnbench.attention.arrays import Array
from tests.agree.plain_kernel import Plain, entered

CAUSAL, GQA = Capabilities(causal=True), Capabilities(gqa=True)
MASK, BIAS = Capabilities(mask=True), Capabilities(bias=True)
WINDOW, LENGTHS = Capabilities(window=True), Capabilities(lengths=True)
SINKS, SEGMENTS = Capabilities(sinks=True), Capabilities(segments=True)
FAULTY: list[type[Plain]] = []
wrong = entered(FAULTY)


@wrong
class TileStartForgotten(Plain):
    """Causality counts the queries of the third tile of 96 and of later ones from the start of their tile."""

    declares = CAUSAL

    def positions(self, call: Call) -> Array:
        rows = np.arange(call.sizes.Tq)
        rows = np.where(rows >= 192, rows % 96, rows)
        return rows[:, None] + np.reshape(call.offset, (-1, 1, 1, 1))


@wrong
class GroupOfFive(Plain):
    """Where five query heads share a key head, the last of them reads the next one."""

    declares = GQA

    def heads(self, call: Call) -> Array:
        heads = super().heads(call)
        if call.sizes.group != 5:
            return heads
        return np.asarray(np.minimum(heads + (np.arange(call.sizes.Hq) % 5 == 4), call.sizes.Hkv - 1))


@wrong
class WindowRightFalsy(Plain):
    """A right side of 0 is taken for none."""

    declares = WINDOW

    def allowed(self, call: Call) -> Array:
        left, right = call.spec.window or (None, None)
        window = (left, right or None)
        return super().allowed(replace(call, spec=replace(call.spec, window=window)))


@wrong
class EmptySequenceMean(Plain):
    """A sequence of length 0 becomes the mean of its padding."""

    declares = LENGTHS

    def allowed(self, call: Call) -> Array:
        if call.kv_lengths is not None:
            call = replace(call, kv_lengths=np.where(call.kv_lengths == 0, call.sizes.S, call.kv_lengths))
        return super().allowed(call)


@wrong
class LowBiasOverflows(Plain):
    """The bias is multiplied by log2 e in the input's dtype, where a finite low one becomes −inf: 0/0 in its row."""

    declares = BIAS

    def biased(self, capped: Array, call: Call) -> Array:
        if call.bias is None:
            return capped
        scaled = call.bias * call.bias.dtype.type(1.4426950408889634)
        low = np.isneginf(scaled) & ~np.isneginf(call.bias)
        return np.where(low, np.nan, super().biased(capped, call))


@wrong
class OneQuerySeesAll(Plain):
    """Causality is skipped for a single query, as if it were the last."""

    declares = CAUSAL

    def allowed(self, call: Call) -> Array:
        alone = call.sizes.Tq == 1
        return super().allowed(replace(call, spec=replace(call.spec, causal=False)) if alone else call)


@wrong
class LastOfManyKeys(Plain):
    """Beyond 3,000 keys, those behind the last whole tile of 512 are left out."""

    def allowed(self, call: Call) -> Array:
        keys = call.sizes.S
        whole = keys // 512 * 512 if keys > 3000 else keys
        return super().allowed(call) & (np.arange(keys) < whole)


@wrong
class HeadsBeyondTwentyFour(Plain):
    """From the 24th head on the scale is applied twice."""

    def scale(self, call: Call) -> Any:
        scale = np.broadcast_to(np.asarray(call.scale, float), (call.sizes.Hq,))
        return np.where(np.arange(call.sizes.Hq) >= 24, scale * scale, scale)


@wrong
class MaskOfTheSeventh(Plain):
    """From the seventh batch entry on the mask of the first is read."""

    declares = MASK

    def allowed(self, call: Call) -> Array:
        if call.mask is None or call.mask.shape[0] <= 6:
            return super().allowed(call)
        mask = call.mask.copy()
        mask[6:] = mask[0]
        return super().allowed(replace(call, mask=mask))


@wrong
class QueryGradientOfCausalBfloat16(Plain):
    """In bfloat16 the gradient of the queries is 0 beyond the first ten under causality."""

    declares = CAUSAL

    def changed(self, grads: dict[str, Array], call: Call) -> dict[str, Array]:
        if call.dtype == "bfloat16" and call.spec.causal:
            grads["q"][:, :, 10:] = 0
        return grads


@wrong
class KeyGradientOfGroupsFloat16(Plain):
    """In float16 the gradients of keys leave out what every second head of a group of three or more adds."""

    declares = GQA

    def gradients(
        self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None
    ) -> dict[str, Array]:
        grads = super().gradients(q, k, v, call, d_output, d_lse)
        if call.dtype == "float16" and call.sizes.group >= 3:
            d_output = d_output.copy()
            d_output[:, 1::2] = 0
            grads["k"] = super().gradients(q, k, v, call, d_output, d_lse)["k"]
        return grads


@wrong
class WindowBesideSoftcap(Plain):
    """With a cap on the logits the window's left side is forgotten."""

    declares = Capabilities(window=True, softcap=True)

    def allowed(self, call: Call) -> Array:
        if call.spec.softcap is not None and call.spec.window is not None:
            call = replace(call, spec=replace(call.spec, window=(None, call.spec.window[1])))
        return super().allowed(call)


@wrong
class BiasBesideKeyMask(Plain):
    """A bias is dropped beside a mask of keys alone."""

    declares = Capabilities(mask=True, bias=True)

    def biased(self, capped: Array, call: Call) -> Array:
        of_keys = call.mask is not None and call.mask.shape[2] == 1
        return capped if of_keys else super().biased(capped, call)


@wrong
class NegativeOffsetOfOneEntry(Plain):
    """Where offsets are unequal, negative ones are clipped to 0."""

    declares = Capabilities(causal=True, batch_offset=True)

    def positions(self, call: Call) -> Array:
        if hasattr(call.offset, "dtype") and len(set(call.offset.tolist())) > 1:
            call = replace(call, offset=np.maximum(call.offset, 0))
        return super().positions(call)


@wrong
class OffsetInEightBits(Plain):
    """The offset is kept in eight bits."""

    declares = CAUSAL

    def positions(self, call: Call) -> Array:
        return super().positions(replace(call, offset=int(np.array(call.offset).astype(np.int8))))


@wrong
class SegmentOfLastKey(Plain):
    """Where one key is left over behind tiles of 16, it is taken to belong to the first segment."""

    declares = SEGMENTS

    def allowed(self, call: Call) -> Array:
        if call.kv_segments is not None and call.sizes.S % 16 == 1:
            segments = call.kv_segments.copy()
            segments[:, -1] = segments[:, 0]
            call = replace(call, kv_segments=segments)
        return super().allowed(call)


@wrong
class SinkClipped(Plain):
    """A sink's logit above 6 is clipped."""

    declares = SINKS

    def sinks(self, call: Call) -> Array:
        return np.minimum(super().sinks(call), 6)


@wrong
class HeadSizeCut(Plain):
    """Of a head size above 160 that is no multiple of 64 the rest is left out of the dot product."""

    def forward(self, q: Array, k: Array, v: Array, call: Call) -> Any:
        d = call.sizes.D
        if d > 160 and d % 64:
            q = np.where(np.arange(d) < d // 64 * 64, q, 0).astype(q.dtype)
        return super().forward(q, k, v, call)


@wrong
class WideValuesInBfloat16(Plain):
    """Values wider than the keys pass through bfloat16."""

    def forward(self, q: Array, k: Array, v: Array, call: Call) -> Any:
        if call.sizes.Dv > call.sizes.D:
            v = v.astype(ml_dtypes.bfloat16).astype(v.dtype)
        return super().forward(q, k, v, call)


def twin(name: str, **able: Any) -> type[Plain]:
    """A sound kernel that declares this and nothing else."""
    return type(name, (Plain,), {"declares": Capabilities(**able), "__doc__": f"Sound: {', '.join(able) or 'plain'}."})


SOUND = [
    twin("SoundPlain"),
    *(twin(f"Sound{name.title().replace('_', '')}", **{name: True}) for name in (
        "causal", "gqa", "mask", "bias", "window", "lengths", "segments", "softcap", "sinks", "slopes", "lse",
        "head_scale", "nan_isolation",
    )),
]  # fmt: skip
