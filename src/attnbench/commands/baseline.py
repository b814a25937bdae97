"""``attnbench baseline set|show|check``: a small file in git that later runs are held to."""

from __future__ import annotations

from pathlib import Path

from attnbench.commands.output import document, show, table
from attnbench.commands.running import percentage
from attnbench.errors import EXIT_NOTHING_MEASURED, EXIT_OK
from attnbench.results.extra import check_report_extra


def set_command(run: str, name: str | None, folder: Path, *, as_json: bool) -> int:
    """Make a baseline of a saved run."""
    check_report_extra("attnbench baseline")
    from attnbench.compare.baseline import set_baseline
    from attnbench.compare.runs import load_saved

    path = set_baseline(load_saved(run), name, folder)
    size = path.stat().st_size
    if as_json:
        document({"file": str(path), "bytes": size, "exit_code": EXIT_OK})
    else:
        show(f"baseline: {path} ({size / 1024:.1f} KiB); commit it, and check runs with: attnbench baseline check RUN")
    return EXIT_OK


def show_command(name: str | None, folder: Path, *, as_json: bool) -> int:
    """What baselines there are, or what is in one."""
    check_report_extra("attnbench baseline")
    from attnbench.compare.baseline import names, read_baseline
    from attnbench.report import units
    from attnbench.results.frames import records

    known = names(folder) if name is None else [name]
    found = {one: read_baseline(one, folder) for one in known}
    code = EXIT_OK if found else EXIT_NOTHING_MEASURED
    if as_json:
        listed = {
            one: [*records(run.cells.astype(object).where(run.cells.notna(), None))] for one, run in found.items()
        }
        document({"baselines": listed, "exit_code": code})
        return code
    if not found:
        show(f"no baseline in {folder}; type: attnbench baseline set RUN")
    for one, run in found.items():
        info = run.info
        show(f"{one}: of run {info.run_id} ({info.started}), machine {info.fingerprint.machine_id}")
        rows = [
            (row["case_label"], row["impl"], units.seconds(row["time_median_s"]), units.size(row["peak_bytes"]))
            for row in records(run.cells)
        ]
        show(table(("case", "implementation", "time", "memory"), rows, indent="  "))
    return code


def check_command(run: str, name: str | None, folder: Path, margin: str, *, as_json: bool) -> int:
    """Judge a saved run against a baseline: the weaker claim, as that of ``compare``."""
    check_report_extra("attnbench baseline")
    from attnbench.commands.saved_runs import judge, tell
    from attnbench.compare.baseline import choose, read_baseline
    from attnbench.compare.runs import load_saved
    from attnbench.results.read import run_folder

    smallest = percentage(margin)
    head = load_saved(run)
    chosen = choose(head, name, folder)
    judged = judge(read_baseline(chosen, folder), head, smallest, [run_folder(run).parent])
    if as_json:
        document({"baseline": chosen, **judged.describe()})
    else:
        show(f"baseline {chosen}")
        tell(judged)
    return judged.exit_code
