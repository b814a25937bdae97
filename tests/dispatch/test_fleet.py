"""The simulation of a fleet, made small; ``python -m tests.benchmarks.fleet`` is the large one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import attnbench as ab
from attnbench.dispatch.blocks import BLOCKS, Blocks
from attnbench.dispatch.folder import read_plan, result_files, results_of
from attnbench.dispatch.listing import listed
from tests.benchmarks import fleet


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of 60 blocks that nine simulated workers of four kinds have measured, and its runs."""
    folder, sizes = tmp_path_factory.mktemp("fleet"), fleet.Sizes(blocks=60, workers=9, cells=2, samples=3)
    for step in (fleet.plan, fleet.work, fleet.list_, fleet.missing, fleet.merge_):
        step(folder, sizes)
    return folder


def test_a_simulated_fleet_loses_nothing_and_has_nothing_twice(simulated: Path) -> None:
    frames = [ab.load(run) for run in sorted((simulated / "runs").iterdir())]
    assert len(frames) == fleet.KINDS
    cells = [cell for frame in frames for cell in frame["cell_id"]]
    assert (len(cells), len(set(cells))) == (120, 120)
    samples = [len(ab.load(run, samples=True)) for run in (simulated / "runs").iterdir()]
    assert sum(samples) == 120 * 3


def test_a_listing_reads_no_block(simulated: Path) -> None:
    blocks = simulated / "plan" / BLOCKS
    away = blocks.rename(blocks.with_suffix(".away"))
    try:
        listing = listed(simulated / "plan")
        assert [len(block.machines) for block in listing.blocks()] == [1] * 60
        assert listing.missing == ()
    finally:
        away.rename(blocks)


def test_the_results_of_a_block_are_found_among_few_files(simulated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = simulated / "plan"
    block = Blocks(plan, read_plan(plan)).order.ids[7]
    everything = {file.path for file in result_files(plan)}
    looked: list[str] = []
    scandir = os.scandir

    def told(place: str) -> object:
        looked.append(str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", told)
    (found,) = results_of(plan, block)
    assert found.path in everything
    assert looked == [str(plan / "results"), str(plan / "results" / block[:2])]
