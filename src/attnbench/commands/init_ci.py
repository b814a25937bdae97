"""``attnbench init-ci``: a workflow of GitHub and environments of tox for the repository of a kernel."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import typer

from attnbench.commands import options
from attnbench.commands.given import seconds, split
from attnbench.errors import EXIT_OK, check_known
from attnbench.show.console import document, say, set_quiet, show

if TYPE_CHECKING:
    from attnbench.ci.files import Change, Parts
    from attnbench.ci.kernel import KernelCi


def init_ci(
    *,
    files: options.Files = None,
    impl: options.CiImpls = None,
    base: options.CiBase = None,
    python: options.CiPython = "3.12",
    budget: options.CiBudget = "5m",
    suite: options.TimedSuites = None,
    axis: options.Axes = None,
    source: options.CiSource = None,
    install: options.CiInstalls = None,
    out: options.CiOut = None,
    only: options.CiOnly = None,
    force: options.CiForce = False,
    dry: options.CiPrint = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write what has a kernel checked and measured in its own repository: a workflow of GitHub, a section of tox."""
    from attnbench.ci.files import PARTS, changes, write
    from attnbench.ci.kernel import WantedCi, understood

    set_quiet(quiet)
    check_known("--only", [] if only is None else [only], PARTS)
    wanted = WantedCi(
        files or [],
        impl or [],
        base=base,
        python=python,
        budget=budget,
        budget_s=seconds(budget) or 0.0,
        suites=split(suite),
        axes=axis or [],
        source=source,
        installs=install or [],
        out=out,
    )
    kernel = understood(wanted)
    parts: list[Parts] = [part for part in PARTS if only in (None, part)]
    planned = changes(kernel, parts, force=force)
    if not dry:
        write(planned)
    if as_json:
        document(_json(kernel, planned, dry=dry))
    else:
        _tell(kernel, planned, dry=dry)
    raise typer.Exit(EXIT_OK)


def _tell(kernel: KernelCi, planned: list[Change], *, dry: bool) -> None:
    for change in planned:
        if dry:
            show(f"# {change.name}: {change.refused or change.became}\n\n{change.text.rstrip()}\n")
        else:
            show(f"{change.became:9} {change.path}")
    for note in kernel.notes:
        say(note)
    if not dry:
        say(_next(planned))


def _next(planned: list[Change]) -> str:
    """What to type now."""
    add = f"git add {shlex.join(str(change.name) for change in planned)}"
    try_it = "" if planned[-1].name.endswith(".yml") else "; here: tox -e attnbench"
    return f"next: {add}, commit, and open a pull request{try_it}"


def _json(kernel: KernelCi, planned: list[Change], *, dry: bool) -> dict[str, Any]:
    return {
        "root": str(kernel.repository.root),
        "files": [
            {"file": change.name, "became": change.became, "refused": change.refused, "text": change.text}
            for change in planned
        ],
        "written": not dry,
        "implementations": list(kernel.impls),
        "base": kernel.base,
        "notes": list(kernel.notes),
        "exit_code": EXIT_OK,
    }
