"""What is asked: which implementations, along which axis; and what is known before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from attnbench.backends import discover
from attnbench.crossover.axes import AxisSetting, SearchAxis
from attnbench.crossover.search import Grid
from attnbench.errors import NothingSelectedError, UsageError
from attnbench.live.duo import Twin
from attnbench.measure.run.plan import DESCRIBE_TIMEOUT_S, found_in, refusals
from attnbench.suite import Cell

SUITE = "crossover"
MOST_NAMES = 6


@dataclass(frozen=True)
class CrossoverQuestion:
    """Implementations along an axis; ``files`` are the drop-in files of each that has one."""

    names: tuple[str, ...]
    axis: SearchAxis
    setting: AxisSetting
    grid: Grid
    files: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def matches(self) -> tuple[tuple[str, str], ...]:
        """Every two of them."""
        return tuple(combinations(self.names, 2))

    def cell(self, name: str, x: int) -> Cell:
        """The cell of an implementation at a place."""
        setting, threads = self.setting, x if self.axis.name == "threads" else self.setting.threads
        point = {self.axis.name: x, "shape": setting.shape, "phase": setting.phase}
        case = self.axis.case(setting, x)
        return Cell(SUITE, point, case, name, setting.device, threads, self.files.get(name, ()))

    def twin(self, a: str, b: str, x: int) -> Twin:
        """The two cells that stand against each other at a place."""
        return Twin(self.cell(a, x), self.cell(b, x))

    def held(self) -> dict[str, Any]:
        """What does not vary, by name: the setting without the number that is the axis."""
        varies = "tokens" if self.axis.name == "keys" else self.axis.name
        return {name: value for name, value in asdict(self.setting).items() if name != varies}

    def refused(self) -> dict[str, str]:
        """Why implementations cannot be measured here at all, by name."""
        least = [self.cell(name, self.grid.low) for name in self.names]
        reasons = refusals(least)
        return {cell.impl: reasons[cell.id] for cell in least if cell.id in reasons}

    def refused_at(self, places: Sequence[int]) -> dict[int, str]:
        """Places that do not fit into memory, whatever computes them."""
        cells = {x: self.cell(self.names[0], x) for x in places}
        reasons = refusals(cells.values(), probe=False)
        return {x: reasons[cell.id] for x, cell in cells.items() if cell.id in reasons}


def contestants(
    patterns: Sequence[str], files: Sequence[Path], timeout_s: float = DESCRIBE_TIMEOUT_S
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """The names that the patterns stand for, in the order in which they were typed, and the drop-in file of each.

    Raises ``UsageError`` for an unknown name, and where there are not two.
    """
    for file in files:
        if not file.exists():
            msg = f"--impls {file}: no such file or folder"
            raise UsageError(msg)
    dropped = found_in([str(file) for file in files], timeout_s) if files else {}
    known = tuple(dict.fromkeys((*discover.implementation_names(), *dropped)))
    names = tuple(dict.fromkeys(name for pattern in patterns for name in discover.select([pattern], known)))
    if len(names) < 2:  # noqa: PLR2004
        msg = f"a crossover is of two implementations or more; got {', '.join(names) or 'none'}. "
        raise UsageError(msg + "Type two names, such as: attnbench crossover numpy/naive numpy/blocked")
    if len(names) > MOST_NAMES:
        msg = f"every two of them are measured against each other, so at most {MOST_NAMES} at once; got {len(names)}: "
        raise UsageError(msg + ", ".join(names))
    return names, {name: dropped[name] for name in names if name in dropped}


def check_possible(question: CrossoverQuestion) -> None:
    """Raise ``NothingSelectedError`` where one of them cannot be measured here at all."""
    for name, reason in question.refused().items():
        msg = f"{name} cannot be measured here: {reason}"
        raise NothingSelectedError(msg)
