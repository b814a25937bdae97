"""A run: the lock, the plan, the journal, block after block, and one row for every planned cell at the end."""

from __future__ import annotations

import importlib.util
import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attnbench.backends import discover
from attnbench.errors import (
    EXIT_CELLS_FAILED,
    EXIT_GATE_FAILED,
    EXIT_INCONCLUSIVE,
    EXIT_NOTHING_MEASURED,
    EXIT_OK,
    MissingExtraError,
    UsageError,
    worst_exit,
)
from attnbench.measure.audits.auditor import Auditor
from attnbench.measure.clock import floors
from attnbench.measure.run import rows
from attnbench.measure.run.block import Block, Clock, Outcome
from attnbench.measure.run.effort import Effort
from attnbench.measure.run.observing import observe_blocks
from attnbench.measure.run.plan import Plan, found_in, make_plan, refusals
from attnbench.measure.run.spending import Spending
from attnbench.results.fingerprint import collect_fingerprint
from attnbench.results.read import Contents
from attnbench.results.schema import CellResult, Fingerprint, RunInfo, Sample
from attnbench.results.store import RunWriter, new_run_id, utc_now
from attnbench.suite import Cell, Suite, TimedSuite
from attnbench.workers.limits import find_groups, free_memory
from attnbench.workers.lock import only_run
from attnbench.workers.pool import Pool
from attnbench.workers.process import Setting
from attnbench.workers.processors import at_once
from attnbench.workers.protocol import Ceilings, Hello, value
from attnbench.workers.session import ask_once

