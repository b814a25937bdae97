"""``attnbench compare`` as a person types it: the label, the spread that it rests on, and what to do about the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from attnbench.comparing import Verdict, exit_code
from tests.program import Cli
from tests.results import synthetic

FILES = Path(__file__).resolve().parents[1] / "exchange" / "files"
OPTIONS = {"lengths": (128,), "impls": ("numpy/naive",)}


def two(tmp_path: Path, **changes: object) -> tuple[Path, Path]:
    head = synthetic.info(
        "20260103T030405Z-smoke-bbbbbb", fingerprint=synthetic.fingerprint(**({"git": "ba9876543210"} | changes))
    )
    out = tmp_path / "results"
    return (
        synthetic.write_run(out, **OPTIONS),  # type: ignore[arg-type]
        synthetic.write_run(out, head, seed=1, factors={"numpy/naive": 1.05}, **OPTIONS),  # type: ignore[arg-type]
    )


def test_the_weaker_claim_its_spread_and_the_live_command_are_printed(cli: Cli, tmp_path: Path) -> None:
    base, head = two(tmp_path)
    done = cli("compare", base, head)
    assert done.code == 3
    assert "the weaker claim" in " ".join(done.out.split())
    assert "4.0 % is assumed" in done.out
    live = "attnbench ab 0123456789ab ba9876543210 --impl numpy/naive --suite smoke --margin 5%"
    assert live in done.out
    told = cli("compare", base, head, "--json").document
    assert told["between_runs"]["source"] == "assumed"
    assert any(live in line for line in told["live"])
    assert "the weaker claim" in told["claim"]


def test_what_is_not_comparable_names_the_difference_and_the_command(cli: Cli, tmp_path: Path) -> None:
    base, head = two(tmp_path, kernel="Linux 9")
    done = cli("compare", base, head, "--json")
    assert done.code == 3
    assert {one["verdict"] for one in done.document["verdicts"]} == {"not-comparable"}
    assert done.document["verdicts"][0]["reason"] == "kernel differs: Linux 6.1 in BASE, Linux 9 in HEAD"
    assert any("attnbench ab 0123456789ab ba9876543210" in line for line in done.document["live"])


def test_imported_sides_say_what_is_missing(cli: Cli) -> None:
    runs = [cli("import", FILES / "pyperf.json", "--json", "--out", name).document["folder"] for name in ("a", "b")]
    done = cli("compare", *runs)
    assert done.code == 3
    for words in ("agreement with the oracle", "disturbances (receipts)", "threads", "attnbench cannot measure what"):
        assert words in done.out


def test_a_baseline_rests_on_the_same(cli: Cli, tmp_path: Path) -> None:
    base, head = two(tmp_path)
    assert cli("baseline", "set", base, "--name", "mine").code == 0
    done = cli("baseline", "check", head, "--name", "mine", "--json")
    assert (done.code, done.document["baseline"]) == (3, "mine")
    assert done.document["between_runs"]["source"] == "assumed"


def many(tmp_path: Path, factor: float = 1.0, **changes: Any) -> tuple[Path, Path]:
    """Two runs of 24 cells each."""
    head = synthetic.info("20260103T030405Z-smoke-bbbbbb", fingerprint=synthetic.fingerprint(**changes))
    factors = dict.fromkeys(synthetic.IMPLS, factor)
    return (
        synthetic.write_run(tmp_path / "results"),
        synthetic.write_run(tmp_path / "results", head, seed=1, factors=factors),
    )


ANOTHER: dict[str, Any] = {"hardware": synthetic.fingerprint().hardware.model_copy(update={"cpu_model": "Another CPU"})}
COMMON: dict[str, tuple[dict[str, Any], str]] = {
    "two machines": (ANOTHER, "machine_id differs"),
    "another governor": ({"governor": "powersave"}, "CPU governor differs: unknown in BASE, powersave in HEAD"),
    "another kernel": ({"kernel": "Linux 9"}, "kernel differs: Linux 6.1 in BASE, Linux 9 in HEAD"),
    "another Python": ({"python": "CPython 3.14"}, "Python differs"),
}


@pytest.mark.parametrize("what", COMMON)
def test_a_reason_that_all_share_stands_once_on_top_whatever_the_width(
    what: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, reason = COMMON[what]
    runs = many(tmp_path, **changes)
    for columns in ("", "40", "80") if what == "two machines" else ("60",):
        monkeypatch.setenv("COLUMNS", columns)
        done = cli("compare", *runs)
        assert done.code == 3
        assert done.out.startswith(f"not-comparable, all 24: {reason}")
        assert done.out.count(reason) == 1
        assert done.out.count("not-comparable") == 3, "on top, in one row, in the count"
        assert "24 cells in 4 cases (why: above)" in done.out
        assert "too narrow" not in done.out


def test_two_machines_by_json(cli: Cli, tmp_path: Path) -> None:
    told = cli("compare", *many(tmp_path, **ANOTHER), "--json").document
    assert len(told["verdicts"]) == 24
    (reason,) = told["reasons"]
    assert (reason["word"], reason["verdicts"], reason["of"]) == ("not-comparable", 24, 24)
    assert "Example CPU" in reason["reason"]
    assert "(Another CPU) in HEAD" in reason["reason"]
    assert (told["drift"], told["between_runs"]["sentence"]) == ([], "")
    assert "calibrate" not in json.dumps(told["live"])


def test_in_a_pipe_lines_have_no_end(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    done = cli("compare", *many(tmp_path))
    assert "spread between runs 4.0 %" in done.out
    assert "too narrow" not in done.out
    assert done.out.count("neither excludes no change") <= 1, "an undecided interval is explained once"


@pytest.mark.parametrize("factor", [1.12, 0.85])
def test_what_all_cells_did_is_said_beside_the_verdicts(factor: float, cli: Cli, tmp_path: Path) -> None:
    base, head = many(tmp_path, factor)
    done = cli("compare", base, head)
    assert "All 24 compared cells moved alike, by about " in done.out
    told = cli("compare", base, head, "--json").document
    (drift,) = told["drift"]
    assert (drift["cells"], drift["alike"], drift["backend"]) == (24, 24, None)
    assert drift["ratio"] == pytest.approx(factor, rel=0.02)
    assert drift["sentence"] in done.out
    assert done.code == told["exit_code"] == exit_code([Verdict(**verdict) for verdict in told["verdicts"]])
    cli("baseline", "set", base, "--name", "mine")
    checked = cli("baseline", "check", head, "--name", "mine")
    assert "moved alike" in checked.out
    assert checked.code == done.code


def test_without_a_common_factor_nothing_is_said_of_one(cli: Cli, tmp_path: Path) -> None:
    done = cli("compare", *many(tmp_path))
    assert "moved alike" not in done.out
