"""Figures: every kind is drawn, failures are named, colours stay, the same frame gives the same bytes."""

import itertools
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from attnbench.report.defaults import default_figures, length_of, with_setting
from attnbench.report.drawn.choosing import as_drawn, own_axes
from attnbench.report.figures import MAX_PANELS, _across, draw
from attnbench.report.palette import Palette
from attnbench.results import load
from attnbench.suite import Figure
from tests.report import suites
from tests.results import synthetic
from tests.wording import says

TIME = Figure("time", "Time & memory <now>", "Tq", "time_median_s", "impl", log_x=True, log_y=True)


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    failed = {("numpy/naive", 512): ("oom", "too much"), ("torch/sdpa", 128): ("unsupported", "too short")}
    folder = synthetic.write_run(tmp_path_factory.mktemp("out") / "r", failed=failed, bursts=6)
    return with_setting(load(folder))


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return with_setting(load(suites.write_observed(tmp_path_factory.mktemp("out") / "r", failed="jax/naive")))


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314  (our own drawing)


def texts(svg: str) -> list[str]:
    return ["".join(one.itertext()).strip() for one in parsed(svg).iter() if one.tag.endswith("text")]


@pytest.mark.parametrize("figure", suites.VARIANCE.story.figures, ids=lambda one: one.kind)
def test_every_kind_of_figure_is_drawn(observed: pd.DataFrame, figure: Figure) -> None:
    found = draw(figure, observed, Palette(), "p-")
    assert found.svg.startswith('<svg role="img"')
    assert found.name == f"p-{figure.name}"
    assert "variance" in " ".join(texts(found.svg))
    assert "jax/naive crashed (8)" in found.caption


def test_failed_cells_are_named_in_the_caption_and_crossed_in_the_panel(timed: pd.DataFrame) -> None:
    found = draw(TIME, timed, Palette())
    assert says(found.caption, "Not drawn", "numpy/naive oom (2)", "torch/sdpa unsupported (2)")
    assert says(found.caption, "cross", "without a measurement")
    assert "cross" not in draw(TIME, timed[timed["status"] == "ok"], Palette()).caption


def test_failed_cells_are_not_averaged_in(timed: pd.DataFrame) -> None:
    poisoned = timed.copy()
    poisoned.loc[poisoned["status"] != "ok", "time_median_s"] = 1e6
    assert draw(TIME, poisoned, Palette()).svg == draw(TIME, timed, Palette()).svg


def test_only_failures_are_no_figure_but_a_caption(timed: pd.DataFrame) -> None:
    found = draw(TIME, timed[timed["status"] != "ok"], Palette())
    assert found.svg == ""
    assert "Nothing to draw." in found.caption
    assert "numpy/naive oom" in found.caption


def test_values_without_a_place_on_a_logarithmic_axis_are_named(timed: pd.DataFrame) -> None:
    zero = timed.copy()
    zero.loc[zero["impl"] == "numpy/blocked", "peak_bytes"] = 0
    figure = Figure("memory", "Memory", "Tq", "peak_bytes", "impl", log_y=True)
    assert says(draw(figure, zero, Palette()).caption, "4 measured cells", "no peak_bytes", "numpy/blocked")


def test_the_same_frame_gives_the_same_bytes_and_other_names_other_ids(timed: pd.DataFrame) -> None:
    first, second = (draw(TIME, timed, Palette()).svg for _ in range(2))
    assert first == second
    other = draw(TIME, timed, Palette(), "other-").svg
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert set(re.findall(r'href="#([^"]+)"', first)) <= ids[0]
    assert set(re.findall(r"url\(#([^)]+)\)", first)) <= ids[0]


def test_an_svg_is_well_formed_and_brings_nothing_but_itself(timed: pd.DataFrame) -> None:
    svg = draw(TIME, timed, Palette()).svg
    parsed(svg)
    assert 'aria-label="Time &amp; memory &lt;now&gt;"' in svg
    for word in ("<metadata", "<style", "<?xml", "<!DOCTYPE", "<image", "dc:date", "#010203", "#040506"):
        assert word not in svg, word
    assert "currentColor" in svg


