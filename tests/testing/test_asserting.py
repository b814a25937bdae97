"""A function that is attention passes; one with a fault fails, and the message has the smallest case and the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from attnbench import testing
from attnbench.api import AttentionOutput, Capabilities, implementation
from attnbench.backends import discover
from attnbench.errors import UsageError
from attnbench.keywords import KeywordError
from attnbench.testing import DisagreementError, assert_agrees
from tests.testing import kernels


def test_a_right_function_passes_and_the_answer_comes_back() -> None:
    checked = assert_agrees(kernels.right, features="causal,gqa", dtype="float64")
    assert checked.agrees
    assert [row.feature for row in checked.rows] == ["sizes", "causal", "gqa"]
    assert {row.dtype for row in checked.rows} == {"float64"}
    assert discover.HELD == {}


def test_the_message_begins_with_the_fault_and_its_smallest_case_and_shows_it_again() -> None:
    with pytest.raises(AssertionError) as raised:
        assert_agrees(kernels.too_wide, features="causal")
    assert str(raised.value).splitlines()[:3] == [
        "too_wide is not the attention that was asked for: the causal mask is one key too wide",
        "  smallest failing case: causal Tq=2 D=1",
        "  again: attnbench.testing.assert_agrees(too_wide, case='causal Tq=2 D=1')",
    ]
    error = raised.value
    assert isinstance(error, DisagreementError)
    assert error.case == "causal Tq=2 D=1"
    with pytest.raises(DisagreementError, match="one key too wide"):
        eval(error.again.removeprefix("attnbench."), {"testing": testing, "too_wide": kernels.too_wide})  # noqa: S307  (our own line)


def test_a_fault_at_the_edge_of_a_tile_is_found_without_a_hint() -> None:
    with pytest.raises(DisagreementError) as raised:
        assert_agrees(kernels.at_tile, causal=True)
    assert raised.value.case == "causal Tq=65 D=1"
    assert "assert_agrees(at_tile, causal=True, case='causal Tq=65 D=1')" in str(raised.value)


@pytest.mark.parametrize(
    ("fault", "case", "words"),
    [
        (kernels.tiled_heads, "Hq=4 Hkv=2 Tq=9 D=4", "head"),
        (kernels.unscaled, "Tq=9 D=4", "scale"),
        (kernels.writes, "Tq=4 D=4", "input"),
        (kernels.contiguous_alone, "Tq=4 D=4 operands=layout_step", "NaN|rounding"),
        (kernels.wide, "Tq=4 D=4", "float64"),
        (kernels.turned, "Hq=2 Tq=4 D=4", "shape"),
        (kernels.hides_nan, "Tq=4 D=4 operands=nan_query", "NaN"),
        (lambda *_: None, "Tq=4", "returned nothing"),
        (lambda *_: (1, 2), "Tq=4", r"say which, as in returns=\('output', 'lse'\)"),
    ],
)
def test_faults_of_many_kinds(fault: Callable[..., Any], case: str, words: str) -> None:
    with pytest.raises(DisagreementError, match=words):
        assert_agrees(fault, case=case)
    assert discover.HELD == {}


def test_a_refused_call_says_how_to_leave_it_out() -> None:
    with pytest.raises(DisagreementError, match="masks will come") as raised:
        assert_agrees(kernels.refuses, case="Tq=3 operands=mask")
    assert "without='mask'" in str(raised.value)
    assert all(row.feature != "mask" for row in assert_agrees(kernels.refuses, features="sizes").rows)


def test_without_leaves_the_cases_of_the_plan_out_too() -> None:
    with pytest.raises(DisagreementError, match="a NaN in q"):
        assert_agrees(kernels.hides_nan, features="nan_reached")
    assert assert_agrees(kernels.hides_nan, without="nan_reached,inputs,layout").agrees


def test_a_tuple_with_lse_and_the_other_layout() -> None:
    assert assert_agrees(kernels.with_lse, returns=("output", "lse"), case="causal Tq=9 outputs=lse").agrees
    assert assert_agrees(kernels.in_bshd(kernels.right), layout="bshd", case="causal Hq=2 Tq=9 D=4").agrees
    with pytest.raises(DisagreementError):
        assert_agrees(kernels.in_bshd(kernels.right), case="causal Hq=2 Tq=9 D=4")
    with pytest.raises(UsageError, match="say where it is returned"):
        assert_agrees(kernels.with_lse, features="lse")


def test_a_call_and_a_decorated_function_are_taken_as_from_a_file() -> None:
    def with_call(q: Any, k: Any, v: Any, call: Any) -> Any:
        return AttentionOutput(kernels.right(q, k, v, causal=call.spec.causal, scale=call.scale))

    @implementation("numpy/decorated", Capabilities(causal=True, only=("square",), alignments=("top_left",)))
    def decorated(q: Any, k: Any, v: Any, call: Any) -> Any:
        return with_call(q, k, v, call)

    assert assert_agrees(with_call, features="causal", case="causal Tq=5").agrees
    assert assert_agrees(decorated, case="causal Tq=5").agrees


def test_nothing_compared_is_no_pass() -> None:
    can = Capabilities(dtypes=("bfloat16",))
    with pytest.raises(DisagreementError, match="Nothing was compared"):
        assert_agrees(kernels.right, capabilities=can, dtype="float32", features="sizes")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"features": "cuasal"}, "did you mean 'causal'"),
        ({"dtype": "bf16"}, "did you mean 'bfloat16'"),
        ({"layout": "bhtd"}, "did you mean 'bhsd'|not one of bhsd, bshd"),
        ({"backend": "torhc"}, "did you mean 'torch'"),
        ({"returns": "lse"}, "where the output is"),
        ({"features": "mask"}, "takes no mask"),
        ({"causal": True, "align": "left"}, "not one of"),
        ({"is_causal": True}, "did you mean 'causal'"),
        ({"case": "Tqq=3"}, "did you mean 'Tq'"),
        ({"device": "gpu"}, "did you mean 'cuda'"),
        ({"layout": "bshd", "vjp": lambda *_: None}, "leave out layout="),
    ],
)
def test_wrong_words_are_refused_before_anything_is_called(words: dict[str, Any], message: str) -> None:
    def never(q: Any, k: Any, v: Any, *, causal: bool = False) -> Any:
        raise AssertionError

    with pytest.raises((UsageError, KeywordError, ValueError), match=message):
        assert_agrees(never, **words)


def test_numpy_by_default_is_said_where_everything_raises() -> None:
    def of_tensors(q: Any, k: Any, v: Any) -> Any:
        return q.unsqueeze(0)

    with pytest.raises(DisagreementError, match="type backend='torch'"):
        assert_agrees(of_tensors, case="Tq=2")


def test_a_fault_in_torch_with_its_gradients_and_a_module() -> None:
    torch = pytest.importorskip("torch")

    class Attends(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, q: Any, k: Any, v: Any, *, causal: bool = False) -> Any:
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    def detached(q: Any, k: Any, v: Any) -> Any:
        return torch.nn.functional.scaled_dot_product_attention(q, k.detach(), v)

    def writes(q: Any, k: Any, v: Any) -> Any:
        with torch.no_grad():
            q += 1
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    assert assert_agrees(Attends(), case=["backward causal Hq=2 Tq=9 D=4", "Tq=4 dtype=float64"]).agrees
    with pytest.raises(DisagreementError, match="gradient"):
        assert_agrees(detached, backend="torch", case="backward Tq=3 D=2")
    for layout in ("bhsd", "bshd"):
        with pytest.raises(DisagreementError, match="input q"):
            assert_agrees(writes, backend="torch", layout=layout, case="Tq=3 D=2")


def test_a_jitted_function_of_jax_says_itself_whose_arrays_it_takes() -> None:
    jax = pytest.importorskip("jax")

    def plain(q: Any, k: Any, v: Any) -> Any:
        return jax.nn.dot_product_attention(q, k, v)

    assert assert_agrees(jax.jit(plain), layout="bshd", case="backward Hq=2 Tq=5 D=4").agrees
