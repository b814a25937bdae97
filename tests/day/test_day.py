"""The day of the GPU with stand-in steps: each can fail, hang or be cut, and the archive still loads and says so."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from attnbench.backends import discover
from attnbench.commands.app import command
from attnbench.day import archive, day, ending, packing, wheels
from attnbench.day.fastest import fastest
from attnbench.day.steps import STAGES, DayStep, steps
from attnbench.day.wheels import wanted
from tests.processes import gone
from tests.program import Cli
from tests.repository import REPOSITORY

FINE = "print('seen')"
FAULTS = {
    "fails": ("print('seen'); raise SystemExit(3)", "failed with exit status 3"),
    "hangs": ("import time; print('seen', flush=True); time.sleep(600)", "was ended after its 3 s"),
    "refuses to end": (
        "import time, signal as s; [s.signal(n, s.SIG_IGN) for n in (2, 15)]; print('seen', flush=True); time.sleep(9)",
        "was ended after its 3 s",
    ),
    "kills itself": ("import os; print('seen', flush=True); os.kill(os.getpid(), 9)", "failed with exit status -9"),
}
NAMES = ("first", "second", "third")


def plan(faulty: str | None = None, code: str = FINE, limit_s: float = 20.0) -> list[DayStep]:
    chosen = {name: (code, limit_s) if name == faulty else (FINE, 20.0) for name in NAMES}
    return [DayStep(name, limit, (sys.executable, "-c", told)) for name, (told, limit) in chosen.items()]


def text_of(opened: archive.DayArchive, name: str) -> str:
    return (opened.folder / "texts" / f"{name}.txt").read_text(encoding="utf-8").strip()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "GRACE_S", 0.2)
    monkeypatch.setattr(day, "LEAST_S", 0.5)


@pytest.mark.parametrize(("code", "words"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("faulty", [NAMES[0], NAMES[-1]])
def test_a_step_can_go_wrong_and_the_others_are_played(tmp_path: Path, faulty: str, code: str, words: str) -> None:
    a_day = day.Day(tmp_path, "cpu", 60)
    a_day.play(plan(faulty, code, limit_s=3.0), tmp_path)
    opened = archive.opened(tmp_path / "day.tgz")
    assert opened.lines() == ["a day on cpu: 2 of 3 steps are ok", f"  {faulty}: {words}"]
    assert all(text_of(opened, name).startswith("seen") for name in NAMES)


CUT = """
import sys
from pathlib import Path
from attnbench.day import day
from attnbench.day.steps import DayStep
out, number = Path(sys.argv[1]), int(sys.argv[2])
hang = "import time; print('seen', flush=True); time.sleep(600)"
plan = [DayStep(n, 99, (sys.executable, "-c", hang if i == number else "print('seen')")) for i, n in enumerate("abc")]
sys.exit(day.played(day.Day(out, "cpu", 90), plan, out))
"""


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(
    ("ended_by", "words"),
    [
        (signal.SIGTERM, "was cut: the day was ended by SIGTERM"),
        (signal.SIGKILL, "was running when the machine went away"),
    ],
)
def test_a_day_can_be_cut_in_any_step(tmp_path: Path, number: int, ended_by: signal.Signals, words: str) -> None:
    playing = subprocess.Popen([sys.executable, "-c", CUT, str(tmp_path), str(number)])
    text = tmp_path / "day" / "texts" / f"{'abc'[number]}.txt"
    until = time.monotonic() + 60
    while not (text.exists() and text.read_text(encoding="utf-8")) and time.monotonic() < until:
        time.sleep(0.05)
    children = ending.descendants(playing.pid)
    playing.send_signal(ended_by)
    assert playing.wait(30) != 0
    for pid in children if ended_by == signal.SIGKILL else ():
        os.kill(pid, signal.SIGKILL)
    lines = archive.opened(tmp_path / "day.tgz").lines()
    assert (
        lines[0] == f"a day on cpu: {number} of 3 steps are ok; the day was cut, and this is what there was until then"
    )
    assert lines[1:] == [f"  {'abc'[number]}: {words}", *(f"  {name}: was not run" for name in "abc"[number + 1 :])]


def test_what_a_step_has_started_ends_with_it(tmp_path: Path) -> None:
    """Also a worker in a session of its own, which no signal to the step's group reaches."""
    worker = "import time; time.sleep(600)"
    start = f"subprocess.Popen([sys.executable, '-c', {worker!r}], start_new_session=True)"
    code = f"import subprocess, sys, time; w = {start}; print(w.pid, flush=True); time.sleep(600)"
    a_day = day.Day(tmp_path, "cpu", 60)
    a_day.play(plan("second", code, limit_s=3.0), tmp_path)
    pid = int((tmp_path / "day" / "texts" / "second.txt").read_text(encoding="utf-8").split()[0])
    assert gone(pid)


