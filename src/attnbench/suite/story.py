"""What a suite says: its question, what was found, what became of published claims, and its figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from attnbench.keywords import explained

# What stands in the place of a verdict where only the few levels of a smoke run were measured.
NOT_JUDGED = "not judged: smoke levels"

Frame = Any  # a pandas DataFrame; the suites and the harness's core import no pandas


@explained
@dataclass(frozen=True)
class Figure:
    """One figure, as data: what stands on its axes. ``report`` draws it with seaborn from the suite's frame.

    ``kind``: ``line``, ``bar``, ``strip`` or ``heat`` (then ``hue`` is the value in the cells and ``y`` the rows;
    ``x_text`` and ``y_text`` are columns with what is written at a place, where that is not the place itself), or
    ``map`` (a heat map of the ratio of two implementations, with the boundary: the columns of ``analysis.maps``).
    ``guide`` draws y = factor · x^power as a dashed line with a label: (factor, power, label). ``data`` changes the
    frame before drawing (a filter, a derived column).
    """

    name: str
    title: str
    x: str
    y: str
    hue: str | None = None
    style: str | None = None
    col: str | None = None
    row: str | None = None
    kind: str = "line"
    log_x: bool = False
    log_y: bool = False
    x_label: str | None = None
    y_label: str | None = None
    x_text: str | None = None
    y_text: str | None = None
    guide: tuple[float, float, str] | None = None
    data: Callable[[Frame], Frame] | None = None
    caption: str = ""


@explained
@dataclass(frozen=True, kw_only=True)
class Story:
    """What a report says of a suite, from its question to its limits; all but the question may be left out.

    ``method`` says how the question was asked, ``limits`` what the suite does not show. ``findings(frame)`` returns
    sentences that say what was found, from the frame alone. ``claims(frame)`` returns the verdicts on published claims
    (``attnbench.analysis.claims.ClaimVerdict``), which a report shows as a table: they are worked out once in a run,
    and no finding repeats them. Where the first finding ``leads``, it answers the suite as a whole, and stands first on
    the page. Without ``findings`` or ``figures`` a report has those that any timed suite allows.
    """

    question: str
    method: str = ""
    findings: Callable[[Frame], list[str]] | None = None
    claims: Callable[[Frame], list[Any]] | None = None
    figures: tuple[Figure, ...] = ()
    limits: str = ""
    leads: bool = False
