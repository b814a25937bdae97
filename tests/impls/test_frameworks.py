"""What holds of PyTorch and JAX alike: kernels against the oracle in the edge cases, and what an adapter does."""

from dataclasses import replace
from importlib import import_module
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from attnbench.api import AttentionSpec
from attnbench.api.suites import Operands, Problem, draw
from attnbench.backends.discover import backend, load_implementation
from tests.impls.against_oracle import bound_pair, check, fresh_process, load, observe

SMALL = Problem(B=2, Hq=4, Hkv=2, Tq=7, S=9, D=5, Dv=3, Da=4, seed=1)
NAN = float("nan")


def needing(*names: str) -> list[Any]:
    """Parameters, each skipped where its framework (the name up to a slash) is not installed."""
    frameworks = {name: name.partition("/")[0] for name in names}
    return [
        pytest.param(name, marks=pytest.mark.skipif(not backend(of).available(), reason=f"{of} is not installed"))
        for name, of in frameworks.items()
    ]


every_framework = pytest.mark.parametrize("framework", needing("torch", "jax"))
naive = pytest.mark.parametrize("name", needing("torch/naive", "jax/naive"))


@pytest.mark.parametrize(
    "name", needing("torch/naive", "torch/sdpa", "torch/sdpa-math", "torch/sdpa-flash", "jax/naive", "jax/nn-xla")
)
def test_rows_without_keys_are_exactly_zero_whatever_their_cotangent(name: str) -> None:
    spec, problem = AttentionSpec(), replace(SMALL, operands=("mask_dead_rows",))
    d_output = np.ones((2, 4, 7, 3), np.float32)
    d_output[:, :, ::3] = NAN
    seen = observe(name, spec, draw(spec, problem), d_output)
    assert (seen.outputs["output"][:, :, ::3] == 0).all()
    assert (seen.gradients["q"][:, :, ::3] == 0).all()
    assert all(np.isfinite(grad).all() for grad in seen.gradients.values())


@naive
def test_the_lse_of_a_row_without_keys_is_minus_infinity_or_its_sink(name: str) -> None:
    operands = replace(draw(AttentionSpec(), SMALL), mask=np.zeros((7, 9), np.bool_))
    assert (observe(name, AttentionSpec(), operands, outputs=("lse",)).outputs["lse"] == -np.inf).all()
    sinks = np.array([1.0, -2.0, 0.0, 3.0], np.float32)
    d_output, d_lse = np.full((2, 4, 7, 3), NAN, np.float32), np.ones((2, 4, 7), np.float32)
    seen = observe(name, AttentionSpec(), replace(operands, sinks=sinks), d_output, d_lse, ("lse",))
    assert (seen.outputs["lse"] == sinks[None, :, None]).all()
    assert (seen.gradients["sinks"] == 2 * 7).all()
    assert all((seen.gradients[n] == 0).all() for n in "qkv")


def poisoned(allowed_rows: slice) -> Operands:
    """One key and its value are NaN, and only ``allowed_rows`` may attend to it."""
    operands = draw(AttentionSpec(), SMALL)
    mask = np.ones((7, 9), np.bool_)
    mask[:, 4] = False
    mask[allowed_rows, 4] = True
    k, v = operands.k.copy(), operands.v.copy()
    k[:, :, 4] = v[:, :, 4] = NAN
    return replace(operands, k=k, v=v, mask=mask)


@naive
def test_a_nan_that_nobody_may_attend_to_has_no_effect_forward_or_backward(name: str) -> None:
    operands = poisoned(slice(0, 0))
    clean = replace(operands, k=np.nan_to_num(operands.k), v=np.nan_to_num(operands.v))
    d_output = np.ones((2, 4, 7, 3), np.float32)
    seen, expected = (observe(name, AttentionSpec(), given, d_output) for given in (operands, clean))
    for key, array in (expected.outputs | expected.gradients).items():
        np.testing.assert_array_equal((seen.outputs | seen.gradients)[key], array)
    assert (seen.gradients["k"][:, :, 4] == 0).all()
    assert (seen.gradients["v"][:, :, 4] == 0).all()


@naive
def test_a_nan_reaches_the_rows_that_may_attend_to_it_and_no_other(name: str) -> None:
    operands = poisoned(slice(2, 4))
    v = np.nan_to_num(operands.v)
    v[0, 1, 4, 2] = NAN
    column = replace(operands, k=np.nan_to_num(operands.k), v=v)
    whole, part = (np.isnan(observe(name, AttentionSpec(), o).outputs["output"]) for o in (operands, column))
    assert whole.all((0, 1, 3)).tolist() == [False, False, True, True, False, False, False]
    assert {tuple(int(i) for i in place) for place in np.argwhere(part)} == {
        (0, h, i, 2) for h in (2, 3) for i in (2, 3)
    }


