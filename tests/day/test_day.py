"""The day of the GPU with stand-in steps: each can fail, hang or be cut, and the archive still loads and says so."""

from __future__ import annotations

import errno
import json
import os
import shutil
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
from attnbench.day.steps import GPU_TESTS, STAGES, DayStep, steps
from attnbench.day.wheels import wanted
from tests.processes import gone
from tests.program import Cli
from tests.repository import REPOSITORY
from tests.results.synthetic import write_run

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
    assert opened.lines()[0].startswith("a day on cpu, of 3 steps: 2 did all of their work, 1 ")
    assert opened.lines()[1:] == [f"  {faulty}: {words}"]
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
    assert lines[0].startswith("a day on cpu, of 3 steps: ")
    assert lines[0].endswith("; the day was cut, and this is what there was until then")
    assert (f"{number} did all of their work" in lines[0]) == (number > 0)
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


def test_a_long_text_keeps_its_beginning_and_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "HEAD_BYTES", 1000)
    monkeypatch.setattr(packing, "TAIL_BYTES", 1000)
    monkeypatch.setattr(day, "MOST_TEXT", 10 * 2**20)
    code = "print('seen'); print('x' * 9999)\nprint('last', flush=True)"
    endless = "print('seen', flush=True)\nwhile True: print('x' * 9999)"
    a_day = day.Day(tmp_path, "cpu", 60)
    a_day.play([*plan("second", code), DayStep("endless", 30.0, (sys.executable, "-c", endless))], tmp_path)
    opened = archive.opened(tmp_path / "day.tgz")
    text = text_of(opened, "second")
    assert text.startswith("seen\nxxx")
    assert text.endswith("xxx\nlast")
    assert "bytes are left out here" in text
    assert len(text) < 2100
    assert opened.lines()[-1] == "  endless: failed: it was ended, having printed 10 MiB"


ORPHAN = """
import subprocess, sys
from pathlib import Path
from attnbench.day import day
from attnbench.day.steps import DayStep
out, hang = Path(sys.argv[1]), "import time; time.sleep(600)"
leave = f"from subprocess import Popen; print(Popen([{sys.executable!r}, '-c', {hang!r}], start_new_session=True).pid)"
sys.exit(day.played(day.Day(out, "cpu", 90), [DayStep("a", 30, (sys.executable, "-c", leave))], out))
"""


