"""What an implementation answers and what is true, side by side, for rules that look at errors and not at bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.call import prepare
from attnbench.execute import run_bound, to_numpy_gradients, to_numpy_output
from attnbench.inputs import draw, draw_cotangents
from attnbench.oracle import reference
from attnbench.oracle_vjp import reference_vjp

if TYPE_CHECKING:
    from attnbench.backend import Backend
    from attnbench.implementation import Implementation
    from attnbench.problem import Case

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Observed:
    """One array in float64: what came out, and the oracle's."""

    got: Array
    expected: Array

    @property
    def error(self) -> Array:
        """got − expected."""
        return self.got - self.expected


def observe(backend: Backend, implementation: Implementation, case: Case, device: str = "cpu") -> dict[str, Observed]:
    """The output and, where the case and the implementation have them, the gradients of q, k and v, by name."""
    if not implementation.has_gradients(device):
        case = replace(case, phase="forward")
    q, k, v, call = prepare(case.spec, draw(case.spec, case.problem), case.outputs)
    implementation.require(call.needs(device, gradients=case.gradients))
    d_output, d_lse = draw_cotangents(case) if case.gradients else (None, None)
    result = run_bound(backend, implementation, (q, k, v), call, d_output, d_lse, device)
    output, grads = result if case.gradients else (result, {})
    got = {"output": to_numpy_output(backend, output, call).output}
    expected = {"output": reference(q, k, v, call).output}
    if d_output is not None:
        exact = reference_vjp(q, k, v, call, d_output, d_lse)
        got |= {f"d_{name}": grad for name, grad in to_numpy_gradients(backend, grads, call).items()}
        expected |= {f"d_{name}": grad for name, grad in exact.items()}
    return {name: Observed(array.astype(np.float64), expected[name]) for name, array in got.items()}
