"""Runs of one code that were recorded one after the other, as run folders again, for replaying comparisons of them.

A recording is a folder such as ``results/noise/intel-xeon-2-cores-anchored``: the bursts that count of these runs, with
what the anchor took after each (``bursts.csv``), and what was run (``runs.json``). results/README.md says how they were
made; ``tests.benchmarks.record_anchored`` makes others.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from attnbench.attention.problem import Case
from attnbench.results.schema import RunInfo, Sample
from attnbench.results.store import RunWriter
from attnbench.results.summary import summarise
from attnbench.suite import Cell
from tests.repository import REPOSITORY
from tests.results import synthetic

FOLDER = REPOSITORY / "results" / "noise" / "intel-xeon-2-cores-anchored"


@lru_cache(maxsize=4)
def recorded(folder: Path = FOLDER) -> tuple[dict[str, Any], dict[int, dict[int, list[dict[str, str]]]]]:
    """What is common to the runs, and the bursts of each run and cell."""
    bursts: dict[int, dict[int, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    with (folder / "bursts.csv").open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            bursts[int(line["run"])][int(line["cell"])].append(line)
    return json.loads((folder / "runs.json").read_text(encoding="utf-8")), bursts


def write_recorded(out: Path, folder: Path = FOLDER) -> list[Path]:
    """All runs as folders below ``out``, in the order in which they were made."""
    common, bursts = recorded(folder)
    return [_write(out, common, number, bursts[number]) for number in range(len(common["runs"]))]


def _write(out: Path, common: Mapping[str, Any], number: int, bursts: Mapping[int, list[dict[str, str]]]) -> Path:
    info = RunInfo.model_validate(common["run"] | common["runs"][number] | {"status": "partial", "finished": None})
    with RunWriter.create(out, info) as writer:
        for index, about in enumerate(common["cells"]):
            if index in bursts:
                cell = Cell("smoke", about["point"], Case.from_dict(about["case"]), about["impl"])
                samples = [_sample(info.run_id, cell.id, line) for line in bursts[index]]
                known = {name: about[name] for name in ("error_ratio", "anchor", "anchor_library")}
                status = {"status": "ok", "reason": None}
                writer.samples(samples)
                writer.cell(synthetic.planned(info, cell, **status, **known, **summarise(samples)))
        writer.finish()
    return writer.folder


def _sample(run_id: str, cell_id: str, line: Mapping[str, str]) -> Sample:
    return Sample(
        run_id=run_id,
        cell_id=cell_id,
        replicate=int(line["replicate"]),
        burst=int(line["burst"]),
        index=0,
        calls=1,
        wall_s=float(line["wall_s"]),
        disturbed=line["disturbed"] == "1",
        anchor_s=float(line["anchor_s"]) if line["anchor_s"] else None,
    )
