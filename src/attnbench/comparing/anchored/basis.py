"""What one cell is judged by in two runs: its ratio to the anchor where both have the same one, else its raw times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Literal

from attnbench.comparing.runs import SavedRun, none
from attnbench.comparing.statistics import process_level
from attnbench.results.summary import Bursts, too_few_beside

By = Literal["anchor", "raw"]
# The columns of a row that make an anchor this anchor, with their names for people.
MADE_OF = {"anchor": "anchor", "anchor_library": "what computes the anchor"}
NEVER = "it is not recorded that there was one"


@dataclass(frozen=True)
class Basis:
    """What a cell is judged by. ``base`` and ``head`` are ratios to the anchor, or seconds where ``by`` is ``raw``.

    ``why_raw`` says why there are no ratios, ``moved`` what the anchor itself took in HEAD over BASE, ``unlike`` what
    makes the two anchors incomparable, ``busy`` the sides in which the anchor was disturbed beside most bursts.
    ``anchors`` are the logarithms of the anchor's own levels; ``thin``: both have the anchor, and not beside enough
    bursts.
    """

    base: Bursts
    head: Bursts
    by: By = "raw"
    why_raw: str | None = None
    moved: float | None = None
    unlike: str | None = None
    busy: tuple[str, ...] = ()
    anchors: tuple[float | None, float | None] = (None, None)
    thin: bool = False


def basis(base: SavedRun, head: SavedRun, left: Mapping[str, Any], right: Mapping[str, Any]) -> Basis:
    """What the rows ``left`` of ``base`` and ``right`` of ``head`` are judged by."""
    sides = (("BASE", base, left), ("HEAD", head, right))
    first, second = (run.bursts(row["cell_id"], row["cache"]) for _, run, row in sides)
    raw = Basis(first, second)
    without = [f"{side} has no anchor ({_why(row)})" for side, _, row in sides if none(row.get("anchor")) is None]
    if without:
        return replace(raw, why_raw="; ".join(without))
    if (reason := unlike_anchors(left, right)) is not None:
        return replace(raw, unlike=reason)
    ratios = [run.ratios(row) for _, run, row in sides]
    pairs = list(zip(sides, ratios, (first, second), strict=True))
    lost = [f"{side} ({reason})" for (side, _, row), r, all_ in pairs if (reason := _lost(row, r, all_)) is not None]
    if lost:
        return replace(raw, why_raw=f"the anchor is missing beside most bursts in {', '.join(lost)}", thin=True)
    busy = [side for (side, *_), r, all_ in pairs if _mostly_missing(r, all_)]
    if busy:
        return replace(raw, busy=tuple(busy))
    few = [f"in {side} {reason}" for (side, *_), r in zip(sides, ratios, strict=True) if (reason := too_few_beside(r))]
    if few:
        return replace(raw, why_raw="; ".join(few), thin=True)
    beside = [run.anchor_bursts(row) for _, run, row in sides]
    moved = median(beside[1].values) / median(beside[0].values)
    levels = process_level(beside[0]), process_level(beside[1])
    return Basis(ratios[0], ratios[1], by="anchor", moved=moved, anchors=levels)


def _mostly_missing(ratios: Bursts, all_: Bursts) -> bool:
    return 2 * ratios.n < all_.n


def _lost(row: Mapping[str, Any], ratios: Bursts, all_: Bursts) -> str | None:
    """Why most bursts have no anchor, where that is not that it was disturbed."""
    reason = none(row.get("anchor_reason"))
    disturbed = reason in (None, too_few_beside(ratios))
    return None if disturbed or not _mostly_missing(ratios, all_) else str(reason)


def unlike_anchors(left: Mapping[str, Any], right: Mapping[str, Any]) -> str | None:
    """What makes the anchors of two rows incomparable, by name and values; ``None`` where they are the same."""
    for column, name in MADE_OF.items():
        if left[column] != right[column]:
            return f"{name} differs: {left[column]} in BASE, {right[column]} in HEAD"
    return None


def _why(row: Mapping[str, Any]) -> str:
    return str(none(row.get("anchor_reason")) or NEVER)
