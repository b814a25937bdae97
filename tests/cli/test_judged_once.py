"""A finished run is read once and judged once, whoever shows the rows and the verdicts; so is a report of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from attnbench.analysis import claims
from attnbench.results import dataset
from tests.program import Cli

# Two head sizes beyond those of the smoke tier, so that there are verdicts, and one implementation.
SMALL = ("score-variance", "-a", "d=4,16", "-a", "distribution=normal", "--impl", "numpy/naive")
ONCE = Counter({"frame": 1, "variance-grows-as-d": 1, "scale-holds-variance": 1})


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the rows of a run were read into a frame, and each claim was judged, in this process."""
    found: Counter[str] = Counter()
    read_run, judge = vars(dataset)["read_run"], claims.judge

    def counting_read(*given: Any) -> Any:
        found["frame"] += 1
        return read_run(*given)

    def counting_judge(claim_id: str, *given: Any) -> claims.ClaimVerdict:
        found[claim_id] += 1
        return judge(claim_id, *given)

    monkeypatch.setattr(dataset, "read_run", counting_read)
    monkeypatch.setattr(claims, "judge", counting_judge)
    return found


def test_a_run_is_read_once_and_judged_once_and_so_is_its_report(
    cli: Cli, counted: Counter[str], tmp_path: Path
) -> None:
    done = cli("run", *SMALL)
    assert done.code == 0, done.err
    assert counted == ONCE
    (folder,) = (tmp_path / "results").iterdir()
    kept = pd.read_parquet(folder / "verdicts.parquet")
    shown = pd.read_csv(tmp_path / "reports" / folder.name / "verdicts.csv")
    assert kept["verdict"].tolist() == shown["verdict"].tolist() == ["reproduced", "reproduced"]
    assert "numpy/naive" in done.out
    before = (tmp_path / "reports" / folder.name / "index.html").read_bytes()
    counted.clear()
    assert cli("report", folder).code == 0
    assert counted == ONCE
    assert (tmp_path / "reports" / folder.name / "index.html").read_bytes() == before
