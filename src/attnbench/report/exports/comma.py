"""CSV: one line for each planned cell, numbers in full, by RFC 4180 in UTF-8.

A text that a spreadsheet would take for a formula has an apostrophe before it, which spreadsheets do not show. Numbers
are as they are, and no number is text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attnbench.report.exports.rows import with_standing

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.analysis.judged import JudgedRun

# What a spreadsheet begins a formula with; blanks before it do not stop it.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_of(judged: JudgedRun) -> str:
    """The table; lines end with CRLF."""
    text: str = without_formulas(with_standing(judged)).to_csv(index=False, lineterminator="\r\n")
    return text


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with every text, and every head, such that no spreadsheet takes it for a formula."""
    texts = {name: frame[name].map(harmless) for name in frame.columns if frame[name].dtype.kind not in "biufM"}
    return frame.assign(**texts).rename(columns=harmless)


def harmless(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula; anything else as it is."""
    if isinstance(value, str) and (value.startswith(FORMULA) or value.lstrip().startswith(FORMULA)):
        return f"'{value}"
    return value
