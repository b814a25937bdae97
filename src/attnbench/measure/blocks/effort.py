"""Effort: how long and how often a cell is measured, and when it is enough; fixed before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from attnbench.measure.clock.receipts import Limits
from attnbench.results.schema import Sample
from attnbench.results.summary import bursts, main_state, median_interval, usable

# So many processes a cell is seen in, where nobody says otherwise.
USUAL = 5
# Of a run's budget this share is spent inside bursts; the rest goes to imports, compilation, checking and memory.
MEASURED_SHARE = 0.5
FEWEST_FOR_INTERVAL = 6
# Under a budget a look has so many bursts of a cell at least, where there are several: with three bursts in each of two
# processes more cells are told apart than with any number in one (docs/measurement.md).
FLOOR = 3
# A budget of fewer seconds for each cell is a tight one: its looks are as short as they can be.
TIGHT_S = 2.0


@dataclass(frozen=True)
class Effort:
    """The rules of measuring.

    ``replicates`` fresh processes for a block, at least ``min_bursts`` and at most ``max_bursts`` bursts of a cell in
    each, ``cell_s`` seconds of bursts for a cell in each; a cell has enough when half its interval's width is at most
    ``relative_width`` of the median. A disturbed burst is repeated at most ``retries`` times. ``timeout_s`` bounds
    every single operation of a worker. If ``brief``, bursts are shorter, and the gate judges less (``Bench.prepare``).
    """

    replicates: int = USUAL
    min_bursts: int = 2
    max_bursts: int = 12
    cell_s: float = 0.4
    relative_width: float = 0.02
    retries: int = 2
    timeout_s: float = 120.0
    limits: Limits = field(default_factory=Limits)
    brief: bool = False

    def within(self, budget_s: float | None, cells: int) -> Effort:
        """The same rules with the seconds for a cell cut so that ``cells`` cells fit into the budget."""
        if budget_s is None or not cells:
            return self
        share = budget_s * MEASURED_SHARE / (cells * self.replicates)
        fewest = max(self.min_bursts, FLOOR) if self.replicates > 1 else self.min_bursts
        shorter = replace(self, cell_s=min(self.cell_s, share), min_bursts=fewest)
        return replace(shorter, brief=True, retries=0) if is_tight(budget_s, cells) else shorter

    def at_most(self, cell_s: float | None) -> Effort:
        """The same rules with at most these seconds for a cell in each replicate, where a suite says so."""
        return self if cell_s is None else replace(self, cell_s=min(self.cell_s, cell_s))

    def at_least(self, rounds: int | None) -> Effort:
        """The same rules with at least so many bursts of a cell in each replicate, where a suite says so."""
        if rounds is None:
            return self
        return replace(self, min_bursts=max(self.min_bursts, rounds), max_bursts=max(self.max_bursts, rounds))


def is_tight(budget_s: float, cells: int) -> bool:
    """Whether a budget leaves hardly a look for every cell."""
    return budget_s < TIGHT_S * cells


def enough(effort: Effort, samples: Sequence[Sample], replicate: int) -> bool:
    """Whether a cell needs no further burst in this replicate."""
    return exhausted(effort, samples, replicate) or _narrow(effort, samples, replicate)


def exhausted(effort: Effort, samples: Sequence[Sample], replicate: int) -> bool:
    """Whether a cell has had all bursts or seconds that it may have in this replicate."""
    counted = [sample for sample in _counted(samples) if sample.replicate == replicate]
    if len(counted) < effort.min_bursts:
        return False
    spent = sum(
        sample.wall_s * sample.calls for sample in samples if sample.replicate == replicate and not sample.warmup
    )
    return len(counted) >= effort.max_bursts or spent >= effort.cell_s


def _narrow(effort: Effort, samples: Sequence[Sample], replicate: int) -> bool:
    counted = _counted(samples)
    so_far = sum(sample.replicate == replicate for sample in counted)
    if so_far < effort.min_bursts or len(counted) < FEWEST_FOR_INTERVAL:
        return False
    values = bursts(counted).values
    return len(values) >= FEWEST_FOR_INTERVAL and median_interval(values).relative_width <= effort.relative_width


def _counted(samples: Sequence[Sample]) -> list[Sample]:
    """The bursts that count, of a cell's main cache state."""
    counted = usable(samples)
    return usable(counted, main_state(counted)) if counted else []
