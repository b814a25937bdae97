"""Links from a page to a file of the repository hold in the site: the file is shown on a page of its own, or copied.

`[the suite](../suites/heads.py)` leads to `files/suites/heads.py.html`, with the text coloured. What a browser shows
by itself (a page of a report), or what is no text, is copied as it is. `../CONTRIBUTING.md` leads to the page that
shows it. A link to a file that does not exist, or to a folder, is a warning, and so ends a strict build.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from sphinx.application import Sphinx
from sphinx.highlighting import PygmentsBridge
from sphinx.util import logging

LOG = logging.getLogger(__name__)
# Pages whose text is a file at the top of the repository, which is read there too.
TOP = {"contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md", "security": "SECURITY.md"}
AS_PAGE = {name: f"{page}.md" for page, name in TOP.items()} | {"README.md": "index.md"}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)\s#]+)((?:#[^)\s]*)?)(?=\))")
# A link that is named after its file; in the site it is named after the page, or the part of it, that it leads to.
FILE_NAME = re.compile(r"\[[\w/-]+\.md\](?=\((?!https?:)[^)\s#]+\.md[)#])")
# Code, in blocks and in lines.
FENCE = re.compile(r"^(```+|~~~+).*?^\1[ \t]*$|(?<!`)(`+)(?!`)(?:(?!\n\n).)+?(?<!`)\2(?!`)", re.MULTILINE | re.DOTALL)
# What is shown as text, and by which rules it is coloured; every other file is copied.
LANGUAGES = {".py": "python", ".toml": "toml", ".json": "json", ".md": "markdown", ".css": "css", ".js": "javascript"}
LANGUAGES |= {".ini": "ini", ".csv": "text", ".txt": "text", ".yml": "yaml", "": "text"}


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Turn the links of a page, and of a file that is shown as a page, into links of the site."""
    docs = Path(app.srcdir)
    folder, text = docs, source[0]
    if docname in TOP:
        file = docs.parent / TOP[docname]
        folder, text = docs.parent, file.read_text("utf-8")
        app.env.note_dependency(str(file))

    linked_text = _outside_code(text, lambda prose: LINK.sub(lambda link: _target(app, docname, folder, link), prose))
    texts(app)[docname] = linked_text
    source[0] = FILE_NAME.sub("[]", linked_text)


def _outside_code(text: str, change: Any) -> str:
    """The text with everything but its code changed."""
    parts, start = [], 0
    for block in FENCE.finditer(text):
        parts += [change(text[start : block.start()]), block[0]]
        start = block.end()
    return "".join([*parts, change(text[start:])])


def _target(app: Sphinx, docname: str, folder: Path, link: re.Match[str]) -> str:
    docs = Path(app.srcdir)
    file = (folder / unquote(link[1].strip("<>"))).resolve()
    if file.is_relative_to(docs) and file.suffix in (".md", ".png", ".svg"):
        return f"{file.relative_to(docs).as_posix()}{link[2]}"
    if (page := file / "README.md").is_file():  # what a folder shows
        file = page
    if not file.is_relative_to(docs.parent):
        LOG.warning("the link %s leads out of the repository", link[1], location=docname)
        return str(link[0])
    path = file.relative_to(docs.parent).as_posix()
    if path in AS_PAGE:
        return f"{AS_PAGE[path]}{link[2]}"
    if not file.is_file():
        what = "a folder; link to a file in it" if file.is_dir() else "no file of the repository"
        LOG.warning("the link %s leads to %s", link[1], what, location=docname)
        return str(link[0])
    linked(app).setdefault(docname, set()).add(path)
    return f"repository:{quote(path)}{'.html' if file.suffix in LANGUAGES else ''}"


def linked(app: Sphinx) -> dict[str, set[str]]:
    """The files that each page links to."""
    if not hasattr(app.env, "attnbench_files"):
        app.env.attnbench_files = {}  # type: ignore[attr-defined]
    return app.env.attnbench_files  # type: ignore[attr-defined,no-any-return]


def texts(app: Sphinx) -> dict[str, str]:
    """The text of each page, with links to files as ``repository:...`` and to pages as ``NAME.md``."""
    if not hasattr(app.env, "attnbench_sources"):
        app.env.attnbench_sources = {}  # type: ignore[attr-defined]
    return app.env.attnbench_sources  # type: ignore[attr-defined,no-any-return]


def forget(app: Sphinx, env: Any, docname: str) -> None:
    """A page that is read again, or gone, links to nothing."""
    del env
    linked(app).pop(docname, None)
    texts(app).pop(docname, None)


def files(app: Sphinx) -> list[str]:
    """All files that are linked to."""
    return sorted(set().union(*linked(app).values()))


def shown(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The pages of texts."""
    bridge: PygmentsBridge = app.builder.highlighter  # type: ignore[attr-defined]
    for path in files(app):
        if Path(path).suffix in LANGUAGES:
            text = (Path(app.srcdir).parent / path).read_text("utf-8")
            body = bridge.highlight_block(text, LANGUAGES[Path(path).suffix], linenos=False)
            yield f"files/{path}", {"title": path, "body": f"<h1>{escape(path)}</h1>{body}"}, "page.html"


def copied(app: Sphinx, error: Exception | None) -> None:
    """Copy what is not shown as text."""
    if error is None and app.builder.format == "html":
        for path in files(app):
            if Path(path).suffix not in LANGUAGES:
                file, to = Path(app.srcdir).parent / path, Path(app.outdir) / "files" / path
                if file.suffix == ".html" and "/" in path:  # what it links to lies beside it
                    shutil.copytree(file.parent, to.parent, dirs_exist_ok=True)
                else:
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, to)


def setup(app: Sphinx) -> dict[str, bool]:
    """Join the build."""
    app.connect("source-read", read)
    app.connect("env-purge-doc", forget)
    app.connect("html-collect-pages", shown)
    app.connect("build-finished", copied)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
