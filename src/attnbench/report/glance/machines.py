"""Runs of several machines side by side: who is the fastest of each case, and what became of each claim, on each.

Everything in a column is of one run alone: its ties and ratios are what its own rounds tell. What is said over all
columns is only which names or verdicts they have in common; no number of one machine meets one of another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from attnbench.analysis.intervals import Interval
from attnbench.report.tables import Table
from attnbench.show import units
from attnbench.show.table import Column

NOBODY = "none"
ON_ALL = "on all of them"
FIRST = "is the fastest, or not told from it, on every machine"
MOST_NAMED = 4  # implementations that are named where they are not told apart


@dataclass(frozen=True)
class SideMachine:
    """A machine: its name, its runs, and its answer to each suite in a sentence."""

    name: str
    key: str
    runs: tuple[str, ...]
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SideCell:
    """A case on a machine: the fastest with its time, and the next one with how many times as long it takes there.

    ``leaders`` are the fastest and those that are not told from it; ``why`` says what became of it where nobody has a
    time.
    """

    first: str = ""
    time: str = ""
    second: str | None = None
    ratio: Interval | None = None
    leaders: tuple[str, ...] = ()
    why: str = ""
    name: str = ""

    @property
    def ties(self) -> str:
        """Those who are not told from the first, by name as far as they are few."""
        return units.some(self.leaders[1:], MOST_NAMED) if len(self.leaders) > 1 else ""

    @property
    def behind(self) -> str:
        """The next one that is told to be slower, or that nobody is."""
        if self.second is None:
            return "nothing else was measured"
        if self.ratio is None:
            return "nobody is told to be slower"
        return f"{self.second} {units.significant(self.ratio.value)} [{', '.join(map(units.significant, self.ends))}]"

    @property
    def ends(self) -> tuple[float, float]:
        """The interval of the ratio."""
        return (math.nan, math.nan) if self.ratio is None else (self.ratio.low, self.ratio.high)

    @property
    def text(self) -> str:
        """All of it in a line."""
        if not self.leaders:
            return self.why
        following = self.behind if self.ratio is None else f"next {self.behind}"
        return "; ".join(filter(None, [f"{self.first} {self.time}", self.ties and f"or {self.ties}", following]))

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        following = None
        if self.ratio is not None:
            low, high = self.ends
            following = {"implementation": self.second, "ratio": self.ratio.value, "low": low, "high": high}
        return {"fastest": self.first, "not_told_from_it": list(self.leaders[1:]), "next": following}


@dataclass(frozen=True)
class SideRow:
    """A case: a cell for each column, and who is the fastest, or not told from it, in all that measured it.

    ``machines`` are those of the columns: a machine that has several runs has several columns.
    """

    case: str
    full: str
    cells: tuple[SideCell, ...]
    machines: tuple[str, ...]

    @property
    def measured(self) -> tuple[SideCell, ...]:
        """The cells that have a time."""
        return tuple(cell for cell in self.cells if cell.leaders)

    @property
    def common(self) -> tuple[str, ...]:
        """Who leads, or is not told from who leads, wherever the case was measured; of one machine alone nobody."""
        lists = [cell.leaders for cell in self.measured]
        return tuple(name for name in lists[0] if all(name in more for more in lists)) if self._several else ()

    @property
    def _several(self) -> bool:
        """Whether more than one machine has a time, and not one of them twice."""
        return len({name for name, cell in zip(self.machines, self.cells, strict=True) if cell.leaders}) > 1

    @property
    def on_all(self) -> str:
        """The same in words."""
        if not self._several:
            return units.NOTHING
        return units.some(self.common, MOST_NAMED) if self.common else NOBODY

    @property
    def same(self) -> bool:
        """Whether nothing differs: all columns have a time, and an implementation could be taken in all of them."""
        return bool(self.common) and len(self.measured) == len(self.cells)

    @property
    def names(self) -> tuple[str, ...]:
        """What the case is called in its runs."""
        return tuple(dict.fromkeys(cell.name for cell in self.cells if cell.name))

    @property
    def leaders(self) -> tuple[str, ...]:
        """Everybody who leads somewhere, or is not told from who does."""
        return tuple(dict.fromkeys(name for cell in self.cells for name in cell.leaders))


@dataclass(frozen=True)
class SideHead:
    """The head of a column: its machine, and its run where the machine has several here."""

    machine: str
    run_id: str
    run: str = ""

    @property
    def text(self) -> str:
        """Both in a line."""
        return f"{self.machine} ({self.run})" if self.run else self.machine


@dataclass(frozen=True)
class SideTime:
    """An implementation in a case: its median time in each column, or what became of it."""

    row: SideRow
    impl: str
    times: tuple[str, ...]


@dataclass(frozen=True)
class SideTable:
    """A suite: a head for each column, a row for each case, and every time."""

    suite: str
    heads: tuple[SideHead, ...]
    rows: tuple[SideRow, ...]
    times: tuple[SideTime, ...] = ()

    def describe(self, runs: Sequence[str]) -> Iterable[dict[str, Any]]:
        """JSON-ready: the cases that these runs measured."""
        for row in self.rows:
            for head, cell in zip(self.heads, row.cells, strict=True):
                if head.run_id in runs and cell.leaders:
                    yield {"run_id": head.run_id, "suite": self.suite, "case": row.full, **cell.describe()}

    @property
    def sentence(self) -> str:
        """In how many cases one implementation would do on all machines."""
        shared = [row for row in self.rows if len(row.measured) == len(self.heads)]
        if len({head.machine for head in self.heads}) < 2:  # noqa: PLR2004
            return "One of these machines alone has this suite."
        if not shared:
            return "No case was measured in all of these runs."
        everywhere = [name for name in shared[0].common if all(name in row.common for row in shared)]
        who = f": {units.some(everywhere, MOST_NAMED)}" if everywhere else ""
        same = sum(row.same for row in shared)
        if len(shared) == 1:
            return f"In the one case that all of them measured, {'an' if same else 'no'} implementation {FIRST}{who}."
        count = {0: "none has", 1: "1 has", len(shared): "all have"}.get(same, f"{same} have")
        each = f"{who} in each of them" if who else ""
        return f"Of the {len(shared)} cases that all of them measured, {count} an implementation that {FIRST}{each}."


@dataclass(frozen=True)
class SideVerdict:
    """A claim on a machine: our numbers, and the verdict; both empty where the claim was not judged there."""

    ours: str = units.NOTHING
    verdict: str = "not judged there"

    @property
    def kind(self) -> str:
        """A class for a page."""
        return self.verdict.replace(" ", "-")


@dataclass(frozen=True)
class SideClaim:
    """A claim of a suite: a verdict for each column."""

    suite: str
    claim: str
    verdicts: tuple[SideVerdict, ...]

    @property
    def same(self) -> bool:
        """Whether all columns have the same verdict."""
        return len({each.verdict for each in self.verdicts}) == 1


@dataclass(frozen=True)
class Machines:
    """Several machines: each with its answers, the cases by suite, and the claims with the heads of their columns."""

    machines: tuple[SideMachine, ...]
    tables: tuple[SideTable, ...]
    claim_heads: tuple[SideHead, ...] = ()
    claims: tuple[SideClaim, ...] = ()

    @property
    def differing(self) -> bool:
        """Whether anything is the same on all, so that it can be hidden."""
        return any(row.same for table in self.tables for row in table.rows) or any(row.same for row in self.claims)

    @property
    def claims_sentence(self) -> str:
        """How many claims have one verdict on all machines."""
        same, count = sum(row.same for row in self.claims), len(self.claims)
        if count == 1:
            return f"The one claim has {'the same' if same else 'no common'} verdict in all of these runs."
        some = {0: "None of the", count: "All"}.get(same, f"{same} of the")
        return f"{some} {count} claims {'has' if same < 2 else 'have'} the same verdict in all of these runs."  # noqa: PLR2004

    @property
    def lines(self) -> tuple[str, ...]:
        """The answers of each machine as lines of text."""
        return tuple(
            f"{machine.name}: {f'{suite}: ' if suite else ''}{sentence}"
            for machine in self.machines
            for suite, sentence in machine.answers
        )

    @property
    def shown(self) -> Iterable[tuple[str, Table]]:
        """Everything as plain tables, a column for each machine, each with the sentence that heads it."""
        if self.claims:
            rows = tuple(
                (row.claim, row.suite, *(f"{each.verdict}; {each.ours}" for each in row.verdicts))
                for row in self.claims
            )
            yield self.claims_sentence, _plain("Claims, side by side", ("claim", "suite"), self.claim_heads, rows)
        for table in self.tables:
            rows = tuple((row.case, row.on_all, *(cell.text for cell in row.cells)) for row in table.rows)
            yield table.sentence, _plain(f"{table.suite}, side by side", ("case", ON_ALL), table.heads, rows)

    def describe(self) -> list[dict[str, Any]]:
        """JSON-ready: for each machine its runs, its answers, and its cases and claims by suite."""
        return [
            {
                "machine": machine.name,
                "runs": list(machine.runs),
                "answers": [{"suite": suite or None, "sentence": sentence} for suite, sentence in machine.answers],
                "cases": [case for table in self.tables for case in table.describe(machine.runs)],
                "claims": [
                    {"run_id": head.run_id, "suite": row.suite, "claim": row.claim, **asdict(verdict)}
                    for row in self.claims
                    for head, verdict in zip(self.claim_heads, row.verdicts, strict=True)
                    if head.run_id in machine.runs
                ],
            }
            for machine in self.machines
        ]

    def name_of(self, run_id: str) -> str:
        """The name of the machine of a run."""
        return next(machine.name for machine in self.machines if run_id in machine.runs)


def _plain(title: str, first: Sequence[str], heads: Sequence[SideHead], rows: tuple[tuple[str, ...], ...]) -> Table:
    columns = tuple(Column(name) for name in (*first, *(head.text for head in heads)))
    return Table(title, columns, rows, ("",) * len(rows))
