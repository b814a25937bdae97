"""What ``attnbench ab`` says for people: the tables of time and memory, and the sentences below them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attnbench.comparing.live import UNSUPPORTED, LiveVerdict, percent
from attnbench.report.console import render_all
from attnbench.report.tables import Table
from attnbench.show import units
from attnbench.show.table import Column
from attnbench.show.units import clock

if TYPE_CHECKING:
    from attnbench.live.comparison import Compared
    from attnbench.results.calibrations import Calibration

# A reason of so many cells is said once.
SEVERAL = 3
MARKS = {"slower": "failed", "larger": "failed", "faster": "best", "smaller": "best", "not-comparable": "absent"}


def tables(compared: Compared) -> str:
    """Time, then memory where it was measured."""
    return render_all([time_table(compared), *memory_tables(compared)])


def title(compared: Compared) -> str:
    """What was compared."""
    sides = compared.resolved.sides
    return f"A = {sides['A'].label}, B = {sides['B'].label}: time of B against A, margin {100 * compared.margin:g} %"


def time_table(compared: Compared) -> Table:
    """One row for each cell."""
    columns = (
        Column("verdict"),
        Column("cell"),
        Column("A", right=True, rank=1),
        Column("B", right=True, rank=1),
        Column("change", right=True),
        Column("interval", right=True),
        Column("pairs", right=True, rank=2),
        Column("quads again", right=True, rank=3),
        Column("reason", rank=4),
    )
    verdicts, shared = compared.verdicts, _shared(compared)
    rows = tuple(_time_row(verdict, cell(compared, verdict), shared) for verdict in verdicts)
    return Table(title(compared), columns, rows, tuple(MARKS.get(verdict.verdict, "") for verdict in verdicts))


def cell(compared: Compared, verdict: LiveVerdict) -> str:
    """A cell's name in a table whose title says which implementations are compared."""
    return verdict.case_label if compared.resolved.kind == "implementations" else verdict.label


def _shared(compared: Compared) -> dict[tuple[str, str], int]:
    """How many cells have each word and reason that several share: it stands below the tables, not in rows."""
    open_ = (verdict for verdict in compared.verdicts if verdict.verdict == "not-comparable" and reason(verdict))
    counts = Counter((word(verdict), reason(verdict)) for verdict in open_)
    return {alike: count for alike, count in counts.items() if count >= SEVERAL}


def _time_row(verdict: LiveVerdict, name: str, shared: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
    pairs = f"{verdict.screened}+{verdict.confirmed}" if verdict.screened else ""
    alike = word(verdict), reason(verdict)
    return (
        word(verdict),
        name,
        units.seconds(verdict.a_s),
        units.seconds(verdict.b_s),
        percent(verdict.change),
        interval(verdict),
        pairs,
        f"{verdict.again} of {verdict.quads + verdict.again}" if verdict.quads else "",
        reason(verdict) if verdict.verdict == "not-comparable" and alike not in shared else "",
    )


def word(verdict: LiveVerdict) -> str:
    """The verdict, with the status of a side that failed."""
    if verdict.nowhere:
        return UNSUPPORTED
    return verdict.verdict if verdict.status == "ok" else f"{verdict.verdict} ({verdict.status})"


def reason(verdict: LiveVerdict) -> str:
    """Why there is no judgement, and whose doing it is."""
    return f"{verdict.side}: {verdict.reason}" if verdict.side is not None else str(verdict.reason or "")


def interval(verdict: LiveVerdict) -> str:
    """The interval of the change."""
    if verdict.low is None or verdict.high is None:
        return "too few pairs" if verdict.screened else ""
    return f"{percent(verdict.low)} … {percent(verdict.high)}"


def memory_tables(compared: Compared) -> list[Table]:
    """Peak memory, one row for each cell that was weighed; nothing where none was."""
    weighed = [(verdict, verdict.memory) for verdict in compared.verdicts if verdict.memory is not None]
    if not weighed:
        return []
    columns = (
        Column("verdict"),
        Column("cell"),
        Column("A", right=True),
        Column("B", right=True),
        Column("change", right=True, rank=1),
        Column("reason", rank=2),
    )
    rows = []
    for verdict, memory in weighed:
        sizes = units.size(memory.a_bytes), units.size(memory.b_bytes)
        rows.append((memory.verdict, cell(compared, verdict), *sizes, memory.evidence, memory.reason or ""))
    marks = tuple(MARKS.get(row[0], "") for row in rows)
    return [Table("Peak memory of B against A, medians of fresh processes", columns, tuple(rows), marks)]


def closing(compared: Compared, calibration: Calibration | None) -> list[str]:
    """The sentences below the tables."""
    return [*what_was_found(compared), machine_line(compared, calibration), folder_line(compared)]


def what_was_found(compared: Compared) -> list[str]:
    """How many cells have which verdict, what is open and its price, the effort, and what was not done."""
    outcome = compared.outcome
    counts = Counter(name for verdict in compared.verdicts for name in verdict.words)
    lines = [", ".join(f"{count} {name}" for name, count in counts.items()) + "."]
    lines += [f"{name}, {count} cells: {why}." for (name, why), count in _shared(compared).items()]
    lines += open_lines(compared)
    busy = sum(verdict.disturbed for verdict in compared.verdicts)
    effort = f"{outcome.pairs} pair{'' if outcome.pairs == 1 else 's'} of fresh processes in {clock(outcome.seconds)}"
    lines.append(effort + (f"; {busy} bursts stayed disturbed after all repeats." if busy else "."))
    lines += [
        f"Not audited: {count} cell{'' if count == 1 else 's'}, because {why}."
        for why, count in Counter(state.unaudited for state in outcome.states if state.unaudited).items()
    ]
    return [*lines, f"Partial: {outcome.note}."] if outcome.note else lines


def folder_line(compared: Compared) -> str:
    """Where it is kept."""
    return f"kept: {compared.folder}"


def open_lines(compared: Compared) -> list[str]:
    """What is known of each undecided cell and what a decision costs; cells of which the same is known in one line."""
    alike: dict[str, list[str]] = {}
    for verdict in compared.verdicts:
        if verdict.verdict == "inconclusive":
            alike.setdefault(verdict.price, []).append(cell(compared, verdict))
    return [
        f"inconclusive: {names[0] if len(names) == 1 else f'{len(names)} cells'}: {price}."
        for price, names in alike.items()
    ]


def machine_line(compared: Compared, calibration: Calibration | None) -> str:
    """What this machine is known to do to such verdicts."""
    if calibration is None:
        return "This machine is not calibrated; its own false-alarm rate is not known. Type: attnbench calibrate"
    made = max((verdict.screened + verdict.confirmed for verdict in compared.verdicts), default=0)
    calibrated = calibration.replayed.margin if calibration.replayed is not None else compared.margin
    other = ""
    if not math.isclose(calibrated, compared.margin):
        now = f"{100 * compared.margin:g}"
        other = f" The margin is {now} % now; attnbench calibrate --margin {now}% says it for that."
    return calibration.sentence(made) + other
