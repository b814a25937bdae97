"""Many runs in one frame: the same frame as run after run, through a dataset and not a loop, in a known order."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet
import pytest

import attnbench
from attnbench.errors import ResultsError
from attnbench.results import dataset, load
from tests.results import synthetic

FIXTURES = Path(__file__).with_name("fixtures")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five runs: three finished, one unfinished in the middle, one of another suite's axes; and what is no run."""
    out = tmp_path_factory.mktemp("many") / "results"
    for number in range(4):
        run = synthetic.info(f"20260102T03040{number}Z-smoke-{number:06x}")
        synthetic.write_run(
            out, run, seed=number, lengths=(128,), impls=("numpy/naive", "jax/naive"), bursts=2, finish=number != 2
        )
    shutil.copytree(FIXTURES / "schema-1" / "20260102T030405Z-smoke-111111", out / "20260102T030405Z-smoke-111111")
    (out / "README.md").write_text("not a run")
    (out / "notes").mkdir()
    return out


def one_by_one(folders: list[Path], samples: bool) -> pd.DataFrame:
    return pd.concat([load(one, samples=samples) for one in folders], ignore_index=True)


@pytest.mark.parametrize("samples", [False, True], ids=["cells", "samples"])
def test_the_frame_is_that_of_run_after_run(results: Path, samples: bool) -> None:
    folders = sorted(one.parent for one in results.glob("*/run.json"))
    assert len(folders) == 5
    expected = one_by_one(folders, samples)
    for asked in (results, str(results), str(results / "*"), folders, [str(results)]):
        found = load(asked, samples=samples)
        pd.testing.assert_frame_equal(found[expected.columns], expected, check_dtype=False)
        assert set(found.columns) == set(expected.columns)


def test_finished_runs_of_one_version_have_the_very_types_too(results: Path) -> None:
    folders = [results / f"20260102T03040{n}Z-smoke-{n:06x}" for n in (0, 1, 3)]
    pd.testing.assert_frame_equal(load(folders), one_by_one(folders, samples=False))
    pd.testing.assert_frame_equal(load(folders, samples=True), one_by_one(folders, samples=True))


def test_a_list_keeps_its_order_and_names_each_run_once(results: Path) -> None:
    first, last = results / "20260102T030400Z-smoke-000000", results / "20260102T030403Z-smoke-000003"
    frame = load([last, first, str(last), str(results / "*000003")])
    assert list(frame["run_id"].unique()) == [last.name, first.name]


def test_the_files_are_read_as_a_dataset_and_not_one_after_the_other(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans: list[int] = []
    import pyarrow.dataset as ds

    real = ds.FileSystemDataset

    def counted(fragments: Any, *rest: Any) -> Any:
        scans.append(len(fragments))
        return real(fragments, *rest)

    def refused(*_: Any, **__: Any) -> Any:
        msg = "a file was read alone"
        raise AssertionError(msg)

    monkeypatch.setattr(ds, "FileSystemDataset", counted)
    monkeypatch.setattr(pyarrow.parquet, "read_table", refused)
    attnbench.load(str(results / "*-smoke-00000[013]"), samples=True)
    assert scans == [3]
    with pytest.raises(AssertionError, match="read alone"):
        attnbench.load(results / "20260102T030400Z-smoke-000000")  # the check can fail


def test_the_same_run_twice_is_refused(results: Path, tmp_path: Path) -> None:
    name = "20260102T030400Z-smoke-000000"
    copy = Path(shutil.copytree(results / name, tmp_path / "copy"))
    for samples in (False, True):
        with pytest.raises(ResultsError, match=rf"hold the same run, {name}; name one of them"):
            load([results / name, copy], samples=samples)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], r"no run of attnbench in an empty list; .*results/2026\*"),
        ("nowhere/*", r"no run of attnbench in nowhere/\*"),
        (["nowhere"], "no run 'nowhere'"),
        ("notes", "has no run.json"),
    ],
)
def test_nothing_found_says_what_to_type(
    results: Path, monkeypatch: pytest.MonkeyPatch, asked: Any, message: str
) -> None:
    monkeypatch.chdir(results)
    with pytest.raises(ResultsError, match=message):
        load(asked)


def test_runs_without_a_sample_count_too(tmp_path: Path) -> None:
    for number in range(2):
        run = synthetic.info(f"20260102T03040{number}Z-smoke-{number:06x}")
        failed = {("numpy/naive", 128): ("crashed", "SIGSEGV")}
        synthetic.write_run(tmp_path, run, lengths=(128,), impls=("numpy/naive",), failed=failed)
    assert len(load(tmp_path)) == 4
    assert load(tmp_path, samples=True).empty
    assert dataset.READERS > 1
