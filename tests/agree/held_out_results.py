"""Held-out NumPy kernels, wrong in what they hand back: lse, gradients, late rows, and what an earlier call left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from attnbench.api import AttentionOutput, Call, Capabilities
from attnbench.attention.arrays import Array
from tests.agree.plain_kernel import Plain, entered

CAUSAL, MASK = Capabilities(causal=True), Capabilities(mask=True)
BIAS, LENGTHS = Capabilities(bias=True), Capabilities(lengths=True)
SOFTCAP, SLOPES = Capabilities(softcap=True), Capabilities(slopes=True)
LSE = Capabilities(lse=True)
FAULTY: list[type[Plain]] = []
wrong = entered(FAULTY)


@wrong
class CausalMaskKept(Plain):
    """The causal mask is kept by the number of queries, whatever the keys and the offset: cut or filled up."""

    declares = CAUSAL

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}

    def positions(self, call: Call) -> Array:
        return super().positions(replace(call, offset=self._kept.setdefault(call.sizes.Tq, call.offset)))


@wrong
class LseBesideMask(Plain):
    """lse counts the keys that the mask hides, in rows beyond the fortieth."""

    declares = Capabilities(mask=True, lse=True)

    def lse(self, lse: Array, call: Call) -> Array:
        if call.mask is not None:
            lse[..., 40:] += 0.01
        return lse


@wrong
class LseBaseTwoIn16Bits(Plain):
    """lse is in base 2 where the inputs have 16 bits."""

    declares = LSE

    def lse(self, lse: Array, call: Call) -> Array:
        return lse / lse.dtype.type(np.log(2)) if "16" in call.dtype else lse


@wrong
class LargeCapForgotten(Plain):
    """A cap of 25 or more is taken for none."""

    declares = SOFTCAP

    def capped(self, scores: Array, call: Call) -> Array:
        return scores if (call.spec.softcap or 0) >= 25 else super().capped(scores, call)


@wrong
class ScaleFalsy(Plain):
    """A scale of 0 is taken for none given, in the forward pass of one query."""

    def scale(self, call: Call) -> Any:
        return call.scale if call.sizes.Tq > 1 else call.scale or 1 / np.sqrt(call.sizes.D)


@wrong
class QueryLengthOnTileEdge(Plain):
    """Where a query length stands on the edge of a tile of 16, one row too many is written."""

    declares = LENGTHS

    def allowed(self, call: Call) -> Array:
        if call.q_lengths is not None:
            edge = (call.q_lengths % 16 == 0) & (call.q_lengths > 0)
            call = replace(call, q_lengths=np.minimum(call.q_lengths + edge, call.sizes.Tq))
        return super().allowed(call)


@wrong
class DeadRowsOfLastTile(Plain):
    """Rows without a key are the mean of the values behind the last whole tile of 64 queries."""

    declares = MASK

    def allowed(self, call: Call) -> Array:
        allowed = super().allowed(call)
        behind = np.arange(call.sizes.Tq)[:, None] >= call.sizes.Tq // 64 * 64
        alone = ~allowed.any(-1, keepdims=True) & behind & (call.sizes.Tq > 64)
        return allowed | alone


@wrong
class HiddenTileCounts(Plain):
    """A tile of 32 keys that is hidden as a whole adds its number of keys to the normaliser."""

    declares = MASK

    def softmax(self, logits: Array, sinks: Array, call: Call) -> tuple[Array, Array, Array]:
        weights, of_sink, lse = super().softmax(logits, sinks, call)
        tiles = [np.isneginf(logits[..., i : i + 32]).all(-1, keepdims=True) for i in range(0, call.sizes.S, 32)]
        hidden = np.minimum(sum(tiles[1:], np.zeros_like(tiles[0], int)), 1)
        return weights / (1 + 0.05 * hidden), of_sink, lse


@wrong
class KeyBiasGradientOfOneHead(Plain):
    """The gradient of a bias of keys alone lacks the heads beyond the fourth."""

    declares = BIAS

    def changed(self, grads: dict[str, Array], call: Call) -> dict[str, Array]:
        if call.bias is not None and call.bias.shape[1:3] == (1, 1) and call.sizes.Hq > 4:
            grads["bias"] = grads["bias"] * 4 / call.sizes.Hq
        return grads


@wrong
class ValueGradientOfOddSize(Plain):
    """The last column of the gradient of values is lost where Dv is no multiple of 4."""

    def changed(self, grads: dict[str, Array], call: Call) -> dict[str, Array]:
        if call.sizes.Dv % 4:
            grads["v"][..., -1] = 0
        return grads


@wrong
class LongSumInBfloat16(Plain):
    """Beyond 1,500 keys the weights of 16-bit inputs are rounded to eight bits, undeclared."""

    def softmax(self, logits: Array, sinks: Array, call: Call) -> tuple[Array, Array, Array]:
        weights, of_sink, lse = super().softmax(logits, sinks, call)
        if call.sizes.S > 1500 and "16" in call.dtype:
            weights = weights.astype(ml_dtypes.float8_e4m3fn).astype(weights.dtype)
        return weights, of_sink, lse


@wrong
class SlopesOfOddHeadCounts(Plain):
    """ALiBi's slopes are made anew for 2^n heads where the number of heads is no power of two."""

    declares = SLOPES

    def slopes(self, call: Call) -> Array:
        heads = call.sizes.Hq
        if heads & (heads - 1) == 0:
            return super().slopes(call)
        whole = 2 ** int(np.ceil(np.log2(heads)))
        return np.asarray(2.0 ** (-8.0 * np.arange(1, heads + 1) / whole))


@wrong
class TallCausalGradient(Plain):
    """Where queries outnumber keys under causality, the gradient of values lacks the last row."""

    declares = CAUSAL

    def gradients(
        self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None
    ) -> dict[str, Array]:
        if call.spec.causal and call.sizes.Tq > 2 * call.sizes.S > 0:
            d_output = d_output.copy()
            d_output[:, :, -1] = 0
        return super().gradients(q, k, v, call, d_output, d_lse)


@wrong
class CausalGroupsOfManyQueries(Plain):
    """Causal and grouped heads, beyond 520 queries: the second head of each group sees one key too many."""

    declares = Capabilities(causal=True, gqa=True)

    def allowed(self, call: Call) -> Array:
        allowed = super().allowed(call)
        if call.spec.causal and call.sizes.group > 1:
            peeks = super().allowed(replace(call, offset=call.offset + 1))
            allowed[:, 1 :: call.sizes.group, 520:] = peeks[:, 1 :: call.sizes.group, 520:]
        return allowed


@wrong
class OtherSizeReusesBuffer(Plain):
    """After a call of more keys, a call of 3 keys or fewer finds its last column overwritten."""

    def __init__(self) -> None:
        self._most = 0

    def attend(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        self._most = max(self._most, call.sizes.S)
        found = super().attend(q, k, v, call)
        if call.sizes.S <= 3 < self._most:
            found.output[..., -1] = found.output[..., 0]
        return found
