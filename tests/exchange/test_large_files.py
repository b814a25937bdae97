"""What a file of tens of thousands of values costs: counted, since a clock would say what else the machine does."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from attnbench.comparing import compare
from attnbench.comparing import runs as compare_runs
from attnbench.errors import ResultsError
from attnbench.exchange.readers import foreign
from attnbench.exchange.readers.importing import import_file
from attnbench.results import load, parquet, read_info, summary
from attnbench.results.read import outcomes, read_cells


def write(folder: Path, benchmarks: int, rounds: int, *, twice: bool = False, factor: float = 1.0) -> Path:
    """A file of pytest-benchmark, as small as it reads one."""
    times = [factor * 1e-3 * (1 + 0.001 * (i * 7919 % 101)) for i in range(rounds)]
    listed = [
        {
            "name": f"test_{i}",
            "fullname": f"tests/test_x.py::test_{0 if twice else i}",
            "group": None,
            "params": None,
            "stats": {"data": times, "rounds": rounds, "iterations": 1, "median": times[0]},
        }
        for i in range(benchmarks)
    ]
    machine = {"node": "host", "machine": "x86_64", "cpu": {"brand_raw": "Example CPU", "count": 8}}
    data = {"machine_info": machine, "commit_info": {"id": "a" * 40}, "benchmarks": listed, "version": "5.2.3"}
    file = folder / f"{benchmarks}x{rounds}x{factor}.json"
    file.write_text(json.dumps(data | {"datetime": "2026-05-01T10:00:00+00:00"}))
    return file


def counting(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[int]:
    calls: list[int] = []
    function: Callable[..., Any] = getattr(owner, name)

    def counted(*given: Any, **named: Any) -> Any:
        calls.append(1)
        return function(*given, **named)

    monkeypatch.setattr(owner, name, counted)
    return calls


@pytest.mark.parametrize(("benchmarks", "rounds"), [(1, 3000), (50, 60), (3000, 1)])
def test_an_import_is_synced_a_few_times_and_scipy_asked_once(
    benchmarks: int, rounds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary._interval_places.cache_clear()
    syncs, asked = counting(monkeypatch, os, "fsync"), counting(monkeypatch, stats, "quantile_test")
    folder = import_file(write(tmp_path, benchmarks, rounds), tmp_path / "results")
    assert len(syncs) <= 12, "of a run one for each burst, of a file one for each part"
    assert len(asked) <= 1
    assert [cell.status for cell in outcomes(folder)] == ["ok"] * benchmarks
    samples = load(folder, samples=True)
    assert len(samples) == benchmarks * rounds
    assert list(load(folder)["n_samples"]) == [rounds] * benchmarks
    assert list(load(folder)["variant"]) == [f"test_{i}" for i in range(benchmarks)]


def test_an_import_holds_no_more_records_than_a_part_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (foreign, parquet):
        monkeypatch.setattr(module, "PART", 50)
    file = write(tmp_path, 400, 1)
    import_file(write(tmp_path, 1, 1), tmp_path / "results")  # the modules that it takes are no cost of a file
    tracemalloc.start()
    import_file(file, tmp_path / "results")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 2**20, "a row of ours is 10 KB as a record, and 400 of them were held twice"


def test_parts_are_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = import_file(write(tmp_path, 7, 9), tmp_path / "whole")
    for module in (foreign, parquet):
        monkeypatch.setattr(module, "PART", 2)
    parts = import_file(write(tmp_path, 7, 9), tmp_path / "parts")
    for samples in (False, True):
        one, other = (load(folder, samples=samples).drop(columns="run_id") for folder in (whole, parts))
        assert one.equals(other)
    assert read_info(whole).implementations == read_info(parts).implementations


@pytest.mark.parametrize("error", [ResultsError("no"), ValueError("no"), KeyboardInterrupt()])
def test_a_file_that_fails_half_way_leaves_no_folder(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = counting(monkeypatch, foreign, "_measured")
    measured = foreign._measured

    def failing(*given: Any) -> Any:
        if len(read) == 5:
            raise error
        return measured(*given)

    monkeypatch.setattr(foreign, "_measured", failing)
    monkeypatch.setattr(foreign, "PART", 2)
    with pytest.raises((ResultsError, KeyboardInterrupt)):
        import_file(write(tmp_path, 9, 1), tmp_path / "new" / "results")
    assert not (tmp_path / "new").exists()
    (tmp_path / "there").mkdir()
    read.clear()
    with pytest.raises((ResultsError, KeyboardInterrupt)):
        import_file(write(tmp_path, 9, 1), tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []


def test_the_same_name_twice_is_said_and_both_are_kept(tmp_path: Path) -> None:
    warnings: list[str] = []
    run = import_file(write(tmp_path, 2, 3, twice=True), tmp_path / "results", warnings.append)
    assert len(warnings) == 1
    assert "there once more; the further one is called" in warnings[0]
    assert len({row.cell_id for row in read_cells(run)}) == len(read_cells(run))


def test_two_runs_of_many_benchmarks_are_grouped_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking through all samples for every cell is quadratic: 1,000 benchmarks took 2,000 passes over 58,000."""
    base, head = (import_file(write(tmp_path, 40, 8, factor=factor), tmp_path / "results") for factor in (1.0, 1.5))
    grouped = counting(monkeypatch, compare_runs, "_medians")
    verdicts = compare(base, head)
    assert len(verdicts) == 40
    assert len(grouped) == 2
