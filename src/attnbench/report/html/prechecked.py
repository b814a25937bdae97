"""The page of ``attnbench precheck``: its tables and its faults in the looks of a report, with no script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnbench.report.html.page import STYLESHEET
from attnbench.report.html.templates import FOLDER, environment

TEMPLATE = "prechecked.html.j2"
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'"


def prechecked_page(
    lead: str, archs: Sequence[str], tables: Sequence[Any], remarks: Sequence[tuple[str, Sequence[str]]]
) -> str:
    """One HTML document. A table has a ``title``, ``heads``, ``rows`` of texts and ``marks``, a word for each row."""
    from importlib.metadata import version

    from markupsafe import Markup

    words = {"lead": lead, "archs": archs, "tables": tables, "remarks": remarks, "policy": POLICY}
    style = Markup((FOLDER / STYLESHEET).read_text(encoding="utf-8"))  # noqa: S704  (our own file)
    return environment().get_template(TEMPLATE).render(**words, style=style, version=version("attnbench"))
