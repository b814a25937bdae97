"""Mutants: attention with one planted fault each, to show that the check can fail.

Every mutant stands for a kind of bug that real attention code has had. ``attnbench check`` must find each in every
dtype where it applies, and must pass the control, from which they differ by one step. ``docs/mutants.md`` lists them
with what other projects' tolerances make of them.

``catalogue`` says what a mutant is; ``scores``, ``operands``, ``positions``, ``masking``, ``arithmetic``, ``gradients``
and ``results`` hold them, by the step that is wrong; the room ``conditional`` plants them behind conditions.
"""

from __future__ import annotations

from attnbench.agree.mutants import arithmetic, gradients, masking, operands, positions, results, scores
from attnbench.agree.mutants.catalogue import MUTANTS, BugReport, Mutant

__all__ = ["FAMILIES", "MUTANTS", "BugReport", "Mutant"]

FAMILIES = (scores, operands, positions, masking, arithmetic, gradients, results)
