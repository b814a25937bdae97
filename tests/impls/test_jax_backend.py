"""The JAX backend against the oracle, in the edge cases, and its adapter. Few cases: each one is compiled."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.api import AttentionSpec, Capabilities, implementation
from attnbench.api.suites import Operands, Problem, draw
from attnbench.attention.call import prepare
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.attention.precision import DTYPES, SMALLEST_NORMAL, numpy_dtype
from attnbench.backends.attend import load_backend
from attnbench.backends.discover import backend, load_implementation
from attnbench.errors import UncountedError, is_refusal
from tests.impls.against_oracle import check, fresh_process, load, observe

jax = pytest.importorskip("jax", reason="the jax extra is not installed")

SMALL = Problem(B=2, Hq=4, Hkv=2, Tq=7, S=9, D=5, Dv=3, Da=4, seed=1)
NAN = float("nan")

# Every feature of the spec at least once; each row is one compilation for each dtype.
WHOLE_SPEC = {
    "dot": (AttentionSpec(scale="log_n", causal=True, align="bottom_right"), ("bias_minus_inf", "sinks")),
    "general": (AttentionSpec(score="general", scale=(0.1, -0.2, 0.0, 1.0)), ("slopes", "offsets", "bias_keys")),
    "additive": (AttentionSpec(score="additive", softcap=1.0, dropout=0.3), ("mask_dead_rows", "sinks")),
    "concat": (AttentionSpec(score="concat", causal=True, align="top_left"), ("q_lengths", "kv_lengths", "segments")),
    "cosine": (AttentionSpec(score="cosine", window=(3, 2)), ("offset", "mask_keys")),
    "plain": (AttentionSpec(scale="log_n"), ()),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("spec", "operands"), WHOLE_SPEC.values(), ids=WHOLE_SPEC)
def test_naive_agrees_with_the_oracle_on_the_whole_spec(
    spec: AttentionSpec, operands: tuple[str, ...], dtype: str
) -> None:
    check("jax/naive", spec, replace(SMALL, dtype=dtype, operands=operands))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("which", ["dot", "additive"])
def test_naive_computes_16_bits_in_float32(which: str, dtype: str) -> None:
    spec, operands = WHOLE_SPEC[which]
    check("jax/naive", spec, replace(SMALL, dtype=dtype, operands=operands))


RESTRICTIONS = {
    "plain": (AttentionSpec(scale=-0.3), ()),
    "top left": (AttentionSpec(causal=True, align="top_left"), ()),
    "bottom right, lengths, segments": (
        AttentionSpec(causal=True, align="bottom_right"),
        ("q_lengths", "kv_lengths", "segments", "bias_minus_inf"),
    ),
    "window, slopes, offsets": (AttentionSpec(window=(3, 0)), ("slopes", "offsets", "mask_dead_rows")),
}


@pytest.mark.parametrize(("spec", "operands"), RESTRICTIONS.values(), ids=RESTRICTIONS)
@pytest.mark.parametrize(("dtype", "dv"), [("float32", 3), ("bfloat16", 8)])
def test_nn_agrees_with_the_oracle(spec: AttentionSpec, operands: tuple[str, ...], dtype: str, dv: int) -> None:
    check("jax/nn-xla", spec, replace(SMALL, dtype=dtype, Dv=dv, operands=operands), extra=False)


def test_nn_takes_a_single_column_in_16_bits() -> None:
    """XLA ends the process over it where there are several keys, and does not compile it where there is one query."""
    check(
        "jax/nn-xla", AttentionSpec(), Problem(B=1, Hq=2, Hkv=2, Tq=64, S=64, D=1, Dv=1, dtype="bfloat16"), extra=False
    )


def test_a_nan_row_stays_nan_where_every_key_is_dropped() -> None:
    spec = AttentionSpec(dropout=0.5)
    operands = draw(spec, Problem(B=1, Hq=1, Hkv=1, Tq=2, S=1, D=8, Dv=4))
    q, keep = operands.q.copy(), np.zeros((1, 1, 2, 1), np.bool_)
    q[:, :, 1] = NAN
    output = observe("jax/naive", spec, replace(operands, q=q, keep=keep)).outputs["output"]
    assert (output[:, :, 0] == 0).all()
    assert np.isnan(output[:, :, 1]).all()


@pytest.mark.parametrize(("dtype", "reason"), [("float64", "softmax in float32"), ("float16", "cannot compile")])
def test_nn_says_why_it_lacks_a_dtype(dtype: str, reason: str) -> None:
    problem = replace(SMALL, dtype=dtype)
    *_, call = prepare(AttentionSpec(), draw(AttentionSpec(), problem))
    assert reason in (load_implementation("jax/nn-xla").unsupported(call.needs()) or "")


@pytest.mark.parametrize("size", [1e30, 1e-11, 1e-17])
def test_cosine_neither_overflows_nor_underflows_and_keeps_its_floor(size: float) -> None:
    spec = AttentionSpec(score="cosine")
    q = np.array([[[[3.0, 4.0], [-1.0, 2.0]]]], np.float32) * np.float32(size)
    operands = replace(draw(spec, Problem(Hq=1, Tq=2, S=3, D=2)), q=q)
    d_output = np.ones((1, 1, 2, 2), np.float32)
    seen = observe("jax/naive", spec, operands, d_output)
    expected = reference_vjp(seen.q, seen.k, seen.v, seen.call, d_output)
    factor = max(size, 1e-12)
    for name, grad in seen.gradients.items():
        unit = factor if name == "q" else 1.0
        np.testing.assert_allclose(grad * unit, expected[name] * unit, rtol=1e-3, atol=1e-5)


def test_a_call_is_traced_once_and_compiled_before_it_runs() -> None:
    adapter, _ = load("jax/naive")
    traces = []

    @implementation("jax/mine", Capabilities(mask=True, gradients=True))
    def mine(q: Any, k: Any, v: Any, call: Any) -> Any:
        traces.append(type(call.mask))
        return q * call.scale + k + v + call.mask.sum()

    ones = np.ones((1, 1, 2, 4), np.float32)
    q, k, v, call = prepare(AttentionSpec(), Operands(ones, ones, ones, mask=np.ones((2, 2), np.bool_)))
    q, k, v = (adapter.to_native(array) for array in (q, k, v))
    call = call.map_arrays(adapter.to_native)
    bound = adapter.bind(mine, q, k, v, call)
    assert bound.compile_s > 0
    assert bound.trace_s > 0
    assert all(float(bound.on(q, k, v, call)().output.sum()) == 8 * (0.5 + 1 + 1 + 4) for _ in range(3))
    assert float(bound.on(2 * q, k, v, call)().output.sum()) == 8 * (1.0 + 1 + 1 + 4)  # other values
    assert len(traces) == 1
    assert issubclass(traces[0], jax.core.Tracer)  # an argument, not a constant that XLA could fold


@pytest.mark.parametrize("threads", [1, 3])
def test_the_environment_of_a_worker_bounds_xlas_pool(threads: int) -> None:
    environment = backend("jax").process_environment(threads)
    program = "from attnbench.backends.discover import backend; print(backend('jax').load().threads()['xla_cpu'])"
    assert fresh_process(program, **environment) == str(threads)


@pytest.mark.parametrize(
    ("count", "why"), [(0, "none of them is named tf_XLAEigen"), (None, "this system does not list threads")]
)
def test_a_pool_that_cannot_be_counted_is_told_with_the_reason(
    count: int | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter, there = load_backend("jax"), f"{type(load_backend('jax')).__module__}._pool_threads"
    monkeypatch.setattr(there, lambda: count)
    with pytest.raises(UncountedError, match=why) as caught:
        adapter.threads()
    assert not is_refusal(caught.value)
    monkeypatch.setattr(there, lambda: 2)
    assert adapter.threads() == {"xla_cpu": 2}


def test_threads_can_be_set_until_the_pool_exists() -> None:
    program = """
