"""Maps of two implementations: who is faster where, the boundary, and what is not told."""

from __future__ import annotations

import itertools
import math
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from seaborn.utils import relative_luminance

from attnbench.analysis.maps import boundaries, map_of_rivals, ratios, rivals
from attnbench.report import figures, maps
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
                noise = 0.1 * width * rng.standard_normal(5)
                noise -= noise.mean()  # the mean of the processes is what is planted
                rounds = {(n // 3, n % 3): time_s * math.exp(noise[n // 3]) for n in range(15)}
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
    assert "not told apart" in drawn.svg, "the legend"
    assert "boundary: the other one is faster beyond" in drawn.svg
    assert ">equal<" in drawn.svg
    told = draw(MAP, frame(30.0), Palette())
    assert "the other one is faster beyond" not in told.svg, "no boundary to explain"
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


def test_who_is_faster_is_seen_in_grey_too_and_text_stands_out_on_every_place() -> None:
    shades = mpl.colormaps[maps.COLOURS](np.linspace(0, 1, 101))
    lightness = [relative_luminance(shade) for shade in shades]
    assert lightness == sorted(lightness), "B's places are the darker ones"
    assert lightness[0] < lightness[50] / 3 < lightness[-1] / 6
    dark, light = (relative_luminance(ink) for ink in (maps.DARK, maps.LIGHT))
    for shade in lightness:
        ink = dark if shade > maps.MIDDLE else light
        assert (max(shade, ink) + 0.05) / (min(shade, ink) + 0.05) > 4.5


def canvas_of(monkeypatch: pytest.MonkeyPatch, data: pd.DataFrame) -> Any:
    """The canvas of a drawn map, for its places."""
    kept: list[Any] = []
    finish = figures._finish

    def keeping(canvas: Any, *rest: Any) -> None:
        kept.append(canvas)
        finish(canvas, *rest)

    monkeypatch.setattr(figures, "_finish", keeping)
    draw(MAP, data, Palette())
    return kept[0]


def wide(settings: int) -> pd.DataFrame:
    """Many lengths under several settings, one of which has a single head size."""
    lengths = [2**power for power in range(6, 14)]
    parts = []
    for threads in range(1, settings + 1):
        small = frame()[frame()["point.tokens"] == 64]
        many = pd.concat(
            [small.assign(**{"point.tokens": T, "block_id": f"{T}-{threads}-" + small["block_id"]}) for T in lengths]
        )
        parts.append(many.assign(threads=threads))
    parts[0] = parts[0][parts[0]["point.head_size"] == 16]
    return pd.concat(parts[::-1])


def test_no_text_of_a_map_lies_on_another_and_all_panels_have_the_same_places(monkeypatch: pytest.MonkeyPatch) -> None:
    canvas = canvas_of(monkeypatch, wide(3))
    canvas.draw_without_rendering()
    panels = [place for place in canvas.axes if place.get_title()]
    for place in panels:
        written = [*place.texts, *(tick for tick in place.get_xticklabels() if tick.get_text())]
        boxes = [text.get_window_extent() for text in written]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    titles = [place.title.get_window_extent() for place in panels]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(titles, 2))
    assert [place.get_title()[-1] for place in panels] == ["1", "2", "3"], "in the order of their settings"
    assert {tuple(label.get_text() for label in place.get_yticklabels()) for place in panels} == {("64", "16")}


def test_a_title_ends_its_lines_at_commas_and_panels_that_are_four_stand_two_and_two() -> None:
    named = "A = numpy/naive, B = numpy/blocked, phase prefill, threads 1"
    assert maps.title(named, 4.0).splitlines() == ["A = numpy/naive, B = numpy/blocked,", "phase prefill, threads 1"]
    table = map_of_rivals(frame(), "tokens", "head_size")
    assert [maps.across(MAP, table, panels) for panels in (1, 2, 3, 4, 5)] == [1, 2, 3, 2, 3]
