"""``attnbench export`` and ``attnbench import`` as a person types them."""

from __future__ import annotations

import configparser
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.program import Cli
from tests.repository import REPOSITORY
from tests.results import synthetic

FAILED = {("numpy/naive", 128): ("wrong", "differs by 3.2 times the bound"), ("jax/naive", 128): ("crashed", "SIGSEGV")}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    impls = ("numpy/naive", "jax/naive", "torch/sdpa")
    return synthetic.write_run(tmp_path / "results", failed=FAILED, lengths=(128,), impls=impls, bursts=8)


@pytest.mark.parametrize("to", ["pytest-benchmark", "github", "junit", "csv"])
def test_an_export_is_printed_or_written(cli: Cli, run: Path, to: str) -> None:
    printed = cli("export", run.name, "--to", to)
    assert printed.code == 0
    assert "differs by 3.2 times the bound" in printed.out
    assert "6 cells: 2 wrong, 2 crashed, 2 ok" in printed.err
    written = cli("export", run, "--to", to, "-o", "a file")
    assert written.code == 0
    assert "written to a file" in written.err
    assert Path("a file").read_text(encoding="utf-8").strip() in printed.out


def test_annotations_are_printed_and_the_summary_is_written(cli: Cli, run: Path) -> None:
    done = cli("export", run, "--to", "github", "-o", "summary.md", "--quiet")
    assert [line.split(" ")[0] for line in done.out.splitlines()] == ["::error"] * 2 + ["::warning"] * 2
    assert done.err == ""
    assert "::error" not in Path("summary.md").read_text()


def test_export_and_import_are_one_json_document(cli: Cli, run: Path) -> None:
    exported = cli("export", run, "--to", "pytest-benchmark", "-o", "x.json", "--json")
    assert (exported.code, exported.err) == (0, "")
    assert sorted(exported.document["cells"].values()) == ["crashed"] * 2 + ["ok"] * 2 + ["wrong"] * 2
    imported = cli("import", "x.json", "--json")
    assert (imported.code, imported.err) == (0, "")
    assert imported.document["imported"]["tool"] == "pytest-benchmark"
    assert Path(imported.document["folder"]).parent == Path("results")
    compared = cli("compare", run, imported.document["folder"], "--json")
    assert compared.code == 3
    times = [one for one in compared.document["verdicts"] if one["impl"] == "torch/sdpa" and one["metric"] == "time"]
    assert {one["ratio"] for one in times} == {1.0}
    assert compared.document["missing"] == [
        "HEAD was imported from pytest-benchmark (x.json), not measured by attnbench run."
    ]


def test_import_says_what_is_not_known(cli: Cli, tmp_path: Path) -> None:
    benchmark = {"name": "test_x", "fullname": "a::test_x", "stats": {"data": [1e-3, 2e-3], "iterations": 1}}
    data = {"machine_info": {"machine": "x86_64"}, "commit_info": {}, "benchmarks": [benchmark], "version": "5.0.0"}
    (tmp_path / "theirs.json").write_text(json.dumps(data))
    done = cli("import", "theirs.json", "--out", "elsewhere")
    assert done.code == 0
    assert "Not known of an imported run: agreement with the oracle, peak memory" in done.err
    assert Path(done.out.removeprefix("run: ").strip()).parent == Path("elsewhere")


@pytest.mark.parametrize("to", ["markdown", "latex", "csv"])
def test_answers_are_printed_or_written(cli: Cli, run: Path, to: str) -> None:
    printed = cli("export", run.name, "--to", to)
    assert printed.code == 0
    assert "differs by 3.2 times the bound" in printed.out
    assert "6 cells: 2 wrong, 2 crashed, 2 ok" in printed.err
    written = cli("export", run, "--to", to, "-o", "a file", "--json")
    assert written.document["files"] == [{"file": "a file", "holds": written.document["files"][0]["holds"]}]
    assert Path("a file").read_text(encoding="utf-8").strip() in printed.out


