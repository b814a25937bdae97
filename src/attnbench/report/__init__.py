"""Showing what was seen: tables, figures, the page. ``write_report`` writes it all; ``render`` is for a terminal."""

from attnbench.report.console import render, wants_colour
from attnbench.report.tables import failures_table, metrics_tables, timing_tables, verdict_table
from attnbench.report.write import write_report

__all__ = [
    "failures_table",
    "metrics_tables",
    "render",
    "timing_tables",
    "verdict_table",
    "wants_colour",
    "write_report",
]
