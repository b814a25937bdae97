"""A plan of many blocks over many simulated workers: ``python -m tests.benchmarks.fleet``.

Everything is as it would be but for the measuring: the plan is laid out, blocks are handed out, results are taken,
listed and merged by the project's own code, each step in a fresh process, whose time and largest memory are printed.
What a worker sends back is made up: a tenth of a second in the text of a real result. ``--help`` has the sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from attnbench.attention.spec import stable_id
from attnbench.dispatch.blocks import Blocks
from attnbench.dispatch.cluster import tasks
from attnbench.dispatch.cluster.connection import Certificates, ClusterWords
from attnbench.dispatch.cluster.messages import BlockTask, WorkerAbout, WorkerAnswer
from attnbench.dispatch.cluster.start import DispatchWords, front_of
from attnbench.dispatch.folder import as_text
from attnbench.dispatch.held import code_digest
from attnbench.dispatch.layout import WantedPlan, lay_out
from attnbench.dispatch.listing import in_ranges, listed
from attnbench.dispatch.merge import merge
from attnbench.dispatch.records import BlockResult, DispatchBlock, HeldVersions
from attnbench.dispatch.work import cells_of
from attnbench.interface.running import RunWords
from attnbench.measure.run import rows
from attnbench.results.fingerprint import collect_fingerprint, machine_of
from attnbench.results.schema import Fingerprint, Record, RunInfo, Sample
from attnbench.suite import Cell

STEPS = ("plan", "work", "list", "missing", "merge")
# So many results are synced and timed.
TIMED = 5_000
KINDS = 4  # of machines, so many runs are made
SEEDS = 10
SUITE = """
    from attnbench.api.suites import AttentionSpec, Case, Problem, Story, TimedSuite

    def case(T, seed):
        return Case(AttentionSpec(), Problem(Hq=2, Tq=T, D=8, seed=seed))

    AXES = {{"T": tuple(range(16, {most})), "seed": tuple(range({seeds}))}}
    MANY = TimedSuite(name="many", story=Story(question="How far?"), axes=AXES, case=case)
"""
KERNELS = """
    from attnbench.api import Capabilities, implementation

    for number in range({cells}):
        @implementation(f"numpy/made{{number}}", Capabilities())
        def made(q, k, v, call):
            raise NotImplementedError
