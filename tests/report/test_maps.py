"""Maps of two implementations: who is faster where, the boundary, and what is not told."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from attnbench.analysis.maps import boundaries, map_of_rivals, ratios, rivals
from attnbench.report.figures import draw
from attnbench.report.palette import Palette
from attnbench.suites.crossover import SUITE

MAP = SUITE.story.figures[0]
A, B = "numpy/naive", "numpy/blocked"


def frame(width: float = 0.02) -> pd.DataFrame:
    """B is faster from a length on that grows with the head size; at equal times nothing is told."""
    rows, rng = [], np.random.default_rng(3)
    for tokens in (64, 256, 1024):
        for size in (16, 64):
            ratio = 0.5 * math.log2(tokens / {16: 384, 64: 1024}[size])
            for impl, log in ((A, 0.0), (B, -ratio)):
                time_s = 1e-3 * math.exp(log)
                row = {"impl": impl, "status": "ok", "block_id": f"{tokens}-{size}", "time_median_s": time_s}
                ends = {"time_low_s": time_s * max(0.1, 1 - width), "time_high_s": time_s * (1 + width)}
                noise = (0.1 * width * rng.standard_normal(15)).tolist()
                rounds = {(n // 3, n % 3): time_s * math.exp(noise[n]) for n in range(15)}
                rows.append(row | ends | {"rounds": rounds, "point.tokens": tokens, "point.head_size": size})
    return pd.DataFrame(rows)


def test_each_place_has_its_ratio_and_whether_it_is_told() -> None:
    table = ratios(frame(), "tokens", "head_size", A, B).set_index(["point.tokens", "point.head_size"])
    assert len(table) == 6
    assert not table.loc[(1024, 64), "told"], "equal times"
    assert table["told"].sum() == 5
    assert table.loc[(1024, 16), "faster"] == "B"
    assert table.loc[(64, 64), "faster"] == "A"


def test_wide_intervals_tell_nothing() -> None:
    assert not ratios(frame(30.0), "tokens", "head_size", A, B)["told"].any()


def test_the_boundary_is_said_for_each_head_size() -> None:
    (said,) = boundaries(frame(), "tokens", "head_size", A, B)
    assert "head size 16: numpy/blocked overtakes between 256 and 1024" in said
    assert "head size 64: numpy/naive is faster at every tokens that is told; not told at 1024" in said


def test_the_map_names_the_faster_hatches_what_is_open_and_draws_the_boundary() -> None:
    drawn = draw(MAP, frame(), Palette())
    assert drawn.svg.count("not-told") == 1
    assert "boundary-" in drawn.svg
    assert ">A " in drawn.svg
    assert ">B " in drawn.svg
    told = draw(MAP, frame(30.0), Palette())
    assert told.svg.count("not-told") == 6
    assert "boundary-" not in told.svg


def test_a_frame_of_one_implementation_has_no_map_and_says_so() -> None:
    alone = frame()[frame()["impl"] == A]
    assert rivals(alone) == []
    assert map_of_rivals(alone, "tokens", "head_size").empty
    drawn = draw(MAP, alone, Palette())
    assert drawn.svg == ""
    assert "Nothing to draw" in drawn.caption


def test_what_was_measured_otherwise_is_a_map_of_its_own() -> None:
    two = pd.concat(
        [frame().assign(threads=1), frame().assign(threads=2, block_id=lambda rows: "2-" + rows["block_id"])]
    )
    table = ratios(two, "tokens", "head_size", A, B)
    assert set(table["setting"]) == {f"A = {A}, B = {B}, threads {n}" for n in (1, 2)}
    (said,) = boundaries(two, "tokens", "head_size", A, B)
    assert "head size 16, threads 2: numpy/blocked overtakes between 256 and 1024" in said
