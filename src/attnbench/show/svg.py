"""Drawings of matplotlib's as SVG that may stand in a page: with ids of their own, small, and the same to the eye."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Mapping

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
COUNTED = re.compile(r"(figure|axes|patch|line2d|text|xtick|ytick|legend|matplotlib\.axis)_\d+")
NUMBER = re.compile(r"-?\d+\.\d+(e-?\d+)?")
FONT = "font-family:'DejaVu Sans',Verdana,Arial,sans-serif;font-size:9px"
# What no XML may hold: signs of control, halves of a sign (surrogates), and two that are none.
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def clean_svg(svg: str, name: str, title: str, colours: Mapping[str, str]) -> str:
    """An SVG that may stand in a page beside others: no prolog, no metadata, ids of its own, the page's colours.

    ``colours`` says which colour stands where a stand-in was drawn.

    Matplotlib writes every group, every number in full and every style on each mark; what is left here looks the
    same, to a hundredth of a point, in a quarter of the characters.
    """
    svg = NOT_XML.sub("\ufffd", svg[svg.index("<svg") :])
    for stand_in, colour in colours.items():
        svg = svg.replace(stand_in, colour)
    root = ET.fromstring(svg)  # noqa: S314  (drawn by us)
    for parent in root.iter():
        for left_out in (*parent.findall(f"{SVG}metadata"), *parent.findall(f"{SVG}style")):
            parent.remove(left_out)
    # The ids of a figure begin with a number of its own: as long names they would be half of its text.
    _rename(root, f"f{zlib.crc32(name.encode()):08x}-")
    for element in root.iter():
        _shorten(element)
    _without_repeats(root)
    _flatten(root)
    root.attrib = {
        "role": "img",
        "aria-label": NOT_XML.sub("\ufffd", title),
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": root.attrib["viewBox"],
        "width": root.attrib["width"],
        "height": root.attrib["height"],
        "style": f"stroke-linejoin:round;stroke-linecap:butt;{FONT}",
        "version": "1.1",
    }
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
    return ET.tostring(root, encoding="unicode").replace(" />", "/>") + "\n"  # a > of a text is written &gt;


def _rename(root: ET.Element, prefix: str) -> None:
    """Ids with a prefix, short where something refers to them; those that matplotlib counts are left out otherwise."""
    text = ET.tostring(root, encoding="unicode")
    meant = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    names = {old: f"{prefix}{number}" for number, old in enumerate(sorted(meant))}
    for element in root.iter():
        if (old := element.attrib.pop("id", None)) is not None and (old in names or not COUNTED.fullmatch(old)):
            element.set("id", names.get(old, f"{prefix}{old}"))
        for key, value in list(element.attrib.items()):
            if key == f"{XLINK}href":
                del element.attrib[key]
                element.set("href", f"#{names[value[1:]]}" if value.startswith("#") else value)
            elif "url(#" in value:
                element.set(key, re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#{names[match[1]]})", value))


def _shorten(element: ET.Element) -> None:
    """Numbers to a hundredth, and no space or word that says nothing."""
    if element.tag != f"{SVG}text":
        element.text = None
    for child in element:
        child.tail = None
    for key in ("d", "x", "y", "width", "height", "points", "transform"):
        if key in element.attrib:
            short = NUMBER.sub(lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), element.attrib[key])
            short = re.sub(r"\s*([MLQCzZ])\s*", r"\1", short).strip()
            element.set(key, _straight(short) if key == "d" else short)
    if re.fullmatch(r"rotate\(-?0 [^)]*\)", element.attrib.get("transform", "")):
        del element.attrib["transform"]
    if "style" in element.attrib:
        parts = [part.strip().replace(": ", ":", 1) for part in element.attrib["style"].split(";")]
        kept = [part for part in parts if part and not part.startswith("font-family") and part not in FONT]
        element.set("style", ";".join(kept))
        if not kept:
            del element.attrib["style"]


def _straight(path: str) -> str:
    """A path whose level and upright lines say one number each."""
    parts, point = [], ["", ""]
    for sign, numbers in re.findall(r"([MLQCzZ])([^MLQCzZ]*)", path):
        to = numbers.split()[-2:] or point
        if sign == "L" and to[1] == point[1]:
            parts.append(f"H{to[0]}")
        elif sign == "L" and to[0] == point[0]:
            parts.append(f"V{to[1]}")
        else:
            parts.append(sign + numbers)
        point = ["", ""] if sign in "zZ" else to
    return "".join(parts)


def _flatten(parent: ET.Element) -> None:
    """No group that says nothing; a style that all marks of a group have stands once, at the group."""
    kept: list[ET.Element] = []
    for child in list(parent):
        _flatten(child)
        if child.tag != f"{SVG}g" or child.attrib:
            kept.append(child)
        else:
            kept += list(child)
    parent[:] = kept
    if parent.tag == f"{SVG}g" and len(parent) > 1:
        _raise_style(parent)
        _raise_clip(parent)


def _raise_style(parent: ET.Element) -> None:
    """Say once at the group what all its marks say alike; an opacity is another thing there."""
    said = [child.attrib.get("style", "").split(";") for child in parent]
    alike = [
        part for part in said[0] if part and not part.startswith("opacity") and all(part in styles for styles in said)
    ]
    if not alike or "style" in parent.attrib:
        return
    parent.set("style", ";".join(alike))
    for child, parts in zip(parent, said, strict=True):
        child.set("style", ";".join(part for part in parts if part not in alike))
        if not child.attrib["style"]:
            del child.attrib["style"]


def _raise_clip(parent: ET.Element) -> None:
    clips = {child.attrib.get("clip-path") for child in parent}
    if len(clips) > 1 or "clip-path" in parent.attrib or (clip := clips.pop()) is None:
        return
    parent.set("clip-path", clip)
    for child in parent:
        del child.attrib["clip-path"]


def _without_repeats(root: ET.Element) -> None:
    """What a mark says though its shape says it, and the filling of a shape that is a line."""
    shapes = {element.get("id"): element for element in root.iter(f"{SVG}path") if "id" in element.attrib}
    for use in root.iter(f"{SVG}use"):
        shape = shapes.get(use.attrib.get("href", "").removeprefix("#"))
        if shape is None or "style" not in use.attrib:
            continue
        said = set(shape.attrib.get("style", "").split(";"))
        flat = re.fullmatch(r"M[^MLHVQCzZ]*[LHV][^MLHVQCzZ]*", shape.attrib.get("d", ""))
        kept = [part for part in use.attrib["style"].split(";") if part not in said]
        use.attrib["style"] = ";".join(part for part in kept if not (flat and part.startswith("fill:")))
        if not use.attrib["style"]:
            del use.attrib["style"]
