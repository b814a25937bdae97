"""Showing what was seen: tables, figures, the page. ``write_report`` writes it all; ``render`` is for a terminal.

In reading order: ``tables`` (rows for people), ``claimed`` (claims and their verdicts), ``findings`` (answers of a
suite), ``palette``, ``defaults``, ``drawing`` and ``figures`` (seaborn), ``content`` (what the page shows, in its
order), ``page`` and ``markdown`` (the page, and the same as text), ``write`` (files), ``console`` (a terminal),
``history``.
"""

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
