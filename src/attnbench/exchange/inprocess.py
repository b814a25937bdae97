"""Cells for a clock that is not ours: planned, checked and bound in this process, as a worker does it in its own.

Other tools time what runs in their own process. So all frameworks share it, agreement is checked before the clock, each
cell is audited after it, and what was not measured keeps its row with the reason. A kernel that changes this very
process can change that too; ``attnbench run`` is out of its reach. ``suites/bench_pytest.py`` is the one that uses it.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attnbench.backends import discover

if TYPE_CHECKING:
    from attnbench.measure.audits.auditor import AuditedProcess, Auditor
    from attnbench.measure.bench import Bench
    from attnbench.measure.run.plan import Plan
    from attnbench.results.schema import CellResult, Fingerprint
    from attnbench.suite import Cell
    from attnbench.workers.protocol import Burst, Reply

RUN_ID = "in-process"
OK = "ok"
# For what a judge is asked; it draws and judges.
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Readiness:
    """A cell, ready or not: ``run`` is one call to its end if the status is ``ok``; else ``reason`` says why."""

    status: str
    reason: str | None = None
    run: Callable[[], None] | None = None
    error_ratio: float | None = None


class _OwnProcess:
    """This process as an auditor asks a worker: the bench's operations, by this process's clock."""

    def __init__(self, bench: Bench, cell: Cell) -> None:
        self.failed: Reply | None = None
        self._bench, self._cell = bench, cell

    def side(self) -> AuditedProcess:
        """For the auditor."""
        from attnbench.measure.audits.auditor import AuditedProcess

        return AuditedProcess(self._ask, self._burst, self._rest)

    def _ask(self, op: str, /, **arguments: Any) -> Reply | None:
        from attnbench.workers import tree
        from attnbench.workers.protocol import Reply

        pid = os.getpid()
        used, start = tree.cpu_times(pid), time.monotonic()
        status, reason, value = self._bench.operations()[op](cell_id=self._cell.id, **arguments)
        took_s, cpu_s = time.monotonic() - start, tree.used_s(used, tree.cpu_times(pid))
        reply = Reply(0, status, reason, value, took_s=took_s, cpu_s=cpu_s)
        if reply.ok:
            return reply
        self.failed = reply
        return None

    def _burst(self) -> Burst | None:
        from attnbench.measure.audits.charges import by_the_system

        reply = self._ask("burst")
        return None if reply is None else by_the_system(reply)

    def _rest(self, seconds: float) -> float | None:
        from attnbench.workers import tree

        return tree.working_s(os.getpid(), seconds)


@dataclass
class InProcessCells:
    """The cells of some suites in this process. ``rows`` keeps the row of every cell that was prepared."""

    plan: Plan
    rows: dict[str, CellResult] = field(default_factory=dict)
    benches: dict[tuple[str, int], Bench] = field(default_factory=dict)
    _fingerprint: Fingerprint | None = None
    _values: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _auditor: Auditor | None = None

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells in planned order."""
        return self.plan.cells

    def variables(self) -> dict[str, str]:
        """The environment that the frameworks need before they are imported, for the threads of these cells."""
        variables: dict[str, str] = {}
        for backend, threads in sorted({(cell.backend, cell.threads) for cell in self.cells}):
            variables |= discover.backend(backend).process_environment(threads)
        return variables

    def prepare(self, cell: Cell) -> Readiness:
        """Import, bind, and hold the cell to the oracle; whatever goes wrong is a status and a reason."""
        from attnbench.measure.general import classify

        try:
            status, reason, value = self._prepared(cell)
        except Exception as error:  # noqa: BLE001  (a kernel's own code; the other cells go on)
            status, reason = classify(error)
            value = {}
        self._keep(cell, status, reason, value.get("error_ratio"))
        if status != OK:
            return Readiness(status, reason or "no reason was given", None, value.get("error_ratio"))
        bench = self._bench(cell)
        call, wait = bench.call_of(cell.id), bench.backend.wait
        return Readiness(OK, None, lambda: wait(call()), value["error_ratio"])

    def verify(self, cell: Cell) -> str | None:
        """After the clock: why what the timed call answers is wrong, or ``None``. The cell is let go of."""
        from attnbench.measure.general import classify

        try:
            status, reason = self._audited(cell)
        except Exception as error:  # noqa: BLE001  (the same)
            status, reason = classify(error)
        if status == OK:
            return None
        self._keep(cell, status, reason, None)
        return reason or status

    def _audited(self, cell: Cell) -> tuple[str, str | None]:
        """Audit a cell as a run does; where that cannot be done this process judges what it answers."""
        bench, prepared = self._bench(cell), self._values[cell.id]
        side = _OwnProcess(bench, cell)
        warmup = prepared["warmups"][-1]
        call_s = warmup["wall_ns"] / 1e9 / warmup["calls"]
        seen = self._judge().audit(cell, prepared["precision"], call_s, side.side())
        if side.failed is not None:
            return side.failed.status, side.failed.reason
        if seen is None or seen.skipped is not None:
            status, reason, _ = bench.verify(cell.id)
            return status, reason
        bench.drop(cell.id)
        return (OK, None) if seen.wrong is None else ("wrong", seen.wrong)

    def _judge(self) -> Auditor:
        from attnbench.measure.audits.auditor import Auditor

        if self._auditor is None:
            self._auditor = Auditor(TIMEOUT_S)
            atexit.register(self._auditor.close)
        return self._auditor

    def _prepared(self, cell: Cell) -> tuple[str, str | None, Mapping[str, Any]]:
        if cell.id in self.plan.refused:
            return "unsupported", self.plan.refused[cell.id], {}
        if cell.case is None:
            return "unsupported", f"suite {cell.suite!r} is observed, not timed; attnbench run measures it", {}
        key = cell.backend, cell.threads
        if key not in self.benches:
            from attnbench.measure.bench import Bench
            from attnbench.measure.general import General

            general = General()
            status, reason, _ = general.hello(*key)
            if status != OK:
                return status, reason, {}
            self.benches[key] = Bench(lambda: general.backend)
        self._bench(cell).steady(cell.id)  # for all cells alike, since they share this process
        prepared = self._bench(cell).prepare(cell.to_dict())
        self._values[cell.id] = prepared[2]
        return prepared

    def _bench(self, cell: Cell) -> Bench:
        return self.benches[cell.backend, cell.threads]

    def _keep(self, cell: Cell, status: str, reason: str | None, error_ratio: float | None) -> None:
        from attnbench.measure.clock import roofline
        from attnbench.measure.run import rows

        fingerprint = self.fingerprint()
        code = fingerprint.git or fingerprint.packages.get("attnbench", "")
        row = rows.planned(cell, RUN_ID, fingerprint.machine_id, code)
        counted = {} if cell.case is None else roofline.columns(cell.case, None, None)
        known = counted | {"error_ratio": error_ratio}
        if status == OK:
            # The times come from the other tool: until then, nobody has reached the cell.
            self.rows[cell.id] = rows.changed(row, **known)
        else:
            self.rows[cell.id] = rows.changed(row, status=status, reason=reason or status, **known)

    def fingerprint(self) -> Fingerprint:
        """This machine, with what each framework that was used reports."""
        from attnbench.results.fingerprint import collect_fingerprint

        if self._fingerprint is None:
            self._fingerprint = collect_fingerprint()
        fingerprint = self._fingerprint
        for (name, _), bench in self.benches.items():
            fingerprint = fingerprint.with_framework(name, bench.backend.versions(), bench.backend.threads())
        return fingerprint

    def extra_info(self, cell: Cell) -> dict[str, Any]:
        """What stands beside the times of a cell; ``attnbench import`` makes its row from it."""
        from attnbench.exchange.writers.pytest_benchmark import ROW, extra_info

        row = self.rows[cell.id]
        info = extra_info(row, self.fingerprint())
        columns = {name: value for name, value in info[ROW].items() if name not in ("status", "reason", "run_id")}
        return info | {"status": OK, "reason": None, ROW: columns | {"status": OK}}

    def group(self, cell: Cell) -> str:
        """The case of a cell with its device and threads: the cells of one group are to be compared."""
        from attnbench.exchange.writers.saved import case_text

        return f"{cell.suite}: {case_text(self.rows[cell.id])}"

    def document(self, measured: Iterable[str]) -> dict[str, Any]:
        """What a file of the other tool carries for us: the axes, and the rows of all cells that it has no time of."""
        from attnbench.exchange.writers.pytest_benchmark import row_data
        from attnbench.results.schema import SCHEMA_VERSION

        done = set(measured)
        rest = [row_data(row) for cell_id, row in self.rows.items() if cell_id not in done]
        return {"run": {"schema_version": SCHEMA_VERSION, "axes": self.plan.axes()}, "rows": rest}


def open_session(
    suites: Sequence[str],
    patterns: Sequence[str],
    overrides: Sequence[str],
    *,
    devices: Sequence[str] = (),
    threads: Sequence[int] = (1,),
    files: Sequence[str] = (),
    environment: MutableMapping[str, str] | None = None,
) -> InProcessCells:
    """Plan the cells and set what their frameworks need in the environment, which no framework has read yet.

    The arguments are those of ``attnbench run``. Raises ``UsageError`` and its kin for what does not exist.
    """
    from attnbench.measure.run.plan import make_plan

    plan = make_plan(
        suites, patterns=patterns, overrides=overrides, devices=devices, threads=threads, files=files, probe=False
    )
    session = InProcessCells(plan)
    (os.environ if environment is None else environment).update(session.variables())
    return session


def label(cell: Cell) -> str:
    """A name for a cell that a person can select by."""
    from attnbench.measure.run.rows import planned

    return f"{cell.suite}-{cell.impl}-{planned(cell, RUN_ID, '', '').case_label}"
