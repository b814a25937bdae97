"""Faults of the softmax and of its arithmetic: no softmax, the wrong axis, overflow, precision, lse, noise."""
# ruff: noqa: D102  (the class says what is wrong with the step; the step's own docstring is in Eager)

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from attnbench.agree.eager.attention import Eager, Softmax
from attnbench.agree.mutants.catalogue import BugReport, planted
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call
from attnbench.attention.precision import numpy_dtype
from attnbench.backends.implementation import AttentionOutput

TILE = 32
SENTINEL = -5e4
NOISE = 1e-3


@planted("no softmax", "sizes")
class MeanOfValues(Eager):
    """The mean of the allowed values: no softmax."""

    def softmax(self, logits: Array, allowed: Array, sink: Array) -> Softmax:
        uniform = allowed / np.maximum(allowed.sum(-1, keepdims=True), 1)
        return super().softmax(logits, allowed, sink)._replace(weights=uniform.astype(logits.dtype))


@planted("no softmax", "sizes")
class Argmax(Eager):
    """All the weight on the largest logit."""

    def softmax(self, logits: Array, allowed: Array, sink: Array) -> Softmax:
        best = (np.argmax(logits, -1)[..., None] == np.arange(logits.shape[-1])) & allowed
        return super().softmax(logits, allowed, sink)._replace(weights=best.astype(logits.dtype))


@planted(
    "axis",
    "sizes",
    report=BugReport("labmlai/annotated_deep_learning_paper_implementations", 146, "the softmax runs over the queries"),
)
class SoftmaxOverQueries(Eager):
    """The softmax runs over the queries instead of the keys."""

    def softmax(self, logits: Array, allowed: Array, sink: Array) -> Softmax:
        turned = super().softmax(np.swapaxes(logits, -1, -2), np.swapaxes(allowed, -1, -2), np.full_like(sink, -np.inf))
        return super().softmax(logits, allowed, sink)._replace(weights=np.swapaxes(turned.weights, -1, -2))


@planted(
    "online softmax",
    "sizes",
    report=BugReport("Dao-AILab/flash-attention", 2174, "row_max is overwritten before the online softmax has used it"),
)
class RunningMaxNotRescaled(Eager):
    """A later tile's larger maximum does not rescale what earlier tiles have summed."""

    def terms(self, logits: Array, row_max: Array, allowed: Array) -> Array:
        del row_max
        tiles = [logits[..., i : i + TILE].max(-1, keepdims=True) for i in range(0, logits.shape[-1], TILE)]
        running = np.maximum.accumulate(np.concatenate(tiles, -1), -1)
        running = np.repeat(np.where(np.isneginf(running), 0, running), TILE, -1)[..., : logits.shape[-1]]
        return super().terms(logits, running, allowed)


@planted(
    "online softmax",
    "inputs",
    report=BugReport("flashinfer-ai/flashinfer", 4267, "zeros where every logit of a row is below −5e4"),
)
class MaxStartsFinite(Eager):
    """The row's maximum starts at −5e4 instead of −inf."""

    def row_max(self, logits: Array, sink: Array) -> Array:
        return np.maximum(super().row_max(logits, sink), SENTINEL)


@planted("overflow", "inputs", report=BugReport("pytorch/executorch", 18407, "naive softmax overflows float32"))
class NoMaxSubtraction(Eager):
    """exp of the logits as they are."""

    def row_max(self, logits: Array, sink: Array) -> Array:
        return np.zeros_like(super().row_max(logits, sink))


@planted(
    "overflow", "inputs", report=BugReport("ultralytics/ultralytics", 24990, "q·k overflows float16 before the scale")
)
class ProductInFloat16(Eager):
    """q·k is stored in float16 before it is scaled."""

    def product(self, q: Array, k: Array) -> Array:
        return np.asarray(super().product(q, k).astype(np.float16).astype(q.dtype))


@planted("precision", "inputs", "sizes", report=BugReport("tinygrad/tinygrad", 12280, "softmax in bfloat16 differs"))
class LogitsInBfloat16(Eager):
    """Logits are rounded to bfloat16 between two passes."""

    def mask_logits(self, logits: Array, allowed: Array, call: Call) -> Array:
        return super().mask_logits(logits.astype(numpy_dtype("bfloat16")).astype(logits.dtype), allowed, call)


