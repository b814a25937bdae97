"""The recorded noise of a machine: every burst of a version against itself, as ``attnbench ab`` takes them.

``DIR/noise.parquet`` has a row for each burst, in the order of measuring, and in its metadata (``attnbench``) what it
was recorded with; ``DIR/README.md`` says the same for people. Whoever judges a rule on it judges real noise: drift,
bursts of other work, heavy tails, and how much one process differs from the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attnbench.errors import ResultsError
from attnbench.results.journal import fail_writing
from attnbench.results.pairs import read_comparison, read_pairs

TABLE, README = "noise.parquet", "README.md"
FORMAT, VERSION = "attnbench-noise", 1
KEY = b"attnbench"
SIDES = ("A", "B")
RECEIPTS = ("steal_s", "delay_s", "pressure_s", "load_1min", "involuntary_switches", "page_faults")

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Corpus:
    """``seconds`` is (pair, cell, side, burst): a call's seconds in every burst that counted, in order of time.

    ``startup_s`` and ``cell_s``: seconds of a pair, and of each of its cells besides; ``burst_s``: of a burst.
    ``about`` is the metadata.
    """

    seconds: Array
    cells: tuple[str, ...]
    startup_s: float
    cell_s: float
    burst_s: float
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pairs(self) -> int:
        """How many pairs there are."""
        return int(self.seconds.shape[0])

    @property
    def bursts(self) -> int:
        """Bursts of a cell on one side of a pair."""
        return int(self.seconds.shape[3])

    @property
    def log_ratios(self) -> Array:
        """(pair, cell): the logarithm of the ratio of the medians, as ``attnbench ab`` judges them."""
        medians = np.median(self.seconds, axis=3)
        return np.asarray(np.log(medians[:, :, 1] / medians[:, :, 0]))


def write_corpus(comparison: Path, out: Path) -> Path:
    """Make a corpus of the folder of a comparison of a version with itself; the path of the table."""
    import pyarrow as pa
    from pyarrow import parquet

    info, pairs = read_comparison(comparison), read_pairs(comparison)
    rows = [row for pair in pairs for row in _rows(pair)]
    if not rows:
        msg = f"{comparison} holds no burst, so there is no noise to keep; give it a longer --budget"
        raise ResultsError(msg)
    about = _about(info, len(pairs))
    try:
        out.mkdir(parents=True, exist_ok=True)
        schema = _schema(pa).with_metadata({KEY: json.dumps(about).encode()})
        table = pa.Table.from_pylist(rows, schema=schema)
        parquet.write_table(table, out / TABLE, compression="zstd", compression_level=19)
        (out / README).write_text(_readme(about, len(rows)), encoding="utf-8")
    except OSError as error:
        fail_writing(out, error)
    return out / TABLE


def _rows(pair: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for cell in pair["cells"].values():
        case = cell["label"].partition(" · ")[0]
        # A quad is measured again as a whole, so only its last attempt counts.
        last = {burst["quad"]: burst["attempt"] for burst in cell["bursts"]}
        for burst in cell["bursts"]:
            calls = max(burst["calls"], 1)
            receipt = burst.get("receipt", {})
            yield {
                "pair": pair["pair"],
                "cell": case,
                "side": burst["side"],
                "quad": burst["quad"],
                "attempt": burst["attempt"],
                "position": burst["position"],
                "counts": burst["attempt"] == last[burst["quad"]],
                "calls": calls,
                "wall_s": burst["wall_ns"] / 1e9 / calls,
                "cpu_s": burst["cpu_ns"] / 1e9 / calls,
                "started_at": burst["started_at"],
                "over": burst.get("over"),
            } | {name: receipt.get(name) for name in RECEIPTS}


def _schema(pa: Any) -> Any:
    words = pa.dictionary(pa.int8(), pa.string())
    small, real, short = pa.int16(), pa.float64(), pa.float32()
    first = {"pair": small, "cell": words, "side": words, "quad": pa.int8(), "attempt": pa.int8()}
    then = {"position": pa.int8(), "counts": pa.bool_(), "calls": pa.int32(), "wall_s": short, "cpu_s": short}
    return pa.schema(first | then | {"started_at": real, "over": words} | dict.fromkeys(RECEIPTS, short))


def _about(info: Mapping[str, Any], pairs: int) -> dict[str, Any]:
    fingerprint = info["fingerprint"]
    shown = ("hardware", "kernel", "python", "governor", "virtual", "usable_cpus", "packages", "git")
    return {
        "format": FORMAT,
        "version": VERSION,
        "recorded": info["started"],
        "seconds": info["seconds"],
        "pairs": pairs,
        "startup_s": info["startup_s"],
        "cell_s": info["cell_s"],
        "cells": sorted(label.partition(" · ")[0] for label in info["cells"].values()),
        "implementation": info["sides"]["A"]["label"],
        "effort": info["effort"],
        "machine_id": info["machine_id"],
        "machine": {name: fingerprint.get(name) for name in shown} | {"kernel": _short(fingerprint.get("kernel"))},
    }


def _readme(about: Mapping[str, Any], rows: int) -> str:
    hardware = about["machine"]["hardware"] or {}
    cells = "\n".join(f"* {name}" for name in about["cells"])
    return f"""# Recorded noise