def test_no_step_begins_when_the_time_is_over(tmp_path: Path) -> None:
    a_day = day.Day(tmp_path, "cpu", 2)
    a_day.play(plan("first", "import time; time.sleep(600)", limit_s=99), tmp_path)
    assert [step["status"] for step in a_day.journal["steps"]] == ["out-of-time", "not-run", "not-run"]
    assert "  second: was not run: no time was left" in archive.opened(tmp_path / "day.tgz").lines()


def test_a_command_that_is_not_there_is_a_step_that_failed(tmp_path: Path) -> None:
    a_day = day.Day(tmp_path, "cpu", 60)
    a_day.play([DayStep("absent", 20, ("/no/such/program",)), *plan()], tmp_path)
    assert [step["status"] for step in a_day.journal["steps"]] == ["failed", "ok", "ok", "ok"]


def test_the_archive_has_its_limit_and_says_what_it_left_out(tmp_path: Path) -> None:
    a_day = day.Day(tmp_path, "cpu", 60)
    run = tmp_path / "day" / "runs" / "one"
    run.mkdir(parents=True)
    (run / "samples.parquet").write_bytes(os.urandom(12 * 2**20))
    (run / "run.json").write_text("{}", encoding="utf-8")
    a_day.play(plan(), tmp_path)
    assert (tmp_path / "day.tgz").stat().st_size < 2**20
    opened = archive.opened(tmp_path / "day.tgz")
    assert opened.runs == [opened.folder / "runs" / "one"]
    assert opened.lines()[-1] == "  left out, for want of room: runs/one/samples.parquet"


RENAMES = """
import os, time
from pathlib import Path
folder, end = Path("day/runs/one"), time.monotonic() + 1.5
folder.mkdir(parents=True)
while time.monotonic() < end:
    for i in range(100):
        (folder / f"{i}.part").write_bytes(b"x" * 9999)
        os.replace(folder / f"{i}.part", folder / f"{i}.json")
        os.truncate(folder / f"{i}.json", i)
    for i in range(100):
        os.unlink(folder / f"{i}.json")
(folder / "run.json").write_text("{}")
"""


def test_files_that_come_and_go_while_they_are_packed_do_a_step_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day, "EVERY_S", 0.0)
    a_day = day.Day(tmp_path, "cpu", 60)
    a_day.play(plan("second", RENAMES, limit_s=30.0), tmp_path)
    assert a_day.written > 8
    assert [step["status"] for step in a_day.journal["steps"]] == ["ok", "ok", "ok"], a_day.journal
    opened = archive.opened(tmp_path / "day.tgz")
    assert [file.name for file in (opened.folder / "runs" / "one").iterdir()] == ["run.json"]


