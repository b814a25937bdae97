"""What becomes of a cell while it is measured, when, and where that is written down."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

from attnbench.measure.anchor.beside import BesideBlock
from attnbench.measure.audits.verdict import Round
from attnbench.measure.clock.outside import Outside
from attnbench.results.schema import Sample
from attnbench.suite import Cell
from attnbench.workers.protocol import OK, Burst, Memory, Prepared, Reply


@dataclass
class Outcome:
    """What has become of a cell so far; ``status`` is ``ok`` until something else happened.

    ``stood`` are the replicates that were measured whole and audited, those that it begins with too; ``lost`` those
    whose process was gone before, and ``losses`` counts how often that was while it was asked something. ``timed_by``
    is the number of the process that timed its bursts of this look (``Pool.process_of``). ``resting``: whoever asks
    for the run has seen enough of it for now.
    """

    cell: Cell
    status: str = OK
    reason: str | None = None
    error_ratio: float | None = None
    import_s: float | None = None
    prepared: Prepared | None = None
    memory: Memory | None = None
    samples: list[Sample] = field(default_factory=list)
    bursts: dict[int, int] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    kernel_s: float | None = None
    outside: Outside = field(default_factory=Outside)
    audited: list[Round] = field(default_factory=list)
    stood: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    losses: int = 0
    timed_by: int | None = None
    cut: bool = False
    left_out: bool = False
    resting: bool = False
    anchor: BesideBlock | None = None

    @property
    def alive(self) -> bool:
        """Whether it is still to be measured; what the budget has ``cut`` off keeps what was seen of it before."""
        return self.status == OK and not self.cut and not self.resting

    @property
    def stands(self) -> bool:
        """Whether a replicate of it was measured whole and audited."""
        return bool(self.stood)

    @property
    def unaudited(self) -> int:
        """How many of its bursts are not audited."""
        return sum(not sample.warmup and sample.replicate not in self.stood for sample in self.samples)

    def goes_on(self, replicate: int) -> bool:
        """Whether there is more to time and to audit of it in this replicate."""
        return self.alive and replicate not in self.lost

    def __post_init__(self) -> None:
        self.stood |= self.replicates

    def lose(self, replicate: int) -> None:
        """Forget the bursts of a replicate: the process that timed them was not audited."""
        self.samples = [sample for sample in self.samples if sample.replicate != replicate]
        self.lost.add(replicate)
        self.timed_by = None

    @property
    def first_state(self) -> str:
        """The cache state in which it is audited."""
        return "none" if self.prepared is None else self.prepared.states[0]

    @property
    def scores_bytes(self) -> float:
        """The matrix of scores in float64, times the hidden size of a learned score: what a naive kernel may hold."""
        if self.cell.case is None:
            return 0.0
        p = self.cell.case.problem
        hidden = p.Da if self.cell.case.spec.score in ("additive", "concat") else 1
        return 8.0 * p.B * p.Hq * p.Tq * p.S * hidden

    @property
    def replicates(self) -> set[int]:
        """The replicates in which it was timed."""
        return {sample.replicate for sample in self.samples if not sample.warmup}

    def end(self, reply: Reply) -> None:
        """Take the status and the reason of a reply that is not ``ok``."""
        self.status, self.reason = reply.status, reply.reason
        self.error_ratio = reply.value.get("error_ratio", self.error_ratio)

    def cut_off(self, replicate: int) -> bool:
        """Forget a replicate; whether an earlier one stands, so that the cell is finished.

        One that stood before the run was broken off, and was not prepared since, is open still: nobody has checked it.
        """
        self.samples = [sample for sample in self.samples if sample.replicate != replicate]
        self.cut = self.stands and self.prepared is not None
        return self.cut

    def seconds_of(self, replicate: int) -> float:
        """What a call took in the bursts that count, in the state in which it is audited."""
        mine = [s for s in self.samples if s.replicate == replicate and not s.warmup]
        return median(s.wall_s for s in mine if s.cache == self.first_state)

    def sampled(self, burst: Burst, clock: RunClock, replicate: int, **marks: Any) -> Sample:
        """A burst as the sample of its results, numbered within the replicate."""
        number = self.bursts.get(replicate, 0)
        self.bursts[replicate] = number + 1
        return Sample(
            run_id=clock.run_id,
            cell_id=self.cell.id,
            replicate=replicate,
            burst=number,
            index=0,
            calls=burst.calls,
            wall_s=burst.wall_ns / 1e9 / burst.calls,
            cpu_s=burst.cpu_ns / 1e9 / burst.calls,
            cache=burst.cache,
            t_start=burst.started_at - clock.started,
            **marks,
        )


class Recorder(Protocol):
    """Where a block writes down what it sees, at once."""

    def samples(self, samples: Sequence[Sample]) -> None:
        """The samples of one burst."""

    def event(self, name: str, **detail: object) -> None:
        """Something that happened."""


@dataclass(frozen=True)
class RunClock:
    """The run's time: its id and start (seconds since the epoch), and the moment when its budget is spent."""

    run_id: str
    started: float
    deadline: float | None = None

    def spent(self, keeping_s: float = 0.0) -> bool:
        """Whether the budget is spent, but for so many seconds that are kept for something else."""
        return self.left() <= keeping_s

    def left(self) -> float:
        """The seconds that are left; infinite without a budget, below 0 where it is spent."""
        return math.inf if self.deadline is None else self.deadline - time.monotonic()
