"""Gradients as kernels are asked for them: of some operands alone, and by ``.backward()`` where need be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the torch extra is not installed")

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from attnbench.agree.judge.trial import Trial, trial
from attnbench.api import Call, Capabilities, Implementation
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import load_backend, resolve
from attnbench.backends.bind import bind_case, inputs_of

TORCH = load_backend("torch")
SIZES = {"B": 2, "Hq": 2, "Tq": 5, "S": 7, "D": 4}
WANTED = {"wanted_q": ["q"], "wanted_kv": ["k", "v"], "wanted_qkv": ["q", "k", "v"]}
GRADIENTS = Capabilities(gradients=True, bias=True, sinks=True)


def case(*operands: str, **spec: Any) -> Case:
    return Case(AttentionSpec(**spec), replace(Problem.from_dict(dict(SIZES)), operands=operands), "backward")


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    return torch.softmax(q @ k.transpose(-1, -2) * scale, -1) @ v


@pytest.mark.parametrize("kind", sorted(WANTED))
@pytest.mark.parametrize("impl", ["numpy/naive", "torch/naive", "torch/sdpa", "jax/naive"])
def test_the_gradients_that_are_wanted_are_those_of_all(impl: str, kind: str) -> None:
    backend, kernel = resolve(impl)
    judgement = trial(backend, kernel, case(kind, "bias"))
    assert judgement.status == "ok", judgement.reason
    assert [gradient.tensor for gradient in judgement.gradients] == [f"d_{name}" for name in WANTED[kind]]
    answer = bind_case(backend, kernel, case(kind, "bias", "sinks") if impl != "torch/sdpa" else case(kind)).answer()
    assert list(answer.grads) == WANTED[kind]


@pytest.mark.parametrize("kind", sorted(WANTED))
def test_what_is_not_wanted_needs_no_gradient_in_torch(kind: str) -> None:
    seen: dict[str, bool] = {}

    def looking(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
        seen.update(q=q.requires_grad, k=k.requires_grad, v=v.requires_grad, bias=call.bias.requires_grad)
        return torch.softmax(q @ k.transpose(-1, -2) * call.scale + call.bias, -1) @ v

    assert trial(TORCH, Implementation("torch/looking", GRADIENTS, looking), case(kind, "bias")).status == "ok"
    assert [name for name, needed in seen.items() if needed] == WANTED[kind]


class Forgetful(torch.autograd.Function):
    """Wrong where the keys need no gradient: then it forgets that of the queries."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.scale = scale
        return attend(q, k, v, scale)

    @staticmethod
    def backward(ctx: Any, d_output: Tensor) -> Any:
        leaves = [tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]
        with torch.enable_grad():
            output = attend(leaves[0], leaves[1], leaves[2], ctx.scale)
        grads = torch.autograd.grad(output, leaves, d_output)
        return (*(grads if ctx.needs_input_grad[1] else [torch.zeros_like(grad) for grad in grads]), None)


def test_a_kernel_that_is_wrong_where_some_alone_are_wanted_is_seen() -> None:
    apply: Any = Forgetful.apply
    kernel = Implementation("torch/forgetful", GRADIENTS, lambda q, k, v, c: apply(q, k, v, c.scale))
    assert trial(TORCH, kernel, case()).status == "ok"
    assert trial(TORCH, kernel, case("wanted_kv")).status == "ok"
    assert trial(TORCH, kernel, case("wanted_q")).fault == "value"


def test_jax_differentiates_what_is_wanted_alone() -> None:
    jax: Any = pytest.importorskip("jax")
    marks: list[str] = []

    marked: Any = jax.custom_vjp(lambda k: k)

    def back(_: Any, d: Any) -> Any:
        marks.append("k")
        return (d,)

    marked.defvjp(lambda k: (k, None), back)

    def looking(q: Any, k: Any, v: Any, call: Call) -> Any:
        return jax.nn.softmax(q @ marked(k).swapaxes(-1, -2) * call.scale, -1) @ v

    kernel = Implementation("jax/looking", GRADIENTS, looking)
    assert trial(load_backend("jax"), kernel, case("wanted_q")).status == "ok"
    assert marks == []
    assert trial(load_backend("jax"), kernel, case("wanted_kv")).status == "ok"
    assert marks


def test_a_kind_of_inputs_is_one_of_what_is_wanted() -> None:
    assert inputs_of(case("wanted_q")).kind() != inputs_of(case()).kind()


@pytest.fixture
def quiet() -> Iterator[None]:
    """A forward pass of a checkpoint warns that nothing needs a gradient."""
    with pytest.warns(UserWarning, match="requires_grad"):
        yield


CHECKPOINTED = Implementation(
    "torch/checkpointed",
    Capabilities(gradients=True),
    lambda q, k, v, call: checkpoint(attend, q, k, v, call.scale, use_reentrant=True),
)


@pytest.mark.usefixtures("quiet")
def test_a_checkpoint_of_the_old_kind_agrees_forward_and_backward() -> None:
    judgements: list[Trial] = [
        trial(TORCH, CHECKPOINTED, case(*kinds)) for kinds in ((), ("wanted_q",), ("wanted_kv",), ("wanted_qkv",))
    ]
    assert [judgement.status for judgement in judgements] == ["ok"] * 4, [judgement.reason for judgement in judgements]
    assert all(judgement.gradients for judgement in judgements)
    assert trial(TORCH, CHECKPOINTED, replace(case(), phase="forward")).status == "ok"


def test_nothing_adds_up_from_call_to_call_and_the_other_way_is_kept() -> None:
    calls: list[int] = []

    def counted(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
        calls.append(0)
        return checkpoint(attend, q, k, v, call.scale, use_reentrant=True)  # type: ignore[no-any-return]

    binding = bind_case(TORCH, Implementation("torch/counted", Capabilities(gradients=True), counted), case())
    answers = [binding.answer().grads for _ in range(3)]
    assert len(calls) == 4, "the first call is made twice, and no other"
    for name, grad in answers[0].items():
        assert all(np.array_equal(grad, other[name]) for other in answers[1:]), name
    assert all(tensor.grad is None for tensor in binding.native.qkv)


def test_an_error_of_another_kind_is_the_kernels() -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    calls: list[int] = []

    def counted(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Any:
        calls.append(0)
        return broken(q, k, v, call)

    kernel = Implementation("torch/broken", GRADIENTS, counted)
    assert trial(TORCH, kernel, case()).fault == "exception"
    assert len(calls) == 1
