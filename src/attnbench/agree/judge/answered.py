"""A case answered once and judged as often as there are declarations: a bound costs no further run of the kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from attnbench.agree.judge.bounds import Units
from attnbench.agree.judge.run_once import Ran, run_once
from attnbench.agree.judge.selection import (
    SHARE,
    Selection,
    Share,
    choose,
    judge_forward,
    judge_gradients,
    with_selected_cotangents,
)
from attnbench.attention.oracle import Evaluated
from attnbench.backends.bind import Inputs, inputs_of
from attnbench.backends.fitted import offered

if TYPE_CHECKING:
    from attnbench.agree.judge.array import Judgement
    from attnbench.attention.precision import Precision
    from attnbench.attention.problem import Case
    from attnbench.backends.backend import Backend
    from attnbench.backends.bind import Binding, LastBinding
    from attnbench.backends.implementation import Implementation


@dataclass(frozen=True)
class Answered:
    """One answer: the inputs, which rows and heads are judged, the truth about these, and what came out."""

    inputs: Inputs
    selection: Selection
    evaluated: Evaluated
    ran: Ran

    def forward(self, precision: Precision) -> tuple[Judgement, ...]:
        """What the forward pass returned, held to the bound that this arithmetic has."""
        units = Units.of(precision, self.inputs.call.dtype)
        return judge_forward(self.ran.output, self.inputs, units, self.selection, self.evaluated)

    def gradients(self, precision: Precision) -> tuple[Judgement, ...]:
        """The same of the gradients; none where there are none."""
        if not self.ran.grads:
            return ()
        units = Units.of(precision, self.inputs.call.dtype)
        return judge_gradients(self.ran.grads, self.inputs, units, self.selection, self.evaluated)

    def judged(self, precision: Precision, *, first: bool = False) -> tuple[Judgement, ...]:
        """A judgement of every array; with ``first`` gradients are left out where the output or a stage disagrees."""
        forward = self.forward(precision)
        return (
            forward if first and not all(judgement.ok for judgement in forward) else forward + self.gradients(precision)
        )

    def agrees(self, precision: Precision) -> bool:
        """Whether this arithmetic explains all of it."""
        return all(judgement.ok for judgement in self.judged(precision, first=True))

    def is_about_values(self, precision: Precision) -> bool:
        """Whether all that disagrees are numbers, and no shape, NaN or infinity."""
        return all(judgement.ok or judgement.fault == "value" for judgement in self.judged(precision))

    def ratios(self, precision: Precision) -> dict[str, float]:
        """The error ratio of every array."""
        return {judgement.tensor: judgement.error_ratio for judgement in self.judged(precision)}

    def by(self, backend: Backend, implementation: Implementation) -> Answered:
        """What another implementation answers to the same."""
        return replace(self, ran=run_once(backend, implementation, self.inputs))


def answered(backend: Backend, implementation: Implementation, case: Case, device: str = "cpu") -> Answered:
    """Run a case as a trial does, with gradients where there are any; what the implementation raises is raised."""
    case = offered(case, implementation, device)
    return answer_to(inputs_of(case), case.problem.seed, backend, implementation, device, share=SHARE)


def answer_to(
    inputs: Inputs,
    seed: int,
    backend: Backend,
    implementation: Implementation,
    device: str,
    binding: Binding | LastBinding | None = None,
    share: Share | None = None,
) -> Answered:
    """Run an implementation on these inputs, with a ``binding`` of their kind; the rest is as in ``choose``."""
    selection = choose(inputs.call, seed, share)
    inputs = with_selected_cotangents(inputs, selection)
    ran = run_once(backend, implementation, inputs, device, binding)
    return Answered(inputs, selection, Evaluated(*inputs.qkv, inputs.call, selection.rows, selection.pairs), ran)