def test_one_implementation_has_one_colour_whoever_else_is_drawn(timed: pd.DataFrame) -> None:
    palette = Palette()
    draw(TIME, timed, palette)
    everywhere = palette.colours("impl", list(synthetic.IMPLS))
    assert len(set(everywhere.values())) == len(synthetic.IMPLS)
    alone = draw(TIME, timed[timed["impl"] == "jax/naive"], palette).svg
    assert everywhere["jax/naive"] in alone
    assert everywhere["numpy/naive"] not in alone


def test_more_values_than_colours_are_told_apart_by_marker(timed: pd.DataFrame) -> None:
    palette = Palette()
    values = [f"numpy/v{number}" for number in range(25)]
    assert len(set(palette.colours("impl", values).values())) == 10
    many = pd.concat([timed[timed["impl"] == "jax/naive"].assign(impl=value) for value in values])
    assert draw(TIME, many, palette).svg


def test_the_interval_is_drawn_where_the_frame_has_one(timed: pd.DataFrame) -> None:
    figure, few = replace(TIME, col="setting"), timed[timed["impl"].isin(["torch/sdpa", "jax/naive"])]
    with_band = draw(figure, few, Palette())
    without = draw(figure, few.drop(columns=["time_low_s"]), Palette()).svg
    assert with_band.svg.count("FillBetween") == 4
    assert without.count("FillBetween") == 0
    assert "thin bars" not in with_band.caption


def test_bands_that_would_merge_are_thin_bars(timed: pd.DataFrame) -> None:
    many = draw(replace(TIME, col="setting"), timed, Palette())
    assert many.svg.count("FillBetween") == 0
    assert many.svg.count("LineCollection") == 12
    assert "drawn as thin bars" in many.caption


BARS = Figure("b", "Bars", x="impl", y="time_median_s", col="setting", kind="bar")


def bars(timed: pd.DataFrame, *factors: float) -> pd.DataFrame:
    """Two panels of three bars each: the third bar takes the first factor as long, the second panel the second."""
    panel = timed[timed["Tq"] == 512].drop_duplicates("impl").head(3)
    times = panel.assign(time_median_s=[1e-3, 1.5e-3, 1e-3 * factors[0]], time_low_s=None, setting="a")
    return pd.concat([times, times.assign(time_median_s=times["time_median_s"] * factors[1], setting="b")])


def test_bars_of_microseconds_and_milliseconds_never_share_a_linear_axis(timed: pd.DataFrame) -> None:
    alike = bars(timed, 2.0, 1.5)
    assert as_drawn(BARS, alike) is BARS
    assert not own_axes(BARS, alike)
    assert as_drawn(BARS, bars(timed, 1000.0, 1.5)) == replace(BARS, kind="strip", log_y=True)
    assert own_axes(BARS, bars(timed, 2.0, 1000.0))
    apart = draw(BARS, bars(timed, 1000.0, 1000.0), Palette())
    assert "points on an axis of logarithms" in apart.caption
    assert "points" not in draw(BARS, alike, Palette()).caption


def test_panels_of_other_sizes_have_axes_of_their_own(timed: pd.DataFrame) -> None:
    svg = draw(BARS, bars(timed, 2.0, 1000.0), Palette()).svg
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", svg)
    assert {"1 ms", "1 s"} <= set(texts)


def test_lines_whose_values_stand_at_one_place_are_bars_beside_each_other(timed: pd.DataFrame) -> None:
    alone = timed[(timed["Tq"] == 128) & ~timed["point.causal"].astype(bool)]
    caption = "Median of burst medians; the band is its interval. Both axes are logarithmic."
    lines = replace(TIME, caption=caption)
    found = draw(lines, alone, Palette())
    assert says(found.caption, "All values stand at queries Tq = 128, so they are bars and not lines.")
    assert "the dark line is its interval." in found.caption
    assert "logarithmic" not in found.caption
    names = set(alone.loc[alone["status"] == "ok", "impl"])
    assert names <= set(texts(found.svg))  # on an axis, each at its own place
    assert as_drawn(lines, timed.dropna(subset=["time_median_s"])) is lines
    several = pd.concat([alone, alone]).dropna(subset=["time_median_s"])
    points = as_drawn(lines, several)
    assert points.kind == "strip"
    assert points.caption == "Median of burst medians."  # of several values no interval is drawn
    sizes = timed[timed["status"] == "ok"].assign(peak_bytes=3e6)
    sizes.loc[sizes["Tq"] == 128, "peak_bytes"] = float("nan")
    known = sizes[sizes["Tq"].isin((128, 512)) & ~sizes["point.causal"].astype(bool)]
    assert says(draw(replace(TIME, y="peak_bytes"), known, Palette()).caption, "stand at queries Tq = 512")
    guided = replace(lines, guide=(1.0, 1.0, "y = x"))
    assert as_drawn(guided, alone.dropna(subset=["time_median_s"])) is guided


