"""Published claims with our intervals, on one scale: 0 is no effect, 1 the least that counts as reproduced.

Each claim has a unit of its own, so its interval is moved and stretched: by the claim's null value and the nearer end
of the range that counts as reproduced. Where no effect is a ratio of 1, logarithms are. A claim that there is no
difference worth the name is reproduced between −1 and 1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attnbench.analysis.claims import (
    CONTRADICTED,
    DIRECTION_ONLY,
    NO_FIGURE,
    NOT_DETECTED,
    OUT_OF_SCOPE,
    OWN,
    REPRODUCED,
    Claim,
    claims,
    declared,
    judge,
)
from attnbench.analysis.judged import Row
from attnbench.show import units

# The scale ends here; what lies beyond is at its end, with an arrow.
LEFT, RIGHT = -2.0, 4.0
DIFFERS = "differs by implementation"
ORDER = (CONTRADICTED, NOT_DETECTED, DIRECTION_ONLY, DIFFERS, REPRODUCED, OUT_OF_SCOPE)


@dataclass(frozen=True)
class ForestMark:
    """One verdict: its interval on the scale (``None`` where nothing was measured), and in words."""

    verdict: str
    text: str
    impls: str
    middle: float | None = None
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class ForestLine:
    """One claim in one suite: what counts as reproduced on the scale, and a mark for each verdict.

    ``own``: the suite makes it itself, and nobody published it.
    """

    suite: str
    claim: str
    source: str
    published: str
    margin: str
    within: tuple[float, float] | None
    marks: tuple[ForestMark, ...]
    own: bool = False

    @property
    def verdict(self) -> str:
        """The verdict of all marks, or that they differ."""
        verdicts = {mark.verdict for mark in self.marks}
        return verdicts.pop() if len(verdicts) == 1 else DIFFERS

    @property
    def said(self) -> str:
        """What was published, and where; empty where nothing was."""
        return "" if self.own and self.published == NO_FIGURE else f"{self.published} ({self.source})"

    @property
    def counted(self) -> str:
        """The verdict in words: how often each came, where they differ."""
        counts = Counter(mark.verdict for mark in self.marks)
        if len(counts) == 1:
            return self.verdict
        return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def forest(rows: Iterable[tuple[str, Row]]) -> dict[str, tuple[ForestLine, ...]]:
    """The claims of (suite, verdict) by their verdict, those that did not hold first."""
    grouped: dict[tuple[str, ...], list[Row]] = {}
    for suite, row in rows:
        grouped.setdefault((suite, *_key(row)), []).append(row)
    lines = [_line(suite, rows_of_claim) for (suite, *_), rows_of_claim in grouped.items()]
    names = [*ORDER, *sorted({line.verdict for line in lines} - set(ORDER))]
    parts = {name: tuple(line for line in lines if line.verdict == name) for name in names}
    return {name: part for name, part in parts.items() if part}


def forest_noun(drawn: Mapping[str, Sequence[ForestLine]], count: int | None = None) -> str:
    """What the claims of a forest are called, as ``noun`` has it; as many as there are unless it is said."""
    lines = [line for part in drawn.values() for line in part]
    total = len(lines) if count is None else count
    return noun([line.own for line in lines], total, len({line.suite for line in lines}))


def noun(made_here: Iterable[bool], count: int, suites: int = 1) -> str:
    """``published claims``; ``claims of this suite`` where nobody published any of them; of both ``claims``."""
    kinds, claims = set(made_here), "claim" if count == 1 else "claims"
    if kinds == {True}:
        return f"{claims} of {'this suite' if suites == 1 else 'these suites'}"
    return claims if True in kinds else f"published {claims}"


def _line(suite: str, rows: Sequence[Row]) -> ForestLine:
    row = rows[0]
    claim = _known().get(_key(row))
    place = None if claim is None else _scale(claim)
    within = None if claim is None or place is None else _within(claim, place)
    marks = tuple(_mark(row, place) for row in rows)
    return ForestLine(
        suite,
        str(row["claim"]),
        f"{row['source']}, {row['row']}",
        str(row["published"]),
        f"{row['quantity']}. Reproduced: {row['margin']}",
        within,
        marks,
        own=row["source"] == OWN,
    )


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What makes a claim another one: a row of verdicts has no id of it."""
    return tuple(str(row[name]) for name in ("claim", "source", "row", "quantity", "margin"))


def _known() -> Mapping[tuple[str, ...], Claim]:
    every = (*claims().values(), *declared())
    return {_key(judge(claim, None).row()): claim for claim in every}


def _scale(claim: Claim) -> Callable[[float], float] | None:
    """From a claim's own unit to the common scale; ``None`` where its range begins at its null value."""
    ends = [end for end in (claim.low, claim.high) if math.isfinite(end)]
    if claim.equivalence:
        middle, edge = sum(ends) / len(ends), max(ends)
    else:
        middle, edge = claim.null, min(ends, key=lambda end: abs(end - claim.null))
    ratio = claim.null == 1 and not claim.equivalence and min(ends) > 0
    unit: Callable[[float], float] = _log if ratio else float
    width = unit(edge) - unit(middle)
    if not width:
        return None
    return lambda value: (unit(value) - unit(middle)) / width


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _within(claim: Claim, place: Callable[[float], float]) -> tuple[float, float]:
    low, high = sorted(place(end) for end in (claim.low, claim.high))
    return clipped(low), clipped(high)


def _mark(row: Row, place: Callable[[float], float] | None) -> ForestMark:
    verdict, impls = str(row["verdict"]), str(row["implementations"])
    ours: Any = row["ours"]
    if ours is None or math.isnan(ours):
        return ForestMark(verdict, "not measured", impls)
    text = f"{_short(ours)} [{_short(row['low'])}, {_short(row['high'])}]"
    if place is None:
        return ForestMark(verdict, text, impls)
    low, high = sorted(place(float(row[name])) for name in ("low", "high"))
    return ForestMark(verdict, text, impls, place(float(ours)), low, high)


def _short(value: float) -> str:
    """Three significant digits, without an exponent for thousands."""
    text = f"{value:.3g}"
    return units.significant(value) if 1e3 <= abs(float(text)) < 1e6 else text  # noqa: PLR2004


def clipped(value: float) -> float:
    """A place on the scale, at its end for what lies beyond."""
    return min(max(value, LEFT), RIGHT)
