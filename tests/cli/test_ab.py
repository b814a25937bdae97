"""``attnbench ab`` as a person uses it: implementations, revisions, faults, interrupts, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from xml.etree import ElementTree as ET

import psutil
import pytest
from pyarrow import parquet

from attnbench.commands.live.output import open_lines
from attnbench.comparing.live import LiveVerdict
from attnbench.errors import install_from_origin
from attnbench.live.revisions import Revisions
from attnbench.results.calibrations import save
from attnbench.results.fingerprint import collect_hardware
from attnbench.results.pairs import read_comparison, read_pairs
from tests.program import SMALL, Cli
from tests.repository import REPOSITORY, SMOKE_SAMPLE
from tests.results import synthetic
from tests.wording import says

if TYPE_CHECKING:
    from attnbench.live.comparison import Compared

KERNEL = """
    import os
    import numpy as np
    from attnbench.api import Capabilities, implementation

    def attention(q, k, v, call):
        s = q @ np.swapaxes(k, -1, -2) * call.scale
        e = np.exp(s - s.max(-1, keepdims=True))
        return (e / e.sum(-1, keepdims=True)) @ v

    @implementation("numpy/mine", Capabilities())
    def mine(q, k, v, call):
        BEFORE
        return attention(q, k, v, call)
"""
TWICE = "kept = np.ones(2**20); attention(q, k, v, call)"


def write(folder: Path, before: str = "pass") -> Path:
    path = folder / "mine.py"
    path.write_text(dedent(KERNEL).replace("BEFORE", before), encoding="utf-8")
    return path


def git(folder: Path, *arguments: str) -> str:
    own = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *own, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository that is not attnbench's, with a drop-in file in it, on ``main``."""
    git(tmp_path, "init", "-q", "-b", "main")
    write(tmp_path)
    git(tmp_path, "add", "mine.py")
    git(tmp_path, "commit", "-q", "-m", "once")
    return tmp_path


def left_over(repository: Path) -> list[str]:
    """Trees that a comparison has left to git."""
    return git(repository, "worktree", "list").splitlines()[1:]


def test_a_version_against_itself_is_no_change_and_everything_is_kept(cli: Cli, tmp_path: Path) -> None:
    done = cli("ab", "numpy/naive", "numpy/naive", *SMALL, "--budget", "8s", "--json")
    assert done.code in (0, 3), done.err
    told = done.document
    (verdict,) = told["verdicts"]
    assert verdict["verdict"] in ("same", "inconclusive")
    memory = verdict["memory"]
    spent = memory["verdict"] == "inconclusive" and "the budget was spent" in memory["reason"]
    assert memory["verdict"] == "same" or spent, memory
    folder = tmp_path / told["folder"]
    pairs = read_pairs(folder)
    assert len(pairs) == told["pairs"] == len(verdict["log_ratios"])
    info = read_comparison(folder)
    assert (info["status"], info["exit_code"], info["kind"]) == ("complete", done.code, "implementations")
    table = parquet.read_table(folder / "pairs.parquet").to_pydict()
    kept = [wall for wall, again in zip(table["wall_s"], table["again"], strict=True) if not again]
    assert len(kept) >= 16 * told["pairs"]
    assert set(table["side"]) == {"A", "B"}


def test_a_slowdown_between_two_revisions_is_found_in_time_and_memory(
    cli: Cli, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repository, TWICE)
    git(repository, "commit", "-q", "-a", "-m", "twice")
    git(repository, "branch", "-q", "before", "HEAD~1")
    summary = repository / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    files = ("--junit", "ab.xml", "--markdown", "ab.md", "--github")
    asked = ("--impls", "mine.py", "--impl", "numpy/mine", "--budget", "90s")
    done = cli("ab", "before", "HEAD", *asked, *(word for word in SMALL if word != "--quiet"), *files)
    assert done.code == 1, done.out + done.err
    assert "slower" in done.out
    assert "larger" in done.out
    assert "::error title=" in done.err
    page = (repository / "ab.md").read_text()
    assert "| slower |" in page
    assert summary.read_text().strip() == page.strip()
    suite = ET.parse(repository / "ab.xml").getroot()  # noqa: S314  (ours)
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert not left_over(repository)
    (folder,) = (repository / "results").iterdir()
    info = read_comparison(folder)
    (verdict,) = info["verdicts"]
    assert verdict["low"] > 0
    assert info["sides"]["A"]["code"] == git(repository, "rev-parse", "HEAD~1")[:12]


@pytest.mark.parametrize(
    ("before", "code", "status", "words"),
    [
        ("os.abort()", 4, "crashed", "SIGABRT"),
        ("raise RuntimeError('broken')", 4, "crashed", "broken"),
        ("return np.full_like(v, 3.0)", 1, "wrong", "worst"),
    ],
)
def test_a_side_that_fails_ends_the_comparison_with_its_status(
    cli: Cli, repository: Path, before: str, code: int, status: str, words: str
) -> None:
    write(repository, before)
    done = cli("ab", "HEAD", "WORKTREE", "--impls", "mine.py", "--impl", "numpy/mine", *SMALL, "--json")
    assert done.code == code, done.err
    (verdict,) = done.document["verdicts"]
    assert (verdict["verdict"], verdict["status"], verdict["side"]) == ("not-comparable", status, "B")
    assert words in verdict["reason"] or status == "wrong"
    assert done.document["sides"]["B"]["code"].endswith("+")
    assert not left_over(repository)


