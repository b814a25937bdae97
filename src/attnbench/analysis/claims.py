"""Claims of papers, and the verdict on each: what was published, what was seen here, and how the two compare.

The claims stand in ``anchors.toml``, with where they were read and with the margin that was fixed before measuring.
A verdict is a function of the claim and of an interval, nothing else.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from attnbench.analysis.frames import measured
from attnbench.errors import UsageError, suggest

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.analysis.intervals import Interval

REPRODUCED = "reproduced"
DIRECTION_ONLY = "direction only"
NOT_DETECTED = "not detected"
CONTRADICTED = "contradicted"
OUT_OF_SCOPE = "out of scope"
ALPHA = 0.05
OWN = "this suite"  # the source of a claim that a suite makes itself
NO_FIGURE = "no figure"  # what is published of a claim of one's own, unless it is said
# Claims that no paper makes, but a suite of one's own; in the order in which they were judged.
_DECLARED: dict[Claim, None] = {}
VERDICTS = (REPRODUCED, DIRECTION_ONLY, NOT_DETECTED, CONTRADICTED, OUT_OF_SCOPE)


@dataclass(frozen=True)
class Claim:
    """A published claim about one number.

    ``claim`` in words, ``source`` and ``row`` where it was read, ``published`` the effect as printed there.
    ``quantity`` is what we measure; it is reproduced between ``low`` and ``high`` (published figure and margin, or a
    threshold where the paper gives no figure), and ``null`` is what it would be without the effect. ``equivalence``:
    the claim is that there is no difference worth the name, and low..high is the margin within which that holds.
    """

    id: str
    claim: str
    source: str
    row: str
    published: str
    quantity: str
    null: float
    low: float = -math.inf
    high: float = math.inf
    equivalence: bool = False

    @property
    def margin(self) -> str:
        """The range that counts as reproduced, in words."""
        if math.isinf(self.low):
            return f"at most {self.high:g}"
        if math.isinf(self.high):
            return f"at least {self.low:g}"
        return f"{self.low:g} to {self.high:g}"

    @property
    def above(self) -> bool:
        """Whether the effect lies above the null value."""
        middle = (
            self.high if math.isinf(self.low) else self.low if math.isinf(self.high) else (self.low + self.high) / 2
        )
        return middle > self.null


@dataclass(frozen=True)
class ClaimVerdict:
    """One row of a report's table of claims; ``ours`` is ``None`` where nothing was measured.

    ``p`` is that of an exact test, adjusted for its family; ``None`` where the interval alone decides.
    """

    claim: Claim
    ours: Interval | None
    verdict: str
    implementations: tuple[str, ...] = ()
    p: float | None = None

    def row(self) -> dict[str, str | int | float | None]:
        """The row by column, ready for a frame."""
        ours = self.ours
        return {
            "claim": self.claim.claim,
            "source": self.claim.source,
            "row": self.claim.row,
            "published": self.claim.published,
            "quantity": self.claim.quantity,
            "ours": None if ours is None else ours.value,
            "low": None if ours is None else ours.low,
            "high": None if ours is None else ours.high,
            "n_seeds": None if ours is None else ours.n,
            "p": self.p,
            "margin": self.claim.margin,
            "verdict": self.verdict,
            "implementations": ", ".join(self.implementations),
        }


def expectation(
    claim: str,
    quantity: str,
    *,
    null: float = 0.0,
    low: float = -math.inf,
    high: float = math.inf,
    equivalence: bool = False,
    source: str = OWN,
    row: str = "its own expectation",
    published: str = NO_FIGURE,
) -> Claim:
    """A claim of one's own, to be judged as published ones are: fixed before anything is measured.

    ``claim`` says in words what is expected, and ``quantity`` what is measured for it. It holds between ``low`` and
    ``high``, of which one may be left out, and ``null`` is what would be measured without the effect; with
    ``equivalence`` the claim is that there is none beyond ``low`` and ``high``. ``source``, ``row`` and ``published``
    say where it comes from. Raises ``UsageError`` for a claim without words, and for a range that holds nothing.
    """
    if not claim or not quantity:
        msg = f"a claim says in words what is expected, and what is measured for it; got {claim!r} and {quantity!r}"
        raise UsageError(msg)
    ends = math.isfinite(low) + math.isfinite(high)
    if not low < high or not math.isfinite(null) or not ends or (equivalence and ends == 1):
        which = "two finite ends" if equivalence else "a finite end, such as low=0.05"
        msg = f"claim {claim!r} holds from low to high, low below high, with {which}; got {low} to {high}, null {null}"
        raise UsageError(msg)
    return Claim(claim, claim, source, row, published, quantity, null, low, high, equivalence)


def declared() -> tuple[Claim, ...]:
    """The claims of suites of one's own that were judged in this process."""
    return tuple(_DECLARED)


