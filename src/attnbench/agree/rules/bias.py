"""Rule 3: over independent draws the errors of a correct implementation have no direction.

Rounding to nearest errs to either side alike, so over many draws the mean error is zero within its own uncertainty,
however coarse the dtype. With a factor of 1.003, a truncation instead of a rounding, or an offset it is not zero,
though no single element shows these in 16 bits. Two directions are looked at, for each of n draws of N(0, 1) inputs
(batch entries):

    offset_b = Σ (got − o) / Σ |o|          gain_b = Σ (got − o) o / Σ o²

and each mean over draws must lie within 4 standard errors (between draws) of zero, plus what constants of the
accumulation format can do (a scale or a polynomial of the exponential, rounded once, errs to one side): SYSTEMATIC
roundoffs of it. With 16 draws 4 standard errors are exceeded by chance once in 900 times; so an excess counts only if
fresh draws, four times as many, show it again to the same side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnbench.agree.eager.errors import AnswerAndTruth, answers_and_truths
from attnbench.agree.judge.arithmetic import precision_of
from attnbench.attention.precision import UNIT_ROUNDOFF, Precision
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.fitted import asked
from attnbench.errors import NotDeclaredError

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Capabilities, Implementation

DRAWS = 16
STANDARD_ERRORS = 4.0
SYSTEMATIC = 8.0
AGAIN = 4  # times as many draws when an excess is looked at again
SIZES = {"Hq": 2, "Tq": 33, "S": 65, "D": 16}


def bias_case(dtype: str, draws: int = DRAWS, seed: int = 0) -> Case:
    """N(0, 1) inputs; each batch entry is a draw."""
    return Case(AttentionSpec(), Problem.from_dict({**SIZES, "B": draws, "dtype": dtype, "seed": seed}), "forward")


@dataclass(frozen=True)
class Bias:
    """``offset`` and ``gain`` over what is allowed, signed; and the case of the last look, whose batch is the draws."""

    directions: dict[str, float]
    case: Case


def bias(backend: Backend, implementation: Implementation, dtype: str, device: str = "cpu", draws: int = DRAWS) -> Bias:
    """Look for a direction: there is one where the value goes beyond ±1, and in fresh draws does so again."""
    can = implementation.capabilities_on(device)
    precision = precision_of(implementation, dtype, device)
    case = _drawn(bias_case(dtype, draws), can)
    first = directions(answers_and_truths(backend, implementation, case, device)["output"], precision)
    if all(abs(value) <= 1 for value in first.values()):
        return Bias(first, case)
    again = _drawn(bias_case(dtype, AGAIN * draws, seed=1), can)
    second = directions(answers_and_truths(backend, implementation, again, device)["output"], precision)
    return Bias({name: _confirmed(first[name], second[name]) for name in first}, again)


def _drawn(wanted: Case, can: Capabilities) -> Case:
    """The case as it can be asked. Raises where the limits leave fewer draws: their mean would say nothing."""
    case = asked(wanted, can)
    if case.problem.B < wanted.problem.B:
        msg = f"cannot be asked for a direction: its limits leave {case.problem.B} of {wanted.problem.B} draws"
        raise NotDeclaredError(msg)
    return case


def _confirmed(first: float, second: float) -> float:
    """What two looks say together: the second, if both exceed 1 to the same side; else the smaller of the two.

    It is 0 if the sides differ, and what is no number is returned as it is.
    """
    if not (np.isfinite(first) and np.isfinite(second)):
        return second if np.isfinite(first) else first
    if first * second <= 0:
        return 0.0
    return second if min(abs(first), abs(second)) > 1 else min(first, second, key=abs)


def directions(answer: AnswerAndTruth, precision: Precision) -> dict[str, float]:
    """Mean over draws of each direction over its limit, signed; NaN where something is not a number."""
    error, o = (array.reshape(len(answer.got), -1) for array in (answer.error, answer.expected))
    by_draw = {
        "offset": error.sum(1) / np.abs(o).sum(1),
        "gain": (error * o).sum(1) / (o * o).sum(1),
    }
    constants = SYSTEMATIC * max(UNIT_ROUNDOFF[precision.accumulate], UNIT_ROUNDOFF[precision.softmax])
    limits = {
        name: STANDARD_ERRORS * float(np.std(values, ddof=1)) / len(values) ** 0.5 + constants
        for name, values in by_draw.items()
    }
    return {name: float(values.mean()) / limits[name] for name, values in by_draw.items()}
