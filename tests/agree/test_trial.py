"""One trial: large cases judged by samples, exceptions and writes as disagreements, reasons for what is unsupported."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.judge import selection as selection_module
from attnbench.agree.judge.gate import gate
from attnbench.agree.judge.selection import choose
from attnbench.agree.judge.trial import Trial, trial
from attnbench.api import AttentionOutput, Call, Capabilities, Implementation, Limit, UnsupportedError
from attnbench.attention.arrays import Array
from attnbench.attention.call import prepare
from attnbench.attention.inputs import draw
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import resolve
from attnbench.backends.bind import inputs_of
from attnbench.errors import UndeliveredError

BACKEND, NAIVE = resolve("numpy/naive")
assert NAIVE.vjp is not None
TRUE_VJP = NAIVE.vjp
PLAIN = AttentionSpec()
SMALL = Case(PLAIN, Problem(B=2, Hq=2, Tq=5, S=7, D=4), "backward")

# NumPy arrays come to a kernel read-only, so that a write that is undone is seen too.
READ_ONLY = "tried to write to an input: assignment destination is read-only"


def changing(
    attend: Callable[[AttentionOutput], Any] | None = None,
    grads: Callable[[dict[str, Array]], Any] | None = None,
) -> Implementation:
    """numpy/naive with something done to its output or its gradients."""
    forward = attend or (lambda output: output)
    backward = grads or (lambda g: g)
    return replace(
        NAIVE,
        attend=lambda *given: forward(NAIVE.attend(*given)),
        vjp=lambda *given: backward(TRUE_VJP(*given)),
    )


def raising(error: Exception) -> Implementation:
    def attend(*_: Any) -> Any:
        raise error

    return replace(NAIVE, attend=attend)


def test_a_right_answer_is_ok() -> None:
    result = trial(BACKEND, NAIVE, SMALL)
    assert (result.status, result.reason, result.fault) == ("ok", None, None)
    assert 0 <= result.error_ratio <= 1
    assert [j.tensor for j in result.forward] == ["output"]
    assert [j.tensor for j in result.gradients] == ["d_q", "d_k", "d_v"]


# Disagreements that are not numbers


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("first line\nsecond line"), "raised ValueError: first line"),
        (RuntimeError(), "raised RuntimeError: "),
        (ZeroDivisionError("division by zero"), "raised ZeroDivisionError: division by zero"),
        (UndeliveredError("not given"), "raised not given"),
    ],
)
def test_an_exception_is_a_disagreement(error: Exception, reason: str) -> None:
    result = trial(BACKEND, raising(error), SMALL)
    assert (result.status, result.reason, result.fault) == ("wrong", reason, "exception")
    assert result.error_ratio == math.inf
    assert gate(BACKEND, raising(error), SMALL).status == "wrong"


def test_what_a_kernel_refuses_is_unsupported_in_its_own_words() -> None:
    result = trial(BACKEND, raising(UnsupportedError("heads of 64\n  alone")), SMALL)
    assert (result.status, result.reason, result.refused) == ("unsupported", "heads of 64 alone", True)
    assert result.fault is None
    assert gate(BACKEND, raising(UnsupportedError()), SMALL).status == "unsupported"
    assert not trial(BACKEND, replace(NAIVE, capabilities=Capabilities(), vjp=None), SMALL).refused


def test_running_out_of_memory_is_not_a_disagreement() -> None:
    with pytest.raises(MemoryError):
        trial(BACKEND, raising(MemoryError()), SMALL)


OPERANDS = ("bias", "mask", "sinks", "kv_lengths")


@pytest.mark.parametrize("name", ["q", "k", "v", "bias", "mask", "sinks", "kv_lengths", "keep", "params.W"])
def test_writing_to_an_input_is_a_disagreement(name: str) -> None:
    def attend(q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        output = NAIVE.attend(q, k, v, call)
        arrays = {"q": q, "k": k, "v": v, "params.W": call.params["W"]}
        array = arrays[name] if name in arrays else getattr(call, name)
        array[...] = array == 0 if array.dtype == bool else array + 1
        return output  # type: ignore[no-any-return]

    spec = AttentionSpec("general", dropout=0.5)
    case = Case(spec, replace(SMALL.problem, operands=OPERANDS))
    result = trial(BACKEND, replace(NAIVE, attend=attend), case)
    assert (result.status, result.fault) == ("wrong", "input")
    assert result.fault == "input"
    assert result.reason == READ_ONLY, name
    assert result.error_ratio == math.inf


@pytest.mark.parametrize("name", ["d_output", "d_lse", "q"])
def test_writing_to_an_input_on_the_way_back_is_a_disagreement(name: str) -> None:
    def vjp(q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array) -> Any:
        grads = TRUE_VJP(q, k, v, call, d_output, d_lse)
        {"d_output": d_output, "d_lse": d_lse, "q": q}[name][...] *= 2
        return grads

    result = trial(BACKEND, replace(NAIVE, vjp=vjp), replace(SMALL, outputs=("lse",)))
    assert (result.status, result.fault) == ("wrong", "input"), name
    assert "read-only" in (result.reason or "")


def test_the_sign_of_a_zero_that_is_written_counts() -> None:
    def attend(q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        output = NAIVE.attend(q, k, v, call)
        call.bias[...] = -call.bias
        return output  # type: ignore[no-any-return]

    zeros = replace(SMALL, problem=replace(SMALL.problem, operands=("bias",)), phase="forward")
    assert trial(BACKEND, replace(NAIVE, attend=attend), zeros).fault == "input"


@pytest.mark.parametrize(
    ("change", "fault", "reason"),
    [
        (lambda o: o.output[:, :, :-1], "shape", "output: has shape (2, 2, 4, 4), not (2, 2, 5, 4)"),
        (lambda o: o.output[0], "shape", "output: has shape (2, 5, 4), not (2, 2, 5, 4)"),
        (lambda o: o.output.astype(np.float64), "dtype", "output: has dtype float64, not float32"),
        (lambda o: o.output.astype(np.float16), "dtype", "output: has dtype float16, not float32"),
        (lambda o: np.full_like(o.output, np.nan), "nan", "output: is NaN where the oracle has a number"),
        (lambda o: np.full_like(o.output, np.inf), "inf", "output: is inf where the oracle is"),
        (lambda o: 1.001 * o.output, "value", "times what rounding explains"),
        (lambda o: o.output * 0, "value", "output: is 0 where the oracle is"),
    ],
)
def test_a_wrong_output_is_named(change: Callable[[AttentionOutput], Any], fault: str, reason: str) -> None:
    result = trial(BACKEND, changing(lambda o: AttentionOutput(change(o))), SMALL)
    assert (result.status, result.fault) == ("wrong", fault)
    assert reason in str(result.reason)
    assert result.error_ratio > 1


@pytest.mark.parametrize(
    ("change", "fault", "reason"),
    [
        (lambda g: {"q": g["q"], "k": g["k"]}, "exception", "raised the implementation returned no gradient of v"),
        (lambda g: {**g, "v": None}, "exception", "returned no gradient of v"),
        (lambda _: {}, "exception", "returned no gradient of q, k, v"),
        (lambda g: {**g, "k": g["k"][:, :1]}, "shape", "d_k: has shape (2, 1, 7, 4), not (2, 2, 7, 4)"),
        (lambda g: {**g, "k": g["k"].astype(np.float64)}, "dtype", "d_k: has dtype float64"),
        (lambda g: {**g, "q": g["q"] * np.nan}, "nan", "d_q: is NaN"),
        (lambda g: {**g, "v": -g["v"]}, "value", "d_v: is"),
    ],
)
def test_a_wrong_gradient_is_named(change: Callable[[dict[str, Array]], Any], fault: str, reason: str) -> None:
    result = trial(BACKEND, changing(grads=change), SMALL)
    assert (result.status, result.fault) == ("wrong", fault)
    assert reason in str(result.reason)
    assert result.error_ratio > 1


def test_an_output_that_was_asked_for_and_is_missing_is_a_disagreement() -> None:
    case = Case(PLAIN, SMALL.problem, outputs=("lse",))
    result = trial(BACKEND, changing(lambda o: AttentionOutput(o.output)), case)
    assert (result.status, result.fault) == ("wrong", "exception")
    assert "did not return lse" in str(result.reason)


# Unsupported


@pytest.mark.parametrize(
    ("changes", "case", "reason"),
    [
        ({"gradients": False}, SMALL, "does not support gradients"),
        ({"dtypes": ("float64",)}, SMALL, "does not support dtype float32; it takes float64"),
        ({"scores": ("cosine",)}, SMALL, "does not support score dot; it has cosine"),
        ({}, replace(SMALL, spec=AttentionSpec(causal=True, align="top_left")), "does not support causal"),
        ({"lacks": {"gradients": "too slow"}}, SMALL, "does not support gradients: too slow"),
        (
            {"gradients": True, "limits": (Limit("Tq*S", "too long", at_most=34),)},
            SMALL,
            "Tq*S = 35 is above 34: too long",
        ),
        ({"lengths": True}, Case(PLAIN, Problem(operands=("kv_lengths", "nan"))), "does not support nan_isolation"),
    ],
)
def test_what_is_not_declared_is_unsupported_with_a_reason(changes: dict[str, Any], case: Case, reason: str) -> None:
    never = Implementation("numpy/never", Capabilities(**changes), lambda *_: pytest.fail("was called"))
    result = trial(BACKEND, never, case)
    assert (result.status, result.reason) == ("unsupported", reason)
    assert result.error_ratio == 0
    assert gate(BACKEND, never, case).reason == reason


def test_an_unsupported_device() -> None:
    assert trial(BACKEND, NAIVE, SMALL, "cuda").reason == "does not support device cuda; it runs on cpu"


def test_an_empty_case_reaches_no_kernel_and_agrees() -> None:
    case = SMALL.with_problem(S=0)
    assert trial(BACKEND, raising(AssertionError("called")), case).status == "ok"


# The gate


def test_the_gate_reports_a_ratio_where_a_number_was_compared() -> None:
    right = gate(BACKEND, NAIVE, SMALL)
    assert right.status == "ok"
    assert right.error_ratio is not None
    wrong = gate(BACKEND, changing(lambda o: AttentionOutput(o.output * np.float32(1.01))), SMALL)
    assert wrong.status == "wrong"
    assert wrong.error_ratio is not None
    assert wrong.error_ratio > 1
    assert gate(BACKEND, raising(ValueError()), SMALL).error_ratio is None
    assert Trial("wrong").error_ratio == math.inf


# Samples of large cases

LARGE = Case(AttentionSpec(causal=True), Problem(B=2, Hq=4, Hkv=2, Tq=96, S=96, D=4), "backward", ("lse",))


@pytest.fixture
def sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a case of this size were large: some rows of some heads are judged."""
    monkeypatch.setattr(selection_module, "WHOLE", 1 << 12)


