"""The classes of conditions behind which a fault is planted, each with numbers drawn at random."""

from __future__ import annotations

from attnbench.agree.mutants.conditional import conditions_of_calls, conditions_of_sizes
from attnbench.agree.mutants.conditional.drawing import DRAWN

__all__ = ["CONDITIONS", "FAMILIES"]

FAMILIES = (conditions_of_sizes, conditions_of_calls)
CONDITIONS = DRAWN
