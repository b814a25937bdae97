"""A case as arrays that nobody reads, however large they are: memory that is not touched takes none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from attnbench.attention.inputs import draw
from attnbench.attention.needs import with_operands
from attnbench.attention.precision import numpy_dtype, wide
from attnbench.backends.bind import Inputs, given_inputs

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.backends.implementation import Implementation

GPU = "cuda"


def shaped_inputs(case: Case) -> Inputs:
    """The inputs of a case with zeros for all that is large; masks, lengths and the like are drawn."""
    p = case.problem
    inputs = given_inputs(case.spec, draw(case.spec, p, values=False), case.outputs)
    call = replace(inputs.call, wanted=p.wanted)
    if not case.gradients:
        return replace(inputs, call=call)
    d_output = np.zeros((p.B, p.Hq, p.Tq, p.Dv), numpy_dtype(p.dtype))
    d_lse = np.zeros((p.B, p.Hq, p.Tq), numpy_dtype(wide(p.dtype))) if "lse" in case.outputs else None
    return replace(inputs, call=call, d_output=d_output, d_lse=d_lse)


def why_not_taken(implementation: Implementation, case: Case, inputs: Inputs) -> str | None:
    """Why an implementation does not compute the case on a GPU, or ``None``."""
    needs = with_operands(inputs.call.needs(GPU, gradients=case.gradients), case.problem.operands)
    return implementation.unsupported(needs)