`{TABLE}`: {rows} bursts of `{about["implementation"]}` against itself, in {about["pairs"]} pairs of fresh processes,
measured {about["recorded"]} within {about["seconds"] / 60:.0f} minutes on {hardware.get("cpu_model")},
{hardware.get("logical_cores")} logical cores, {about["machine"]["kernel"]}. Written by `attnbench scoreboard record`;
`attnbench scoreboard replay` judges rules on it (docs/scoreboard.md).

A row is a burst, in the order of measuring:

| column | what |
|---|---|
| `pair`, `cell`, `side` | which pair of processes, which case, which of the two processes |
| `quad`, `attempt`, `position` | which quad of four bursts, which attempt at it, from 0, the place in it |
| `counts` | false where the quad was measured again, because a receipt was over its limit |
| `calls` | calls in the burst |
| `wall_s`, `cpu_s` | seconds of one call |
| `started_at` | seconds since 1970 |
| `over` | why the burst is over its limit |
| `steal_s`, `delay_s`, `pressure_s`, `load_1min`, `involuntary_switches`, `page_faults` | the receipt |

The table's metadata, under the key `attnbench`, is JSON: machine, versions, effort, seconds of a pair. Cells:

{cells}
"""


def _short(kernel: str | None) -> str | None:
    """A kernel as its name and first two numbers: the rest names the host."""
    if kernel is None:
        return None
    name, _, release = kernel.partition(" ")
    return f"{name} {'.'.join(release.split('.')[:2])}".strip()


def read_corpus(folder: Path) -> Corpus:
    """Read a corpus; pairs in which not every cell has all of its bursts are left out.

    Raises ``ResultsError`` for anything else, and where no pair is whole.
    """
    from pyarrow import ArrowInvalid, parquet

    path = folder / TABLE if folder.is_dir() else folder
    try:
        table = parquet.read_table(path)
        about = json.loads((table.schema.metadata or {}).get(KEY, b"null"))
    except (OSError, ValueError, ArrowInvalid) as error:
        msg = f"{path} cannot be read ({error}); record one with: attnbench scoreboard record {folder}"
        raise ResultsError(msg) from error
    if not isinstance(about, dict) or about.get("format") != FORMAT or about.get("version") != VERSION:
        msg = f"{path} is no recorded noise of attnbench, or of a newer one"
        raise ResultsError(msg)
    columns = table.filter(table["counts"]).to_pydict()
    seconds = _array(columns, tuple(about["cells"]), 2 * int(about["effort"]["quads"]))
    if not len(seconds):
        msg = f"{path} has no pair with all bursts of every cell; record for longer"
        raise ResultsError(msg)
    burst_s = float(np.mean(np.asarray(columns["wall_s"]) * np.asarray(columns["calls"])))
    return Corpus(seconds, tuple(about["cells"]), float(about["startup_s"]), float(about["cell_s"]), burst_s, about)


def _array(columns: Mapping[str, Any], cells: tuple[str, ...], bursts: int) -> Array:
    lists: dict[tuple[int, str, str], list[float]] = {}
    for pair, cell, side, wall in zip(
        columns["pair"], columns["cell"], columns["side"], columns["wall_s"], strict=True
    ):
        lists.setdefault((pair, cell, side), []).append(wall)
    keys = [[[(pair, cell, side) for side in SIDES] for cell in cells] for pair in sorted(set(columns["pair"]))]
    whole = [
        [[lists[key] for key in sides] for sides in pair]
        for pair in keys
        if all(len(lists.get(key, ())) == bursts for sides in pair for key in sides)
    ]
    return np.asarray(whole, dtype=np.float64).reshape(len(whole), len(cells), 2, bursts)
