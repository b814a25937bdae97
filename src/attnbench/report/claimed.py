"""The verdicts of a suite on claims, published ones or its own, as a table and as a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attnbench.analysis.claims import OWN, REPRODUCED
from attnbench.analysis.judged import JudgedSuite, Row
from attnbench.report.glance.forest import noun
from attnbench.report.tables import Table
from attnbench.show import units
from attnbench.show.table import Column
from attnbench.suite import NOT_JUDGED

TITLE = "Held against what was published"
OF_ITS_OWN = "Held against what this suite expected"
OF_BOTH = "Held against what was published, and what this suite expected"
COLUMNS = (
    Column("claim, source and row"),
    Column("published"),
    Column("what we measure, margin"),
    Column("ours [95 % CI]", right=True),
    Column("seeds", right=True),
    Column("exact p (Holm)", right=True),
    Column("verdict, implementations"),
)
# The smallest p that is written out; an exact test of eight pairs cannot give less than 2/256.
SMALLEST_P = 0.001


def failure(judged: JudgedSuite) -> list[str]:
    """A sentence if the suite's own code failed at its verdicts; none for a suite that is not installed here."""
    error = judged.failure
    if judged.suite is None or error is None:
        return []
    return [f"The verdicts of this suite could not be worked out: {type(error).__name__}: {error}{judged.place(error)}"]


def claims_table(rows: Sequence[Row]) -> Table:
    """The table of the verdicts; a row's mark is its verdict as one word."""
    kinds = {row["source"] == OWN for row in rows}
    return Table(
        OF_BOTH if len(kinds) > 1 else OF_ITS_OWN if kinds == {True} else TITLE,
        COLUMNS,
        tuple(_texts(row) for row in rows),
        tuple("absent" if row["verdict"] == NOT_JUDGED else str(row["verdict"]).replace(" ", "-") for row in rows),
        kind="claims",
    )


def tally(rows: Sequence[Row]) -> str:
    """How many claims came to which verdict, in one sentence; empty without claims."""
    counts = Counter(str(row["verdict"]) for row in rows)
    claims = f"{len(rows)} {_noun(rows)}"
    if set(counts) == {NOT_JUDGED}:
        return f"None of {claims} is judged at the levels of a smoke run."
    listed = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"Held against {claims}: {listed}." if rows else ""


def spelled(rows: Sequence[Row]) -> str:
    """What became of the claims in words: how many were reproduced, and which were not."""
    if not rows or {row["verdict"] for row in rows} == {NOT_JUDGED}:
        return tally(rows)
    held = sum(row["verdict"] == REPRODUCED for row in rows)
    others: dict[str, list[str]] = {}
    for row in rows:
        if row["verdict"] != REPRODUCED:
            others.setdefault(str(row["verdict"]), []).append(str(row["claim"]))
    parts = [f"{verdict}: {'; '.join(dict.fromkeys(claims))}" for verdict, claims in others.items()]
    start = (
        f"{held} of {len(rows)} verdicts on {_noun(rows, len(rows) + 1)}: reproduced"
        if others
        else f"Every {_noun(rows, 1)} is reproduced"
    )
    return ". ".join([start, *(part[0].upper() + part[1:] for part in parts)]) + "."


def _noun(rows: Sequence[Row], count: int | None = None) -> str:
    """What the claims are called; as many as there are rows unless it is said."""
    return noun([row["source"] == OWN for row in rows], len(rows) if count is None else count)


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
