"""``attnbench check``: one implementation on every feature and dtype, as a table that can fail.

Runs in the process that holds the framework. One row per feature and dtype: what was asked, what came out, by how
much, and for a disagreement the smallest command that shows it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.by_feature import FEATURES, FULL_DTYPE, REPEATABLE, ROWS, RULES, CheckCase, check_cases
from attnbench.agree.cases.case_text import case_text
from attnbench.agree.cases.coverage import extents
from attnbench.agree.check.refusals import DECLARATION, REFUSED, Refusals, false_declaration, why_left_out
from attnbench.agree.check.repeatable import repeatable
from attnbench.agree.check.words import FLUSHED_BY, PROBED
from attnbench.agree.judge.arithmetic import flushed_by, held
from attnbench.agree.judge.trial import BLUNT, Trial, largest, trial
from attnbench.agree.rules.rows import applies, ruling
from attnbench.attention.precision import DTYPES
from attnbench.backends.fitted import fitted, offered
from attnbench.errors import UndeliveredError, UnsupportedError, is_refusal, refusal_of
from attnbench.show import finite

UNTRIED = "untried"
MOST_PAIRS = 1 << 16  # query-key pairs up to which a larger case is the better one to diagnose

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation


@dataclass(frozen=True)
class CheckRow:
    """One feature of one implementation in one dtype.

    ``status`` is ``ok``, ``wrong``, ``unsupported`` or ``untried``; ``error_ratio`` and ``gradient_ratio`` are the
    largest error over its bound, forward and backward, ``None`` where nothing was compared; ``reason`` is the first
    disagreement or why the feature is not supported; ``case`` the case of that disagreement. ``failing`` is the most
    telling of the disagreeing cases as ``--case`` takes it; from it come ``diagnosis`` (kind and evidence),
    ``smallest_case`` (one case, or a sequence where it takes an earlier call) and ``condition``, the sizes of it that
    were seen to be wrong. ``again`` is the command that shows it.

    ``cases`` of ``asked`` were compared; ``left_out`` counts the others by the reason why they are not supported.
    ``refused`` of these are declared, and the kernel itself did not take them; if it takes none of a row, the row is
    ``wrong`` with the fault ``declaration``. ``answer`` is ``yes`` or ``no`` in the rows that ask a question
    (``deterministic``, ``batch_invariant``), which are not ``wrong`` by themselves.
    ``declared`` is what the implementation declares of its arithmetic that is not the default, and so moves its bound.

    ``counted`` are those of the cases that no earlier row has counted: a case of the plan is about several rows.
    ``covered`` has the smallest and the largest of each size and of the offset. ``untried`` counts cases by the reason
    why they were not tried, or say nothing; a case of the plan is counted once there too, in its first row.

    ``sequence`` are the cases that one process was asked, ``failing`` last: some faults need what came before.
    ``disagreements`` are all cases that disagreed, each with ``case`` (as ``--case`` takes it), ``fault``, ``reason``.
    ``declaration`` would explain those whose values disagree: ``words``, ``evidence``, and the ``line`` to write.
    """

    impl: str
    feature: str
    dtype: str
    device: str
    status: str
    cases: int
    error_ratio: float | None = None
    gradient_ratio: float | None = None
    gradients: str | None = None
    fault: str | None = None
    reason: str | None = None
    case: str | None = None
    failing: str | None = None
    diagnosis: dict[str, str] | None = None
    smallest_case: list[str] | None = None
    condition: str | None = None
    again: str | None = None
    asked: int = 0
    left_out: dict[str, int] | None = None
    declared: dict[str, Any] | None = None
    refused: int = 0
    answer: str | None = None
    disagreements: list[dict[str, str]] | None = None
    declaration: dict[str, str] | None = None
    counted: int | None = None
    covered: dict[str, tuple[int, int]] | None = None
    untried: dict[str, int] | None = None
    sequence: list[str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; an infinite ratio (an exact property failed) is the string ``"inf"``."""
        return finite.to_record(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CheckRow:
        """The inverse of ``to_dict``."""
        values = finite.from_record(data)
        if values.get("covered"):
            values["covered"] = {name: (least, most) for name, (least, most) in values["covered"].items()}
        return cls(**values)

    @property
    def first_counted(self) -> int:
        """The cases that count towards the sum over all rows."""
        return self.cases if self.counted is None else self.counted


def plan_rows(
    implementation: Implementation,
    dtypes: Sequence[str],
    features: Sequence[str],
    device: str,
    *,
    sparing: bool = False,
) -> list[tuple[str, str]]:
    """The (feature, dtype) pairs to check.

    A dtype that is not declared is one pair, with the feature ``dtype``; so is a device, with the dtype ``all``.
    ``sparing``: where every case is compiled, features have cases of their own in one dtype, and in the others those of
    the plan of boundaries.
    """
    if device not in implementation.capabilities_on(device).devices:
        return [("device", "all")]
    declared = implementation.capabilities_on(device).dtypes
    chosen = [feature for feature in ROWS if not features or feature in features]
    pairs = [(feature, dtype) for dtype in dtypes if dtype in declared for feature in chosen]
    pairs = [(feature, dtype) for feature, dtype in pairs if feature not in RULES or applies(feature, dtype)]
    if sparing:
        alone = FULL_DTYPE if FULL_DTYPE in declared and FULL_DTYPE in dtypes else next(iter(dtypes), "")
        pairs = [(feature, dtype) for feature, dtype in pairs if dtype == alone or feature not in FEATURES]
    return pairs + [("dtype", dtype) for dtype in dtypes if dtype not in declared]


def check_feature(
    backend: Backend,
    implementation: Implementation,
    feature: str,
    dtype: str,
    device: str = "cpu",
    *,
    deep: bool = False,
) -> CheckRow:
    """Check one feature in one dtype: one row."""
    if feature == "device":
        why = f"does not run on {device}, only on {', '.join(implementation.capabilities.devices)}"
        return CheckRow(implementation.name, feature, dtype, device, "unsupported", 0, reason=why)
    if feature in RULES:
        row = _rule_row(backend, implementation, feature, dtype, device, deep=deep)
        return replace(row, asked=row.cases, declared=_declared(implementation, dtype, device))
    if feature in REPEATABLE:
        return _repeatable_row(backend, implementation, feature, dtype, device)
    wanted = FEATURES[0] if feature == "dtype" else feature
    cases = [check_case for check_case in check_cases(dtype, deep=deep) if check_case.feature == wanted]
    cases = _fitted(implementation, cases, device)
    trials = [(check_case, _trial(backend, implementation, check_case, device)) for check_case in cases]
    if not deep and any(t.refused for _, t in trials):
        trials += _others(backend, implementation, wanted, dtype, device, set(cases))
    return _judged(_row(implementation, feature, dtype, device, trials), backend, implementation, trials)


def check_cases_given(
    backend: Backend, implementation: Implementation, cases: Sequence[CheckCase], device: str = "cpu"
) -> CheckRow:
    """Check cases of one feature and dtype that were given: one row."""
    trials = [(check_case, _trial(backend, implementation, check_case, device)) for check_case in cases]
    return _row(implementation, cases[0].feature, cases[0].case.problem.dtype, device, trials)


def check_implementation(
    backend: Backend,
    implementation: Implementation,
    dtypes: Sequence[str] = DTYPES,
    features: Sequence[str] = (),
    device: str = "cpu",
    *,
    deep: bool = False,
) -> list[CheckRow]:
    """Check every feature (or those named) in every dtype, in this process."""
    pairs = plan_rows(implementation, dtypes, features, device)
    return [check_feature(backend, implementation, feature, dtype, device, deep=deep) for feature, dtype in pairs]


def first_disagreement(
    backend: Backend,
    implementation: Implementation,
    dtype: str,
    telling: Sequence[str] = (),
    device: str = "cpu",
    *,
    deep: bool = False,
) -> tuple[CheckCase, Trial] | None:
    """The first of the cases in one dtype that disagrees, or ``None``; the features in ``telling`` are tried first.

    The cases are those of ``check_implementation``, but nothing is tried behind the first disagreement.
    """
    cases = _fitted(implementation, check_cases(dtype, deep=deep), device)
    order = {feature: i for i, feature in enumerate(telling)}
    for check_case in sorted(cases, key=lambda check_case: order.get(check_case.feature, len(order))):
        judged = _trial(backend, implementation, check_case, device)
        if judged.status == "wrong":
            return check_case, judged
    return None


def _declared(implementation: Implementation, dtype: str, device: str) -> dict[str, Any]:
    held_to = held(implementation, dtype, device)
    declared = held_to.precision.beyond_default(dtype)
    backend = flushed_by(implementation, dtype, device)
    if backend and not implementation.capabilities_on(device).precision_of(dtype).flush:
        declared = {name: value for name, value in declared.items() if name != "flush"} | {FLUSHED_BY: backend}
    return declared | ({PROBED: held_to.probed} if held_to.probed else {})


def _rule_row(
    backend: Backend, implementation: Implementation, rule: str, dtype: str, device: str, *, deep: bool
) -> CheckRow:
    row = CheckRow(implementation.name, rule, dtype, device, "ok", 1)
    try:
        ruled = ruling(rule, backend, implementation, dtype, device, deep=deep)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  (a kernel may raise anything)
        return _not_ruled(row, error)
    row = replace(row, cases=ruled.cases, error_ratio=ruled.error_ratio, gradient_ratio=ruled.gradient_ratio)
    return row if ruled.ok else replace(row, status="wrong", fault=rule, reason=ruled.reason, case=ruled.case)


def _others(
    backend: Backend, implementation: Implementation, feature: str, dtype: str, device: str, tried: set[CheckCase]
) -> list[tuple[CheckCase, Trial]]:
    """The cases of a feature that were not tried yet, judged: where a kernel refuses some, they show what it takes."""
    every = [check_case for check_case in check_cases(dtype, deep=True) if check_case.feature == feature]
    rest = [check_case for check_case in _fitted(implementation, every, device) if check_case not in tried]
    return [(check_case, _trial(backend, implementation, check_case, device)) for check_case in rest]


def _not_ruled(row: CheckRow, error: Exception) -> CheckRow:
    """A row whose question was not answered: not declared, refused, or an exception."""
    if isinstance(error, UndeliveredError) or not isinstance(error, UnsupportedError):
        return replace(row, status="wrong", fault="exception", reason=f"raised {type(error).__name__}: {error}")
    if not is_refusal(error):
        return replace(row, status="unsupported", cases=0, reason=str(error))
    why = f"{REFUSED}{refusal_of(error)}"
    return replace(row, status="unsupported", cases=0, asked=1, refused=1, reason=why)


def _repeatable_row(
    backend: Backend, implementation: Implementation, question: str, dtype: str, device: str
) -> CheckRow:
    """A question about the bits: ``yes``, or ``no`` with the first difference as the reason."""
    row = CheckRow(implementation.name, question, dtype, device, "ok", 1)
    try:
        repeated = repeatable(question, backend, implementation, dtype, device)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  (a kernel may raise anything)
        return _not_ruled(row, error)
    row = replace(row, asked=1, answer="yes" if repeated.holds else "no")
    return replace(row, reason=repeated.difference, case=repeated.case)


def _fitted(implementation: Implementation, cases: Sequence[CheckCase], device: str) -> list[CheckCase]:
    """The cases as the implementation takes them, each once."""
    can = implementation.capabilities_on(device)
    taken = (CheckCase(wanted.feature, fitted(wanted.case, can, wanted.feature)) for wanted in cases)
    return list(dict.fromkeys(taken))


def _trial(backend: Backend, implementation: Implementation, check_case: CheckCase, device: str) -> Trial:
    return trial(backend, implementation, offered(check_case.case, implementation, device), device)


def _row(
    implementation: Implementation,
    feature: str,
    dtype: str,
    device: str,
    trials: list[tuple[CheckCase, Trial]],
) -> CheckRow:
    judged = [(check_case, t) for check_case, t in trials if t.tried]
    left_out = Counter(t.reason or "" for _, t in trials if t.status == "unsupported")
    blunt = len(trials) - len(judged) - left_out.total()
    row = CheckRow(implementation.name, feature, dtype, device, "ok", len(judged), asked=len(trials))
    row = replace(row, left_out=dict(left_out) or None, refused=sum(t.refused for _, t in trials))
    row = replace(row, untried={BLUNT: blunt} if blunt else None)
    if not judged:
        reason = next((t.reason for _, t in trials if t.reason), BLUNT)
        row = replace(row, declared=_declared(implementation, dtype, device) if blunt else None)
        return replace(row, status=UNTRIED if blunt else "unsupported", reason=reason)
    row = replace(row, declared=_declared(implementation, dtype, device))
    wrong = next(((check_case, t) for check_case, t in judged if t.status == "wrong"), None)
    row = replace(
        row,
        error_ratio=largest(t.forward_ratio for _, t in judged),
        gradient_ratio=largest(t.gradient_ratio for _, t in judged),
        gradients=None if implementation.has_gradients(device) else "not offered",
        covered=extents(check_case.case for check_case, _ in judged),
    )
    if wrong is None:
        return row
    check_case, failed = wrong
    telling = max((j for j in judged if j[1].status == "wrong"), key=_telling)[0]
    row = replace(row, status="wrong", fault=failed.fault, reason=failed.reason, disagreements=_all_wrong(judged))
    tried = [other for other, _ in trials]
    sequence = [case_text(other.case) for other in tried[: tried.index(telling) + 1]]
    return replace(row, case=check_case.case.label(), failing=sequence[-1], sequence=sequence)


def _judged(
    row: CheckRow, backend: Backend, implementation: Implementation, trials: list[tuple[CheckCase, Trial]]
) -> CheckRow:
    """The row with what the kernel's refusals say of its declaration."""
    refused = [(check_case.case, t) for check_case, t in trials if t.refused]
    if not refused:
        return row
    taken = [check_case.case for check_case, t in trials if t.status != "unsupported"]
    words = refused[0][1].reason or ""
    every = _fitted(implementation, check_cases(row.dtype), row.device)

    @cache
    def takes(case: Case) -> bool:
        return _trial(backend, implementation, CheckCase(row.feature, case), row.device).status != "unsupported"

    others = list(dict.fromkeys(check_case.case for check_case in every))
    refusals = Refusals(row.feature, row.dtype, row.device, [case for case, _ in refused], taken, words, others, takes)
    if not taken:
        case, why = refused[0][0].label(), false_declaration(implementation, refusals)
        return replace(row, status="wrong", fault=DECLARATION, reason=why, case=case)
    left_out = dict(row.left_out or {})
    for said in dict.fromkeys(t.reason or "" for _, t in refused):
        left_out[why_left_out(implementation, replace(refusals, words=said))] = left_out.pop(said)
    return replace(row, left_out=left_out)


def _all_wrong(judged: Sequence[tuple[CheckCase, Trial]]) -> list[dict[str, str]]:
    return [
        {"case": case_text(check_case.case), "fault": t.fault or "", "reason": t.reason or ""}
        for check_case, t in judged
        if t.status == "wrong"
    ]


def _telling(disagreement: tuple[CheckCase, Trial]) -> tuple[bool, bool, int]:
    """How easy a disagreement is to diagnose: best of the output, with several batch entries and heads, not large."""
    check_case, failed = disagreement
    p = check_case.case.problem
    pairs = p.B * p.Hq * p.Tq * p.S
    forward = any(not j.ok for j in failed.forward)
    return forward, p.B > 1 and p.Hq > 1, pairs if pairs <= MOST_PAIRS else -pairs
