"""``check`` of a file that changes the judge in its own process."""

from __future__ import annotations

from pathlib import Path

from attnbench.checking.examining import check_given, examined
from attnbench.checking.features import CheckOptions, check
from attnbench.checking.judged_outside import OUTSIDE

PATCHED = """
import numpy as np
from attnbench.api import Capabilities, implementation
import attnbench.agree.judge.array as judge
import attnbench.agree.judge.selection as selection

def always(tensor, got, expected, bound, dtype, above=None):
    return judge.Judgement(tensor, 0.3)

selection.judge = always

@implementation("numpy/patched", Capabilities(dtypes=("float32",)))
def attend(q, k, v, call):
    return np.zeros(q.shape[:3] + v.shape[3:], q.dtype)
"""
RIGHT = """
import numpy as np
from attnbench.api import Capabilities, implementation

@implementation("numpy/right", Capabilities(dtypes=("float32",)))
def attend(q, k, v, call):
    scores = q @ np.swapaxes(k, -1, -2) * np.float32(call.scale)
    terms = np.exp(scores - scores.max(-1, keepdims=True))
    return (terms / terms.sum(-1, keepdims=True)) @ v
"""


def options(tmp_path: Path, name: str, text: str) -> CheckOptions:
    file = tmp_path / "mine.py"
    file.write_text(text)
    return CheckOptions([name], [str(file)], dtypes=["float32"], features=["sizes"])


def test_who_agrees_in_its_own_process_alone_is_wrong(tmp_path: Path) -> None:
    given = options(tmp_path, "numpy/patched", PATCHED)
    rows = examined(check(given), given)
    assert {(row.status, row.fault) for row in rows} == {("wrong", OUTSIDE)}
    assert all("not by a judge in another process" in (row.reason or "") for row in rows)
    assert all(row.diagnosis is not None and row.diagnosis["kind"] == OUTSIDE for row in rows)
    # The command that shows it again does: the case is judged outside too.
    again = check_given(given, [rows[0].failing or ""])
    assert [(row.status, row.fault) for row in again] == [("wrong", OUTSIDE)]


def test_who_is_right_is_right_everywhere(tmp_path: Path) -> None:
    given = options(tmp_path, "numpy/right", RIGHT)
    assert {row.status for row in check(given)} == {"ok"}
    assert [row.status for row in check_given(given, ["Tq=5 dtype=float32"])] == ["ok"]