def test_ticks_beside_each_other_have_room(timed: pd.DataFrame) -> None:
    ok = timed[timed["status"] == "ok"]
    for spread in (1.0, 3.0, 12.0, 60.0, 300.0):  # bars, and points on logarithms
        base = 1.1e-4
        times = [base * spread ** (place / (len(ok) - 1)) for place in range(len(ok))]
        shown = ok.assign(time_median_s=times, part=[f"p{place % 3}" for place in range(len(ok))])
        figure = Figure("time", "Time", "impl", "time_median_s", kind="bar" if spread < 12.0 else "strip", col="part")
        kept: list[Any] = []
        again = draw(replace(figure, log_y=spread >= 12.0), shown, Palette()).again
        assert again is not None
        again({}, kept.append)
        (canvas,) = kept
        canvas.draw_without_rendering()
        for place in canvas.axes:
            boxes = [one.get_window_extent() for one in place.get_xticklabels() if one.get_visible() and one.get_text()]
            inside = sorted(
                (box.x0, box.x1) for box in boxes if place.bbox.x0 - 1 <= box.x0 + box.width / 2 <= place.bbox.x1 + 1
            )
            assert len(inside) >= 2, spread
            assert all(left[1] < right[0] for left, right in itertools.pairwise(inside)), spread


def test_half_a_sign_in_a_name_is_drawn_as_its_replacement(timed: pd.DataFrame) -> None:
    texts_of = {"impl": [f"{name}\ud800" for name in timed["impl"]], "half": ["x\udfff"] * len(timed)}
    odd = timed.assign(**{name: pd.Series(some, timed.index, dtype=object) for name, some in texts_of.items()})
    found = draw(replace(TIME, col="half"), odd, Palette())
    assert "numpy/naive\ufffd" in texts(found.svg)
    assert any("x\ufffd" in text for text in texts(found.svg))
    found.svg.encode()


def test_what_has_no_logarithm_stays_a_bar(timed: pd.DataFrame) -> None:
    none = bars(timed, 1000.0, 1.0).assign(time_median_s=lambda rows: rows["time_median_s"] - 1e-3)
    assert as_drawn(BARS, none) is BARS
    assert as_drawn(BARS, none.head(0)) is BARS
    assert not own_axes(BARS, none)


def test_a_figure_of_a_missing_column_says_which(timed: pd.DataFrame) -> None:
    found = draw(Figure("f", "F", "point.nope", "time_median_s"), timed, Palette())
    assert found.svg == ""
    assert "figure 'f' needs the column 'point.nope'; there are" in found.caption


def test_a_suites_broken_data_function_does_not_take_the_report_with_it(timed: pd.DataFrame) -> None:
    figure = replace(TIME, data=lambda frame: frame[frame["nope"] > 1])
    assert draw(figure, timed, Palette()).caption == "This figure could not be drawn. KeyError: 'nope'"


def test_data_changes_the_frame_for_its_figure_only(timed: pd.DataFrame) -> None:
    def short(frame: pd.DataFrame) -> pd.DataFrame:
        frame["Tq"] = 7
        return frame

    draw(replace(TIME, data=short), timed, Palette())
    assert set(timed["Tq"]) == {128, 512}


def test_too_many_panels_are_left_out_aloud(timed: pd.DataFrame) -> None:
    many = pd.concat([timed.assign(**{"point.n": number}) for number in range(MAX_PANELS + 2)])
    found = draw(replace(TIME, col="point.n"), many, Palette())
    assert "2 more panels are left out; their numbers are in the tables." in found.caption


