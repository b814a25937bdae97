"""Two headings of a page that say the same are a warning: where a link leads would depend on their order."""

from __future__ import annotations

from collections import Counter

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

LOG = logging.getLogger(__name__)


def checked(app: Sphinx, doctree: nodes.document) -> None:
    """Warn of each heading that is there twice."""
    titles = Counter(
        title.astext() for title in doctree.findall(nodes.title) if isinstance(title.parent, nodes.section)
    )
    for title, count in titles.items():
        if count > 1:
            LOG.warning("the heading %r is there %d times", title, count, location=app.env.docname)


def setup(app: Sphinx) -> dict[str, bool]:
    """Join the build."""
    app.connect("doctree-read", checked)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
