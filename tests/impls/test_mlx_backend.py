"""The MLX backend against the oracle, and its adapter."""

from dataclasses import replace

import numpy as np
import pytest

import attnbench as ab
from attnbench.api import AttentionSpec
from attnbench.api.suites import Problem, draw
from attnbench.attention.precision import DTYPES, numpy_dtype
from attnbench.backends.discover import backend
from attnbench.errors import UncountedError, UsageError
from tests.impls.against_oracle import check, load, observe

mx = pytest.importorskip("mlx.core", reason="the mlx extra is not installed")

SMALL = Problem(B=2, Hq=4, Hkv=2, Tq=7, S=9, D=5, Dv=3, Da=4, seed=1)
NAN = float("nan")

WHOLE_SPEC = {
    "dot": (AttentionSpec(scale="log_n", causal=True, align="bottom_right"), ("bias_minus_inf", "sinks")),
    "general": (AttentionSpec(score="general", scale=(0.1, -0.2, 0.0, 1.0)), ("slopes", "offsets", "bias_keys")),
    "additive": (AttentionSpec(score="additive", softcap=1.0, dropout=0.3), ("mask_dead_rows", "sinks")),
    "concat": (AttentionSpec(score="concat", causal=True, align="top_left"), ("q_lengths", "kv_lengths", "segments")),
    "cosine": (AttentionSpec(score="cosine", window=(3, 2)), ("offset", "mask_keys")),
}
RESTRICTIONS = {
    "plain": (AttentionSpec(scale=-0.3), ()),
    "its own causal mask": (AttentionSpec(causal=True, align="bottom_right"), ()),
    "top left, sinks": (AttentionSpec(causal=True, align="top_left"), ("sinks",)),
    "lengths, segments": (AttentionSpec(), ("q_lengths", "kv_lengths", "segments", "bias_minus_inf")),
    "window, slopes, offsets": (AttentionSpec(window=(3, 0)), ("slopes", "offsets", "mask_dead_rows")),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("spec", "operands"), WHOLE_SPEC.values(), ids=WHOLE_SPEC)
def test_the_formula_agrees_with_the_oracle_on_the_whole_spec(
    spec: AttentionSpec, operands: tuple[str, ...], dtype: str
) -> None:
    check("mlx/formula", spec, replace(SMALL, dtype=dtype, operands=operands))


@pytest.mark.parametrize(("spec", "operands"), RESTRICTIONS.values(), ids=RESTRICTIONS)
def test_sdpa_agrees_with_the_oracle(spec: AttentionSpec, operands: tuple[str, ...]) -> None:
    check("mlx/sdpa", spec, replace(SMALL, operands=operands), extra=False)


@pytest.mark.parametrize("name", ["mlx/formula", "mlx/sdpa"])
def test_an_undefined_cotangent_of_a_row_without_keys_reaches_nothing(name: str) -> None:
    """MLX multiplies it by the condition of ``where``: 0 times NaN."""
    d_output = np.ones((2, 4, 7, 3), np.float32)
    d_output[:, :, ::3] = NAN
    operands = draw(AttentionSpec(), replace(SMALL, operands=("mask_dead_rows",)))
    outputs = ("lse",) if name == "mlx/formula" else ()
    d_lse = d_output[..., 0].copy() if outputs else None
    seen = observe(name, AttentionSpec(), operands, d_output, d_lse, outputs)
    assert (seen.outputs["output"][:, :, ::3] == 0).all()
    assert all(np.isfinite(grad).all() for grad in seen.gradients.values())


@pytest.mark.parametrize("score", ["dot", "cosine"])
def test_a_nan_that_nobody_sees_stays_in_the_stages_that_are_asked_for(score: str) -> None:
    """They have no cotangent: one of zeros would bring the NaN of a key beyond the lengths into every query."""
    check("mlx/formula", AttentionSpec(score=score), replace(SMALL, operands=("kv_lengths", "nan")))


def test_mlx_by_itself_does_let_it_through() -> None:
    _, (gradient,) = mx.vjp(lambda x: [mx.where(x > 1, x, 0.0)], [mx.zeros(1)], [mx.array([NAN])])
    assert np.isnan(np.array(gradient)).all()


def test_the_exponential_of_float64_is_one_of_float32() -> None:
    """By this float64 is declared with a softmax in float32."""
    exact, got = np.exp(-3.3), np.array(mx.exp(mx.array(np.array([-3.3]), dtype=mx.float64)))[0]
    assert 2.0**-30 < abs(got - exact) / exact < 2.0**-20


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_comes_back_as_it_was(dtype: str) -> None:
    adapter, _ = load("mlx/sdpa")
    array = np.linspace(-3, 3, 24).astype(numpy_dtype(dtype)).reshape(2, 3, 4)
    native = adapter.to_native(array)
    array_before = array.copy()
    array[:] = 0
    back = adapter.to_numpy(native)
    assert back.dtype == array.dtype
    assert (back == array_before).all()


@pytest.mark.parametrize("layout", ["transposed", "padded", "step", "offset", "expanded"])
def test_a_layout_has_the_same_values(layout: str) -> None:
    adapter, _ = load("mlx/sdpa")
    array = np.broadcast_to(np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4), (2, 2, 3, 4))
    assert (adapter.to_numpy(adapter.laid_out(adapter.to_native(array), layout)) == array).all()


def test_a_call_has_computed_when_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, kernel = load("mlx/sdpa")
    q = adapter.to_native(np.ones((1, 1, 4, 8), np.float32))
    evaluated: list[object] = []
    evaluate = mx.eval

    def recording(arrays: list[object]) -> None:
        evaluated.extend(arrays)
        evaluate(arrays)

    monkeypatch.setattr(mx, "eval", recording)
    _, _, _, call = ab.attention.call.prepare(AttentionSpec(), draw(AttentionSpec(), Problem(Hq=1, Tq=4, D=8)))
    result = adapter.bind(kernel, q, q, q, call).on(q, q, q, call)()
    assert result.output is evaluated[0]


def test_it_computes_with_one_thread_and_says_so() -> None:
    adapter, _ = load("mlx/sdpa")
    try:
        assert adapter.threads() == {"cpu_stream": 1}
    except UncountedError:
        pytest.skip("MLX calls a BLAS here whose threads are not known")
    q = np.ones((1, 1, 2, 4), np.float32)
    with pytest.raises(UsageError, match="threads=2 was asked of mlx"):
        ab.attend(q, q, q, impl="mlx/sdpa", threads=2)


def test_another_blas_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = backend("mlx").load()
    monkeypatch.setattr("attnbench.impls.mlx_backend.adapter.REFERENCE_BLAS", "no such library")
    with pytest.raises(UncountedError, match="which BLAS it calls is not known"):
        adapter.threads()
