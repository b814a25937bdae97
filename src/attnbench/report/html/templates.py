"""How templates are read, of the page and of Markdown: every text is escaped, and only our own drawings are not."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.report.figures import DrawnFigure
from attnbench.report.html.plots import interval_plot
from attnbench.show.table import visible

if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).parent


@cache
def environment() -> jinja2.Environment:
    """The templates' environment: HTML is escaped, Markdown is not, an unknown name is an error."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([FOLDER, FOLDER.parent]),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(inline=inline, code=code, breakable=breakable, cell=cell, interval_plot=interval_plot)
    return made


def inline(figure: DrawnFigure) -> Any:
    """A figure's SVG as markup; its texts were escaped by the one who drew it."""
    from markupsafe import Markup

    return Markup(figure.svg)  # noqa: S704  (drawn by matplotlib, see show.svg)


def code(text: str) -> Any:
    """Escaped text in which `words between backticks` are code, as suites write their questions and methods."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  (escaped just here)


def breakable(text: str) -> Any:
    """Escaped text that a narrow column may break behind the library of an implementation's name."""
    from markupsafe import Markup, escape

    return Markup(str(escape(text)).replace("/", "/<wbr>"))  # noqa: S704  (escaped just here)


def cell(text: str) -> str:
    """Text in a cell of a Markdown table."""
    return visible(text.replace("\n", " ")).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
