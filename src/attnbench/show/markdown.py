"""Tables in Markdown, and text that is none of its markup."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from attnbench.show.table import visible

MARKUP = (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("_", "\\_"), ("`", "\\`"))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> str:
    """A table, its cells as they are (``escaped`` makes text safe); the columns named in ``right`` stand at the right.

    It ends with a line break.
    """
    rule = ["---:" if head in right else "---" for head in heads]
    return "".join(f"| {' | '.join(line)} |\n" for line in (heads, rule, *rows))


def code(text: str) -> str:
    """Text as code in one line, in a cell too: whatever is in it, it ends neither the code nor the cell."""
    line = visible(text).replace("|", "\\|")
    ticks = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    blank = " " if "`" in line else ""
    return f"{ticks}{blank}{line}{blank}{ticks}"


def escaped(text: str) -> str:
    """Text in one line, with nothing in it that would be markup or end a cell."""
    text = " ".join(text.split())
    for sign, safe in MARKUP:
        text = text.replace(sign, safe)
    return text