# A kernel that allocates without end meets this share of the memory that was free at the start, not the machine's end.
MEMORY_SHARE = 0.8
CEILINGS_S, AGAIN_S = 0.15, 0.6  # for each rate; and where a cell was faster than it
# Intervals need SciPy; Parquet needs pandas and pyarrow.
NEEDED = ("scipy", "pandas", "pyarrow")
EXIT_BY_STATUS = {
    "wrong": EXIT_GATE_FAILED,
    "crashed": EXIT_CELLS_FAILED,
    "timeout": EXIT_CELLS_FAILED,
    "oom": EXIT_CELLS_FAILED,
    "not-run": EXIT_INCONCLUSIVE,
}

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class RunOptions:
    """What to run.

    ``suites`` by name; ``patterns``, ``overrides``, ``devices``, ``threads`` and ``files`` are the command line's
    --impl, -a, --device, --threads and --impls. ``memory_limit`` is bytes for a worker (``None``: a share of what is
    free, 0: no limit). ``progress(done, total, label)`` is told of every block. ``seed`` fixes the random order; it
    is drawn and recorded where it is not given. ``wait_s`` is how long another run on this machine is waited for.
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


@dataclass(frozen=True)
class RunOutcome:
    """What a run left: its folder, its rows in planned order, the exit status.

    ``kept`` counts the finished cells and ``kept_bursts`` the bursts that were there before (``--resume``). ``note``
    says why a run is partial; ``None`` where it is complete. ``spending`` says where the time went.
    """

    run_id: str
    folder: Path
    rows: tuple[CellResult, ...]
    exit_code: int
    kept: int = 0
    note: str | None = None
    kept_bursts: int = 0
    resumed: bool = False
    spending: Spending | None = None


def run(options: RunOptions) -> RunOutcome:
    """Measure. Raises ``UsageError`` and its kin before anything is written; later, whatever happens is a row."""
    _check_extra()
    with only_run(options.lock, options.wait_s), ExitStack() as stack:
        session = _resumed(options) if options.resume is not None else _started(options)
        stack.enter_context(session.writer)
        stack.callback(session.close)
        note = None
        try:
            session.measure()
        except KeyboardInterrupt:
            note = "interrupted"
        return session.outcome(note)


def _check_extra() -> None:
    """Raise ``MissingExtraError`` before anything is measured, not when it is to be written."""
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            what = "attnbench run"
            raise MissingExtraError(what, "report", package)


def exit_code(found: Sequence[CellResult]) -> int:
    """The exit status that the rows stand for."""
    codes = {EXIT_BY_STATUS.get(one.status, EXIT_OK) for one in found}
    measured = any(one.status == "ok" for one in found)
    return worst_exit(codes if measured else codes | {EXIT_NOTHING_MEASURED})


def _started(options: RunOptions) -> Session:
    plan = make_plan(
        options.suites,
        patterns=options.patterns,
        overrides=options.overrides,
        devices=options.devices,
        threads=options.threads,
        files=options.files,
        timeout_s=options.effort.timeout_s,
    )
    fingerprint, started = collect_fingerprint(), utc_now()
    names = [one.name for one in plan.suites]
    info = RunInfo(
        run_id=new_run_id(names, started),
        started=started,
        command=tuple(options.command),
        suites=tuple(names),
        implementations=plan.implementations(),
        axes=plan.axes(),
        devices=tuple(options.devices),
        threads=tuple(options.threads),
        budget_s=options.budget_s,
        fingerprint=fingerprint,
    )
    writer = RunWriter.create(options.out, info)
    code = fingerprint.git or version("attnbench")
    planned = {one.id: rows.planned(one, info.run_id, fingerprint.machine_id, code) for one in plan.cells}
    writer.plan(planned.values())
    return Session(options, writer, plan, planned)


def _resumed(options: RunOptions) -> Session:
    writer, contents = RunWriter.resume(options.resume or "", options.out)
    try:
        _check_planned(contents)
        _check_same(options, contents)
        cells = _planned_before(options, contents)
    except BaseException:
        writer.close()
        raise
    plan = Plan((), cells, refusals(cells))
    kept = {row.cell_id: row for row in contents.cells}
    return Session(options, writer, plan, kept, contents.samples, len(contents.done()))


def _planned_before(options: RunOptions, contents: Contents) -> tuple[Cell, ...]:
    """The cells of a run that was broken off, from its rows."""
    dropped = found_in(options.files, options.effort.timeout_s)
    known = {*discover.implementation_names(), *dropped}
    unknown = sorted({row.impl for row in contents.cells if row.status == rows.NOT_RUN} - known)
    if unknown:
        msg = f"run {contents.info.run_id} has cells of {', '.join(unknown)}; give their file again with --impls FILE"
        raise UsageError(msg)
    cells = tuple(rows.cell_of(row, dropped.get(row.impl, ())) for row in contents.cells)
    if any(row.cell_id != cell.id for row, cell in zip(contents.cells, cells, strict=True)):
        msg = f"run {contents.info.run_id} was planned by another version of attnbench; start a new run"
        raise UsageError(msg)
    return cells


def _check_planned(contents: Contents) -> None:
    """Raise ``UsageError`` for a run that was broken off while its plan was written: its rows are not all there."""
    if not any(event.get("name") == "start" for event in contents.events):
        msg = f"run {contents.info.run_id} was broken off before its plan was written; nothing is lost: start a new run"
        raise UsageError(msg)


def _check_same(options: RunOptions, contents: Contents) -> None:
    """Raise ``UsageError`` unless the rest of the run would be measured by the same code on the same machine."""
    info, now = contents.info, collect_fingerprint()
    names = {one if isinstance(one, str) else one.name for one in options.suites}
    if names and names != set(info.suites):
        msg = f"run {info.run_id} is of {', '.join(info.suites)}, not {', '.join(sorted(names))}; resume it as it is"
        raise UsageError(msg)
    for what in ("machine_id", "python", "packages", "git"):
        before, after = getattr(info.fingerprint, what), getattr(now, what)
        if before != after:
            msg = f"run {info.run_id} began with {what} {before}, and here it is {after}; start a new run"
            raise UsageError(msg)


class Session:
    """A run while it goes on: what is planned, what is done, and where it is written."""

    def __init__(
        self,
        options: RunOptions,
        writer: RunWriter,
        plan: Plan,
        planned: dict[str, CellResult],
        earlier: Sequence[Sample] = (),
        kept: int = 0,
    ) -> None:
        self.writer = writer
        self._options, self._plan, self._rows, self._earlier, self._kept = options, plan, planned, earlier, kept
        self._seed = secrets.randbits(32) if options.seed is None else options.seed
        deadline = None if options.budget_s is None else time.monotonic() + options.budget_s
        started = datetime.fromisoformat(writer.info.started).timestamp()
        self._clock = Clock(writer.info.run_id, started, deadline)
        self._left = [cell for cell in plan.cells if planned[cell.id].status == rows.NOT_RUN]
        timed = sum(cell.case is not None and cell.id not in plan.refused for cell in self._left)
        self._effort = options.effort.within(options.budget_s, timed)
        free = int(free_memory() * MEMORY_SHARE)
        self._limit = free if options.memory_limit is None else options.memory_limit
        self._groups = find_groups()
        self._ceilings: dict[tuple[str, int], Ceilings] = {}
        self._measured_again: set[tuple[str, int]] = set()
        self._spending = Spending()
        self._greeting, self._finishing = threading.Lock(), threading.Lock()
        self._auditor = Auditor(self._effort.timeout_s)

    def close(self) -> None:
        """End what judges."""
        self._auditor.close()

    def measure(self) -> None:
        """Everything that is left, block after block."""
        limits = {"memory_limit": self._limit, "control_groups": self._groups.describe()}
        kept = {"kept": self._kept, "kept_bursts": len(self._earlier), "left": len(self._left)}
        self.writer.event("start", seed=self._seed, **kept, **limits)
        for cell in self._left:
            if cell.id in self._plan.refused:
                self._finish(rows.refused(self._rows[cell.id], self._plan.refused[cell.id]))
        left = {cell.id for cell in self._left} - set(self._plan.refused)
        with self._spending.during("ceilings"):
            self._measure_ceilings()
        self._spending.began()
        blocks = [mine for cells in self._plan.blocks() if (mine := [cell for cell in cells if cell.id in left])]
        for block in blocks:
            if block[0].case is not None and not self._clock.spent():
                self._tell(block[0])
                self._time(block)
        observed = [block for block in blocks if block[0].case is None]
        if observed:
            with self._spending.during("observing"):
                self._observe(observed)
        self._tell(None)

    def outcome(self, note: str | None) -> RunOutcome:
        """Close the run: complete and compacted, or partial and ready to be resumed."""
        found = tuple(self._rows[cell.id] for cell in self._plan.cells)
        unmeasured = sum(one.status == rows.NOT_RUN for one in found)
        measured_share, by_suite = self._spending.measured_share(), self._spending.by_suite
        self.writer.event("spent", **self._spending.total(), measured_share=measured_share, by_suite=by_suite)
        if not unmeasured and note is None:
            self.writer.finish()
        else:
            note = f"{note or 'the budget was spent'}: {unmeasured} of {len(found)} cells were not run"
            self.writer.event("partial", note=note)
            self.writer.close()
        kept = (self._kept, note, len(self._earlier), self._options.resume is not None, self._spending)
        return RunOutcome(self._clock.run_id, self.writer.folder, found, exit_code(found), *kept)

    def _tell(self, next_cell: Cell | None) -> None:
        if self._options.progress is not None:
            done = sum(one.status != rows.NOT_RUN for one in self._rows.values())
            label = "" if next_cell is None else f"{next_cell.suite}: {self._rows[next_cell.id].case_label}"
            self._options.progress(done, len(self._rows), label)

    def _finish(self, row: CellResult) -> None:
        self._rows[row.cell_id] = row
        self.writer.cell(row)

    def _pool(self, threads: int, salt: str) -> Pool:
        return Pool(
            threads=threads,
            timeout_s=self._effort.timeout_s,
            rng=self._rng(salt),
            memory_limit=self._limit,
            groups=self._groups,
            greeted=self._greeted,
            noted=self.writer.event,
        )

    def _rng(self, salt: str) -> random.Random:
        return random.Random(f"{self._seed} {salt}")  # noqa: S311  (an order to be repeatable, not secret)

    def _greeted(self, backend: str, hello: Hello, drawn: dict[str, Any]) -> None:
        self.writer.event("process", backend=backend, pid=hello.pid, import_s=hello.import_s, **drawn)
        with self._greeting:  # cells are weighed beside each other
            before: Fingerprint = self.writer.info.fingerprint
            after = before.with_framework(backend, hello.versions, hello.threads)
            if after != before:
                self.writer.update(self.writer.info.model_copy(update={"fingerprint": after}))

    def _time(self, cells: list[Cell]) -> None:
        mine = {cell.id for cell in cells}
        earlier = [one for one in self._earlier if one.cell_id in mine]
        threads, salt = cells[0].threads, f"{cells[0].block_id} {len(earlier)}"
        pool = self._pool(threads, f"{salt} environment")
        suite = self._suite(cells[0].suite)
        effort = self._effort.at_most(suite.cell_s).at_least(suite.rounds) if suite else self._effort
        weigh = suite is None or suite.weigh
        common = (effort, self._clock, self.writer, self._rng(salt), earlier, self._spending)
        block = Block(cells, pool, *common, weigh=weigh, auditor=self._auditor)
        outcomes = block.measure()
        ceilings, cached = self._rates(outcomes, cells[0].device, threads)
        for outcome in outcomes:
            self._finish(rows.finished(self._rows[outcome.cell.id], outcome, ceilings, cached))
        self._spending.ended(cells[0].suite)

    def _suite(self, name: str) -> TimedSuite | None:
        """The suite of a timed cell, for its rules of measuring; a resumed run knows only its name."""
        planned = {suite.name: suite for suite in self._plan.suites}
        with suppress(UsageError):
            suite = planned.get(name) or discover.suite(name)
            return suite if isinstance(suite, TimedSuite) else None
        return None

    def _observe(self, blocks: list[list[Cell]]) -> None:
        """After the clocks, so that nobody is disturbed: several at once."""

        def finish(outcome: Outcome) -> None:
            with self._finishing:
                self._tell(outcome.cell)
                self._spending.ended(outcome.cell.suite)
                self._finish(rows.finished(self._rows[outcome.cell.id], outcome, None))

        def new_pool(threads: int, observer: int) -> Pool:
            return self._pool(threads, f"observe {threads} {observer}")

        threads = max(block[0].threads for block in blocks)
        observe_blocks(blocks, new_pool, finish, self._clock.spent, min(at_once(threads), len(blocks)))

    def _rates(self, outcomes: Sequence[Outcome], device: str, threads: int) -> tuple[Ceilings | None, float]:
        """The ceilings that cells are held against, and the size of the last cache.

        Where one is faster than they allow they are measured again, once, longer and in every framework that is
        installed: nobody is accused because the machine was busy when they were measured, or another library is faster.
        """
        known = self._ceilings.get((device, threads))
        own = floors.last_cache(self.writer.info.fingerprint.hardware.caches)
        cached = own if device == "cpu" else float("inf")
        again = (device, threads) not in self._measured_again
        if again and any(rows.too_fast(one, known, cached) for one in outcomes):
            self._measured_again.add((device, threads))
            with self._spending.during("ceilings"):
                for name, info in discover.backends().items():
                    if info.why_missing() is None:
                        self._better_ceilings(device, threads, name, AGAIN_S)
            known = self._ceilings.get((device, threads))
        return known, cached

    def _dtypes(self) -> list[str]:
        """Those of the cells; what is computed in 16 bits may be computed in float32, so that its rate counts too."""
        found = {cell.case.problem.dtype for cell in self._left if cell.case is not None}
        return sorted(found if found <= {"float64", "float32"} else found | {"float32"})

    def _measure_ceilings(self) -> None:
        """This machine's rates, once for every framework, device and number of threads that is timed."""
        timed = {(c.device, c.threads, c.backend) for c in self._left if c.case is not None}
        for device, threads, backend in sorted(timed):
            self._better_ceilings(device, threads, backend, CEILINGS_S)

    def _better_ceilings(self, device: str, threads: int, backend: str, seconds: float) -> None:
        """Measure them in one framework, and keep the best rates that any has shown."""
        asked = {"device": device, "seconds": seconds, "dtypes": self._dtypes()}
        ask = partial(
            ask_once, backend, "ceilings", timeout_s=self._effort.timeout_s, setting=Setting(threads), **asked
        )
        reply = ask()
        if reply.outside:
            reply = ask()
        if not reply.ok:
            self.writer.event("no ceilings", backend=backend, device=device, threads=threads, reason=reply.reason)
            return
        known = self._ceilings.get((device, threads), Ceilings({}))
        self._ceilings[device, threads] = best = value(Ceilings, reply).better(known)
        found = {f"{name}.{device}.threads{threads}": rate for name, rate in best.rates.items()}
        info = self.writer.info
        self.writer.update(info.model_copy(update={"ceilings": info.ceilings | found}))
