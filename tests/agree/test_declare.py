"""Which declaration of arithmetic is offered to a kernel, and that a wrong one is offered none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.cases.by_feature import PLAIN, RULES, SQUARE
from attnbench.agree.check.words import UNSET, WORDS, arithmetic, as_typed, line
from attnbench.agree.declare import explain
from attnbench.agree.declare.candidates import sets, widenings, with_all
from attnbench.agree.declare.explain import Evidence, Suspect, explaining, with_precision
from attnbench.agree.declare.offer import EXPLAINABLE, Question, offer
from attnbench.agree.eager.attention import Eager
from attnbench.agree.judge.arithmetic import flushed_by, precision_of
from attnbench.agree.judge.trial import trial
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call
from attnbench.attention.precision import DTYPES, UNIT_ROUNDOFF, Precision, default_precision, numpy_dtype
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import load_backend
from attnbench.backends.discover import load_implementation
from attnbench.backends.fitted import fitted
from attnbench.backends.implementation import Capabilities, Implementation, Limit
from tests.agree.kernels import raising
from tests.agree.observed import Factor

NUMPY = load_backend("numpy")
LOW = ("bfloat16", "float16")


def rounded(array: Array, dtype: str) -> Array:
    return np.asarray(array.astype(numpy_dtype(dtype)).astype(array.dtype))


class WeightsRounded(Eager):
    """P meets V in bfloat16."""

    def weighted_sum(self, weights: Array, v: Array, allowed: Array) -> Array:
        return super().weighted_sum(rounded(weights, "bfloat16"), v, allowed)


class LogitsStored(Eager):
    """Logits lie in memory in bfloat16."""

    def mask_logits(self, logits: Array, allowed: Array, call: Call) -> Array:
        return super().mask_logits(rounded(logits, "bfloat16"), allowed, call)


class Flushing(Eager):
    """What lies below the smallest normal number is 0."""

    def finish(self, output: Array, dtype: Any) -> Array:
        return np.asarray(np.where(np.abs(output) < np.finfo(np.float32).tiny, 0, output).astype(dtype))


class FlushingAndRounding(Flushing, WeightsRounded):
    """Both."""


class InFloat32(Eager):
    """float64 is computed in float32."""

    def finish(self, output: Array, dtype: Any) -> Array:
        return np.asarray(rounded(output, "float32").astype(dtype))

    def softmax(self, logits: Array, allowed: Array, sink: Array) -> Any:
        return super().softmax(rounded(logits, "float32"), allowed, sink)


class CoarseExponential(Eager):
    """An exponential that errs by 20 unit roundoffs to either side."""

    def terms(self, logits: Array, row_max: Array, allowed: Array) -> Array:
        terms = super().terms(logits, row_max, allowed)
        side = np.where(np.arange(terms.shape[-1]) % 2, 1, -1).astype(terms.dtype)
        return np.asarray(terms * (1 + 20 * UNIT_ROUNDOFF[terms.dtype.name] * side).astype(terms.dtype))


class ScaleOff(WeightsRounded):
    """A wrong scale, beside a P that is rounded."""

    def scale(self, call: Call, allowed: Array) -> Array | float:
        return super().scale(call, allowed) * 0.992


class FactorOff(Factor, WeightsRounded):
    """A factor on the output, beside a P that is rounded."""


class SummedInBfloat16(Eager):
    """P·V, one key after the other."""

    def weighted_sum(self, weights: Array, v: Array, allowed: Array) -> Array:
        del allowed
        total = np.zeros((*weights.shape[:-1], v.shape[-1]), weights.dtype)
        for j in range(v.shape[-2]):
            total = rounded(total + rounded(weights[..., j, None], "bfloat16") * v[..., j, :][..., None, :], "bfloat16")
        return total


class RoundedWhereCausal(WeightsRounded):
    """P is rounded under a causal mask alone."""

    def weighted_sum(self, weights: Array, v: Array, allowed: Array) -> Array:
        return (
            Eager.weighted_sum(self, weights, v, allowed)
            if allowed.all()
            else super().weighted_sum(weights, v, allowed)
        )


class SinkBySubtraction(Eager):
    """The weight of a sink is 1 less the others."""

    def softmax(self, logits: Array, allowed: Array, sink: Array) -> Any:
        softmax = super().softmax(logits, allowed, sink)
        return softmax._replace(sink=1 - softmax.weights.sum(-1, keepdims=True))


class KeyDropped(Eager):
    """The last key of an odd number."""

    def mask_logits(self, logits: Array, allowed: Array, call: Call) -> Array:
        masked = super().mask_logits(logits, allowed, call).copy()
        if call.sizes.S % 2 and call.sizes.S > 1:
            masked[..., -1] = -np.inf
        return masked


def kernel(breed: type[Eager], *dtypes: str, backward: bool = False, **can: Any) -> Implementation:
    eager = breed()
    return Implementation(
        f"numpy/{breed.__name__}",
        Capabilities(dtypes=dtypes, causal=True, sinks=True, **can),
        eager.attend,
        eager.vjp if backward else None,
    )


def cases(dtype: str) -> list[Case]:
    """Plain, with a small scale, tiny values, causal, and sinks under huge scores."""
    plain, square = (Problem.from_dict({**sizes, "dtype": dtype}) for sizes in (PLAIN, SQUARE))
    return [
        Case(AttentionSpec(), plain, "backward"),
        Case(AttentionSpec(scale="1/d"), plain, "backward"),
        Case(AttentionSpec(), replace(plain, distribution="denormal"), "forward"),
        Case(AttentionSpec(causal=True), square, "backward"),
        Case(AttentionSpec(), replace(plain, S=2, distribution="huge", operands=("sinks",)), "backward"),
    ]


def disagreeing(implementation: Implementation, dtype: str) -> list[Case]:
    """The cases whose values disagree."""
    able = [case if implementation.has_gradients() else replace(case, phase="forward") for case in cases(dtype)]
    return [case for case in able if trial(NUMPY, implementation, case).fault in EXPLAINABLE]


def offered(implementation: Implementation, *dtypes: str) -> dict[str, str]:
    """The words of what is offered, by dtype."""
    questions = {dtype: Question(wrong) for dtype in dtypes if (wrong := disagreeing(implementation, dtype))}
    assert questions, "a kernel that agrees has no use for an offer"
    return offer(NUMPY, implementation, questions).words


RIGHT = [
    (WeightsRounded, "bfloat16", "P rounded to bfloat16"),
    (LogitsStored, "bfloat16", "logits stored in bfloat16"),
    (Flushing, "float32", "subnormals become 0"),
    (FlushingAndRounding, "bfloat16", "P rounded to bfloat16, subnormals become 0"),
    (InFloat32, "float64", "sums in float32, softmax in float32"),
]


@pytest.mark.parametrize(
    ("breed", "dtype", "words"), RIGHT, ids=lambda parameter: getattr(parameter, "__name__", parameter)
)
def test_what_a_kernel_does_is_offered_and_makes_it_agree(breed: type[Eager], dtype: str, words: str) -> None:
    wrong_kernel = kernel(breed, dtype)
    wrong = disagreeing(wrong_kernel, dtype)
    offered_to_it = offer(NUMPY, wrong_kernel, {dtype: Question(wrong)})
    assert offered_to_it.words == {dtype: words}
    said = offered_to_it.of(dtype)
    assert said is not None
    assert f"{len(wrong)} cases" in said["evidence"] or (len(wrong) == 1 and "the one case" in said["evidence"])
    declared = eval(f"dict({offered_to_it.line})", {"Precision": Precision})["precision"]  # noqa: S307  (what a user types)
    changed = with_precision(wrong_kernel, dtype, "cpu", declared[dtype])
    assert not disagreeing(changed, dtype)


def keep_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Suspect, "keeps", lambda *_: True)


def call_it_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "_plainly_wrong", lambda _: True)


# A wrong kernel, its dtype, and the condition without which it would be offered a declaration.
WRONG: list[tuple[type[Eager], str, Callable[[pytest.MonkeyPatch], None]]] = [
    (ScaleOff, "bfloat16", keep_all),
    (FactorOff, "bfloat16", keep_all),
    (SummedInBfloat16, "bfloat16", keep_all),
    (RoundedWhereCausal, "bfloat16", call_it_plain),
    (SinkBySubtraction, "float64", call_it_plain),
]


@pytest.mark.parametrize(
    ("breed", "dtype", "without"), WRONG, ids=lambda parameter: getattr(parameter, "__name__", parameter)
)
def test_a_wrong_kernel_is_offered_nothing_because_of_a_condition(
    monkeypatch: pytest.MonkeyPatch, breed: type[Eager], dtype: str, without: Callable[[pytest.MonkeyPatch], None]
) -> None:
    wrong_kernel = kernel(breed, dtype, backward=breed is SinkBySubtraction)
    assert offered(wrong_kernel, dtype) == {}
    without(monkeypatch)
    assert set(offered(wrong_kernel, dtype)) == {dtype}, "this kernel does not show that the condition is needed"


@pytest.mark.parametrize(("breed", "dtype"), [(KeyDropped, "bfloat16"), (SinkBySubtraction, "float32")])
def test_a_plainly_wrong_kernel_is_offered_nothing(breed: type[Eager], dtype: str) -> None:
    assert offered(kernel(breed, dtype, backward=breed is SinkBySubtraction), dtype) == {}


def test_a_fault_of_float32_is_none_of_sixteen_bits() -> None:
    """The same kernel without its float32 is offered a format; with it both are the one fault that float32 shows."""

    class Both(LogitsStored):
        pass

    assert set(offered(kernel(Both, "bfloat16"), "bfloat16")) == {"bfloat16"}
    assert offered(kernel(Both, "float32", "bfloat16"), "float32", "bfloat16") == {}


def test_our_own_attention_is_about_as_far_off_and_a_coarser_one_is_not() -> None:
    class FourBits(Eager):
        def mask_logits(self, logits: Array, allowed: Array, call: Call) -> Array:
            return super().mask_logits(np.round(logits * 4) / 4, allowed, call)

    case = cases("bfloat16")[1]
    for breed, alike in ((LogitsStored, True), (FourBits, False)):
        examined = Suspect(NUMPY, kernel(breed, "bfloat16"), "bfloat16")
        assert Evidence(examined, [case]).is_as_our_own(examined.held_to) is alike


def test_a_declared_chain_that_is_too_short_is_taken_back() -> None:
    short = replace(default_precision("float32"), chain=1)
    chained = kernel(Eager, "float32", precision={"float32": short})
    words = {widening.levels[0].get("chain", "") for widening in widenings(short, "float32")}
    assert None in words
    assert offer(NUMPY, chained, {}).line == 'precision={"float32": Precision(chain=1)}'
    assert arithmetic({"chain": None}) == "sums over all terms"


def test_a_coarse_exponential_is_offered_at_the_lowest_level_that_is_enough() -> None:
    """In float64; in float32 one as coarse as this breaks Rule 2, and is offered nothing."""
    changes = {}
    for dtype in ("float64", "float32"):
        coarse = kernel(CoarseExponential, dtype)
        pairs = Problem.from_dict({**PLAIN, "S": 2, "D": 1, "Dv": 64, "dtype": dtype})  # no error cancels another
        tried = [Case(AttentionSpec(), replace(pairs, seed=seed)) for seed in range(4)]
        wrong = [case for case in tried if trial(NUMPY, coarse, case).status == "wrong"]
        assert wrong
        explanation = explaining(Suspect(NUMPY, coarse, dtype), wrong)
        changes[dtype] = explanation and explanation.changes
    assert changes == {"float64": {"exp_ulp": 4.0}, "float32": None}


def asked_of(implementation: Implementation, *sizes: dict[str, Any], dtype: str) -> list[Case]:
    """Plain cases of these sizes that disagree."""
    tried = [Case(AttentionSpec(), Problem.from_dict({"D": 16, "Dv": 8, "dtype": dtype} | more)) for more in sizes]
    return [case for case in tried if trial(NUMPY, implementation, case).fault in EXPLAINABLE]


def test_the_rules_are_asked_within_the_limits_of_a_kernel() -> None:
    """Its own blocks of 16 queries leave out the sizes of the rules; those nearest to them show the wrong scale."""
    blocks = (Limit("Tq", "in blocks", multiple_of=16),)
    sizes = [{"B": 2, "Hq": 3, "Tq": 32, "S": 65}, {"B": 1, "Hq": 2, "Tq": 16, "S": 64}]
    for breed, words in ((ScaleOff, {}), (WeightsRounded, {"bfloat16": "P rounded to bfloat16"})):
        limited = kernel(breed, "bfloat16", limits=blocks)
        wrong = asked_of(limited, *sizes, dtype="bfloat16")
        assert wrong
        assert offer(NUMPY, limited, {"bfloat16": Question(wrong)}).words == words


def test_a_rule_that_cannot_be_asked_is_not_said_to_hold_and_withholds_a_format() -> None:
    """Rule 3 takes its draws as batch entries."""
    alone = (Limit("B", "one at a time", at_most=1),)
    rounding = kernel(WeightsRounded, "bfloat16", limits=alone)
    wrong = asked_of(rounding, {"B": 1, "Hq": 2, "Tq": 16, "S": 64}, dtype="bfloat16")
    assert wrong
    assert offer(NUMPY, rounding, {"bfloat16": Question(wrong)}).words == {}
    flushing = kernel(Flushing, "float32", limits=alone)
    tiny = {"B": 1, "Hq": 2, "Tq": 16, "S": 64, "distribution": "denormal"}
    offered_to_it = offer(NUMPY, flushing, {"float32": Question(asked_of(flushing, tiny, dtype="float32"))})
    assert offered_to_it.evidence["float32"].endswith("agrees, and rule_2 and probes hold (rule_3 could not be asked)")


class OnceInfinite(WeightsRounded):
    """One infinity, where there are 24 queries."""

    def finish(self, output: Array, dtype: Any) -> Array:
        output = super().finish(output, dtype)
        if output.shape[2] == 24:
            output[0, 0, -1, 0] = np.inf
        return output


class OnceNaN(WeightsRounded):
    """A d_k of NaN, where there are 24 queries."""

    def handed_out(self, grads: Any) -> Any:
        late = grads["q"].shape[2] == 24
        return dict(grads) | ({"k": np.full_like(grads["k"], np.nan)} if late else {})


@pytest.mark.parametrize("breed", [OnceInfinite, OnceNaN])
def test_what_no_declaration_explains_is_not_counted_as_explained(breed: type[Eager]) -> None:
    wrong_kernel = kernel(breed, "bfloat16", backward=breed is OnceNaN)
    sizes = [{"B": 1, "Hq": 2, "Tq": tq, "S": 65} for tq in (17, 24, 9)]
    every = [Case(AttentionSpec(), Problem.from_dict({"D": 16, "Dv": 8, "dtype": "bfloat16"} | more)) for more in sizes]
    every = [replace(case, phase="backward") if breed is OnceNaN else case for case in every]
    assert all(trial(NUMPY, wrong_kernel, case).fault in EXPLAINABLE for case in every)
    offered_to_it = offer(NUMPY, wrong_kernel, {"bfloat16": Question(every)})
    assert "with it 2 of 3 cases whose values disagree in bfloat16 agree, and" in offered_to_it.evidence["bfloat16"]
    assert offered_to_it.cases == {"bfloat16": (every[0], every[2])}
    declares = with_precision(wrong_kernel, "bfloat16", "cpu", Precision(p_cast="bfloat16"))
    assert [trial(NUMPY, declares, case).status for case in every] == ["ok", "wrong", "ok"]


def test_the_plainest_case_is_asked_as_a_restricted_kernel_takes_it() -> None:
    """With D = Dv alone the plainest case agrees, too, where P is rounded under a causal mask only."""
    for breed, words in ((RoundedWhereCausal, {}), (WeightsRounded, {"bfloat16": "P rounded to bfloat16"})):
        restricted = kernel(breed, "bfloat16", only=("equal_head_sizes",))
        able = [replace(fitted(case, restricted.capabilities), phase="forward") for case in cases("bfloat16")]
        wrong = [case for case in able if trial(NUMPY, restricted, case).fault in EXPLAINABLE]
        assert offer(NUMPY, restricted, {"bfloat16": Question(wrong)}).words == words


def test_where_nothing_is_known_of_the_plainest_case_no_format_is_offered() -> None:
    limited = kernel(WeightsRounded, "bfloat16", limits=(Limit("Tq", "long ones", at_least=2000),))
    wrong = asked_of(limited, {"B": 1, "Hq": 1, "Tq": 2000, "S": 8}, dtype="bfloat16")
    assert wrong
    assert offer(NUMPY, limited, {"bfloat16": Question(wrong)}).words == {}


LATER = Precision(exp_ulp=4.0, seen="numpy>=99")


def test_the_line_keeps_what_is_declared_for_other_versions() -> None:
    now = Precision(tanh_ulp=4.0, seen="numpy<99")
    rounding = kernel(
        WeightsRounded, "bfloat16", precision={"bfloat16": (LATER, now), "float16": Precision(flush=True)}
    )
    assert offer(NUMPY, rounding, {}).line == (
        f'precision={{"bfloat16": ({as_typed(LATER)}, {as_typed(now)}), "float16": Precision(flush=True)}}'
    )
    offered_to_it = offer(NUMPY, rounding, {"bfloat16": Question(disagreeing(rounding, "bfloat16"))})
    changed = replace(now, p_cast="bfloat16")
    assert f'"bfloat16": ({as_typed(LATER)}, {as_typed(changed)})' in offered_to_it.line


def test_where_the_arithmetic_was_probed_the_line_adds_these_versions() -> None:
    rounding = kernel(WeightsRounded, "bfloat16", precision={"bfloat16": LATER})
    offered_to_it = offer(NUMPY, rounding, {"bfloat16": Question(disagreeing(rounding, "bfloat16"))})
    added = Precision(p_cast="bfloat16", seen=f"numpy=={np.__version__}")
    assert offered_to_it.line == f'precision={{"bfloat16": ({as_typed(LATER)}, {as_typed(added)})}}'


def test_an_offer_says_in_which_capabilities_the_line_is_written() -> None:
    rounding = kernel(WeightsRounded, "bfloat16")
    wrong = disagreeing(rounding, "bfloat16")
    for on, where in (
        ({}, "its Capabilities"),
        ({"cpu": rounding.capabilities}, 'its Capabilities in on={"cpu": ...}'),
    ):
        said = offer(NUMPY, replace(rounding, on=on), {"bfloat16": Question(wrong)}).of("bfloat16")
        assert said is not None
        assert said["where"] == where


def test_an_exception_and_the_end_of_the_time_offer_nothing() -> None:
    rounding = kernel(WeightsRounded, "bfloat16")
    wrong = disagreeing(rounding, "bfloat16")
    explanation = explaining(Suspect(NUMPY, rounding, "bfloat16"), wrong)
    assert explanation is not None
    assert (explanation.changes, explanation.rules) == ({"p_cast": "bfloat16"}, RULES)
    assert explaining(Suspect(NUMPY, rounding, "bfloat16", until=0.0), wrong) is None
    assert explaining(Suspect(NUMPY, rounding, "bfloat16"), []) is None

    assert explaining(Suspect(NUMPY, replace(rounding, attend=raising), "bfloat16"), wrong) is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_widening_is_wider_than_what_is_declared_and_sets_go_from_small_to_large(dtype: str) -> None:
    declared = default_precision(dtype)
    every = widenings(declared, dtype)
    names = [name for widening in every for name in widening.levels[0]]
    assert names[0] == "flush"
    assert set(names) <= {f.name for f in fields(Precision)}
    assert {"p_cast", "logits"} <= set(names) if dtype in LOW else not {"p_cast", "logits"} & set(names)
    chosen = list(sets(every, every[:1]))
    assert [len(widened) for widened in chosen] == sorted(len(widened) for widened in chosen)
    assert all(every[0] in widened for widened in chosen)
    assert not widenings(with_all(declared, every), dtype), "what is declared already is not offered again"


def test_words_and_line_say_every_field() -> None:
    assert as_typed(Precision()) == "Precision()"
    full = Precision("float64", "float16", "float64", "bfloat16", 640, 20.0, 4.5, flush=True, stored_output="float16")
    full = replace(full, seen="torch>=2.13,<2.14")
    assert eval(as_typed(full), {"Precision": Precision}) == full  # noqa: S307  (what a user types)
    both = {"bfloat16": (Precision(flush=True),), "float64": (Precision("float64", softmax="float64"),)}
    assert line(both) == (
        'precision={"float64": Precision(accumulate="float64", softmax="float64"), "bfloat16": Precision(flush=True)}'
    )
    assert set(UNSET) < set(WORDS)
    assert (
        arithmetic({"exp_ulp": 20.0, "tanh_ulp": 4.0}) == "exp within 20 unit roundoffs, tanh within 4 unit roundoffs"
    )


def test_the_backend_says_what_it_does_in_every_kernel() -> None:
    """No declaration of a JAX kernel is needed for subnormals that XLA flushes; NumPy's are kept."""
    mine = Implementation("jax/mine", Capabilities(dtypes=DTYPES, devices=("cpu", "cuda")), Eager().attend)
    for dtype in DTYPES:
        flushes = dtype != "float16"
        assert precision_of(mine, dtype, "cpu").flush == flushes
        assert flushed_by(mine, dtype, "cpu") == ("jax" if flushes else None)
        assert not precision_of(mine, dtype, "cuda").flush
        assert not precision_of(replace(mine, name="numpy/mine"), dtype, "cpu").flush
        assert not precision_of(replace(mine, name="unheard/mine"), dtype, "cpu").flush
    assert load_implementation("numpy/naive").name == "numpy/naive"
