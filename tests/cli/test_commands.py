"""The other commands: lists, doctor, and bad input, each with its exit status and one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnbench.backends import discover
from attnbench.backends.card import BackendInfo
from attnbench.commands.given import percentage, seconds
from attnbench.errors import UsageError
from tests.program import Cli


@pytest.mark.parametrize("what", ["impls", "suites", "backends", "cells"])
def test_every_list_is_text_and_one_json_document(cli: Cli, what: str) -> None:
    text, as_json = cli("list", what), cli("list", what, "--json")
    assert (text.code, as_json.code) == (0, 0)
    assert text.out.strip()
    assert as_json.document[what]


def test_the_implementations_of_a_file_of_one_s_own_are_listed_alone(cli: Cli, tmp_path: Path) -> None:
    head = "from attnbench.api import Capabilities, implementation\n"
    lines = "@implementation({!r}, Capabilities())\ndef {}(q, k, v, call): ...\n"
    file = tmp_path / "mine.py"
    file.write_text(head + lines.format("numpy/mine", "mine") + lines.format("other/mine", "other"), "utf-8")
    done = cli("list", "--impls", file, "--json")
    ours, other = done.document["impls"]
    assert ours == {"implementation": "numpy/mine", "available": "yes", "file": str(file), "reason": None}
    assert (other["available"], other["reason"]) == ("no", "there is no backend 'other'")
    assert "numpy/naive" not in done.out


def test_every_built_in_suite_can_be_loaded(cli: Cli) -> None:
    rows = cli("list", "suites", "--json").document["suites"]
    assert not [row for row in rows if row["question"].startswith("not available")]


INSTALLS = {"torch": "pip install 'attnbench[torch]'", None: "pip install absent_framework"}
REASONS = {
    "list": lambda told: [row["reason"] for row in told["impls"] if row["implementation"] == "other/naive"],
    "list backends": lambda told: [row["reason"] for row in told["backends"] if row["backend"] == "other"],
    "doctor": lambda told: [row["problem"] for row in told["backends"] if row["backend"] == "other"],
    "check other/*": lambda told: [row["reason"] for row in told["rows"]],
    "check other/* --random 1": lambda told: [row["reason"] for row in told["random"]],
    "check other/* --onnx": lambda told: [row["reason"] for row in told["rows"]],
    "semantics other": lambda told: [row["problem"] for row in told["backends"]],
}


@pytest.fixture(params=INSTALLS)
def absent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend whose framework is not installed, ours with an extra or a third party's without: what to type."""
    card = BackendInfo("other", "attnbench", "absent_framework", request.param, (("naive", "naive"),))
    monkeypatch.setattr(discover, "backends", lambda: {"numpy": discover._announced()["numpy"], "other": card})
    return INSTALLS[request.param]


@pytest.mark.parametrize("command", REASONS)
def test_a_missing_framework_is_named_with_what_to_type(cli: Cli, absent: str, command: str) -> None:
    if "--onnx" in command:
        pytest.importorskip("onnx", reason="the onnx extra is not installed")
    told = cli(*command.split(), "--json").document
    assert REASONS[command](told) == [f"absent_framework is not installed: {absent}"]


def test_a_missing_framework_asked_for_by_name_is_an_error(cli: Cli, absent: str) -> None:
    asked = cli("check", "--quick", "other/naive")
    assert asked.code == 2
    assert asked.err == (f"attnbench: backend 'other' needs absent_framework, which is not installed. Type: {absent}\n")


def test_doctor_is_one_json_document(cli: Cli) -> None:
    found = cli("doctor", "--json")
    assert found.code == 0
    assert {row["backend"] for row in found.document["backends"]} >= {"numpy", "torch", "jax"}
    assert found.document["machine"]["python"]


BAD = [
    (["list", "impl"], "did you mean 'impls'?"),
    (["list", "impls", "--suite", "smoke"], "attnbench list cells"),
    (["list", "suites", "--impls", "mine.py"], "--impls belongs to 'attnbench list impls'"),
    (["list", "--impls", "missing.py"], "no such file or folder"),
    (["run"], "attnbench run smoke"),
    (["run", "smoek"], "did you mean 'smoke'?"),
    (["run", "smoke", "-a", "lenght=1"], "lenght"),
    (["run", "smoke", "--impl", "torch/nothing"], "torch/nothing"),
    (["run", "smoke", "--budget", "soon"], "90s, 10m or 1h"),
    (["run", "smoke", "--threads", "0"], "1 or more"),
    (["run", "--resume", "nowhere"], "nowhere"),
    (["report", "nowhere"], "nowhere"),
    (["compare", "nowhere", "elsewhere"], "nowhere"),
    (["compare", "a", "b", "--margin", "much"], "5%"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_is_one_clear_line(cli: Cli, arguments: list[str], said: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    done = cli(*arguments)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert [path for path in sorted(tmp_path.iterdir()) if path not in before and path.name != "lock"] == []


@pytest.mark.parametrize("arguments", [["run", "smoek"], ["nothing"], ["run", "--threads", "many"]])
def test_an_error_is_one_json_document_too(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments, "--json")
    assert done.code == 2
    assert done.document["exit_code"] == 2
    assert done.err.strip()


@pytest.mark.parametrize("content", ["{not json", "[]", json.dumps({"program": "another"})])
def test_a_damaged_or_foreign_run_is_left_alone(cli: Cli, tmp_path: Path, content: str) -> None:
    folder = tmp_path / "results" / "run"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(content)
    for command in (["report", str(folder)], ["compare", str(folder), str(folder)], ["run", "--resume", str(folder)]):
        done = cli(*command)
        assert done.code == 2, command
        assert "run.json" in done.err
        assert len(done.err.strip().splitlines()) == 1
    assert (folder / "run.json").read_text() == content
    assert [path.name for path in folder.iterdir()] == ["run.json"]


def test_an_out_folder_that_cannot_be_written(cli: Cli, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, not a folder")
    done = cli("run", "smoke", "--impl", "numpy/naive", "--out", blocked)
    assert done.code == 2
    assert "blocked" in done.err
    assert "Traceback" not in done.err
    assert blocked.read_text() == "a file, not a folder"


def test_durations_and_margins() -> None:
    assert [seconds(text) for text in ("90", "90s", "1.5m", "2h", None)] == [90, 90, 90, 7200, None]
    assert [percentage(text) for text in ("5%", "0.05", "12.5 %")] == [0.05, 0.05, 0.125]
    for text in ("0", "-1m", "5 minutes"):
        with pytest.raises(UsageError):
            seconds(text)
