"""``attnbench report --record``: what ran on a GPU, and with which code, as the run itself says."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from attnbench.measure.run.run import codes_on_gpu
from attnbench.results.journal import CODES, codes_in
from attnbench.results.read import JOURNAL
from attnbench.results.schema import Gpu, Hardware, Imported
from attnbench.suite import Cell
from attnbench.tried.code import CodeName, code_of
from attnbench.tried.marks import mark
from tests.program import SMALL, Cli
from tests.results import synthetic
from tests.tried.planted import Planted

H200 = Hardware(architecture="x86_64", gpus=(Gpu(name="NVIDIA H200", driver="580.1"),))
Making = Callable[..., Path]


@pytest.fixture
def made(planted: Planted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Making:
    """A run of a GPU, with the names of the code that it ran."""
    del planted
    cells = synthetic.cells
    for name in ("planted/mine", "planted/other", "planted/file"):
        monkeypatch.setitem(synthetic.SPEED, name, 1e-3)
        monkeypatch.setitem(synthetic.BYTES, name, 1)

    def make(*impls: str, device: str = "cuda", codes: Any = None, failed: Any = None, **changes: Any) -> Path:
        monkeypatch.setattr(synthetic, "cells", lambda *some: [replace(each, device=device) for each in cells(*some)])
        of = {"hardware": H200, "frameworks": {"planted": {"planted": "1.2"}}}
        info = synthetic.info(**{"fingerprint": synthetic.fingerprint(**of), "devices": (device,), **changes})
        folder = synthetic.write_run(tmp_path / "results", info, impls=impls, failed=failed, bursts=4)
        if codes is None:
            codes = codes_on_gpu([Cell("smoke", {}, None, impl, device=device) for impl in impls])
        for each in codes if isinstance(codes, list) else [codes]:
            event = {"type": "event", "data": {"name": CODES, "implementations": each}}
            with (folder / JOURNAL).open("a", encoding="utf-8") as journal:
                journal.write(json.dumps(event) + "\n")
        return folder

    return make


def test_what_a_gpu_computed_is_kept(made: Making, planted: Planted, cli: Cli, tmp_path: Path) -> None:
    failed = {("planted/mine", 128): ("wrong", "off")}
    failed |= {("planted/other", length): ("oom", "large") for length in (128, 512)}
    run = made("planted/mine", "planted/other", failed=failed)
    done = cli("report", run, "-o", tmp_path / "page", "--record", "--json")
    assert (done.code, done.document["recorded"]) == (0, ["planted/mine"])
    assert done.document["not_recorded"] == {"planted/other": "no cell of it is ok on the GPU: large"}
    (ran,) = planted.record().ran
    assert (ran.device, ran.driver, ran.date) == ("NVIDIA H200", "580.1", "2026-01-02")
    assert (ran.suites, ran.ok, ran.failed, ran.versions) == (("smoke",), 2, 2, {"planted": "1.2"})
    assert ran.code == code_of("planted/mine")
    of = mark("planted/mine")
    assert of is not None
    assert of.short == "ran on NVIDIA H200, 2 of 4 failed"
    planted.change("shared.py", "ONE = 1", "ONE = 2")
    after = mark("planted/mine")
    assert after is not None
    assert after.text == "ran on NVIDIA H200 2026-01-02, before its code changed"


def test_a_run_says_which_code_it_ran_and_not_what_is_there_now(made: Making, planted: Planted, cli: Cli) -> None:
    run = made("planted/mine")
    before = code_of("planted/mine")
    planted.change("shared.py", "ONE = 1", "ONE = 2")
    assert cli("report", run, "--record").code == 0
    assert planted.record().ran[0].code == before
    of = mark("planted/mine")
    assert of is not None
    assert of.state == "changed"


A_CODE, ANOTHER = {"files": "a", "code": "a"}, {"files": "b", "code": "b"}


@pytest.mark.parametrize(
    ("impl", "codes", "changes", "why"),
    [
        ("planted/mine", {}, {}, "does not say which code it ran"),
        ("planted/mine", [{"planted/mine": A_CODE}, {"planted/mine": ANOTHER}], {}, "does not say which code it ran"),
        ("planted/mine", {"planted/mine": {"sha": "a"}}, {}, "does not say which code it ran"),
        ("planted/mine", {"planted/mine": "a"}, {}, "does not say which code it ran"),
        ("planted/file", {}, {}, "it came from a file of your own"),
        ("planted/mine", None, {"imported": Imported(tool="hyperfine", file="a.json")}, "hyperfine measured it"),
    ],
)
def test_what_cannot_be_told_is_not_kept(
    impl: str, codes: Any, changes: dict[str, Any], why: str, made: Making, planted: Planted, cli: Cli
) -> None:
    done = cli("report", made(impl, codes=codes, **changes), "--record", "--json")
    assert (done.code, done.document["recorded"]) == (0, [])
    assert why in done.document["not_recorded"][impl]
    assert not planted.file.exists()


def test_a_run_of_a_cpu_has_nothing_to_keep(made: Making, cli: Cli, tmp_path: Path) -> None:
    done = cli("report", made("planted/mine", device="cpu"), "-o", tmp_path / "page", "--record")
    assert done.code == 5
    assert "nothing in these runs was asked of a GPU" in done.err
    assert not (tmp_path / "page").exists()
    assert codes_on_gpu([Cell("smoke", {}, None, "planted/mine")]) == {}


def test_runs_of_one_code_on_one_gpu_are_one_entry(made: Making, planted: Planted, cli: Cli, tmp_path: Path) -> None:
    first = made("planted/mine", run_id="20260102T030405Z-smoke-aaaaaa")
    later = {"run_id": "20260203T030405Z-smoke-bbbbbb", "started": "2026-02-03T03:04:05Z"}
    second = made("planted/mine", **later)
    for run in (first, second, first):
        cli("report", run, "-o", tmp_path / run.name, "--record")
    (ran,) = planted.record().ran
    assert (ran.ok, ran.date, ran.source) == (8, "2026-02-03", f"{first.name}, {second.name}")
    planted.change("shared.py", "ONE = 1", "ONE = 2")
    third = made("planted/mine", run_id="20260304T030405Z-smoke-cccccc", started="2026-03-04T03:04:05Z")
    cli("report", third, "-o", tmp_path / "third", "--record")
    assert [run.date for run in planted.record().ran] == ["2026-03-04", "2026-02-03"]
    now = code_of("planted/mine")
    assert now is not None
    assert asdict(planted.record().ran[0].code) == asdict(now)


CHECKED = """<?xml version="1.0"?>
<testsuites name="attnbench check">
  <testsuite name="planted/mine">
    <testcase classname="planted/mine" name="causal float16 cuda"/>
    <testcase classname="planted/mine" name="gqa float16 cuda"><system-out>fine</system-out></testcase>
    <testcase classname="planted/mine" name="bias float16 cuda"><skipped message="no"/></testcase>
    <testcase classname="planted/mine" name="window float16 cuda"><failure message="off"/></testcase>
  </testsuite>
  <testsuite name="planted/other"><testcase name="causal"><error message="it crashed"/></testcase></testsuite>
  <testsuite name="somebody/else"><testcase name="causal"/></testsuite>
