"""The row ``probes``: passes what is right in every dtype, and names what each probe is there to see."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from attnbench.agree.check.rows import CheckRow, check_feature
from attnbench.agree.eager.attention import Eager
from attnbench.agree.mutants import MUTANTS
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call
from attnbench.attention.precision import DTYPES
from attnbench.backends.attend import load_backend, resolve
from attnbench.backends.implementation import Capabilities, Implementation, Limit
from tests.agree.kernels import raising


def row(kernel: Implementation, dtype: str = "float32", *, deep: bool = False) -> CheckRow:
    return check_feature(load_backend("numpy"), kernel, "probes", dtype, deep=deep)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("impl", ["numpy/naive", "numpy/blocked", "numpy/loops", "torch/naive", "torch/sdpa"])
def test_right_implementations_pass(impl: str, dtype: str) -> None:
    backend, kernel = resolve(impl)
    probes = check_feature(backend, kernel, "probes", dtype)
    if dtype not in kernel.capabilities.dtypes:
        return
    assert (probes.status, probes.reason) == ("ok", None)
    assert probes.cases == probes.asked >= 4
    assert probes.error_ratio is not None
    assert probes.error_ratio < 0.5  # far from a false alarm


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ScaleOffByOne", "the slope of log P over the spec's scores is 0.970"),
        ("CausalPeeks", "sees key"),
        ("LastKeyDropped", "does not see key 32"),
        ("HeadsTiled", "the query heads read the value heads [0, 1, 0, 1], not [0, 0, 1, 1]"),
        ("NaNThroughValues", "NaN in keys and values that it may not attend to changes row"),
    ],
)
def test_a_fault_is_named_by_the_probe_that_sees_it(name: str, said: str, dtype: str) -> None:
    probes = row(MUTANTS[name].implementation(), dtype, deep=True)
    assert (probes.status, probes.fault) == ("wrong", "probes")
    shown = probes.reason or ""
    assert said in shown or (name == "HeadsTiled" and "slope" in shown), shown
    assert probes.error_ratio is not None
    assert probes.error_ratio > 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_scale_off_by_less_than_one_percent_shows_in_every_dtype(dtype: str) -> None:
    class Off(Eager):
        def product(self, q: Array, k: Array) -> Array:
            return np.asarray(super().product(q, k) * q.dtype.type(0.992))

    probes = row(Off().implementation("off"), dtype)
    assert probes.status == "wrong"
    assert "is 0.99" in (probes.reason or "")


class Leaking(Eager):
    """A weight of 1e-30 outside the allowed set, which no bound of a value can show."""

    def weighted_sum(self, weights: Array, v: Array, allowed: Array) -> Array:
        del allowed
        return np.asarray((weights + weights.dtype.type(1e-30)) @ np.nan_to_num(v))


def test_the_support_is_exact_where_no_bound_is() -> None:
    probes = row(Leaking().implementation("leaking"))
    assert probes.status == "wrong"
    assert "V = identity: batch entry 0, head 0: query 0 sees key 17" in (probes.reason or "")


class TransposedWrongly(Eager):
    """dV from the weights of the neighbouring row."""

    def vjp(self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None) -> dict[str, Array]:
        grads = super().vjp(q, k, v, call, d_output, d_lse)
        return grads | {"v": super().vjp(q, k, v, call, np.roll(d_output, 1, 2), d_lse)["v"]}


def test_the_transpose_shows_through_the_gradient_of_the_values() -> None:
    probes = row(TransposedWrongly().implementation("turned"))
    assert probes.status == "wrong"
    assert "dO = identity" in (probes.reason or "")
    assert probes.gradient_ratio == math.inf
    assert probes.error_ratio is not None
    assert probes.error_ratio < 1


def test_more_is_asked_in_float32_and_with_deep() -> None:
    kernel = Eager().implementation("right")
    assert row(kernel).cases > row(kernel, "float64").cases
    assert row(kernel, "float64", deep=True).cases == row(kernel).cases


def test_a_kernel_that_is_not_causal_is_asked_what_it_can_be() -> None:
    kernel = replace(Eager().implementation("plain"), capabilities=Capabilities(), vjp=None)
    probes = row(kernel)
    assert (probes.status, probes.cases, probes.gradient_ratio) == ("ok", 2, None)


def test_a_kernel_that_can_take_no_probe_is_unsupported_with_a_reason() -> None:
    limited = Capabilities(limits=(Limit("S", at_least=5000, reason="a tile"),))
    probes = row(replace(Eager().implementation("tiny"), capabilities=limited, vjp=None))
    assert probes.status == "unsupported"
    assert "S = 33 is below 5000: a tile" in (probes.reason or "")


def test_a_kernel_that_raises_is_wrong() -> None:
    probes = row(replace(Eager().implementation("raises"), attend=raising))
    assert (probes.status, probes.fault, probes.reason) == ("wrong", "exception", "raised RuntimeError: not today")
