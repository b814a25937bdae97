"""What other tools are given: they read it themselves, and every planned cell is in every format."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from pytest_benchmark.stats import Stats

from attnbench.errors import ResultsError, UsageError
from attnbench.exchange.writers.benchmark_stats import benchmark_stats, no_stats
from attnbench.exchange.writers.commits import commit_of
from attnbench.exchange.writers.export import FORMATS, export
from attnbench.exchange.writers.github import LIMIT, summary, workflow_commands
from attnbench.exchange.writers.saved import peak_text, read_saved
from attnbench.results.read import read_samples
from attnbench.results.summary import bursts, usable
from tests.exchange.conftest import BASE
from tests.results import synthetic

FIRST, SECOND = "1" * 40, "2" * 40


def tool(*command: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# pytest-benchmark


@pytest.mark.parametrize("rounds", [*range(1, 14), 101, 102, 103, 104])
def test_the_statistics_are_those_of_pytest_benchmark(rounds: int) -> None:
    drawn = random.Random(rounds)  # noqa: S311  (to be repeatable, not secret)
    theirs: Any = Stats()  # type: ignore[no-untyped-call]
    for _ in range(rounds):
        theirs.update(drawn.lognormvariate(-6, 0.5) * (9 if drawn.random() < 0.1 else 1))
    expected = theirs.as_dict() | {"data": theirs.data, "iterations": 7}
    assert benchmark_stats(theirs.data, 7) == expected
    assert set(no_stats()) == set(expected)


def test_statistics_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one round"):
        benchmark_stats([], 1)


def test_rounds_are_the_bursts_that_count_with_their_seconds_per_call(base: Path) -> None:
    data = json.loads(export(base, "pytest-benchmark").text or "")
    samples = read_samples(base)
    timed = [one for one in data["benchmarks"] if one["stats"]["rounds"]]
    assert timed
    for one in timed:
        own = bursts(usable(s for s in samples if s.cell_id == one["extra_info"]["cell_id"]))
        assert one["stats"]["data"] == list(own.values)
        assert one["stats"]["iterations"] == 8
        row = one["extra_info"]["attnbench_row"]
        assert one["stats"]["median"] == pytest.approx(row["time_median_s"], rel=1e-12)


def test_pytest_benchmark_itself_compares_two_of_our_runs(base: Path, head: Path, tmp_path: Path) -> None:
    for name, run in (("a", base), ("b", head)):
        export(run, "pytest-benchmark", tmp_path / f"{name}.json")
    seen = tool(
        "pytest_benchmark",
        "compare",
        "a.json",
        "b.json",
        "--group-by=fullname",
        "--columns=median,rounds",
        cwd=tmp_path,
    )
    assert "Failed to load" not in seen
    lines = [line for line in seen.splitlines() if line.startswith("torch/sdpa[")]
    assert len(lines) == 8
    assert sum("(1.3" in line or "(1.2" in line for line in lines) == 4
    failed = [line for line in seen.splitlines() if "inf" in line]
    count = Counter(
        word for line in failed for word in ("WRONG", "OOM", "TIMEOUT", "CRASHED", "UNSUPPORTED") if word in line
    )
    assert count == {"WRONG": 2, "OOM": 2, "TIMEOUT": 2, "CRASHED": 2, "UNSUPPORTED": 2}
    assert sum("NOT-RUN" in line for line in failed) == 2


def test_a_json_without_nan_says_infinity_as_a_number_and_names_machine_and_commit(base: Path) -> None:
    text = export(base, "pytest-benchmark").text or ""

    def refuse(word: str) -> Any:
        raise AssertionError(word)

    data = json.loads(text, parse_constant=refuse)
    assert {one["stats"]["median"] for one in data["benchmarks"] if one["name"].endswith("WRONG")} == {math.inf}
    assert data["machine_info"]["cpu"]["brand_raw"] == "Example CPU @ 2.60GHz"
    assert data["machine_info"]["python_version"] == "3.11.7"
    assert (data["machine_info"]["system"], data["machine_info"]["release"]) == ("Linux", "6.1")
    assert (data["commit_info"]["id"], data["commit_info"]["dirty"]) == ("0123456789ab", False)
    info = data["benchmarks"][0]["extra_info"]
    assert {"impl", "case", "dtype", "error_ratio", "flops", "min_bytes", "versions"} <= set(info)
    assert len({one["fullname"] for one in data["benchmarks"]}) == len(data["benchmarks"])


# asv


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, runs: Path) -> tuple[Path, str, str]:
    """A project of asv with two commits, and a run of ours for each."""
    folder = tmp_path_factory.mktemp("asv")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(folder)]
    subprocess.run([*git[:-2], "init", "-q", "-b", "main", str(folder)], check=True)
    hashes = []
    for number in range(2):
        (folder / "code").write_text(str(number))
        subprocess.run([*git, "add", "code"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", str(number)], check=True)
        told = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
        hashes.append(told.stdout.strip())
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "__init__.py").touch()
    configuration = {
        "version": 1,
        "project": "p",
        "project_url": "https://example.org",
        "repo": ".",
        "branches": ["main"],
    }
    own = {"environment_type": "existing", "results_dir": "results", "html_dir": "html", "benchmark_dir": "benchmarks"}
    (folder / "asv.conf.json").write_text(json.dumps(configuration | own))
    for run, commit in zip(sorted(one for one in runs.iterdir() if (one / "run.json").exists()), hashes, strict=True):
        export(run, "asv", folder / "results", commit)
    return folder, hashes[0], hashes[1]


def test_asv_itself_compares_two_of_our_runs(project: tuple[Path, str, str]) -> None:
    folder, first, second = project
    seen = tool("asv", "compare", first, second, cwd=folder)
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in seen.splitlines() if "smoke.time" in line]
    assert len(rows) == 24
    slower = [row for row in rows if "torch/sdpa" in row[4]]
    assert len(slower) == 4
    assert all(row[0] == "+" and float(row[3]) == pytest.approx(1.3, abs=0.03) for row in slower)
    assert Counter(row[1] for row in rows if row[1] in ("failed", "n/a")) == {"failed": 8, "n/a": 4}
    observed = [line for line in seen.splitlines() if "scaling.track_variance" in line]
    assert any("16.5" in line for line in observed)
    assert any("failed" in line for line in observed)


def test_asv_itself_publishes_them(project: tuple[Path, str, str]) -> None:
    folder, *_ = project
    tool("asv", "publish", cwd=folder)
    index = json.loads((folder / "html" / "index.json").read_text())
    assert {"smoke.time", "smoke.peakmem"} <= set(index["benchmarks"])
    # The commits are those of the repository, so that a graph has a place for them.
    assert len(index["revision_to_hash"]) == 2


def test_a_second_run_of_a_commit_joins_the_first(runs: Path, tmp_path: Path) -> None:
    file = export(runs / BASE, "asv", tmp_path, FIRST).file
    other = synthetic.write_run(
        tmp_path / "runs", synthetic.info("20260104T030405Z-smoke-cccccc"), lengths=(128, 1024), impls=("numpy/naive",)
    )
    assert export(other, "asv", tmp_path, FIRST).file == file
    assert file is not None
    results = json.loads(file.read_text())["results"]
    assert "scaling.track_variance" in results
    listed = json.loads((tmp_path / "benchmarks.json").read_text())["smoke.time"]["params"]
    assert len(listed[0]) == 6
    assert len(listed[1]) == 6


def test_another_programs_file_is_left_alone(base: Path, tmp_path: Path) -> None:
    (tmp_path / "benchmarks.json").write_text("{}")
    with pytest.raises(ResultsError, match=r"no file of asv's .* left untouched; name another folder: -o DIR"):
        export(base, "asv", tmp_path, FIRST)
    assert [one.name for one in tmp_path.iterdir()] == ["benchmarks.json"]
    assert (tmp_path / "benchmarks.json").read_text() == "{}"


def test_asv_needs_a_commit_and_a_folder(base: Path, tmp_path: Path) -> None:
    info = synthetic.info(fingerprint=synthetic.fingerprint(git=None))
    with pytest.raises(UsageError, match=r"not measured in a git checkout; .*--commit HASH"):
        commit_of(info, None)
    with pytest.raises(UsageError, match="--commit 'main' is no commit"):
        commit_of(info, "main")
    assert commit_of(info, SECOND).id == SECOND
    assert commit_of(synthetic.info(), None).id == "0123456789ab"
    with pytest.raises(UsageError, match=r"name it: .*-o DIR"):
        export(base, "asv")
    assert list(tmp_path.iterdir()) == []


# GitHub, JUnit, CSV


def test_annotations_name_what_is_wrong_first_and_are_one_line_each(base: Path) -> None:
    lines = workflow_commands(read_saved(base))
    kinds = [line.split(" ")[0] for line in lines]
    assert kinds == ["::error"] * 2 + ["::warning"] * 9
    assert all("\n" not in line for line in lines)
    assert lines[0].startswith("::error title=attnbench%3A jax/nn-xla wrong::smoke: forward B1")
    assert "50%25 | *off* in two lines" in lines[0]
    assert not any("unsupported" in line for line in lines)


def test_the_summary_has_every_cell(base: Path) -> None:
    text = summary(read_saved(base))
    assert "26 cells: " in text
    for status, count in (("wrong", 2), ("oom", 2), ("timeout", 2), ("crashed", 3), ("not-run", 2), ("unsupported", 2)):
        assert text.count(f"\n| {status} |") == count
    assert "50% \\| \\*off\\* in two lines" in text
    assert text.count("| `torch/sdpa` |") == 4
    assert "16.5" in text
    assert text.index("wrong") < text.index("### smoke")


def test_a_summary_that_is_too_long_says_what_is_left_out(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = summary(read_saved(base))
    assert len(whole.encode()) < LIMIT
    monkeypatch.setattr("attnbench.exchange.writers.github.LIMIT", 3000)
    cut = summary(read_saved(base))
    assert len(cut.encode()) < 3200
    assert "more tables do not fit" in cut
    assert cut.count("\n| wrong |") == 2


def test_the_summary_of_a_step_is_appended_to(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    done = export(base, "github", file)
    assert file.read_text().startswith("before\n## attnbench: smoke, scaling")
    assert len(done.commands) == 11


def test_junit_has_a_case_for_each_cell_and_its_kind(base: Path) -> None:
    root = ET.fromstring(export(base, "junit").text or "")  # noqa: S314  (our own text)
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == ("26", "2", "9", "2")
    cases = root.findall(".//testcase")
    assert len(cases) == 26
    kinds = Counter(child.tag for case in cases for child in case)
    assert kinds == {"system-out": 13, "failure": 2, "error": 9, "skipped": 2}
    assert {one.get("message") for one in root.iter("skipped")} == {"no GPU"}
    assert {one.get("type") for one in root.iter("error")} == {"oom", "timeout", "crashed", "not-run"}
    assert any("SIGSEGV <\ufffd>" in (one.get("message") or "") for one in root.iter("error"))
    assert sum(case.get("time") is not None for case in cases) == 12
    suites = root.findall("testsuite")
    assert [(one.get("name"), one.get("tests")) for one in suites] == [("smoke", "24"), ("scaling", "2")]


# All of them


@pytest.mark.parametrize("to", [one for one in FORMATS if one != "asv"])
def test_nothing_that_failed_vanishes(to: str, base: Path) -> None:
    text = export(base, to).text or ""
    for sign in (
        "needs 9.0 GiB",
        "differs by 3.2 times",
        "no GPU",
        "60 s",
        "SIGSEGV",
        "the budget was spent",
        "SIGABRT",
    ):
        assert sign in text, (to, sign)


def test_an_unfinished_run_can_be_exported(tmp_path: Path) -> None:
    folder = synthetic.write_run(tmp_path, lengths=(128,), impls=("numpy/naive",), finish=False)
    assert "**not finished**" in (export(folder, "github").text or "")


@pytest.mark.parametrize(
    ("to", "changes", "message"),
    [
        (
            "pytest_benchmark",
            {},
            "hyperfine, github, github-action-benchmark, junit; did you mean 'pytest-benchmark'",
        ),
        (
            "junit",
            {"commit": FIRST},
            "--commit belongs to --to asv and --to github-action-benchmark, not to --to junit",
        ),
        ("junit", {"out": Path()}, "is a folder; --to junit writes a file"),
    ],
)
def test_wrong_usage_says_what_is_possible(base: Path, to: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        export(base, to, **changes)


@pytest.mark.parametrize("to", ["junit", "github", "pytest-benchmark"])
def test_a_folder_that_is_not_there_is_named_and_not_made(to: str, base: Path, tmp_path: Path) -> None:
    missing = tmp_path / "no such folder"
    with pytest.raises(UsageError, match=r"there is no folder .*no such folder; make it first \(mkdir -p '"):
        export(str(base), to, missing / "x.out")
    assert not missing.exists()


def test_peak_memory_that_was_not_measured_says_why(base: Path) -> None:
    row = next(row for row in read_saved(base).cells if row.status == "ok")
    assert peak_text(row).endswith("iB")
    spent = row.model_copy(update={"peak_bytes": None, "memory": {"source": "not measured:\nthe budget was spent"}})
    assert peak_text(spent) == "not measured: the budget was spent"
    assert peak_text(row.model_copy(update={"peak_bytes": None, "memory": {}})) == "–"
