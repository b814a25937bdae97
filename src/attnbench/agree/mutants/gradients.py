"""Faults that only the gradients show."""
# ruff: noqa: D102  (the class says what is wrong with the step; the step's own docstring is in Eager)

from __future__ import annotations

import numpy as np

from attnbench.agree.eager.attention import Eager, ForwardState
from attnbench.agree.mutants.catalogue import BugReport, planted
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call

HALF = 0.5


@planted(
    "gradient",
    "sizes",
    report=BugReport("Dao-AILab/flash-attention", 2481, "a race corrupts the row sums Σ O·dO, and with them dQ and dK"),
)
class GradientWithoutNormaliser(Eager):
    """dS = P dP: the softmax's normaliser is not differentiated."""

    def delta(self, weights: Array, d_weights: Array) -> Array:
        return np.zeros_like(super().delta(weights, d_weights))


@planted("gradient", "sizes")
class GradientUnscaled(Eager):
    """The scale is forgotten on the way back."""

    def scale_in_backward(self, state: ForwardState) -> Array | float:
        del state
        return 1.0


@planted("gradient", "softcap")
class GradientWithoutCap(Eager):
    """The cap is not differentiated."""

    def cap_slope(self, state: ForwardState) -> Array | float:
        del state
        return 1.0


@planted("gradient", "sizes")
class GradientsSwapped(Eager):
    """dK and dV are handed out in each other's place."""

    def handed_out(self, grads: dict[str, Array]) -> dict[str, Array]:
        same = grads["k"].shape == grads["v"].shape
        return grads | {"k": grads["v"], "v": grads["k"]} if same else grads


@planted(
    "broadcast gradient",
    "bias",
    report=BugReport("HKUSTDial/flash-sparse-attention", 193, "the gradient of a broadcast bias is not accumulated"),
)
class BiasGradientOfFirstSlice(Eager):
    """dbias is not summed over the axes on which the bias was broadcast."""

    def reduce_bias(self, d_logits: Array, shape: tuple[int, ...]) -> Array:
        return np.asarray(d_logits[tuple(slice(0, n) for n in shape)])


@planted(
    "broadcast gradient",
    "gqa",
    report=BugReport("marin-community/levanter", 449, "dK and dV are not summed over the query heads of a group"),
)
class GroupGradientOfFirstHead(Eager):
    """dK and dV of the first query head of each group only."""

    def to_kv_heads(self, grad: Array, call: Call) -> Array:
        return grad[:, :: call.sizes.group]


@planted(
    "broadcast gradient",
    "gqa",
    report=BugReport("XunhaoLai/native-sparse-attention-triton", 27, "backward maps heads to groups unlike forward"),
)
class GroupGradientTiled(Eager):
    """dK and dV are summed over the wrong query heads: h % Hkv instead of h // group."""

    def to_kv_heads(self, grad: Array, call: Call) -> Array:
        b, _, s, d = grad.shape
        return np.asarray(grad.reshape(b, call.sizes.group, call.sizes.Hkv, s, d).sum(1))


@planted(
    "gradient",
    "lse",
    report=BugReport("Dao-AILab/flash-attention", 404, "the gradient of softmax_lse is not taken into account"),
)
class LseGradientIgnored(Eager):
    """The cotangent of lse is accepted and forgotten."""

    def lse_cotangent(self, state: ForwardState, d_lse: Array | None) -> Array | float:
        del state, d_lse
        return 0.0


@planted("gradient", "sinks")
class SinkGradientZero(Eager):
    """The sink's gradient is zero."""

    def handed_out(self, grads: dict[str, Array]) -> dict[str, Array]:
        return grads | {"sinks": np.zeros_like(grads["sinks"])} if "sinks" in grads else grads


@planted("dropout", "dropout", report=BugReport("aws-neuron/nki-samples", 81, "dropout is not applied to dP"))
class DropoutForgottenInBackward(Eager):
    """The backward pass knows nothing of dropout."""

    def keep_in_backward(self, state: ForwardState) -> Array | float:
        del state
        return 1.0


@planted(
    "dropout", "dropout", report=BugReport("NVIDIA/apex", 816, "dropout scales by p instead of 1/(1 − p) backwards")
)
class DropoutRescaledByP(Eager):
    """The backward pass scales by p instead of 1/(1 − p)."""

    def keep_in_backward(self, state: ForwardState) -> Array | float:
        dropout = state.call.spec.dropout
        return state.keep * dropout * (1 - dropout) if dropout else state.keep


@planted("gradient", "mask")
class KeyGradientOfCausalAndMask(Eager):
    """dK forgets the scale where causal meets a mask, a branch of its own."""

    def vjp(self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None) -> dict[str, Array]:
        grads = super().vjp(q, k, v, call, d_output, d_lse)
        both = call.spec.causal and call.mask is not None
        return grads | {"k": (grads["k"].astype(np.float64) * HALF).astype(k.dtype)} if both else grads


@planted("gradient", "lse")
class LseGradientOfRectangle(Eager):
    """The cotangent of lse is read with the wrong row where causal and Tq differs from S."""

    def lse_cotangent(self, state: ForwardState, d_lse: Array | None) -> Array | float:
        s = state.call.sizes
        shifted = state.call.spec.causal and s.Tq != s.S and d_lse is not None
        return super().lse_cotangent(state, np.roll(d_lse, 1, -1) if shifted and d_lse is not None else d_lse)


@planted("gradient", "sizes")
class ZeroCotangentNormalised(Eager):
    """Each row of dO is divided by its largest element for range, and multiplied again: 0/0 in a row of zeros."""

    def cotangent(self, state: ForwardState, d_output: Array) -> Array:
        d_o = super().cotangent(state, d_output)
        largest = np.abs(d_o).max(-1, keepdims=True)
        with np.errstate(all="ignore"):
            scaled = np.where(np.any(state.allowed, axis=-1, keepdims=True), d_o / largest * largest, 0)
        return scaled.astype(d_o.dtype)


@planted("gradient", "lse")
class ZeroCotangentSkipped(Eager):
    """Rows in which dO is 0 are skipped, and with them the cotangent of their lse."""

    def lse_cotangent(self, state: ForwardState, d_lse: Array | None) -> Array | float:
        given = super().lse_cotangent(state, d_lse)
        return given if self.silent is None else np.where(self.silent, 0, given)

    def vjp(self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None) -> dict[str, Array]:
        self.silent = np.all(d_output == 0, axis=-1, keepdims=True)
        return super().vjp(q, k, v, call, d_output, d_lse)

    silent: Array | None = None
