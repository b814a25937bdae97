"""Faults of the learned scores, of heads, and of the operands besides masks: bias, ALiBi, sinks, dropout."""
# ruff: noqa: D102  (the class says what is wrong with the step; the step's own docstring is in Eager)

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from attnbench.agree.eager.attention import Eager, Softmax
from attnbench.agree.mutants.catalogue import BugReport, planted
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call

HEAD_TILE = 4


@planted("learned score", "additive", report=BugReport("OpenNMT/OpenNMT-py", 110, "Bahdanau attention lacks its bias"))
class AdditiveWithoutBias(Eager):
    """v·tanh(q W_q + k W_k) without b."""

    def hidden_bias(self, call: Call, like: Array) -> Array | float:
        del call, like
        return 0.0


@planted("learned score", "additive")
class AdditiveWithoutTanh(Eager):
    """v·(q W_q + k W_k + b): the nonlinearity is missing, so that the query cancels in the softmax."""

    def activation(self, hidden: Array) -> Array:
        return hidden


@planted(
    "learned score", "additive", report=BugReport("keon/seq2seq", 28, "relu instead of tanh in additive attention")
)
class AdditiveWithRelu(Eager):
    """relu instead of tanh."""

    def activation(self, hidden: Array) -> Array:
        return np.maximum(hidden, 0)


@planted(
    "learned score",
    "additive",
    report=BugReport("tensorflow/tensorflow", 39332, "AdditiveAttention sums tanh(q + k) instead of projecting it"),
)
class AdditiveWithoutVector(Eager):
    """The sum of tanh instead of its product with v."""

    def project(self, features: Array, call: Call) -> Array:
        del call
        return np.asarray(features.sum(-1))


@planted("learned score", "concat")
class ConcatSwapped(Eager):
    """W [k; q] instead of W [q; k]."""

    def projections(self, call: Call, like: Array) -> tuple[Array, Array]:
        first, second = super().projections(call, like)
        return (second, first) if call.spec.score == "concat" else (first, second)


@planted("learned score", "general")
class GeneralTransposed(Eager):
    """q Wᵀ kᵀ instead of q W kᵀ."""

    def bilinear(self, call: Call, like: Array) -> Array:
        return np.swapaxes(super().bilinear(call, like), -1, -2)


@planted("learned score", "cosine")
class CosineWithoutTemperature(Eager):
    """Cosines without their temperature."""

    def temperature(self, call: Call, like: Array) -> Array:
        return np.ones_like(super().temperature(call, like))


@planted(
    "learned score",
    "cosine",
    report=BugReport("lucidrains/x-transformers", 190, "one path divides by the scale that the other multiplies by"),
)
class CosineDividedByTemperature(Eager):
    """Cosines divided by their temperature instead of multiplied."""

    def temperature(self, call: Call, like: Array) -> Array:
        return np.asarray(1 / super().temperature(call, like))


@planted("learned score", "cosine")
class CosineWithoutFloor(Eager):
    """0/0 for a query or key that is zero."""

    def unit(self, x: Array) -> Array:
        return np.asarray(x / self.norm(x))


@planted("heads", "gqa", report=BugReport("onnx/onnx", 7274, "key/value heads are tiled instead of repeated"))
class HeadsTiled(Eager):
    """Tile instead of repeat: query head h reads head h % Hkv."""

    def heads_of_keys(self, array: Array, call: Call) -> Array:
        return np.tile(array, (1, call.sizes.group, 1, 1))


