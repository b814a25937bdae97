"""``attnbench check`` of a drop-in file: what agreed is judged once more, some of it, by a process that never loads it.

The judgement of a case is made where the kernel runs, with all that examining a disagreement needs. Code of a file can
change that judgement. So some cases that agreed, chosen at random and with values drawn anew, are answered once more,
and the answers are judged elsewhere: a case that agreed only in the kernel's own process is ``wrong``.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from attnbench.agree.cases.case_text import case_from_text, case_text
from attnbench.agree.check.boundaries import BoundaryResult
from attnbench.backends import discover
from attnbench.workers.protocol import OK, WRONG, Reply
from attnbench.workers.session import Session, Until, never

if TYPE_CHECKING:
    from attnbench.checking.features import CheckOptions

CHOSEN = 16
OUTSIDE = "outside"
SAID = "it agrees where its own code runs, and not by a judge in another process"


class SecondJudge:
    """A judge for the answers of one implementation. Use it as a context."""

    def __init__(self, impl: str, options: CheckOptions, until: Until = never) -> None:
        self._impl, self._options = impl, options
        self._judge = Session(None, options.timeout_s, until=until)
        self._folder = tempfile.TemporaryDirectory(prefix="attnbench-judge-", ignore_cleanup_errors=True)
        self._secret = secrets.SystemRandom()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._judge.close()
        self._folder.cleanup()

    def wrong(self, case: str, ask: Callable[[str, Any], Reply]) -> str | None:
        """Why the answer to a case is wrong by this judge, ``None`` where it is right or there is none."""
        name, folder = f"case-{self._secret.randrange(2**31)}", self._folder.name
        drawn = self._judge.ask("draw_case", case=case, folder=folder, name=name, seed=self._secret.randrange(2**31))
        answer = ask("answer_case", {**self._options.about(self._impl), "case": case, "folder": folder, "name": name})
        if not drawn.ok or not answer.ok:
            return None  # a refusal or a lost process is told by the row it belongs to
        judged = self._judge.ask("judge_case", folder=folder, name=name, precision=answer.value["precision"])
        for file in Path(folder).iterdir():
            file.unlink(missing_ok=True)
        return f"{SAID}: {judged.reason}" if judged.status == WRONG else None

    def anew(self, case: str) -> str:
        """The same case with other values."""
        return case_text(case_from_text(case).with_problem(seed=self._secret.randrange(2**31)))

    def chosen(self, results: Sequence[BoundaryResult]) -> list[BoundaryResult]:
        """Some of those that agree."""
        agreed = [result for result in results if result.status == OK]
        return self._secret.sample(agreed, min(CHOSEN, len(agreed)))


def judged_outside(
    impl: str,
    options: CheckOptions,
    results: Sequence[BoundaryResult],
    ask: Callable[[str, str, Any], Reply],
    until: Until = never,
) -> list[BoundaryResult]:
    """The results; one that a judge outside finds wrong is a disagreement, its case the one with the new values.

    ``ask`` asks a process of the implementation for a kind of process (``BackendInfo.kind_of``); nothing is asked
    beyond the moment ``until()``.
    """
    if not options.files:
        return list(results)
    judged, info = list(results), discover.backend(impl.partition("/")[0])
    with SecondJudge(impl, options, until) as outside:
        for result in outside.chosen(results):
            case = outside.anew(result.case)
            kind = info.kind_of(case_from_text(case).problem.dtype)
            why = outside.wrong(case, partial(ask, kind))
            if why is not None:
                bad = replace(result, case=case, status=WRONG, fault=OUTSIDE, reason=why, error_ratio=float("inf"))
                judged[judged.index(result)] = bad
    return judged
