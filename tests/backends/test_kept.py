"""``attend`` and ``vjp``: compiled once for a kind, bounded, emptied; threads set, verified and given back; x64 too."""

import gc
import json
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import attnbench as ab
from attnbench.api import AttentionSpec, Capabilities, implementation
from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands
from attnbench.backends.attend import resolve
from attnbench.backends.bind import given_inputs
from attnbench.backends.kept import KEPT, Kept
from attnbench.errors import UnsupportedError, UsageError
from tests.impls.against_oracle import fresh_process


def drawn(seed: int, *shape: int, dtype: str = "float32") -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape or (1, 2, 8, 4)).astype(dtype) for _ in range(4)]


@pytest.fixture(autouse=True)
def _empty() -> None:
    ab.clear_bindings()


def counted() -> tuple[Any, list[str]]:
    """A kernel in JAX, and a list that grows when it is traced."""
    traces: list[str] = []

    @implementation("jax/counted", Capabilities(causal=True, gradients=True))
    def attend(q: Any, k: Any, v: Any, call: Any) -> Any:
        traces.append(str(q.dtype))
        return q * call.scale + k + v

    return attend, traces


def test_the_second_call_of_a_kind_is_not_traced_again() -> None:
    pytest.importorskip("jax")
    kernel, traces = counted()
    for seed in range(3):
        q, k, v, _ = drawn(seed)
        output = ab.attend(q, k, v, impl=kernel).output
        np.testing.assert_allclose(output, q / 2 + k + v, rtol=1e-6)
    assert len(traces) == 1
    q, k, v, d = drawn(3)
    for factor in (1, 2):
        grads = ab.vjp(q, k, v, factor * d, impl=kernel)
        np.testing.assert_allclose(grads["q"], factor * d / 2, rtol=1e-6)
    assert len(traces) == 2


def test_every_other_kind_is_traced_anew() -> None:
    pytest.importorskip("jax")
    import jax

    (kernel, traces), (other, _) = counted(), counted()
    q, k, v, _ = drawn(0)
    calls: list[Callable[[], Any]] = [
        lambda: ab.attend(q, k, v, impl=kernel),
        lambda: ab.attend(q[:, :, :4], k[:, :, :4], v[:, :, :4], impl=kernel),
        lambda: ab.attend(*drawn(0, dtype="float64")[:3], impl=kernel),
        lambda: ab.attend(q, k, v, impl=kernel, spec=AttentionSpec(scale=2.0)),
        lambda: ab.attend(q, k, v, impl=kernel, spec=AttentionSpec(causal=True), offset=1),
        lambda: ab.attend(q, k, v, impl=kernel, spec=AttentionSpec(causal=True), offset=2),
        lambda: ab.attend(q, k, v, impl=other),
    ]
    for call in calls * 2:
        call()
    assert len(traces) == len(calls) - 1
    assert len(KEPT) == len(calls)
    with jax.default_matmul_precision("float32"):  # type: ignore[no-untyped-call, unused-ignore]  # what is compiled in is not used under another setting
        ab.attend(q, k, v, impl=kernel)
    assert len(traces) == len(calls)


def test_it_is_bounded_and_the_least_lately_used_goes_first() -> None:
    pytest.importorskip("jax")
    backend, _ = resolve("jax/naive")
    kernel, traces = counted()
    kept = Kept(most=2)

    def ask(length: int) -> int:
        q, k, v, _ = drawn(0, 1, 1, length, 2)
        kept.answer(backend, kernel, given_inputs(AttentionSpec(), Operands(q, k, v)), "cpu")
        return len(traces)

    assert [ask(n) for n in (1, 2, 1, 3, 1, 2)] == [1, 2, 2, 3, 3, 4]
    assert len(kept) == 2
    kept.clear()
    assert len(kept) == 0


