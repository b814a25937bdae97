"""Two outputs of one call: which is nearer to the truth, and whether two right kernels may differ so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnbench.agree.judge.weight_bounds import SLACK
from attnbench.attention.arrays import Array
from attnbench.explaining.judging import JudgedAll, JudgedArray, counted_of, picked
from attnbench.explaining.question import PosedCall


@dataclass(frozen=True)
class NearerOfTwo:
    """``out`` and ``other`` held to the truth and to each other.

    ``out_rms`` and ``other_rms`` are root mean squares of their errors. ``difference`` is the largest difference of the
    two, ``difference_ratio`` that of the element whose difference is the largest part of what two right kernels may
    show there (each as far from the truth as rounding explains, on opposite sides); above 1 they may not.
    """

    nearer: str
    other: JudgedArray
    out_rms: float
    other_rms: float
    difference: float
    difference_ratio: float

    @property
    def normal(self) -> bool:
        """Whether two right kernels may differ so."""
        return self.difference_ratio <= 1

    def sentences(self, *, out_ok: bool) -> list[str]:
        """For people, in two lines."""
        states = {(True, True): "both are within rounding", (True, False): "out is within rounding, other is not"}
        states |= {(False, True): "other is within rounding, out is not", (False, False): "neither is within rounding"}
        who = {
            "out": "out is nearer to the truth",
            "other": "other is nearer to the truth",
            "neither": "both are equally near to the truth",
        }[self.nearer]
        rms = f"root mean square of the errors: out {self.out_rms:.3g}, other {self.other_rms:.3g}"
        may = "two right kernels may" if self.normal else "two right kernels may not"
        share = f"{may} differ so (the most is {self.difference_ratio:.3g} of what they may at that element)"
        return [
            f"{states[out_ok, self.other.ok]}; {who} ({rms})",
            f"they differ by up to {self.difference:.3g}: {share}",
        ]


def nearer(question: PosedCall, first: JudgedAll, second: JudgedAll) -> NearerOfTwo:
    """Compare ``out`` with ``other``, which were judged as ``first`` and ``second``, where both are judged."""
    # The bounds of the coarser arithmetic of the two.
    truth = max((first.truth["output"], second.truth["output"]), key=lambda right: float(np.nansum(right.below)))
    assert question.other is not None  # noqa: S101  (for the type checker: who asks has it)
    pairs = (question.answers["output"], question.other)
    counted = counted_of(question, "output", first.selection, truth.expected.shape)
    out, other = (picked(question, "output", a, first.selection).astype(np.float64)[counted] for a in pairs)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        rms = [_rms(a, truth.expected[counted]) for a in (out, other)]
        apart = np.abs(out - other)
        same = (out == other) | (np.isnan(out) & np.isnan(other))
        room = (SLACK * (truth.below + truth.above))[counted]
        ratio = np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart / room))
    largest = float(np.where(same, 0.0, apart).max(initial=0.0))
    order = "neither" if rms[0] == rms[1] else ("out" if rms[0] < rms[1] else "other")
    return NearerOfTwo(order, second.arrays["output"], rms[0], rms[1], largest, float(ratio.max(initial=0.0)))


def _rms(got: Array, expected: Array) -> float:
    """Root mean square of the errors where there are numbers; infinite where one is NaN and the other is not."""
    if (np.isnan(got) != np.isnan(expected)).any():
        return float("inf")
    error = np.where((got == expected) | np.isnan(expected), 0.0, got - expected)
    return float(np.sqrt(np.mean(error**2))) if error.size else 0.0
