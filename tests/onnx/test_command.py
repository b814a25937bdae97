"""``attnbench check --onnx`` as a person uses it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the onnx extra is not installed")

from attnbench.agree.onnx import cases as onnx_cases
from tests.program import Cli

DROP_IN = """
import os
from attnbench.api import Capabilities, implementation

@implementation("numpy/mine", Capabilities(causal=True, gqa=True, mask=True, lengths=True, batch_offset=True))
def attend(q, k, v, call):
    {body}
"""


def test_all_cases_pass_and_say_so(cli: Cli) -> None:
    done = cli("check", "numpy/naive", "--onnx", "--json")
    assert done.code == 0, done.err
    (summary,) = done.document["summary"]
    assert (summary["impl"], summary["cases"], summary["ok"]) == ("numpy/naive", 93, 93)
    assert 0 < summary["error_ratio"] <= 1
    assert len(done.document["rows"]) == 93


def test_the_table_counts_by_opset_and_says_why_not(cli: Cli) -> None:
    done = cli("check", "numpy/blocked", "--onnx")
    assert done.code == 0, done.err
    assert "93" in done.out
    assert "does not support stages" in done.out
    assert "all that was compared agrees" in done.out


def test_a_crash_is_a_row_and_the_others_are_checked(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(DROP_IN.format(body="return os.abort() if call.kv_lengths is not None else q"))
    done = cli("check", "--impls", file, "--onnx", "--json")
    rows = done.document["rows"]
    assert done.code == 1
    assert len(rows) == 93
    crashes = [i for i, row in enumerate(rows) if row["fault"] == "crash"]
    assert len(crashes) >= 3
    assert all("SIGABRT" in rows[i]["reason"] for i in crashes)
    assert {row["status"] for row in rows[crashes[0] + 1 :] if row["fault"] != "crash"} == {"wrong", "unsupported"}


def test_a_disagreement_is_seen_again_by_its_seed(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(DROP_IN.format(body="return q[..., :1] * 0 + v[:, :1, :1]"))
    first = cli("check", "--impls", file, "--onnx", "--random", 12, "--json")
    wrong = next(row for row in first.document["rows"] if row["status"] == "wrong")
    seed = wrong["case"].removeprefix("random ")
    again = cli("check", "--impls", file, "--onnx", "--random", 1, "--seed", seed)
    assert again.code == 1
    assert f"--onnx --random 1 --seed {seed}" in again.out


def test_without_onnx_the_extra_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_cases, "find_spec", lambda _: None)
    done = cli("check", "numpy/naive", "--onnx")
    assert done.code == 2
    assert "pip install 'attnbench[onnx]'" in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_negative_count_is_wrong_usage(cli: Cli) -> None:
    assert cli("check", "numpy/naive", "--onnx", "--random", "-1").code == 2
