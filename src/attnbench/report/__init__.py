"""Showing what was seen: tables, figures, the page. ``write_report`` writes it all; ``render`` makes them text.

In reading order: ``tables`` (rows for people), ``claimed`` (claims and their verdicts), ``findings`` (answers of a
suite), ``palette``, ``defaults``, ``drawn`` (lines, bars or points, and ticks), ``drawing``, ``maps`` and ``figures``
(seaborn), ``glance`` (what stands first: the answer), ``content`` (what there is to show), ``html`` (the page) and
``markdown`` (the same as text, in the order of ``report.md.j2``), ``write`` (files), ``exports`` (a run in the
formats of papers and spreadsheets), ``console`` (tables on a terminal or in a pipe), ``terminal`` (the answer there),
``history``.
"""

from attnbench.report.console import render, render_all
from attnbench.report.tables import failures_table, metrics_tables, timing_tables, verdict_table
from attnbench.report.write import write_report

__all__ = [
    "failures_table",
    "metrics_tables",
    "render",
    "render_all",
    "timing_tables",
    "verdict_table",
    "write_report",
]