def test_what_goes_on_after_its_step_is_ended_and_said(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", ORPHAN, str(tmp_path)], check=False).returncode == 0
    opened = archive.opened(tmp_path / "day.tgz")
    assert gone(int(text_of(opened, "a")))
    assert opened.lines()[1:] == ["  a: 1 of its processes ran on after it, and were ended"]


def asked(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script as it is started there."""
    script = REPOSITORY / "src" / "attnbench" / "day" / "day.py"
    given = {name: value for name, value in os.environ.items() if name != "OUT"} | environment
    return subprocess.run([sys.executable, str(script), *words], env=given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "where is the archive to go? Type: --out FOLDER"),
        (["--out", "/dev/null/here"], "Not a directory"),
        (["--out", ".", "--only", "doktor"], "there is no step doktor; there are machine, packages, install"),
        (["--out", ".", "--from", "memory", "--until", "doctor"], "no step is left of --from memory --until doctor"),
        (["--out", ".", "--budget", "nan"], "is no time for a day"),
        (["--out", ".", "--budget", "-1"], "is no time for a day"),
    ],
)
def test_what_cannot_begin_is_said_at_once(words: list[str], said: str) -> None:
    done = asked(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_only_the_archive_is_put_into_the_folder_and_an_earlier_one_stays(tmp_path: Path) -> None:
    """Where few files come back from a machine, the archive has to be among them."""
    out, work = tmp_path / "out", tmp_path / "work"
    out.mkdir()
    (out / "day.tgz").write_bytes(b"earlier")
    done = asked("--device", "cpu", "--only", "machine", "--budget", "5.5", "--place", str(work), OUT=str(out))
    assert sorted(file.name for file in out.iterdir()) == ["day-2.tgz", "day.tgz"], done.stdout
    assert (out / "day.tgz").read_bytes() == b"earlier"
    names = [step["name"] for step in archive.opened(out / "day-2.tgz").journal["steps"]]
    assert names == ["machine", "install"]


def test_the_script_beside_the_wheels_is_the_same_day_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "src").symlink_to(REPOSITORY / "src")
    script = tmp_path / ".gpu" / "day.sh"
    script.parent.mkdir()
    script.write_text(wheels.SCRIPT.format(day=wheels.DAY), encoding="utf-8")
    told = subprocess.run(
        ["bash", str(script), "--steps", "--device", "cpu"],
        cwd="/", env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    planned = steps(STAGES["cpu"], tmp_path, tmp_path)
    assert [line.split()[-1] for line in told.stdout.splitlines()] == [step.name for step in planned]


def test_nothing_that_is_left_over_hides_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = {"TRITON_INTERPRET": "1", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": " "}
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    code = (
        f"import os; print([n for n in {list(left)} if n in os.environ], os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'])"
    )
    for device, seen in (("cuda", "[] true"), ("cpu", f"{list(left)} true")):
        a_day = day.Day(tmp_path / device, device, 60)
        a_day.play(plan("first", code), tmp_path)
        assert (tmp_path / device / "day" / "texts" / "first.txt").read_text("utf-8").strip() == seen
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    a_day = day.Day(tmp_path / "one", "cuda", 60)
    a_day.play(plan("first", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"), tmp_path)
    assert (tmp_path / "one" / "day" / "texts" / "first.txt").read_text("utf-8").strip() == "1"


def test_a_run_that_was_too_short_has_not_failed() -> None:
    ours, other = DayStep("a", 1, (sys.executable, "-m", "attnbench.day.fastest")), DayStep("b", 1, ("pytest",))
    assert [ours.status_of(code) for code in (0, 3, 4)] == ["ok", "partly", "failed"]
    assert other.status_of(3) == "failed"
    entry = {"command": ours.command, "status": "partly", "exit_code": 3}
    assert archive.outcome(entry).startswith("did a part of it: its time was too short")


def test_the_tests_of_a_day_are_all_that_need_a_gpu() -> None:
    """Whole folders do not collect on a machine that lacks packages."""
    marked = [
        str(file.relative_to(REPOSITORY))
        for file in (REPOSITORY / "tests").rglob("test_*.py")
        if "pytest.mark." + "gpu" in file.read_text("utf-8")
    ]
    assert sorted(marked) == sorted(GPU_TESTS)


def test_an_archive_that_was_cut_tells_what_came_before(tmp_path: Path) -> None:
    a_day = day.Day(tmp_path, "cpu", 60)
    (tmp_path / "day" / "noise.bin").write_bytes(os.urandom(2**18))
    a_day.play(plan(), tmp_path)
    cut = tmp_path / "cut.tgz"
    cut.write_bytes((tmp_path / "day.tgz").read_bytes()[: 2**17])
    opened = archive.opened(cut)
    assert text_of(opened, "third") == "seen"
    assert "the archive is damaged" in opened.lines()[1]


@pytest.mark.parametrize("file", ["run.json", "cells.parquet", "samples.parquet", "verdicts.parquet"])
def test_nonsense_in_one_run_does_not_hide_the_others(file: str, cli: Cli, tmp_path: Path) -> None:
    good = write_run(tmp_path / "day" / "runs", bursts=4, lengths=(128,))
    bad = tmp_path / "day" / "runs" / "bad"
    shutil.copytree(good, bad)
    (bad / file).write_bytes(b"\x00nonsense")
    day.Day(tmp_path, "cpu", 60).play([], tmp_path)
    seen = cli("report", str(tmp_path / "day.tgz"), "-o", str(tmp_path / "page"))
    assert seen.code == 0, seen.err
    assert file == "verdicts.parquet" or "the run bad cannot be read, and is left out" in seen.err
    assert (tmp_path / "page" / "index.html").is_file()
    assert "The fastest of each case" in (tmp_path / "page" / "day.html").read_text("utf-8")


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
    for pattern in (*at.patterns.values(), *at.kernels, *at.learned, *at.additive, *at.pair):
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
    monkeypatch.setattr(wheels, "PIP", (sys.executable, "-m", "no_pip_here"))
    assert wheels.install(made.parent, tmp_path / "without") == 0
    assert (tmp_path / "without" / "attnbench" / "here.py").exists()
    assert "was unpacked instead" in capfd.readouterr().err


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
    page = (tmp_path / "page" / "day.html").read_text("utf-8")
    assert "2 did all of their work, 1 failed." in page
    assert "second failed with exit status 2. It printed nothing." in page


def test_nothing_is_the_fastest_of_no_runs(tmp_path: Path) -> None:
    assert fastest(tmp_path, "cuda") == []


def test_a_run_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "run.json").write_text('{"run_', encoding="utf-8")
    assert fastest(tmp_path, "cuda") == []
    assert "cut was left out: " in capsys.readouterr().err
