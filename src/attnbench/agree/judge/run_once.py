"""An implementation run once as a trial needs it: what it answers, what it wrote to, and whether its answer lasts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.backends.answers import Answer, empty_gradients, empty_output
from attnbench.backends.bind import Binding, Inputs, LastBinding, bind
from attnbench.backends.implementation import AttentionOutput

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

SMALL = 1 << 16  # B·Hq·Tq·S up to which it is called a second time


@dataclass(frozen=True)
class Ran:
    """Output and gradients in NumPy; the inputs that were written to, and the results that a second call changed."""

    output: AttentionOutput
    grads: dict[str, Array]
    written: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def run_once(
    backend: Backend,
    implementation: Implementation,
    inputs: Inputs,
    device: str = "cpu",
    binding: Binding | LastBinding | None = None,
) -> Ran:
    """Run on these inputs (NumPy) and look at them again; what the implementation raises is raised.

    ``binding`` is one of the same kind, where there is one: then nothing is compiled. A small call is followed by one
    on other inputs, which must leave the first result alone: a buffer that is handed out twice is right only until
    then.
    """
    s = inputs.call.sizes
    if s.empty:
        grads = empty_gradients(*inputs.qkv, inputs.call, inputs.d_lse) if inputs.gradients else {}
        return Ran(empty_output(inputs.call), grads)
    bound = bind(backend, implementation, inputs, device) if binding is None else binding.on(inputs)
    native, given = bound.native.arrays(), inputs.arrays()
    writes = {name: backend.writes(array) for name, array in native.items()}
    result = bound.result()
    written = [
        name
        for name, array in native.items()
        if backend.writes(array) != writes[name] or not _same_bits(given[name], backend.to_numpy(array))
    ]
    answer = bound.to_numpy(result)
    if s.B * s.Hq * s.Tq * s.S > SMALL or written:
        return Ran(answer.output, answer.grads, written)
    before = {name: _bits(array) for name, array in answer.named().items()}
    answer = _copied(answer)
    if not _call_again(backend, bound, inputs.with_values(q=-inputs.q, v=-inputs.v)):
        return Ran(answer.output, answer.grads, written)
    after = bound.to_numpy(result).named()
    changed = [name for name, bits in before.items() if _bits(after[name]) != bits]
    return Ran(answer.output, answer.grads, written, changed)


def _call_again(backend: Backend, binding: Binding, inputs: Inputs) -> bool:
    """Call it on these inputs; false where arrays cannot be changed, so that no result can either."""
    if not backend.overwrite(binding.native.q, -inputs.q):
        return False
    binding.on(inputs).result()
    return True


def _copied(answer: Answer) -> Answer:
    output = AttentionOutput(**{name: _copy(array) for name, array in answer.output.items()})
    return Answer(output, {name: _copy(grad) for name, grad in answer.grads.items()})


def _copy(array: Any) -> Any:
    return array.copy() if isinstance(array, np.ndarray) else array


def _bits(array: Any) -> bytes:
    return np.asarray(array).tobytes() if isinstance(array, np.ndarray) else repr(array).encode()


def _same_bits(before: Array, after: Array) -> bool:
    return before.shape == after.shape and before.tobytes() == after.tobytes()
