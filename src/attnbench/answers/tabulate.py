"""From the runs of a machine to a table: every case that was measured, with its answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from attnbench.answers import able
from attnbench.answers.blocks import CaseBlock, blocks, case_of
from attnbench.answers.order import Order
from attnbench.answers.question import Wanted, wanted
from attnbench.answers.saved import AskedMachine, MeasuredRun, gathered, machines_of
from attnbench.answers.sieve import Declares
from attnbench.answers.table import ChoiceTable, RunnerUp, TableEntry, TableGap, TableRun, entry_sizes, load_table
from attnbench.attention.problem import Case
from attnbench.attention.spec import SPEC_VERSION
from attnbench.keywords import explained
from attnbench.results.fingerprint import collect_hardware
from attnbench.results.frames import records
from attnbench.results.read import Runs
from attnbench.results.store import utc_now
from attnbench.show import units

if TYPE_CHECKING:
    from attnbench.answers.best import CaseJudged

ANY = Wanted()
# Why a case has no entry, by the verdict on it; what is disputed says which run names whom.
WHY = {
    "alone": "only one was measured and fits, and others may be faster",
    "none": "nobody who was measured is known to agree and fit",
    "not-measured": "nobody who fits was measured",
}
NAMED = 3


def tabulated(
    runs: Runs | None = None,
    fits: Wanted = ANY,
    *,
    machine: AskedMachine | None = None,
    declares: Declares | None = None,
) -> tuple[ChoiceTable, tuple[str, ...]]:
    """The table of saved runs of a machine, this one without, and a line for each kind of what was passed over."""
    place = machine or AskedMachine(collect_hardware())
    every = gathered(runs, place)
    asks = declares or partial(able.declared, device=fits.device)
    cases, unequal = _cases(blocks(every.runs), fits)
    rows = [_row(fitting, fits, asks) for fitting in cases]
    entries = tuple(row for row in rows if isinstance(row, TableEntry))
    gaps = tuple(row for row in rows if isinstance(row, TableGap))
    used = {entry.run_id for entry in entries}
    held = {run.info.run_id: _run(run) for run in every.runs if run.info.run_id in used}
    made = ChoiceTable(
        made=utc_now(),
        spec_version=SPEC_VERSION,
        machine_id=place.hardware.id,
        hardware=place.hardware,
        needs=fits.needs,
        memory_bytes=fits.memory_bytes,
        runs=held,
        entries=entries,
        left_out=gaps,
    )
    return made, (*every.left_out, *_notes(made, unequal))


def _notes(made: ChoiceTable, unequal: Sequence[str]) -> list[str]:
    """A line for each reason why cases have no entry, or one that is not of today."""
    by_reason: dict[str, list[str]] = {}
    for label in unequal:
        by_reason.setdefault("sequences of unequal lengths, which an engine cannot ask for", []).append(label)
    for gap in made.left_out:
        by_reason.setdefault(gap.reason, []).append(gap.label)
    for entry in made.entries:
        if entry.changed is not None:
            by_reason.setdefault(f"in the table, but since it was measured: {entry.changed}", []).append(entry.label)
    return [f"{units.some(labels, NAMED)}: {reason}" for reason, labels in by_reason.items()]


def _run(run: MeasuredRun) -> TableRun:
    return TableRun(started=run.info.started, fingerprint=run.info.fingerprint)


def _cases(every: Iterable[CaseBlock], fits: Wanted) -> tuple[list[list[CaseBlock]], list[str]]:
    """The blocks of each case, the one that its answer rests on first; and cases that no engine can ask for."""
    by_case: dict[tuple[str, str, int], list[CaseBlock]] = {}
    unequal: dict[str, None] = {}
    for block in every:
        first = block.rows.iloc[0]
        case = case_of(str(first["case"]))
        if case is None or not _is_plain(case) or not block.measured or str(first["device"]) != fits.device:
            continue
        if case.problem.sequences:
            unequal[f"{case.label()} on {first['device']}, threads {first['threads']}"] = None
        else:
            by_case.setdefault((case.id, str(first["device"]), int(first["threads"])), []).append(block)
    return [sorted(fitting, key=CaseBlock.rank, reverse=True) for fitting in by_case.values()], list(unequal)


def _is_plain(case: Case) -> bool:
    """Whether an engine could ask for a case: values as usual, the scores of a dot product, the output alone."""
    problem = case.problem
    return not case.outputs and (problem.seed, problem.distribution, case.spec.score) == (0, "normal", "dot")


def _row(fitting: Sequence[CaseBlock], fits: Wanted, declares: Declares) -> TableEntry | TableGap | None:
    """What ``best`` says of a case: its answer, or why there is none; ``None`` where no such case is known."""
    from attnbench.answers.best import NAMED_ALL, judged_case

    block = fitting[0]
    row = block.rows.iloc[0]
    case = case_of(str(row["case"]))
    if case is None:
        return None
    where = {"device": str(row["device"]), "threads": int(row["threads"]), "run_id": block.run.info.run_id}
    sizes = {**entry_sizes(case), **where}
    judged = judged_case(fits, fitting, declares)
    if judged.standing is None or judged.verdict not in NAMED_ALL:
        return TableGap(**sizes, reason=_why(judged))
    first = next(row for row in records(judged.rows) if row["impl"] == judged.standing.leading[0])
    return TableEntry(
        **sizes,
        implementation=judged.standing.leading[0],
        equals=judged.standing.leading[1:],
        runner_up=_runner_up(judged.standing),
        time_s=float(first["time_median_s"]),
        peak_bytes=int(first["peak_bytes"]) if units.known(first["peak_bytes"]) else None,
        changed=_changed(block, judged.standing.leading),
    )


def _why(judged: CaseJudged) -> str:
    """Why a case has no answer."""
    disputed = next((run for run in judged.others if run.contradicts), None)
    if judged.verdict != "disputed" or disputed is None or judged.standing is None:
        return WHY[judged.verdict]
    names = f"{judged.standing.leading[0]}; run {disputed.run_id} names {', '.join(disputed.leading)}"
    return f"two runs of this machine contradict each other: one names {names}"


def _changed(block: CaseBlock, names: Sequence[str]) -> str | None:
    """What has changed below these since they were measured; ``None`` where nothing is known to have."""
    changes = [block.changed[name].text for name in names if name in block.changed]
    known = [block.changed[name].known for name in names if name in block.changed]
    return "; ".join(dict.fromkeys(changes)) if "changed" in known else None


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
    ) -> ChoiceTable | tuple[ChoiceTable, ...]:
        """Every case that saved runs of this machine measured, with its answer; those named, or all in ``results/``.

        A table is of one machine: runs that are named and are of several give several, one for each.
        ``needs`` and ``memory`` as in ``ab.best``. Raises ``UsageError`` and its kin.
        """
        fits = wanted(device, needs, memory)
        tables = [tabulated(runs, fits, machine=machine)[0] for machine in machines_of(runs)]
        return tables[0] if len(tables) == 1 else tuple(tables)

    load = staticmethod(load_table)


table = Tables()