def test_what_is_kept_keeps_no_kernel_alive_and_what_is_not_compiled_takes_no_place() -> None:
    pytest.importorskip("jax")
    kernel, _ = counted()
    q, k, v, _ = drawn(0)
    ab.attend(q, k, v, impl=kernel)
    ab.attend(q, k, v, impl="numpy/naive")
    assert len(KEPT) == 1
    gone = weakref.ref(kernel)
    del kernel
    gc.collect()
    assert gone() is None
    assert len(KEPT) == 0


def test_another_setting_of_jax_compiles_anew_and_no_jit_is_a_clear_error() -> None:
    pytest.importorskip("jax")
    import jax

    kernel, traces = counted()
    q, k, v, _ = drawn(0)
    ab.attend(q, k, v, impl=kernel)
    before = vars(jax)["config"].jax_numpy_rank_promotion
    try:
        jax.config.update("jax_numpy_rank_promotion", "raise")  # type: ignore[no-untyped-call, unused-ignore]
        ab.attend(q, k, v, impl=kernel)
    finally:
        jax.config.update("jax_numpy_rank_promotion", before)  # type: ignore[no-untyped-call, unused-ignore]
    assert len(traces) == 2
    with jax.disable_jit(), pytest.raises(UsageError, match="jax_disable_jit is set"):
        ab.attend(*drawn(0, 1, 1, 3, 2)[:3], impl=kernel)


def test_a_callback_to_the_host_gets_float64() -> None:
    pytest.importorskip("jax")
    import jax

    seen: list[str] = []

    def host(q: Any) -> Any:
        seen.append(str(q.dtype))
        return np.asarray(q) * 2

    @implementation("jax/callback", Capabilities())
    def callback(q: Any, k: Any, v: Any, call: Any) -> Any:
        del k, v, call
        return jax.pure_callback(host, jax.ShapeDtypeStruct(q.shape, q.dtype), q)

    q, k, v, _ = drawn(0, dtype="float64")
    np.testing.assert_array_equal(ab.attend(q, k, v, impl=callback).output, 2 * q)
    assert set(seen) == {"float64"}


@pytest.mark.parametrize("name", ["numpy/naive", "torch/naive", "jax/naive"])
def test_threads_asked_for_at_once_do_not_disturb_each_other(name: str) -> None:
    pytest.importorskip(name.partition("/")[0])
    backend, _ = resolve(name)
    before = backend.computing_threads()
    numbers = [next(iter(before.values()))] * 4 if name.startswith("jax") else [1, 2, 1, 2]
    q, k, v, _ = drawn(0)

    def ask(threads: int) -> None:
        for _ in range(20):
            ab.attend(q, k, v, impl=name, threads=threads)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, numbers))
    assert backend.computing_threads() == before


def test_numpy_inputs_are_neither_copied_nor_written_to_nor_handed_out() -> None:
    seen: list[Array] = []

    @implementation("numpy/identity", Capabilities())
    def identity(q: Array, k: Array, v: Array, call: Any) -> Array:
        del k, call
        seen.append(q)
        return v[:, :, ::-1]

    @implementation("numpy/writer", Capabilities())
    def writer(q: Array, k: Array, v: Array, call: Any) -> Array:
        del k, call
        q += 1
        return v

    q, k, v, _ = drawn(0)
    output = ab.attend(q, k, v, impl=identity).output
    assert np.shares_memory(seen[0], q)
    assert not np.shares_memory(output, v)
    before = q.copy()
    with pytest.raises(ValueError, match="read-only"):
        ab.attend(q, k, v, impl=writer)
    assert np.array_equal(q, before)


