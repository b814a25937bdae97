"""A drawing of matplotlib's made small: what refers to something still does, and nothing that is seen is lost."""

import re
import xml.etree.ElementTree as ET

from attnbench.show.svg import clean_svg

HEAD = '<?xml version="1.0"?><svg xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg" '
DRAWN = f"""{HEAD} width="100pt" height="50pt" viewBox="0 0 100 50">
<metadata>when it was made</metadata><style type="text/css">*{{stroke-linejoin: round}}</style>
<g id="figure_1"><g id="axes_1">
 <defs><path id="m1" d="M 0 0
L 0 3.5
" style="stroke: #010203; stroke-width: 0.8"/></defs>
 <g id="line2d_1"><g><use xlink:href="#m1" x="90.673791" y="1" style="fill: #010203; stroke: #010203"/></g></g>
 <g id="text_1"><text x="1.23456" y="2" style="font-size: 9px; font-family: 'X'; fill: #010203"
  transform="rotate(-0 1 2)">a  b &lt;c&gt; 1.23456</text></g>
 <g id="boundary-1"><path d="M 1 1 L 5.123456 1 L 5.123456 9 z" clip-path="url(#p1)" style="fill: none"/>
  <path d="M 1 1 L 5 2" clip-path="url(#p1)" style="fill: none"/></g>
 <clipPath id="p1"><rect x="0" y="0" width="9" height="9"/></clipPath>
</g></g></svg>"""
COLOURS = {"#010203": "currentColor"}


def cleaned(name: str = "one", title: str = "A <title>") -> str:
    svg = clean_svg(DRAWN, name, title, COLOURS)
    ET.fromstring(svg)  # noqa: S314  (our own drawing)
    return svg


def test_words_are_as_they_were_and_numbers_of_places_short() -> None:
    svg = cleaned()
    assert ">a  b &lt;c&gt; 1.23456</text>" in svg
    assert 'x="90.67"' in svg
    assert 'aria-label="A &lt;title&gt;"' in svg
    assert "rotate" not in svg
    assert "when it was made" not in svg
    assert len(svg) < len(DRAWN) * 0.8


def test_what_is_referred_to_is_there_and_no_other_figure_has_it() -> None:
    ids = [set(re.findall(r'\bid="([^"]+)"', cleaned(name))) for name in ("one", "two")]
    assert not ids[0] & ids[1]
    meant = set(re.findall(r'href="#([^"]+)"', cleaned())) | set(re.findall(r"url\(#([^)]+)\)", cleaned()))
    assert len(meant) == 2
    assert meant <= ids[0]
    assert any("boundary-1" in name for name in ids[0]), "a name that somebody gave stays"


def test_a_path_goes_where_it_went() -> None:
    assert 'd="M1 1H5.12V9z"' in cleaned()
    assert 'd="M1 1L5 2"' in cleaned()


def test_what_all_marks_say_stands_once_at_their_group() -> None:
    svg = cleaned()
    assert svg.count("fill:none") == svg.count("clip-path=") == 1
    assert "stroke:currentColor;stroke-width:0.8" in svg
    assert svg.count("stroke:currentColor") == 1, "a mark does not repeat its shape"
    assert 'fill:currentColor"/>' not in svg, "a line has nothing to fill"


def test_an_opacity_stays_at_its_marks() -> None:
    faint = DRAWN.replace("fill: none", "opacity: 0.5")
    assert clean_svg(faint, "one", "", COLOURS).count("opacity:0.5") == 2


def test_signs_that_no_xml_may_hold_are_replaced() -> None:
    svg = clean_svg(DRAWN.replace("a  b", "a\x00b"), "one", "t\x01", COLOURS)
    assert "a\ufffdb" in svg
    assert "t\ufffd" in svg
    ET.fromstring(svg)  # noqa: S314  (our own drawing)
