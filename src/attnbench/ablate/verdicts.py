"""``verdicts.parquet`` of a run folder: one row for each published claim that a suite of the run speaks of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.results.frames import own_columns

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.suite import Suite

FILE = "verdicts.parquet"


def verdict_rows(frame: pd.DataFrame, find_suite: Callable[[str], Suite]) -> list[dict[str, Any]]:
    """The rows of all suites in a run's frame, in their order: ``suite`` and the columns of ``ClaimVerdict.row``."""
    return [
        {"suite": str(name), **row}
        for name, rows in frame.groupby("suite", sort=False)
        for row in find_suite(str(name)).judged(own_columns(rows))
    ]


def write_verdicts(folder: Path, frame: pd.DataFrame, find_suite: Callable[[str], Suite]) -> Path | None:
    """Write ``verdicts.parquet``; ``None`` where no suite of the run speaks of a claim."""
    import pandas as pd

    rows = verdict_rows(frame, find_suite)
    if not rows:
        return None
    path = folder / FILE
    pd.DataFrame(rows).to_parquet(path, index=False)
    return path