from attnbench.backends.discover import backend
adapter = backend("jax").load()
adapter.set_threads(3)
print(adapter.threads()["xla_cpu"])
adapter.set_threads(1)
print(adapter.threads()["xla_cpu"])
"""
    assert fresh_process(program).split() == ["3", "3"]


def test_subnormals_are_flushed_as_declared() -> None:
    adapter, naive = load("jax/naive")
    tiny = np.full((1, 1, 2, 4), 1e-40, np.float32)
    seen = observe("jax/naive", AttentionSpec(), Operands(tiny, tiny, tiny))
    assert naive.capabilities.precision_of("float32").flush == bool((seen.outputs["output"] == 0).all())
    assert adapter.devices()[0] == "cpu"


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_card_says_which_subnormals_are_flushed_in_every_kernel(dtype: str) -> None:
    """Operands that are subnormal, and results; by element and in a product of matrices."""
    adapter = load_backend("jax")
    normal = np.full((4, 4), SMALLEST_NORMAL[dtype]).astype(numpy_dtype(dtype))
    tiny, ones, half = np.asarray(normal * normal.dtype.type(0.5)), np.ones_like(normal), np.full_like(normal, 0.5)
    with adapter.computing(dtype):
        tiny, normal, ones, half = (adapter.to_native(array) for array in (tiny, normal, ones, half))
        results = [
            adapter.to_numpy(jax.jit(step)(*given))
            for step, given in (
                (jax.numpy.multiply, (tiny, ones)),
                (jax.numpy.multiply, (normal, half)),
                (jax.numpy.matmul, (tiny, half)),
            )
        ]
    flushes = dtype in backend("jax").flushes["cpu"]
    assert [bool((array == 0).all()) for array in results] == [flushes] * len(results)
