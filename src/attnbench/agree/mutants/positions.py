"""Faults of positions and sizes: causality, alignment, window, tails of tiles, lengths, segments."""
# ruff: noqa: D102  (the class says what is wrong with the step; the step's own docstring is in Eager)

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from attnbench.agree.eager.attention import Eager
from attnbench.agree.mutants.catalogue import BugReport, planted
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call

TILE = 32
GRAIN = 4


@planted("causal", "causal")
class CausalStrict(Eager):
    """A query does not see its own position: j < p."""

    def causal(self, call: Call) -> Array | None:
        return np.arange(call.sizes.S) < self.positions(call) if call.spec.causal else None


@planted("causal", "causal")
class CausalPeeks(Eager):
    """A query sees one key of the future: j <= p + 1."""

    def causal(self, call: Call) -> Array | None:
        return np.arange(call.sizes.S) <= self.positions(call) + 1 if call.spec.causal else None


@planted("causal", "causal")
class CausalInBlocks(Eager):
    """Causality holds only between blocks of four queries."""

    def causal(self, call: Call) -> Array | None:
        last = self.positions(call) // GRAIN * GRAIN + GRAIN - 1
        return np.arange(call.sizes.S) <= last if call.spec.causal else None


@planted("causal", "causal", report=BugReport("keras-team/keras", 23038, "the causal mask is silently dropped"))
class CausalIgnored(Eager):
    """causal is accepted and forgotten."""

    def causal(self, call: Call) -> Array | None:
        del call
        return None


@planted("alignment", "causal", report=BugReport("NVIDIA/cutlass", 2336, "causal misbehaves when qlen != klen"))
class CausalWrongCorner(Eager):
    """The causal diagonal starts in the other corner."""

    def positions(self, call: Call) -> Array:
        shift = call.sizes.S - call.sizes.Tq
        other = np.where(np.reshape(call.offset, (-1, 1, 1, 1)) == shift, -shift, shift)
        return super().positions(call) + other


@planted(
    "alignment",
    "cache",
    report=BugReport("microsoft/onnxruntime-genai", 2354, "the length of the past is one too many in decoding"),
)
class PastOffByOne(Eager):
    """With a cache the queries stand one position too far."""

    def positions(self, call: Call) -> Array:
        return super().positions(call) + (call.sizes.past > 0)


@planted(
    "alignment",
    "causal",
    report=BugReport("robertknight/rten", 1323, "the length of the past underflows where keys are fewer than queries"),
)
class NegativeOffsetClipped(Eager):
    """A query that stands before the first key is taken to stand at it."""

    def positions(self, call: Call) -> Array:
        return np.maximum(super().positions(call), 0)


@planted("alignment", "batch_offset")
class FarOffsetWraps(Eager):
    """The position is kept in eight bits and wraps where it is far below the first key."""

    def positions(self, call: Call) -> Array:
        return super().positions(call).astype(np.int8).astype(np.int64)


@planted("alignment", "batch_offset")
class OffsetOfFirstBatch(Eager):
    """The offset of batch entry 0 for all of them."""

    def positions(self, call: Call) -> Array:
        return super().positions(call)[:1]


@planted(
    "window",
    "window",
    report=BugReport("lightseekorg/tokenspeed", 578, "decoding attends to one key too few, 127 instead of 128"),
)
class WindowLeftExclusive(Eager):
    """A window exclusive on the left: one key too few."""

    def window(self, call: Call) -> Array | None:
        left, right = call.spec.window or (None, None)
        return super().window(_with_window(call, None if left is None else left - 1, right))


@planted(
    "window",
    "window",
    report=BugReport("huggingface/transformers", 39408, "the window is one key too long with flash_attention"),
)
class WindowLeftTooLong(Eager):
    """A window one key too long on the left."""

    def window(self, call: Call) -> Array | None:
        left, right = call.spec.window or (None, None)
        return super().window(_with_window(call, None if left is None else left + 1, right))


@planted("window", "window")
class WindowRightTooLong(Eager):
    """A window one key too long on the right."""

    def window(self, call: Call) -> Array | None:
        left, right = call.spec.window or (None, None)
        return super().window(_with_window(call, left, None if right is None else right + 1))


@planted(
    "window", "window", report=BugReport("vllm-project/vllm", 14896, "the use of a sliding window is not detected")
)
class WindowIgnored(Eager):
    """The window is accepted and forgotten."""

    def window(self, call: Call) -> Array | None:
        del call
        return None


def _with_window(call: Call, left: int | None, right: int | None) -> Call:
    if left is None and right is None:
        return call
    # A window of 0 keys less one is not a spec; clip it as a kernel's unsigned integer would not.
    return replace(call, spec=replace(call.spec, window=(None if left is None else max(left, 0), right)))


@planted("tail", "sizes", report=BugReport("pytorch/pytorch", 191937, "wrong output when kv length % 32 == 1"))
class LastKeyDropped(Eager):
    """The tail tile is one key short where S % 32 == 1."""

    def lengths(self, call: Call) -> Array | None:
        short = call.sizes.S % TILE == 1 and call.sizes.S > 1
        return _and(super().lengths(call), np.arange(call.sizes.S) < call.sizes.S - short)


@planted("tail", "sizes")
class FirstKeyDropped(Eager):
    """The loop over keys starts at 1."""

    def lengths(self, call: Call) -> Array | None:
        return _and(super().lengths(call), np.arange(call.sizes.S) >= min(1, call.sizes.S - 1))


@planted(
    "tail",
    "sizes",
    report=BugReport(
        "flashinfer-ai/flashinfer", 5090, "zero-filled keys behind the last have score 0 and weight exp(0)"
    ),
)
class PaddedKeysCount(Eager):
    """Zeros that pad the last tile of keys take part in the normaliser."""

    def sink(self, call: Call, dtype: Any) -> Array:
        sink, padding = super().sink(call, dtype), -call.sizes.S % TILE
        if call.restricted or not padding:
            return sink
        return np.asarray(np.logaddexp(sink, dtype.type(np.log(padding))))


def _and(within: Array | None, part: Array) -> Array:
    return part if within is None else within & part


@planted(
    "lengths",
    "lengths",
    report=BugReport("pegainfer-project/pegainfer", 291, "attention reads past the sequence's end"),
)
class KeyLengthOneMore(Eager):
    """One key beyond kv_len takes part."""

    def lengths(self, call: Call) -> Array | None:
        kv = call.kv_lengths
        return super().lengths(call if kv is None else replace(call, kv_lengths=kv + 1))


@planted("lengths", "lengths")
class KeyLengthOneLess(Eager):
    """The last key within kv_len is left out."""

    def lengths(self, call: Call) -> Array | None:
        kv = call.kv_lengths
        return super().lengths(call if kv is None else replace(call, kv_lengths=kv - 1))


@planted("lengths", "lengths")
class QueryLengthIgnored(Eager):
    """Rows beyond q_len are computed like any other."""

    def lengths(self, call: Call) -> Array | None:
        return super().lengths(replace(call, q_lengths=None))


@planted("segments", "segments", report=BugReport("huggingface/nanoVLM", 204, "a packed sample attends to another one"))
class SegmentsIgnored(Eager):
    """Packed documents attend to each other."""

    def segments(self, call: Call) -> Array | None:
        del call
        return None


@planted("segments", "segments")
class SegmentsOfFirstBatch(Eager):
    """The documents of batch entry 0 for all of them."""

    def segments(self, call: Call) -> Array | None:
        same = super().segments(call)
        return None if same is None else same[:1]
