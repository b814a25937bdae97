"""Recorded runs of one code, compared with each other by the real command's judge: twins, and planted slowdowns.

The machine of these runs moved by far between them. In the quick test one pair is compared, in the proof all 190.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from attnbench.comparing import load_saved
from attnbench.comparing.between import ASSUMED, ASSUMED_OF_RATIOS, recorded
from attnbench.interface.comparison import judge
from attnbench.results.calibrations import VARIABLE
from attnbench.results.read import read_cells
from tests.benchmarks.record_anchored import Recording
from tests.comparing.recorded_runs import write_recorded
from tests.comparing.replay import MARGIN, counted, lines, pairs, share

# What docs/regression.md states, with a little room.
FOUND_20, FOUND_10, TWINS_SLOWER = 0.31, 0.12, 0.002


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recorded") / "results"
    write_recorded(out)
    return out


@pytest.fixture(autouse=True)
def _no_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))


def test_twins_are_not_slower_and_a_slowdown_is_found_in_the_steadiest_cells(folder: Path) -> None:
    chosen = pairs(folder, 1)
    assert counted(folder, chosen, 1.0)["slower"] == 0
    assert counted(folder, chosen, 1.3)["slower"] > 2 * counted(folder, chosen, 1.3, anchored=False)["slower"]


def test_the_recorded_spread_of_ratios_is_far_below_that_of_times(folder: Path) -> None:
    base, head = pairs(folder, 1)[0]
    raw, ratios = (recorded(base.info, head.info, [folder], by) for by in ("raw", "anchor"))
    assert (raw.source, raw.count) == ("earlier runs", ratios.count)
    assert ratios.value < 0.6 * raw.value
    better = sum(ratios.cells[key].sd < raw.cells[key].sd for key in raw.cells)
    assert better == len(raw.cells) == 12


def test_processes_that_differ_by_more_than_was_recorded_decide_nothing(folder: Path) -> None:
    base, head = pairs(folder, 1)[0]
    busy = head.samples.assign(wall_s=head.samples["wall_s"] * (1.2 + 0.6 * (head.samples["replicate"] % 2)))
    words = Counter(v.verdict for v in judge(base, dataclasses.replace(head, samples=busy), MARGIN, [folder]).verdicts)
    assert words["slower"] == 0


def test_without_repeated_runs_ratios_are_widened_by_what_was_recorded_of_ratios(folder: Path) -> None:
    base, head = pairs(folder, 1)[0]
    assert recorded(base.info, head.info, (), "anchor").value == ASSUMED_OF_RATIOS
    assert recorded(base.info, head.info, (), "raw").value == ASSUMED


def recording_of(paths: list[Path], out: Path) -> Path:
    for path in paths:
        Recording(out).add(load_saved(path), read_cells(path))
    return out


def test_a_recording_gives_the_same_runs_again_and_the_lines_of_the_docs(folder: Path, tmp_path: Path) -> None:
    paths = sorted(folder.iterdir())[:3]
    out = recording_of(paths, tmp_path / "recording")
    again = write_recorded(tmp_path / "again", out)
    for path, written in zip(paths, again, strict=True):
        first, second = load_saved(path), load_saved(written)
        assert [first.ratios(row) for row in first.rows.values()] == [
            second.ratios(row) for row in second.rows.values()
        ]
    told = list(lines(out, tmp_path / "replayed"))
    assert told[0] == "recording: 3 runs, 2 to 3 processes a cell"
    assert told[-3].startswith("twins, 3 pairs, 36 cells: 0 slower (in 0 pairs)")
    assert [line.split(":")[0] for line in told[-2:]] == ["+10 %", "+20 %"]


def test_a_run_of_another_commit_is_not_added_to_a_recording(folder: Path, tmp_path: Path) -> None:
    first, second = sorted(folder.iterdir())[:2]
    out = recording_of([first], tmp_path / "recording")
    run = load_saved(second)
    other = run.info.model_copy(update={"fingerprint": run.info.fingerprint.model_copy(update={"git": "other"})})
    with pytest.raises(SystemExit, match=r"holds runs that are unlike this one .*record into another folder"):
        Recording(out).add(dataclasses.replace(run, info=other), read_cells(second))


@pytest.mark.proof
@pytest.mark.slow
def test_all_pairs(folder: Path) -> None:
    chosen = pairs(folder)
    twins, ten, twenty = (counted(folder, chosen, factor) for factor in (1.0, 1.1, 1.2))
    print(f"twins {dict(twins)}, +10 % {dict(ten)}, +20 % {dict(twenty)}")  # noqa: T201
    assert share(twins, "slower") <= TWINS_SLOWER
    assert share(ten, "slower") >= FOUND_10
    assert share(twenty, "slower") >= FOUND_20
