"""Tables in Markdown, and text that is none of its markup."""

from __future__ import annotations

from collections.abc import Collection, Sequence

MARKUP = (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("_", "\\_"), ("`", "\\`"))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> str:
    """A table, its cells as they are (``escaped`` makes text safe); the columns named in ``right`` stand at the right.

    It ends with a line break.
    """
    rule = ["---:" if head in right else "---" for head in heads]
    return "".join(f"| {' | '.join(line)} |\n" for line in (heads, rule, *rows))


def escaped(text: str) -> str:
    """Text in one line, with nothing in it that would be markup or end a cell."""
    text = " ".join(text.split())
    for sign, safe in MARKUP:
        text = text.replace(sign, safe)
    return text
