"""The rounds of every timed cell beside its row, from the samples of its run: what pairs of cells are judged by.

``ab.load`` does not read samples, and stays fast: whoever judges pairs asks for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from attnbench.analysis.rounds import ROUNDS
from attnbench.results.dataset import plain as load
from attnbench.results.summary import MAIN

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.results.read import Runs

Seconds = dict[tuple[int, int], float]
CELL = ["run_id", "cell_id"]


def load_sampled(path: Runs) -> pd.DataFrame:
    """Runs as ``ab.load`` gives them, with a column ``rounds``."""
    return with_rounds(load(path), path)


def with_rounds(frame: pd.DataFrame, path: Runs) -> pd.DataFrame:
    """A frame with a column ``rounds``: for each measured cell its seconds by (replicate, round).

    A round has one burst that counts of every cell still in it, and a cell that leaves does not come back: so the n-th
    of its bursts in a replicate belongs to round n. What another tool measured was not interleaved, and has none.
    """
    import pandas as pd

    ours = (frame["status"] == "ok") & (frame["kind"] == "timed") & frame["imported"].isna()
    known = _rounds(load(path, samples=True)) if ours.any() else {}
    places = zip(frame["run_id"], frame["cell_id"], ours, strict=True)
    rounds = [known.get((run, cell), {}) if measured_here else {} for run, cell, measured_here in places]
    return frame.assign(**{ROUNDS: pd.Series(rounds, frame.index, object)})


def without_rounds(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as it is shown to people and written to files."""
    return frame.drop(columns=ROUNDS, errors="ignore")


def _rounds(samples: pd.DataFrame) -> dict[tuple[str, str], Seconds]:
    """For each (run, cell) the seconds by (replicate, round), in the cache state whose times are its main ones."""
    counting = samples[~samples["warmup"] & ~samples["disturbed"] & (samples["wall_s"] > 0)]
    rank = counting["cache"].astype(str).map({name: place for place, name in enumerate(MAIN)})
    counting = counting.assign(rank=rank)
    counting = counting[counting["rank"] == counting.groupby(CELL)["rank"].transform("min")]
    bursts = counting.groupby([*CELL, "replicate", "burst"], sort=True)["wall_s"].median().reset_index()
    number = bursts.groupby([*CELL, "replicate"]).cumcount()
    by_cell: dict[tuple[str, str], Seconds] = {}
    columns = (bursts["run_id"], bursts["cell_id"], bursts["replicate"], number, bursts["wall_s"].astype(np.float64))
    for run, cell, replicate, place, seconds in zip(*(column.tolist() for column in columns), strict=True):
        by_cell.setdefault((run, cell), {})[int(replicate), int(place)] = seconds
    return by_cell
