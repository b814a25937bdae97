"""The recorded corpus: what a comparison measured, burst by burst, and nothing that did not count."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from attnbench.errors import ResultsError
from attnbench.results.pairs import PairsWriter
from attnbench.scoreboard.recorded.corpus import TABLE, read_corpus, write_corpus

INFO: dict[str, Any] = {
    "started": "2026-11-23T00:00:00Z",
    "seconds": 60.0,
    "startup_s": 0.5,
    "cell_s": 1.0,
    "cells": {"1": "short · numpy/extra-0", "2": "long · numpy/extra-0"},
    "sides": {"A": {"label": "numpy/extra-0"}, "B": {"label": "numpy/extra-0"}},
    "effort": {"quads": 2},
    "machine_id": "m",
    "fingerprint": {"hardware": {"cpu_model": "c", "logical_cores": 2}, "kernel": "Linux 6.18.44-of-a-host"},
}


def bursts(wall_ns: int, *, again: bool = False, whole: bool = True) -> list[dict[str, Any]]:
    """Two quads; the first of them, if so, broken off at its second burst and measured again."""
    found: list[dict[str, Any]] = []
    for quad in range(2 if whole else 1):
        tried = [(0, "AB"), (1, "ABBA")] if again and not quad else [(0, "ABBA")]
        for attempt, pattern in tried:
            for position, side in enumerate(pattern):
                broken = again and not quad and attempt == 0
                found.append(
                    {
                        "quad": quad,
                        "attempt": attempt,
                        "position": position,
                        "side": side,
                        "again": broken and position == 1,
                        "calls": 10,
                        "wall_ns": wall_ns * (9 if broken else 1) * (2 if side == "B" else 1),
                        "cpu_ns": wall_ns,
                        "receipt": {"steal_s": 0.01, "delay_s": 0.002},
                        "started_at": 1e9 + len(found),
                    }
                )
    return found


def comparison(folder: Path, *pairs: dict[str, list[dict[str, Any]]]) -> Path:
    with PairsWriter.create(folder, "run", INFO) as writer:
        for number, cells in enumerate(pairs):
            labelled = {key: {"label": INFO["cells"][key], "bursts": found} for key, found in cells.items()}
            writer.pair({"pair": number, "cells": labelled})
    return folder / "run"


def test_every_burst_is_kept_and_those_that_count_come_back(tmp_path: Path) -> None:
    whole = {"1": bursts(1000, again=True), "2": bursts(4000)}
    partial = {"1": bursts(1000), "2": bursts(4000, whole=False)}
    path = write_corpus(comparison(tmp_path, whole, partial, whole), tmp_path / "noise")
    table = parquet.read_table(path).to_pydict()
    assert len(table["pair"]) == 2 * (10 + 8) + 8 + 4
    assert table["counts"].count(False) == 2 * 2
    assert table["steal_s"][0] == pytest.approx(0.01)
    corpus = read_corpus(tmp_path / "noise")
    assert corpus.cells == ("long", "short")
    assert corpus.seconds.shape == (2, 2, 2, 4), "the pair in which a cell was not finished is left out"
    assert corpus.seconds[:, 1, 0] == pytest.approx(1e-7)
    assert corpus.log_ratios == pytest.approx(math.log(2))
    assert corpus.burst_s == pytest.approx(statistics.fmean([1000, 2000, 4000, 8000]) / 1e9, rel=0.2)
    assert corpus.about["machine"]["hardware"]["cpu_model"] == "c"
    assert corpus.about["machine"]["kernel"] == "Linux 6.18"
    told = (tmp_path / "noise" / "README.md").read_text()
    assert "`steal_s`" in told
    assert "Linux 6.18. Written" in told


def test_nothing_measured_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no burst"):
        write_corpus(comparison(tmp_path), tmp_path / "noise")
    assert not (tmp_path / "noise").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="attnbench scoreboard record"):
        read_corpus(tmp_path)
    (tmp_path / TABLE).write_text(json.dumps({}))
    with pytest.raises(ResultsError, match="cannot be read"):
        read_corpus(tmp_path)
    only = {"1": bursts(1000)}
    path = write_corpus(comparison(tmp_path / "runs", only), tmp_path / "noise")
    with pytest.raises(ResultsError, match="record for longer"):
        read_corpus(path)
    parquet.write_table(parquet.read_table(path).replace_schema_metadata({}), path)
    with pytest.raises(ResultsError, match="no recorded noise"):
        read_corpus(path)
