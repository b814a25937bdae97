"""``attnbench compare`` as a person types it: the label, the spread that it rests on, and what to do about the rest."""

from __future__ import annotations

from pathlib import Path

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