def test_an_archive_that_cannot_be_written_ends_no_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    a_day = day.Day(tmp_path, "cpu", 60)
    a_day.keep()
    monkeypatch.setattr(packing, "add", full)
    a_day.play(plan(), tmp_path)
    assert [step["status"] for step in a_day.journal["steps"]] == ["ok", "ok", "ok"]
    assert "the archive was not renewed: [Errno 28] No space left" in capsys.readouterr().out
    assert [file.name for file in tmp_path.glob("day.*")] == ["day.tgz"]
    assert archive.opened(tmp_path / "day.tgz").journal["steps"] == []


@pytest.mark.parametrize("stage", STAGES)
def test_every_implementation_of_a_day_is_there(stage: str) -> None:
    at = STAGES[stage]
    for pattern in (*at.patterns.values(), *at.kernels, *at.learned, *at.pair):
        assert discover.select([pattern], discover.implementation_names())


@pytest.mark.parametrize("stage", STAGES)
def test_every_step_of_ours_is_a_command_as_it_is_typed(stage: str, tmp_path: Path) -> None:
    planned = steps(STAGES[stage], tmp_path / "wheels", tmp_path)
    assert len({step.name for step in planned}) == len(planned)
    for step in planned:
        if step.command[1:3] == ("-m", "attnbench") and step.name != "precheck":
            name, *words = step.command[3:]
            command(name).make_context(name, words)


def test_the_wheels_are_those_that_the_machine_lacks() -> None:
    names = {requirement.partition(">")[0] for requirement in wanted(REPOSITORY)}
    assert {"pydantic", "platformdirs", "junitparser"} <= names
    assert not {"torch", "numpy", "jax[cuda12]"} & names


def test_the_wheel_of_the_project_is_taken_where_it_cannot_be_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    cannot = tmp_path / "copy"
    cannot.mkdir()
    (cannot / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "absent"\n', encoding="utf-8"
    )
    made = tmp_path / "wheels" / "attnbench-1-py3-none-any.whl"
    made.parent.mkdir()
    monkeypatch.setattr(wheels, "ROOT", cannot)
    assert wheels.install(made.parent, tmp_path / "site") == 1
    about = "attnbench-1.dist-info/"
    with zipfile.ZipFile(made, "w") as wheel:
        wheel.writestr("attnbench/here.py", "")
        wheel.writestr(about + "METADATA", "Metadata-Version: 2.1\nName: attnbench\nVersion: 1\n")
        wheel.writestr(about + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(about + "RECORD", "")
    assert wheels.install(made.parent, tmp_path / "site") == 0
    assert (tmp_path / "site" / "attnbench" / "here.py").exists()
    assert "copy was not installed" in capfd.readouterr().err


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_what_is_no_archive_is_refused_in_one_line(cli: Cli, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "day.tgz"
    if content is None:
        (tmp_path / "day.json").write_text(json.dumps({"steps": 3}), encoding="utf-8")
        with tarfile.open(file, "w:gz") as made:
            made.add(tmp_path / "day.json", "day/day.json")
    else:
        file.write_bytes(content)
    seen = cli("report", str(file), "-o", str(tmp_path / "page"))
    assert seen.code == 2
    assert "is no archive of a day of the GPU" in seen.err
    assert "Traceback" not in seen.err


def test_a_report_of_a_day_without_a_run_says_what_became_of_its_steps(cli: Cli, tmp_path: Path) -> None:
    a_day = day.Day(tmp_path, "cpu", 60)
    a_day.play(plan("second", "raise SystemExit(2)"), tmp_path)
    seen = cli("report", str(tmp_path / "day.tgz"), "-o", str(tmp_path / "page"))
    assert seen.code == 2
    assert "second: failed with exit status 2" in seen.err
    assert "no run had begun" in seen.err


def test_nothing_is_the_fastest_of_no_runs(tmp_path: Path) -> None:
    assert fastest(tmp_path, "cuda") == []


def test_a_run_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "run.json").write_text('{"run_', encoding="utf-8")
    assert fastest(tmp_path, "cuda") == []
    assert "cut was left out: " in capsys.readouterr().err
