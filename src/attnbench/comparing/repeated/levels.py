"""The levels of cells in run folders, in groups of one code, as far as they can be judged by what is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from attnbench.comparing.anchored.basis import MADE_OF
from attnbench.comparing.repeated.spread import CellLevel
from attnbench.comparing.runs import Key, SavedRun, key_of, unlike
from attnbench.comparing.statistics import process_level
from attnbench.errors import ResultsError
from attnbench.results.dataset import plain as load
from attnbench.results.frames import records
from attnbench.results.read import RUN, read_info
from attnbench.results.schema import RunInfo
from attnbench.results.summary import too_few_beside
from attnbench.show import units

By = Literal["raw", "anchor"]
# A cell, and what its time was taken by: the state of the caches, and the anchor.
MadeOf = tuple[Key, tuple[Any, ...]]


def levels(groups: Iterable[Sequence[Path]], by: By) -> dict[Key, list[list[CellLevel]]]:
    """The levels of all cells that two runs of a group have, with one anchor and one version of their framework."""
    cells: dict[MadeOf, list[list[CellLevel]]] = {}
    for group in groups:
        for made_of, values in _of_group(group, by).items():
            if len(values) > 1:
                cells.setdefault(made_of, []).append(values)
    # Of several anchors the one with the most runs counts.
    most: dict[Key, list[list[CellLevel]]] = {}
    for (key, _), of_groups in sorted(cells.items(), key=lambda cell: sum(map(len, cell[1]))):
        most[key] = of_groups
    return most


def _of_group(group: Sequence[Path], by: By) -> dict[MadeOf, list[CellLevel]]:
    values: dict[MadeOf, list[CellLevel]] = {}
    infos: dict[MadeOf, RunInfo] = {}
    for path in group:
        with suppress(ResultsError):
            info, cells = _of_run(path, (path / RUN).stat().st_mtime_ns, by)
            for made_of, (backend, level) in cells.items():
                # Another version of the framework is other code.
                if unlike(infos.setdefault(made_of, info), info, backend) is None:
                    values.setdefault(made_of, []).append(level)
    return values


@lru_cache(maxsize=256)
def _of_run(path: Path, _changed: int, by: By) -> tuple[RunInfo, dict[MadeOf, tuple[str, CellLevel]]]:
    """The cells of a run that have a level, with their backend; a finished run is read once."""
    cells = load(path)
    run = SavedRun(read_info(path), cells, load(path, samples=True) if by == "anchor" else cells[:0])
    kept = ("cache", *MADE_OF) if by == "anchor" else ("cache",)
    of: dict[MadeOf, tuple[str, CellLevel]] = {}
    for row in records(cells):
        if row["status"] != "ok" or row["kind"] != "timed":
            continue
        level = _anchored(run, row) if by == "anchor" else _raw(row)
        if level is not None:
            of[key_of(row), tuple(row[name] for name in kept)] = row["backend"], level
    return run.info, of


def _raw(row: dict[str, Any]) -> CellLevel:
    processes = int(row["n_replicates"]) if units.known(row["n_replicates"]) else 1  # an import may not say
    return CellLevel(math.log(row["time_median_s"]), processes=max(1, processes))


def _anchored(run: SavedRun, row: dict[str, Any]) -> CellLevel | None:
    """``None`` where too few bursts have the anchor."""
    ratios = run.ratios(row)
    if too_few_beside(ratios) is not None:
        return None
    value, anchor = process_level(ratios), process_level(run.anchor_bursts(row))
    return CellLevel(value, anchor, len(set(ratios.replicates))) if math.isfinite(value) else None
