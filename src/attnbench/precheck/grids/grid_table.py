"""Launches of a suite's cases as texts: a line for each launch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnbench.precheck.grids.suite_grids import PART
from attnbench.precheck.rows import PartRow

HEADS = ("implementation", "case", "kernel", "grid", "programs", "on each SM", "waves", "last wave")
NOT_KNOWN = "–"


def grid_lines(parts: Sequence[PartRow]) -> tuple[list[list[str]], list[str]]:
    """The lines, and for each whether something is wrong with it (``failed``)."""
    lines, marks = [], []
    for row in parts:
        for case in row.detail.get("cases", ()) if row.part == PART else ():
            for launch in case["launches"]:
                lines.append([row.impl, case["label"], *_of_launch(launch)])
                marks.append("failed" if launch["faults"] else "")
    return lines, marks


def _of_launch(launch: dict[str, Any]) -> list[str]:
    grid = " × ".join(f"{n:,}" for n in launch["grid"])
    last = NOT_KNOWN if launch["last_wave"] is None else f"{launch['last_wave']:.0%} full"
    counts = [NOT_KNOWN if n is None else f"{n:,}" for n in (launch["per_multiprocessor"], launch["waves"])]
    return [launch["kernel"], grid, f"{launch['programs']:,}", *counts, last]
