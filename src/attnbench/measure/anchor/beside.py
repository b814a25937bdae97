"""The anchor beside the cells of a block: a short burst just after each of theirs, on the same processors.

A shared machine changes its speed within tenths of a second, so one burst of the anchor for a whole round would say
little of those that are half a second away. This is what the run's parent knows of it. Nothing that happens to the
anchor harms a cell: where its process is lost, bursts have no anchor until the next replicate, and the rows say so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from attnbench.measure.anchor.choosing import AnchorChoice
from attnbench.measure.clock.receipts import Limits, disturbance
from attnbench.suite import Cell
from attnbench.workers.protocol import Burst, Reply


class AsksAnchor(Protocol):
    """What is needed of the processes of a block; ``Pool`` is one."""

    def ask_anchor(self, op: str, /, **arguments: Any) -> Reply:
        """Ask the process of the anchor."""

    def place_anchor(self, cell: Cell) -> None:
        """Put it where a cell has just computed."""


@dataclass
class BesideBlock:
    """The anchor of one block.

    ``name`` and ``library`` are what results say of it; ``reason_for`` a cell is why bursts of it have none.
    """

    choice: AnchorChoice
    limits: Limits = field(default_factory=Limits)
    name: str | None = None
    library: str | None = None
    _up: bool = False
    _lost: str | None = None
    _without: dict[str, str] = field(default_factory=dict)

    def reason_for(self, cell: Cell) -> str | None:
        """Why bursts of a cell have none; ``None`` where it was at most disturbed beside them."""
        return self.choice.reason or self._without.get(cell.id)

    def begin(self, pool: AsksAnchor) -> None:
        """Prepare it in the processes of a replicate."""
        self._up = False
        if self.choice.work is None:
            return
        reply = pool.ask_anchor("anchor_prepare", **self._what)
        if not reply.ok:
            self._lose(reply)
            return
        made_of = reply.value
        self.name = f"{self.choice.name}; version {made_of['version']}, code {made_of['code']}"
        self.library, self._up, self._lost = str(made_of["library"]), True, None

    def burst(self, pool: AsksAnchor, cell: Cell) -> float | None:
        """The seconds of a call in one burst, where ``cell`` has just computed.

        ``None`` where the burst was disturbed, or there is no anchor.
        """
        burst = self._measured(pool, cell)
        if burst is None:
            if self._lost is not None:
                self._without[cell.id] = self._lost
            return None
        if disturbance(burst.receipt, burst.host_s, self.limits) is not None:
            return None
        return burst.wall_ns / 1e9 / burst.calls

    def _measured(self, pool: AsksAnchor, cell: Cell) -> Burst | None:
        if not self._up:
            return None
        pool.place_anchor(cell)
        reply = pool.ask_anchor("anchor_burst", **self._what)
        if not reply.ok:
            self._lose(reply)
            return None
        return Burst(**reply.value)

    @property
    def _what(self) -> dict[str, Any]:
        return {"name": self.choice.work, "dtype": self.choice.dtype, "threads": self.choice.threads}

    def _lose(self, reply: Reply) -> None:
        self._up, self._lost = False, f"its process was lost ({reply.status}): {reply.reason}"
