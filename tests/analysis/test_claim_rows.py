"""``verdicts.parquet``: a row for each claim of each suite in a run."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from attnbench.analysis.claim_rows import FILE, write_verdicts
from attnbench.analysis.judged import JudgedRun, judge_suite, kept_verdicts
from attnbench.errors import ResultsError, UsageError
from attnbench.report import claimed
from attnbench.suite import NOT_JUDGED
from tests.results import synthetic
from tests.suites import helpers


def run() -> pd.DataFrame:
    variance = helpers.observed("score-variance", d=(4, 16), distribution=("normal",))
    other = pd.DataFrame([helpers.row("torch/naive", {"arm": "dot", "seed": 0}, {"accuracy": 1.0})])
    return pd.concat([variance.assign(suite="score-variance"), other.assign(suite="backend-invariance")])


def judged(folder: Path, frame: pd.DataFrame) -> JudgedRun:
    """A run of these rows, judged."""
    parts = frame.groupby("suite", sort=False)
    suites = tuple(judge_suite(str(name), rows, helpers.suite) for name, rows in parts)
    return JudgedRun(folder, synthetic.info(), frame, suites)


def test_every_claim_has_a_row(tmp_path: Path) -> None:
    path = write_verdicts(judged(tmp_path, run()))
    assert path == tmp_path / FILE
    kept = pd.read_parquet(path)
    assert kept["verdict"].tolist() == ["reproduced", "reproduced"]
    assert set(kept["suite"]) == {"score-variance"}
    assert kept["n_seeds"].tolist() == [8, 8]
    assert kept["source"].str.startswith("Vaswani et al. 2017").all()


def test_kept_counts_are_whole_also_beside_a_claim_without_any(tmp_path: Path) -> None:
    done = judged(tmp_path, run())
    suite, *others = done.suites
    absent = tuple(row | ({"n_seeds": None} if number == 0 else {}) for number, row in enumerate(suite.verdicts))
    write_verdicts(replace(done, suites=(replace(suite, verdicts=absent), *others)))
    assert [str(row["n_seeds"]) for row in kept_verdicts(tmp_path, suite.name)] == ["None", "8"]
    pd.read_parquet(tmp_path / FILE).astype({"n_seeds": "float64"}).to_parquet(tmp_path / FILE)
    assert [str(row["n_seeds"]) for row in kept_verdicts(tmp_path, suite.name)] == ["None", "8"]


def test_a_damaged_file_is_said_and_left_untouched(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"PAR1 no more")
    with pytest.raises(ResultsError, match=r"verdicts\.parquet is damaged; delete it"):
        kept_verdicts(tmp_path, "score-variance")


@pytest.mark.parametrize(("d", "reached"), [((4, 64), False), ((4,), False), ((4, 16), True)])
def test_the_levels_of_a_smoke_run_are_not_judged(d: tuple[int, ...], reached: bool, tmp_path: Path) -> None:
    frame = helpers.observed("score-variance", d=d, distribution=("normal",)).assign(suite="score-variance")
    done = judged(tmp_path, frame)
    path = write_verdicts(done)
    assert path is not None
    kept = pd.read_parquet(path)
    assert len(kept) == 2
    assert (set(kept["verdict"]) == {NOT_JUDGED}) is not reached
    (suite,) = done.suites
    assert suite.failure is None
    said = claimed.tally(suite.verdicts)
    assert said == (
        "Held against 2 published claims: 2 reproduced."
        if reached
        else "None of 2 published claims is judged at the levels of a smoke run."
    )
    assert all(word not in " ".join(claimed.claims_table(suite.verdicts).marks) for word in ("smoke", "not judged"))


def test_a_smoke_training_has_no_p() -> None:
    point = {"seed": 0, "d": 256, "arm": "unscaled", "lr": 1e-2, "optimiser": "adam", "steps": 100}
    levels = [{**point, "seed": seed, "arm": arm} for seed in (0, 1) for arm in ("unscaled", "1/sqrt(d)")]
    frame = pd.DataFrame([helpers.row("torch/naive", level, {"accuracy": 0.5, "validation": 0.5}) for level in levels])
    rows = helpers.suite("scaling").judged(frame)
    assert {row["verdict"] for row in rows} == {NOT_JUDGED}
    assert {row["p"] for row in rows} == {None}


def test_a_run_without_claims_has_no_file(tmp_path: Path) -> None:
    frame = run()
    assert write_verdicts(judged(tmp_path, frame[frame["suite"] == "backend-invariance"])) is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_the_verdicts_of_a_suite_is_not_written(tmp_path: Path) -> None:
    frame = pd.concat([run(), run().assign(suite="no-such-suite")])
    with pytest.raises(UsageError, match="unknown suite 'no-such-suite'"):
        write_verdicts(judged(tmp_path, frame))
    assert list(tmp_path.iterdir()) == []
