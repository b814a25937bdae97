"""Known deviations: the file is strict, an entry excuses what it says and no more, and goes when it no longer holds."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from attnbench.agree.check.deviations import FILE, Deviation, announced, load, parse, settle, settle_random
from attnbench.agree.check.random_rows import RandomResult
from attnbench.agree.check.rows import CheckRow
from attnbench.backends import discover
from attnbench.errors import UsageError

ENTRY = """
[[deviation]]
impl = "numpy/blocked"
feature = "causal"
dtype = "float32"
fault = "value"
at_most = 3.0
differs = "the last row is off"
reason = "it is summed in another order"
link = "https://example.org/1"
date = 2026-01-31
versions = {numpy = "*"}
"""
ROW = CheckRow("numpy/blocked", "causal", "float32", "cpu", "wrong", 5, 2.5, 1.5, fault="value", reason="is off")


def one(**changes: object) -> Deviation:
    return replace(parse(ENTRY, "file")[0], **changes)  # type: ignore[arg-type]


def test_a_row_that_disagrees_as_the_entry_says_is_known() -> None:
    (row,) = settle([ROW], [one()])
    assert row.status == "known"
    assert row.reason is not None
    assert "https://example.org/1" in row.reason


BEYOND = [
    replace(ROW, error_ratio=3.5),
    replace(ROW, gradient_ratio=math.inf),
    replace(ROW, fault="nan"),
    replace(ROW, dtype="float64"),
    replace(ROW, feature="mask"),
    replace(ROW, impl="numpy/naive"),
    replace(ROW, impl="numpy/mine"),
]


@pytest.mark.parametrize("row", BEYOND)
def test_any_other_disagreement_stays_wrong(row: CheckRow) -> None:
    assert settle([row], [one()]) == [row]


def test_a_drop_in_is_not_excused_by_a_pattern() -> None:
    mine = replace(ROW, impl="numpy/mine")
    assert settle([mine], [one(impl="numpy/*")]) == [mine]


def test_an_entry_that_no_longer_holds_turns_its_row_wrong() -> None:
    agrees = replace(ROW, status="ok", fault=None, error_ratio=0.5, reason=None)
    (row,) = settle([agrees], [one()])
    assert (row.status, row.fault) == ("wrong", "stale")
    assert row.reason is not None
    assert "delete or narrow the entry in file, entry 1" in row.reason


def test_an_entry_goes_when_no_row_of_a_whole_check_shows_it() -> None:
    agrees = replace(ROW, dtype="float64", status="ok", fault=None, error_ratio=0.5, reason=None)
    kept = settle([agrees, ROW], [one(dtype="*")])
    assert [row.status for row in kept] == ["ok", "known"], "it shows in another dtype"
    assert settle([agrees], [one(dtype="*")])[0].status == "wrong"
    assert settle([agrees], [one(dtype="*")], whole=False) == [agrees], "a part of the cases may have missed it"


def test_what_was_not_compared_says_nothing_about_an_entry() -> None:
    refused = replace(ROW, status="unsupported", fault=None)
    assert settle([refused], [one()]) == [refused]


def test_an_entry_is_about_its_versions() -> None:
    assert settle([ROW], [one(versions={"numpy": "0.*"})]) == [ROW]
    assert settle([ROW], [one(versions={"no-such-package": "1"})]) == [ROW]
    assert settle([ROW], [one(versions={"numpy": version("numpy")})])[0].status == "known"


def test_an_entry_for_deep_checks_is_about_these_alone() -> None:
    assert settle([ROW], [one(deep=True)]) == [ROW]
    assert settle([ROW], [one(deep=True)], deep=True)[0].status == "known"


def test_a_random_case_is_known_by_its_fault_and_by_no_size_of_an_error() -> None:
    cases = ["causal Tq=4", "Tq=4", "causal Tq=4 dtype=bfloat16"]
    disagreements = [{"case": case, "fault": "nan", "reason": "is NaN"} for case in cases]
    disagreements.append({"case": "causal Tq=8", "fault": "value", "reason": "is off"})
    result = RandomResult("numpy/blocked", cases=9, wrong=len(disagreements), disagreements=disagreements)
    (left,) = settle_random([result], [one(fault="nan", at_most=None)], "cpu")
    assert (left.known, left.wrong, left.disagreements) == (["causal Tq=4"], 3, disagreements[1:])
    assert settle_random([result], [one()], "cpu") == [result]
    assert settle_random([result], [one(fault="nan", at_most=None, device="cuda")], "cpu") == [result]


MALFORMED = {
    "not TOML": ("[[deviation", "is not TOML"),
    "one bracket": ("[deviation]\nimpl = 'numpy/naive'", "two brackets"),
    "another table": ("[[deviations]]\n", "'deviations'; it holds [[deviation]] entries only"),
    "unknown key": (ENTRY + "becuase = 'so'", "entry 1 has an unknown key 'becuase'"),
    "near miss": (ENTRY.replace("reason", "reasons"), "did you mean 'reason'?"),
    "missing": (ENTRY.replace('link = "https://example.org/1"', ""), "lacks the key 'link'"),
    "empty": (ENTRY.replace('"it is summed in another order"', '""'), "'reason', which takes a text"),
    "date": (ENTRY.replace("2026-01-31", '"2026-01-31"'), "'date', which takes a date such as"),
    "versions": (ENTRY.replace('{numpy = "*"}', '"2.*"'), "'versions', which takes a table"),
    "no versions": (ENTRY.replace('{numpy = "*"}', "{}"), "'versions', which takes a table"),
    "number": (ENTRY.replace("3.0", "true"), "'at_most', which takes a number"),
    "feature": (ENTRY.replace('"causal"', '"casual"'), "matches none of"),
    "dtype": (ENTRY.replace('"float32"', '"float8"'), "matches none of float64"),
    "fault": (ENTRY.replace('"value"', '"values"'), "did you mean 'value'?"),
    "no ratio": (ENTRY.replace("at_most = 3.0", ""), "needs the key 'at_most'"),
    "a ratio of NaN": (ENTRY.replace('"value"', '"nan"'), "and for no other"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_names_itself_and_the_key(name: str, tmp_path: Path) -> None:
    text, said = MALFORMED[name]
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UsageError) as raised:
        load(tmp_path / FILE)
    assert str(tmp_path / FILE) in str(raised.value)
    assert said in str(raised.value)


def test_the_files_of_all_backends_are_well_formed() -> None:
    for backend in discover.backends():
        assert all(entry.reason for entry in announced(backend))


def test_an_entry_about_nothing_that_is_announced_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(ENTRY.replace("numpy/blocked", "numpy/blockd"))
    monkeypatch.setattr("attnbench.agree.check.deviations.files", lambda _: tmp_path)
    with pytest.raises(UsageError, match="did you mean 'numpy/blocked'"):
        announced("numpy")