@cache
def claims() -> dict[str, Claim]:
    """Every published claim by its id, from ``anchors.toml``."""
    text = files("attnbench.analysis").joinpath("anchors.toml").read_text(encoding="utf-8")
    return {key: Claim(id=key, **fields) for key, fields in tomllib.loads(text).items()}


def claim_of(claim: str | Claim) -> Claim:
    """A claim by its id in ``anchors.toml``, or a suite's own; ``UsageError`` for an id that is not there."""
    if isinstance(claim, Claim):
        _DECLARED[claim] = None
        return claim
    known = claims()
    if claim not in known:
        msg = f"unknown claim {claim!r}; there are {', '.join(known)}{suggest(claim, known)}"
        raise UsageError(msg)
    return known[claim]


def judge(
    claim_id: str | Claim, ours: Interval | None, implementations: tuple[str, ...] = (), p: float | None = None
) -> ClaimVerdict:
    """Hold an interval against a claim, and the p of its test where there is one.

    *reproduced*: the whole interval lies in the claim's range. *direction only*: it lies on the claim's side of the
    null value. *not detected*: it holds the null value. *contradicted*: it lies on the other side. *out of scope*:
    nothing was measured. A p above .05 is *not detected* whatever the interval; a claim of equivalence is *reproduced*
    by a p of equivalence up to .05, and *contradicted* by an interval wholly outside its margin. Raises
    ``UsageError`` for a claim that is not in ``anchors.toml``; a suite's own one (``expectation``) is given itself.
    """
    claim = claim_of(claim_id)
    return ClaimVerdict(claim, ours, _verdict(claim, ours, p), implementations, p)


def _verdict(claim: Claim, ours: Interval | None, p: float | None) -> str:
    if ours is None or math.isnan(ours.value):
        return OUT_OF_SCOPE
    if claim.equivalence:
        outside = ours.high < claim.low or ours.low > claim.high
        return REPRODUCED if p is not None and p <= ALPHA else CONTRADICTED if outside else NOT_DETECTED
    if p is not None and p > ALPHA:
        return NOT_DETECTED
    if claim.low <= ours.low and ours.high <= claim.high:
        return REPRODUCED
    if ours.low <= claim.null <= ours.high:
        return NOT_DETECTED
    return DIRECTION_ONLY if (ours.low > claim.null) == claim.above else CONTRADICTED


def judge_each(
    frame: pd.DataFrame, claim_id: str | Claim, quantity: Callable[[pd.DataFrame], Interval | None]
) -> list[ClaimVerdict]:
    """Judge every implementation's rows; those with the same verdict on the same numbers share one row."""
    shared: dict[tuple[str, ...], list[str]] = {}
    seen: dict[tuple[str, ...], Interval | None] = {}
    for name, rows in measured(frame).groupby("impl", sort=False):
        ours = quantity(rows)
        numbers = () if ours is None else (f"{ours.value:.6g}", f"{ours.low:.4g}", f"{ours.high:.4g}")
        shared.setdefault(numbers, []).append(str(name))
        seen.setdefault(numbers, ours)
    if not shared:
        return [judge(claim_id, None)]
    return [judge(claim_id, seen[numbers], tuple(names)) for numbers, names in shared.items()]
