"""What ``torch.compile`` compiles: right, compiled when it is bound and never again, and refused without a compiler."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from attnbench.api import AttentionSpec, UnsupportedError
from attnbench.api.suites import Problem
from attnbench.attention.problem import Case
from attnbench.backends import discover
from attnbench.backends.attend import load_backend, resolve
from attnbench.backends.bind import bind_case, inputs_of
from attnbench.backends.kept import Kept
from tests.impls.against_oracle import check, check_forward

if TYPE_CHECKING:
    from tests.program import Cli

torch: Any = pytest.importorskip("torch", reason="the torch extra is not installed")
CARD = discover.backend("torch")
needs_compiler = pytest.mark.skipif(
    CARD.why_missing("compiled") is not None, reason=CARD.why_missing("compiled") or "there is one"
)
SMALL = Problem(B=2, Hq=4, Hkv=2, Tq=7, S=9, D=8, Dv=4, Da=3, seed=1)
RICH = ("mask_dead_rows", "bias", "sinks", "kv_lengths")
MHA = replace(SMALL, Hkv=4, Dv=8)


def compiled_frames() -> int:
    """How many graphs Dynamo has made in this process."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


@needs_compiler
def test_compiled_has_everything_at_once() -> None:
    spec = AttentionSpec(causal=True, align="bottom_right", softcap=2.0)
    check_lse(spec, replace(SMALL, operands=RICH))


def check_lse(spec: AttentionSpec, problem: Problem) -> None:
    """Against the oracle, but for the stages, which are not declared."""
    check("torch/compiled", spec, problem, extra=False)


@needs_compiler
@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.parametrize("score", ["general", "additive", "concat", "cosine"])
def test_compiled_has_every_score(score: str) -> None:
    check_lse(AttentionSpec(score=score), replace(SMALL, operands=("mask",)))


@needs_compiler
@pytest.mark.proof
@pytest.mark.slow
def test_compiled_in_blocks_of_queries() -> None:
    check_lse(AttentionSpec(causal=True, align="bottom_right"), replace(SMALL, Tq=600, S=640, operands=("bias_keys",)))


@needs_compiler
def test_a_bound_call_compiles_nothing_and_never_falls_back() -> None:
    """Other values and another order in memory are computed by the same code; another number of threads is refused."""
    case = Case(AttentionSpec(causal=True, align="top_left"), SMALL, "forward")
    adapter, kernel = resolve("torch/compiled")
    with adapter.limited(1):
        binding = bind_case(adapter, kernel, case)
        assert binding.bound.trace_s > 0
        assert binding.bound.compile_s > 0
        before = compiled_frames()
        assert before > 0
        with torch.compiler.set_stance("fail_on_recompile"):
            first = binding.answer().output.output
            other = binding.on(inputs_of(case.with_problem(seed=2))).answer().output.output
            laid = binding.on(replace(inputs_of(case), layout="step")).answer().output.output
        assert compiled_frames() == before
    assert not np.array_equal(first, other)
    assert np.array_equal(first, laid)
    with adapter.limited(2), pytest.raises(Exception, match="was compiled for other arrays, another number of threads"):
        binding.result()


@needs_compiler
def test_each_number_of_threads_has_code_of_its_own() -> None:
    kept, inputs = Kept(), inputs_of(Case(AttentionSpec(), SMALL, "forward"))
    adapter, kernel = resolve("torch/compiled")
    outputs = [kept.answer(adapter, kernel, inputs, "cpu", threads).output.output for threads in (1, 2, 1, 2)]
    assert len(kept) == 2
    assert all(np.allclose(outputs[0], output, rtol=1e-5) for output in outputs)


@needs_compiler
def test_flex_has_masks_and_scores_in_one_kernel() -> None:
    case = Case(
        AttentionSpec(window=(3, 2), align="bottom_right", softcap=2.0),
        replace(SMALL, operands=("mask_dead_rows", "bias", "slopes", "segments")),
        "forward",
    )
    adapter, kernel = resolve("torch/flex")
    naive = bind_case(adapter, resolve("torch/naive")[1], case).answer().output.output
    np.testing.assert_allclose(bind_case(adapter, kernel, case).answer().output.output, naive, rtol=1e-4, atol=1e-6)


def test_flex_is_never_eager() -> None:
    inputs = inputs_of(Case(AttentionSpec(), SMALL, "forward"))
    native = inputs.map_arrays(load_backend("torch").to_native)
    with pytest.raises(RuntimeError, match="is compiled when it is bound"):
        resolve("torch/flex")[1](*native.qkv, native.call)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["torch/mha", "torch/mha-weights"])
def test_mha_agrees_with_the_oracle(name: str, dtype: str) -> None:
    for spec, operands in (
        (AttentionSpec(), ()),
        (AttentionSpec(causal=True, align="bottom_right"), ("mask_dead_rows", "bias_keys", "slopes")),
    ):
        check(name, spec, replace(MHA, dtype=dtype, operands=operands), extra=False)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_fast_path_of_mha_agrees_with_the_oracle(dtype: str) -> None:
    square = replace(MHA, Tq=17, S=17, dtype=dtype)
    for spec, operands in ((AttentionSpec(), ()), (AttentionSpec(causal=True), ("mask_dead_rows", "kv_lengths"))):
        check_forward("torch/mha-fast", spec, replace(square, operands=operands))


def test_what_is_compiled_is_not_trained() -> None:
    from attnbench.impls.torch_backend import train

    with pytest.raises(UnsupportedError, match="train with torch/naive"):
        train.learner(object(), resolve("torch/compiled")[1], {}, None, "cpu")  # type: ignore[arg-type]


def test_without_a_compiler_it_is_unsupported_with_what_to_type(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    why = CARD.why_missing("compiled")
    assert why is not None
    assert why.startswith("a C++ compiler is not installed (")
    assert CARD.why_missing("flex") == why
    assert CARD.why_missing("sdpa") is None
    with pytest.raises(UnsupportedError, match="torch/compiled cannot run here: a C"):
        discover.load_implementation("torch/compiled")
    rows = {row["implementation"]: row["reason"] for row in cli("list", "--json").document["impls"]}
    assert (rows["torch/compiled"], rows["torch/sdpa"]) == (why, None)


def test_a_compiler_that_is_named_and_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    why = CARD.why_missing("compiled")
    assert why is not None
    assert why.startswith("CXX=no-such-compiler is not there: it names a C++ compiler; unset it, or ")
