"""The answer of a call that was not timed: judged, unless it is one that was right; and who hands none out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnbench.attention.oracle import reference
from attnbench.attention.precision import Precision, default_precision
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.bind import inputs_of
from attnbench.backends.shelf import put
from attnbench.measure.audits import judging
from attnbench.measure.audits.auditor import Auditor
from attnbench.measure.audits.judging import HOT, Judging
from attnbench.suite import Cell
from attnbench.workers.protocol import NOTHING_KEPT, Reply

CELL = Cell("audits", {}, Case(AttentionSpec(), Problem(Tq=16, S=32, D=8, dtype="float32")), "numpy/naive")
STRICT, LOOSE = asdict(default_precision("float32")), asdict(Precision(p_cast="bfloat16"))


def right() -> np.ndarray[Any, np.dtype[Any]]:
    assert CELL.case is not None
    inputs = inputs_of(CELL.case)
    return reference(*inputs.qkv, inputs.call).output.astype(np.float32)


@pytest.fixture
def judge(tmp_path: Path) -> Judging:
    made = Judging()
    assert made.draw(CELL.to_dict(), str(tmp_path), seed=1, groups=0)[0] == "ok"
    return made


def judged(judge: Judging, folder: Path, precision: dict[str, Any] = STRICT) -> tuple[str, bool]:
    """What the judge says, and whether it knows the answer as right then."""
    status, _, _ = judge.judge_answers(CELL.id, str(folder), [["last", HOT]], precision, [])
    return status, judge.was_right(CELL.id, str(folder), "last", precision)[2]["times"]


def test_an_answer_is_known_once_it_was_right_by_the_same_precision(judge: Judging, tmp_path: Path) -> None:
    put(tmp_path / "last", {"output": right() * np.float32(1.001)})
    assert judged(judge, tmp_path) == ("wrong", False)
    assert judged(judge, tmp_path, LOOSE) == ("ok", True)
    assert judged(judge, tmp_path) == ("wrong", False)
    put(tmp_path / "last", {"output": right()})
    assert not judge.was_right(CELL.id, str(tmp_path), "last", STRICT)[2]["times"]
    assert judged(judge, tmp_path) == ("ok", True)
    assert not judge.was_right("another cell", str(tmp_path), "last", STRICT)[2]["times"]
    assert not judge.was_right(CELL.id, str(tmp_path), "no file", STRICT)[2]["times"]


def test_a_file_that_is_changed_while_it_is_judged_is_not_known(
    judge: Judging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "last", {"output": right()})
    usual = judging._judged

    def swap(*given: Any, **how: Any) -> Any:
        put(tmp_path / "last", {"output": np.zeros_like(right())})
        return usual(*given, **how)

    monkeypatch.setattr(judging, "_judged", swap)
    assert judged(judge, tmp_path) == ("ok", False)


@pytest.fixture
def auditor() -> Iterator[Auditor]:
    with Auditor(60.0) as made:
        yield made


def answered(auditor: Auditor, reply: Reply, output: np.ndarray[Any, np.dtype[Any]]) -> Reply | None:
    def ask(op: str, /, folder: str, name: str) -> Reply:
        assert op == "answer"
        put(Path(folder) / name, {"output": output})
        return reply

    return auditor.answered(CELL, STRICT, ask)


def test_who_answers_wrongly_or_not_at_all_is_ended(auditor: Auditor) -> None:
    ok = Reply(0, "ok")
    assert answered(auditor, ok, right()) is None
    wrong = answered(auditor, ok, 0 * right())
    assert wrong is not None
    assert (wrong.status, str(wrong.reason).startswith("where its memory was measured: output: is 0")) == (
        "wrong",
        True,
    )
    assert answered(auditor, ok, right()) is None
    gone = Reply(0, "crashed", "the worker is gone")
    assert answered(auditor, gone, right()) == gone
    assert answered(auditor, Reply(0, "crashed", f"AttnbenchError: {NOTHING_KEPT}"), right()) is None
