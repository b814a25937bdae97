"""The verdicts of a suite on published claims, as a table and as rows for a CSV file."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from attnbench.report import units
from attnbench.report.tables import Column, Table
from attnbench.suite import NOT_JUDGED

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.suite import Suite

Row = dict[str, Any]

TITLE = "Held against what was published"
COLUMNS = (
    Column("claim, source and row"),
    Column("published"),
    Column("what we measure, margin"),
    Column("ours [95 % CI]", right=True),
    Column("seeds", right=True),
    Column("exact p (Holm)", right=True),
    Column("verdict, implementations"),
)
# How a sentence ends that says a verdict in words; where the table stands, it need not stand beside it.
TOLD = "counts as reproduced."
# The smallest p that is written out; an exact test of eight pairs cannot give less than 2/256.
SMALLEST_P = 0.001


def verdict_rows(frame: pd.DataFrame, suite: Suite | None) -> tuple[list[Row], list[str]]:
    """The suite's verdicts, one row for each, none where it speaks of no claim; and a sentence if its code failed."""
    if suite is None or suite.claims is None:
        return [], []
    try:
        return suite.judged(frame), []
    except Exception as error:  # noqa: BLE001  (a suite's own code; the rest of the report must survive it)
        return [], [f"The verdicts of this suite could not be worked out: {type(error).__name__}: {error}"]


def claims_table(rows: list[Row]) -> Table:
    """The table of the verdicts; a row's mark is its verdict as one word."""
    return Table(
        TITLE,
        COLUMNS,
        tuple(_texts(row) for row in rows),
        tuple("absent" if row["verdict"] == NOT_JUDGED else str(row["verdict"]).replace(" ", "-") for row in rows),
        kind="claims",
    )


def without_verdicts(sentences: list[str], rows: list[Row]) -> tuple[str, ...]:
    """The sentences that the table of verdicts does not say; all of them where there is no table."""
    return tuple(one for one in sentences if not (rows and one.endswith(TOLD)))


def tally(rows: list[Row]) -> str:
    """How many claims came to which verdict, in one sentence; empty without claims."""
    counts = Counter(str(row["verdict"]) for row in rows)
    if set(counts) == {NOT_JUDGED}:
        return f"None of {len(rows)} published claim{'s' * (len(rows) > 1)} is judged at the levels of a smoke run."
    listed = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"Held against {len(rows)} published claim{'s' * (len(rows) > 1)}: {listed}." if rows else ""


def _texts(row: Row) -> tuple[str, ...]:
    return (
        f"{row['claim']}.\n{row['source']} · {row['row']}",
        str(row["published"]),
        f"{row['quantity']}.\nReproduced: {row['margin']}",
        _ours(row),
        units.NOTHING if row["n_seeds"] is None else str(row["n_seeds"]),
        _p(row["p"]),
        f"{row['verdict']}\n{row['implementations']}".strip(),
    )


def _ours(row: Row) -> str:
    if row["ours"] is None:
        return units.NOTHING
    return f"{row['ours']:.4g} [{row['low']:.4g}, {row['high']:.4g}]"


def _p(value: float | None) -> str:
    if value is None:
        return units.NOTHING
    return f"{value:.3f}" if value >= SMALLEST_P else f"< {SMALLEST_P}"
