"""A function is checked where it is: its arguments are its declaration, a disagreement is a row, and it says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import attnbench as ab
from attnbench.api import Capabilities, implementation
from attnbench.backends import discover
from attnbench.errors import UsageError
from attnbench.interface.agreements import NodeAgreement, RandomAgreement
from attnbench.interface.functions import adapted
from tests.program import Cli

CAUSAL = "causal Tq=2 D=1"


def right(q: Any, k: Any, v: Any, *, causal: bool = False, scale: float = 1.0, offset: int = 0) -> Any:
    """Dot-product attention, plainly."""
    scores = np.einsum("bhtd,bhsd->bhts", q, k) * scale
    if causal:
        scores = np.where(np.arange(k.shape[2]) <= np.arange(q.shape[2])[:, None] + offset, scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    terms = np.exp(scores - np.where(np.isinf(top), 0, top))
    total = terms.sum(-1, keepdims=True)
    return np.einsum("bhts,bhsd->bhtd", terms / np.where(total == 0, 1, total), v).astype(q.dtype)


def too_wide(q: Any, k: Any, v: Any, *, causal: bool = False, scale: float = 1.0, offset: int = 0) -> Any:
    """The mask is one key too wide."""
    return right(q, k, v, causal=causal, scale=scale, offset=offset + 1)


def test_a_function_that_agrees_says_that_nothing_guarded_it() -> None:
    found = ab.check(right, case=[CAUSAL, "Tq=3 S=5", "scale=0.3"])
    assert found.agrees
    assert found.exit_code == 0
    assert not found.guarded
    assert [row.status for row in found.rows] == ["ok"] * 3
    assert "Unguarded" in str(found)
    assert "supports causal" in str(found)
    assert "numpy/right" not in discover.HELD


def test_a_disagreement_has_its_smallest_case_and_the_call_that_shows_it_again() -> None:
    found = ab.check(too_wide, case="causal Tq=9 S=9 D=4 B=2")
    assert not found.agrees
    assert found.exit_code == 1
    assert found.smallest_case == ["causal Tq=2 D=1"]
    assert found.again == "attnbench.check(too_wide, case='causal Tq=2 D=1')"
    assert "one key too wide" in str(found)
    names = {"attnbench": ab, "too_wide": too_wide}
    assert not eval(found.again, names).agrees  # noqa: S307  (our own line)


def test_features_are_rows() -> None:
    found = ab.check(right, features="deterministic", dtype=["float64", "float32"])
    assert [(row.feature, row.dtype, row.answer) for row in found.rows] == [
        ("deterministic", "float64", "yes"),
        ("deterministic", "float32", "yes"),
    ]
    assert list(found.frame()["dtype"]) == ["float64", "float32"]


def test_an_answer_is_neither_true_nor_false() -> None:
    found = ab.check(right, case="Tq=2")
    with pytest.raises(TypeError, match=r"ask \.agrees"):
        assert found


def test_nothing_is_printed_unless_it_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    ab.check(right, case="Tq=2")
    assert capfd.readouterr() == ("", "")
    ab.check(right, case="Tq=2", quiet=False)
    assert "supports causal" in capfd.readouterr().err


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(3)])
def test_an_exception_is_a_row(error: BaseException) -> None:
    def fails(q: Any, k: Any, v: Any) -> Any:
        raise error

    found = ab.check(fails, case="Tq=2")
    assert [row.status for row in found.rows] == ["wrong"]
    assert type(error).__name__ in str(found.rows[0].reason)


def test_an_interrupt_ends_the_check() -> None:
    def interrupted(q: Any, k: Any, v: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ab.check(interrupted, case="Tq=2")
    assert discover.HELD == {}


def test_a_decorated_one_and_one_that_takes_the_call_are_checked_too() -> None:
    @implementation("numpy/decorated", Capabilities(causal=True))
    def decorated(q: Any, k: Any, v: Any, call: Any) -> Any:
        return right(q, k, v, causal=call.spec.causal, scale=call.scale, offset=call.offset)

    def with_call(q: Any, k: Any, v: Any, *, call: Any) -> Any:
        return decorated(q, k, v, call)

    assert ab.check(decorated, case=CAUSAL).agrees
    assert ab.check(with_call, Capabilities(causal=True), case=CAUSAL).agrees
    assert ab.check(decorated, case=CAUSAL).rows[0].impl == "numpy/decorated"


def test_arguments_declare_what_is_asked_and_what_is_not() -> None:
    assert adapted(right, None, None).implementation.capabilities == Capabilities(causal=True)
    bare = adapted(lambda q, k, v: v, None, None)
    assert bare.implementation.capabilities.only == ("default_scale",)
    assert "takes no scale" in bare.notes[0]
    no_offset = adapted(lambda q, k, v, causal, scale: v, None, None).implementation.capabilities
    assert no_offset.only == ("square",)
    lengths = adapted(lambda q, k, v, scale, kv_lengths: v, None, None).implementation.capabilities
    assert lengths.lengths
    assert lengths.only == ("key_lengths",)
    assert adapted(right, Capabilities(causal=True), "torch").typed == (
        "right, capabilities=Capabilities(causal=True), backend='torch'"
    )


def test_a_function_of_a_taken_name_is_not_taken_for_that_one() -> None:
    def naive(q: Any, k: Any, v: Any) -> Any:
        return v

    assert adapted(naive, None, None).implementation.name == "numpy/naive-given"


@pytest.mark.parametrize(
    ("function", "more", "message"),
    [
        (lambda q, k: q, {}, r"takes \(q, k, v\) first"),
        (lambda q, k, v, is_causal=False: v, {}, "'is_causal' is called 'causal' here"),
        (lambda q, k, v, colour: v, {}, "what to give for the argument 'colour'"),
        (lambda q, k, v, call: v, {}, "give capabilities=Capabilities"),
        (lambda q, k, v: v, {"capabilities": Capabilities(bias=True)}, "takes no bias"),
        (lambda q, k, v, *, scale: v, {"capabilities": Capabilities(scores=("dot", "additive"))}, "scores.*take call"),
        (lambda q, k, v, *, scale: v, {"capabilities": Capabilities(lse=True)}, "lse=True.*take call"),
        (right, {"capabilities": "causal"}, "such as Capabilities"),
        (right, {"backend": "torhc"}, "did you mean 'torch'"),
        (right, {"impls": "mine.py"}, "leave it out with a function"),
        (right, {"timeout": 3.0}, "timeout= cannot end a function"),
        (right, {"device": "gpu"}, "did you mean 'cuda'"),
        (3, {}, "texts|a text or a whole number|no implementation matches"),
        (None, {"capabilities": Capabilities()}, "are of a function"),
    ],
)
def test_what_cannot_be_checked_is_refused(function: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ab.check(function, case="Tq=2", **more)


def test_two_checks_of_one_name_at_a_time_are_refused() -> None:
    def outer(q: Any, k: Any, v: Any, *, scale: float = 1.0) -> Any:
        with pytest.raises(UsageError, match=r"another check of numpy/outer is under way"):
            ab.check(outer, case="Tq=2")
        return right(q, k, v, scale=scale)

    assert ab.check(outer, case="Tq=2").agrees
    assert discover.HELD == {}


def test_progress_and_what_is_wrong_are_told_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    ab.check(lambda q, k, v: v * 0 + 1, features="inputs", dtype="float64", quick=True, quiet=False)
    said = capfd.readouterr().err
    assert "[0/1] numpy/lambda: " in said
    assert "numpy/lambda inputs float64: WRONG (" in said


def test_by_name_it_is_guarded() -> None:
    found = ab.check("numpy/naive", case="Tq=2")
    assert found.agrees
    assert found.guarded
    assert "processes of its own" in str(found)


def test_random_cases_of_a_function_are_counted_and_what_disagrees_is_a_row_with_its_call() -> None:
    agrees = ab.check(right, random=3, dtype="float64")
    assert agrees.agrees
    assert agrees.verdict == "All that was compared agrees: 3 random cases."
    assert agrees.rows == ()
    assert agrees.frame()["cases"].tolist() == [3]
    found = ab.check(too_wide, random=8, dtype="float64", seed=1)
    assert isinstance(found, RandomAgreement)
    assert found.exit_code == 1
    (result,) = found.results
    assert len(found.wrong) == result.wrong > 0
    assert found.smallest_case is not None
    assert found.again == f"attnbench.check(too_wide, case={found.smallest_case[0]!r})"
    assert not eval(found.again, {"attnbench": ab, "too_wide": too_wide}).agrees  # noqa: S307  (our own line)
    assert "Unguarded" in str(found)
    assert found.verdict in found.html()


def test_random_cases_by_name_are_those_of_the_command(cli: Cli) -> None:
    words = ["check", "numpy/naive", "--random", "3", "--seed", "7", "--dtype", "float32", "--json"]
    (counted,) = cli(*words).document["random"]
    found = ab.check("numpy/naive", random=3, seed=7, dtype="float32")
    assert found.guarded
    assert found.frame().loc[0, ["cases", "wrong", "error_ratio"]].tolist() == [
        counted[name] for name in ("cases", "wrong", "error_ratio")
    ]


def test_nodes_of_onnx_are_counted() -> None:
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    found = ab.check("numpy/naive", onnx=True, random=2)
    assert isinstance(found, NodeAgreement)
    assert found.frame()["case"].tolist() == ["random 0", "random 1"]
    assert found.verdict.endswith("nodes compared: all that was compared agrees.")
    assert found.exit_code == (0 if any(row.status == "ok" for row in found.results) else 5)
    assert found.verdict in str(found)
    assert "numpy/naive" in found.html()
