"""A block `{face} MODULE` in a page: every public name of a module, with its signature, its types and its docstring.

A name is explained where it appears first, on the first face that has it; the others link there. The names are those
of ``__all__``, or else the classes and functions that the module defines itself. Nothing is skipped: a module that
cannot be imported, and a name without a docstring, are warnings, and so end a strict build.

Docstrings here are plain text with ``code`` in it, and are taken as that: a star is a star, and lines that are indented
further than the text are code.
"""

from __future__ import annotations

import builtins
import dataclasses
import importlib
import inspect
import re
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.inspect import stringify_signature
from sphinx.util.nodes import make_refnode

import attnbench

LOG = logging.getLogger(__name__)
BLOCK = re.compile(r"^```\{face\} (\S+)\n```$", re.MULTILINE)
# The faces in the order in which their names are explained; each is a block of this kind in a page python*.md.
FACES = ("attnbench", "attnbench.api", "attnbench.api.backends", "attnbench.api.suites", "attnbench.testing")
# Names for a type, which have no docstring of their own.
TYPES = {
    "Array": "A NumPy array of any shape and dtype.",
    "Frame": "A pandas frame.",
    "Model": "What can be trained: ``Retrieval`` or ``EncoderDecoder``.",
}
# What stands in signatures and is explained by its owner, or in python.md under "How types are written".
OTHERS = re.compile(
    r"(numpy|np|pd|pandas|collections|contextlib|os|pathlib|typing|types|re|argparse|datetime|enum)\..*"
)
SHORT = {"Array", "Arrays", "Bool", "Duration", "Files", "Float", "Int", "Levels", "Needs", "Note", "Path", "PathLike"}
SHORT |= {"Names", "Runs", "Scale", "SearchStrategy", "Shaped", "Words", "Self", "Scalar"}
ARRAY = re.compile(r"(~?numpy\.)?ndarray\[(~?typing\.)?Any, (~?numpy\.)?dtype\[(~?typing\.)?Any\]\]")
CODE = re.compile(r"(``.+?``)", re.DOTALL)


def public(module: types.ModuleType) -> list[str]:
    """The public names of a module; texts and numbers such as ``__version__`` are none."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return [name for name in listed if not isinstance(getattr(module, name), str | int | float | tuple)]
    defined = (
        (name, value) for name, value in vars(module).items() if inspect.isclass(value) or inspect.isroutine(value)
    )
    return [name for name, value in defined if value.__module__ == module.__name__ and not name.startswith("_")]


def names(face: str) -> Iterator[tuple[str, Any]]:
    """What a face has, and what is in the modules that it has, by their paths from the face on."""
    module = importlib.import_module(face)
    for name in public(module):
        value = getattr(module, name)
        yield name, value
        if isinstance(value, types.ModuleType):
            yield from ((f"{name}.{part}", getattr(value, part)) for part in public(value))


@cache
def _names(face: str) -> tuple[tuple[str, Any], ...]:
    return tuple(names(face))


def explained_at(value: Any, face: str) -> str:
    """The path under which an object is explained: the first one there is, on a face before its modules."""
    for other in (*FACES, face):
        paths = sorted((path for path, known in _names(other) if known is value), key=lambda path: path.count("."))
        if paths:
            return f"{other}.{paths[0]}"
    msg = f"{value!r} is on no face"
    raise ValueError(msg)


def undocumented(face: str) -> list[str]:
    """What a face has and explains nowhere."""
    return [f"{face}.{path}" for path, value in names(face) if not _explanation(path, value)]


def _explanation(path: str, value: Any) -> str:
    return TYPES.get(path) or (inspect.getdoc(value) or "").strip()


def expanded(face: str) -> str:
    """All names of a face as Markdown that autodoc fills, and a line on what is explained elsewhere."""
    if missing := undocumented(face):
        msg = f"no docstring: {', '.join(missing)}"
        raise ValueError(msg)
    parts, elsewhere = [], []
    for path, value in names(face):
        if path in TYPES:
            parts.append(_rst(f".. py:data:: {path}\n   :module: {face}\n\n   {TYPES[path]}"))
        elif isinstance(value, types.ModuleType):
            parts.append(f"## `{path}`\n\n{_rst(chr(10).join(plain(inspect.getdoc(value) or '')))}")
        elif (place := explained_at(value, face)) == f"{face}.{path}":
            parts.append(_explained(face, path, value))
        elif "." not in path:
            elsewhere.append(f":py:obj:`~{place}`")
    if elsewhere:
        parts.insert(0, _rst(f"Explained on another page, and importable from here too: {', '.join(elsewhere)}."))
    return "\n".join(parts)


def _explained(face: str, path: str, value: Any) -> str:
    if inspect.isclass(value):
        kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
        return _rst(f".. {kind}:: {face}::{path}\n   :members:")
    if inspect.isroutine(value):
        return _rst(f".. autofunction:: {face}::{path}")
    return _rst(f".. autodata:: {face}::{path}\n   :no-value:")


def _rst(text: str) -> str:
    return f"```{{eval-rst}}\n{text}\n```\n"


def plain(text: str) -> list[str]:
    """A docstring as reStructuredText that says the same: signs stand for themselves, indented lines are code."""
    parts = CODE.split(text)
    escaped = [
        part if number % 2 else re.sub(r"([*|`\\]|(?<=\w)_(?!\w))", r"\\\1", part) for number, part in enumerate(parts)
    ]
    lines: list[str] = []
    inside = False
    for line, given in zip("".join(escaped).splitlines(), text.splitlines(), strict=True):
        begins = given.startswith("    ") and not inside and (not lines or not lines[-1].strip())
        if begins:
            lines += ["::", ""]
        inside = (inside or begins) and (given.startswith("    ") or not given.strip())
        lines.append(given if inside else line)
    return lines


def docstring(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Take a docstring as plain text."""
    del app, what, name, value, options
    lines[:] = plain("\n".join(lines))


