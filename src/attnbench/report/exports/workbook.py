"""Excel: a sheet each for the answer, the grid, the cells, the claims and the conditions; the samples if asked for.

Numbers are numbers, with their units in the heads. Texts are texts: none runs as a formula, whatever it begins with.
"""

from __future__ import annotations

import io
import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from attnbench.errors import MissingExtraError, UsageError
from attnbench.report.exports.rows import cell_table
from attnbench.report.glance.grid import FASTEST, TIED, AnswerGrid
from attnbench.results.dataset import load
from attnbench.show.svg import NOT_XML
from attnbench.show.table import visible

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.analysis.judged import JudgedRun
    from attnbench.report.content import RunReport

MOST_ROWS = 1_048_575  # of a sheet of Excel, besides the head
MOST_SIGNS = 32_767  # of a cell of Excel
EXACT = 2**53  # whole numbers beyond lose digits in a spreadsheet
WIDEST = 60
FEWER = "; leave out --samples, or read them with ab.load(RUN, samples=True)"


def require_openpyxl() -> None:
    """Raise ``MissingExtraError`` where openpyxl is not installed."""
    if find_spec("openpyxl") is None:
        raise MissingExtraError("attnbench export --to excel", "excel", "openpyxl")


def workbook(judged: JudgedRun, run: RunReport, *, samples: bool = False) -> bytes:
    """The workbook of a run as the bytes of an .xlsx file. Raises ``UsageError`` where a sheet would be too long."""
    import pandas as pd

    sheets = {"answer": _answer(run), "grid": _grid(run), "cells": cell_table(judged)}
    if judged.verdicts:
        sheets["claims"] = pd.DataFrame(judged.verdicts)
    sheets["conditions"] = _conditions(run)
    if samples:
        sheets["samples"] = load(judged.folder, samples=True)
    for name, sheet in sheets.items():
        if len(sheet) > MOST_ROWS:
            more = FEWER if name == "samples" else "; --to csv has no such end"
            msg = f"the sheet {name} would have {len(sheet):,} rows, and Excel holds {MOST_ROWS:,}{more}"
            raise UsageError(msg)
    file = io.BytesIO()
    with pd.ExcelWriter(file, engine="openpyxl") as writer:
        for name, sheet in sheets.items():
            _safe(sheet).to_excel(writer, sheet_name=name, index=False, freeze_panes=(1, 0))
            _dressed(writer.sheets[name])
    return file.getvalue()


def _answer(run: RunReport) -> pd.DataFrame:
    """For each suite the one sentence, then its kinds of cases with who leads them."""
    import pandas as pd

    heads = ["suite", "kind of case", "cases", "use", "not told apart from it", "how sure"]
    rows = []
    for section in run.sections:
        if section.advice is None:
            rows.append([section.suite, "all", section.counts, None, None, None])
            continue
        rows.append([section.suite, "all", None, section.advice.sentence, None, section.advice.rests_on or None])
        for kind in section.advice.kinds:
            rows += [
                [section.suite, kind.name, "; ".join(each.cases), each.first, ", ".join(each.leaders[1:]), each.sure]
                for each in kind.outcomes
            ]
            if kind.more:
                outcomes = "outcome" if kind.more == 1 else "outcomes"
                rows.append([section.suite, kind.name, f"and {kind.more} more {outcomes}: see the grid"] + [None] * 3)
    return pd.DataFrame(rows, columns=heads)


def _grid(run: RunReport) -> pd.DataFrame:
    """A row for each case: the time of each implementation over the fastest; a status where there is no time."""
    import pandas as pd

    grids = [(section.suite, section.grid) for section in run.sections if section.grid is not None]
    impls = list(dict.fromkeys(impl for _, grid in grids for impl in grid.impls))
    rows = [row for suite, grid in grids for row in _grid_rows(suite, grid, impls)]
    return pd.DataFrame(rows, columns=["suite", "case", "fastest", "tied with it", *impls, "case in full"])


def _grid_rows(suite: str, grid: AnswerGrid, impls: list[str]) -> list[list[Any]]:
    rows = []
    for row in grid.rows:
        cells = {cell.impl: cell for cell in row.cells}
        first = [cell.impl for cell in row.cells if cell.kind in (FASTEST, TIED) and not cell.within]
        tied = [cell.impl for cell in row.cells if cell.kind == TIED and cell.within]
        values = [None if impl not in cells else _ratio(cells[impl].ratio, cells[impl].words) for impl in impls]
        rows.append([suite, row.name, ", ".join(first), ", ".join(tied), *values, row.case])
    return rows


def _ratio(ratio: float | None, words: str) -> float | str | None:
    return ratio if ratio is not None else words or None


def _conditions(run: RunReport) -> pd.DataFrame:
    import pandas as pd

    facts = {"Run": run.info.run_id, **run.conditions, "Cells": run.counts, "Command": run.command}
    machine = [("Machine's id" if label == "Machine" else label, text) for label, text in run.machine.items()]
    rows = [*facts.items(), *machine, *(("Under its budget", sentence) for sentence in run.shortened)]
    rows += [("Left out", ": ".join(row)) for row in run.left_out.rows]
    return pd.DataFrame(rows, columns=["what", "value"])


def _safe(sheet: pd.DataFrame) -> pd.DataFrame:
    """What a spreadsheet can hold: no signs of control, no infinite numbers, no text that would be cut unsaid."""
    return sheet.astype(object).map(_held).rename(columns=lambda name: NOT_XML.sub("\ufffd", visible(name)))


def _held(value: Any) -> Any:
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > EXACT:
        return str(value)
    if not isinstance(value, str):
        return value
    text = NOT_XML.sub("\ufffd", visible(value))
    note = f" … ({len(text):,} characters; all of them are in --to csv)"
    return text if len(text) <= MOST_SIGNS else text[: MOST_SIGNS - len(note)] + note


def _dressed(sheet: Any) -> None:
    """Filters on the head, widths that suit, and every text as text."""
    sheet.auto_filter.ref = sheet.dimensions
    for column in sheet.iter_cols():
        longest = 0
        for cell in column:
            if isinstance(cell.value, str):
                cell.data_type = "s"  # openpyxl takes "=1+1" for a formula and "#N/A" for an error
                cell.quotePrefix = cell.value.startswith(("=", "+", "-", "@"))
            longest = max(longest, len(str("" if cell.value is None else cell.value)))
        sheet.column_dimensions[column[0].column_letter].width = min(longest, WIDEST) + 3
