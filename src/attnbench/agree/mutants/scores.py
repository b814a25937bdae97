"""Faults of the score: its scale, its cap, and the learned scores."""
# ruff: noqa: D102  (the class says what is wrong with the step; the step's own docstring is in Eager)

from __future__ import annotations

import math

import numpy as np

from attnbench.agree.eager.attention import Eager
from attnbench.agree.mutants.catalogue import BugReport, planted
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call

TILE = 32


@planted(
    "scale",
    "sizes",
    report=BugReport("mlc-ai/mlc-llm", 3426, "1/√d is missing in the attention fallback path"),
)
class ScaleMissing(Eager):
    """q·k without 1/√D."""

    def scale(self, call: Call, allowed: Array) -> Array | float:
        del call, allowed
        return 1.0


@planted("scale", "sizes", report=BugReport("huggingface/transformers", 38290, "the scaling is applied twice in OPT"))
class ScaleTwice(Eager):
    """The scale is applied to q and again to the product."""

    def scale(self, call: Call, allowed: Array) -> Array | float:
        return super().scale(call, allowed) ** 2


@planted("scale", "sizes", "inputs")
class ScaleOffByOne(Eager):
    """1/√(D + 1) instead of 1/√D."""

    def scale(self, call: Call, allowed: Array) -> Array | float:
        return super().scale(call, allowed) * math.sqrt(call.sizes.D / (call.sizes.D + 1))


@planted(
    "scale",
    "sizes",
    report=BugReport("lucidrains/vit-pytorch", 65, "the scale is that of the model's width, not of the head's"),
)
class ScaleOfModel(Eager):
    """1/√(H·D): the width of the model instead of the head's."""

    def scale(self, call: Call, allowed: Array) -> Array | float:
        return super().scale(call, allowed) / math.sqrt(call.sizes.Hq)


@planted(
    "scale",
    "sizes",
    report=BugReport("tenstorrent/tt-metal", 56789, "CLIP attention is scaled by 1/√(number of heads)"),
)
class ScaleOfHeadCount(Eager):
    """1/√H: the number of heads instead of their size."""

    def scale(self, call: Call, allowed: Array) -> Array | float:
        return super().scale(call, allowed) * math.sqrt(call.sizes.D / call.sizes.Hq)


@planted(
    "scale",
    "scale",
    report=BugReport("charliezchen/scaling-matrix-preconditioning", 2, "1/√d in the code where the paper has 1/d"),
)
class ScaleRootForInverse(Eager):
    """1/√D where 1/D is asked for."""

    def scale(self, call: Call, allowed: Array) -> Array | float:
        scale = super().scale(call, allowed)
        return scale * math.sqrt(call.sizes.D) if call.spec.scale == "1/d" else scale


@planted(
    "scale",
    "scale",
    report=BugReport("huggingface/transformers", 43481, "the scaling argument is ignored and 1/√D computed instead"),
)
class ScaleArgumentIgnored(Eager):
    """1/√D, whatever scale is asked for."""

    def scale(self, call: Call, allowed: Array) -> Array | float:
        del allowed
        return 1 / math.sqrt(call.sizes.D)


@planted("scale", "scale", "causal")
class ScaleClipped(Eager):
    """A scale beyond ±1 is taken for a mistake and clipped to ±1."""

    def scale(self, call: Call, allowed: Array) -> Array | float:
        scale = super().scale(call, allowed)
        return max(-1.0, min(1.0, scale)) if isinstance(scale, float) else scale


@planted(
    "scale",
    "sizes",
    report=BugReport("flagos-ai/FlagGems", 424, "qk_scale is multiplied by log2 e again in every iteration"),
)
class ScaleGrows(Eager):
    """The scale is multiplied by log2 e again with every tile of keys."""

    def scale(self, call: Call, allowed: Array) -> Array | float:
        return np.asarray(super().scale(call, allowed) * math.log2(math.e) ** (np.arange(call.sizes.S) // TILE))


@planted("scale", "head_scale")
class ScaleOfFirstHead(Eager):
    """One scale for all heads where each has its own."""

    def scale(self, call: Call, allowed: Array) -> Array | float:
        scale = super().scale(call, allowed)
        return scale if isinstance(scale, float) or scale.shape[1] == 1 else scale[:, :1]


@planted(
    "log n",
    "log_n",
    report=BugReport("DAMO-NLP-SG/CLEX", 1, "every query is scaled by ln of all keys, not of its own number of keys"),
)
class LogNOfAllKeys(Eager):
    """ln S instead of ln n_i, the number of keys that the row attends to."""

    def count(self, allowed: Array) -> Array:
        return np.full((*allowed.shape[:-1], 1), allowed.shape[-1])


@planted("log n", "log_n", report=BugReport("vllm-project/vllm", 44136, "use_logn_attn is ignored"))
class LogNIgnored(Eager):
    """The factor ln n is accepted and forgotten."""

    def scale(self, call: Call, allowed: Array) -> Array | float:
        del allowed
        return float(call.scale) if isinstance(call.scale, float) else call.scale[None, :, None, None]


@planted("softcap", "softcap", report=BugReport("onnx/onnx", 7865, "the cap maps masked logits from −inf to −c"))
class SoftcapAfterMask(Eager):
    """−inf is capped to −c, so that masked keys get weight."""

    def cap(self, scores: Array, call: Call) -> Array:
        del call
        return scores

    def mask_logits(self, logits: Array, allowed: Array, call: Call) -> Array:
        return super().cap(super().mask_logits(logits, allowed, call), call)

    def terms(self, logits: Array, row_max: Array, allowed: Array) -> Array:
        return super().terms(logits, row_max, allowed | ~np.isneginf(logits))


@planted("softcap", "softcap", report=BugReport("emmtrix/emx-onnx-cgen", 731, "the cap is computed over score + bias"))
class SoftcapAfterBias(Eager):
    """The cap is applied to score plus bias."""

    def cap(self, scores: Array, call: Call) -> Array:
        del call
        return scores

    def add_bias(self, capped: Array, call: Call) -> Array:
        return super().cap(super().add_bias(capped, call), call)


@planted("softcap", "softcap")
class SoftcapWithoutFactor(Eager):
    """tanh(s/c) without c."""

    def cap(self, scores: Array, call: Call) -> Array:
        return scores if call.spec.softcap is None else np.tanh(scores / call.spec.softcap)


@planted(
    "softcap",
    "softcap",
    report=BugReport("Dao-AILab/flash-attention", 2402, "scores · tanh(scores) instead of c · tanh(scores)"),
)
class SoftcapTimesScore(Eager):
    """s·tanh(s/c) instead of c·tanh(s/c)."""

    def cap(self, scores: Array, call: Call) -> Array:
        return scores if call.spec.softcap is None else scores * np.tanh(scores / call.spec.softcap)


@planted(
    "softcap", "softcap", report=BugReport("sgl-project/sgl-kernel-xpu", 491, "softcap is accepted, never applied")
)
class SoftcapIgnored(Eager):
    """The cap is accepted and forgotten."""

    def cap(self, scores: Array, call: Call) -> Array:
        del call
        return scores
