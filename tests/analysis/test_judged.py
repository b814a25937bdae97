"""A run is judged by its rows: the same verdicts each time, and a suite that fails takes no other with it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from attnbench.analysis.claim_rows import FILE
from attnbench.analysis.judged import judge_run, judge_suite
from attnbench.analysis.sampled import load_sampled
from attnbench.backends import discover
from attnbench.errors import UsageError
from attnbench.results import load, read_info
from attnbench.suite import Frame, Suite
from tests.report import suites
from tests.repository import REPOSITORY

NAME = "2026-11-23-amd-epyc-2-cores-ablations-standard-sample"
SAMPLE, REPORT = REPOSITORY / "results" / NAME, REPOSITORY / "reports" / NAME


def test_the_committed_verdicts_are_those_of_the_committed_rows() -> None:
    judged = judge_run(SAMPLE, discover.suite)
    assert [suite.name for suite in judged.suites if suite.failure] == []
    kept = pd.read_parquet(SAMPLE / FILE)
    assert len(kept) > 60
    # Another machine's linear algebra may round otherwise, in the last digits of an interval.
    pd.testing.assert_frame_equal(kept, pd.DataFrame(judged.verdicts), rtol=1e-9)


def test_a_run_is_handed_on_with_its_rows_and_its_suites(tmp_path: Path) -> None:
    folder = suites.write_observed(tmp_path)
    judged = judge_run(folder, suites.SUITES.__getitem__)
    assert judged.folder == folder
    assert judged.info.suites == ("variance",)
    pd.testing.assert_frame_equal(judged.frame, load_sampled(folder))
    (suite,) = judged.suites
    assert (suite.name, suite.suite, suite.failure) == ("variance", suites.VARIANCE, None)
    assert [row["verdict"] for row in suite.verdicts] == ["reproduced", "contradicted", "out of scope"]
    assert judged.verdicts == tuple({"suite": "variance", **row} for row in suite.verdicts)


def told_otherwise(claims: Callable[[Frame], list[Any]] | None) -> Suite:
    """The observed suite with other claims in its story."""
    return replace(suites.VARIANCE, story=replace(suites.VARIANCE.story, claims=claims))


def test_a_suite_that_fails_has_its_failure_as_data(tmp_path: Path) -> None:
    rows = load(suites.write_observed(tmp_path))
    failing = told_otherwise(lambda frame: frame["x"])
    suite = judge_suite("variance", rows, lambda _: failing)
    assert (suite.suite, suite.verdicts) == (failing, ())
    assert isinstance(suite.failure, KeyError)


def test_a_suite_that_is_not_installed_is_told_from_one_without_claims(tmp_path: Path) -> None:
    rows = load(suites.write_observed(tmp_path))

    def find(name: str) -> Suite:
        msg = f"unknown suite {name!r}"
        raise UsageError(msg)

    missing = judge_suite("variance", rows, find)
    assert (missing.suite, missing.verdicts) == (None, ())
    assert isinstance(missing.failure, UsageError)
    silent = told_otherwise(None)
    suite = judge_suite("variance", rows, lambda _: silent)
    assert (suite.suite, suite.verdicts, suite.failure) == (silent, (), None)


def test_the_committed_report_shows_the_committed_verdicts() -> None:
    shown, kept = pd.read_csv(REPORT / "verdicts.csv"), pd.read_parquet(SAMPLE / FILE)
    assert list(shown["run_id"].unique()) == [read_info(SAMPLE).run_id]
    assert list(shown.columns[1:]) == list(kept.columns)
    for name in ("suite", "claim", "verdict"):
        assert list(shown[name]) == list(kept[name])
