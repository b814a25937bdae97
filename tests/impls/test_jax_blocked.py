"""``jax/blocked``: many tiles, nothing compiled twice, memory of a block; ``jax/pallas``; and arrays that are lent."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

import attnbench as ab
from attnbench.api import Precision
from attnbench.api.suites import AttentionSpec, Case, Problem, draw
from attnbench.attention.call import prepare
from attnbench.backends.attend import load_backend, resolve
from attnbench.backends.bind import bind_case
from attnbench.impls.jax_backend import kernel, tiles
from tests.impls.against_oracle import check, check_forward

SMALL = Problem(B=2, Hq=4, Hkv=2, Tq=21, S=27, D=4, Dv=3, dtype="float32", seed=3)
LEARNED = replace(SMALL, Tq=12, S=17, Da=5)
BOTTOM = AttentionSpec(causal=True, align="bottom_right")
MANY = {
    "strips": (replace(BOTTOM, window=(15, 2)), replace(SMALL, operands=("sinks", "bias", "kv_lengths"))),
    "learned": (AttentionSpec(score="additive"), replace(LEARNED, operands=("q_lengths", "kv_lengths", "nan"))),
}


@pytest.fixture
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "NUMBERS", {"product": 128, "learned": 64})
    monkeypatch.setattr(tiles, "ROWS", {"product": 16, "learned": 16})
    monkeypatch.setattr(tiles, "BATCHED", {"product": 128, "learned": 64})
    monkeypatch.setattr(tiles, "KEYS", 8)
    monkeypatch.setattr(tiles, "FEW", 1)
    monkeypatch.setattr(tiles, "SKIPPING_ROWS", {"product": 8, "learned": 8})
    monkeypatch.setattr(tiles, "STRIPS", 2)
    monkeypatch.setattr(tiles, "EDGE", {"product": 4, "learned": 4})
    monkeypatch.setattr(tiles, "EDGES", 2)


@pytest.mark.usefixtures("_small_tiles")
@pytest.mark.parametrize(("spec", "problem"), MANY.values(), ids=MANY)
def test_many_tiles_agree_with_the_oracle(spec: AttentionSpec, problem: Problem) -> None:
    check("jax/blocked", spec, problem, extra=False)


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.parametrize("score", ["general", "cosine"])
def test_nan_that_nobody_sees_leaves_the_gradients_of_parameters_alone(score: str) -> None:
    problem = replace(SMALL, operands=("q_lengths", "kv_lengths", "nan"))
    check("jax/blocked", AttentionSpec(score=score), problem, extra=False)


def test_a_nan_that_is_seen_makes_its_rows_nan_and_no_other() -> None:
    q, k, v = (np.ones((1, 1, 6, 4), np.float32) for _ in range(3))
    k[0, 0, 3] = np.nan
    output = ab.attend(q, k, v, impl="jax/blocked", spec=AttentionSpec(causal=True)).output
    assert np.isnan(output).all(-1)[0, 0].tolist() == [False] * 3 + [True] * 3
    assert np.isfinite(output[0, 0, :3]).all()


def test_another_call_of_the_same_shapes_compiles_nothing() -> None:
    compiled: list[str] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        del duration_secs
        if "backend_compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    backend, implementation = resolve("jax/blocked")
    binding = bind_case(backend, implementation, Case(BOTTOM, SMALL, "backward"))
    assert compiled
    compiled.clear()
    binding.result()
    binding.result()
    assert compiled == []


def temporaries(size: int) -> int:
    problem = Problem(B=1, Hq=2, Tq=size, S=size, D=8, dtype="float32")
    backend, implementation = resolve("jax/blocked")
    binding = bind_case(backend, implementation, Case(AttentionSpec(), problem, "backward"))
    return int(binding.bound.detail["xla_temporary_bytes"])


def test_temporaries_grow_with_the_length_and_not_with_its_square(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "NUMBERS", {"product": 2**14, "learned": 2**14})
    monkeypatch.setattr(tiles, "KEYS", 128)
    assert temporaries(2048) < 2.5 * temporaries(1024) < 1024 * 1024 * 4


def test_pallas_agrees_with_the_oracle() -> None:
    spec = replace(BOTTOM, softcap=2.0, window=(9, None))
    check_forward("jax/pallas", spec, replace(SMALL, Tq=70, S=90), ("lse",))


def test_pallas_says_why_it_takes_no_large_problem_on_the_cpu() -> None:
    x = np.zeros((1, 1, 1025, 4), np.float32)
    with pytest.raises(ab.UnsupportedError, match="Pallas interprets the kernel"):
        ab.attend(x, x, x, impl="jax/pallas")


# Arrays that are lent to JAX for a call


def aligned(shape: tuple[int, ...], dtype: Any = np.float32, *, off: int = 0) -> Any:
    """Random numbers that begin on a 64-byte boundary, or so many bytes behind one."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + 128, np.uint8)
    first = -memory.ctypes.data % 64 + off
    array = memory[first : first + size].view(dtype).reshape(shape)
    array[...] = np.random.default_rng(0).standard_normal(shape)
    return array


