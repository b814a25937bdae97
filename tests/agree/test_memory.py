"""What a comparison of values cannot see: memory handed out twice, writes that are undone, arrays of other kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.check.rows import check_feature
from attnbench.agree.judge.array import judge
from attnbench.agree.judge.trial import Trial, trial
from attnbench.api import AttentionOutput, Implementation
from attnbench.attention.arrays import Array
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import resolve

SMALL = Case(AttentionSpec(), Problem(B=2, Hq=2, Tq=5, S=7, D=4), "backward", ("lse",))
NUMPY, NAIVE = resolve("numpy/naive")


def torch_kernel(attend: Callable[..., Any] | None = None, vjp: Callable[..., Any] | None = None) -> Trial:
    """torch/naive with another forward pass, or another backward pass instead of autograd."""
    backend, naive = resolve("torch/naive")
    kernel = replace(naive, attend=attend or naive.attend, vjp=vjp)
    return trial(backend, kernel, replace(SMALL, phase="backward" if attend is None else "forward"))


def test_a_torch_write_that_is_undone_is_seen() -> None:
    naive = resolve("torch/naive")[1]

    def attend(q: Any, k: Any, v: Any, call: Any) -> Any:
        q.neg_()
        output = naive.attend(-q, k, v, call)
        q.neg_()
        return output

    judged = torch_kernel(attend)
    assert (judged.status, judged.fault, judged.reason) == ("wrong", "input", "wrote to its input q")


def test_a_torch_write_to_a_cotangent_that_is_undone_is_seen() -> None:
    import torch

    naive = resolve("torch/naive")[1]

    def vjp(q: Any, k: Any, v: Any, call: Any, d_output: Any, d_lse: Any) -> Any:
        d_output.view(-1).add_(1).sub_(0)  # a view counts too
        d_output.sub_(1)
        leaves = [x.detach().requires_grad_() for x in (q, k, v)]
        with torch.enable_grad():
            output = naive.attend(*leaves, call)
        grads = torch.autograd.grad([output.output, output.lse], leaves, [d_output, d_lse])
        return dict(zip("qkv", grads, strict=True))

    judged = torch_kernel(vjp=vjp)
    assert (judged.fault, judged.reason) == ("input", "wrote to its input d_output")


@pytest.mark.parametrize("which", ["output", "lse"])
def test_a_torch_buffer_that_is_handed_out_twice_is_seen(which: str) -> None:
    naive = resolve("torch/naive")[1]
    kept: dict[str, Any] = {}

    def attend(q: Any, k: Any, v: Any, call: Any) -> Any:
        right = naive.attend(q, k, v, call)
        buffer = kept.setdefault(which, getattr(right, which).clone())
        buffer.copy_(getattr(right, which))
        return replace(right, **{which: buffer})

    judged = torch_kernel(attend)
    assert (judged.status, judged.fault) == ("wrong", "reused")
    assert (judged.reason or "").startswith(f"{which}: changed when it was called again on other inputs")


def test_right_torch_kernels_are_not_accused() -> None:
    assert torch_kernel().status == "ok"


class Own(np.ndarray):
    """A subclass, as a physical unit would be."""


OTHERS: dict[str, tuple[Callable[[Array], Any], str, str]] = {
    "masked": (lambda x: np.ma.MaskedArray(x, mask=True), "type", "is a MaskedArray, not a plain NumPy array"),
    "subclass": (lambda x: x.view(Own), "type", "is a Own, not a plain NumPy array"),
    "list": (lambda x: x.tolist(), "type", "is a list, not a plain NumPy array"),
    "big-endian": (lambda x: x.astype(">f4"), "dtype", "has dtype float32 of foreign byte order (>f4), not float32"),
    "object": (lambda x: x.astype(object), "dtype", "has dtype object, not float32"),
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("which", ["output", "lse", "d_k"])
def test_arrays_of_another_kind_do_not_pass(kind: str, which: str) -> None:
    """The values are right, or hidden by a mask; the array is not what was asked for."""
    change, fault, text = OTHERS[kind]
    vjp = NAIVE.vjp
    assert vjp is not None

    def attend(*given: Any) -> AttentionOutput:
        right = NAIVE.attend(*given)
        changed: dict[str, Any] = {} if which == "d_k" else {which: change(getattr(right, which))}
        output: AttentionOutput = replace(right, **changed)
        return output

    def backward(*given: Any) -> dict[str, Any]:
        grads: dict[str, Any] = vjp(*given)
        return grads | {"k": change(grads["k"])} if which == "d_k" else grads

    judged = trial(NUMPY, replace(NAIVE, attend=attend, vjp=backward), SMALL)
    assert (judged.status, judged.fault) == ("wrong", fault)
    assert judged.reason == f"{which}: {text}"


def test_the_judge_looks_at_the_kind_of_array_itself() -> None:
    x = np.ones((2, 3), np.float32)
    for kind, (change, fault, _) in OTHERS.items():
        assert judge("output", change(x), x.astype(np.float64), 0 * x + 1, "float32").fault == fault, kind
    assert judge("output", x, x.astype(np.float64), 0 * x + 1, "float32").ok


def partly(limit: int) -> Implementation:
    from attnbench.backends.implementation import Limit

    capabilities = replace(NAIVE.capabilities, limits=(Limit("D", at_most=limit, reason="a tile"),))
    return replace(NAIVE, name="numpy/mine", capabilities=capabilities)


def test_a_row_says_how_many_of_its_cases_were_supported_and_why_not_all() -> None:
    row = check_feature(NUMPY, partly(40), "sizes", "float32")
    assert row.status == "ok"
    assert row.asked > row.cases > 0
    assert row.left_out is not None
    assert sum(row.left_out.values()) == row.asked - row.cases
    assert all("is above 40: a tile" in reason for reason in row.left_out)
    whole = check_feature(NUMPY, NAIVE, "sizes", "float32")
    assert (whole.cases, whole.left_out) == (whole.asked, None)
    nothing = check_feature(NUMPY, partly(1), "mask", "float32")
    assert (nothing.status, nothing.cases) == ("unsupported", 0)
    assert nothing.asked > 0


def test_the_table_shows_the_count_the_reason_and_the_declared_arithmetic() -> None:
    from attnbench.attention.precision import Precision
    from attnbench.interface.checks.table import report

    coarse = Precision(exp_ulp=20.0, p_cast="bfloat16", flush=True)
    kernel = partly(40)
    kernel = replace(kernel, capabilities=replace(kernel.capabilities, precision={"float32": coarse}))
    row = check_feature(NUMPY, kernel, "sizes", "float32")
    assert row.declared == {"exp_ulp": 20.0, "p_cast": "bfloat16", "flush": True}
    text = report([row, check_feature(NUMPY, kernel, "sizes", "float64")])
    rows = [row, check_feature(NUMPY, kernel, "sizes", "float64")]
    assert f"{sum(r.cases for r in rows)} of {sum(r.asked for r in rows)}" in text
    assert "unsupported: D is above 40: a tile" in text
    assert "declares for float32: P rounded to bfloat16, exp within 20 unit roundoffs, subnormals become 0" in text
    assert "declares for float64" not in text


def test_what_is_declared_widens_nothing_silently() -> None:
    """Every field of a precision has its words, so that none moves the bound without being shown."""
    from attnbench.agree.check.words import FLUSHED_BY, PROBED, WORDS
    from attnbench.attention.precision import ARITHMETIC, Precision, default_precision

    assert set(WORDS) == {*ARITHMETIC, FLUSHED_BY, PROBED}
    assert default_precision("bfloat16").beyond_default("bfloat16") == {}
    assert Precision().beyond_default("float64") == {"accumulate": "float32", "softmax": "float32"}
