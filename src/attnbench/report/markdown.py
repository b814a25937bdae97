"""The report as Markdown, for pull requests and terminals; the figures are the files beside it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attnbench.report.glance.spread import grid_tables, legend
from attnbench.report.html.templates import environment

if TYPE_CHECKING:
    from attnbench.report.content import Report

TEMPLATE = "report.md.j2"


def markdown(report: Report) -> str:
    """The report as one Markdown document."""
    answers = {id(section): list(grid_tables(section.grid)) for section in report.sections if section.grid is not None}
    text = environment().get_template(TEMPLATE).render(report=report, answers=answers, legend=legend, key=id)
    return re.sub(r"\n{3,}", "\n\n", text)
