"""Asking a worker which declaration of arithmetic explains the disagreements of a check, before any other cause.

Rows of which it explains everything have it for their diagnosis. Of rows of which it explains a part the rest is left
to be examined: their fault, reason and case are those of the first case that is not explained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.by_feature import RULES
from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.cases.plan import DEEP
from attnbench.agree.check.rows import CheckRow
from attnbench.agree.declare.offer import EXPLAINABLE

if TYPE_CHECKING:
    from attnbench.checking.features import CheckOptions
    from attnbench.workers.session import Session

EACH_S = 60.0  # for one dtype; a framework that compiles needs them, others some seconds
GRACE_S = 30.0
DECLARATION = "declaration"


def with_declarations(rows: Sequence[CheckRow], impl: str, session: Session, options: CheckOptions) -> list[CheckRow]:
    """The rows, those of ``impl`` with the declaration that explains them, where there is one."""
    asked = _questions([row for row in rows if row.impl == impl])
    if not asked:
        return list(rows)
    timeout_s = EACH_S * len(asked) + GRACE_S
    given = {"asked": asked, "deep": options.depth == DEEP, "seconds": EACH_S}
    reply = session.ask("declare", timeout_s=timeout_s, **options.about(impl), **given)
    if not reply.ok:
        return list(rows)
    return [
        _told(row, **reply.value[row.dtype]) if row.impl == impl and row.dtype in reply.value else row for row in rows
    ]


def _questions(rows: Sequence[CheckRow]) -> dict[str, dict[str, list[str]]]:
    """By dtype the cases whose values disagreed, and the rules that held."""
    found = {}
    for dtype in dict.fromkeys(row.dtype for row in rows):
        own = [row for row in rows if row.dtype == dtype]
        cases = [one["case"] for row in own for one in _wrong(row) if one["fault"] in EXPLAINABLE]
        if cases:
            held = [row.feature for row in own if row.feature in RULES and row.status == "ok"]
            found[dtype] = {"cases": list(dict.fromkeys(cases)), "held": held}
    return found


def _wrong(row: CheckRow) -> list[dict[str, str]]:
    return row.disagreements or [] if row.status == "wrong" else []


def _told(row: CheckRow, told: dict[str, str], cases: Sequence[str]) -> CheckRow:
    """The row with a declaration, if it explains some of its disagreements: ``cases`` are those that it explains."""
    if row.status != "wrong":
        return row
    diagnosis = {"kind": DECLARATION, "evidence": f"{told['words']}; {told['evidence']}"}
    if row.feature in RULES:
        return replace(row, declaration=told, diagnosis=diagnosis) if row.fault in RULES else row
    wrong = _wrong(row)
    others = [one for one in wrong if one["fault"] not in EXPLAINABLE or one["case"] not in cases]
    if len(others) == len(wrong):
        return row
    if not others:
        return replace(row, declaration=told, diagnosis=diagnosis)
    return replace(row, declaration=told, **_of(others[0]))


def _of(disagreement: dict[str, str]) -> dict[str, Any]:
    """The columns of a row that name its first disagreement."""
    case = disagreement["case"]
    where = {"case": case_from_text(case).label(), "failing": case}
    return {"fault": disagreement["fault"], "reason": disagreement["reason"], **where}
