"""The anchor in the rounds of a block: prepared with each replicate, one burst in each round, on the same processors.

What the run's parent knows of it. Nothing that happens to the anchor harms a cell: where its process is lost, the rest
of that replicate has no anchor, and the rows say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from attnbench.measure.anchor.choosing import AnchorChoice
from attnbench.measure.clock.receipts import Limits, disturbance
from attnbench.results.schema import Sample
from attnbench.results.summary import anchor_id
from attnbench.workers.protocol import Burst, Reply


class AsksAnchor(Protocol):
    """What is needed of the processes of a block; ``Pool`` is one."""

    def ask_anchor(self, op: str, /, **arguments: Any) -> Reply:
        """Ask the process of the anchor."""

    def place_anchor(self, order: Sequence[int]) -> None:
        """Put it on the first of these processors."""


class RunStart(Protocol):
    """Which run it is, and when it began, in seconds since the epoch."""

    @property
    def run_id(self) -> str:
        """Its id."""

    @property
    def started(self) -> float:
        """Its start."""


@dataclass
class BesideBlock:
    """The anchor of one block: what it is made of, and its samples so far; ``samples`` may begin with earlier ones.

    ``name`` and ``library`` are what results say of it, ``reason`` why there is none, or none any more.
    """

    block_id: str
    choice: AnchorChoice
    clock: RunStart
    limits: Limits = field(default_factory=Limits)
    retries: int = 2
    samples: list[Sample] = field(default_factory=list)
    name: str | None = None
    library: str | None = None
    reason: str | None = None
    _up: bool = False
    _number: int = 0

    def __post_init__(self) -> None:
        self.reason = self.choice.reason

    @property
    def id(self) -> str:
        """Under which its samples are kept, in the place of a cell."""
        return anchor_id(self.block_id)

    def begin(self, pool: AsksAnchor) -> None:
        """Prepare it in the processes of a replicate."""
        self._up, self._number = False, 0
        if self.choice.work is None:
            return
        reply = pool.ask_anchor("anchor_prepare", **self._what)
        if not reply.ok:
            self._lost(reply)
            return
        made_of = reply.value
        self.name = f"{self.choice.name}; version {made_of['version']}, code {made_of['code']}"
        self.library, self._up = str(made_of["library"]), True

    def burst(self, pool: AsksAnchor, replicate: int, processors: Sequence[int]) -> list[Sample]:
        """Its bursts of a round: the last one counts, disturbed ones before it were measured again."""
        taken: list[Sample] = []
        pool.place_anchor(processors)
        for attempt in range(self.retries + 1 if self._up else 0):
            reply = pool.ask_anchor("anchor_burst", **self._what)
            if not reply.ok:
                self._lost(reply)
                break
            burst = Burst(**reply.value)
            over = disturbance(burst.receipt, burst.host_s, self.limits) is not None
            again = over and attempt < self.retries
            taken.append(self._sample(burst, replicate, disturbed=again))
            if not again:
                break
        self.samples += taken
        return taken

    @property
    def _what(self) -> dict[str, Any]:
        return {"name": self.choice.work, "dtype": self.choice.dtype, "threads": self.choice.threads}

    def _lost(self, reply: Reply) -> None:
        """It has no further round in this replicate: the n-th burst of a replicate is that of round n."""
        self._up, self.reason = False, f"its process was lost ({reply.status}): {reply.reason}"

    def _sample(self, burst: Burst, replicate: int, *, disturbed: bool) -> Sample:
        self._number += 1
        return Sample(
            run_id=self.clock.run_id,
            cell_id=self.id,
            replicate=replicate,
            burst=self._number - 1,
            index=0,
            calls=burst.calls,
            wall_s=burst.wall_ns / 1e9 / burst.calls,
            cpu_s=burst.cpu_ns / 1e9 / burst.calls,
            disturbed=disturbed,
            t_start=burst.started_at - self.clock.started,
        )
