"""``verdicts.parquet`` of a run folder: one row for each published claim that a suite of the run speaks of."""

from __future__ import annotations

from pathlib import Path

from attnbench.analysis.judged import VERDICTS_FILE, JudgedRun

FILE = VERDICTS_FILE


def write_verdicts(judged: JudgedRun) -> Path | None:
    """Write ``verdicts.parquet``; ``None`` where no suite of the run speaks of a claim.

    Raises what kept a suite from being judged: a file without its verdicts would look whole.
    """
    import pandas as pd

    for suite in judged.suites:
        if suite.failure is not None:
            raise suite.failure
    if not judged.verdicts:
        return None
    path = judged.folder / FILE
    pd.DataFrame(judged.verdicts).to_parquet(path, index=False)
    return path
