"""What an implementation answers and what is true, side by side, for rules that look at errors and not at bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.oracle import reference
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.backends.bind import bind, inputs_of
from attnbench.backends.fitted import offered

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation


@dataclass(frozen=True)
class AnswerAndTruth:
    """One array in float64: what came out, and the oracle's."""

    got: Array
    expected: Array

    @property
    def error(self) -> Array:
        """got − expected."""
        return self.got - self.expected


def answers_and_truths(
    backend: Backend, implementation: Implementation, case: Case, device: str = "cpu"
) -> dict[str, AnswerAndTruth]:
    """The output and, where the case and the implementation have them, the gradients of q, k and v, by name."""
    case = offered(case, implementation, device)
    inputs = inputs_of(case)
    implementation.require(inputs.call.needs(device, gradients=case.gradients))
    answer = bind(backend, implementation, inputs, device).answer()
    got = {"output": answer.output.output} | {f"d_{name}": grad for name, grad in answer.grads.items()}
    expected = {"output": reference(*inputs.qkv, inputs.call).output}
    if inputs.gradients:
        exact = reference_vjp(*inputs.qkv, inputs.call, inputs.d_output, inputs.d_lse)
        expected |= {f"d_{name}": grad for name, grad in exact.items()}
    return {name: AnswerAndTruth(array.astype(np.float64), expected[name]) for name, array in got.items()}
