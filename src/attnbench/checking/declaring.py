"""Asking a worker which declaration of arithmetic explains the disagreements of a check, before any other cause.

A row has it for its diagnosis where it explains all disagreements of the row. Where it explains only some, the others
are left to be examined: the row then has the fault, the reason and the case of the first that is not explained.
"""

from __future__ import annotations

import math
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


def with_declarations(
    rows: Sequence[CheckRow], impl: str, session: Session, options: CheckOptions, left_s: float = math.inf
) -> list[CheckRow]:
    """The rows, those of ``impl`` with the declaration that explains them, where one is seen in so many seconds."""
    questions = _questions([row for row in rows if row.impl == impl])
    if not questions:
        return list(rows)
    timeout_s = EACH_S * len(questions) + GRACE_S
    each_s = max(0.0, min(EACH_S, left_s / (len(questions) + 1)))
    given = {"disagreements": questions, "deep": options.depth == DEEP, "seconds": each_s}
    reply = session.ask("declare", timeout_s=timeout_s, **options.about(impl), **given)
    if not reply.ok:
        return list(rows)
    return [
        _with_declaration(row, reply.value[row.dtype]) if row.impl == impl and row.dtype in reply.value else row
        for row in rows
    ]


def _questions(rows: Sequence[CheckRow]) -> dict[str, dict[str, list[str]]]:
    """By dtype the cases whose values disagreed, and the rules that held."""
    questions = {}
    for dtype in dict.fromkeys(row.dtype for row in rows):
        of_dtype = [row for row in rows if row.dtype == dtype]
        wrong = [disagreement for row in of_dtype for disagreement in _wrong(row)]
        cases = [disagreement["case"] for disagreement in wrong if disagreement["fault"] in EXPLAINABLE]
        if cases:
            held = [row.feature for row in of_dtype if row.feature in RULES and row.status == "ok"]
            questions[dtype] = {"cases": list(dict.fromkeys(cases)), "held": held}
    return questions


def _wrong(row: CheckRow) -> list[dict[str, str]]:
    """The disagreements of a row that is wrong, each with its case, fault and reason."""
    return row.disagreements or [] if row.status == "wrong" else []


def _with_declaration(row: CheckRow, answer: dict[str, Any]) -> CheckRow:
    """The row with a declaration, if that explains some of its disagreements.

    ``answer`` is the worker's for the row's dtype: the declaration (``told``) and the cases that it explains.
    """
    if row.status != "wrong":
        return row
    declaration: dict[str, str] = answer["told"]
    diagnosis = {"kind": DECLARATION, "evidence": f"{declaration['words']}; {declaration['evidence']}"}
    if row.feature in RULES:
        return replace(row, declaration=declaration, diagnosis=diagnosis) if row.fault in RULES else row
    wrong = _wrong(row)
    unexplained = [item for item in wrong if item["fault"] not in EXPLAINABLE or item["case"] not in answer["cases"]]
    if len(unexplained) == len(wrong):
        return row
    if not unexplained:
        return replace(row, declaration=declaration, diagnosis=diagnosis)
    return replace(row, declaration=declaration, **_columns_of(unexplained[0]))


def _columns_of(disagreement: dict[str, str]) -> dict[str, Any]:
    """The columns of a row that name its first disagreement."""
    case = disagreement["case"]
    where = {"case": case_from_text(case).label(), "failing": case}
    return {"fault": disagreement["fault"], "reason": disagreement["reason"], **where}
