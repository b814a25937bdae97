"""Cases of the plan judged, and what they say put into the rows of the table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.case_text import case_from_text, case_text
from attnbench.agree.cases.coverage import extents, together
from attnbench.agree.cases.features import features_of, put_down
from attnbench.agree.check.refusals import DECLARATION, REFUSED
from attnbench.agree.check.rows import MOST_PAIRS, UNTRIED, CheckRow
from attnbench.agree.judge.selection import SHARE
from attnbench.agree.judge.trial import BLUNT, Trial, largest, trial
from attnbench.show import finite

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
    Of a disagreement, ``forward`` says whether the output disagrees and not gradients alone, and ``sequence`` has the
    cases that the process was asked, this one last.
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
        return finite.to_record(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> BoundaryResult:
        """The inverse of ``to_dict``."""
        values = finite.from_record(data)
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


def _result(text: str, judged: Trial) -> BoundaryResult:
    if judged.status == "ok" and not judged.tried:
        return BoundaryResult(text, UNTRIED, reason=BLUNT)
    return BoundaryResult(
        text,
        judged.status,
        judged.forward_ratio,
        judged.gradient_ratio,
        judged.fault,
        judged.reason,
        forward=judged.status != "wrong" or not all(array.ok for array in judged.forward) or not judged.gradients,
        refused=judged.refused,
    )


def with_boundaries(
    rows: Sequence[CheckRow],
    results: Sequence[BoundaryResult],
    features: Sequence[str] = (),
    *,
    gradients: bool,
    unlisted: str | None = None,
) -> list[CheckRow]:
    """The rows with what the cases of the plan say of each: an agreeing case counts in every row that it is about.

    A disagreement stands in one row (``put_down``), whichever dtype it was seen in. ``features`` are those that were
    asked for, empty for all. ``unlisted`` says why nobody knows all cases of the plan, where that is so.
    """
    if unlisted and rows:
        every = with_boundaries(rows, results, features, gradients=gradients) if results else list(rows)
        return [replace(every[0], untried={**(every[0].untried or {}), unlisted: 0}), *every[1:]]
    if not rows or not results:
        return [replace(row, untried={NO_PLAN: 0}) if row.cases else row for row in rows]
    cases = [case_from_text(result.case) for result in results]
    about = [tuple(name for name in features_of(case) if not features or name in features) for case in cases]
    blamed = put_down([(names, result.status == "wrong") for names, result in zip(about, results, strict=True)])
    shares: dict[tuple[str, str], _Share] = defaultdict(_Share)
    for case, result, names, wrong in zip(cases, results, about, blamed, strict=True):
        counts_in = names if wrong is None else (wrong,)
        for name in counts_in:
            shares[name, case.problem.dtype].results.append((case, result))
        shares[counts_in[0], case.problem.dtype].count(result)
    known = {(row.feature, row.dtype): row for row in rows}
    first = rows[0]
    for (name, dtype), share in shares.items():
        before = known.get((name, dtype), CheckRow(first.impl, name, dtype, first.device, UNTRIED, 0))
        row = _added(before, share.results, gradients=gradients)
        left = Counter(before.untried or {}) + share.untried
        known[name, dtype] = replace(
            row,
            counted=before.first_counted + share.counted,
            refused=before.refused + share.refused,
            untried=dict(left) or None,
        )
    return _true_of_gradients(list(known.values()), cases, results) if gradients else list(known.values())


@dataclass
class _Share:
    """What the plan adds to one row: the cases about it, and sums over those that no earlier row has counted."""

    results: list[tuple[Case, BoundaryResult]] = field(default_factory=list)
    counted: int = 0
    refused: int = 0
    untried: Counter[str] = field(default_factory=Counter)

    def count(self, result: BoundaryResult) -> None:
        """Add a case to the sums."""
        self.counted += result.status in ("ok", "wrong")
        self.refused += result.refused
        if result.status == UNTRIED:
            self.untried[result.reason or ""] += 1


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
    declared_falsely = replace(rows[place], status="wrong", fault=DECLARATION, reason=why, case=case.label())
    return [*rows[:place], declared_falsely, *rows[place + 1 :]]


def _added(row: CheckRow, results: Sequence[tuple[Case, BoundaryResult]], *, gradients: bool) -> CheckRow:
    """A row with more cases."""
    judged = [(case, result) for case, result in results if result.status in ("ok", "wrong")]
    status = "ok" if judged and row.status in ("unsupported", UNTRIED) else row.status
    if status == UNTRIED and any(result.status == "unsupported" for _, result in results):
        status = "unsupported"
    row = replace(
        row,
        status=status,
        reason=row.reason if status != "ok" else None,
        cases=row.cases + len(judged),
        asked=row.asked + len(results),
        left_out=_counted(row.left_out, results, "unsupported"),
        covered=together(row.covered or {}, extents(case for case, _ in judged)) or None,
        error_ratio=largest((row.error_ratio, *(result.error_ratio for _, result in judged))),
        gradient_ratio=largest((row.gradient_ratio, *(result.gradient_ratio for _, result in judged))),
        gradients=None if gradients else "not offered",
    )
    words = next((result.reason for _, result in results if result.refused), None)
    if words and not row.cases and row.status != "wrong":
        why = f"is declared, and the kernel refused every case: {words}"
        return replace(row, status="wrong", fault=DECLARATION, reason=why, case=results[0][0].label())
    wrong = [(case, result) for case, result in judged if result.status == "wrong"]
    new = [{"case": result.case, "fault": result.fault or "", "reason": result.reason or ""} for _, result in wrong]
    row = replace(row, disagreements=[*(row.disagreements or []), *new] or None)
    if not wrong or row.status == "wrong":
        return row
    case, result = max(wrong, key=lambda pair: _telling(*pair))
    row = replace(row, status="wrong", fault=result.fault, reason=result.reason, case=case.label())
    return replace(row, failing=case_text(case), sequence=list(result.sequence) or None)


def _counted(
    before: dict[str, int] | None, results: Sequence[tuple[Case, BoundaryResult]], status: str
) -> dict[str, int] | None:
    """How many cases have a status, by the reason."""
    counts = Counter(before or {})
    for _, result in results:
        if result.status == status:
            counts[_as_told(result, before or {})] += 1
    return dict(counts) or None


def _as_told(result: BoundaryResult, before: Iterable[str]) -> str:
    """The reason of a case. For a refusal: as the row's own cases have it already, where the kernel said the same."""
    if not result.refused:
        return result.reason or ""
    words = f"{REFUSED}{result.reason}"
    return next((reason for reason in before if reason.startswith(words)), words)


def _telling(case: Case, result: BoundaryResult) -> tuple[bool, bool, bool, int]:
    """How easy a disagreement is to diagnose, the largest first: one of the output, with few features, and small.

    But not too small: with hardly a key, or hardly a number in each, most faults look alike.
    """
    p = case.problem
    pairs, some = p.B * p.Hq * p.Tq * p.S, min(p.Tq, p.S) >= SOME_ROWS and p.D >= SOME_SIZE
    return result.forward, pairs <= MOST_PAIRS, some, -len(features_of(case)) * 100_000 - pairs
