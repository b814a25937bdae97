"""Cells: what one worker measures, and one row of the results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from attnbench.attention.problem import Case
from attnbench.attention.spec import stable_id

Point = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """Case × implementation × device × threads.

    ``case`` is ``None`` in an observed suite, whose ``point`` says all. ``block`` names the block where its suite lets
    several cases stand beside each other (``TimedSuite.beside``). ``suite_file`` is the file of a suite of one's own:
    its path, and the SHA-256 of what stood in it.
    """

    suite: str
    point: Point
    case: Case | None
    impl: str
    device: str = "cpu"
    threads: int = 1
    files: tuple[str, ...] = field(default=(), compare=False)
    block: str = field(default="", compare=False)
    suite_file: tuple[str, str] | None = field(default=None, compare=False)

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self.impl.partition("/")[0]

    @property
    def case_id(self) -> str:
        """A stable name of the case (of suite and point where there is none)."""
        return self.case.id if self.case else stable_id([self.suite, dict(self.point)])

    @property
    def block_id(self) -> str:
        """A stable name of the block: the cells to be compared with each other, whatever their implementation."""
        return self.block or self._block_of_case

    @property
    def shares_block(self) -> bool:
        """Whether other cases may stand beside its own in its block."""
        return self.block_id != self._block_of_case

    @cached_property
    def _block_of_case(self) -> str:
        return stable_id([self.suite, self.case_id, self.device, self.threads])

    @cached_property
    def id(self) -> str:
        """A stable name of the cell."""
        return stable_id([self.suite, self.case_id, self.impl, self.device, self.threads])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, for the worker's protocol."""
        case = self.case.to_dict() if self.case else None
        what = {"suite": self.suite, "point": dict(self.point), "case": case, "impl": self.impl}
        where = {"device": self.device, "threads": self.threads, "files": list(self.files), "block": self.block}
        filed = {} if self.suite_file is None else {"suite_file": list(self.suite_file)}
        return what | where | filed

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Cell:
        """The inverse of ``to_dict``."""
        case = Case.from_dict(data["case"]) if data["case"] else None
        where = data["device"], data["threads"], tuple(data["files"]), data.get("block", "")
        filed = data.get("suite_file")
        return cls(data["suite"], data["point"], case, data["impl"], *where, tuple(filed) if filed else None)
