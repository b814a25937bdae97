"""What a sentence of an analysis says, whatever its wording: its numbers, its names, and the words of its verdict."""

import re
from collections.abc import Iterable


def says(text: str, *parts: str) -> bool:
    """Whether these parts stand in the text, in this order; a number is whole: 0.5 is not in 10.5, -0.5 or 0.55."""
    assert parts, "nothing is asked for"
    assert all(parts), "an empty part stands in every text"
    return re.search(".*?".join(_whole(part) for part in parts), text, re.DOTALL) is not None


def any_says(sentences: Iterable[str], *parts: str) -> bool:
    """Whether one of the sentences holds all these parts, in this order."""
    return any(says(sentence, *parts) for sentence in sentences)


def _whole(part: str) -> str:
    before = r"(?<![\d.-])" if part[0].isdigit() else ""
    after = r"(?!\.?\d)" if part[-1].isdigit() else ""
    return before + re.escape(part) + after
