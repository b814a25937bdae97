"""What is known of one cell of a comparison so far, and who says when it is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from attnbench.live.duo import Name, Twin
from attnbench.measure.clock.outside import Outside
from attnbench.workers.protocol import OK

NOT_COMPARABLE = "not-comparable"


class Judge(Protocol):
    """Hears the log-ratios of one cell and says when it is decided; ``stage`` is what the next pair is for."""

    @property
    def stage(self) -> str:
        """A word for the journal."""

    def add(self, log_ratio: float) -> object | None:
        """Take one more; anything but ``None`` means that the cell needs no further pair."""


@dataclass
class TwinState:
    """What is known of one cell so far. ``status`` is ``ok`` until ``side`` did something else, for ``reason``."""

    twin: Twin
    judge: Judge
    status: str = OK
    side: Name | None = None
    reason: str | None = None
    log_ratios: list[float] = field(default_factory=list)
    seconds: dict[Name, list[float]] = field(default_factory=lambda: {"A": [], "B": []})
    outside: dict[Name, Outside] = field(default_factory=lambda: {"A": Outside(), "B": Outside()})
    tried: bool = False  # it was in a pair, whatever became of it
    quads: int = 0
    again: int = 0
    disturbed: int = 0
    checked: bool = False
    verified: bool = False
    # How exact the answers of each side have to be; ``None`` where its worker, of an older revision, does not say it.
    exact: dict[Name, Mapping[str, Any] | None] = field(default_factory=dict)
    # Why its times were not audited, where they were not.
    unaudited: str | None = None
    apart: bool = False
    kills: int = 0
    decided: bool = False
    memory: dict[Name, list[int]] = field(default_factory=lambda: {"A": [], "B": []})
    memory_status: str = OK
    memory_reason: str | None = None
    # Sides that said themselves that their peak is not known.
    memory_unknown: tuple[Name, ...] = ()

    @property
    def open(self) -> bool:
        """Whether it needs a further pair."""
        return self.status == OK and not self.decided

    def end(self, status: str, side: Name | None, reason: str | None) -> None:
        """It will not be measured any more."""
        self.status, self.side, self.reason = status, side, reason
