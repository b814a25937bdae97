"""What an implementation answered, in NumPy and unchanged: judging it is the business of ``attnbench.agree``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.precision import numpy_dtype, wide
from attnbench.backends.implementation import AttentionOutput
from attnbench.errors import UndeliveredError

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

    from attnbench.attention.call import Call, Operands
    from attnbench.backends.backend import Backend


@dataclass(frozen=True)
class Answer:
    """Output (B, Hq, Tq, Dv) with what was asked for besides, and the gradients by name; empty without a backward."""

    output: AttentionOutput
    grads: dict[str, Array] = field(default_factory=dict)

    def named(self) -> dict[str, Any]:
        """Every array by name, gradients as ``d_q``."""
        return dict(self.output.items()) | {f"d_{name}": grad for name, grad in self.grads.items()}


def answer_of(backend: Backend, result: Any, call: Call, *, gradients: bool) -> Answer:
    """A native result in NumPy: the output, or with ``gradients`` the pair (output, gradients)."""
    if not gradients:
        return Answer(to_numpy_output(backend, result, call))
    output, grads = result
    return Answer(to_numpy_output(backend, output, call), to_numpy_gradients(backend, grads, call))


def to_numpy_output(backend: Backend, result: AttentionOutput, call: Call) -> AttentionOutput:
    """The arrays of a native result in NumPy; an output that was asked for and is missing is an error."""
    arrays = {name: backend.to_numpy(array) for name, array in result.items()}
    missing = [name for name in call.outputs if name not in arrays]
    if missing:
        msg = f"the implementation did not return {', '.join(missing)}, which was asked for and declared"
        raise UndeliveredError(msg)
    return AttentionOutput(**{name: a for name, a in arrays.items() if name == "output" or name in call.outputs})


def to_numpy_gradients(backend: Backend, grads: dict[str, Any], call: Call) -> dict[str, Array]:
    """Native gradients in NumPy, in a fixed order; nested ``params`` become ``params.NAME``."""
    flat = {name: grad for name, grad in grads.items() if name != "params"}
    flat |= {f"params.{name}": grad for name, grad in grads.get("params", {}).items()}
    missing = [name for name in gradient_names(call) if flat.get(name) is None]
    if missing:
        msg = f"the implementation returned no gradient of {', '.join(missing)}"
        raise UndeliveredError(msg)
    return {name: backend.to_numpy(flat[name]) for name in gradient_names(call)}


def gradient_names(call: Call) -> list[str]:
    """What is read of a VJP of this call: the gradients that are wanted, by default of every operand."""
    if call.wanted:
        return list(call.wanted)
    optional = [name for name in ("bias", "sinks") if getattr(call, name) is not None]
    return ["q", "k", "v", *optional, *(f"params.{name}" for name in call.params)]


def empty_output(call: Call) -> AttentionOutput:
    """The answer where nothing can be attended: zeros, and lse −inf or the sink's logit."""
    sizes, level = call.sizes, wide(call.dtype)
    lead = (sizes.B, sizes.Hq, sizes.Tq)
    lse = np.full(lead, -np.inf, level)
    if call.sinks is not None and sizes.S == 0:
        lse[:] = call.sinks.astype(level)[None, :, None]
    arrays: dict[str, Array] = {name: np.zeros((*lead, sizes.S), level) for name in call.outputs if name != "lse"}
    if "lse" in call.outputs:
        arrays["lse"] = lse
    return AttentionOutput(np.zeros((*lead, sizes.Dv), numpy_dtype(call.dtype)), **arrays)


def empty_gradients(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    call: Call,
    d_lse: Float[Array, "B Hq Tq"] | None,
) -> dict[str, Float[Array, " ..."]]:
    """Zeros in the shape of every operand; where S = 0 a sink alone makes lse, and gets what d_lse gives it."""
    operands = {"q": q, "k": k, "v": v, "bias": call.bias, "sinks": call.sinks}
    operands |= {f"params.{name}": param for name, param in call.params.items()}
    grads = {name: np.zeros(operands[name].shape, operands[name].dtype) for name in gradient_names(call)}
    if "sinks" in grads and d_lse is not None and call.sizes.S == 0:
        grads["sinks"] = d_lse.sum((0, 2)).astype(call.sinks.dtype)
    return grads


def as_given(
    grads: dict[str, Shaped[Array, " ..."]], operands: Operands, call: Call
) -> dict[str, Shaped[Array, " ..."]]:
    """Every gradient in its operand's own shape: k and v split off the cache (past_k, past_v), bias with its axes."""
    if operands.bias is not None:
        grads = grads | {"bias": grads["bias"].reshape(operands.bias.shape)}
    if operands.past_k is None:
        return grads
    past = call.sizes.past
    split = {f"past_{name}": grads[name][:, :, :past] for name in ("k", "v")}
    return grads | {name: grads[name][:, :, past:] for name in ("k", "v")} | split
