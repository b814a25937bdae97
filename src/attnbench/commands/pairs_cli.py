"""The commands ``ab``, ``calibrate``, ``plan``, ``history`` and ``baseline``: names and options for the program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnbench.commands.output import set_quiet

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notes and no progress.")]
Files = Annotated[
    list[Path] | None, typer.Option("--impls", metavar="FILE", help="Drop-in implementations: a file or a folder.")
]

HISTORY = Path("reports") / "history"


def ab(
    a: Annotated[str, typer.Argument(metavar="A", help="An implementation, or a git revision (git:NAME forces one).")],
    b: Annotated[
        str | None, typer.Argument(metavar="B", help="What is judged: one of the same kind; WORKTREE: as it stands.")
    ] = None,
    suite: Annotated[list[str] | None, typer.Option(help="Timed suites; smoke without one. Repeatable.")] = None,
    impl: Annotated[list[str] | None, typer.Option(help="Between revisions: implementations, or patterns.")] = None,
    axis: Annotated[list[str] | None, typer.Option("-a", metavar="AXIS=V1,V2", help="Other levels of an axis.")] = None,
    files: Files = None,
    margin: Annotated[str, typer.Option(help="The smallest change that matters.")] = "3%",
    budget: Annotated[str, typer.Option(help="Wall time, such as 10m.")] = "10m",
    python_a: Annotated[str | None, typer.Option(metavar="PYTHON", help="The interpreter of A.")] = None,
    python_b: Annotated[str | None, typer.Option(metavar="PYTHON", help="The interpreter of B.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads, the same for both sides.")] = None,
    out: Annotated[Path, typer.Option(help="Where the folder of the comparison goes.")] = Path("results"),
    inconclusive: Annotated[str, typer.Option(help="fail or pass: what an open question is.")] = "fail",
    seed: Annotated[
        int | None, typer.Option(help="The seed of the random order; drawn and recorded if not given.")
    ] = None,
    wait: Annotated[str | None, typer.Option(metavar="TIME", help="How long to wait for another run here.")] = None,
    github: Annotated[bool, typer.Option("--github", help="GitHub's step summary and annotations.")] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="The verdicts as JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="The verdicts as Markdown.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare two versions live, in pairs of fresh processes: slower, same, faster, inconclusive, not comparable."""
    from attnbench.commands.ab import ab_command, suites_or_default
    from attnbench.live.sides import Asked

    set_quiet(quiet)
    asked = Asked(
        a,
        b,
        suites=suites_or_default(split(suite)),
        patterns=impl or [],
        axes=axis or [],
        files=files or [],
        python_a=python_a,
        python_b=python_b,
        threads=threads,
    )
    code = ab_command(
        asked,
        margin=margin,
        budget=budget,
        out=out,
        inconclusive=inconclusive,
        wait=wait,
        seed=seed,
        github=github,
        junit=junit,
        markdown=markdown,
        as_json=as_json,
    )
    raise typer.Exit(code)


