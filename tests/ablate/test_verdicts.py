"""``verdicts.parquet``: a row for each claim of each suite in a run."""

from pathlib import Path

import pandas as pd

from attnbench.ablate.verdicts import FILE, write_verdicts
from tests.suites import helpers


def run() -> pd.DataFrame:
    variance = helpers.observed("score-variance", d=(4, 16), distribution=("normal",))
    other = pd.DataFrame([helpers.row("torch/naive", {"arm": "dot", "seed": 0}, {"accuracy": 1.0})])
    return pd.concat([variance.assign(suite="score-variance"), other.assign(suite="backend-invariance")])


def test_every_claim_has_a_row(tmp_path: Path) -> None:
    path = write_verdicts(tmp_path, run(), helpers.suite)
    assert path == tmp_path / FILE
    found = pd.read_parquet(path)
    assert found["verdict"].tolist() == ["reproduced", "reproduced"]
    assert set(found["suite"]) == {"score-variance"}
    assert found["n_seeds"].tolist() == [8, 8]
    assert found["source"].str.startswith("Vaswani et al. 2017").all()


def test_a_run_without_claims_has_no_file(tmp_path: Path) -> None:
    frame = run()
    assert write_verdicts(tmp_path, frame[frame["suite"] == "backend-invariance"], helpers.suite) is None
    assert list(tmp_path.iterdir()) == []
