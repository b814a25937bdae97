"""`llms.txt` and `llms-full.txt` (llmstxt.org): the pages with a line on each, and all their text in one file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from docutils import nodes
from repository_files import texts
from sphinx import addnodes
from sphinx.application import Sphinx

PAGE = re.compile(r"\]\((?!\w+:|files/)([\w-]+)\.md(?=[)#])")
SENTENCE = re.compile(r"(?<=[.?!])\s")
LONGEST = 220


def noted(app: Sphinx, doctree: nodes.document) -> None:
    """Keep what is said of a page, and its text."""
    name = app.env.docname
    text = PAGE.sub(r"](\1.html", texts(app)[name].replace("](repository:", "](files/"))
    if "```{face} " in text:  # what is written while the site is built, as it is read
        text = doctree.astext()
    _kept(app)[name] = text.partition("\n")[2].strip()


def _kept(app: Sphinx) -> dict[str, str]:
    if not hasattr(app.env, "attnbench_texts"):
        app.env.attnbench_texts = {}  # type: ignore[attr-defined]
    return app.env.attnbench_texts  # type: ignore[attr-defined,no-any-return]


def forget(app: Sphinx, env: Any, docname: str) -> None:
    """A page that is read again, or gone, says nothing."""
    del env
    _kept(app).pop(docname, None)


def groups(app: Sphinx) -> Iterator[tuple[str, list[str]]]:
    """The captions of the front page with their pages, in order; pages below a page follow it."""
    for tree in app.env.get_doctree(app.config.root_doc).findall(addnodes.toctree):
        yield tree["caption"], [name for _, page in tree["entries"] for name in _with_those_below(app, page)]


def _with_those_below(app: Sphinx, page: str) -> Iterator[str]:
    yield page
    for name in app.env.toctree_includes.get(page, []):
        yield from _with_those_below(app, name)


def summary(doctree: nodes.document, titles: Mapping[str, str] = MappingProxyType({})) -> str:
    """The first sentences of a page, as many as fit in a line.

    What stands in tables and figures is none, nor what goes on with a sentence that a block of code began. A link
    without a text of its own is named after its page, by ``titles``.
    """
    for link in list(doctree.findall(addnodes.pending_xref)):
        if not link.astext().strip():
            link.append(nodes.Text(titles.get(link["reftarget"], link["reftarget"])))
    paragraphs = [node for node in doctree.findall(nodes.paragraph) if isinstance(node.parent, nodes.section)]
    prose = [node for node in paragraphs if _begins(node)]
    text = " ".join((prose or paragraphs or [nodes.paragraph()])[0].astext().split())
    line = ""
    for sentence in SENTENCE.split(text):
        if line and len(line) + len(sentence) > LONGEST:
            break
        line = f"{line} {sentence}".strip()
    return (line if len(line) <= LONGEST else f"{line[:LONGEST].rsplit(' ', 1)[0]} …").rstrip(":")


def _begins(paragraph: nodes.paragraph) -> bool:
    """Whether a sentence begins here: with a capital, a name in code, or ours."""
    text = paragraph.astext()
    return not text[:1].islower() or isinstance(paragraph.children[0], nodes.literal) or text.startswith("attnbench ")


def written(app: Sphinx, error: Exception | None) -> None:
    """Write both files beside the pages."""
    if error is not None or app.builder.name != "html":
        return
    kept = _kept(app)
    titles = {name: title.astext() for name, title in app.env.titles.items()}
    lines = {name: summary(app.env.get_doctree(name), titles) for name in kept}
    head = f"# {app.config.project}\n\n> {lines[app.config.root_doc]}\n"
    short, full = [head], [head]
    for caption, names in groups(app):
        short.append(f"\n## {caption}\n\n")
        for name in filter(kept.__contains__, names):
            title, address = titles[name], app.builder.get_target_uri(name)
            short.append(f"- [{title}]({address}): {lines[name]}\n")
            full.append(f"\n# {title}\n\nFrom {address}\n\n{kept[name]}\n")
    (Path(app.outdir) / "llms.txt").write_text("".join(short), "utf-8")
    (Path(app.outdir) / "llms-full.txt").write_text("".join(full), "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Join the build."""
    app.connect("doctree-read", noted)
    app.connect("env-purge-doc", forget)
    app.connect("build-finished", written)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
