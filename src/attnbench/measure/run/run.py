"""A run: the lock, the plan, the journal, block after block, and one row for every planned cell at the end."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version

from attnbench.backends import discover
from attnbench.errors import MissingExtraError
from attnbench.measure.run import rows
from attnbench.measure.run.ongoing import OngoingRun
from attnbench.measure.run.options import RunOptions, RunOutcome
from attnbench.measure.run.plan import Plan, chosen_suites, make_plan, plan_of
from attnbench.measure.run.resuming import resumed
from attnbench.results.fingerprint import collect_fingerprint
from attnbench.results.journal import CODES, LEFT_OUT
from attnbench.results.schema import FiledSuite, RunInfo
from attnbench.results.store import RunWriter, new_run_id, utc_now
from attnbench.suite import Cell, Suite
from attnbench.tried.code import claims_gpu, code_of
from attnbench.workers.gpus import CPU
from attnbench.workers.lock import only_run

# Intervals need SciPy; Parquet needs pandas and pyarrow.
NEEDED = ("scipy", "pandas", "pyarrow")


def run(options: RunOptions) -> RunOutcome:
    """Measure. Raises ``UsageError`` and its kin before anything is written; later, whatever happens is a row."""
    _check_extra()
    with only_run(options.lock, options.wait_s), ExitStack() as stack:
        began = time.monotonic()
        ongoing = _started(options, began) if options.resume is None else resumed(options, began)
        stack.enter_context(ongoing.writer)
        stack.callback(ongoing.close)
        note = None
        try:
            ongoing.measure()
        except KeyboardInterrupt:
            note = ongoing.interrupted()
        return ongoing.outcome(note)


def _check_extra() -> None:
    """Raise ``MissingExtraError`` before anything is measured, not when it is to be written."""
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            what = "attnbench run"
            raise MissingExtraError(what, "report", package)


def filed(suites: Iterable[Suite]) -> dict[str, FiledSuite]:
    """What is kept of suites that were loaded from files of one's own."""
    return {
        suite.name: FiledSuite(
            file=suite.file.typed,
            path=suite.file.path,
            sha256=suite.file.sha256,
            question=suite.story.question,
            method=suite.story.method,
            limits=suite.story.limits,
        )
        for suite in suites
        if suite.file is not None
    }


def _planned(options: RunOptions) -> Plan:
    if options.cells is not None:
        return plan_of(chosen_suites(options.suites, options.overrides), options.cells, options.patterns)
    return make_plan(
        options.suites,
        patterns=options.patterns,
        overrides=options.overrides,
        devices=options.devices,
        threads=options.threads,
        files=options.files,
        timeout_s=options.describing_s(),
    )


def _started(options: RunOptions, began: float) -> OngoingRun:
    plan = _planned(options)
    if options.on_plan is not None:
        options.on_plan(plan)
    fingerprint, started = collect_fingerprint(), utc_now()
    names = [suite.name for suite in plan.suites]
    info = RunInfo(
        run_id=new_run_id(names, started),
        started=started,
        command=tuple(options.command),
        suites=tuple(names),
        implementations=plan.implementations(),
        axes=plan.axes(),
        devices=tuple(options.devices),
        threads=tuple(options.threads),
        budget_s=options.budget_s,
        suite_files=filed(plan.suites),
        fingerprint=fingerprint,
    )
    writer = RunWriter.create(options.out, info)
    code = fingerprint.git or version("attnbench")
    planned = {cell.id: rows.planned(cell, info.run_id, fingerprint.machine_id, code) for cell in plan.cells}
    writer.plan(planned.values())
    writer.event(LEFT_OUT, groups=[group.to_dict() for group in plan.left_out])
    if codes := codes_on_gpu(plan.cells):
        writer.event(CODES, implementations=codes)
    return OngoingRun(options, writer, plan, planned, began=began)


def codes_on_gpu(cells: Iterable[Cell]) -> dict[str, dict[str, str]]:
    """The names of the code of what a GPU can run, where it is asked for: ``report --record`` knows by them what ran.

    Of all that claims a GPU, since a check beside a run may be about others than the run.
    """
    if all(cell.device == CPU for cell in cells):
        return {}
    names = (name for name in discover.implementation_names() if claims_gpu(name))
    return {name: asdict(code) for name in names if (code := code_of(name)) is not None}
