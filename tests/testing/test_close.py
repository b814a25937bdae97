"""One output is judged by derived bounds, whosever arrays it is in, and a reading that fits is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from attnbench.errors import SpecError, UsageError
from attnbench.keywords import KeywordError
from attnbench.testing import DisagreementError, assert_close_attention, problem
from tests.testing import kernels


@pytest.fixture
def qkv() -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((1, 2, 12, 4), dtype=np.float32) for _ in range(3)]


def test_within_rounding_passes(qkv: list[Any]) -> None:
    assert assert_close_attention(kernels.right(*qkv, causal=True), *qkv, causal=True).ok


def test_another_reading_is_named_in_the_first_line(qkv: list[Any]) -> None:
    with pytest.raises(DisagreementError) as raised:
        assert_close_attention(kernels.unscaled(*qkv), *qkv)
    first, *rest = str(raised.value).splitlines()
    assert "fits another reading" in first
    assert "scale" in first
    assert "that rounding explains there" in "\n".join(rest)


def test_tensors_that_ask_for_gradients_and_arrays_of_jax(qkv: list[Any]) -> None:
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    tensors = [torch.tensor(array, requires_grad=True) for array in qkv]
    out = torch.nn.functional.scaled_dot_product_attention(*tensors)
    d_output = torch.ones_like(out)
    grads = dict(zip("qkv", torch.autograd.grad(out, tensors, d_output), strict=True))
    assert assert_close_attention(out, *tensors, grads=grads, d_output=d_output).ok
    assert assert_close_attention(out, *(jax.numpy.asarray(array) for array in qkv)).ok
    with pytest.raises(DisagreementError):
        assert_close_attention(out, *tensors, grads={**grads, "q": grads["k"]}, d_output=d_output)


def test_what_is_no_such_call_is_an_error_and_no_disagreement(qkv: list[Any]) -> None:
    with pytest.raises(KeywordError, match="assert_close_attention takes no 'is_causal'; did you mean 'causal'"):
        assert_close_attention(qkv[2], *qkv, is_causal=True)
    with pytest.raises(SpecError, match="out has shape"):
        assert_close_attention(qkv[2][:, :, :3], *qkv)


def test_a_problem_has_the_arrays_of_its_line_and_judges() -> None:
    p = problem("backward causal Hq=4 Hkv=2 Tq=9 D=4 scale=0.5", layout="bshd")
    assert p.q.shape == (1, 9, 4, 4)
    assert p.words == {"causal": True, "scale": 0.5}
    assert p.d_output.shape == p.q.shape
    out = kernels.right(*(a.swapaxes(1, 2) for a in (p.q, p.k, p.v)), **p.words).swapaxes(1, 2)
    assert p.assert_close(out, grads={}).ok
    with pytest.raises(UsageError, match="give the gradients of d_output too"):
        p.assert_close(out)
    with pytest.raises(DisagreementError, match=r"again: attnbench.testing.problem\('backward scale=0.5 causal"):
        p.assert_close(out * 2, grads={})
    assert repr(p) == "attnbench.testing.problem('backward scale=0.5 causal Hq=4 Hkv=2 Tq=9 D=4', layout='bshd')"


@pytest.mark.parametrize("length", [20, 200])
def test_an_output_in_another_layout_is_wrong_however_large_it_is(length: int) -> None:
    p = problem(f"Hq=2 Tq={length} D=4")
    out = kernels.right(p.q, p.k, p.v)
    assert p.assert_close(out).ok
    with pytest.raises(DisagreementError, match=r"B, S, H, D"):
        p.assert_close(out.swapaxes(1, 2))


def test_what_compares_nothing_is_no_pass(qkv: list[Any]) -> None:
    with pytest.raises(SpecError, match=r"grads\['q'\] is None"):
        assert_close_attention(qkv[2], *qkv, grads={"q": None}, d_output=qkv[0])
    with pytest.raises(UsageError, match="judges one output"):
        assert_close_attention(qkv[2], *qkv, other=qkv[0])
    none = [array[:, :, 12:] for array in qkv]
    with pytest.raises(DisagreementError, match="out has no element"):
        assert_close_attention(none[2], *none)
    posed = problem("Tq=3 outputs=lse")
    with pytest.raises(UsageError, match="asks for the log-sum-exp"):
        posed.assert_close(kernels.right(posed.q, posed.k, posed.v))
    assert posed.assert_close(kernels.right(posed.q, posed.k, posed.v), lse=False).ok
    with pytest.raises(SpecError, match="out is None"):
        assert_close_attention(None, *qkv)