def calibrate(
    suite: Annotated[list[str] | None, typer.Option(help="Timed suites; smoke without one. Repeatable.")] = None,
    impl: Annotated[list[str] | None, typer.Option(help="Implementations; numpy/naive without one.")] = None,
    axis: Annotated[list[str] | None, typer.Option("-a", metavar="AXIS=V1,V2", help="Other levels of an axis.")] = None,
    margin: Annotated[str, typer.Option(help="The smallest change that matters.")] = "3%",
    budget: Annotated[str, typer.Option(help="Wall time, such as 10m.")] = "10m",
    threads: Annotated[int | None, typer.Option(help="Threads.")] = None,
    out: Annotated[Path, typer.Option(help="Where the folder of the pairs goes.")] = Path("results"),
    wait: Annotated[str | None, typer.Option(metavar="TIME", help="How long to wait for another run here.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare a version with itself: this machine's false alarms, and the slowdowns that it is able to find."""
    from attnbench.commands.ab import suites_or_default
    from attnbench.commands.calibrating import calibrate_command
    from attnbench.live.sides import Asked

    set_quiet(quiet)
    asked = Asked("", suites=suites_or_default(split(suite)), patterns=impl or [], axes=axis or [], threads=threads)
    code = calibrate_command(asked, margin=margin, budget=budget, out=out, wait=wait, as_json=as_json)
    raise typer.Exit(code)


def plan(
    detect: Annotated[str, typer.Option(help="The slowdown that is to be found, such as 3%.")],
    suite: Annotated[list[str] | None, typer.Option(help="Timed suites; smoke without one. Repeatable.")] = None,
    impl: Annotated[list[str] | None, typer.Option(help="Implementations; numpy/naive without one.")] = None,
    axis: Annotated[list[str] | None, typer.Option("-a", metavar="AXIS=V1,V2", help="Other levels of an axis.")] = None,
    margin: Annotated[str | None, typer.Option(help="The smallest change that matters; half of --detect.")] = None,
    as_json: Json = False,
) -> None:
    """Say how many pairs and minutes it takes to find a slowdown here, before anything runs."""
    from attnbench.commands.ab import suites_or_default
    from attnbench.commands.calibrating import plan_command
    from attnbench.live.sides import Asked

    asked = Asked("", suites=suites_or_default(split(suite)), patterns=impl or [], axes=axis or [])
    raise typer.Exit(plan_command(asked, detect=detect, margin=margin, as_json=as_json))


def history(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs; all in results/ without.")] = None,
    suite: Annotated[list[str] | None, typer.Option(help="Only these suites. Repeatable.")] = None,
    impl: Annotated[list[str] | None, typer.Option(help="Only these implementations, by name or pattern.")] = None,
    machine: Annotated[str | None, typer.Option(metavar="ID", help="Another machine than this, or the newest.")] = None,
    margin: Annotated[str, typer.Option(help="The smallest change that matters.")] = "3%",
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where figure and table go.")] = HISTORY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show how times changed over the runs of one machine, and between which runs their level moved."""
    from attnbench.commands.history import history_command

    set_quiet(quiet)
    code = history_command(
        runs or [],
        suites=split(suite),
        patterns=impl or [],
        machine=machine,
        margin=margin,
        out=out,
        as_json=as_json,
    )
    raise typer.Exit(code)


baseline = typer.Typer(help="A small file in git that later runs are held to.", no_args_is_help=True)
BaselineFolder = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where baselines are.")]
BASELINES = Path("results") / "baselines"


@baseline.command("set")
def baseline_set(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run to make it of.")],
    name: Annotated[str | None, typer.Option(help="Its name; suites and machine without one.")] = None,
    folder: BaselineFolder = BASELINES,
    as_json: Json = False,
) -> None:
    """Make a baseline of a saved run."""
    from attnbench.commands.baseline import set_command

    raise typer.Exit(set_command(run, name, folder, as_json=as_json))


@baseline.command("show")
def baseline_show(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="All without a name.")] = None,
    folder: BaselineFolder = BASELINES,
    as_json: Json = False,
) -> None:
    """Show what is in the baselines."""
    from attnbench.commands.baseline import show_command

    raise typer.Exit(show_command(name, folder, as_json=as_json))


@baseline.command("check")
def baseline_check(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run to judge.")],
    name: Annotated[str | None, typer.Option(help="The baseline; that of its suites and machine without one.")] = None,
    margin: Annotated[str, typer.Option(help="The smallest change that matters.")] = "5%",
    folder: BaselineFolder = BASELINES,
    as_json: Json = False,
) -> None:
    """Judge a saved run against a baseline; the claim is that of compare, the weaker one."""
    from attnbench.commands.baseline import check_command

    raise typer.Exit(check_command(run, name, folder, margin, as_json=as_json))


def register(app: typer.Typer) -> None:
    """Add them to the program."""
    for command in (ab, calibrate, plan, history):
        app.command()(command)
    app.add_typer(baseline, name="baseline")


def split(values: list[str] | None) -> list[str]:
    """Options that may be given several times, or once with commas."""
    return [part for value in values or [] for part in value.split(",") if part]