"""


@dataclass(frozen=True)
class Sizes:
    """How large a simulation is: ``cells`` of a block, ``samples`` of a cell."""

    blocks: int = 100_000
    workers: int = 1_000
    cells: int = 2
    samples: int = 4

    @property
    def rows(self) -> int:
        """The rows that are merged: of cells and of samples."""
        return self.blocks * self.cells * (1 + self.samples)


def plan(folder: Path, sizes: Sizes) -> str:
    """Lay the blocks out."""
    seeds = SEEDS if sizes.blocks % SEEDS == 0 else 1
    suite, kernels = folder / "many.py", folder / "made.py"
    suite.write_text(dedent(SUITE).format(most=16 + sizes.blocks // seeds, seeds=seeds))
    kernels.write_text(dedent(KERNELS).format(cells=sizes.cells))
    words = RunWords(impl=["numpy/made*"], impls=[kernels], suite_files=[suite])
    done = lay_out(WantedPlan(words, folder / "plan", send_files=True, seed=1), lambda _: None)
    assert (done.plan.blocks, done.plan.cells) == (sizes.blocks, sizes.blocks * sizes.cells)
    return f"{sum(file.stat().st_size for file in (folder / 'plan').rglob('*') if file.is_file()) / 1e6:.0f} MB"


class Workers:
    """What the workers send back, each one of a few kinds of machine: the first result of a kind, with other cells."""

    def __init__(self, folder: Path, blocks: Blocks, sizes: Sizes) -> None:
        self._sizes = sizes
        here = collect_fingerprint()
        first = blocks.numbered(0)
        cells = cells_of(folder, blocks.plan, first)
        self._kinds = [self._first(here, f"Simulated CPU {kind}", first, cells[0]) for kind in range(KINDS)]

    def _first(self, here: Fingerprint, cpu: str, block: DispatchBlock, cell: Cell) -> BlockResult:
        """A result of one cell and one sample, checked by the schema."""
        there = here.model_copy(update={"hardware": here.hardware.model_copy(update={"cpu_model": cpu})})
        fingerprint = there.with_framework("numpy", {"numpy": here.packages["numpy"]}, {"openblas": 1})
        info = RunInfo(
            run_id=f"20260101T000000Z-many-{block.id[:6]}",
            started="2026-01-01T00:00:00Z",
            finished="2026-01-01T00:00:09Z",
            status="complete",
            suites=("many",),
            ceilings={"numpy cpu 1 product float32": 1e11},
            fingerprint=fingerprint,
        )
        ok: dict[str, Any] = {"status": "ok", "reason": None, "error_ratio": 0.1, "time_median_s": 0.1}
        ok |= {"n_samples": self._sizes.samples, "n_bursts": self._sizes.samples, "cache": "none", "n_replicates": 1}
        row = rows.changed(rows.planned(cell, info.run_id, fingerprint.machine_id, "0"), **ok)
        sample = Sample(run_id=info.run_id, cell_id=cell.id, replicate=0, burst=0, index=0, calls=1, wall_s=0.1)
        return BlockResult(
            plan=block.plan,
            block=block.id,
            machine=machine_of(fingerprint),
            node=stable_id(["node", cpu]),
            code=code_digest(),
            exit_code=0,
            run=info,
            cells=(row,),
            samples=(sample,),
        )

    def result(self, block: DispatchBlock, worker: int) -> BlockResult:
        """What a worker makes of a block."""
        first = self._kinds[worker % KINDS]
        row, sample = first.cells[0], first.samples[0]
        cells = [
            {"cell_id": cell_id, "block_id": block.id, "impl": cell["impl"], "point": cell["point"]}
            for cell_id, cell in zip(block.cell_ids, block.cells, strict=True)
        ]
        samples = [
            sample.model_copy(update={"cell_id": cell_id, "burst": burst})
            for cell_id in block.cell_ids
            for burst in range(self._sizes.samples)
        ]
        return first.model_copy(
            update={
                "block": block.id,
                "node": f"{worker:012x}",
                "cells": tuple(row.model_copy(update=cell) for cell in cells),
                "samples": tuple(samples),
            }
        )


@dataclass
class MadeFuture:
    """What comes back of one task of a Dask cluster: a text that is made up when it is asked for."""

    key: str
    text: Callable[[], str]
    status: str = "finished"
    heard: Callable[[Any], None] = lambda _: None

    def add_done_callback(self, heard: Callable[[Any], None]) -> None:
        """Whom to tell."""
        self.heard = heard

    def done(self) -> bool:
        """Whether it has come: what workers say of themselves has, at once."""
        return True

    def result(self, timeout: float | None = None) -> str:
        """The text."""
        del timeout
        return self.text()

    def release(self) -> None:
        """Nothing is kept."""


class MadeClient:
    """Dask's client as the front uses it, with simulated workers: blocks come back in random order, one at a turn.

    ``spent`` has the time of the front for each block, wall and processor: what it took from one text to the next,
    without the making up of texts.
    """

    status = "running"

    def __init__(self, workers: Workers, held: HeldVersions, sizes: Sizes) -> None:
        self._workers, self._held, self._sizes = workers, held, sizes
        self._out: list[MadeFuture] = []
        self._draw = random.Random(1)  # noqa: S311  (no secret)
        self._since = time.perf_counter(), time.thread_time()
        self.spent: list[tuple[float, float]] = []

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        """Every worker, as a scheduler lists them."""
        del n_workers
        one = {"nthreads": 1, "resources": {"node": 1.0}}
        return {
            "workers": {
                f"tcp://10.0.0.1:{port}": one | {"id": f"id-{port}"} for port in range(1, self._sizes.workers + 1)
            }
        }

    def submit(self, function: Callable[[str], str], text: str, **words: Any) -> MadeFuture:
        """A task: a worker says what it is, or measures a block."""
        (address,) = words["workers"]
        port = int(address.rpartition(":")[2])
        if function is tasks.about:
            return MadeFuture(words["key"], lambda: self._answer(self._about(port)))
        future = MadeFuture(words["key"], lambda: self._measured(text, port))
        self._out.append(future)
        return future

    def land(self) -> None:
        """One of the blocks that are out has come back."""
        if self._out:
            place = self._draw.randrange(len(self._out))
            self._out[place], self._out[-1] = self._out[-1], self._out[place]
            landed = self._out.pop()
            landed.heard(landed)

    def _about(self, port: int) -> WorkerAbout:
        return WorkerAbout(held=self._held, machine=f"{port:012x}", lock="/tmp/lock", memory_bytes=1 << 40)  # noqa: S108

    def _measured(self, text: str, port: int) -> str:
        now = time.perf_counter(), time.thread_time()
        self.spent.append((now[0] - self._since[0], now[1] - self._since[1]))
        block = BlockTask.model_validate_json(text).block
        answer = self._answer(self._workers.result(block, port))
        self._since = time.perf_counter(), time.thread_time()
        return answer

    @staticmethod
    def _answer(record: Record) -> str:
        return as_text(WorkerAnswer(exit_code=0, text=as_text(record)))


def work(folder: Path, sizes: Sizes) -> str:
    """Let the front of ``dispatch run`` hand the blocks out and take what comes back.

    Dask itself and the workers are made up, and their time does not count. The first ``TIMED`` results are synced, and
    timed; the others do not wait for the disk.
    """
    listing = listed(folder / "plan")
    client = MadeClient(Workers(folder / "plan", listing.planned, sizes), listing.plan.held, sizes)
    cluster = ClusterWords("tcp://10.0.0.1:8786", None, Certificates(), "node")
    words = DispatchWords(cluster, WantedPlan(RunWords(), folder), resume=folder / "plan")
    with pytest.MonkeyPatch.context() as patch:

        def turn(done: float, total: int, said: str) -> None:
            del total, said
            if done == TIMED:
                patch.setattr(os, "fsync", lambda _: None)
            client.land()

        front = front_of(words, client, listing, turn, lambda _: None)
        front.hand_out()
    assert (front.done, front.left) == (sizes.blocks, {})
    timed = [wall for wall, _ in client.spent[1 : TIMED + 1]]
    busy = [used for _, used in client.spent[1:]]
    return (
        f"front {1e3 * statistics.mean(timed):.2f} ms a block, the slowest {1e3 * max(timed):.0f} ms; "
        f"{1e3 * statistics.mean(busy):.2f} ms of processor"
    )


def list_(folder: Path, sizes: Sizes) -> str:
    """All that ``dispatch list`` shows."""
    blocks = list(listed(folder / "plan").blocks())
    assert len(blocks) == sizes.blocks
    return f"{sum(bool(block.machines) for block in blocks)} blocks have a result"


def missing(folder: Path, sizes: Sizes) -> str:
    """What ``dispatch list --missing`` says."""
    del sizes
    return f"missing: {in_ranges(listed(folder / 'plan').missing) or 'none'}"


def merge_(folder: Path, sizes: Sizes) -> str:
    """Make the runs."""
    done = merge(folder / "plan", folder / "runs")
    assert sum(sum(run.counts.values()) for run in done.runs) == sizes.blocks * sizes.cells
    return f"{len(done.runs)} runs, {sizes.rows} rows"


DO: dict[str, Callable[[Path, Sizes], str]] = dict(zip(STEPS, (plan, work, list_, missing, merge_), strict=True))


def peak_mib() -> float:
    """The most memory that this process has had, in MiB, as the system counts it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def step(name: str, folder: Path, sizes: Sizes) -> dict[str, Any]:
    """One step, here; what it took and said."""
    wall, cpu = time.perf_counter(), time.process_time()
    said = DO[name](folder, sizes)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"step": name, "wall_s": wall, "cpu_s": cpu, "peak_mib": peak_mib(), "said": said}


