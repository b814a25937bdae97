"""Forward and backward by PyTorch's autograd, for what is wanted: by ``autograd.grad``, or by ``backward()``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from attnbench.api import AttentionOutput
from attnbench.api.backends import UndeliveredError, as_output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float

    from attnbench.api import Call, Implementation

Qkv = tuple[Tensor, Tensor, Tensor]
# What a kernel says that can only be differentiated as a training loop does it: torch.utils.checkpoint with its
# default of years, for one.
REFUSED = re.compile(r"(incompatible|not compatible) with .*\.grad\(\)")


class Autograd:
    """The backward pass of one binding: ``torch.autograd.grad``, and once that is refused ``.backward()`` for good."""

    def __init__(self) -> None:
        self._pull_back = _by_grad

    def __call__(
        self,
        implementation: Implementation,
        qkv: Qkv,
        call: Call,
        d_output: Float[Tensor, "B Hq Tq Dv"],
        d_lse: Float[Tensor, "B Hq Tq"] | None,
    ) -> tuple[AttentionOutput, dict[str, Tensor]]:
        """Output and gradients; a call that ``autograd.grad`` is refused is made again."""
        try:
            return self._computed(implementation, qkv, call, d_output, d_lse)
        except RuntimeError as error:
            if self._pull_back is _by_backward or not REFUSED.search(str(error)):
                raise
        self._pull_back = _by_backward
        return self._computed(implementation, qkv, call, d_output, d_lse)

    def _computed(
        self,
        implementation: Implementation,
        qkv: Qkv,
        call: Call,
        d_output: Float[Tensor, "B Hq Tq Dv"],
        d_lse: Float[Tensor, "B Hq Tq"] | None,
    ) -> tuple[AttentionOutput, dict[str, Tensor]]:
        """With respect to fresh leaves that share memory with the operands: nothing is left of an earlier call."""
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in _differentiable(qkv, call).items()}
        q, k, v = (leaves.get(name, tensor) for name, tensor in zip("qkv", qkv, strict=True))
        with torch.enable_grad():
            output = as_output(implementation(q, k, v, _with_leaves(call, leaves)))
        cotangents = {"output": d_output} | ({} if d_lse is None else {"lse": d_lse})
        for name in cotangents:
            if not getattr(output, name).requires_grad:
                msg = f"autograd does not reach the {name} of {implementation.name}: it is detached from q, k and v"
                raise UndeliveredError(msg)
        gradients = self._pull_back([getattr(output, name) for name in cotangents], leaves, list(cotangents.values()))
        detached = AttentionOutput(**{name: tensor.detach() for name, tensor in output.items()})
        return detached, gradients


def _by_grad(outputs: list[Tensor], leaves: Mapping[str, Tensor], cotangents: list[Tensor]) -> dict[str, Tensor]:
    gradients = torch.autograd.grad(
        outputs, list(leaves.values()), cotangents, allow_unused=True, materialize_grads=True
    )
    return dict(zip(leaves, gradients, strict=True))


def _by_backward(outputs: list[Tensor], leaves: Mapping[str, Tensor], cotangents: list[Tensor]) -> dict[str, Tensor]:
    torch.autograd.backward(outputs, cotangents)
    return {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in leaves.items()}


def _differentiable(qkv: Qkv, call: Call) -> dict[str, Tensor]:
    """The tensors that get a gradient, by name: those that are wanted, by default all."""
    by_name = dict(zip("qkv", qkv, strict=True))
    if call.wanted:
        return {name: by_name[name] for name in call.wanted}
    extra = {name: tensor for name in ("bias", "sinks") if (tensor := getattr(call, name)) is not None}
    return by_name | extra | {f"params.{name}": tensor for name, tensor in call.params.items()}


def _with_leaves(call: Call, leaves: Mapping[str, Tensor]) -> Call:
    """The call with those of its tensors replaced by leaves that have one."""
    extra: dict[str, Any] = {name: leaves[name] for name in ("bias", "sinks") if name in leaves}
    params = {name: leaves.get(f"params.{name}", tensor) for name, tensor in call.params.items()}
    return call.with_arrays(extra | {"params": params})