BAD = [
    (["export", "nowhere", "--to", "csv"], "nowhere"),
    (["export", "RUN", "--to", "cvs"], "did you mean 'csv'?"),
    (["export", "RUN", "--to", "asv"], "-o DIR"),
    (["export", "RUN", "--to", "asv", "-o", "asv", "--commit", "main"], "--commit HASH"),
    (["export", "RUN", "--to", "csv", "-o", "."], "is a folder"),
    (["export", "RUN", "--to", "csv", "--commit", "1234567"], "--to asv"),
    (["export", "RUN", "--to", "xlsx", "-o", "x.xlsx"], "there are markdown, csv, latex, excel, svg, png, pdf"),
    (["export", "RUN", "--to", "junit", "--figure", "x"], "--figure belongs to --to svg, png, pdf, not to --to junit"),
    (["export", "RUN", "--to", "junit", "--samples"], "--samples to --to excel"),
    (["export", "RUN", "--to", "pdf"], "-o DIR"),
    (["import", "nothing.json"], "there is no file nothing.json"),
    (["import", "RUN/run.json"], "of no tool that import knows"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_is_one_clear_line(cli: Cli, run: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = cli(*(word.replace("RUN", str(run)) for word in arguments))
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_json_needs_a_file(cli: Cli, run: Path) -> None:
    done = cli("export", run, "--to", "csv", "--json")
    assert done.code == 2
    assert done.document["error"].endswith("-o FILE")


def test_tox_has_the_environment_of_the_documentation() -> None:
    tox = configparser.ConfigParser()
    tox.read(REPOSITORY / "tox.ini")
    command = tox["testenv:pytest-benchmark"]["commands"]
    assert "tox -e pytest-benchmark" in (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")
    assert "-p attnbench.suites.bench_pytest --pyargs attnbench.suites.bench_pytest {posargs}" in command


def theirs(*runs: Mapping[str, object]) -> None:
    context = {"date": "2026-05-01T10:00:00", "num_cpus": 8}
    Path("theirs.json").write_text(json.dumps({"context": context, "benchmarks": list(runs)}))


FINE = {"name": "BM_fine", "real_time": 5.0, "cpu_time": 5.0, "iterations": 10, "time_unit": "ns"}
ZERO = FINE | {"name": "BM_zero", "real_time": 0.0}


def test_import_says_what_was_odd(cli: Cli) -> None:
    theirs(FINE, ZERO, {"real_time": 1.0})
    done = cli("import", "theirs.json")
    assert done.code == 0
    assert "warning: entry 3 of its benchmarks was left out: it has no 'name'" in done.err
    assert "2 cells: 1 ok, 1 not-run" in done.err
    assert "BM_zero: not-run, none of its rounds is a time above 0: 1 at 0 s (the clock is too coarse)" in done.err
    assert cli("import", "theirs.json", "--quiet").err == ""
    document = cli("import", "theirs.json", "--json").document
    assert (document["cells"], document["exit_code"]) == (2, 0)
    assert document["warnings"] == ["entry 3 of its benchmarks was left out: it has no 'name'"]


def test_many_odd_entries_do_not_flood(cli: Cli) -> None:
    theirs(FINE, *({"real_time": 1.0} for _ in range(14)))
    done = cli("import", "theirs.json")
    assert done.err.count("warning: ") == 10
    assert "… and 4 more; all of them are in " in done.err
    assert len(cli("import", "theirs.json", "--json").document["warnings"]) == 14


def test_rows_without_a_measurement_are_said_once_for_each_reason(cli: Cli) -> None:
    theirs(FINE, *(ZERO | {"name": f"BM_{n}"} for n in range(30)))
    done = cli("import", "theirs.json")
    assert done.err.count("the clock is too coarse") == 1
    assert "BM_0 and 29 more: not-run, none of its rounds is a time above 0" in done.err


def test_a_file_without_one_measurement_is_nothing_measured(cli: Cli) -> None:
    theirs(ZERO)
    done = cli("import", "theirs.json")
    assert done.code == 5
    assert "run: results/" in done.out
    assert cli("import", "theirs.json", "--json").document["exit_code"] == 5