def selection_of(case: Case, seed: int = 0) -> selection_module.Selection:
    return choose(prepare(case.spec, draw(case.spec, case.problem), case.outputs)[3], seed)


def test_small_cases_are_judged_whole() -> None:
    selection = selection_of(SMALL)
    assert selection.rows.tolist() == list(range(5))
    assert selection.pairs == tuple(np.ndindex(2, 2))


@pytest.mark.usefixtures("sampling")
def test_of_large_cases_the_ends_the_middle_and_some_others_are_judged() -> None:
    selection = selection_of(LARGE)
    assert 5 < len(selection.rows) < 96
    assert {0, 1, 48, 94, 95} <= set(selection.rows.tolist())
    assert sorted(set(selection.rows.tolist())) == selection.rows.tolist()
    assert {(0, 0), (1, 3)} <= set(selection.pairs)
    assert len(selection.pairs) <= 4
    again, other = selection_of(LARGE), selection_of(LARGE, seed=1)
    assert again.rows.tolist() == selection.rows.tolist()
    assert other.rows.tolist() != selection.rows.tolist()


@pytest.mark.parametrize("sizes", [{"Tq": 1}, {"Tq": 2}, {"Tq": 3, "S": 4096}, {"B": 1, "Hq": 1, "Hkv": 1}])
@pytest.mark.usefixtures("sampling")
def test_samples_of_odd_shapes(sizes: dict[str, int]) -> None:
    case = LARGE.with_problem(**{"S": 2048, **sizes})
    case = replace(case, spec=PLAIN)
    selection = selection_of(case)
    assert 0 <= selection.rows.min() <= selection.rows.max() < case.problem.Tq
    assert trial(BACKEND, NAIVE, replace(case, phase="forward")).status == "ok"