</testsuites>
"""


def test_a_day_is_kept_with_what_it_checked(made: Making, planted: Planted, cli: Cli, tmp_path: Path) -> None:
    run = made("planted/mine")
    journal = {"device": "cuda", "steps": [], "finished": True}
    (tmp_path / "day.json").write_text(json.dumps(journal), "utf-8")
    (tmp_path / "check-planted.xml").write_text(CHECKED, "utf-8")
    (tmp_path / "check-broken.xml").write_text(CHECKED[:99], "utf-8")
    with tarfile.open(tmp_path / "day.tgz", "w:gz") as archive:
        for name in ("check-planted.xml", "check-broken.xml"):
            archive.add(tmp_path / name, f"day/texts/{name}")
        archive.add(tmp_path / "day.json", "day/day.json")
        archive.add(run, f"day/runs/{run.name}")
    done = cli("report", tmp_path / "day.tgz", "-o", tmp_path / "page", "--record")
    assert done.code == 0
    assert "recorded: planted/mine: NVIDIA H200, 6 ok, 1 failed" in done.err
    assert "not recorded: planted/other: no row of its check is ok on the GPU" in done.err
    assert "not recorded: check-broken.xml: it cannot be read" in done.err
    assert "not recorded: somebody/else: it came from a file of your own" in done.err
    (ran,) = planted.record().ran
    assert (ran.source, ran.suites) == (f"{run.name}, check-planted beside {run.name}", ("smoke", "check"))
    cli("report", tmp_path / "day.tgz", "-o", tmp_path / "page", "--record")
    assert planted.record().ran == (ran,)


def test_a_run_writes_down_the_code_of_what_it_asks_of_a_gpu(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the CPU stands in for a GPU."""
    monkeypatch.setattr("attnbench.measure.run.run.CPU", "no device here")
    done = cli("run", "smoke", "--impl", "numpy/naive", *SMALL, "--budget", "2s", "--json")
    codes = codes_in(Path(done.document["folder"]) / JOURNAL)
    assert {"torch/sdpa", "jax/pallas", "triton/flash"} <= set(codes)
    assert "numpy/naive" not in codes
    assert codes["torch/sdpa"] == asdict(code_of("torch/sdpa") or CodeName("", ""))
