"""Rule 2: no worse than twice our own eager attention in the same dtype, for arrays of at least 256 elements.

Rule 1 judges an implementation by what it declares, so a coarse declaration is a wide bound. This rule does not ask
what was declared. The baseline is the definition in NumPy with every stage that lies in memory, the logits and P and
their gradients, rounded to the input's dtype; what is summed is summed in float32 (float64 for float64). Largest and
mean error may be twice the baseline's, plus 2 u_o max|o| for the rounding of the result itself.

Gradients, and the output in float32, are compared on N(0, 1) alone: where a few elements carry the whole error (peaky
logits, outlier channels), or a large sum cancels (Σ P dP against dO·O), the ratio of two largest errors is luck, and
correct kernels were seen up to 1.6. In float64 the oracle is no finer than what it would judge: the rule says nothing.
(PyTorch's MATH backend is not such a baseline: it computes 16-bit inputs in float32.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.agree.eager.attention import Eager
from attnbench.agree.eager.errors import AnswerAndTruth, answers_and_truths
from attnbench.attention.arrays import Array
from attnbench.attention.precision import UNIT_ROUNDOFF, numpy_dtype
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec

if TYPE_CHECKING:
    from attnbench.attention.call import Call
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

SMALLEST = 256  # elements below which a largest error is a matter of luck
TIMES = 2.0
DISTRIBUTIONS = ("normal", "peaky", "outliers", "large_mean")
APPLIES = ("float32", "bfloat16", "float16")
# The sizes of attnbench.agree.cases.by_feature.PLAIN: a framework that compiles has compiled them already.
SIZES = {"B": 2, "Hq": 3, "Tq": 33, "S": 65, "D": 16, "Dv": 8}


class Baseline(Eager):
    """Eager attention that keeps each stage in the dtype of its inputs."""

    def stored(self, array: Array, call: Call) -> Array:
        """Rounded to the inputs' dtype."""
        return np.asarray(array.astype(numpy_dtype(call.dtype)).astype(array.dtype))


def baseline_cases(dtype: str, seeds: int = 1) -> list[Case]:
    """The cases in which errors are compared; dot scores and nothing else, which every implementation has."""
    kinds = DISTRIBUTIONS[:1] if dtype == "float32" else DISTRIBUTIONS
    sizes: dict[str, Any] = {**SIZES, "dtype": dtype}
    problems = [
        Problem.from_dict(sizes | {"distribution": kind, "seed": seed}) for seed in range(seeds) for kind in kinds
    ]
    return [Case(AttentionSpec(), problem, "backward") for problem in problems]


def excess(backend: Backend, implementation: Implementation, case: Case, device: str = "cpu") -> dict[str, float]:
    """For each array the larger of its two errors (largest, mean) over what Rule 2 allows; above 1 it is broken."""
    from attnbench.backends.attend import load_backend

    answers = answers_and_truths(backend, implementation, case, device)
    stock = answers_and_truths(load_backend("numpy"), Baseline().implementation("baseline"), case)
    return {
        name: _excess(answer, stock[name], case.problem.dtype)
        for name, answer in answers.items()
        if answer.expected.size >= SMALLEST and (name == "output" or case.problem.distribution == "normal")
    }


def _excess(answer: AnswerAndTruth, stock: AnswerAndTruth, dtype: str) -> float:
    slack = 2 * UNIT_ROUNDOFF[dtype] * float(np.abs(answer.expected).max())
    error, usual = np.abs(answer.error), np.abs(stock.error)
    largest = float(error.max()) / (TIMES * float(usual.max()) + slack)
    mean = float(error.mean()) / (TIMES * float(usual.mean()) + slack)
    worst = max(largest, mean)
    return worst if np.isfinite(worst) else float("inf")
