"""The command line: names, options and help. What a command does is in ``attnbench.commands``, imported when used."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from attnbench import __version__
from attnbench.commands.output import document, set_quiet
from attnbench.errors import EXIT_USAGE, AttnbenchError

app = typer.Typer(
    name="attnbench",
    help="Benchmarks and ablations of attention across NumPy, PyTorch and JAX, with agreement checked first.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notes and no progress.")]
Files = Annotated[
    list[Path] | None, typer.Option("--impls", metavar="FILE", help="Drop-in implementations: a file or a folder.")
]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"attnbench {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Benchmarks and ablations of attention across NumPy, PyTorch and JAX, with agreement checked first."""


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="impls, suites, cells or backends.")] = "impls",
    suite: Annotated[list[str] | None, typer.Option(help="The suites whose cells are listed.")] = None,
    as_json: Json = False,
) -> None:
    """Show what there is, and why something is not available."""
    from attnbench.commands.listing import list_command

    raise typer.Exit(list_command(what, suite or [], as_json=as_json))


@app.command()
def check(
    impls: Annotated[list[str] | None, typer.Argument(metavar="[IMPL]...", help="Names or shell patterns.")] = None,
    files: Files = None,
    dtype: Annotated[list[str] | None, typer.Option(help="float64, float32, bfloat16 or float16; repeatable.")] = None,
    features: Annotated[list[str] | None, typer.Option(help="Only these features; repeatable.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    deep: Annotated[bool, typer.Option("--deep", help="Every case in every dtype.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for one row.")] = 120.0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold implementations to the float64 oracle, forward and gradient: feature by feature, dtype by dtype."""
    from attnbench.commands.checking import check_command

    set_quiet(quiet)
    code = check_command(
        impls or [],
        files=files or [],
        dtypes=_split(dtype),
        features=_split(features),
        device=device,
        deep=deep,
        timeout_s=timeout,
        as_json=as_json,
    )
    raise typer.Exit(code)


@app.command()
def run(
    suites: Annotated[list[str] | None, typer.Argument(metavar="SUITE...", help="See: attnbench list suites.")] = None,
    impl: Annotated[list[str] | None, typer.Option(help="Implementations, by name or shell pattern.")] = None,
    axis: Annotated[list[str] | None, typer.Option("-a", metavar="AXIS=V1,V2", help="Other levels of an axis.")] = None,
    device: Annotated[list[str] | None, typer.Option(help="cpu or cuda; repeatable.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Threads, the same for all frameworks.")] = None,
    budget: Annotated[str | None, typer.Option(help="Wall time, such as 10m.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with a run that was broken off.")] = None,
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = Path("results"),
    report: Annotated[Path | None, typer.Option(help="Where reports go; reports beside --out.")] = None,
    files: Files = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check agreement, measure time and memory, and write a run folder and its report."""
    from attnbench.commands.running import run_command

    set_quiet(quiet)
    code = run_command(
        suites or [],
        patterns=impl or [],
        axes=axis or [],
        device=device or [],
        threads=threads or [],
        budget=budget,
        resume=resume,
        out=out,
        files=files or [],
        reports=report,
        as_json=as_json,
    )
    raise typer.Exit(code)


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders, or ids under results/.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="The report's folder.")] = None,
    as_json: Json = False,
) -> None:
    """Write an offline HTML page with figures, Markdown and CSV from one run or several."""
    from attnbench.commands.running import report_command

    raise typer.Exit(report_command(runs, out, as_json=as_json))


@app.command()
def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The run to compare with.")],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The run to judge.")],
    margin: Annotated[str, typer.Option(help="The smallest change that matters.")] = "5%",
    as_json: Json = False,
) -> None:
    """Judge a saved run against another: slower, same, faster, inconclusive or not comparable."""
    from attnbench.commands.running import compare_command

    raise typer.Exit(compare_command(base, head, margin, as_json=as_json))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Show the machine, the frameworks, what is missing and how to get it."""
    from attnbench.commands.doctor import doctor_command

    raise typer.Exit(doctor_command(as_json=as_json))


def _split(values: list[str] | None) -> list[str]:
    """Options that may be given several times, or once with commas."""
    return [part for value in values or [] for part in value.split(",") if part]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status; an error of ours is one clear line."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        app(given, prog_name="attnbench")
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(bool(done.code))
        if code == EXIT_USAGE and "--json" in given:
            document({"error": "wrong usage; see standard error", "exit_code": code})
        return code
    except AttnbenchError as error:
        return _failed(str(error), error.exit_code, as_json="--json" in given)
    except KeyboardInterrupt:
        return _failed("interrupted", EXIT_USAGE, as_json="--json" in given)
    except BrokenPipeError:
        # The reader has gone, as 'head' does: there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_USAGE
    return 0


def _failed(message: str, code: int, *, as_json: bool) -> int:
    print(f"attnbench: {message}", file=sys.stderr)  # noqa: T201
    if as_json:
        document({"error": message, "exit_code": code})
    return code


if __name__ == "__main__":
    sys.exit(main())
