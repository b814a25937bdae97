"""``attnbench list``: what there is, and why something is not available. Imports no framework."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer

from attnbench.commands import options
from attnbench.errors import UsageError, suggest
from attnbench.show.console import document, show, table

WHAT = ("impls", "suites", "cells", "shapes", "backends")
# The source and its fields are in the JSON document and in docs/shapes.md.
SHOWN_OF_SHAPES = ("shape", "title", "heads", "sizes", "mask", "scale", "besides", "context")
# What a narrow terminal leaves out, the highest first.
RANKS = {"title": 3, "context": 2, "scale": 1}


def list_(
    what: Annotated[str, typer.Argument(help="impls, suites, cells, shapes or backends.")] = "impls",
    *,
    suite: options.ListedSuites = None,
    as_json: options.Json = False,
) -> None:
    """Show what there is, and why something is not available."""
    if what not in WHAT:
        msg = f"there is no list of {what!r}; there are {', '.join(WHAT)}{suggest(what, WHAT)}"
        raise UsageError(msg)
    if suite and what != "cells":
        msg = f"--suite belongs to 'attnbench list cells', not to 'attnbench list {what}'"
        raise UsageError(msg)
    listed = {"impls": _impls, "suites": _suites, "backends": _backends, "shapes": _shapes}
    rows = listed[what]() if what != "cells" else _cells(suite or [])
    if what == "shapes" and not as_json:
        rows = [{name: row[name] for name in SHOWN_OF_SHAPES} for row in rows]
    if as_json:
        document({what: rows})
    else:
        heads = list(rows[0]) if rows else []
        texts = [["" if value is None else str(value) for value in row.values()] for row in rows]
        show(table(heads, texts, ranks=RANKS))


def installed(package: str) -> str | None:
    """The installed version of a package, without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _impls() -> list[dict[str, Any]]:
    from attnbench.backends import discover

    return [
        {"implementation": name, "available": "no" if (why := info.why_missing()) else "yes", "reason": why}
        for info in discover.backends().values()
        for name in info.names()
    ]


def _backends() -> list[dict[str, Any]]:
    from attnbench.backends import discover

    rows = [
        {
            "backend": info.name,
            "requires": info.requires,
            "version": installed(info.requires),
            "implementations": len(info.implementations),
            "reason": info.why_missing(),
        }
        for info in discover.backends().values()
    ]
    broken = discover.broken_backends().items()
    empty = {"requires": None, "version": None, "implementations": 0}
    return rows + [{"backend": name, **empty, "reason": f"cannot be loaded: {why}"} for name, why in broken]


def _suites() -> list[dict[str, Any]]:
    from attnbench import groups
    from attnbench.backends import discover

    single = [{"suite": name, "question": _question(name)} for name in discover.suite_names()]
    return single + [{"suite": name, "question": _together(name)} for name in groups.GROUPS]


def _together(group: str) -> str:
    from attnbench import groups

    return "Together: " + ", ".join(suite.name for suite in groups.members(group))


def _question(name: str) -> str:
    from attnbench.backends import discover

    try:
        return discover.suite(name).story.question
    except UsageError as error:
        return f"not available: {error}"


def _cells(suites: list[str]) -> list[dict[str, Any]]:
    from attnbench import groups
    from attnbench.measure.run.plan import make_plan

    plan = make_plan(groups.expanded(suites or ["smoke"]), probe=False)
    return [
        {
            "suite": cell.suite,
            "case": cell.case.label() if cell.case else " ".join(f"{k}={v}" for k, v in cell.point.items()),
            "implementation": cell.impl,
            "device": cell.device,
            "threads": cell.threads,
            "refused": plan.refused.get(cell.id),
        }
        for cell in plan.cells
    ]


def _shapes() -> list[dict[str, Any]]:
    from attnbench.attention.shapes import shapes
    from attnbench.commands.list_shapes import row

    return [row(shape) for shape in shapes().values()]