@pytest.mark.parametrize("name", needing("torch/naive", "torch/sdpa-flash", "jax/naive"))
def test_float16_products_above_65504_do_not_overflow(name: str) -> None:
    check(name, AttentionSpec(), replace(SMALL, dtype="float16", D=64, Dv=64, distribution="huge"), extra=False)


@pytest.mark.parametrize(
    "name", needing("torch/naive", "torch/sdpa", "torch/sdpa-math", "torch/sdpa-flash", "jax/nn-xla")
)
def test_running_twice_gives_the_same_bits(name: str) -> None:
    spec, problem = AttentionSpec(causal=True), Problem(B=2, Hq=4, Tq=130, D=16)
    d_output = np.ones((2, 4, 130, 16), np.float32)
    first, second = (observe(name, spec, draw(spec, problem), d_output) for _ in range(2))
    for key in first.gradients:
        np.testing.assert_array_equal(first.gradients[key], second.gradients[key])


ARRAYS = {
    "float64": np.arange(6.0).reshape(2, 3) / 7,
    "float32": np.arange(6, dtype=np.float32)[::-1],
    "float16": np.array([1.5, np.nan, -np.inf], np.float16),
    "bfloat16": np.array([[1.5, 2.0**-133], [np.nan, -0.0]], ml_dtypes.bfloat16),
    "bool": np.broadcast_to(np.array([True, False]), (3, 2)),
    "int32": np.array([1, -2], np.int32),
    "a scalar": np.array(2.5),
    "nothing": np.zeros((2, 0, 3), np.float32),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@every_framework
def test_arrays_survive_the_way_to_a_framework_and_back_bit_for_bit(framework: str, array: Any) -> None:
    adapter = backend(framework).load()
    back = adapter.to_numpy(adapter.to_native(array))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == np.ascontiguousarray(array).tobytes()


@every_framework
def test_native_arrays_share_no_memory_with_numpy(framework: str) -> None:
    adapter = backend(framework).load()
    array = np.zeros(1024, np.float32)
    native = adapter.to_native(array)
    array[:] = 1
    back = adapter.to_numpy(native)
    assert (back == 0).all()
    back[:] = 2
    assert (adapter.to_numpy(native) == 0).all()


@every_framework
def test_an_own_vjp_takes_precedence_over_that_of_the_framework(framework: str) -> None:
    _, grads = bound_pair(
        framework,
        lambda q, k, v, call: q * 2,  # noqa: ARG005
        vjp=lambda q, k, v, call, d_output, d_lse: {"q": q * 7, "k": k, "v": v},  # noqa: ARG005
    )
    assert float(grads["q"].sum()) == 28.0


@every_framework
def test_the_card_imports_no_framework(framework: str) -> None:
    program = f"import sys, attnbench.impls.{framework}_backend; print('{framework}' in sys.modules)"
    assert fresh_process(program) == "False"
    imported = f"{program}; import {framework}; print('{framework}' in sys.modules)"
    assert fresh_process(imported).split() == ["False", "True"]


@every_framework
def test_every_announced_implementation_exists(framework: str) -> None:
    for name in backend(framework).names():
        assert load_implementation(name).name == name


@every_framework
def test_versions_and_the_cpu_without_a_device_peak(framework: str) -> None:
    adapter = backend(framework).load()
    assert adapter.versions()[framework] == import_module(framework).__version__
    assert adapter.devices()[0] == "cpu"
    adapter.trim()
    adapter.reset_peak("cpu")
    assert adapter.peak_bytes("cpu") is None
    assert adapter.device_name("cpu") is None


@pytest.mark.gpu
@pytest.mark.parametrize(
    "name",
    needing(
        "torch/naive",
        "torch/sdpa-math",
        "torch/sdpa-flash",
        "torch/sdpa-cudnn",
        "jax/naive",
        "jax/nn-xla",
        "jax/nn-cudnn",
        "jax/pallas-hopper",
    ),
)
def test_the_gpu_agrees_with_the_oracle(name: str) -> None:
    if "cuda" not in load(name)[0].devices():
        pytest.skip("no CUDA device")
    problem = Problem(B=2, Hq=4, Hkv=2, Tq=64, D=64, dtype="bfloat16")
    check(name, AttentionSpec(causal=True), problem, extra=False, device="cuda")
