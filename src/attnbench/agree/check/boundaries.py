"""Cases of the plan judged, and what they say put into the rows of the table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.case_text import case_from_text, case_text
from attnbench.agree.cases.coverage import extents, together
from attnbench.agree.cases.features import features_of, put_down
from attnbench.agree.check.refusals import DECLARATION, REFUSED
from attnbench.agree.check.rows import MOST_PAIRS, UNTRIED, CheckRow
from attnbench.agree.judge.selection import SHARE
from attnbench.agree.judge.trial import BLUNT, Trial, largest, trial

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.backends.backend import Backend
    from attnbench.backends.bind import LastBinding
    from attnbench.backends.implementation import Implementation

NO_PLAN = "every boundary, since no case of the plan can be made of what is declared"

SOME_ROWS, SOME_SIZE = 8, 3  # queries and keys, and their size, from which on faults can be told apart


@dataclass(frozen=True)
class BoundaryResult:
    """What one case of the plan showed; ``case`` is its text. Ratios are ``None`` where nothing was compared.

    ``status`` is that of a trial, or ``untried`` with the reason why. ``refused``: the kernel itself did not take it.
    ``forward``: of a disagreement, whether the output disagrees and not gradients alone. ``sequence``: the cases that
    one process was asked up to this one, of what disagrees.
    """

    case: str
    status: str
    error_ratio: float | None = None
    gradient_ratio: float | None = None
    fault: str | None = None
    reason: str | None = None
    forward: bool = True
    refused: bool = False
    sequence: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; an infinite ratio is the string ``"inf"``."""
        return {n: "inf" if isinstance(v, float) and math.isinf(v) else v for n, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> BoundaryResult:
        """The inverse of ``to_dict``."""
        values: dict[str, Any] = {n: math.inf if v == "inf" else v for n, v in data.items()}
        return cls(**{**values, "sequence": tuple(values.get("sequence") or ())})


def judge_case(
    backend: Backend,
    implementation: Implementation,
    text: str,
    device: str = "cpu",
    binding: LastBinding | None = None,
) -> BoundaryResult:
    """Run one case of the plan and judge it; with a ``binding`` cases that differ in values alone share a program."""
    return _result(text, trial(backend, implementation, case_from_text(text), device, binding, SHARE))


def _result(text: str, found: Trial) -> BoundaryResult:
    if found.status == "ok" and not found.tried:
        return BoundaryResult(text, UNTRIED, reason=BLUNT)
    return BoundaryResult(
        text,
        found.status,
        found.forward_ratio,
        found.gradient_ratio,
        found.fault,
        found.reason,
        forward=found.status != "wrong" or any(not one.ok for one in found.forward) or not found.gradients,
        refused=found.refused,
    )


def with_boundaries(
    rows: Sequence[CheckRow], results: Sequence[BoundaryResult], features: Sequence[str] = (), *, gradients: bool
) -> list[CheckRow]:
    """The rows with what the cases of the plan say of each: an agreeing case counts in every row that it is about.

    A disagreement stands in one row (``put_down``), whichever dtype it was seen in. ``features`` are those that were
    asked for, empty for all.
    """
    if not rows or not results:
        return [replace(row, untried={NO_PLAN: 0}) if row.cases else row for row in rows]
    cases = [case_from_text(one.case) for one in results]
    about = [tuple(name for name in features_of(case) if not features or name in features) for case in cases]
    told = put_down([(names, one.status == "wrong") for names, one in zip(about, results, strict=True)])
    new: dict[tuple[str, str], list[int]] = {}
    counted, refused = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    untried: dict[tuple[str, str], Counter[str]] = {}
    for i, case in enumerate(cases):
        wrong = told[i]
        names = about[i] if wrong is None else (wrong,)
        for name in names:
            new.setdefault((name, case.problem.dtype), []).append(i)
        counted[names[0], case.problem.dtype] += results[i].status in ("ok", "wrong")
        refused[names[0], case.problem.dtype] += results[i].refused
        if results[i].status == UNTRIED:
            untried.setdefault((names[0], case.problem.dtype), Counter())[results[i].reason or ""] += 1
    known = {(row.feature, row.dtype): row for row in rows}
    first = rows[0]
    for (name, dtype), places in new.items():
        before = known.get((name, dtype), CheckRow(first.impl, name, dtype, first.device, UNTRIED, 0))
        row = _added(before, [(cases[i], results[i]) for i in places], gradients=gradients)
        sums = before.first_counted + counted[name, dtype], before.refused + refused[name, dtype]
        left = Counter(before.untried or {}) + untried.get((name, dtype), Counter())
        known[name, dtype] = replace(row, counted=sums[0], refused=sums[1], untried=dict(left) or None)
    return _true_of_gradients(list(known.values()), cases, results) if gradients else list(known.values())


def _true_of_gradients(
    rows: list[CheckRow], cases: Sequence[Case], results: Sequence[BoundaryResult]
) -> list[CheckRow]:
    """Where the kernel refused every gradient, in every dtype, the first row says that it declares them falsely."""
    backward = [i for i, case in enumerate(cases) if case.gradients]
    refused = [i for i in backward if results[i].refused]
    taken = any(results[i].status in ("ok", "wrong") for i in backward)
    if taken or not refused or any(row.gradient_ratio is not None for row in rows):
        return rows
    case, words = cases[refused[0]], results[refused[0]].reason
    why = f"declares gradients, and refuses each of the {len(refused)} cases that want them: {words}; "
    why += "to declare that: leave vjp= and gradients=True out"
    place = next(i for i, row in enumerate(rows) if row.dtype == case.problem.dtype)
    found = replace(rows[place], status="wrong", fault=DECLARATION, reason=why, case=case.label())
    return [*rows[:place], found, *rows[place + 1 :]]


def _added(row: CheckRow, found: Sequence[tuple[Case, BoundaryResult]], *, gradients: bool) -> CheckRow:
    """A row with more cases."""
    judged = [(case, one) for case, one in found if one.status in ("ok", "wrong")]
    status = "ok" if judged and row.status in ("unsupported", UNTRIED) else row.status
    if status == UNTRIED and any(one.status == "unsupported" for _, one in found):
        status = "unsupported"
    row = replace(
        row,
        status=status,
        reason=row.reason if status != "ok" else None,
        cases=row.cases + len(judged),
        asked=row.asked + len(found),
        left_out=_counted(row.left_out, found, "unsupported"),
        covered=together(row.covered or {}, extents(case for case, _ in judged)) or None,
        error_ratio=largest((row.error_ratio, *(one.error_ratio for _, one in judged))),
        gradient_ratio=largest((row.gradient_ratio, *(one.gradient_ratio for _, one in judged))),
        gradients=None if gradients else "not offered",
    )
    words = next((one.reason for _, one in found if one.refused), None)
    if words and not row.cases and row.status != "wrong":
        why = f"is declared, and the kernel refused every case: {words}"
        return replace(row, status="wrong", fault=DECLARATION, reason=why, case=found[0][0].label())
    wrong = [(case, one) for case, one in judged if one.status == "wrong"]
    told = [{"case": one.case, "fault": one.fault or "", "reason": one.reason or ""} for _, one in wrong]
    row = replace(row, disagreements=[*(row.disagreements or []), *told] or None)
    if not wrong or row.status == "wrong":
        return row
    case, one = max(wrong, key=lambda pair: _telling(*pair))
    row = replace(row, status="wrong", fault=one.fault, reason=one.reason, case=case.label(), failing=case_text(case))
    return replace(row, sequence=list(one.sequence) or None)


def _counted(
    before: dict[str, int] | None, found: Sequence[tuple[Case, BoundaryResult]], status: str
) -> dict[str, int] | None:
    """How many cases have a status, by the reason."""
    counts = Counter(before or {})
    for _, one in found:
        if one.status == status:
            counts[_as_told(one, before or {})] += 1
    return dict(counts) or None


def _as_told(one: BoundaryResult, before: Iterable[str]) -> str:
    """The reason, for a refusal in the words of the row's own cases, where the kernel has said the same."""
    words = f"{REFUSED}{one.reason}"
    return next((told for told in before if told.startswith(words)), words) if one.refused else one.reason or ""


def _telling(case: Case, one: BoundaryResult) -> tuple[bool, bool, bool, int]:
    """The easiest to diagnose: a disagreement of the output, of some size, with few features beside it, and small.

    Where hardly a key is there, or hardly a number in each, most faults look alike.
    """
    p = case.problem
    pairs, some = p.B * p.Hq * p.Tq * p.S, min(p.Tq, p.S) >= SOME_ROWS and p.D >= SOME_SIZE
    return one.forward, pairs <= MOST_PAIRS, some, -len(features_of(case)) * 100_000 - pairs
