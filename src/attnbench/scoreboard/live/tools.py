"""Other tools, as their users run them: measure A, then B, within a wall time, and read their verdict off their words.

What a tool takes besides measuring (starting, importing, calibrating) is not known beforehand; ``overhead_s`` is what
it took in an earlier trial, so that every tool gets to about the same wall time, and what it took is written down.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from attnbench.backends import discover
from attnbench.errors import MissingExtraError, ResultsError
from attnbench.scoreboard.live import benches
from attnbench.scoreboard.recorded.replay import ASV, PYPERF, PYTEST_BENCHMARK
from attnbench.workers.process import KEEPER, KEEPER_PATIENCE_S

# Seconds of both sides together that are no measuring, until they were seen: of all, and for every cell.
ASSUMED_S = {"pytest-benchmark": (3.0, 0.0), "asv": (6.0, 2.0), "pyperf": (2.0, 0.0)}
PACKAGES = {"pytest-benchmark": "pytest_benchmark", "asv": "asv", "pyperf": "pyperf"}
LEAST_S = 0.05
PATIENCE = 4.0
# A value of pyperf takes at least 0.1 s; a process starts, warms up once and gives three.
PYPERF_VALUE_S, PYPERF_START_S, PYPERF_VALUES, PYPERF_PROCESSES = 0.13, 0.5, 3, 20
TAIL = 800


@dataclass(frozen=True)
class ToolTrial:
    """One comparison to be made by a tool: a slowdown in per cent, lengths, wall seconds, a folder of its own."""

    extra: int
    lengths: Sequence[int]
    seconds: float
    folder: Path
    overhead_s: float


@dataclass(frozen=True)
class Called:
    """For every rule of a tool and every length, whether B is called slower; wall seconds, and those of measuring."""

    slower: Mapping[str, Mapping[int, bool]]
    took_s: float
    measured_s: float
    detail: Mapping[str, object] = field(default_factory=dict)


Tool = Callable[[ToolTrial], Called]


def check_extra() -> None:
    """Raise ``MissingExtraError`` where one of the tools is not installed."""
    for package in ("pytest", *PACKAGES.values()):
        if find_spec(package) is None:
            raise MissingExtraError("attnbench scoreboard", "scoreboard", package)


def versions() -> dict[str, str]:
    """The tools that are installed."""
    return {name: version(name) for name in PACKAGES}


def assumed_overhead(tool: str, cells: int) -> float:
    """Seconds for what is no measuring, where no trial has shown it."""
    fixed, each = ASSUMED_S[tool]
    return fixed + each * cells


def pytest_benchmark(trial: ToolTrial) -> Called:
    """``--benchmark-save``, then ``--benchmark-compare`` with four rules for ``--benchmark-compare-fail``."""
    (trial.folder / "test_attention.py").write_text(benches.PYTEST_BENCHMARK, encoding="utf-8")
    each = max((trial.seconds - trial.overhead_s) / 2 / len(trial.lengths), LEAST_S)
    command = [
        "-m",
        "pytest",
        "test_attention.py",
        "-q",
        "-p",
        "pytest_benchmark.plugin",
        "-p",
        "no:cacheprovider",
        "--rootdir=.",
        "-c",
        "pytest.ini",
    ]
    command += ["--benchmark-storage=file://./saved", f"--benchmark-max-time={each}"]
    (trial.folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    fails = ["--benchmark-compare-fail", *(f"{field}:{percent}%" for _, field, percent in PYTEST_BENCHMARK)]
    began = time.monotonic()
    _run(trial, [*command, "--benchmark-save=base"], 0)
    said = _run(trial, [*command, "--benchmark-save=head", "--benchmark-compare=0001", *fails], trial.extra, ok=(0, 1))
    took = time.monotonic() - began
    if "test_attention" not in said:
        _unread("pytest-benchmark", said)
    failed = {
        (field, int(float(limit)), int(T))
        for T, field, limit in re.findall(
            r"test_attention\[(\d+)\][^\n]* - Field '(\w+)' has failed \w+: [-\d.]+ > ([\d.]+)", said
        )
    }
    if any((field, 5, T) not in failed for field, percent, T in failed if percent > 5):  # noqa: PLR2004
        _unread("pytest-benchmark", said)
    slower = {name: {T: (f, percent, T) in failed for T in trial.lengths} for name, f, percent in PYTEST_BENCHMARK}
    return Called(slower, took, 2 * each * len(trial.lengths))


def asv(trial: ToolTrial) -> Called:
    """``asv run --python=same`` for two commits, then ``asv compare -f``, whose rule is that of ``asv continuous``."""
    folder = trial.folder
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "__init__.py").touch()
    (folder / "benchmarks" / "attention.py").write_text(benches.ASV, encoding="utf-8")
    (folder / "asv.conf.json").write_text(
        '{"version": 1, "project": "attention", "repo": ".", "branches": ["main"], '
        '"environment_type": "existing", "results_dir": "saved"}',
        encoding="utf-8",
    )
    commits = _commits(folder)
    # Two processes for every benchmark and side, one after the other.
    each = max((trial.seconds - trial.overhead_s) / 4 / len(trial.lengths), LEAST_S)
    began = time.monotonic()
    _run(trial, ["-m", "asv", "machine", "--yes", "--machine", "here"], 0)
    run = ["-m", "asv", "run", "--python=same", "--record-samples", "--machine", "here"]
    for commit, extra in zip(commits, (0, trial.extra), strict=True):
        _run(trial, [*run, f"--set-commit-hash={commit}"], extra, seconds=each)
    slower: dict[str, dict[int, bool]] = {}
    for name, factor in ASV:
        compare = ["-m", "asv", "compare", *commits, "-f", str(factor), "--machine", "here", "--sort", "name"]
        said = _run(trial, compare, 0, seconds=each)
        rows = re.findall(r"^\|\s*(\S?)\s*\|[^\n]*time_attention\((\d+)\)", said, re.MULTILINE)
        marks = {int(T): mark for mark, T in rows}
        if set(marks) != set(trial.lengths) or set(marks.values()) & {"!", "x"}:
            _unread("asv", said)
        slower[name] = {T: marks[T] == "+" for T in trial.lengths}
    return Called(slower, time.monotonic() - began, 4 * each * len(trial.lengths))


def pyperf(trial: ToolTrial) -> Called:
    """A script with ``pyperf.Runner`` twice, then ``pyperf compare_to``: slower and significant."""
    (trial.folder / "bench.py").write_text(benches.PYPERF, encoding="utf-8")
    each = (trial.seconds - trial.overhead_s) / 2 / len(trial.lengths)
    process = PYPERF_START_S + (1 + PYPERF_VALUES) * PYPERF_VALUE_S
    processes = max(2, min(PYPERF_PROCESSES, int(each / process)))
    # Time for more than pyperf's twenty processes goes into more values of each.
    values = max(PYPERF_VALUES, int((each / processes - PYPERF_START_S) / PYPERF_VALUE_S) - 1)
    inherited = ",".join(_environment(trial, 0, 0.0))
    command = ["bench.py", "-q", "-p", str(processes), "-n", str(values), f"--inherit-environ={inherited}"]
    began = time.monotonic()
    for name, extra in (("base", 0), ("head", trial.extra)):
        _run(trial, [*command, "-o", f"{name}.json"], extra)
    said = _run(trial, ["-m", "pyperf", "compare_to", "base.json", "head.json", "-v"], 0)
    took = time.monotonic() - began
    rows = re.findall(
        r"(?:^attention\[(\d+)\]\n=+\n\n)?^Mean[^\n]*(slower|faster|no change)\n(Not s|S)ignificant", said, re.MULTILINE
    )
    # A benchmark that is alone has no headline.
    changes = {int(T) if T else trial.lengths[0]: (change, sure) for T, change, sure in rows}
    if set(changes) != set(trial.lengths):
        _unread("pyperf", said)
    slower = {T: changes[T] == ("slower", "S") for T in trial.lengths}
    measured = 2 * len(trial.lengths) * processes * (PYPERF_START_S + (1 + values) * PYPERF_VALUE_S)
    return Called({PYPERF: slower}, took, measured, {"processes": processes, "values": values})


TOOLS: Mapping[str, Tool] = {"pytest-benchmark": pytest_benchmark, "asv": asv, "pyperf": pyperf}


def _commits(folder: Path) -> list[str]:
    """A repository with two commits, by which asv files its results."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    _check(folder, ["git", "init", "-q", "-b", "main"], None)
    commits = []
    for name in ("base", "head"):
        _check(folder, [*git, "commit", "-q", "--allow-empty", "-m", name], None)
        commits.append(_check(folder, ["git", "rev-parse", "HEAD"], None).strip())
    return commits


