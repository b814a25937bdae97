"""``attnbench history`` as a person types it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.program import Cli
from tests.results import synthetic


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for number in range(12):
        stamp = f"202601{number + 1:02d}T000000Z-smoke-aaaaaa"
        info = synthetic.info(stamp, started=f"2026-01-{number + 1:02d}T00:00:00Z")
        factor = (1.2 if number >= 6 else 1.0) * float(np.exp(0.01 * rng.standard_normal()))
        options: dict[str, Any] = {"lengths": (128,), "impls": ("numpy/naive",), "bursts": 6}
        synthetic.write_run(tmp_path / "results", info, seed=number, factors={"numpy/naive": factor}, **options)
    return tmp_path / "results"


def test_the_history_of_a_folder_is_a_table_a_figure_and_a_csv(cli: Cli, runs: Path) -> None:
    done = cli("history")
    assert (done.code, done.err) == (0, "")
    assert f"{len(list(runs.iterdir()))} runs of machine" in done.out
    assert "2 changed." in done.out
    assert Path("reports/history/history.png").read_bytes().startswith(b"\x89PNG")
    assert Path("reports/history/history.csv").read_text().count("\n") == 1 + 24
    told = cli("history", "--json", "-o", "elsewhere").document
    assert [change["at"] for one in told["series"] for change in one["changes"]] == [6, 6]
    assert told["csv"] == "elsewhere/history.csv"
    above = cli("history", "--margin", "30%", "--json").document
    assert {one["word"] for one in above["series"]} == {"no change point"}


def test_few_runs_are_inconclusive_and_nothing_chosen_is_said(cli: Cli, runs: Path) -> None:
    few = cli("history", *sorted(runs.iterdir())[:4])
    assert few.code == 3
    assert "needs at least 9 runs of each" in few.out
    none = cli("history", "--impl", "torch/*")
    assert (none.code, none.err.count("\n")) == (5, 1)
    assert "no time of a cell that was asked for in 12 runs" in none.err
    assert not Path("reports/history").joinpath("nothing").exists()


def test_named_runs_of_two_machines_are_refused_and_those_of_a_folder_are_not(cli: Cli, runs: Path) -> None:
    hardware = synthetic.fingerprint().hardware.model_copy(update={"cpu_model": "Other CPU"})
    info = synthetic.info("20260201T000000Z-smoke-bbbbbb", fingerprint=synthetic.fingerprint(hardware=hardware))
    synthetic.write_run(runs, info, lengths=(128,), impls=("numpy/naive",), bursts=6)
    refused = cli("history", "results")
    assert (refused.code, refused.out) == (2, "")
    assert "Other CPU" in refused.err
    assert "Example CPU" in refused.err
    typed = refused.err.split("Type which one: ")[1].split()
    assert cli("history", "results", *typed).code in (0, 3)
    assert cli("history").code in (0, 3)