def signature(
    app: Sphinx, what: str, name: str, value: Any, options: Any, text: str | None, returns: str | None
) -> Any:
    """A signature with ``Array`` for what it stands for; of a class that checks its words first, these words."""
    del app, name, options
    checks = what == "class" and dataclasses.is_dataclass(value)
    if checks and any("__new__" in vars(base) for base in value.__mro__[:-1]):
        _, *words = inspect.signature(value.__init__).parameters.values()
        text = stringify_signature(inspect.Signature(words), unqualified_typehints=True)
    # A default that is made anew for each object has no spelling of its own.
    return tuple(part and ARRAY.sub("Array", part).replace("<factory>", "...") for part in (text, returns))


def resolved(app: Sphinx, env: Any, node: addnodes.pending_xref, content: nodes.TextElement) -> nodes.Node | None:
    """Where a name in a signature leads that stands there without its module.

    What somebody else explains, and a class of ours that is on no face, lead nowhere; any other name is a warning.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    objects = env.get_domain("py").objects
    fits = {objects[name].node_id: objects[name] for name in objects if name.endswith(f".{target}")}
    if len(fits) == 1:
        (entry,) = fits.values()
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, target)
    path = target.replace("~", "").rpartition("[")[2]
    last = path.rpartition(".")[2]
    if path.startswith("attnbench.") and not _is_there(path):
        return None
    known = OTHERS.fullmatch(target) or last in SHORT or last in _classes()
    return content if known else None


@cache
def _is_there(path: str) -> bool:
    module, _, name = path.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), name)
    except ImportError:
        return False


@cache
def _classes() -> frozenset[str]:
    """The names of all classes of ours, and of those that every Python has."""
    files = Path(attnbench.__file__).parent.rglob("*.py")
    own = {name for file in files for name in re.findall(r"^class (\w+)", file.read_text("utf-8"), re.MULTILINE)}
    return frozenset(own | set(dir(builtins)))


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Fill the faces of a page."""
    del app

    def filled(block: re.Match[str]) -> str:
        try:
            return expanded(block[1])
        except (ImportError, ValueError) as error:
            LOG.warning("face %s: %s", block[1], error, location=docname)
            return ""

    source[0] = BLOCK.sub(filled, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Join the build."""
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-process-signature", signature)
    app.connect("missing-reference", resolved)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
