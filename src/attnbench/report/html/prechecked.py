"""The page of ``attnbench precheck``, and those of a day: tables in the looks of a report, no script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnbench.report.html.page import STYLESHEET
from attnbench.report.html.templates import FOLDER, environment

TEMPLATE = "prechecked.html.j2"
NO_GPU = "No kernel ran on a GPU for this page: it says nothing of speed, and races within one program are not seen."
FLOORS = (
    "A floor is the least time that the peaks of the data sheet leave a case. Hot calls and graphs may find their "
    "bytes in the cache: only operations bound them."
)
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'"


def prechecked_page(
    lead: str, archs: Sequence[str], tables: Sequence[Any], remarks: Sequence[tuple[str, Sequence[str]]]
) -> str:
    """One HTML document. A table has a ``title``, ``heads``, ``rows`` of texts and ``marks``, a word for each row."""
    return _page("Precheck", "Kernels for a GPU, checked without one", ", ".join(archs), NO_GPU, lead, tables, remarks)


def compared_page(
    lead: str, gpu: str | None, tables: Sequence[Any], remarks: Sequence[tuple[str, Sequence[str]]]
) -> str:
    """The same for what a day on a GPU was predicted, and what was seen there."""
    title = "What was predicted, and what was seen"
    return _page("Predictions", title, gpu or "a device without a data sheet", FLOORS, lead, tables, remarks)


def day_page(
    lead: str,
    note: str,
    device: str,
    tables: Sequence[Any],
    wrong: Sequence[str],
    links: Sequence[tuple[str, str]],
) -> str:
    """The same for a day: what ran, the fastest kernels, what is wrong; ``links`` are addresses and their words."""
    remarks = [("What is wrong, or missing", wrong or ["nothing that was seen"])]
    return _page("A day of the GPU", "A day of the GPU", device, note, lead, tables, remarks, links)


def _page(
    name: str,
    title: str,
    subject: str,
    note: str,
    lead: str,
    tables: Sequence[Any],
    remarks: Sequence[tuple[str, Sequence[str]]],
    links: Sequence[tuple[str, str]] = (),
) -> str:
    from importlib.metadata import version

    from markupsafe import Markup

    words = {"name": name, "title": title, "subject": subject, "note": note, "lead": lead, "tables": tables}
    words |= {"remarks": remarks, "links": links, "policy": POLICY}
    style = Markup((FOLDER / STYLESHEET).read_text(encoding="utf-8"))  # noqa: S704  (our own file)
    return environment().get_template(TEMPLATE).render(**words, style=style, version=version("attnbench"))
