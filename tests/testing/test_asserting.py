"""A function that is attention passes; one with a fault fails, and the message has the smallest case and the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from attnbench import testing
from attnbench.api import AttentionOutput, Capabilities, Precision, implementation
from attnbench.backends import discover
from attnbench.errors import UnsupportedError, UsageError
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
        assert_agrees(kernels.too_wide, case="causal Hq=2 Tq=9 D=4")
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
    for words in ({"layout": "bshd"}, {"gradients": True}, {"backend": "torch"}, {"returns": "output,lse"}):
        with pytest.raises(UsageError, match=f"declares all of that itself: leave out {next(iter(words))}"):
            assert_agrees(decorated, **words)
    with pytest.raises(UsageError, match="does not declare gqa"):
        assert_agrees(decorated, features="gqa,causal")


def test_a_refused_call_is_no_pass() -> None:
    def one_query(q: Any, k: Any, v: Any) -> Any:
        if q.shape[2] > 1:
            msg = "more will come"
            raise UnsupportedError(msg)
        return kernels.right(q, k, v, causal=True)

    def no_groups(q: Any, k: Any, v: Any) -> Any:
        if q.shape[1] != k.shape[1]:
            msg = "groups will come"
            raise UnsupportedError(msg)
        return kernels.right(q, k, v, causal=True)

    with pytest.raises(DisagreementError, match=r"it takes only \d of \d\d cases, and was refused: more will come"):
        assert_agrees(one_query, causal=True)
    with pytest.raises(DisagreementError, match=r"it takes none of the \d+ cases of gqa"):
        assert_agrees(no_groups, causal=True, features="gqa")
    with pytest.raises(DisagreementError, match="the case was named, and was refused"):
        assert_agrees(one_query, case=["Tq=1", "Tq=2"])


def test_words_beside_declared_capabilities_are_read() -> None:
    can = Capabilities(only=("default_scale",))
    ones = {"vjp": lambda q, k, v, call, d_output, d_lse: {"q": q, "k": k, "v": v}, "case": "backward Tq=3 D=2"}
    with pytest.raises(DisagreementError, match="d_q"):
        assert_agrees(kernels.right, capabilities=can, gradients=True, **ones)
    words = {"capabilities": can, "returns": ("output", "lse"), "case": "Tq=4 outputs=lse"}
    assert assert_agrees(kernels.with_lse, **words).agrees


def test_words_that_would_say_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match=r"dtype and gradients would .* write the line so: 'backward Tq=9 dtype=bfl"):
        assert_agrees(kernels.right, case="Tq=9", dtype="bfloat16", gradients=True)
    with pytest.raises(UsageError, match=r"require and budget would say nothing beside causal"):
        assert_agrees(kernels.right, causal=True, require="repeatable", budget="1s")
    with pytest.raises(UsageError, match="nothing is left to try"):
        assert_agrees(kernels.refuses, features="mask", without="mask,sizes")


def test_an_arithmetic_in_16_bits_that_would_explain_it_is_said_with_the_line_to_type() -> None:
    torch = pytest.importorskip("torch")

    def rounds(q: Any, k: Any, v: Any) -> Any:
        weights = torch.softmax(q.float() @ k.float().mT * q.shape[-1] ** -0.5, -1).to(q.dtype)
        return (weights.float() @ v.float()).to(q.dtype)

    case = "Hq=2 Tq=64 D=128 dtype=bfloat16"
    with pytest.raises(DisagreementError) as raised:
        assert_agrees(rounds, backend="torch", case=case)
    assert 'precision={"bfloat16": Precision(p_cast="bfloat16")}' in str(raised.value)
    assert assert_agrees(
        rounds, backend="torch", case=case, precision={"bfloat16": Precision(p_cast="bfloat16")}
    ).agrees


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