@planted(
    "precision",
    "inputs",
    "sizes",
    report=BugReport("ml-explore/mlx", 3860, "float32 matmul silently defaults to TF32"),
)
class TF32(Eager):
    """q and k with 10 bits of mantissa, passed off as float32."""

    def product(self, q: Array, k: Array) -> Array:
        return super().product(_tf32(q), _tf32(k))


def _tf32(x: Array) -> Array:
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32).astype(x.dtype)


@planted(
    "precision",
    "sizes",
    "inputs",
    report=BugReport("ml-explore/mlx", 3953, "float32 matmul loses precision to float16"),
    harmless={"float16": "v is float16 already"},
)
class ValuesInFloat16(Eager):
    """v passes through float16."""

    def heads_of_values(self, array: Array, call: Call) -> Array:
        return super().heads_of_values(array.astype(np.float16), call)


@planted("precision", "inputs", "sizes", report=BugReport("ROCm/FlyDSL", 1020, "P loses weight in the cast before P·V"))
class WeightsInBfloat16(Eager):
    """P is rounded to bfloat16 before P·V, undeclared."""

    def softmax(self, logits: Array, allowed: Array, sink: Array) -> Softmax:
        right = super().softmax(logits, allowed, sink)
        return right._replace(weights=right.weights.astype(numpy_dtype("bfloat16")).astype(logits.dtype))


@planted("precision", "inputs", "sizes")
class TermsRoundedBeforeSum(Eager):
    """exp(s − m) is rounded to bfloat16 before it is summed."""

    def terms(self, logits: Array, row_max: Array, allowed: Array) -> Array:
        return super().terms(logits, row_max, allowed).astype(numpy_dtype("bfloat16")).astype(logits.dtype)


@planted("precision", "sizes", report=BugReport("huggingface/candle", 3727, "the denominator saturates in 16 bits"))
class SumInBfloat16(Eager):
    """The normaliser is summed in bfloat16, one term after the other."""

    def total(self, terms: Array, sink_term: Array) -> Array:
        summed = np.add.accumulate(terms.astype(numpy_dtype("bfloat16")), -1)[..., -1:]
        return np.asarray(summed.astype(terms.dtype) + sink_term)


@planted("lse", "lse", report=BugReport("pytorch/pytorch", 181645, "the returned lse is off by a factor ln 2"))
class LseBaseTwo(Eager):
    """lse in base 2."""

    def lse(self, total: Array, row_max: Array, sink_term: Array) -> Array:
        return super().lse(total, row_max, sink_term) / math.log(2)


@planted("lse", "lse")
class LseWithoutMax(Eager):
    """ln Z without the row's maximum."""

    def lse(self, total: Array, row_max: Array, sink_term: Array) -> Array:
        return super().lse(total, np.zeros_like(row_max), sink_term)


@planted("lse", "lse")
class LseWithoutSink(Eager):
    """lse of the keys alone, without the sink."""

    def lse(self, total: Array, row_max: Array, sink_term: Array) -> Array:
        return super().lse(total - sink_term, row_max, sink_term)


@planted("lse", "lse", report=BugReport("vllm-project/flash-attention", 87, "lse is laid out wrongly in one path"))
class LseOfRectangle(Eager):
    """Where causal and Tq differs from S, lse counts the keys of the neighbouring row."""

    def attend(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        result = super().attend(q, k, v, call)
        s = call.sizes
        wrong = call.spec.causal and s.Tq != s.S and result.lse is not None
        return replace(result, lse=np.roll(result.lse, 1, -1)) if wrong else result


@planted(
    "noise",
    "sizes",
    "inputs",
    harmless={"bfloat16": "1e-3 is a quarter of bfloat16's unit roundoff, 3.9e-3"},
)
class Noise(Eager):
    """Random noise of 1e-3, relative, on the output."""

    def finish(self, output: Array, dtype: Any) -> Array:
        noise = np.random.default_rng(0).standard_normal(output.shape)
        return super().finish((output * (1 + NOISE * noise)).astype(output.dtype), dtype)
