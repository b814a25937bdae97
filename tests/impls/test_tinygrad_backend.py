"""The tinygrad backend against the oracle, and its adapter. Few cases: each one is compiled."""

from dataclasses import replace

import pytest

from attnbench.api import AttentionSpec
from attnbench.api.suites import Problem, draw
from attnbench.attention.call import prepare
from attnbench.backends.bind import Inputs, bind
from attnbench.backends.discover import backend, load_implementation
from tests.impls.against_oracle import check, load

if (why := backend("tinygrad").why_missing()) is not None:
    pytest.skip(why, allow_module_level=True)

SMALL = Problem(B=2, Hq=4, Hkv=2, Tq=7, S=9, D=5, Dv=3, seed=1)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEV", "CPU")


@pytest.mark.slow
@pytest.mark.proof
def test_restrictions_and_gradients_agree_with_the_oracle() -> None:
    operands = ("q_lengths", "kv_lengths", "bias_minus_inf", "slopes", "mask_dead_rows")
    check(
        "tinygrad/sdpa", AttentionSpec(window=(3, 1), align="top_left"), replace(SMALL, operands=operands), extra=False
    )


def test_its_own_causal_mask_agrees_with_the_oracle() -> None:
    problem = replace(SMALL, B=1, Hq=1, Hkv=1)
    check("tinygrad/sdpa", AttentionSpec(causal=True, align="top_left"), problem, extra=False)


def test_a_result_stays_when_it_is_called_again_and_nothing_is_captured_twice() -> None:
    """A TinyJit writes every result to the same memory."""
    adapter, kernel = load("tinygrad/sdpa")
    spec, problem = AttentionSpec(), Problem(Hq=1, Tq=4, D=8)
    first, second = (Inputs(*prepare(spec, draw(spec, replace(problem, seed=seed)))) for seed in (1, 2))
    binding = bind(adapter, kernel, first)
    assert binding.bound.compile_s > 0
    result = binding.result().output
    before = result.copy()
    other = binding.on(second).result().output
    assert (result == before).all()
    assert (other != before).any()


@pytest.mark.parametrize(("scale", "dtype"), [(0.3, "float32"), (None, "bfloat16")])
def test_what_it_lacks_has_a_reason(scale: float | None, dtype: str) -> None:
    spec = AttentionSpec(scale=scale)
    *_, call = prepare(spec, draw(spec, replace(SMALL, dtype=dtype)))
    reason = load_implementation("tinygrad/sdpa").unsupported(call.needs())
    assert reason is not None
    assert ("divides by the root of D" in reason) or ("clang 14" in reason)


def test_it_computes_in_the_thread_that_calls() -> None:
    assert backend("tinygrad").load().threads() == {"calling_thread": 1}
