"""Runs of a workload with known times, as frames that the suite judges: what calls take, under the recorded noise.

A process of two implementations in one block is a recorded pair of processes of the same code (``results/noise``): both
were alive at once, so that drift hits both, and each has what a process has of its own.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnbench.scoreboard.recorded.corpus import read_corpus
from attnbench.workloads.mixes import Workload
from attnbench.workloads.parts import ServedPart, parts, ways
from tests.repository import REPOSITORY

NOISE = REPOSITORY / "results" / "noise" / "amd-epyc-2-cores"
PROCESSES, ROUNDS = 5, 6

# Seconds of a call: by implementation, stage.
Costs = Mapping[str, Mapping[str, float]]


@cache
def noise(folder: Path = NOISE) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(pair, cell, side, burst): each burst over the median of its cell."""
    seconds = read_corpus(folder).seconds
    return np.asarray(seconds / np.median(seconds, axis=(0, 2, 3), keepdims=True))


def seconds_of(part: ServedPart, way: str, costs: Mapping[str, float], padded: float = 0.9) -> float:
    """What a call takes: its sequences one after the other, in one padded call other times as long."""
    each = sum(costs[s.stage] * s.pairs for s in part.stretches)
    return each * (padded if way == "padded" else 1.0)


def frame(
    workload: Workload,
    costs: Costs,
    rng: np.random.Generator,
    *,
    processes: int = PROCESSES,
    batches: bool = False,
    padded: float = 0.9,
) -> pd.DataFrame:
    """The rows of a run of this workload; a padded call takes so many times what its sequences take one by one."""
    recorded, rows = noise(), []
    for part in parts(workload):
        for way in ways(part) if batches or part.single else ():
            drawn = [(int(rng.integers(len(recorded))), int(rng.integers(recorded.shape[1]))) for _ in range(processes)]
            for number, (impl, mine) in enumerate(costs.items()):
                base = seconds_of(part, way, mine, padded)
                rows.append(row(impl, part, way, _bursts(recorded, drawn, number, base, rng)))
    return pd.DataFrame(rows)


def _bursts(recorded: Any, drawn: Any, number: int, base: float, rng: np.random.Generator) -> dict[str, float]:
    """Rounds by process; a third implementation and those after it get pairs of their own."""
    metrics: dict[str, float] = {}
    for process, (pair, cell) in enumerate(drawn):
        chosen = pair if number < 2 else int(rng.integers(len(recorded)))
        bursts = recorded[chosen, cell, number % 2, :ROUNDS]
        metrics |= {f"metric.round.{process}.{n}": base * float(burst) for n, burst in enumerate(bursts)}
    return metrics


def row(impl: str, part: ServedPart, way: str, metrics: Mapping[str, float], **changes: Any) -> dict[str, Any]:
    """One row of a frame."""
    fixed = {"impl": impl, "status": "ok", "reason": None, "device": "cpu", "threads": 1, "kind": "timed"}
    point = {"mix": "a mix", "part": str(part), "way": way, "shape": "h4-d64-causal", "dtype": "float32"}
    return fixed | {f"point.{name}": level for name, level in point.items()} | dict(metrics) | changes


def flip_of(workload: Workload, costs: Costs, first: str, second: str) -> float:
    """The true share of prefill at which two implementations take the same, from the costs alone."""
    mean = {
        impl: {
            stage: sum(
                seconds_of(part, "each", costs[impl]) * part.calls for part in parts(workload) if _is(part, stage)
            )
            / workload.calls(stage)
            for stage in workload.stages
        }
        for impl in (first, second)
    }
    decode = mean[first]["decode"] - mean[second]["decode"]
    prefill = mean[first]["prefill"] - mean[second]["prefill"]
    return decode / (decode - prefill)


def _is(part: ServedPart, stage: str) -> bool:
    return part.single and part.stage == stage