def simulated(sizes: Sizes, folder: Path, steps: tuple[str, ...] = STEPS) -> Iterator[dict[str, Any]]:
    """All steps, each in a process of its own."""
    asked = [f"--{name}={value}" for name, value in vars(sizes).items()]
    for name in steps:
        words = [sys.executable, "-m", "tests.benchmarks.fleet", *asked, "--folder", str(folder), "--step", name]
        yield json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, env=os.environ).stdout)


def main() -> None:
    """Print a line for each step."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, value in vars(Sizes()).items():
        asked.add_argument(f"--{name}", type=int, default=value)
    asked.add_argument("--folder", type=Path, help="keep what is made here (default: a folder that is gone at the end)")
    asked.add_argument("--step", choices=STEPS, help="this step alone, in this process, as JSON")
    given = asked.parse_args()
    sizes = replace(Sizes(), **{name: getattr(given, name) for name in vars(Sizes())})
    if given.step:
        print(json.dumps(step(given.step, given.folder, sizes)))
        return
    with tempfile.TemporaryDirectory(prefix="attnbench-simulated-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(exist_ok=True, parents=True)
        print(
            f"{sizes.blocks} blocks of {sizes.cells} cells with {sizes.samples} samples each, {sizes.workers} workers"
        )
        for done in simulated(sizes, folder):
            each = 1e3 * done["wall_s"] / sizes.blocks
            print(
                f"{done['step']:8} {done['wall_s']:8.1f} s ({done['cpu_s']:.1f} s of processor, "
                f"{each:.2f} ms a block), {done['peak_mib']:6.0f} MiB  {done['said']}",
                flush=True,
            )


if __name__ == "__main__":
    main()
