"""``verdicts.parquet`` of a run folder: one row for each published claim that a suite of the run speaks of."""

from __future__ import annotations

from pathlib import Path

from attnbench.analysis.judged import COUNTS, VERDICTS_FILE, JudgedRun
from attnbench.results.store import write_whole

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
    frame = pd.DataFrame(judged.verdicts)
    frame = frame.astype({name: "Int64" for name in COUNTS if frame[name].isna().any()})
    write_whole(path, frame.to_parquet(index=False))
    return path
