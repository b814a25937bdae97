"""The HTML page: one file, offline, with its data and one script inside, which may run and nothing else may."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from attnbench.report.html.embedded import embedded
from attnbench.report.html.templates import FOLDER, environment

if TYPE_CHECKING:
    from attnbench.report.content import Report

TEMPLATE, STYLESHEET, SCRIPT = "page.html.j2", "page.css", "page.js"


def page(report: Report) -> str:
    """The report as one HTML document."""
    from markupsafe import Markup

    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in (STYLESHEET, SCRIPT))
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            report=report,
            style=Markup(style),  # noqa: S704  (our own file)
            script=Markup(script),  # noqa: S704  (our own file)
            policy=policy(script),
            data=Markup(embedded(report.data)),  # noqa: S704  (escaped by embedded)
        )
    )


def policy(script: str) -> str:
    """What a browser may do with the page: run this script, draw, and ask for nothing."""
    digest = base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode()
    allowed = f"style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    return f"default-src 'none'; base-uri 'none'; form-action 'none'; {allowed}"