@pytest.mark.parametrize("impl", ["jax/naive", "jax/blocked"])
def test_a_result_does_not_change_with_the_operands(impl: str) -> None:
    q, k, v, d = (aligned((1, 1, 4, 16)) for _ in range(4))
    results = [ab.attend(q, k, v, impl=impl).output, *ab.vjp(q, k, v, d, impl=impl).values()]
    kept = [array.copy() for array in results]
    operands = [q, k, v, d]
    for array in operands:
        array[...] = 7.0
    for result, copy in zip(results, kept, strict=True):
        np.testing.assert_array_equal(result, copy)
        assert not any(np.shares_memory(result, array) for array in operands)
        result[...] = 1.0  # a user's own
    assert all((array == 7.0).all() for array in operands)


def test_another_call_reads_the_operands_as_they_are_now() -> None:
    q, k, v = (aligned((1, 1, 4, 16)) for _ in range(3))
    first = ab.attend(q, k, v, impl="jax/blocked").output
    v *= 2.0
    np.testing.assert_allclose(ab.attend(q, k, v, impl="jax/blocked").output, 2.0 * first, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_arrays_of_any_layout_are_lent_with_their_values(dtype: Any) -> None:
    adapter = load_backend("jax")
    plain = aligned((2, 3, 4, 16), dtype)
    read_only = plain.copy()
    read_only.flags.writeable = False
    layouts = {
        "aligned": plain,
        "read-only": read_only,
        "one element behind": aligned((2, 3, 4, 16), dtype, off=np.dtype(dtype).itemsize),
        "transposed": plain.swapaxes(1, 2),
        "every second": plain[..., ::2],
        "backwards": plain[:, ::-1],
        "stretched": np.broadcast_to(plain[:1], (2, 3, 4, 16)),
    }
    for layout, array in layouts.items():
        lent = adapter.borrow(array)
        assert lent.dtype == array.dtype, layout
        np.testing.assert_array_equal(adapter.to_numpy(lent), array, err_msg=layout)


# The exponential that is declared


@pytest.mark.parametrize("impl", ["jax/blocked", "jax/pallas"])
def test_the_exponential_is_as_far_off_as_declared(impl: str) -> None:
    """With D = 1 the scale is 1. V is the identity and the first key takes nearly all weight: the output is exp(s)."""
    keys = 128
    q = np.ones((1, 1, 1, 1), np.float32)
    k = np.random.default_rng(0).uniform(-60.0, -10.0, (1, 1, keys, 1)).astype(np.float32)
    k[0, 0, 0] = 0.0  # the others are under e^-10: what the rounded sum adds is in the bound
    weights = ab.attend(q, k, np.eye(keys, dtype=np.float32)[None, None], impl=impl).output[0, 0, 0]
    exact = np.exp(k[0, 0, :, 0].astype(np.float64))
    exact /= exact.sum()
    error = np.abs(weights.astype(np.float64) - exact) / exact / 2.0**-24
    declared = resolve(impl)[1].capabilities.precision["float32"]
    assert isinstance(declared, Precision)
    assert 1.0 < error.max() <= declared.exp_ulp + 3.0  # the sum, the quotient and the product round as well


def test_pallas_lowers_to_triton_for_a_gpu() -> None:
    q, k, v, call = prepare(BOTTOM, draw(BOTTOM, replace(SMALL, Tq=64, S=64, D=16, Dv=16)))
    shapes = [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in (q, k, v)]
    compiled = jax.jit(partial(kernel.launch, call=call, rows=64, keys=64, interpret=False))
    assert "triton" in compiled.trace(*shapes).lower(lowering_platforms=("cuda",)).as_text()
