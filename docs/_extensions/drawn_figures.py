"""Figures that stand in a page as text are drawn when the site is built: `flowchart TD` with lines `a --> b & c`.

Graphviz lays them out (`pygraphviz` brings it). The figure takes the colour of the text, so that it can be read on a
light and on a dark page. A line of any other form is an error: nothing is left out of a figure in silence.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

HEAD = "flowchart TD"
LINE = re.compile(r"(\w+)(?: --> (\w+(?: & \w+)*))?")
INK = "#010203"


def arrows(lines: list[str]) -> dict[str, list[str]]:
    """Where the arrows of a figure lead, by where they begin; ``ValueError`` says which line is none."""
    if not lines or lines[0].strip() != HEAD:
        msg = f"a figure begins with {HEAD!r}, and this one with {lines[0] if lines else ''!r}"
        raise ValueError(msg)
    drawn: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, lines[1:])):
        match = LINE.fullmatch(line)
        if match is None:
            msg = f"a line of a figure is 'a --> b & c' or 'a', and this one is {line!r}"
            raise ValueError(msg)
        drawn.setdefault(match[1], []).extend(match[2].split(" & ") if match[2] else [])
    if not drawn:
        msg = "a figure has a line at least, such as 'a --> b'"
        raise ValueError(msg)
    return drawn


def svg(drawn: dict[str, list[str]]) -> str:
    """The figure as SVG, to stand in a page."""
    import pygraphviz

    graph = pygraphviz.AGraph(directed=True, bgcolor="transparent", nodesep="0.15", ranksep="0.35")
    graph.node_attr.update(shape="box", style="rounded", fontname="Helvetica", fontsize="12", height="0.3")
    graph.node_attr.update(color=INK, fontcolor=INK, margin="0.08,0.03")
    graph.edge_attr.update(color=INK, arrowsize="0.6")
    graph.add_nodes_from(drawn)
    graph.add_edges_from((start, end) for start, ends in drawn.items() for end in ends)
    text = graph.draw(format="svg", prog="dot").decode()
    text = re.sub(r"<!--.*?-->|<title>.*?</title>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = text.replace(INK, "currentColor").replace("Helvetica,sans-Serif", "inherit")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(words(drawn))}"', 1)


def words(drawn: dict[str, list[str]]) -> str:
    """What the figure shows, for those who hear it."""
    lines = [f"{start} to {', '.join(ends)}" for start, ends in drawn.items() if ends]
    return f"A figure of arrows: {'; '.join(lines)}."


class DrawnFigure(Directive):
    """A block of the language ``mermaid``."""

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """The figure, in a box that scrolls where the window is narrow."""
        try:
            drawn = arrows(list(self.content))
        except ValueError as error:
            return [self.state.document.reporter.error(str(error), line=self.lineno)]
        box = f'<div class="drawn-figure" tabindex="0">{svg(drawn)}</div>'
        return [nodes.raw("", box, format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Join the build."""
    app.add_directive("mermaid", DrawnFigure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
