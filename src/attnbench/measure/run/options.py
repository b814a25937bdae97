"""What a run is asked, and what it leaves: the options, the outcome, and the exit status that its rows stand for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attnbench.errors import (
    EXIT_CELLS_FAILED,
    EXIT_GATE_FAILED,
    EXIT_INCONCLUSIVE,
    EXIT_NOTHING_MEASURED,
    EXIT_OK,
    worst_exit,
)
from attnbench.measure.blocks.effort import Effort
from attnbench.measure.blocks.spending import Spending
from attnbench.measure.run.choice import Omission
from attnbench.measure.run.plan import Plan, within
from attnbench.results.schema import CellResult, Sample
from attnbench.suite import Cell, Suite

EXIT_BY_STATUS = {
    "wrong": EXIT_GATE_FAILED,
    "crashed": EXIT_CELLS_FAILED,
    "timeout": EXIT_CELLS_FAILED,
    "oom": EXIT_CELLS_FAILED,
    "not-run": EXIT_INCONCLUSIVE,
}

Progress = Callable[[float, int, str], None]


@dataclass(frozen=True)
class SeenCell:
    """What was seen of a cell so far, for whoever chooses which cells of its block have further looks.

    ``weighed``: its memory was measured, or tried; ``peak_bytes`` is ``None`` where that is not known.
    """

    id: str
    impl: str
    samples: Sequence[Sample]
    weighed: bool = False
    peak_bytes: int | None = None


ChoosesCells = Callable[[Sequence[SeenCell]], Collection[str]]


@dataclass(frozen=True)
class RunOptions:
    """What to run.

    ``suites`` by name; ``patterns``, ``overrides``, ``devices``, ``threads`` and ``files`` are the command line's
    --impl, -a, --device, --threads and --impls. ``memory_limit`` is bytes for a worker (``None``: a share of what is
    free, 0: no limit). ``progress(done, total, label)`` is told of every block and of the steps in it, and
    ``at_work(what)`` of what is done next; ``on_plan`` is told of the plan before anything is measured. ``seed`` fixes
    the random order; it is drawn and recorded where it is not given. ``wait_s`` is how long another run on this machine
    is waited for. ``goes_on`` says, under a budget, which cells of a block, by id, have further looks. ``cells`` are
    what is measured where they were laid out before, as in a block of ``attnbench dispatch``: nothing is planned then.
    """

    suites: Sequence[str | Suite] = ()
    patterns: Sequence[str] = ()
    overrides: Sequence[str] = ()
    devices: Sequence[str] = ("cpu",)
    threads: Sequence[int] = (1,)
    files: Sequence[str] = ()
    budget_s: float | None = None
    resume: str | Path | None = None
    out: Path = Path("results")
    effort: Effort = field(default_factory=Effort)
    seed: int | None = None
    memory_limit: int | None = None
    command: Sequence[str] = ()
    lock: Path | None = None
    wait_s: float = 0.0
    progress: Progress | None = None
    at_work: Callable[[str], None] | None = None
    on_plan: Callable[[Plan], None] | None = None
    goes_on: ChoosesCells | None = None
    cells: Sequence[Cell] | None = None

    def describing_s(self) -> float:
        """Seconds that the import of a drop-in file may take, to say what is in it."""
        return within(self.budget_s, self.effort.timeout_s)


@dataclass(frozen=True)
class RunOutcome:
    """What a run left: its folder, its rows in planned order, the exit status.

    ``kept`` counts the finished cells and ``kept_bursts`` the bursts that were there before (``--resume``);
    ``bursts_lost`` those that were there and do not count, since nobody had audited them. ``note`` says why a run is
    partial; ``None`` where it is complete. ``interrupted``: that was by hand. ``spending`` says where the time went,
    ``left_out`` which implementations its suites left out, ``shortened`` in sentences what was otherwise than usual.
    """

    run_id: str
    folder: Path
    rows: tuple[CellResult, ...]
    exit_code: int
    kept: int = 0
    note: str | None = None
    interrupted: bool = False
    kept_bursts: int = 0
    bursts_lost: int = 0
    resumed: bool = False
    spending: Spending | None = None
    left_out: tuple[Omission, ...] = ()
    shortened: tuple[str, ...] = ()


def exit_code(rows: Sequence[CellResult]) -> int:
    """The exit status that the rows stand for."""
    return exit_of([row.status for row in rows])


def exit_of(statuses: Collection[str]) -> int:
    """The exit status that the statuses of all rows stand for; each may be there once."""
    codes = {EXIT_BY_STATUS.get(status, EXIT_OK) for status in statuses}
    return worst_exit(codes if "ok" in statuses else codes | {EXIT_NOTHING_MEASURED})
