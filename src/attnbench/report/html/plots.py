"""The small drawings of a page: the interval of a claim on the scale of the forest."""

from __future__ import annotations

from typing import Any

from attnbench.report.glance.forest import LEFT, RIGHT, ForestLine, ForestMark, clipped

WIDTH, HEIGHT, MARGIN = 240, 14, 8


def _x(value: float) -> str:
    """Where a place of the scale is drawn."""
    share = (clipped(value) - LEFT) / (RIGHT - LEFT)
    return f"{MARGIN + share * (WIDTH - 2 * MARGIN):.1f}"


def interval_plot(line: ForestLine) -> Any:
    """The marks of a claim below each other; the numbers stand beside it, so that it is hidden from screen readers."""
    from markupsafe import Markup

    height = max(len(line.marks), 1) * HEIGHT
    parts = [_range(line, height), _rule(0, height, "null")]
    parts += [_mark(mark, (place + 0.5) * HEIGHT) for place, mark in enumerate(line.marks) if mark.middle is not None]
    head = f'<svg class="interval" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" aria-hidden="true">'
    return Markup(f"{head}{''.join(parts)}</svg>")  # noqa: S704  (numbers and our own words alone)


def _range(line: ForestLine, height: int) -> str:
    if line.within is None:
        return ""
    low, high = map(_x, line.within)
    return f'<rect class="within" x="{low}" y="0" width="{float(high) - float(low):.1f}" height="{height}"/>'


def _rule(value: float, height: int, kind: str) -> str:
    return f'<line class="{kind}" x1="{_x(value)}" x2="{_x(value)}" y1="0" y2="{height}"/>'


def _mark(mark: ForestMark, y: float) -> str:
    """An interval with its estimate; an arrow where it goes beyond the scale."""
    low, high, middle = _x(mark.low), _x(mark.high), _x(mark.middle or 0.0)
    kind = mark.verdict.replace(" ", "-")
    arrows = [_arrow(float(low), y, -1)] if mark.low < LEFT else []
    arrows += [_arrow(float(high), y, 1)] if mark.high > RIGHT else []
    beyond = not LEFT <= (mark.middle or 0.0) <= RIGHT
    dot = "" if beyond else f'<circle cx="{middle}" cy="{y}" r="3.2"/>'
    return f'<g class="{kind}"><line x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>{"".join(arrows)}{dot}</g>'


def _arrow(x: float, y: float, direction: int) -> str:
    return f'<path d="M{x + 6 * direction:.1f} {y}l{-7 * direction} -4v8z"/>'
