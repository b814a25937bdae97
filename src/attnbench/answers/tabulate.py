"""From the runs of this machine to a table: every case that was measured, with its answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from attnbench.answers import able
from attnbench.answers.blocks import CaseBlock, blocks, case_of
from attnbench.answers.order import Order, order
from attnbench.answers.question import Wanted, wanted
from attnbench.answers.saved import MeasuredRun, gathered
from attnbench.answers.sieve import Declares, sieved
from attnbench.answers.table import ChoiceTable, RunnerUp, TableEntry, TableRun, entry_sizes, load_table
from attnbench.attention.problem import Case
from attnbench.attention.spec import SPEC_VERSION
from attnbench.keywords import explained
from attnbench.results.fingerprint import collect_hardware
from attnbench.results.frames import records
from attnbench.results.read import Runs
from attnbench.results.schema import Hardware
from attnbench.results.store import utc_now
from attnbench.show import units

ANY = Wanted()


def tabulated(
    runs: Runs | None = None,
    fits: Wanted = ANY,
    *,
    hardware: Hardware | None = None,
    declares: Declares | None = None,
) -> tuple[ChoiceTable, tuple[str, ...]]:
    """The table of saved runs of this machine, and a line for each that was passed over."""
    machine = hardware or collect_hardware()
    every = gathered(runs, machine)
    asks = declares or partial(able.declared, device=fits.device)
    chosen = _chosen(blocks(every.runs), fits)
    entries = tuple(entry for block in chosen if (entry := _entry(block, fits, asks)) is not None)
    used = {entry.run_id for entry in entries}
    held = {run.info.run_id: _run(run) for run in every.runs if run.info.run_id in used}
    made = ChoiceTable(
        made=utc_now(),
        spec_version=SPEC_VERSION,
        machine_id=machine.id,
        hardware=machine,
        needs=fits.needs,
        memory_bytes=fits.memory_bytes,
        runs=held,
        entries=entries,
    )
    return made, every.left_out


def _run(run: MeasuredRun) -> TableRun:
    return TableRun(started=run.info.started, fingerprint=run.info.fingerprint)


def _chosen(every: Iterable[CaseBlock], fits: Wanted) -> list[CaseBlock]:
    """The block of every case that its answer rests on, in the order in which the cases are first seen."""
    by_case: dict[tuple[str, str, int], CaseBlock] = {}
    for block in every:
        first = block.rows.iloc[0]
        case = case_of(str(first["case"]))
        if case is None or not _is_plain(case) or not block.measured or str(first["device"]) != fits.device:
            continue
        key = (case.id, str(first["device"]), int(first["threads"]))
        if key not in by_case or block.rank() > by_case[key].rank():
            by_case[key] = block
    return list(by_case.values())


def _is_plain(case: Case) -> bool:
    """Whether an engine could ask for a case: values as usual, the scores of a dot product, the output alone."""
    problem = case.problem
    return not case.outputs and (problem.seed, problem.distribution, case.spec.score) == (0, "normal", "dot")


def _entry(block: CaseBlock, fits: Wanted, declares: Declares) -> TableEntry | None:
    """The answer of one block; ``None`` where there is none to be had."""
    from attnbench.answers.best import verdict_of

    rows, left_out = sieved(block.rows, fits, declares)
    case = case_of(str(block.rows.iloc[0]["case"]))
    if rows.empty or case is None:
        return None
    rows = block.sampled(rows)
    standing = order(rows)
    if verdict_of(standing, left_out, block) == "alone":
        return None
    first = next(row for row in records(rows) if row["impl"] == standing.leading[0])
    return TableEntry(
        **entry_sizes(case),
        device=str(first["device"]),
        threads=int(first["threads"]),
        implementation=standing.leading[0],
        equals=standing.leading[1:],
        runner_up=_runner_up(standing),
        time_s=float(first["time_median_s"]),
        peak_bytes=int(first["peak_bytes"]) if units.known(first["peak_bytes"]) else None,
        run_id=block.run.info.run_id,
    )


def _runner_up(standing: Order) -> RunnerUp | None:
    """The fastest of those that are told from the first."""
    if not standing.behind:
        return None
    name = standing.behind[0]
    ratio = standing.pairs[name].interval()
    ends: dict[str, Any] = {"low": ratio.low, "high": ratio.high} if math.isfinite(ratio.high) else {}
    return RunnerUp(implementation=name, ratio=ratio.value, **ends)


class Tables:
    """``ab.table``: called, it makes a table of saved runs; ``ab.table.load(FILE)`` reads one."""

    @explained
    def __call__(
        self,
        runs: Runs | None = None,
        *,
        device: str = "cpu",
        needs: Sequence[str] = (),
        memory: int | str | None = None,
    ) -> ChoiceTable:
        """Every case that saved runs of this machine measured, with its answer; those named, or all in ``results/``.

        ``needs`` and ``memory`` as in ``ab.best``. Raises ``UsageError`` and its kin.
        """
        return tabulated(runs, wanted(device, needs, memory))[0]

    load = staticmethod(load_table)


table = Tables()
