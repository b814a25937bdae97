"""A run that was broken off, taken up again: its cells from its rows, by the same code on the same machine."""

from __future__ import annotations

from collections.abc import Mapping

from attnbench.backends import discover
from attnbench.errors import UsageError
from attnbench.measure.run import rows
from attnbench.measure.run.choice import Omission
from attnbench.measure.run.kept import FromBefore, is_open
from attnbench.measure.run.ongoing import OngoingRun
from attnbench.measure.run.options import RunOptions
from attnbench.measure.run.plan import Plan, found_in, refusals
from attnbench.results.fingerprint import collect_fingerprint
from attnbench.results.journal import LEFT_OUT
from attnbench.results.read import Contents
from attnbench.results.store import RunWriter
from attnbench.suite import Cell, Suite
from attnbench.suite.files import SuiteFile, known, load_from, unlike


def resumed(options: RunOptions, began: float | None = None) -> OngoingRun:
    """The run that ``options.resume`` names, with what it has measured; ``UsageError`` where it cannot go on here.

    ``began`` is when its budget began (of ``time.monotonic``); now, where it is not given.
    """
    writer, contents = RunWriter.resume(options.resume or "", options.out)
    try:
        _check_planned(contents)
        _check_same(options, contents)
        suites = _suites_before(contents)
        cells = _planned_before(options, contents, suites)
    except BaseException:
        writer.close()
        raise
    plan = Plan(tuple(suites.values()), cells, refusals(cells), _left_out_before(contents))
    by_cell = {row.cell_id: row for row in contents.cells}
    return OngoingRun(options, writer, plan, by_cell, FromBefore.of(contents), began)


def _suites_before(contents: Contents) -> dict[str, Suite]:
    """The suites of the run that stand in files, from the same files; ``UsageError`` where these are gone or others."""
    run = contents.info.run_id
    suites = {}
    for name, source in contents.info.suite_files.items():
        given = known().get(name)
        if given is not None and given.file is not None and given.file.sha256 == source.sha256:
            suites[name] = given
            continue
        origin = SuiteFile(source.file, source.path, source.sha256)
        if given is not None or unlike(origin):
            why = "which is another one" if given is not None else unlike(origin)
            msg = (
                f"run {run} began with suite {name!r} of {source.file}, {why}; resume it with that file as it was "
                "(--suites FILE), or start a new run"
            )
            raise UsageError(msg)
        suites[name] = load_from(origin, name)
    return suites


def _planned_before(options: RunOptions, contents: Contents, suites: Mapping[str, Suite]) -> tuple[Cell, ...]:
    """The cells of a run that was broken off, from its rows."""
    keys = {name: suite.file.key for name, suite in suites.items() if suite.file is not None}
    dropped = found_in(options.files, options.describing_s())
    known = {*discover.implementation_names(), *dropped}
    unknown = sorted({row.impl for row in contents.cells if is_open(row)} - known)
    if unknown:
        msg = f"run {contents.info.run_id} has cells of {', '.join(unknown)}; give their file again with --impls FILE"
        raise UsageError(msg)
    cells = tuple(rows.cell_of(row, dropped.get(row.impl, ()), keys.get(row.suite)) for row in contents.cells)
    if any(row.cell_id != cell.id for row, cell in zip(contents.cells, cells, strict=True)):
        msg = f"run {contents.info.run_id} was planned by another version of attnbench; start a new run"
        raise UsageError(msg)
    return cells


def _left_out_before(contents: Contents) -> tuple[Omission, ...]:
    """What was left out when the run was planned."""
    groups = [group for event in contents.events if event.get("name") == LEFT_OUT for group in event.get("groups", ())]
    return tuple(Omission(group["suite"], tuple(group["implementations"]), group["reason"]) for group in groups)


def _check_planned(contents: Contents) -> None:
    """Raise ``UsageError`` for a run that was broken off while its plan was written: its rows are not all there."""
    if not any(event.get("name") == "start" for event in contents.events):
        msg = f"run {contents.info.run_id} was broken off before its plan was written; nothing is lost: start a new run"
        raise UsageError(msg)


def _check_same(options: RunOptions, contents: Contents) -> None:
    """Raise ``UsageError`` unless the rest of the run would be measured by the same code on the same machine."""
    info, now = contents.info, collect_fingerprint()
    names = {suite if isinstance(suite, str) else suite.name for suite in options.suites}
    if names and names != set(info.suites):
        msg = f"run {info.run_id} is of {', '.join(info.suites)}, not {', '.join(sorted(names))}; resume it as it is"
        raise UsageError(msg)
    for what in ("machine_id", "python", "packages", "git"):
        before, after = getattr(info.fingerprint, what), getattr(now, what)
        if before != after:
            msg = f"run {info.run_id} began with {what} {before}, and here it is {after}; start a new run"
            raise UsageError(msg)