def test_what_no_side_supports_is_nothing_measured(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path)
    axes = ("-a", "T=512", "-a", "setting=bfloat16", "--quiet")
    done = cli("ab", "numpy/mine", "numpy/mine", "--impls", "mine.py", *axes, "--inconclusive", "pass", "--json")
    assert done.code == 5
    (verdict,) = done.document["verdicts"]
    assert (verdict["status"], verdict["side"]) == ("unsupported", None)


def test_a_device_is_that_of_both_sides(cli: Cli) -> None:
    done = cli("ab", "numpy/naive", "numpy/blocked", *SMALL, "--device", "cuda", "--budget", "8s", "--json")
    assert done.code == 5
    (verdict,) = done.document["verdicts"]
    assert (verdict["device"], verdict["status"]) == ("cuda", "unsupported")
    assert "cuda" in verdict["reason"]


def test_an_interrupt_leaves_a_partial_comparison_and_nothing_else(repository: Path) -> None:
    git(repository, "branch", "-q", "before")
    names = {"ATTNBENCH_LOCK": str(repository / "lock"), "ATTNBENCH_DATA": str(repository / ".data")}
    asked = ["before", "HEAD", "--impls", "mine.py", "--impl", "numpy/mine", *SMALL, "--budget", "60s", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "attnbench", "ab", *asked],
        cwd=repository,
        env=os.environ | names,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        journals = list(repository.glob("results/*/pairs.jsonl"))
        if journals and journals[0].read_bytes().count(b"\n"):
            break
        time.sleep(0.05)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert json.loads(out)["note"] == "interrupted"
    assert not left_over(repository)
    gone, alive = psutil.wait_procs(below, timeout=5)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE], gone


