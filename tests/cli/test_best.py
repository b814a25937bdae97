"""``attnbench best`` as it is typed: its line, its document, its table, its exit status, and what is wrong usage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnbench.answers.question import question
from tests.answers import planted
from tests.answers.planted import Planted, PlantedRun
from tests.program import Cli

NAIVE, BLOCKED = "numpy/naive", "numpy/blocked"
ASKED = ("--shape", "h4-d64", "--tokens", "256")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    planted.write(tmp_path / "results", {NAIVE: Planted(4.0), BLOCKED: Planted()}, PlantedRun("apart"))
    twins = PlantedRun("twins", asked=question("h4-d64", 512))
    planted.write(tmp_path / "results", {NAIVE: Planted(), BLOCKED: Planted()}, twins)
    return tmp_path / "results"


def test_the_answer_is_the_first_line_and_the_status_says_if_there_is_one(cli: Cli, results: Path) -> None:
    del results
    done = cli("best", *ASKED)
    assert done.code == 0
    assert done.out.splitlines()[0].startswith(f"{BLOCKED} is the fastest of 2 for h4-d64, 256 tokens")
    twins = cli("best", "--shape", "h4-d64", "--tokens", "512")
    assert twins.code == 3
    assert twins.out.startswith("Either of ")
    assert "attnbench ab " in twins.out
    assert cli("best", *ASKED, "results/apart").out == done.out


def test_the_document_is_all_of_it(cli: Cli, results: Path) -> None:
    del results
    document = cli("best", *ASKED, "--json").document
    assert (document["best"], document["lead"]["over"], document["exit_code"]) == (BLOCKED, NAIVE, 0)
    nothing = cli("best", "--shape", "gpt2", "--tokens", "7", "--json")
    assert (nothing.code, nothing.document["verdict"]) == (5, "not-measured")
    assert nothing.document["near"][0]["differs"]
    assert nothing.document["type"] == ["attnbench best --shape gpt2 --tokens 7 --measure 5m"]


def test_a_table_is_written_with_every_case(cli: Cli, results: Path, tmp_path: Path) -> None:
    del results
    done = cli("best", "--table", "t.json", "--json")
    assert (done.code, done.document["entries"]) == (0, 2)
    assert len(json.loads((tmp_path / "t.json").read_text())["entries"]) == 2
    assert cli("best", "--table", "t.json", "results").code == 0


def test_without_a_run_there_is_no_table(cli: Cli) -> None:
    assert cli("best", "--table", "t.json").code == 5


def test_a_table_holds_to_what_is_needed_and_one_that_is_in_use_stays(cli: Cli, results: Path, tmp_path: Path) -> None:
    del results
    assert cli("best", "--table", "t.json").code == 0
    before = (tmp_path / "t.json").read_text()
    done = cli("best", "--table", "t.json", "--device", "cuda")
    assert (done.code, done.out.splitlines()[1]) == (5, "table: t.json (left as it was: no case fits)")
    assert (tmp_path / "t.json").read_text() == before
    assert cli("best", "--table", "t.json", "--memory", "1KiB").code == 5


WRONG: list[tuple[tuple[str, ...], str]] = [
    ((), "--shape and --tokens: say for which shape"),
    (("--shape", "gpt2"), "--tokens: say"),
    (("--shape", "gpt3", "--tokens", "4"), "did you mean 'gpt2'"),
    (("--shape", "gpt2", "--tokens", "some"), "--tokens is 1 or more"),
    ((*ASKED, "--needs", "gradient,window"), "did you mean 'gradients'"),
    ((*ASKED, "--memory", "2 buckets"), "such as 2GiB"),
    ((*ASKED, "nowhere"), "no run 'nowhere'"),
    ((*ASKED, "apart", "--measure", "5m"), "what is measured now is a run of its own"),
    ((*ASKED, "--impl", "numpy/*"), "--impl says who is measured now"),
    ((*ASKED, "--measure", "soon"), "90s, 10m or 1h"),
    ((*ASKED, "--table", "t.json"), "leave out --shape and --tokens"),
    (("--table", "t.json", "--threads", "2"), "leave out --threads"),
    (("--table", "no/where/t.json"), "there is no folder"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_wrong_usage_is_one_line_and_nothing_runs(cli: Cli, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = cli("best", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()


TWIN_FILE = """
    import numpy as np
    from attnbench.api import Capabilities, implementation

    def plain(q, k, v, call):
        s = q @ np.swapaxes(k, -1, -2) * call.scale
        e = np.exp(s - s.max(-1, keepdims=True))
        return (e / e.sum(-1, keepdims=True)) @ v

    @implementation("numpy/mine", Capabilities())
    def mine(q, k, v, call):
        return plain(q, k, v, call)

    @implementation("numpy/twin", Capabilities())
    def twin(q, k, v, call):
        return plain(q, k, v, call)

    @implementation("numpy/thrice", Capabilities())
    def thrice(q, k, v, call):
        return [plain(q, k, v, call) for _ in range(3)][0]

    @implementation("numpy/cheat", Capabilities())
    def cheat(q, k, v, call):
        return v.copy()
"""


@pytest.mark.proof
@pytest.mark.slow
def test_measured_now_one_code_under_two_names_is_not_told_apart_and_three_times_the_work_is(
    cli: Cli, tmp_path: Path
) -> None:
    import textwrap

    (tmp_path / "twins.py").write_text(textwrap.dedent(TWIN_FILE), encoding="utf-8")
    names = [word for name in ("mine", "twin", "thrice", "cheat") for word in ("--impl", f"numpy/{name}")]
    done = cli("best", *ASKED, "--measure", "60s", "--impls", "twins.py", *names, "--quiet", "--json")
    document = done.document
    assert (done.code, document["verdict"]) == (3, "either"), done.out
    assert set(document["names"]) == {"numpy/mine", "numpy/twin"}
    assert [row["impl"] for row in document["contenders"] if row["standing"] == "behind"] == ["numpy/thrice"]
    wrong = [row for row in document["left_out"] if row["kind"] == "wrong"]
    assert [row["impl"] for row in wrong] == ["numpy/cheat"]
    assert Path(document["evidence"]["folder"]).parent == Path("results")
    again = cli("best", *ASKED, "--json")
    assert again.document["names"] == document["names"]
