"""Saved runs of this machine with planted times: noise as a committed run recorded it, and reasons as asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from attnbench.answers.question import WhichOne, question
from attnbench.attention.spec import SPEC_VERSION
from attnbench.results.dataset import load
from attnbench.results.fingerprint import collect_hardware
from attnbench.results.schema import Fingerprint, Hardware, RunInfo, Sample
from attnbench.results.store import RunWriter
from attnbench.results.summary import summarise
from attnbench.suite import Cell
from attnbench.versions import installed
from tests.repository import REPOSITORY
from tests.results import synthetic

RECORDED = REPOSITORY / "results" / "2026-11-28-intel-xeon-2-cores-contestants-sample"
ASKED = question("h4-d64", 256)
PROCESSES, BURSTS = 5, 8
NOW = {name: {name: version} for name in ("numpy", "torch", "jax") if (version := installed(name))}


@dataclass(frozen=True)
class Planted:
    """What is to be seen of an implementation: times as long as the first, or a status with its reason."""

    factor: float = 1.0
    status: str = "ok"
    reason: str | None = None
    peak_bytes: int | None = 4 * 2**20


def wrong(reason: str = "disagrees with the oracle") -> Planted:
    return Planted(0.1, "wrong", reason)


@dataclass(frozen=True)
class Noise:
    """Recorded log-times: of processes around their cell, and of bursts around their process."""

    processes: tuple[float, ...]
    bursts: tuple[tuple[float, ...], ...]

    def draw(self, rng: np.random.Generator, count: int) -> list[float]:
        """The bursts of one process: those of a recorded one from anywhere on, around a level that was recorded."""
        recorded = np.asarray(self.bursts[rng.integers(len(self.bursts))])
        start = rng.integers(len(recorded))
        return list(rng.choice(self.processes) * rng.choice((-1, 1)) + np.resize(np.roll(recorded, -start), count))


@cache
def recorded() -> Noise:
    """The noise of a committed run of this project."""
    samples = load(RECORDED, samples=True)
    kept = samples[~samples["warmup"] & ~samples["disturbed"]]
    logs = np.log(kept.groupby(["cell_id", "replicate", "burst"])["wall_s"].median())
    levels = logs.groupby(["cell_id", "replicate"]).median()
    around = logs - levels.reindex(logs.index.droplevel("burst")).to_numpy()
    bursts = [tuple(part) for _, part in around.groupby(["cell_id", "replicate"]) if len(part) > 3]
    return Noise(tuple(levels - levels.groupby("cell_id").transform("mean")), tuple(bursts))


@dataclass(frozen=True)
class PlantedRun:
    """A run to be written: its name, when and where it was made, by which versions, and the case that it measured."""

    run_id: str = "20260102T030405Z-speed-aaaaaa"
    started: str = "2026-01-02T03:04:05Z"
    hardware: Hardware | None = None
    frameworks: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: NOW)
    git: str | None = None
    asked: WhichOne = ASKED
    seed: int = 0
    processes: int = PROCESSES
    spec_version: str = SPEC_VERSION
    finish: bool = True

    def info(self) -> RunInfo:
        """What ``run.json`` says."""
        packages = {"attnbench": str(installed("attnbench"))}
        packages |= {name: version for versions in self.frameworks.values() for name, version in versions.items()}
        made: Fingerprint = synthetic.fingerprint(
            hardware=self.hardware or collect_hardware(),
            frameworks={name: dict(versions) for name, versions in self.frameworks.items()},
            packages=packages,
            git=self.git,
            spec_version=self.spec_version,
        )
        axes = {"speed": {axis: [level] for axis, level in self.asked.levels().items()}}
        return synthetic.info(self.run_id, started=self.started, suites=("speed",), axes=axes, fingerprint=made)


def cell_of(impl: str, asked: WhichOne) -> Cell:
    return Cell("speed", asked.levels(), asked.case, impl, asked.device, asked.threads)


def write(out: Path, planted: Mapping[str, Planted], run: PlantedRun | None = None) -> Path:
    """The folder of such a run."""
    run = run or PlantedRun()
    info, rng = run.info(), np.random.default_rng(run.seed)
    with RunWriter.create(out, info) as writer:
        for impl, what in planted.items():
            cell = cell_of(impl, run.asked)
            if what.status != "ok":
                writer.cell(synthetic.planned(info, cell, status=what.status, reason=what.reason))
                continue
            samples = drawn(info.run_id, cell.id, what.factor, rng, run.processes)
            writer.samples(samples)
            writer.cell(_ok(info, cell, what, samples))
        if run.finish:
            writer.finish()
    return writer.folder


def _ok(info: RunInfo, cell: Cell, what: Planted, samples: Sequence[Sample]) -> Any:
    summary = summarise(samples)
    measured = {"status": "ok", "reason": None, "error_ratio": 0.1, "peak_bytes": what.peak_bytes}
    return synthetic.planned(info, cell, **measured, **summary)


def drawn(run_id: str, cell_id: str, factor: float, rng: np.random.Generator, processes: int) -> list[Sample]:
    """The samples of a cell: one for each burst."""
    noise, level = recorded(), 0.004 * factor
    return [
        Sample(run_id=run_id, cell_id=cell_id, replicate=process, burst=burst, index=0, calls=8, wall_s=level * seconds)
        for process in range(processes)
        for burst, seconds in enumerate(np.exp(noise.draw(rng, BURSTS)))
    ]
