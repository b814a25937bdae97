"""No diagnosis is false: what a reading does not explain, or another explains as well, gets no name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.diagnose import kind as diagnosing
from attnbench.agree.diagnose import output as diagnose_output
from attnbench.agree.diagnose.condition import condition
from attnbench.agree.diagnose.doctor import UNKNOWN, Diagnosis, Doctor, Seen
from attnbench.agree.diagnose.kind import diagnose
from attnbench.agree.diagnose.readings_gradient import gradient_readings, gradients
from attnbench.agree.diagnose.readings_measured import Span, within_span
from attnbench.agree.diagnose.readings_numeric import tf32
from attnbench.agree.eager.attention import CAPABILITIES, Eager, ForwardState
from attnbench.agree.judge.bounds import Units
from attnbench.agree.judge.gradient_bounds import gradient_bounds
from attnbench.agree.judge.trial import trial
from attnbench.agree.judge.weight_bounds import SLACK
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call
from attnbench.attention.inputs import draw_cotangents
from attnbench.backends.attend import load_backend
from attnbench.backends.implementation import AttentionOutput

BACKEND = load_backend("numpy")
CASE = "B=1 Hq=2 Tq=9 S=17 D=8 dtype=float32"


def told(kernel: Eager, text: str) -> Diagnosis:
    """What is said of a kernel that fails in this case."""
    case, implementation = case_from_text(text), kernel.implementation("planted")
    assert trial(BACKEND, implementation, case).status == "wrong"
    return diagnose(BACKEND, implementation, case, seconds=30.0)


# Sixteen bits


class OneFaultForEachDtype(Eager):
    """Rounds q and k to TF32 in float32, where a frontier one key too wide is another fault: of bfloat16."""

    def score(self, q: Array, k: Array, call: Call) -> Array:
        if call.dtype == "float32":
            q, k = (tf32(array).astype(np.float32) for array in (q, k))
        return super().score(q, k, call)

    def causal(self, call: Call) -> Array | None:
        right = super().causal(call)
        if right is None or call.dtype != "bfloat16":
            return right
        return np.arange(call.sizes.S) <= self.positions(call) + 1


class GradientsOfOneDtype(Eager):
    """Forgets the scale on the way back in float32, and in bfloat16 the normaliser."""

    def scale_in_backward(self, state: ForwardState) -> Array | float:
        return 1.0 if state.call.dtype == "float32" else super().scale_in_backward(state)

    def delta(self, weights: Array, d_weights: Array) -> Array:
        right = super().delta(weights, d_weights)
        return right * 0 if self.low else right

    def vjp(self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None) -> dict[str, Array]:
        self.low = call.dtype == "bfloat16"
        return super().vjp(q, k, v, call, d_output, d_lse)

    low = False


def test_a_fault_in_16_bits_is_not_named_by_another_one_in_more_bits() -> None:
    text = "causal align=bottom_right B=2 Hq=2 Tq=9 S=17 D=8 dtype="
    assert told(OneFaultForEachDtype(), f"{text}bfloat16").evidence.startswith("the causal mask is one key too wide")
    assert told(OneFaultForEachDtype(), f"{text}float32").kind == "precision"


def test_so_it_is_of_gradients() -> None:
    text = "backward B=1 Hq=2 Tq=9 S=17 D=8 dtype="
    assert "the scale is missing" in told(GradientsOfOneDtype(), f"{text}float32").evidence
    assert "the softmax's normaliser is missing" in told(GradientsOfOneDtype(), f"{text}bfloat16").evidence


class FactorForEachElement(Eager):
    """Every element of the output is off by a factor of its own."""

    def weighted_sum(self, weights: Array, v: Array, allowed: Array) -> Array:
        right = super().weighted_sum(weights, v, allowed)
        factors = 1 + 0.05 * np.asarray(np.random.default_rng(0).standard_normal(right.shape))
        return np.asarray(right * factors.astype(right.dtype))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_noise_is_found_in_16_bits_as_in_more(dtype: str) -> None:
    diagnosis = told(FactorForEachElement(), f"B=1 Hq=2 Tq=9 S=17 D=8 dtype={dtype}")
    assert diagnosis.kind == "noise"
    assert "every element is off by a factor of its own" in diagnosis.evidence


# Gradients and lse


class Noisy(Eager):
    """A gradient with noise of a few bounds."""

    def __init__(self, name: str, size: float) -> None:
        self.name, self.size = name, size

    def handed_out(self, grads: dict[str, Array]) -> dict[str, Array]:
        if self.name not in grads:
            return grads
        right = grads[self.name]
        signs = np.random.default_rng(0).choice([-1, 1], right.shape)
        return grads | {self.name: (right * (1 + self.size * signs)).astype(right.dtype)}


@pytest.mark.parametrize(
    "text",
    [
        f"backward softcap=1000.0 {CASE}",
        f"backward scale=1.0 {CASE}",
        "backward B=1 Hq=2 Tq=9 S=17 D=1 dtype=float32",
        f"backward {CASE} operands=bias",
    ],
)
def test_noise_in_a_gradient_is_no_reading_that_changes_nothing(text: str) -> None:
    assert told(Noisy("q", 4e-5), text).kind == UNKNOWN


def test_noise_in_the_gradient_of_sinks_is_no_cancellation() -> None:
    text = "backward B=1 Hq=4 Tq=3 S=17 D=8 dtype=float32 operands=sinks distribution=peaky"
    assert told(Noisy("sinks", 1e-4), text).kind == UNKNOWN


class OncePerSeed(Eager):
    """The gradient of k is halved on the values of one draw, and right on others."""

    def vjp(self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None) -> dict[str, Array]:
        grads = super().vjp(q, k, v, call, d_output, d_lse)
        self.first = q.tobytes() if self.first is None else self.first
        return grads | {"k": grads["k"] / 2} if q.tobytes() == self.first else grads

    first: bytes | None = None


def test_a_gradient_is_asked_for_other_inputs_too() -> None:
    case, kernel = case_from_text(f"backward {CASE}"), OncePerSeed().implementation("once")
    assert diagnose(BACKEND, kernel, case, seconds=30.0).kind == UNKNOWN


class Unscaled(Eager):
    """The scale is missing in the backward pass."""

    def scale_in_backward(self, state: ForwardState) -> Array | float:
        del state
        return 1.0


def test_readings_that_are_one_in_a_case_are_both_named() -> None:
    """With the scale −1 a scale that is missing and one that is applied twice are the same."""
    both = "the scale is missing in the backward pass, or the scale is applied twice in the backward pass"
    assert told(Unscaled(), f"backward scale=-1.0 {CASE}").evidence == both


class Stretched(Eager):
    """An lse that is a few bounds too large, in proportion."""

    def __init__(self, by: float) -> None:
        self.by = by

    def attend(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        right = super().attend(q, k, v, call)
        return right if right.lse is None else replace(right, lse=(right.lse * (1 + self.by)).astype(right.lse.dtype))


@pytest.mark.parametrize("by", [2e-6, 3e-6, 5e-6])
def test_noise_in_lse_is_none_of_its_readings(by: float) -> None:
    assert told(Stretched(by), f"{CASE} outputs=lse").kind == UNKNOWN


class LseWithCount(Eager):
    """An lse to which ln S is added: no number."""

    def attend(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        right = super().attend(q, k, v, call)
        return right if right.lse is None else replace(right, lse=right.lse + np.float32(np.log(call.sizes.S)))


def test_what_grows_with_the_keys_is_no_number_that_is_added_everywhere() -> None:
    assert told(LseWithCount(), f"{CASE} outputs=lse").kind == UNKNOWN


@pytest.mark.parametrize(
    "text",
    [
        f"backward softcap=0.7 {CASE} outputs=lse",
        "backward B=2 Hq=4 Hkv=2 Tq=5 S=9 D=8 dtype=float32 operands=bias",
        f"backward dropout=0.3 {CASE}",
    ],
)
def test_the_bound_of_a_reading_holds_it_computed_in_float32(text: str) -> None:
    """Each wrong backward pass in float32 lies within its own bound, which is no wider than it must be."""
    case = case_from_text(text)
    kernel = Eager().implementation("right")
    seen = Doctor(BACKEND, kernel, "cpu", time.monotonic() + 30).see(replace(case, phase="forward"))
    d_output, d_lse = draw_cotangents(case)
    units = Units.of(CAPABILITIES.precision_of("float32"), "float32")
    rows, pairs = np.arange(seen.call.sizes.Tq), tuple(np.ndindex(seen.call.sizes.B, seen.call.sizes.Hq))
    for reading in gradient_readings(seen.right, d_lse):
        read = gradients(seen.right, d_output, d_lse, reading.steps)
        bounds = gradient_bounds(*seen.qkv, seen.call, d_output, d_lse, units, rows, pairs, steps=reading.steps)
        for name, value in read.items():
            assert (np.abs(value.astype(np.float32) - value) <= SLACK * bounds[name]).all(), reading.sentence
            size = np.abs(value).max()
            assert SLACK * bounds[name].max() <= 1e-4 * max(size, 1), reading.sentence


# NaN, sizes, time


class Leaking(Eager):
    """Multiplies a NaN outside the allowed set by 0."""

    def weighted_sum(self, weights: Array, v: Array, allowed: Array) -> Array:
        del allowed
        return np.asarray(weights @ v)


def test_a_nan_that_no_row_reads_is_a_leak() -> None:
    diagnosis = told(Leaking(), "causal align=top_left B=2 Tq=3 S=12 D=4 operands=nan_value")
    assert diagnosis.kind == "nan"
    assert diagnosis.evidence.startswith("a NaN in v makes 3 rows that do not read it NaN: batch entry 0")


def test_a_condition_does_not_contradict_what_was_tried() -> None:
    sentence = condition(case_from_text("Tq=8 S=9 D=4"), lambda resized: resized.problem.Tq % 5 == 3)
    assert sentence == "Tq: of those tried 8 and 18 are wrong, 1, 4, 6, 7 and 9 agree"


class MaskReplacesCausality(Eager):
    """Where there is a mask, causality is forgotten."""

    def causal(self, call: Call) -> Array | None:
        return None if call.mask is not None else super().causal(call)


class NoCausality(Eager):
    """Causality is forgotten, mask or none."""

    def causal(self, call: Call) -> Array | None:
        del call
        return None


MASKED = "causal align=bottom_right B=2 Hq=2 Tq=9 S=17 D=8 operands=mask"


def test_a_mask_that_replaces_causality_is_told_from_causality_that_is_ignored() -> None:
    assert told(MaskReplacesCausality(), MASKED) == Diagnosis("mask", "the mask replaces causality")
    assert told(NoCausality(), MASKED) == Diagnosis("causal", "the causal mask is ignored")


def counted(stop: int) -> type[Doctor]:
    """A doctor whose time is up after so many looks at the clock."""

    class Counted(Doctor):
        looks = 0

        @property
        def late(self) -> bool:
            self.looks += 1
            return self.looks > stop

    return Counted


@pytest.mark.parametrize(
    ("stop", "text"), [(0, MASKED), (20, MASKED), (40, MASKED), (0, f"backward {CASE}"), (2, f"backward {CASE}")]
)
def test_who_has_no_time_for_every_reading_names_none(stop: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Both(Unscaled, MaskReplacesCausality):
        """Two faults at once."""

    monkeypatch.setattr(diagnosing, "Doctor", counted(stop))
    assert told(Both(), text) == Diagnosis(UNKNOWN, "nothing found in the time given")


class LastKeyDropped(Eager):
    """Drops the last key where their number is odd."""

    def allowed(self, call: Call) -> Array:
        keys = call.sizes.S
        return super().allowed(call) & (np.arange(keys) < keys - keys % 2 * (keys > 1))


def test_of_sizes_that_there_was_no_time_for_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "B=2 Hq=2 Tq=5 S=17 D=6"
    assert told(LastKeyDropped(), text).evidence.endswith(" where S is odd")

    class Late(Doctor):
        """Has time for two sizes."""

        @property
        def late(self) -> bool:
            return self.sizes > 2

        def other(self, seen: Seen, **changes: Any) -> Seen | None:
            self.sizes += "S" in changes
            return super().other(seen, **changes)

        sizes = 0

    monkeypatch.setattr(diagnosing, "Doctor", Late)
    assert told(LastKeyDropped(), text).evidence.endswith(" at S = 17")


# Readings of a part


def test_readings_of_the_score_are_none_of_a_part() -> None:
    """They change what the scores are computed of, and nothing that could be so in a part of the call alone."""
    case = case_from_text("score=additive B=2 Hq=2 Tq=5 S=7 D=4")
    seen = Doctor(BACKEND, Eager().implementation("right"), "cpu", time.monotonic() + 30).see(case)

    def sentences() -> Iterator[str]:
        return (reading.sentence for reading in within_span(seen.facts, Span(2, 2, 4, 5)))

    assert not [sentence for sentence in sentences() if "the bias b is left out" in sentence]


def test_every_condition_of_a_tail_can_be_told_from_the_others() -> None:
    conditions = diagnose_output.CONDITIONS
    tried = {name: tuple(rule(s) for s in diagnose_output.TAILS) for name, rule in conditions.items()}
    assert len(set(tried.values())) == len(conditions)


class KeyMaskByKeyHead(Eager):
    """A mask of keys, one row for each head, is read by the key head: with one of these it is that of head 0."""

    def attend(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        if call.mask is not None:
            heads = np.arange(call.sizes.Hq) // call.sizes.group
            call = replace(call, mask=np.broadcast_to(call.mask, call.mask.shape)[:, heads])
        return super().attend(q, k, v, call)


def test_what_explains_a_smaller_case_must_explain_where_it_comes_from() -> None:
    kernel = KeyMaskByKeyHead().implementation("planted")
    small, large = (case_from_text(f"B=2 Hq={hq} Hkv={hkv} Tq=2 S=9 D=3 operands=mask") for hq, hkv in ((2, 1), (6, 2)))
    assert diagnose(BACKEND, kernel, small, seconds=30.0).evidence == "the mask of head 0 is used for all"
    assert not diagnose(BACKEND, kernel, small, seconds=30.0, origin=large).known


class DropsLowHeads(Eager):
    """Where all of a head's bias is low, it takes its keys for masked."""

    def attend(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        right = super().attend(q, k, v, call)
        if call.bias is None:
            return right
        low = np.max(call.bias.astype(np.float64), axis=(2, 3)) < -5000
        return replace(right, output=np.where(low[..., None, None], 0, right.output).astype(q.dtype))


def test_low_logits_alone_do_not_show_that_no_maximum_is_subtracted() -> None:
    """Whoever drops what is low answers the same."""
    assert told(DropsLowHeads(), "B=9 Tq=1 S=3 D=8 Dv=9 operands=bias_low").kind != "overflow"