@planted(
    "heads",
    "gqa",
    report=BugReport("PSAL-POSTECH/ONNXim", 34, "the query head is divided by the number of key/value heads"),
)
class HeadsDividedByHkv(Eager):
    """Query head h reads head h // Hkv instead of h // group."""

    def heads_of_keys(self, array: Array, call: Call) -> Array:
        s = call.sizes
        return np.asarray(array[:, np.arange(s.Hq) // s.Hkv % s.Hkv])


@planted("heads", "gqa", report=BugReport("FlashML-org/FreeToken", 177, "a tile of heads crosses the edge of a group"))
class HeadTileCrossesGroup(Eager):
    """A tile of four query heads reads the key/value head of its first."""

    def heads_of_keys(self, array: Array, call: Call) -> Array:
        tiled = np.arange(call.sizes.Hq) // HEAD_TILE * HEAD_TILE // call.sizes.group
        return np.asarray(array[:, tiled]) if call.sizes.group > 1 else array


@planted("heads", "sizes", report=BugReport("HazyResearch/HipKittens", 22, "the map of head indices permutes them"))
class HeadsSwapped(Eager):
    """Every query head reads the keys and values of the next head."""

    def heads_of_keys(self, array: Array, call: Call) -> Array:
        return super().heads_of_keys(np.roll(array, -1, axis=1), call)


@planted("bias", "bias")
class BiasIgnored(Eager):
    """bias is accepted and forgotten."""

    def add_bias(self, capped: Array, call: Call) -> Array:
        return super().add_bias(capped, replace(call, bias=None))


@planted(
    "bias", "bias", report=BugReport("jax-ml/jax", 36702, "a bias with broadcast axes is reshaped as if it had them")
)
class BiasOfHeadsUnread(Eager):
    """Of a bias for each head that all batch entries share, (1, Hq, Tq, S), the first head is read for all."""

    def add_bias(self, capped: Array, call: Call) -> Array:
        shared = call.bias is not None and call.bias.shape[0] == 1
        return super().add_bias(capped, replace(call, bias=call.bias[:, :1]) if shared else call)


@planted("bias", "bias", report=BugReport("tenstorrent/tt-metal", 56406, "the additive bias is attenuated by 1/√D"))
class BiasScaled(Eager):
    """The bias is multiplied by the scale of the scores."""

    def add_bias(self, capped: Array, call: Call) -> Array:
        if call.bias is None:
            return super().add_bias(capped, call)
        scaled = np.where(call.bias == -np.inf, call.bias, call.bias * np.reshape(call.scale, (1, -1, 1, 1)))
        return super().add_bias(capped, replace(call, bias=scaled))


@planted(
    "alibi",
    "slopes",
    report=BugReport("lucidrains/x-transformers", 88, "the bias is only right below the diagonal"),
)
class AlibiWithoutAbs(Eager):
    """−slope·(p − j): keys ahead of the query are rewarded for their distance."""

    def distance(self, call: Call) -> Array:
        return np.asarray(self.positions(call) - np.arange(call.sizes.S))


@planted("alibi", "slopes", report=BugReport("meta-pytorch/attention-gym", 86, "the sign of the ALiBi bias is wrong"))
class AlibiSign(Eager):
    """+slope·|p − j|."""

    def distance(self, call: Call) -> Array:
        return -super().distance(call)


@planted("alibi", "slopes", report=BugReport("paiml/aprender", 2143, "the exponent of the slopes is off by one head"))
class AlibiSlopeOfNeighbour(Eager):
    """Every head takes the slope of the head before."""

    def slopes(self, call: Call) -> Array:
        return np.roll(super().slopes(call), 1)


@planted("sinks", "sinks", report=BugReport("vllm-project/vllm-metal", 550, "the kernel's sinks can never be reached"))
class SinkIgnored(Eager):
    """The sink is accepted and forgotten."""

    def sink(self, call: Call, dtype: Any) -> Array:
        return super().sink(replace(call, sinks=None), dtype)


@planted("sinks", "sinks")
class SinkInNumerator(Eager):
    """The sink's weight goes to the first value instead of nowhere."""

    def softmax(self, logits: Array, allowed: Array, sink: Array) -> Softmax:
        right = super().softmax(logits, allowed, sink)
        weights = right.weights.copy()
        weights[..., :1] += right.sink
        return right._replace(weights=weights)


@planted("sinks", "sinks", report=BugReport("sgl-project/sgl-kernel-xpu", 254, "rows do not get their own head's sink"))
class SinkOfFirstHead(Eager):
    """The sink of the first head for all of them."""

    def sink(self, call: Call, dtype: Any) -> Array:
        sink = super().sink(call, dtype)
        return np.broadcast_to(sink[:, :1], sink.shape)


@planted("sinks", "sinks", report=BugReport("NVIDIA/TensorRT-LLM", 19220, "exp(sink − m) overflows: m lacks the sink"))
class SinkOutsideMax(Eager):
    """The row's maximum leaves the sink out, whose exponential then overflows."""

    def row_max(self, logits: Array, sink: Array) -> Array:
        keys = super().row_max(logits, np.full_like(sink, -np.inf))
        return np.where(np.isneginf(keys), sink, keys)


@planted("dropout", "dropout")
class DropoutNotRescaled(Eager):
    """What dropout keeps is not divided by 1 − p."""

    def keep(self, call: Call, dtype: Any) -> Array | float:
        return super().keep(call, dtype) * float(1 - call.spec.dropout)


@planted("dropout", "dropout", report=BugReport("PaddlePaddle/Parakeet", 74, "dropout on the logits, later reverted"))
class DropoutBeforeSoftmax(Eager):
    """Dropout is applied to the logits instead of the weights."""

    def mask_logits(self, logits: Array, allowed: Array, call: Call) -> Array:
        return super().mask_logits(logits * super().keep(call, logits.dtype), allowed, call)

    def keep(self, call: Call, dtype: Any) -> Array | float:
        del call, dtype
        return 1.0