def test_threads_are_those_of_the_call_and_come_back() -> None:
    pytest.importorskip("torch")
    import threadpoolctl
    import torch

    seen: list[int] = []

    @implementation("numpy/counts", Capabilities())
    def counts(q: Array, k: Array, v: Array, call: Any) -> Array:
        del q, k, call
        seen.extend(pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas")
        return v + 0

    @implementation("torch/counts", Capabilities())
    def torch_counts(q: Any, k: Any, v: Any, call: Any) -> Any:
        del q, k, call
        seen.append(torch.get_num_threads())
        return v + 0

    q, k, v, _ = drawn(0)
    before = torch.get_num_threads(), threadpoolctl.threadpool_info()
    for kernel in (counts, torch_counts):
        for threads in (1, 2, 1):
            seen.clear()
            ab.attend(q, k, v, impl=kernel, threads=threads)
            assert set(seen) == {threads}, kernel.name
    assert (torch.get_num_threads(), threadpoolctl.threadpool_info()) == before


@pytest.mark.parametrize("threads", [0, -1, 1.0, True, "2"])
def test_threads_that_are_no_number_of_threads_are_refused(threads: Any) -> None:
    q, k, v, d = drawn(0)
    calls: list[Callable[[], Any]] = [
        lambda: ab.attend(q, k, v, threads=threads),
        lambda: ab.vjp(q, k, v, d, threads=threads),
    ]
    for ask in calls:
        with pytest.raises(UsageError, match="threads is a whole number of 1 or more"):
            ask()


XLA = """
import json, os
import numpy as np
import attnbench as ab
q = np.ones((1, 1, 4, 2), np.float32)
before = dict(os.environ)
for _ in range(2):
    ab.attend(q, q, q, impl="jax/naive", threads=3)
told = [dict(os.environ) == before]
for threads in (3, 1):
    try:
        ab.vjp(q, q, q, q, impl="jax/naive", threads=threads)
        told.append("ok")
    except ab.AttnbenchError as error:
        told.append(str(error))
print(json.dumps(told))
"""


def test_xlas_pool_takes_the_first_number_and_says_how_to_start_with_another() -> None:
    pytest.importorskip("jax")
    unchanged, same, other = json.loads(fresh_process(XLA))
    assert (unchanged, same) == (True, "ok")
    assert "threads=1 was asked of jax, but xla_cpu has 3, and that cannot be changed here" in other
    assert "Ask for threads=3, or start Python anew with" in other
    assert "PJRT_NPROC=1 NPROC=1" in other


@pytest.mark.parametrize("setting", [False, True])
def test_x64_holds_only_around_calls_in_float64(setting: bool) -> None:
    pytest.importorskip("jax")
    import jax

    settings: Any = jax.config
    kernel, traces = counted()
    seen: list[bool] = []

    @implementation("jax/asks", Capabilities(gradients=True))
    def asks(q: Any, k: Any, v: Any, call: Any) -> Any:
        seen.append(settings.jax_enable_x64)
        return kernel(q, k, v, call)

    with jax.enable_x64(setting):
        for dtype in ("float32", "float64", "float32"):
            q, k, v, d = drawn(0, dtype=dtype)
            output = ab.attend(q, k, v, impl=asks).output
            grads = ab.vjp(q, k, v, d, impl=asks)
            assert {output.dtype.name, *(grad.dtype.name for grad in grads.values())} == {dtype}
            np.testing.assert_allclose(output, q / 2 + k + v, rtol=1e-6 if dtype == "float32" else 1e-15)
            assert settings.jax_enable_x64 is setting
    assert traces == ["float32", "float32", "float64", "float64"]
    assert seen == [setting, setting, True, True]


@pytest.mark.parametrize(
    ("impl", "there", "advice"),
    [
        ("torch/naive", ("cpu",), 'give device="cpu"'),
        ("torch/varlen", ("cpu",), "choose another"),
        ("torch/naive", (), ""),
    ],
)
def test_a_device_that_is_not_there_is_an_error_that_says_what_to_type(
    impl: str, there: tuple[str, ...], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    backend, _ = resolve(impl)
    monkeypatch.setattr(type(backend), "devices", lambda _: there)
    q, k, v, d = drawn(0, dtype="float16")
    calls: tuple[Callable[[], Any], ...] = (
        lambda: ab.attend(q, k, v, impl=impl, device="cuda"),
        lambda: ab.vjp(q, k, v, d, impl=impl, device="cuda"),
    )
    for call in calls:
        with pytest.raises(UnsupportedError) as raised:
            call()
        assert f"{impl} cannot compute here: device cuda is not there; torch has" in str(raised.value)
        assert (advice or "torch has none here; choose another") in str(raised.value)
