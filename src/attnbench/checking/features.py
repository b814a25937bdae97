"""``attnbench check`` in processes of its own: a kernel that crashes or hangs is a row, and the rest is checked.

Several workers at a time where the device is the CPU: agreement is not timed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.cases.features import features_of
from attnbench.agree.cases.plan import DEEP, USUAL
from attnbench.agree.check.boundaries import BoundaryResult, with_boundaries
from attnbench.agree.check.random_rows import RandomResult, together
from attnbench.agree.check.rows import UNTRIED, CheckRow
from attnbench.attention.precision import DTYPES
from attnbench.backends import discover
from attnbench.checking.ends import LISTING, Ends, Part, said_as_interrupted
from attnbench.checking.judged_outside import judged_outside
from attnbench.checking.lost import fault, lost_row
from attnbench.checking.processes import at_once_on
from attnbench.checking.progress import Listeners, Note, Progress, Watch
from attnbench.workers.pool import MOST_KILLS
from attnbench.workers.protocol import NOT_RUN, SPENT, TIMEOUT, UNSUPPORTED, WRONG, Reply
from attnbench.workers.session import Session, Sessions

if TYPE_CHECKING:
    from attnbench.backends.card import BackendInfo

AT_A_TIME = 10  # random cases in one question to a worker
CASES_AT_A_TIME = 8  # of the plan
SAMPLE = 8  # questions spread over the whole plan, asked first to estimate what it takes
LISTS = "listing the cases of its plan"
ROWS, CASES = "rows", "cases"
PLANNING_S = 600.0  # composing the plan is our work, and not bounded by the seconds that a kernel has for a row
TOGETHER = "not seen when each of its cases was asked in a process that had done less"


class ThisProcess(Protocol):
    """Who answers in the place of workers: the process that asks.

    ``called`` is the Python function that asks for it again, and ``typed`` what stands first in that call.
    """

    called: str
    typed: str

    def sessions(self) -> Sessions:
        """What is asked as workers are."""


@dataclass(frozen=True)
class CheckOptions:
    """What to check. ``impls`` are full names; ``files`` drop-in files; empty ``features`` means all.

    A case of the plan that is about any of ``without`` is left out.

    With ``here`` everything is asked of this process, in this thread: nothing is guarded, and nothing is bounded.
    """

    impls: Sequence[str]
    files: Sequence[str] = ()
    dtypes: Sequence[str] = DTYPES
    features: Sequence[str] = ()
    without: Sequence[str] = ()
    device: str = "cpu"
    depth: str = USUAL
    timeout_s: float = 120.0
    budget_s: float | None = None
    here: ThisProcess | None = None

    def about(self, impl: str) -> dict[str, Any]:
        """What every question about an implementation says."""
        return {"impl": impl, "files": [str(path) for path in self.files], "device": self.device}


def check(
    options: CheckOptions,
    progress: Progress | None = None,
    watch: Watch | None = None,
    note: Note | None = None,
    ends: Ends | None = None,
) -> list[CheckRow]:
    """Check every implementation; rows in the order of ``options.impls``.

    With fewer implementations than processors the rows of each are spread over several workers. ``progress`` is told
    every row, ``watch`` how far it is, ``note`` what the plan is going to take. ``ends`` is when the budget ends; it
    begins now, unless given. After an interrupt the rows say what was tried, and ``ends`` that it was interrupted.
    """
    processes, each = _processes(options)
    ends = ends or Ends(options.budget_s)
    listeners = Listeners(progress, watch, note, ends.until)
    parts = ends.parts(len(options.impls), processes)
    if options.here is not None:
        return [
            row for impl in options.impls for row in _check_implementation(impl, options, listeners, parts(), workers=1)
        ]
    with ThreadPoolExecutor(processes) as pool:
        tables = [
            pool.submit(lambda impl: _check_implementation(impl, options, listeners, parts(), workers=each), impl)
            for impl in options.impls
        ]
        try:
            return [row for table in tables for row in table.result()]
        except KeyboardInterrupt:
            ends.interrupt()
            return said_as_interrupted([row for table in tables for row in table.result()])


def _check_implementation(
    impl: str, options: CheckOptions, listeners: Listeners, part: Part, workers: int
) -> list[CheckRow]:
    """Check one implementation; a worker that is lost is replaced for the next row."""
    if reason := _unavailable(impl):
        return [listeners.row(CheckRow(impl, "all", "all", options.device, "unsupported", 0, reason=reason))]
    with _sessions(impl, options, workers, part) as sessions:
        about = {**options.about(impl), "dtypes": list(options.dtypes), "features": list(options.features)}
        plan = sessions.do(lambda session: _ask(session, "check_plan", PLANNING_S, **about, depth=options.depth))
        if not plan.ok:
            return [listeners.row(lost_row(impl, "all", "all", options.device, plan))]
        pairs, info, sweeps = plan.value["pairs"], _info(impl), list(range(plan.value["sweeps"]))

        def rows() -> list[CheckRow]:
            return sessions.map(row, pairs, kind=lambda pair: info.kind_of(pair[1]))

        def row(session: Session, pair: tuple[str, str]) -> CheckRow:
            return listeners.row(_row(session, impl, options, *pair, part=part), units=1)

        # Every row has cases of its own. With a budget they come first, else how much there is to do.
        listeners.expect(impl, len(pairs), "" if options.budget_s else LISTS)
        table = rows() if options.budget_s is not None else []
        results: list[BoundaryResult] = []
        while sweeps and (count := part.sweeps(len(sweeps))):
            lists = _listed(sessions, sweeps[:count], about, options.depth, part)
            if lost := next((reply for reply in lists if not reply.ok and reply.status != NOT_RUN), None):
                return [*table, listeners.row(lost_row(impl, "plan", "all", options.device, lost))]
            if any(not reply.ok for reply in lists):
                break
            sweeps = sweeps[count:]
            cases = [case for reply in lists for case in reply.value["cases"] if _wanted(case, options)]
            listeners.expect(impl, len(cases))
            table = table or rows()
            results += _judged(sessions, impl, options, cases, part, listeners)
        table = table or rows()
        if not plan.value["sweeps"]:
            return table
        results = _judged_outside(sessions, impl, options, results, part)
        unlisted = f"{SPENT} before the cases of {len(sweeps)} of {plan.value['sweeps']} sweeps of the plan were listed"
        return with_boundaries(
            table,
            results,
            options.features,
            gradients=plan.value["gradients"],
            unlisted=unlisted if sweeps else None,
        )


def _listed(sessions: Sessions, sweeps: Sequence[int], about: dict[str, Any], depth: str, part: Part) -> list[Reply]:
    """The cases of some sweeps of the plan."""

    def ask(session: Session, sweep: int) -> Reply:
        reply = _ask(session, "check_sweep", PLANNING_S, **about, depth=depth, sweep=sweep)
        part.took(LISTING, 1, reply.took_s)
        return reply

    return sessions.map(ask, sweeps)


def _ask(session: Session, op: str, timeout_s: float | None = None, /, **arguments: Any) -> Reply:
    """Ask, and ask again where somebody else ended the process, which says nothing of the kernel."""
    reply = session.ask(op, timeout_s=timeout_s, **arguments)
    for _ in range(MOST_KILLS):
        if reply.outside:
            reply = session.ask(op, timeout_s=timeout_s, **arguments)
    return reply


def _judged_outside(
    sessions: Sessions, impl: str, options: CheckOptions, results: Sequence[BoundaryResult], part: Part
) -> list[BoundaryResult]:
    """The cases of the plan, some of those of a drop-in file judged once more outside, as far as there is time."""

    def ask(kind: str, op: str, arguments: dict[str, Any]) -> Reply:
        return sessions.do(lambda session: session.ask(op, **arguments), kind)

    return list(results) if part.over else judged_outside(impl, options, results, ask, part.until)


def _judged(
    sessions: Sessions, impl: str, options: CheckOptions, cases: Sequence[str], part: Part, listeners: Listeners
) -> list[BoundaryResult]:
    """The cases of the plan, a few in each question; first a sample of them all, to estimate what they take."""
    info = _info(impl)
    questions = _questions(cases, info)

    def judge(session: Session, question: list[str]) -> list[BoundaryResult]:
        results: list[BoundaryResult] = []
        while question:
            count = part.fitting(CASES, len(question))
            began = time.monotonic()
            some = _boundaries(session, impl, options, question[:count]) if count else _untried(question)
            if count:
                part.took(CASES, count, time.monotonic() - began)
            if any(result.status == WRONG for result in some):
                part.disagreed()
            results, question = results + some, question[len(some) :]
        listeners.done(impl, len(results))
        return results

    def kind(question: list[str]) -> str:
        return _kind(question[0], info)

    step = max(1, len(questions) // SAMPLE)
    sample, rest = questions[::step], [question for i, question in enumerate(questions) if i % step]
    start = time.monotonic()
    judged = sessions.map(judge, sample, kind=kind)
    if not part.over:
        listeners.price(impl, len(cases), sum(map(len, sample)), time.monotonic() - start, options.budget_s)
    judged += sessions.map(judge, rest, kind=kind)
    return [result for some in judged for result in some]


def _wanted(case: str, options: CheckOptions) -> bool:
    """Whether a case is about nothing that is left out."""
    return not options.without or set(options.without).isdisjoint(features_of(case_from_text(case)))


def _untried(cases: Sequence[str]) -> list[BoundaryResult]:
    """What is said of cases for which no time was left."""
    return [BoundaryResult(case, UNTRIED, reason=SPENT) for case in cases]


def check_randomly(options: CheckOptions, count: int, seed: int = 0, draws: int = 1) -> list[RandomResult]:
    """``count`` random cases of each implementation; a case with which a worker is lost is a disagreement."""
    processes, each = _processes(options)
    ends = Ends()
    parts = ends.parts(len(options.impls), processes)
    with ThreadPoolExecutor(processes) as pool:
        try:
            return list(
                pool.map(lambda impl: _random_cases(impl, options, count, (seed, draws), each, parts()), options.impls)
            )
        except KeyboardInterrupt:
            ends.interrupt()
            raise


def _random_cases(
    impl: str, options: CheckOptions, count: int, kind: tuple[int, int], workers: int, ends: Part
) -> RandomResult:
    """Random cases of one implementation; ``kind`` is their seed, and how many draws each has."""
    if reason := _unavailable(impl):
        return RandomResult(impl, unsupported=count, reason=reason)
    info = _info(impl)
    about = {**options.about(impl), "dtypes": list(options.dtypes), "seed": kind[0], "draws": kind[1]}
    by_kind = _by_kind(info, options.dtypes)
    parts = [(first, min(AT_A_TIME, count - first), among) for first in range(0, count, AT_A_TIME) for among in by_kind]
    with _sessions(impl, options, workers, ends) as sessions:

        def work(session: Session, part: tuple[int, int, list[str]]) -> RandomResult:
            first, some, among = part
            return _random(session, impl, about, first, some, among)

        return together(impl, sessions.map(work, parts, kind=lambda part: info.kind_of(part[2][0])))


def _processes(options: CheckOptions) -> tuple[int, int]:
    """How many processes work at once, and how many of them on one implementation."""
    processes = at_once_on(options.device)
    return processes, max(1, processes // max(1, len(options.impls)))


def _info(impl: str) -> BackendInfo:
    return discover.backend(impl.partition("/")[0])


def _by_kind(info: BackendInfo, dtypes: Sequence[str]) -> list[list[str]]:
    """The dtypes that may share a process, together."""
    kinds: dict[str, list[str]] = {}
    for dtype in dtypes:
        kinds.setdefault(info.kind_of(dtype), []).append(dtype)
    return list(kinds.values())


def _unavailable(impl: str) -> str | None:
    return _info(impl).why_missing(impl.partition("/")[2])


def _sessions(impl: str, options: CheckOptions, workers: int, part: Part) -> Sessions:
    if options.here is not None:
        return options.here.sessions()
    sessions = Sessions(impl.partition("/")[0], options.timeout_s, workers, part.until)
    part.at_interrupt(sessions.abandon)
    return sessions


def _row(session: Session, impl: str, options: CheckOptions, feature: str, dtype: str, *, part: Part) -> CheckRow:
    """One row, whatever becomes of the worker."""
    if not part.fitting(ROWS, 1):
        return CheckRow(impl, feature, dtype, options.device, UNTRIED, 0, reason=SPENT)
    reply = _ask(session, "check", **options.about(impl), feature=feature, dtype=dtype, deep=options.depth == DEEP)
    part.took(ROWS, 1, reply.took_s)
    row = CheckRow.from_dict(reply.value) if reply.ok else lost_row(impl, feature, dtype, options.device, reply)
    if row.status == WRONG:
        part.disagreed()
    return row


def _questions(cases: Sequence[str], info: BackendInfo) -> list[list[str]]:
    """The cases of the plan in questions of a few, each for one kind of process."""
    kinds: dict[str, list[str]] = {}
    for case in cases:
        kinds.setdefault(_kind(case, info), []).append(case)
    at_a_time = CASES_AT_A_TIME
    return [of_kind[i : i + at_a_time] for of_kind in kinds.values() for i in range(0, len(of_kind), at_a_time)]


def _kind(case: str, info: BackendInfo) -> str:
    return info.kind_of(case_from_text(case).problem.dtype)


def _boundaries(session: Session, impl: str, options: CheckOptions, cases: Sequence[str]) -> list[BoundaryResult]:
    """Cases at boundaries; if the worker is lost they are asked again, one after the other, to find out with which."""
    reply = _ask(session, "check_boundaries", **options.about(impl), cases=list(cases))
    if reply.status == NOT_RUN:
        return _untried(cases)
    if reply.ok:
        results = [BoundaryResult.from_dict(data) for data in reply.value["results"]]
        wrong = [result.status == "wrong" for result in results]
        return [
            replace(result, sequence=tuple(cases[: i + 1])) if wrong[i] else result for i, result in enumerate(results)
        ]
    if len(cases) == 1:
        return [BoundaryResult(cases[0], "wrong", fault=fault(reply), reason=reply.reason)]
    each = [result for case in cases for result in _boundaries(session, impl, options, [case])]
    # Several cases together may take longer than the time for one, which is no fault. A crash is, even where none of
    # the cases shows it alone.
    if reply.status == TIMEOUT or any(result.status == "wrong" for result in each):
        return each
    reason = f"{reply.reason}, while it was asked case after case; {TOGETHER}"
    return [*each[:-1], BoundaryResult(cases[-1], "wrong", fault=fault(reply), reason=reason, sequence=tuple(cases))]


def _random(
    session: Session, impl: str, about: dict[str, Any], first: int, count: int, among: Sequence[str]
) -> RandomResult:
    """Those of some random cases that are in one of ``among``; if the worker is lost, one by one to find the cause.

    ``about`` is what every question says: of which implementation, and how the cases are drawn.
    """
    reply = _ask(session, "check_random", **about, first=first, count=count, among=list(among))
    if reply.ok:
        return RandomResult.from_dict(reply.value)
    if reply.status == UNSUPPORTED:
        return RandomResult(impl, unsupported=count, reason=reply.reason)
    if count == 1:
        return _lost_case(session, impl, about, first, reply)
    total = together(impl, [_random(session, impl, about, number, 1, among) for number in range(first, first + count)])
    if total.wrong or reply.status == TIMEOUT:
        return total
    reply = replace(reply, reason=f"{reply.reason}, while it was asked case after case; {TOGETHER}")
    last = _lost_case(session, impl, about, first + count - 1, reply)
    return together(impl, [total, replace(last, cases=0)])


def _lost_case(session: Session, impl: str, about: dict[str, Any], number: int, reply: Reply) -> RandomResult:
    """The result of a random case with which the worker was lost."""
    case = _ask(session, "random_case", **about, number=number).value.get("case", "")
    disagreement = {"case": case, "reason": reply.reason or "", "fault": fault(reply)}
    return RandomResult(impl, cases=1, wrong=1, disagreements=[disagreement])