def _environment(trial: ToolTrial, extra: int, seconds: float) -> dict[str, str]:
    """What the benchmarks read, and the one thread that all frameworks get here."""
    variables = {benches.EXTRA: str(extra), benches.LENGTHS: ",".join(map(str, trial.lengths))}
    return variables | {benches.SECONDS: str(seconds)} | dict(discover.backend("numpy").process_environment(1))


def _run(
    trial: ToolTrial, arguments: Sequence[str], extra: int, *, seconds: float = 0.0, ok: Sequence[int] = (0,)
) -> str:
    """A Python module or script in the folder of the trial; everything that it says."""
    # HOME, because asv keeps a file there; no plugins of pytest, and none of its variables, but the one that is judged.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    home = {"HOME": str(trial.folder.absolute()), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "NO_COLOR": "1"}
    environment = kept | home | _environment(trial, extra, seconds)
    return _check(trial.folder, [sys.executable, *arguments], environment, PATIENCE * trial.seconds + 120, ok)


def _check(
    folder: Path,
    command: Sequence[str],
    environment: Mapping[str, str] | None,
    timeout_s: float = 60.0,
    ok: Sequence[int] = (0,),
) -> str:
    what = " ".join([Path(command[0]).name, *command[1:4]])
    try:
        status, out, err = _ended(folder, command, environment, timeout_s)
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"{what} … did not end as it should: {type(error).__name__}"
        raise ResultsError(msg) from error
    if status not in ok:
        msg = f"{what} … ended with status {status}: {(err or out)[-TAIL:]}"
        raise ResultsError(msg)
    return out + "\n" + err


def _ended(
    folder: Path, command: Sequence[str], environment: Mapping[str, str] | None, timeout_s: float
) -> tuple[int, str, str]:
    """Run to the end below a keeper; whatever comes between, ``kill -9`` too, nothing that the tool started goes on."""
    read_end, write_end = os.pipe()
    # The keeper says on its pipe whom it started, which nobody here needs to know.
    pipe = ["--requests", str(read_end), "--replies", str(write_end)]
    keeper = [sys.executable, "-I", "-S", str(KEEPER), "--parent", str(os.getpid()), *pipe]
    try:
        process = subprocess.Popen(
            [*keeper, "--", _program(command[0]), *command[1:]],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(read_end, write_end),
            text=True,
            errors="replace",
            start_new_session=True,
        )
    finally:
        os.close(read_end)
        os.close(write_end)
    with process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except BaseException:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(KEEPER_PATIENCE_S)
            process.kill()
            raise
    return process.returncode, out, err


def _program(name: str) -> str:
    """Its path: the keeper looks for nothing."""
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(name)
    return path


def _unread(tool: str, said: str) -> None:
    msg = f"the verdict of {tool} cannot be read off what it said: {said[-TAIL:]}"
    raise ResultsError(msg)
