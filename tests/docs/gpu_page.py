"""What was seen of every implementation that claims a GPU: a table in docs/implementations.md, lists in docs/gpu.md.

Both are made of the records beside the code and of the code itself: where code has changed since, they say so. That
costs no precheck, and changes the pages once for each change after a precheck or a run. A sentence that says that no
GPU has run something is held to the records too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from attnbench.show.markdown import escaped, table
from attnbench.tried.marks import GpuMark, marks, named
from tests.docs.implementations_page import filled
from tests.repository import DOCS, REPOSITORY

IMPLEMENTATIONS, GPU = DOCS / "implementations.md", DOCS / "gpu.md"
MARKED, LISTED = "on a GPU", "tried on a GPU"
AGAIN = "run `python -m tests.docs.write gpu`"


class Sentence(NamedTuple):
    """What a file says as long as no GPU has run any implementation whose name begins with ``start``."""

    file: Path
    text: str
    start: str = ""


SENTENCES = (
    Sentence(GPU, "nothing in this repository has yet been run on a GPU"),
    Sentence(GPU, "no day has been played on a GPU yet"),
    Sentence(GPU, "All of it, and the script of a day."),
    Sentence(DOCS / "precheck.md", "no kernel that passed it here has been tried on a GPU yet"),
    Sentence(DOCS / "backends.md", "They have not run on a GPU yet", "triton/"),
    Sentence(REPOSITORY / "impls/triton_backend/__init__.py", "None of them has run on a GPU yet", "triton/"),
)


def marked(by_name: Mapping[str, GpuMark] | None = None) -> str:
    """The table: each implementation that claims a GPU, its mark, and what was told or run."""
    by_name = marks() if by_name is None else by_name
    rows = [[f"`{name}`", escaped(mark.text), _about(mark)] for name, mark in by_name.items()]
    return "\n" + table(("implementation", "on a GPU", "what was told, or run"), rows) + "\n"


def _about(mark: GpuMark) -> str:
    """What the record holds of the state that the mark tells."""
    ran, prechecked = mark.record.ran, mark.record.prechecked
    if mark.state == "ran" and ran:
        return escaped(f"{ran[0].ok} ok, of {', '.join(ran[0].suites)}; driver {ran[0].driver}; {ran[0].source}")
    if mark.state != "prechecked" or prechecked is None:
        return ""
    told, unknown = named(prechecked.parts), named(prechecked.unknown)
    said = [*prechecked.architectures, *(f"{part} in part" if part in unknown else part for part in told)]
    untold = ", ".join(part for part in unknown if part not in told)
    missing = f"; not told: {untold}" if untold else ""
    versions = ", ".join(f"{name} {version}" for name, version in prechecked.versions.items())
    return escaped(f"{', '.join(said)}{missing}; {versions}")


def listed(by_name: Mapping[str, GpuMark] | None = None) -> str:
    """The lists: which have run on a GPU, which passed the precheck, and which neither."""
    by_name = marks() if by_name is None else by_name
    ran = [name for name, mark in by_name.items() if mark.record.ran]
    states = {name: mark.state for name, mark in by_name.items()}

    def unrun(*wanted: str) -> list[str]:
        return [name for name in by_name if name not in ran and states[name] in wanted]

    groups = {
        "Has run on a GPU as it is now": [name for name in ran if states[name] == "ran"],
        "Has run on a GPU before its code changed": [name for name in ran if states[name] != "ran"],
        "Passed the precheck as it is now, and has never run": unrun("prechecked"),
        "Passed the precheck before its code changed, and has never run": unrun("changed"),
        "Neither": unrun("never", "unreadable"),
    }
    first = next(iter(groups))
    lines = [f"* {title}: {_names(some, by_name)}." for title, some in groups.items() if some or title == first]
    return "\n" + "\n".join(_wrapped(line) for line in lines) + "\n\n"


def _names(names: Iterable[str], by_name: Mapping[str, GpuMark]) -> str:
    said = [f"`{name}`{_only(by_name[name])}" for name in names]
    return ", ".join(said) or "none"


def _only(mark: GpuMark) -> str:
    """What of a precheck was told, where that is not much."""
    only = mark.short.removeprefix("prechecked").lstrip(": ")
    return f" ({only})" if mark.state == "prechecked" and only else ""


def _wrapped(line: str, width: int = 118) -> str:
    lines: list[str] = []
    words = line.split(" ")
    while words:
        row = words.pop(0) if not lines else f"  {words.pop(0)}"
        while words and len(row) + 1 + len(words[0]) <= width:
            row += f" {words.pop(0)}"
        lines.append(row)
    return "\n".join(lines)


def pages(by_name: Mapping[str, GpuMark] | None = None) -> dict[Path, str]:
    """Both pages as they are to be."""
    return {
        IMPLEMENTATIONS: filled(IMPLEMENTATIONS.read_text("utf-8"), MARKED, marked(by_name)),
        GPU: filled(GPU.read_text("utf-8"), LISTED, listed(by_name)),
    }


def write() -> None:
    """Write both."""
    for page, text in pages().items():
        page.write_text(text, "utf-8")


def untrue(by_name: Mapping[str, GpuMark] | None = None) -> list[str]:
    """The sentences that are to be written anew, since a GPU has run what they are about; and those that are gone."""
    by_name = marks() if by_name is None else by_name
    wrong = []
    for sentence in SENTENCES:
        ran = [name for name, mark in by_name.items() if mark.record.ran and name.startswith(sentence.start)]
        there = sentence.text in " ".join(sentence.file.read_text("utf-8").split())
        if there and ran:
            wrong.append(f"{sentence.file.name}: {sentence.text!r}, and a GPU has run {', '.join(ran)}")
        if not there and not ran:
            wrong.append(f"{sentence.file.name}: {sentence.text!r} is gone, and no GPU has run anything of it")
    return wrong