def test_a_kill_leaves_no_worker_and_its_trees_are_swept_by_the_next(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNBENCH_LOCK", str(repository / "lock"))
    temporary = repository / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    git(repository, "branch", "-q", "before")
    asked = ["before", "HEAD", "--impls", "mine.py", "--impl", "numpy/mine", *SMALL, "--budget", "60s"]
    command = [sys.executable, "-m", "attnbench", "ab", *asked]
    process = subprocess.Popen(command, cwd=repository, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        journals = list(repository.glob("results/*/pairs.jsonl"))
        if journals and journals[0].read_bytes().count(b"\n"):
            break
        time.sleep(0.05)
    below = psutil.Process(process.pid).children(recursive=True)
    assert below
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(below, timeout=20)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    (left,) = temporary.glob("attnbench-ab-*")
    assert len(left_over(repository)) == 2
    then = left.stat().st_mtime - 60
    os.utime(left, (then, then))
    with Revisions(repository):
        assert not left.exists()
    assert not left_over(repository)
    assert not list(temporary.glob("attnbench-ab-*"))


def test_two_interpreters_are_compared_and_one_without_attnbench_is_refused(cli: Cli, tmp_path: Path) -> None:
    venv.create(tmp_path / "other")
    python = tmp_path / "other" / "bin" / "python"
    asked = ("ab", "numpy/naive", "--python-b", python, *SMALL, "--budget", "9s")
    refused = cli(*asked)
    assert refused.code == 2
    assert install_from_origin(f"{python} -m pip") in refused.err
    (site,) = (tmp_path / "other").glob("lib/python*/site-packages")
    folders = [str(REPOSITORY), *(path for path in sys.path if path.endswith("site-packages"))]
    (site / "also.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in folders))
    done = measured(cli, *asked, "--json")
    assert done.code == 3, done.err
    (verdict,) = done.document["verdicts"]
    assert len(verdict["log_ratios"]) >= 1
    assert done.document["sides"]["B"]["label"] == f"numpy/naive, {python}"


@pytest.mark.slow
def measured(cli: Cli, *words: Any) -> Any:
    """What a command says; asked again, twice, where the machine was so busy that every pair was disturbed."""
    for _ in range(2):
        if (done := cli(*words)).code != 5:
            return done
    return cli(*words)


def test_two_frameworks_stand_in_one_pair(cli: Cli) -> None:
    done = measured(cli, "ab", "torch/sdpa", "jax/nn-xla", *SMALL, "--budget", "10s", "--json")
    assert done.code == 3, done.err
    (verdict,) = done.document["verdicts"]
    assert verdict["status"] == "ok"
    assert 1 <= len(verdict["log_ratios"]) < 5
    assert (verdict["verdict"], verdict["low"]) == ("inconclusive", None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("numpy/naive", "main"), "an implementation and a git revision"),
        (("numpy/naive", "numpy/niave"), "did you mean 'numpy/naive'"),
        (("main", "mian"), "did you mean 'main'"),
        (("numpy/naive",), "compare numpy/naive with what"),
        (("git:nothing", "HEAD"), "is no revision"),
        (("numpy/naive", "numpy/blocked", "--impl", "numpy/*"), "--impl says what to compare between revisions"),
        (("numpy/naive", "numpy/blocked", "--inconclusive", "maybe"), "fail or pass"),
        (("numpy/naive", "numpy/blocked", "--margin", "120%"), "--margin"),
        (("numpy/naive", "numpy/blocked", "--suite", "saturation"), "observed, not timed"),
        (("numpy/naive", "--python-b", "no-such-python"), "no-such-python is no program"),
        (("numpy/naive", "numpy/blocked", "--github"), "GITHUB_STEP_SUMMARY"),
        (("numpy/naive", "numpy/blocked", "--threads", "0"), "--threads is 1 or more"),
        (("numpy/naive", "numpy/blocked", "--device", "gpu"), "did you mean 'cuda'"),
    ],
)
def test_wrong_usage_says_what_to_type(
    cli: Cli, repository: Path, arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    done = cli("ab", *arguments)
    assert done.code == 2
    assert words in done.err
    assert not (repository / "results").exists()


def test_calibrate_is_kept_and_ab_and_plan_tell_it(cli: Cli, tmp_path: Path) -> None:
    assumed = cli("plan", "--detect", "10%", "-a", "T=128", "-a", "setting=forward")
    assert assumed.code == 0
    assert "not calibrated" in assumed.out
    done = cli("calibrate", *SMALL, "--budget", "8s", "--json")
    assert done.code == 0, done.err
    assert done.document["pairs"] >= 1
    assert Path(done.document["file"]).parent.parent == tmp_path / ".data"
    told = cli("plan", "--detect", "10%", "-a", "T=128", "-a", "setting=forward", "--json").document
    assert told["assumed"] == (done.document["pairs"] < 12)


def test_verdicts_come_with_what_this_machine_is_known_to_do_to_them(cli: Cli) -> None:
    asked = ("ab", "numpy/naive", "numpy/naive", *SMALL, "--budget", "9s")
    before = cli(*asked, "--junit", "before.xml")
    assert says(before.out, "false-alarm rate is not known", "attnbench calibrate")
    known = synthetic.calibration(synthetic.self_comparison((0.01, -0.02) * 10), replayed=synthetic.REPLAYED, high=0.17)
    save(known.model_copy(update={"machine_id": collect_hardware().id}))
    after = cli(*asked, "--margin", "5%", "--junit", "after.xml", "--markdown", "after.md")
    for text in (after.out, Path("after.md").read_text(), Path("after.xml").read_text()):
        assert says(text, "4 false alarms in 2000", "0.20 %", "at most 0.51 %")
        assert says(text, "no slowdown", "found reliably", " pair")
        assert "attnbench calibrate --margin 5% says it for that" in text
    assert "not calibrated" in Path("before.xml").read_text()
    assert says(known.sentence(25), "20 pairs", "10 %", "at least 95 of 100", "3 %")


def test_cells_of_which_the_same_is_known_are_open_in_one_line() -> None:
    def one(name: str, pairs: int, word: str = "inconclusive") -> LiveVerdict:
        return LiveVerdict(name, "smoke", name, "numpy/naive", "cpu", 1, word, screened=pairs)  # type: ignore[arg-type]

    verdicts = one("a", 1), one("b", 5), one("c", 1), one("d", 1, "same")
    found = SimpleNamespace(verdicts=verdicts, resolved=SimpleNamespace(kind="implementations"))
    first, second = open_lines(cast("Compared", found))
    assert first.startswith("inconclusive: 2 cells: too few pairs (1) for an interval")
    assert second.startswith("inconclusive: b: too few pairs (5)")


def test_baselines_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    assert cli("baseline", "show").code == 5
    assert cli("baseline", "set", SMOKE_SAMPLE, "--name", "mine").code == 0
    assert "numpy/naive" in cli("baseline", "show", "mine").out
    assert cli("baseline", "show", "--json").document["baselines"]["mine"]
    done = cli("baseline", "check", SMOKE_SAMPLE, "--name", "theirs")
    assert (done.code, "there are mine" in done.err) == (2, True)
    assert cli("baseline", "check", SMOKE_SAMPLE, "--name", "mine").code == 2, "a run is not compared with itself"
    file = tmp_path / "results" / "baselines" / "mine.json"
    run_id = json.loads(file.read_text())["run"]["run_id"]
    file.write_text(file.read_text().replace(run_id, "20200101T000000Z-smoke-abcdef"))
    told = cli("baseline", "check", SMOKE_SAMPLE, "--json")
    assert told.code in (0, 3)
    assert {one["verdict"] for one in told.document["verdicts"]} <= {"same", "inconclusive"}
    slow = [dict(json.loads(file.read_text()))]
    for cell in slow[0]["cells"]:
        cell["bursts"] = [[value / 3 for value in values] for values in cell["bursts"]]
    file.write_text(json.dumps(slow[0]))
    assert cli("baseline", "check", SMOKE_SAMPLE).code == 1
