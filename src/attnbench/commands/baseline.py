"""``attnbench baseline set|show|check``: a small file in git that later runs are held to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attnbench.commands import options
from attnbench.commands.given import percentage
from attnbench.errors import EXIT_NOTHING_MEASURED, EXIT_OK
from attnbench.show.console import document, show, table

if TYPE_CHECKING:
    from attnbench.comparing import SavedRun

BASELINES = Path("results") / "baselines"

baseline = typer.Typer(help="A small file in git that later runs are held to.", no_args_is_help=True)


@baseline.command("set")
def set_(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run to make it of.")],
    *,
    name: options.NewBaseline = None,
    folder: options.Baselines = BASELINES,
    as_json: options.Json = False,
) -> None:
    """Make a baseline of a saved run."""
    from attnbench.results.extra import check_report_extra

    check_report_extra("attnbench baseline")
    from attnbench.comparing.baseline import set_baseline
    from attnbench.comparing.runs import load_saved

    path = set_baseline(load_saved(run), name, folder)
    size = path.stat().st_size
    if as_json:
        document({"file": str(path), "bytes": size, "exit_code": EXIT_OK})
    else:
        show(f"baseline: {path} ({size / 1024:.1f} KiB); commit it, and check runs with: attnbench baseline check RUN")


@baseline.command("show")
def show_(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="All without a name.")] = None,
    *,
    folder: options.Baselines = BASELINES,
    as_json: options.Json = False,
) -> None:
    """Show what is in the baselines."""
    from attnbench.results.extra import check_report_extra

    check_report_extra("attnbench baseline")
    from attnbench.comparing.baseline import names, read_baseline
    from attnbench.results.frames import records

    known = names(folder) if name is None else [name]
    baselines = {stored: read_baseline(stored, folder) for stored in known}
    code = EXIT_OK if baselines else EXIT_NOTHING_MEASURED
    if as_json:
        listed = {
            stored: [*records(run.cells.astype(object).where(run.cells.notna(), None))]
            for stored, run in baselines.items()
        }
        document({"baselines": listed, "exit_code": code})
    else:
        _tell(baselines, folder)
    raise typer.Exit(code)


def _tell(baselines: Mapping[str, SavedRun], folder: Path) -> None:
    from attnbench.results.frames import records
    from attnbench.show import units

    if not baselines:
        show(f"no baseline in {folder}; type: attnbench baseline set RUN")
    for name, run in baselines.items():
        info = run.info
        show(f"{name}: of run {info.run_id} ({info.started}), machine {info.fingerprint.machine_id}")
        rows = [
            (row["case_label"], row["impl"], units.seconds(row["time_median_s"]), units.size(row["peak_bytes"]))
            for row in records(run.cells)
        ]
        show(table(("case", "implementation", "time", "memory"), rows, indent="  "))


@baseline.command()
def check(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run to judge.")],
    *,
    name: options.ChosenBaseline = None,
    margin: options.Margin = "5%",
    folder: options.Baselines = BASELINES,
    as_json: options.Json = False,
) -> None:
    """Judge a saved run against a baseline; the claim is that of compare, the weaker one."""
    from attnbench.results.extra import check_report_extra

    check_report_extra("attnbench baseline")
    from attnbench.comparing.baseline import choose, read_baseline
    from attnbench.comparing.runs import load_saved
    from attnbench.interface.comparison import judge
    from attnbench.results.read import run_folder

    smallest = percentage(margin)
    head = load_saved(run)
    chosen = choose(head, name, folder)
    judged = judge(read_baseline(chosen, folder), head, smallest, [run_folder(run).parent])
    if as_json:
        document({"baseline": chosen, **judged.describe()})
    else:
        show(f"baseline {chosen}")
        show(str(judged))
    raise typer.Exit(judged.exit_code)
