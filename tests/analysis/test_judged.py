"""A run is judged by its rows: the same verdicts each time, and a suite that fails takes no other with it."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from attnbench.analysis.claim_rows import FILE
from attnbench.analysis.judged import judge_run, judge_suite
from attnbench.backends import discover
from attnbench.errors import UsageError
from attnbench.results import load
from attnbench.suite import Suite
from tests.report import suites
from tests.repository import REPOSITORY

SAMPLE = REPOSITORY / "results" / "2026-11-23-amd-epyc-2-cores-ablations-standard-sample"


def test_the_committed_verdicts_are_those_of_the_committed_rows() -> None:
    judged = judge_run(SAMPLE, discover.suite)
    assert [one.name for one in judged.suites if one.failure] == []
    kept = pd.read_parquet(SAMPLE / FILE)
    assert len(kept) > 60
    # Another machine's linear algebra may round otherwise, in the last digits of an interval.
    pd.testing.assert_frame_equal(kept, pd.DataFrame(judged.verdicts), rtol=1e-9)


def test_a_run_is_handed_on_with_its_rows_and_its_suites(tmp_path: Path) -> None:
    folder = suites.write_observed(tmp_path)
    judged = judge_run(folder, suites.SUITES.__getitem__)
    assert judged.folder == folder
    assert judged.info.suites == ("variance",)
    pd.testing.assert_frame_equal(judged.frame, load(folder))
    (one,) = judged.suites
    assert (one.name, one.suite, one.failure) == ("variance", suites.VARIANCE, None)
    assert [row["verdict"] for row in one.verdicts] == ["reproduced", "contradicted", "out of scope"]
    assert judged.verdicts == tuple({"suite": "variance", **row} for row in one.verdicts)


def test_a_suite_that_fails_has_its_failure_as_data(tmp_path: Path) -> None:
    rows = load(suites.write_observed(tmp_path))
    failing = replace(suites.VARIANCE, claims=lambda frame: frame["x"])
    one = judge_suite("variance", rows, lambda _: failing)
    assert (one.suite, one.verdicts) == (failing, ())
    assert isinstance(one.failure, KeyError)


def test_a_suite_that_is_not_installed_is_told_from_one_without_claims(tmp_path: Path) -> None:
    rows = load(suites.write_observed(tmp_path))

    def find(name: str) -> Suite:
        msg = f"unknown suite {name!r}"
        raise UsageError(msg)

    missing = judge_suite("variance", rows, find)
    assert (missing.suite, missing.verdicts) == (None, ())
    assert isinstance(missing.failure, UsageError)
    silent = replace(suites.VARIANCE, claims=None)
    one = judge_suite("variance", rows, lambda _: silent)
    assert (one.suite, one.verdicts, one.failure) == (silent, (), None)
