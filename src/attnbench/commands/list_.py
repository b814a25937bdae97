"""``attnbench list``: what there is, and why something is not available.

Imports no framework: where a GPU is in sight, processes of the frameworks are asked whether they can use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnbench.commands import options
from attnbench.errors import UsageError, suggest
from attnbench.interface.suite_files import suites_named, use_suites
from attnbench.show.console import document, show, table

if TYPE_CHECKING:
    from pathlib import Path

    from attnbench.backends.card import BackendInfo

WHAT = ("impls", "suites", "cells", "shapes", "workloads", "backends")
# The source and its fields are in the JSON document and in docs/shapes.md.
SHOWN_OF_SHAPES = ("shape", "title", "heads", "sizes", "mask", "scale", "besides", "context")
SHOWN_OF_WORKLOADS = ("workload", "mix", "figures")
ON_A_GPU = "on a GPU"
SAID = {"gpu": ON_A_GPU}  # the heads of columns that JSON names otherwise
# What a narrow terminal leaves out, the highest first.
RANKS = {"title": 3, "context": 2, "scale": 1}
# Columns that are drawn only where something stands in them.
FILLED = (ON_A_GPU, "reason", "lacks")


def list_(
    what: Annotated[str, typer.Argument(help="impls, suites, cells, shapes, workloads or backends.")] = "impls",
    *,
    files: options.ListedFiles = None,
    suite: options.ListedSuites = None,
    suite_files: options.SuiteFiles = None,
    as_json: options.Json = False,
) -> None:
    """Show what there is, and why something is not available."""
    if what not in WHAT:
        msg = f"there is no list of {what!r}; there are {', '.join(WHAT)}{suggest(what, WHAT)}"
        raise UsageError(msg)
    if files and what != "impls":
        msg = f"--impls belongs to 'attnbench list impls', not to 'attnbench list {what}'"
        raise UsageError(msg)
    if suite and what != "cells":
        msg = f"--suite belongs to 'attnbench list cells', not to 'attnbench list {what}'"
        raise UsageError(msg)
    if suite_files and what not in ("suites", "cells"):
        msg = f"--suites belongs to 'attnbench list suites' and 'attnbench list cells', not to 'attnbench list {what}'"
        raise UsageError(msg)
    named = use_suites(suite_files) if what != "cells" or suite is None else suites_named(suite, suite_files)
    listed = {"impls": _impls, "suites": _suites, "backends": _backends, "shapes": _shapes, "workloads": _workloads}
    rows = _dropped(files) if files else listed[what]() if what != "cells" else _cells(list(named))
    shown = {"shapes": SHOWN_OF_SHAPES, "workloads": SHOWN_OF_WORKLOADS}.get(what)
    if shown and not as_json:
        rows = [{name: row[name] for name in shown} for row in rows]
    if as_json:
        document({what: rows})
    else:
        rows = [{SAID.get(name, name): value for name, value in row.items()} for row in rows]
        heads = list(rows[0]) if rows else []
        heads = [head for head in heads if head not in FILLED or any(row[head] for row in rows)]
        texts = [[_text(row[head]) for head in heads] for row in rows]
        show(table(heads, texts, ranks=RANKS))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return str(value["short"])
    return "" if value is None else ", ".join(value) if isinstance(value, list) else str(value)


def _impls() -> list[dict[str, Any]]:
    from attnbench.backends import discover

    return [_impl(info, variant) for info in discover.backends().values() for variant, _ in info.implementations]


def _impl(info: BackendInfo, variant: str) -> dict[str, Any]:
    from attnbench.tried.marks import mark
    from attnbench.workers.gpus import why_nowhere

    gpu_mark = mark(f"{info.name}/{variant}")
    devices = list(info.devices.get(variant, ()))
    why = info.why_missing(variant) or why_nowhere(info.name, devices)
    return {
        "implementation": f"{info.name}/{variant}",
        "available": "no" if why else "yes",
        "devices": devices,
        "about": info.about.get(variant),
        "gpu": None if gpu_mark is None else gpu_mark.to_dict(),
        "reason": why,
    }


def _dropped(files: list[Path]) -> list[dict[str, Any]]:
    """The implementations that somebody's own files define."""
    from attnbench.backends import discover
    from attnbench.measure.run.plan import found_in

    cards = discover.backends()
    rows = []
    for name, where in found_in(files).items():
        backend = name.partition("/")[0]
        why = cards[backend].why_missing() if backend in cards else f"there is no backend {backend!r}"
        rows.append({"implementation": name, "available": "no" if why else "yes", "file": where[0], "reason": why})
    return rows


def _backends() -> list[dict[str, Any]]:
    from attnbench.backends import discover

    rows = [
        {
            "backend": info.name,
            "requires": info.requires,
            "version": info.version(),
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

    single = [_suite(name) for name in discover.suite_names()]
    lacks = {row["suite"]: row["lacks"] for row in single}
    return single + [_together(name, lacks) for name in groups.GROUPS]


def _suite(name: str) -> dict[str, Any]:
    from attnbench.backends import discover
    from attnbench.measure.run.choice import lacking_of

    try:
        suite = discover.suite(name)
    except UsageError as error:
        return {"suite": name, "question": None, "lacks": f"not available: {error}"}
    return {"suite": name, "question": suite.story.question, "lacks": lacking_of(suite)}


def _together(group: str, lacks: dict[str, str | None]) -> dict[str, Any]:
    from attnbench import groups

    names = [suite.name for suite in groups.members(group)]
    reasons = [f"{name}: {lacks[name]}" for name in names if lacks.get(name)]
    return {"suite": group, "question": "Together: " + ", ".join(names), "lacks": "; ".join(reasons) or None}


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


def _workloads() -> list[dict[str, Any]]:
    from attnbench.workloads.named import rows

    return rows()