def test_default_figures_suit_what_varies(timed: pd.DataFrame) -> None:
    assert [(one.name, one.kind, one.col) for one in default_figures(timed)] == [
        ("time", "line", "setting"), ("memory", "line", "setting"), ("errors", "strip", None),
    ]  # fmt: skip
    assert set(timed["setting"]) == {"causal", "not causal"}
    short = with_setting(timed[(timed["Tq"] == 128) & ~timed["point.causal"].astype(bool)])
    assert [(one.kind, one.x, one.col) for one in default_figures(short)][:2] == [("bar", "impl", None)] * 2
    palette = Palette()
    for figure in (*default_figures(timed), *default_figures(short)):
        assert draw(figure, timed if figure.kind == "line" else short, palette).svg


def test_decoding_is_drawn_against_the_keys(timed: pd.DataFrame) -> None:
    decode = timed.assign(Tq=1)
    assert length_of(decode) == "S"
    assert length_of(timed) == "Tq"


def test_observed_frames_have_no_default_figures(observed: pd.DataFrame) -> None:
    assert default_figures(observed) == ()


def test_a_map_has_what_stands_at_its_places_on_its_axes_and_one_scale(observed: pd.DataFrame) -> None:
    ok = observed[observed["status"] == "ok"].head(1)
    letters, answers = "noon", ("N", "UW", "N")
    cells = [
        {"source": s, "output": t, "weight": 0.25, "letter": letters[s], "answer": answers[t], "arm": arm, "word": word}
        for word in ("noon", "again")
        for arm in ("dot", "scaled")
        for t in range(3)
        for s in range(4)
    ]
    figure = Figure(
        "f", "F", "source", "output", "weight", row="word", col="arm", kind="heat", x_text="letter", y_text="answer",
        data=lambda _: pd.DataFrame(cells),
    )  # fmt: skip
    svg = draw(figure, ok, Palette()).svg
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", svg)
    assert (texts.count("n"), texts.count("o"), texts.count("UW"), texts.count("N")) == (8, 8, 4, 8)
    assert texts.count("weight") == 1
    missing = replace(figure, x_text="nope")
    assert "needs the column 'nope'" in draw(missing, ok, Palette()).caption


def test_panels_with_rows_and_columns_stand_in_them(timed: pd.DataFrame) -> None:
    figure = replace(TIME, row="point.n", col="point.m")
    many = pd.concat([timed.assign(**{"point.n": n, "point.m": m}) for n in range(2) for m in range(4)])
    assert _across(figure, many, 8) == 4
    assert _across(replace(figure, row=None), many, 8) == 3
    assert _across(figure, many, 7) == 3


def test_colours_of_one_suite_do_not_run_out_for_another_and_those_of_implementations_stay() -> None:
    page = Palette()
    first, second = page.of_suite(), page.of_suite()
    page.places("impl", ["numpy/naive"])
    arms = [f"arm {number}" for number in range(8)]
    first.colours("point.arm", arms)
    assert len(set(second.colours("point.arm", ["other", *arms]).values())) == 9
    assert first.colours("impl", ["torch/naive"]) == second.colours("impl", ["torch/naive"])
    assert first.colours("impl", ["numpy/naive"]) != first.colours("impl", ["torch/naive"])


def test_a_legend_of_many_long_names_has_all_of_them_inside_the_figure(timed: pd.DataFrame) -> None:
    ok = timed[(timed["impl"] == "torch/naive") & ~timed["point.causal"].astype(bool)]
    names = [f"library/{'a-very-long-name-' * 3}{number}" for number in range(24)]
    many = pd.concat([ok.assign(impl=name) for name in names], ignore_index=True)
    kept: list[Any] = []
    again = draw(TIME, many, Palette()).again
    assert again is not None
    again({}, kept.append)
    (canvas,) = kept
    canvas.draw_without_rendering()
    (legend,) = canvas.legends
    box, whole = legend.get_window_extent(), canvas.bbox
    assert [text.get_text() for text in legend.get_texts()] == names
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1
    assert whole.y0 <= box.y0 < box.y1 <= whole.y1
    assert box.y1 < canvas.axes[0].bbox.y0
