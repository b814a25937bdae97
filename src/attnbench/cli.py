"""The command line: names, options and help. What a command does is in ``attnbench.commands``, imported when used."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from attnbench import __version__
from attnbench.commands.output import document, set_quiet
from attnbench.commands.pairs_cli import register
from attnbench.commands.scoreboard_cli import register as register_scoreboard
from attnbench.errors import EXIT_INCONCLUSIVE, EXIT_USAGE, AttnbenchError

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
    what: Annotated[str, typer.Argument(help="impls, suites, cells, shapes or backends.")] = "impls",
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
    random: Annotated[int, typer.Option(metavar="N", help="Instead, N random combinations of all features.")] = 0,
    seed: Annotated[int, typer.Option(help="The seed of --random.")] = 0,
    draws: Annotated[int, typer.Option(help="With --random: draws of the values for each combination.")] = 1,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Instead, ONNX's own cases of Attention, or with --random nodes of it.")
    ] = False,
    case: Annotated[
        list[str] | None, typer.Option("--case", metavar="CASE", help="Instead, exactly this case; repeatable.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="The rows as JUnit XML besides.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for one row.")] = 120.0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold implementations to the float64 oracle, forward and gradient: feature by feature, dtype by dtype."""
    from attnbench.commands.checking import check_command, known_device, positive

    set_quiet(quiet)
    known_device(device)
    positive("--timeout", timeout)
    if onnx:
        from attnbench.commands.conformance import onnx_command

        code = onnx_command(
            impls or [],
            files=files or [],
            random=random,
            seed=seed,
            device=device,
            timeout_s=timeout,
            as_json=as_json,
        )
        raise typer.Exit(code)
    if random:
        from attnbench.commands.random_checking import random_command

        code = random_command(
            impls or [],
            count=random,
            seed=seed,
            draws=draws,
            files=files or [],
            dtypes=_split(dtype),
            device=device,
            timeout_s=timeout,
            as_json=as_json,
        )
        raise typer.Exit(code)
    if case:
        from attnbench.commands.case_checking import case_command

        code = case_command(
            impls or [], case, files=files or [], device=device, timeout_s=timeout, junit=junit, as_json=as_json
        )
        raise typer.Exit(code)
    code = check_command(
        impls or [],
        files=files or [],
        dtypes=_split(dtype),
        features=_split(features),
        device=device,
        deep=deep,
        timeout_s=timeout,
        as_json=as_json,
        junit=junit,
    )
    raise typer.Exit(code)


@app.command()
def run(
    suites: Annotated[list[str] | None, typer.Argument(metavar="SUITE...", help="See: attnbench list suites.")] = None,
    impl: Annotated[list[str] | None, typer.Option(help="Implementations, by name or shell pattern.")] = None,
    axis: Annotated[list[str] | None, typer.Option("-a", metavar="AXIS=V1,V2", help="Other levels of an axis.")] = None,
    shape: Annotated[
        list[str] | None, typer.Option(help="Shapes of real models; see: attnbench list shapes. Repeatable.")
    ] = None,
    tokens: Annotated[list[int] | None, typer.Option(help="Tokens of a sequence; repeatable.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Sequences at once; repeatable.")] = None,
    phase: Annotated[
        list[str] | None,
        typer.Option(help="prefill (forward), train (forward and backward) or decode (one token over a cache)."),
    ] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="float64, float32, bfloat16 or float16; repeatable.")] = None,
    device: Annotated[list[str] | None, typer.Option(help="cpu or cuda; repeatable.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Threads, the same for all frameworks.")] = None,
    budget: Annotated[str | None, typer.Option(help="Wall time, such as 10m.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with a run that was broken off.")] = None,
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = Path("results"),
    report: Annotated[Path | None, typer.Option(help="Where reports go; reports beside --out.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for one step of a cell, such as checking it.")] = 120.0,
    wait: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long to wait for another run on this machine, such as 10m.")
    ] = None,
    files: Files = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check agreement, measure time and memory, and write a run folder and its report."""
    from attnbench.commands.asking import overrides
    from attnbench.commands.running import run_command

    set_quiet(quiet)
    axes = overrides(
        suites or [],
        axis or [],
        shapes=_split(shape),
        tokens=tokens or [],
        batch=batch or [],
        phases=_split(phase),
        dtypes=_split(dtype),
    )
    code = run_command(
        suites or [],
        patterns=impl or [],
        axes=axes,
        device=device or [],
        threads=threads or [],
        budget=budget,
        resume=resume,
        out=out,
        files=files or [],
        reports=report,
        timeout_s=timeout,
        wait=wait,
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
    from attnbench.commands.saved_runs import compare_command

    raise typer.Exit(compare_command(base, head, margin, as_json=as_json))


@app.command("export")
def export_(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or an id under results/.")],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="pytest-benchmark, asv, github, junit or csv.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="The file (for asv its results folder); else it is printed."),
    ] = None,
    commit: Annotated[str | None, typer.Option(help="For asv: the commit that was measured.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run in another tool's format; cells without a time are in each of them, with their reason."""
    from attnbench.commands.exchange import export_command

    set_quiet(quiet)
    raise typer.Exit(export_command(run, to, out, commit, as_json=as_json))


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON of pytest-benchmark, pyperf, asv or google-benchmark.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where run folders go.")] = Path("results"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read another tool's file as a run, labelled as imported, which report and compare take."""
    from attnbench.commands.exchange import import_command

    set_quiet(quiet)
    raise typer.Exit(import_command(file, out, as_json=as_json))


register(app)
register_scoreboard(app)


@app.command()
def semantics(
    backends: Annotated[list[str] | None, typer.Argument(metavar="[BACKEND]...", help="All without a name.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    timeout: Annotated[float, typer.Option(help="Seconds for one probe.")] = 60.0,
    markdown: Annotated[bool, typer.Option("--markdown", help="A page such as docs/semantics.md.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what each installed native kernel does by itself in the edge cases."""
    from attnbench.commands.semantics import semantics_command

    set_quiet(quiet)
    code = semantics_command(backends or [], device=device, timeout_s=timeout, markdown=markdown, as_json=as_json)
    raise typer.Exit(code)


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
        return _failed("interrupted", EXIT_INCONCLUSIVE, as_json="--json" in given)
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
