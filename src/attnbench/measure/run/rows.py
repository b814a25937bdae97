"""Rows: the one ``CellResult`` of a planned cell, before it is measured and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from attnbench.measure.clock import floors, roofline
from attnbench.results.schema import TIME_FIELDS, CellResult, case_columns
from attnbench.results.summary import rounds, summarise, usable
from attnbench.suite import Cell
from attnbench.workers.protocol import NOT_RUN, OK, SPENT, WRONG

if TYPE_CHECKING:
    from attnbench.measure.blocks.outcome import Outcome
    from attnbench.workers.protocol import Ceilings

NOT_REACHED = "planned, and not reached"


def planned(cell: Cell, run_id: str, machine_id: str, code_version: str) -> CellResult:
    """The row of a cell that has not been measured."""
    return CellResult(
        run_id=run_id,
        suite=cell.suite,
        cell_id=cell.id,
        case_id=cell.case_id,
        block_id=cell.block_id,
        case_label=cell.case.label() if cell.case else _point_label(cell),
        kind="timed" if cell.case else "observed",
        impl=cell.impl,
        backend=cell.backend,
        variant=cell.impl.partition("/")[2],
        device=cell.device,
        threads=cell.threads,
        **case_columns(cell.case),
        point=dict(cell.point),
        status=NOT_RUN,
        reason=NOT_REACHED,
        machine_id=machine_id,
        code_version=code_version,
    )


def refused(row: CellResult, reason: str) -> CellResult:
    """The row of a cell that cannot be measured here."""
    return changed(row, status="unsupported", reason=reason)


def finished(row: CellResult, outcome: Outcome, ceilings: Ceilings | None, cached: float = float("inf")) -> CellResult:
    """The row of a cell when all is over; what the schema refuses as a result becomes the reason of a failed one.

    ``row`` is as it was before, perhaps with the numbers of earlier looks: a later one may end a cell without any.
    ``cached`` is the size of the last cache in bytes (``floors``).
    """
    row = row.model_copy(update=dict.fromkeys((*TIME_FIELDS, "peak_bytes")) | {"metrics": {}})
    try:
        return _finished(row, outcome, ceilings, cached)
    except ValidationError as error:
        refusals = "; ".join(str(refusal["msg"]) for refusal in error.errors())
        return changed(row, status="crashed", reason=f"what was measured is no result: {refusals}", memory={})


def too_fast(outcome: Outcome, ceilings: Ceilings | None, cached: float) -> str | None:
    """Why the time of a cell is too short for the work to have been done, or ``None``."""
    return _too_fast(outcome, summarise(outcome.samples).get("time_median_s"), ceilings, cached)


def _too_fast(outcome: Outcome, median_s: float | None, ceilings: Ceilings | None, cached: float) -> str | None:
    cell = outcome.cell
    if outcome.status != OK or ceilings is None or cell.case is None or not median_s:
        return None
    least = floors.floor(cell.case, ceilings.rates, cell.device, cached)
    return None if least is None else least.broken_by(median_s)


def _finished(row: CellResult, outcome: Outcome, ceilings: Ceilings | None, cached: float) -> CellResult:
    if outcome.cell.case is None:
        return changed(row, status=outcome.status, reason=outcome.reason, metrics=outcome.metrics)
    summary = summarise(outcome.samples)
    status, reason = outcome.status, outcome.reason
    if status == OK and outcome.prepared is None:  # it may have looks from before, and nobody has checked it since
        status, reason = NOT_RUN, f"{SPENT} before its turn"
    if status == OK and "n_bursts" not in summary:
        status, reason = NOT_RUN, f"{SPENT} before a burst counted"
    if status == OK and (why := _too_fast(outcome, summary.get("time_median_s"), ceilings, cached)):
        status, reason = WRONG, why
    if status != OK:
        summary = {"disturbed_bursts": summary["disturbed_bursts"]}
    columns = {"status": status, "reason": reason, "error_ratio": outcome.error_ratio} | summary | _phases(outcome)
    columns |= roofline.columns(outcome.cell.case, summary.get("time_median_s"), ceilings)
    columns |= _anchor(outcome, columns)
    if status != OK:
        columns["memory"] = {}
    if status == OK and outcome.memory is not None:
        columns["peak_bytes"] = outcome.memory.peak_bytes
        columns["memory"] = {"source": outcome.memory.source, **outcome.memory.detail}
    kernel = {} if outcome.kernel_s is None else {"kernel_time_s": outcome.kernel_s}
    beside = rounds(outcome.samples) if status == OK and outcome.cell.shares_block else {}
    if kernel or beside:
        columns["metrics"] = kernel | beside
    return changed(row, **columns)


def _anchor(outcome: Outcome, columns: Mapping[str, Any]) -> dict[str, Any]:
    """What the anchor was, and why bursts that count have none, or too few for a ratio."""
    if (anchor := outcome.anchor) is None:
        return {}
    lacking = not outcome.samples or any(sample.anchor_s is None for sample in usable(outcome.samples))
    reasons = [anchor.reason_for(outcome.cell) if lacking else None, columns.get("anchor_reason")]
    reason = "; ".join(reason for reason in reasons if reason) or None
    return {"anchor": anchor.name, "anchor_library": anchor.library, "anchor_reason": reason}


def changed(row: CellResult, **values: Any) -> CellResult:
    """The row with other values, validated."""
    return CellResult.model_validate(row.model_dump() | values)


def _phases(outcome: Outcome) -> dict[str, float]:
    if outcome.prepared is None:
        return {}
    done = outcome.prepared
    phases = {"trace_s": done.trace_s, "compile_s": done.compile_s, "first_call_s": done.first_call_s}
    return phases if outcome.import_s is None else {"import_s": outcome.import_s, **phases}


def _point_label(cell: Cell) -> str:
    return " ".join(f"{axis}={level}" for axis, level in cell.point.items())


def cell_of(row: CellResult, files: tuple[str, ...] = (), suite_file: tuple[str, str] | None = None) -> Cell:
    """The cell that a row was planned for: what resuming needs."""
    data = {"suite": row.suite, "point": row.point, "case": row.case, "impl": row.impl}
    where = {"device": row.device, "threads": row.threads, "files": files, "block": row.block_id}
    return Cell.from_dict({**data, **where, "suite_file": suite_file})
