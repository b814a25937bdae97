"""The command ``scoreboard``: names, options and help, for ``attnbench.cli``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnbench.commands.output import set_quiet

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notes and no progress.")]
Wait = Annotated[str | None, typer.Option(metavar="TIME", help="How long to wait for another run here.")]
Out = Annotated[Path, typer.Option(help="Where the data goes.")]
Page = Annotated[Path, typer.Option(help="The page whose tables are filled in, if it is there.")]
DATA, PAGE = Path("results") / "scoreboard", Path("docs") / "scoreboard.md"

scoreboard = typer.Typer(help="Our verdicts and other tools', on the same cells, with slowdowns of known size.")


@scoreboard.callback(invoke_without_command=True)
def scoreboard_live(
    context: typer.Context,
    trials: Annotated[int, typer.Option(help="Rounds: trials of every tool at every slowdown.")] = 5,
    seconds: Annotated[float, typer.Option(help="Wall seconds of one trial, both sides together.")] = 60.0,
    effects: Annotated[str, typer.Option(metavar="E1,E2", help="Slowdowns in per cent; 0 is A against A.")] = "0,10",
    cells: Annotated[int, typer.Option(help="Cells of a trial.")] = 2,
    tools: Annotated[str | None, typer.Option(metavar="T1,T2", help="Some of the tools; all without.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="Start no trial that would end later.")] = None,
    out: Out = DATA,
    page: Page = PAGE,
    wait: Wait = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Our verdicts and other tools', live, on the same cells, at equal wall time; goes on where it was cut."""
    if context.invoked_subcommand is not None:
        return
    from attnbench.commands.scoring import live_command

    set_quiet(quiet)
    code = live_command(
        trials=trials,
        seconds_each=seconds,
        effects=effects,
        cells=cells,
        tools=tools,
        budget=budget,
        out=out,
        page=page,
        wait=wait,
        as_json=as_json,
    )
    raise typer.Exit(code)


@scoreboard.command()
def record(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the corpus goes.")],
    budget: Annotated[str, typer.Option(help="Wall time, such as 15m.")] = "15m",
    out: Out = DATA,
    wait: Wait = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Record the noise of this machine: a version against itself, every burst kept, in one Parquet file."""
    from attnbench.commands.scoring import record_command

    set_quiet(quiet)
    raise typer.Exit(record_command(folder, budget=budget, out=out, wait=wait, as_json=as_json))


@scoreboard.command()
def campaign(
    arm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EXTRA:TIME:RUNS", help="Runs to make; repeatable. 0:2m:20, 10:2m:10 and 5:10m:8 without."
        ),
    ] = None,
    limit: Annotated[str | None, typer.Option(metavar="TIME", help="Start no run that would end later.")] = None,
    cells: Annotated[int, typer.Option(help="Cells of a run.")] = 8,
    out: Out = DATA,
    page: Page = PAGE,
    wait: Wait = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare by ab again and again, with and without a slowdown, and count the verdicts; goes on where it was cut."""
    from attnbench.commands.scoring import campaign_command

    set_quiet(quiet)
    code = campaign_command(arm or [], limit=limit, cells=cells, out=out, page=page, wait=wait, as_json=as_json)
    raise typer.Exit(code)


@scoreboard.command()
def replay(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A recorded corpus.")],
    trials: Annotated[int, typer.Option(help="Runs to draw for every rule.")] = 10_000,
    time: Annotated[
        list[str] | None, typer.Option(metavar="TIME", help="Wall time of a run; repeatable. 2m and 10m without.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of the draws.")] = 0,
    out: Out = DATA,
    page: Page = PAGE,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge every rule on recorded noise, with slowdowns added: false alarms, power, coverage."""
    from attnbench.commands.scoring import replay_command

    set_quiet(quiet)
    code = replay_command(folder, trials=trials, times=time or [], seed=seed, out=out, page=page, as_json=as_json)
    raise typer.Exit(code)


def register(app: typer.Typer) -> None:
    """Add it to the program."""
    app.add_typer(scoreboard, name="scoreboard")
