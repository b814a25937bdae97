"""``attnbench list``: what there is, and why something is not available. Imports no framework."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from attnbench import discover, groups
from attnbench.backend import BackendInfo
from attnbench.commands.output import document, show, table
from attnbench.errors import EXIT_OK, UsageError, suggest

WHAT = ("impls", "suites", "cells", "shapes", "backends")
# The source and its fields are in the JSON document and in docs/shapes.md.
SHOWN_OF_SHAPES = ("shape", "title", "heads", "sizes", "mask", "scale", "besides", "context")


def list_command(what: str, suites: list[str], *, as_json: bool) -> int:
    """List one kind of thing."""
    if what not in WHAT:
        msg = f"there is no list of {what!r}; there are {', '.join(WHAT)}{suggest(what, WHAT)}"
        raise UsageError(msg)
    if suites and what != "cells":
        msg = f"--suite belongs to 'attnbench list cells', not to 'attnbench list {what}'"
        raise UsageError(msg)
    listed = {"impls": _impls, "suites": _suites, "backends": _backends, "shapes": _shapes}
    rows = listed[what]() if what != "cells" else _cells(suites)
    if what == "shapes" and not as_json:
        rows = [{name: row[name] for name in SHOWN_OF_SHAPES} for row in rows]
    if as_json:
        document({what: rows})
    else:
        heads = list(rows[0]) if rows else []
        show(table(heads, [["" if cell is None else str(cell) for cell in row.values()] for row in rows]))
    return EXIT_OK


def why_not(info: BackendInfo) -> str | None:
    """Why a backend is not available, and what to type; ``None`` if it is."""
    if info.available():
        return None
    return f"{info.requires} is not installed: pip install 'attnbench[{info.extra}]'"


def installed(package: str) -> str | None:
    """The installed version of a package, without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _impls() -> list[dict[str, Any]]:
    return [
        {"implementation": name, "available": "no" if (why := why_not(info)) else "yes", "reason": why}
        for info in discover.backends().values()
        for name in info.names()
    ]


def _backends() -> list[dict[str, Any]]:
    rows = [
        {
            "backend": info.name,
            "requires": info.requires,
            "version": installed(info.requires),
            "implementations": len(info.implementations),
            "reason": why_not(info),
        }
        for info in discover.backends().values()
    ]
    broken = discover.broken_backends().items()
    empty = {"requires": None, "version": None, "implementations": 0}
    return rows + [{"backend": name, **empty, "reason": f"cannot be loaded: {why}"} for name, why in broken]


def _suites() -> list[dict[str, Any]]:
    own = [{"suite": name, "question": _question(name)} for name in discover.suite_names()]
    return own + [{"suite": name, "question": _together(name)} for name in groups.GROUPS]


def _together(group: str) -> str:
    return "Together: " + ", ".join(one.name for one in groups.members(group))


def _question(name: str) -> str:
    try:
        return discover.suite(name).question
    except UsageError as error:
        return f"not available: {error}"


def _cells(suites: list[str]) -> list[dict[str, Any]]:
    from attnbench.measure.plan import make_plan

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
    from attnbench.catalogue import shapes
    from attnbench.catalogue.text import row

    return [row(one) for one in shapes().values()]
