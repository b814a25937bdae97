"""A case answered once and judged as often as there are declarations: a bound costs no further run of the kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from attnbench.agree.bounds import Units
from attnbench.agree.run_once import Ran, run_once
from attnbench.agree.sampled import SHARE, Sample, choose, judge_forward, judge_gradients, sampled
from attnbench.backends.bind import Inputs, inputs_of
from attnbench.oracle import Evaluated

if TYPE_CHECKING:
    from attnbench.agree.judge import Judgement
    from attnbench.backend import Backend
    from attnbench.implementation import Implementation
    from attnbench.precision import Precision
    from attnbench.problem import Case


@dataclass(frozen=True)
class Answered:
    """What went in, what is judged of it, and what came out."""

    inputs: Inputs
    sample: Sample
    evaluated: Evaluated
    ran: Ran

    def judged(self, precision: Precision, *, first: bool = False) -> tuple[Judgement, ...]:
        """Every array, held to the bound that this arithmetic has; with ``first`` no gradient where others disagree."""
        units = Units.of(precision, self.inputs.call.dtype)
        forward = judge_forward(self.ran.output, self.inputs, units, self.sample, self.evaluated)
        if not self.ran.grads or (first and not all(one.ok for one in forward)):
            return forward
        return forward + judge_gradients(self.ran.grads, self.inputs, units, self.sample, self.evaluated)

    def agrees(self, precision: Precision) -> bool:
        """Whether this arithmetic explains all of it."""
        return all(one.ok for one in self.judged(precision, first=True))

    def is_about_values(self, precision: Precision) -> bool:
        """Whether all that disagrees are numbers, and no shape, NaN or infinity."""
        return all(one.ok or one.fault == "value" for one in self.judged(precision))

    def ratios(self, precision: Precision) -> dict[str, float]:
        """The error ratio of every array."""
        return {one.tensor: one.error_ratio for one in self.judged(precision)}

    def by(self, backend: Backend, implementation: Implementation) -> Answered:
        """What another implementation answers to the same."""
        return replace(self, ran=run_once(backend, implementation, self.inputs))


def answered(backend: Backend, implementation: Implementation, case: Case, device: str = "cpu") -> Answered:
    """Run a case as a trial does, with gradients where there are any; what the implementation raises is raised."""
    if case.gradients and not implementation.has_gradients(device):
        case = replace(case, phase="forward")
    inputs = inputs_of(case)
    sample = choose(inputs.call, case.problem.seed, SHARE)
    inputs = sampled(inputs, sample)
    evaluated = Evaluated(*inputs.qkv, inputs.call, sample.rows, sample.pairs)
    return Answered(inputs, sample, evaluated, run_once(backend, implementation, inputs, device))
