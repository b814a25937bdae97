"""Tensors of PyTorch and arrays of JAX in, the same out; what has no values, or a graph, is refused with words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import attnbench as ab
from attnbench.backends import kinds
from attnbench.errors import SpecError

CAUSAL = ab.AttentionSpec(causal=True)
torch = pytest.importorskip("torch")
jnp = pytest.importorskip("jax.numpy")
KINDS: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "torch": (torch.Tensor, torch.from_numpy),
    "jax": (jnp.ndarray, jnp.asarray),
}


def drawn() -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((2, 4, 16, 8), dtype=np.float32) for _ in range(3)]


@pytest.mark.parametrize("impl", ["numpy/naive", "torch/naive", "jax/naive"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_goes_in_comes_out_whatever_computes(kind: str, impl: str) -> None:
    kind_type, make = KINDS[kind]
    given = drawn()
    here = ab.attend(*given, impl=impl, spec=CAUSAL, outputs=("lse",))
    there = ab.attend(*map(make, given), impl=impl, spec=CAUSAL, outputs=("lse",))
    assert isinstance(there.output, kind_type)
    assert isinstance(there.lse, kind_type)
    assert there.weights is None
    np.testing.assert_array_equal(np.asarray(there.output), here.output)
    np.testing.assert_array_equal(np.asarray(there.lse), here.lse)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_of_the_kind_of_q(kind: str) -> None:
    kind_type, make = KINDS[kind]
    given = drawn()
    here = ab.vjp(*given, np.ones_like(given[0]), spec=CAUSAL)
    there = ab.vjp(*map(make, given), make(np.ones_like(given[0])), spec=CAUSAL)
    assert there.keys() == here.keys()
    for name, grad in there.items():
        assert isinstance(grad, kind_type)
        np.testing.assert_array_equal(np.asarray(grad), here[name])


def test_learned_parameters_and_their_gradients_too() -> None:
    spec = ab.AttentionSpec(score="additive")
    given = drawn()
    params = ab.default_params(spec, heads=4, d=8)
    ones = np.ones_like(given[0])
    here = ab.vjp(*given, ones, spec=spec, params=params)["params"]
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in params.items()}
    there = ab.vjp(*map(torch.from_numpy, given), torch.from_numpy(ones), spec=spec, params=tensors)["params"]
    assert {name: type(grad) for name, grad in there.items()} == dict.fromkeys(here, torch.Tensor)
    for name, grad in there.items():
        np.testing.assert_array_equal(grad.numpy(), here[name])


def test_bfloat16_stays_bfloat16() -> None:
    q, k, v = (torch.from_numpy(array).bfloat16() for array in drawn())
    out = ab.attend(q, k, v, impl="torch/naive").output
    assert out.dtype == torch.bfloat16
    expected = torch.nn.functional.scaled_dot_product_attention(q.float(), k.float(), v.float())
    assert (out.float() - expected).abs().max() < 0.02
    jax_out = ab.attend(*(jnp.asarray(array, jnp.bfloat16) for array in drawn()), impl="jax/naive").output
    assert jax_out.dtype == jnp.bfloat16


def test_operands_may_be_numpys_and_views_are_read_as_they_are() -> None:
    q, k, v = drawn()
    mask = np.tri(16, dtype=bool)
    here = ab.attend(q, k, v, mask=mask).output
    turned = torch.from_numpy(np.ascontiguousarray(q.swapaxes(1, 2))).transpose(1, 2)
    for given in (mask, torch.from_numpy(mask)):
        there = ab.attend(turned, torch.from_numpy(k), torch.from_numpy(v), mask=given).output
        np.testing.assert_array_equal(there.numpy(), here)


def refused(q: Any, k: Any, v: Any, **more: Any) -> str:
    with pytest.raises(SpecError) as error:
        ab.attend(q, k, v, **more)
    return str(error.value)


def test_what_cannot_be_read_is_refused_with_what_to_type() -> None:
    q, k, v = map(torch.from_numpy, drawn())
    assert "pass k.detach()" in refused(q, k.clone().requires_grad_(), v)
    assert "pass q.detach()" in refused(torch.nn.Parameter(q), k, v)
    assert "'meta'" in refused(q.to("meta"), k, v)
    assert "'meta'" in refused(q, k, v.to("meta"))
    assert "pass v.to_dense()" in refused(q, k, v.to_sparse())
    assert "mask is a tensor of layout" in refused(q, k, v, mask=torch.ones(16, 16, dtype=torch.bool).to_sparse())
    assert "k is a JAX array and q is a PyTorch tensor" in refused(q, jnp.asarray(k.numpy()), v)
    assert "v is a PyTorch tensor and q is a NumPy array" in refused(q.numpy(), k.numpy(), v)


class OnAGpu:
    """What is looked at of a tensor on a GPU."""

    __module__ = "torch"
    shape, layout = (1,), "torch.strided"

    def __init__(self, number: int | None) -> None:
        self.device = SimpleNamespace(type="cuda", index=number)


def test_a_gpu_that_is_not_the_first_is_refused() -> None:
    for number in (None, 0):
        kinds.readable(OnAGpu(number), "k")
    with pytest.raises(SpecError, match="k is on GPU 1, and attnbench computes on the first one"):
        kinds.readable(OnAGpu(1), "k")


@pytest.mark.parametrize("transform", ["jit", "vmap", "grad"])
def test_a_traced_array_is_refused(transform: str) -> None:
    import jax

    def traced(q: Any) -> Any:
        return ab.attend(q, q, q).output.sum()

    q = jnp.ones((1, 1, 2, 2, 2)) if transform == "vmap" else jnp.ones((1, 2, 2, 2))
    with pytest.raises(SpecError, match="outside of jit"):
        getattr(jax, transform)(traced)(q)


def test_empty_problems_are_of_the_kind_too() -> None:
    q, k, v = map(torch.from_numpy, drawn())
    out = ab.attend(q[:, :, :0], k, v, outputs=("lse",))
    assert (type(out.output), tuple(out.output.shape)) == (torch.Tensor, (2, 4, 0, 8))
    assert isinstance(out.lse, torch.Tensor)


def test_a_call_of_numpy_imports_no_framework() -> None:
    program = "import sys, numpy, attnbench; q = numpy.ones((1, 1, 2, 2)); attnbench.attend(q, q, q)"
    program += "; print({'torch', 'jax', 'jaxlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
