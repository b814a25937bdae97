"""``attnbench best``: the fastest for one case that agrees and fits, from saved runs or measured now."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from attnbench.commands import options
from attnbench.commands.given import check_threads, say_left_out, seconds, split
from attnbench.commands.interrupt import end_as_interrupted
from attnbench.errors import EXIT_NOTHING_MEASURED, EXIT_OK, UsageError
from attnbench.interface.places import check_runs_folder
from attnbench.show.console import document, say, set_quiet, show
from attnbench.show.progress import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from attnbench.answers.question import Wanted, WhichOne
    from attnbench.answers.saved import AskedMachine
    from attnbench.answers.words import AnswersByMachine, BestAnswer


def best(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Saved runs; all in results/ without.")
    ] = None,
    *,
    shape: options.CaseShape = None,
    tokens: options.CaseTokens = None,
    batch: options.CaseBatch = "1",
    phase: options.CasePhase = "prefill",
    dtype: options.OneDtype = "float32",
    device: options.Device = "cpu",
    threads: options.Threads = None,
    memory: options.Memory = None,
    needs: options.NeededFeatures = None,
    measure: options.Measure = None,
    impl: options.Impls = None,
    files: options.Files = None,
    out: options.RunsOut = Path("results"),
    wait: options.WaitOnMachine = None,
    table: options.TableFile = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say which implementation is the fastest for one case, by how much, and how sure that is."""
    from attnbench.results.extra import check_report_extra

    set_quiet(quiet)
    check_report_extra("attnbench best")
    from attnbench.answers.question import question, wanted

    if table is not None:
        alone = {"--shape": shape, "--tokens": tokens, "--measure": measure, "--threads": threads, "--impl": impl}
        _check_table_alone(alone | {"--impls": files})
        raise typer.Exit(_write_table(table, runs, wanted(device, split(needs), memory), as_json=as_json))
    _check(runs, measure, impl)
    check_threads([] if threads is None else [threads])
    asked_for = question(
        shape,
        tokens,
        batch=batch,
        phase=phase,
        dtype=dtype,
        device=device,
        threads=threads,
        needs=split(needs),
        memory=memory,
    )
    answer = (
        _from_saved(asked_for, runs, files)
        if measure is None
        else _measured(asked_for, measure, impl or [], files or [], out, wait)
    )
    if as_json:
        document(answer.describe())
    else:
        show(str(answer))
    raise typer.Exit(answer.exit_code)


def _check(runs: list[str] | None, measure: str | None, impl: list[str] | None) -> None:
    """Raise ``UsageError`` for options that contradict each other."""
    if runs and measure is not None:
        msg = f"name saved runs ({', '.join(runs)}) or --measure {measure}: what is measured now is a run of its own"
        raise UsageError(msg)
    if impl and measure is None:
        msg = "--impl says who is measured now: give --measure 5m with it, or leave it out"
        raise UsageError(msg)


def _check_table_alone(given: Mapping[str, object]) -> None:
    if named := [option for option, value in given.items() if value is not None]:
        msg = "--table has every case that was measured and fits --device, --memory and --needs; leave out "
        raise UsageError(msg + " and ".join(named))


def _from_saved(question: WhichOne, runs: list[str] | None, files: list[Path] | None) -> BestAnswer | AnswersByMachine:
    from attnbench.answers.best import answered_by_machine

    if question.wanted.needs:
        say("asking what each implementation declares; its framework is started for that")
    return answered_by_machine(question, runs or None, files=files or [])


def _measured(
    question: WhichOne, measure: str, impl: list[str], files: list[Path], out: Path, wait: str | None
) -> BestAnswer:
    from attnbench.answers.ask import HowMeasured, measured_now

    budget_s = seconds(measure) or 0.0
    check_runs_folder("--out", out)
    progress = ProgressLine(budget_s, first="planning")
    how = HowMeasured(
        budget_s,
        out=out,
        patterns=impl,
        files=files,
        wait_s=seconds(wait) or 0.0,
        command=["attnbench", *sys.argv[1:]],
        progress=progress,
        at_work=progress.at_work,
        on_plan=say_left_out,
    )
    end_as_interrupted()
    with progress:
        return measured_now(question, how)


def _write_table(file: Path, runs: list[str] | None, fits: Wanted, *, as_json: bool) -> int:
    from attnbench.answers.saved import machines_of
    from attnbench.results.store import check_output

    machines = machines_of(runs or None)
    files = _of_machines(file, machines)
    for each in files:
        check_output("--table", each)
    tables = [_written(each, runs, fits, machine) for each, machine in zip(files, machines, strict=True)]
    if not as_json:
        for written in tables:
            left = " (left as it was: no case fits)" if written.is_kept else ""
            show(f"{written.about['entries']} cases of {written.of}\ntable: {written.about['table']}{left}")
    elif len(tables) == 1:
        document(tables[0].about)
    else:
        document({"machines": [{"machine": written.of, **written.about} for written in tables]})
    return EXIT_OK if all(written.about["entries"] for written in tables) else EXIT_NOTHING_MEASURED


def _of_machines(file: Path, machines: Sequence[AskedMachine]) -> list[Path]:
    """A table is of one machine: of several each has a file, with its id in the name, and more where two share it."""
    if len(machines) == 1:
        return [file]
    ids = [machine.hardware.id for machine in machines]
    names = [
        name if ids.count(name) == 1 else f"{name}-{machine.key}" for name, machine in zip(ids, machines, strict=True)
    ]
    return [file.with_name(f"{file.stem}-{name}{file.suffix}") for name in names]


class _Written(NamedTuple):
    """A table that was written: of which machine, whether an older one was kept, and what a script is told."""

    of: str
    is_kept: bool
    about: dict[str, Any]


def _written(file: Path, runs: list[str] | None, fits: Wanted, machine: AskedMachine) -> _Written:
    from attnbench.answers.tabulate import tabulated

    table, notes = tabulated(runs or None, fits, machine=machine)
    is_kept = not table.entries and file.exists()  # no table in use gives way to an empty one
    if not is_kept:
        table.save(file)
    for note in notes:
        say(f"passed over: {note}")
    about = {"table": str(file), "entries": len(table.entries), "left_out": len(table.left_out), "notes": list(notes)}
    named = "" if machine.name is None else f" ({machine.name})"
    return _Written(f"machine {table.machine_id}{named}", is_kept, about)
