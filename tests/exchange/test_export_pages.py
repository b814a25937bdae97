"""hyperfine's JSON and github-action-benchmark's page: written, read again, and added to rather than replaced."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import Any

import pytest

from attnbench.errors import ResultsError, UsageError
from attnbench.exchange.readers.importing import import_file
from attnbench.exchange.writers.export import export
from attnbench.results.read import read_cells
from tests.results import synthetic

PREFIX = "window.BENCHMARK_DATA = "
PAGE = "github-action-benchmark"


def medians(run: Path) -> list[float]:
    return sorted(row.time_median_s for row in read_cells(run) if row.time_median_s)


def page(file: Path) -> Any:
    """What the action itself makes of the file: it cuts the prefix off, and reads the rest as JSON."""
    text = file.read_text(encoding="utf-8")
    assert text.startswith(PREFIX)
    return json.loads(text[len(PREFIX) :])


def test_hyperfines_results_are_the_cells_with_their_bursts(base: Path) -> None:
    text = export(base, "hyperfine").text or ""

    def refuse(word: str) -> Any:
        raise AssertionError(word)

    results = json.loads(text, parse_constant=refuse)["results"]
    assert len(results) == len(read_cells(base)) == 26
    timed = [result for result in results if result["times"]]
    assert len(timed) == 12
    for result in timed:
        assert result["mean"] == pytest.approx(statistics.mean(result["times"]))
        assert result["stddev"] == pytest.approx(statistics.stdev(result["times"]))
        assert (result["min"], result["max"]) == (min(result["times"]), max(result["times"]))
        assert result["exit_codes"] == [0] * len(result["times"])
        assert {"user", "system", "parameters"} <= set(result)
        assert all(isinstance(level, str) for level in result["parameters"].values())


def test_hyperfines_json_comes_back_with_the_same_medians_and_reasons(base: Path, tmp_path: Path) -> None:
    file = export(base, "hyperfine", tmp_path / "h.json").file
    assert file is not None
    again = import_file(file, tmp_path / "r")
    assert medians(again) == pytest.approx(medians(base), rel=1e-12)
    before = sorted((row.status, " ".join((row.reason or "").split())) for row in read_cells(base) if row.reason)
    after = sorted((row.status, row.reason or "") for row in read_cells(again) if row.status != "ok")
    assert [pair for pair in after if not pair[1].startswith("observed, not timed")] == before
    assert len(read_cells(again)) == len(read_cells(base))


def test_the_page_comes_back_with_the_same_medians_and_reasons(base: Path, tmp_path: Path) -> None:
    file = export(base, PAGE, tmp_path / "data.js").file
    assert file is not None
    again = import_file(file, tmp_path / "r")
    assert medians(again) == pytest.approx(medians(base), rel=1e-12)
    before = sorted((row.status, " ".join((row.reason or "").split())) for row in read_cells(base) if row.reason)
    assert sorted((row.status, row.reason or "") for row in read_cells(again) if row.status != "ok") == before


def test_a_page_has_what_the_action_draws(base: Path, tmp_path: Path) -> None:
    export(base, PAGE, tmp_path / "data.js")
    data = page(tmp_path / "data.js")
    assert set(data) == {"lastUpdate", "repoUrl", "entries"}
    assert list(data["entries"]) == ["smoke", "scaling"]
    (entry,) = data["entries"]["smoke"]
    assert entry["tool"] == "customSmallerIsBetter"
    assert entry["commit"]["id"] == "0123456789ab"
    assert {"message", "timestamp", "url"} <= set(entry["commit"])
    assert entry["commit"]["committer"]["username"]
    values = [bench["value"] for bench in entry["benches"]]
    assert sum(value is None for value in values) == 12
    assert {bench["unit"] for bench in entry["benches"]} == {"ns", "bytes"}
    assert all(bench["range"].startswith("± ") for bench in entry["benches"] if "bursts" in bench.get("extra", ""))
    assert len({bench["name"] for bench in entry["benches"]}) == len(entry["benches"])


def test_runs_are_added_to_a_page_and_replace_themselves(base: Path, head: Path, tmp_path: Path) -> None:
    file = tmp_path / "data.js"
    theirs = {
        "commit": {"id": "f" * 40},
        "date": 1,
        "tool": "cargo",
        "benches": [{"name": "x", "value": 1, "unit": "s"}],
    }
    old = {"lastUpdate": 1, "repoUrl": "https://example.org/x", "entries": {"smoke": [theirs], "Rust": [theirs]}}
    file.write_text(PREFIX + json.dumps(old), encoding="utf-8")
    for run, commit in ((head, "2" * 40), (base, "1" * 40), (head, "2" * 40)):
        export(run, PAGE, file, commit)
    data = page(file)
    assert [entry["commit"]["id"][0] for entry in data["entries"]["smoke"]] == ["f", "1", "2"]
    assert data["entries"]["Rust"] == [theirs]
    assert data["repoUrl"] == "https://example.org/x"
    assert data["lastUpdate"] > 1


@pytest.mark.parametrize("text", ["", "{}", "window.X = {}", PREFIX + "{", PREFIX + "{}", PREFIX + '{"entries": [1]}'])
def test_a_file_that_is_no_page_is_left_alone(text: str, base: Path, tmp_path: Path) -> None:
    file = tmp_path / "data.js"
    file.write_text(text)
    with pytest.raises(ResultsError, match=r"left untouched; name another: -o FILE"):
        export(base, PAGE, file)
    assert file.read_text() == text


def test_a_json_file_is_the_list_that_the_action_takes(base: Path, tmp_path: Path) -> None:
    file = export(base, PAGE, tmp_path / "bench.json").file
    assert file is not None
    listed = json.loads(file.read_text(encoding="utf-8"))
    assert all({"name", "unit", "value"} <= set(bench) for bench in listed)
    assert all(isinstance(bench["value"], (int, float)) for bench in listed)
    assert medians(import_file(file, tmp_path / "r")) == pytest.approx(medians(base), rel=1e-12)


def test_a_page_needs_a_commit_and_asks_for_it_by_its_name(tmp_path: Path) -> None:
    info = synthetic.info(fingerprint=synthetic.fingerprint(git=None))
    run = synthetic.write_run(tmp_path / "runs", info, lengths=(128,), impls=("numpy/naive",))
    with pytest.raises(UsageError, match=r"data\.js files results by commit, and this run was not measured in a git"):
        export(run, PAGE, tmp_path / "data.js")
    assert not (tmp_path / "data.js").exists()
    export(run, PAGE, tmp_path / "data.js", "1234567")


def test_a_commit_of_the_repository_here_brings_its_words(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=a@example.org", "-C", str(tmp_path)]
    subprocess.run([*git[:-2], "init", "-q", str(tmp_path)], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "faster"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.chdir(tmp_path)
    export(base, PAGE, tmp_path / "data.js", commit[:10])
    seen = page(tmp_path / "data.js")["entries"]["smoke"][0]["commit"]
    assert (seen["id"], seen["message"], seen["committer"]["username"]) == (commit, "faster", "Ada")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node, which runs the page's script")
def test_the_script_of_the_page_sets_what_the_page_reads(base: Path, tmp_path: Path) -> None:
    export(base, PAGE, tmp_path / "data.js")
    script = "window={};require('./data.js');console.log(Object.keys(window.BENCHMARK_DATA.entries).join())"
    done = subprocess.run(["node", "-e", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "smoke,scaling"