@pytest.mark.usefixtures("sampling")
def test_a_large_case_agrees_and_its_gradients_are_those_of_the_whole_kernel() -> None:
    result = trial(BACKEND, NAIVE, LARGE)
    assert (result.status, result.reason) == ("ok", None)
    rich = replace(LARGE, problem=replace(LARGE.problem, operands=("bias_keys", "sinks", "mask")))
    rich = replace(rich, spec=AttentionSpec("general", causal=True, softcap=2.0))
    assert trial(BACKEND, NAIVE, rich).reason is None


@pytest.mark.usefixtures("sampling")
def test_faults_in_the_sample_are_seen_and_the_rest_is_not_claimed() -> None:
    selection = selection_of(LARGE, LARGE.problem.seed)
    row, (b, h) = int(selection.rows[3]), selection.pairs[-1]
    outside = next(i for i in range(96) if i not in selection.rows)

    def at(index: int) -> Implementation:
        def change(o: AttentionOutput) -> AttentionOutput:
            output = o.output.copy()
            output[b, h, index, 0] += 1e-3
            return replace(o, output=output)

        return changing(change)

    assert trial(BACKEND, at(row), LARGE).fault == "value"
    assert trial(BACKEND, at(outside), LARGE).status == "ok"


@pytest.mark.parametrize("fault", ["last key", "one head", "no softmax term", "leak"])
@pytest.mark.usefixtures("sampling")
def test_systematic_faults_of_gradients_are_seen_in_a_sample(fault: str) -> None:
    def change(g: dict[str, Array]) -> dict[str, Array]:
        g = {name: grad.copy() for name, grad in g.items()}
        if fault == "last key":
            g["v"][:, :, -1] = 0
        elif fault == "one head":
            g["k"][:, 1] *= 0.5
        elif fault == "no softmax term":
            g["q"] *= np.float32(1.01)
        else:  # rows whose cotangent is zero have gradient zero
            g["q"] += np.float32(1e-6)
        return g

    result = trial(BACKEND, changing(grads=change), LARGE)
    assert result.status == "wrong"
    assert str(result.reason).startswith({"last key": "d_v", "one head": "d_k"}.get(fault, "d_q"))


@pytest.mark.usefixtures("sampling")
def test_cotangents_are_zero_outside_the_sample() -> None:
    selection = selection_of(LARGE)
    sampled = selection_module.with_selected_cotangents(inputs_of(LARGE), selection)
    d_output, d_lse = sampled.d_output, sampled.d_lse
    assert d_lse is not None
    kept = np.zeros(d_lse.shape, bool)
    for b, h in selection.pairs:
        kept[b, h, selection.rows] = True
    assert (d_output[~kept] == 0).all()
    assert (d_lse[~kept] == 0).all()
    assert (d_output[kept] != 0).all()
    assert (kept.sum(2) > 0).sum() == len(selection.pairs)
