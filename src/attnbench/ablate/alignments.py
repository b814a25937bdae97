"""Where a trained decoder looked: the weights of a few examples, as metrics of a cell and as a frame for heat maps.

A cell's metrics hold what was read (``align.ex0.read3``), what was written (``align.ex0.written2``) and each weight
(``align.ex0.t2.s3``: output 2 on source 3), so that a drawing needs nothing but the run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.analysis.frames import METRIC, measured
from attnbench.attention.arrays import Array

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "align.ex"
# Trainings with this seed alone keep their weights: one training of each arm, and everywhere the same examples.
SEED = 0
DECIMALS = 4
WEIGHT = re.compile(rf"{re.escape(METRIC + PREFIX)}(\d+)\.t(\d+)\.s(\d+)$")


def metrics(
    weights: Array, read: Array, written: Array, lengths: Sequence[int], outputs: Sequence[int]
) -> dict[str, float]:
    """The metrics of n examples.

    ``weights`` (n, T, S), ``read`` (n, S) and ``written`` (n, T) the symbols, of which ``lengths`` and ``outputs``
    (n,) count. Weights are rounded to four decimals.
    """
    numbers: dict[str, float] = {}
    for n, (length, count) in enumerate(zip(lengths, outputs, strict=True)):
        numbers |= {f"{PREFIX}{n}.read{s}": float(read[n, s]) for s in range(length)}
        numbers |= {f"{PREFIX}{n}.written{t}": float(written[n, t]) for t in range(count)}
        numbers |= {
            f"{PREFIX}{n}.t{t}.s{s}": round(float(weights[n, t, s]), DECIMALS)
            for t in range(count)
            for s in range(length)
        }
    return numbers


def table(frame: pd.DataFrame, reads: Sequence[str], writes: Sequence[str]) -> pd.DataFrame:
    """A row for each weight, example by example and arm by arm; ``reads`` and ``writes`` name the symbols.

    Columns: ``impl``, ``arm``, ``example`` (its source in full), ``source`` and ``output`` (places), ``letter`` and
    ``answer`` (what stands there), ``weight``.
    """
    import pandas as pd

    columns = {str(name): tuple(map(int, hit.groups())) for name in frame.columns if (hit := WEIGHT.match(str(name)))}
    rows = measured(frame)
    entries = []
    for record in rows[rows[list(columns)].notna().any(axis=1)].to_dict("records") if columns else ():
        for name, (n, t, s) in columns.items():
            if not np.isnan(record[name]):
                entries.append(_row(record, (n, t, s), record[name], reads, writes))
    names = ["number", "impl", "arm", "example", "source", "output", "letter", "answer", "weight"]
    return pd.DataFrame(entries, columns=names).sort_values("number", kind="stable")


def _row(
    record: Mapping[Any, Any], place: tuple[int, ...], weight: float, reads: Sequence[str], writes: Sequence[str]
) -> tuple[Any, ...]:
    n, t, s = place
    head = f"{METRIC}{PREFIX}{n}."
    example = "".join(reads[int(symbol)] for symbol in _symbols(record, head + "read"))
    letter, answer = reads[int(record[f"{head}read{s}"])], writes[int(record[f"{head}written{t}"])]
    return n, record["impl"], record["point.arm"], example, s, t, letter, answer, weight


def _symbols(record: Mapping[Any, Any], prefix: str) -> list[float]:
    symbols: list[float] = []
    while not np.isnan(value := record.get(f"{prefix}{len(symbols)}", np.nan)):
        symbols.append(value)
    return symbols
