"""What ``attnbench ab`` says for people: the tables of time and memory, and the sentences below them."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from attnbench.compare.live import UNSUPPORTED, LiveVerdict, percent
from attnbench.report.console import render_all
from attnbench.report.tables import Table
from attnbench.results.durations import clock
from attnbench.show import units
from attnbench.show.table import Column

if TYPE_CHECKING:
    from attnbench.live.comparison import Compared
    from attnbench.results.calibrations import Calibration

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
    rows = tuple(_time_row(one, cell(compared, one)) for one in compared.verdicts)
    return Table(title(compared), columns, rows, tuple(MARKS.get(one.verdict, "") for one in compared.verdicts))


def cell(compared: Compared, one: LiveVerdict) -> str:
    """A cell's name in a table whose title says which implementations are compared."""
    return one.case_label if compared.resolved.kind == "implementations" else one.label


def _time_row(one: LiveVerdict, name: str) -> tuple[str, ...]:
    pairs = f"{one.screened}+{one.confirmed}" if one.screened else ""
    return (
        word(one),
        name,
        units.seconds(one.a_s),
        units.seconds(one.b_s),
        percent(one.change),
        interval(one),
        pairs,
        f"{one.again} of {one.quads + one.again}" if one.quads else "",
        reason(one) if one.verdict == "not-comparable" else "",
    )


def word(one: LiveVerdict) -> str:
    """The verdict, with the status of a side that failed."""
    if one.nowhere:
        return UNSUPPORTED
    return one.verdict if one.status == "ok" else f"{one.verdict} ({one.status})"


def reason(one: LiveVerdict) -> str:
    """Why there is no judgement, and whose doing it is."""
    return f"{one.side}: {one.reason}" if one.side is not None else str(one.reason or "")


def interval(one: LiveVerdict) -> str:
    """The interval of the change."""
    if one.low is None or one.high is None:
        return "too few pairs" if one.screened else ""
    return f"{percent(one.low)} … {percent(one.high)}"


def memory_tables(compared: Compared) -> list[Table]:
    """Peak memory, one row for each cell that was weighed; nothing where none was."""
    having = [one for one in compared.verdicts if one.memory is not None]
    if not having:
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
    for one in having:
        found = one.memory
        assert found is not None  # noqa: S101  (chosen above)
        sizes = units.size(found.a_bytes), units.size(found.b_bytes)
        rows.append((found.verdict, cell(compared, one), *sizes, found.evidence, found.reason or ""))
    marks = tuple(MARKS.get(row[0], "") for row in rows)
    return [Table("Peak memory of B against A, medians of fresh processes", columns, tuple(rows), marks)]


def closing(compared: Compared, calibration: Calibration | None) -> list[str]:
    """The sentences: what is open and its price, the effort, the machine, the folder."""
    outcome = compared.outcome
    counts = Counter(name for one in compared.verdicts for name in one.words)
    lines = [", ".join(f"{count} {name}" for name, count in counts.items()) + "."]
    lines += open_lines(compared)
    busy = sum(one.disturbed for one in compared.verdicts)
    effort = f"{outcome.pairs} pair{'' if outcome.pairs == 1 else 's'} of fresh processes in {clock(outcome.seconds)}"
    lines.append(effort + (f"; {busy} bursts stayed disturbed after all repeats." if busy else "."))
    lines += [
        f"Not audited: {count} cell{'' if count == 1 else 's'}, because {why}."
        for why, count in Counter(state.unaudited for state in outcome.states if state.unaudited).items()
    ]
    if outcome.note:
        lines.append(f"Partial: {outcome.note}.")
    lines.append(machine_line(compared, calibration))
    lines.append(f"kept: {compared.folder}")
    return lines


def open_lines(compared: Compared) -> list[str]:
    """What is known of each undecided cell and what a decision costs; cells of which the same is known in one line."""
    alike: dict[str, list[str]] = {}
    for one in compared.verdicts:
        if one.verdict == "inconclusive":
            alike.setdefault(one.price, []).append(cell(compared, one))
    return [
        f"inconclusive: {names[0] if len(names) == 1 else f'{len(names)} cells'}: {price}."
        for price, names in alike.items()
    ]


def machine_line(compared: Compared, calibration: Calibration | None) -> str:
    """What this machine is known to do to such verdicts."""
    if calibration is None:
        return "This machine is not calibrated; its own false-alarm rate is not known. Type: attnbench calibrate"
    made = max((one.screened + one.confirmed for one in compared.verdicts), default=0)
    own = calibration.replayed.margin if calibration.replayed is not None else compared.margin
    other = ""
    if not math.isclose(own, compared.margin):
        now = f"{100 * compared.margin:g}"
        other = f" The margin is {now} % now; attnbench calibrate --margin {now}% says it for that."
    return calibration.sentence(made) + other
