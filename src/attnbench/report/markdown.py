"""The report as Markdown, for pull requests and terminals; the figures are the files beside it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attnbench.report.html.templates import environment

if TYPE_CHECKING:
    from attnbench.report.content import Report

TEMPLATE = "report.md.j2"


def markdown(report: Report) -> str:
    """The report as one Markdown document."""
    text = environment().get_template(TEMPLATE).render(report=report)
    return re.sub(r"\n{3,}", "\n\n", text)
