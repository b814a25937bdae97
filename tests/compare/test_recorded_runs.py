"""Recorded runs of one code, compared with each other by the real command's judge: twins, and planted slowdowns.

The machine of these runs moved by far between them. In the quick test one pair is compared, in the proof all 190.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from attnbench.commands.compare import judge
from attnbench.compare import SavedRun, load_saved
from attnbench.compare.between import ASSUMED, ASSUMED_OF_RATIOS, recorded
from attnbench.results.calibrations import VARIABLE
from tests.compare.recorded_runs import write_recorded

MARGIN = 0.05
# What docs/regression.md states, with a little room.
FOUND_20, FOUND_10, TWINS_SLOWER = 0.35, 0.02, 0.005
Pair = tuple[SavedRun, SavedRun]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recorded") / "results"
    write_recorded(out)
    return out


@pytest.fixture(autouse=True)
def _no_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))


def pairs(folder: Path, most: int | None = None) -> list[Pair]:
    """Pairs of runs, the earlier one first; ``most`` of them, spread over all."""
    runs = [load_saved(path) for path in sorted(folder.iterdir())]
    every = list(itertools.combinations(runs, 2))
    return every if most is None else every[:: len(every) // most][:most]


def slowed(run: SavedRun, factor: float) -> SavedRun:
    """The run, had all its code taken so much longer: its cells, and not the anchor."""
    return dataclasses.replace(run, samples=run.samples.assign(wall_s=run.samples["wall_s"] * factor))


def counted(folder: Path, chosen: Sequence[Pair], factor: float, *, anchored: bool = True) -> Counter[str]:
    """The words of all cells of these pairs with that slowdown planted in HEAD; by raw times if not ``anchored``."""
    words: Counter[str] = Counter()
    for base, head in chosen:
        left, right = base, slowed(head, factor)
        if not anchored:
            left, right = (dataclasses.replace(run, cells=run.cells.assign(anchor=None)) for run in (left, right))
        words += Counter(verdict.verdict for verdict in judge(left, right, MARGIN, [folder]).verdicts)
    return words


def share(words: Counter[str], word: str) -> float:
    return words[word] / sum(words.values())


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


@pytest.mark.proof
@pytest.mark.slow
def test_all_pairs(folder: Path) -> None:
    chosen = pairs(folder)
    twins, ten, twenty = (counted(folder, chosen, factor) for factor in (1.0, 1.1, 1.2))
    print(f"twins {dict(twins)}, +10 % {dict(ten)}, +20 % {dict(twenty)}")  # noqa: T201
    assert share(twins, "slower") <= TWINS_SLOWER
    assert share(ten, "slower") >= FOUND_10
    assert share(twenty, "slower") >= FOUND_20
