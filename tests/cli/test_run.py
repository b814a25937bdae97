"""``attnbench run``, ``report`` and ``compare`` from end to end, on one small case."""

from __future__ import annotations

import re
from pathlib import Path

import attnbench as ab
from tests.cli.dropins import RIGHT, WRONG
from tests.program import Cli, Done

SMALL = ("-a", "setting=forward", "-a", "T=128", "--budget", "20s")


def run(cli: Cli, *more: str | Path) -> Done:
    """The smoke suite at one small point."""
    return cli("run", "smoke", *SMALL, *more)


def test_a_run_leaves_a_folder_and_a_page_and_says_where(cli: Cli, tmp_path: Path) -> None:
    done = run(cli, "--impl", "numpy/naive", "--impl", "numpy/loops")
    assert done.code == 0, done.err
    (folder,) = (tmp_path / "results").iterdir()
    assert {path.name for path in folder.iterdir()} >= {"run.json", "journal.jsonl", "cells.parquet", "samples.parquet"}
    page = tmp_path / "reports" / folder.name / "index.html"
    assert "http://" not in page.read_text().replace("http://www.w3.org", "")
    assert str(page.relative_to(tmp_path)) in done.out
    assert "numpy/naive" in done.out
    assert "1 ok, 1 unsupported" in done.out
    frame = ab.load(folder)
    assert list(frame["status"]) == ["ok", "unsupported"]
    measured = frame.iloc[0]
    assert measured["time_median_s"] > 0
    assert 0 < measured["error_ratio"] <= 1
    assert measured["peak_bytes"] > 0
    assert len(ab.load(folder, samples=True)) >= measured["n_samples"]


def test_a_wrong_cell_is_a_row_without_a_time_and_exit_1(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(WRONG["scale"][0])
    done = run(cli, "--impls", file, "--impl", "numpy/mine", "--json")
    assert done.code == 1
    (cell,) = done.document["cells"]
    assert cell["status"] == "wrong"
    assert "times what rounding explains" in cell["reason"]
    assert cell["time_median_s"] is None


def test_a_crash_is_a_row_beside_a_good_one_and_exit_4(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(WRONG["dies"][0])
    done = run(cli, "--impls", file, "--impl", "numpy/mine", "--impl", "numpy/naive", "--json")
    assert done.code == 4
    assert {cell["impl"]: cell["status"] for cell in done.document["cells"]} == {
        "numpy/mine": "crashed",
        "numpy/naive": "ok",
    }


def test_two_runs_compare_and_a_second_report_is_the_same(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(RIGHT)
    first = run(cli, "--impls", file, "--impl", "numpy/mine", "--json").document
    slow = RIGHT.replace("return np", "np.linalg.svd(np.ones((200, 200)))\n    return np")
    file.write_text(slow)
    second = run(cli, "--impls", file, "--impl", "numpy/mine", "--json").document
    judged = cli("compare", first["folder"], second["folder"], "--json")
    # Where other programs disturb more than half of the bursts, "inconclusive" is the honest answer; a pass never is.
    assert judged.code in (1, 3)
    time = next(one for one in judged.document["verdicts"] if one["metric"] in ("time", "status"))
    assert time["verdict"] in ("slower", "inconclusive", "not-comparable")
    assert time["verdict"] != "slower" or time["ratio"] > 1.05
    assert cli("compare", first["folder"], first["folder"]).code == 2
    before = Path(first["report"]).read_bytes()
    assert cli("report", first["folder"]).code == 0
    assert Path(first["report"]).read_bytes() == before


def test_the_report_of_a_resumed_run_stands_beside_its_results_wherever_they_are(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere" / "results"
    short = ("run", "smoke", "-a", "setting=forward", "-a", "T=128", "--impl", "numpy/naive", "--budget")
    begun = cli(*short, "0.01s", "--out", out, "--json")
    assert begun.code == 5, begun.err
    done = cli("run", "--resume", begun.document["folder"], "--json")
    assert done.code == 0, done.err
    page = tmp_path / "elsewhere" / "reports" / begun.document["run_id"] / "index.html"
    assert Path(done.document["report"]) == page
    assert page.is_file()


KEPT = (
    RIGHT.replace("def attend", "def right").replace('@implementation("numpy/mine", Capabilities())\n', "")
    + """
kept, calls = {}, {}

@implementation("numpy/memo", Capabilities())
def memo(q, k, v, call):
    if id(q) not in kept:
        kept[id(q)] = (q, right(q, k, v, call))
    return kept[id(q)][1]

@implementation("numpy/second", Capabilities())
def second(q, k, v, call):
    calls[id(q)] = calls.get(id(q), 0) + 1
    return right(q, k, v, call) * q.dtype.type(2 if calls[id(q)] > 1 else 1)
"""
)


def test_an_answer_kept_from_an_earlier_call_is_wrong_and_not_fast(cli: Cli, tmp_path: Path) -> None:
    """Both pass the gate, which calls once; what was timed is judged again after the clock."""
    file = tmp_path / "kept.py"
    file.write_text(KEPT)
    names = [word for name in ("memo", "second", "naive") for word in ("--impl", f"numpy/{name}")]
    done = run(cli, "--impls", file, *names, "--json")
    assert done.code == 1
    cells = {cell["impl"]: cell for cell in done.document["cells"]}
    assert {name: cell["status"] for name, cell in cells.items()} == {
        "numpy/memo": "wrong",
        "numpy/second": "wrong",
        "numpy/naive": "ok",
    }
    # On new values, or on inputs of which a part is new: whichever it is, it took its time or was wrong.
    assert re.search("values that it had not seen|one part was new", cells["numpy/memo"]["reason"])
    assert cells["numpy/memo"]["time_median_s"] is None


def test_a_report_folder_that_cannot_be_written_is_seen_before_anything_runs(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(cli, "--impl", "numpy/naive", "--report", tmp_path / "file" / "below")
    assert done.code == 2
    assert "--report" in done.err
    assert not (tmp_path / "results").exists()
