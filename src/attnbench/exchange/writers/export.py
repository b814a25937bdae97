"""``attnbench export``: one run in another tool's format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from attnbench.errors import UsageError, suggest
from attnbench.exchange.writers import asv, github, github_action, junit
from attnbench.exchange.writers import hyperfine as to_hyperfine
from attnbench.exchange.writers import pytest_benchmark as to_pytest_benchmark
from attnbench.exchange.writers.saved import Saved, read_saved
from attnbench.results.read import OF_RUN, run_folder
from attnbench.results.store import check_output, write_whole

DATA_JS = "github-action-benchmark"
FORMATS = ("pytest-benchmark", "asv", "hyperfine", "github", DATA_JS, "junit")
BY_COMMIT = ("asv", DATA_JS)


@dataclass(frozen=True)
class Exported:
    """What an export made: its text where no file was named, the file, what else is to be printed, and the run."""

    format: str
    saved: Saved
    text: str | None = None
    file: Path | None = None
    commands: tuple[str, ...] = ()


def export(run: str | Path, to: str, out: Path | None = None, commit: str | None = None) -> Exported:
    """Write ``run`` in the format ``to``. Raises ``UsageError`` or ``ResultsError``; then nothing was written.

    ``out`` is a file, for asv the results folder; without it the text is returned. A file that is there is replaced,
    but a GitHub summary is appended, since one file collects those of a whole step, and to a ``data.js`` the run is
    added, since the page shows all that it holds.
    """
    _check(run, to, out, commit)
    saved = read_saved(run)
    if to == "asv":
        return Exported(to, saved, file=asv.write_asv(saved, out or Path(), commit))
    if to == DATA_JS and (out is None or out.suffix != ".json"):
        text = github_action.to_data(saved, out, commit)
    else:
        text = _WRITERS[to](saved)
    commands = tuple(github.workflow_commands(saved)) if to == "github" else ()
    if out is None:
        return Exported(to, saved, text, None, commands)
    _write(out, text, append=to == "github")
    return Exported(to, saved, None, out, commands)


def _check(run: str | Path, to: str, out: Path | None, commit: str | None) -> None:
    if to not in FORMATS:
        msg = f"--to {to}: there is no such format; there are {', '.join(FORMATS)}{suggest(to, FORMATS)}"
        raise UsageError(msg)
    if to == "asv" and out is None:
        msg = "asv's results are a folder; name it: attnbench export RUN --to asv -o DIR"
        raise UsageError(msg)
    if commit is not None and to not in BY_COMMIT:
        msg = f"--commit belongs to --to {' and --to '.join(BY_COMMIT)}, not to --to {to}"
        raise UsageError(msg)
    if out is not None and to != "asv" and out.is_dir():
        msg = f"-o {out} is a folder; --to {to} writes a file"
        raise UsageError(msg)
    if out is not None and to != "asv":
        folder = run_folder(run)
        check_output("-o", out, [folder / name for name in OF_RUN])


_WRITERS: Mapping[str, Callable[[Saved], str]] = {
    "pytest-benchmark": to_pytest_benchmark.to_json,
    "hyperfine": to_hyperfine.to_hyperfine,
    "github": github.summary,
    DATA_JS: github_action.to_list,
    "junit": junit.to_junit,
}


def _write(path: Path, text: str, *, append: bool) -> None:
    try:
        if append:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
            return
    except OSError as error:
        msg = f"-o {path} cannot be written ({error.strerror}); name another file"
        raise UsageError(msg) from error
    write_whole(path, text)
