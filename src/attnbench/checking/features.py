"""``attnbench check`` in processes of its own: a kernel that crashes or hangs is a row, and the rest is checked.

Several workers at a time where the device is the CPU: agreement is not timed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.cases.plan import DEEP, USUAL
from attnbench.agree.check.boundaries import BoundaryResult, with_boundaries
from attnbench.agree.check.random_rows import RandomResult, together
from attnbench.agree.check.rows import UNTRIED, CheckRow
from attnbench.attention.precision import DTYPES
from attnbench.backends import discover
from attnbench.checking.judged_outside import judged_outside
from attnbench.checking.lost import fault, lost_row
from attnbench.checking.telling import Ends, Note, Progress, Told, Watch
from attnbench.results.fingerprint import usable_cpus
from attnbench.workers.pool import MOST_KILLS
from attnbench.workers.protocol import TIMEOUT, UNSUPPORTED, Reply
from attnbench.workers.session import Session, Sessions

if TYPE_CHECKING:
    from attnbench.backends.backend import BackendInfo

AT_A_TIME = 10  # random cases in one question to a worker
CASES_AT_A_TIME = 8  # of the plan
SAMPLE = 8  # questions about all of the plan, which tell what it takes
SPENT = "the budget was spent"
PLANNING_S = 600.0  # composing the plan is our work, and not bounded by the seconds that a kernel has for a row
TOGETHER = "not seen when each of its cases was asked in a process that had done less"


@dataclass(frozen=True)
class CheckOptions:
    """What to check. ``impls`` are full names; ``files`` drop-in files; empty ``features`` means all."""

    impls: Sequence[str]
    files: Sequence[str] = ()
    dtypes: Sequence[str] = DTYPES
    features: Sequence[str] = ()
    device: str = "cpu"
    depth: str = USUAL
    timeout_s: float = 120.0
    budget_s: float | None = None

    def about(self, impl: str) -> dict[str, Any]:
        """What every question about an implementation says."""
        return {"impl": impl, "files": [str(path) for path in self.files], "device": self.device}


def check(
    options: CheckOptions, progress: Progress | None = None, watch: Watch | None = None, note: Note | None = None
) -> list[CheckRow]:
    """Check every implementation; rows in the order of ``options.impls``.

    With fewer implementations than processors the rows of each are spread over several workers. ``progress`` is told
    every row, ``watch`` how far it is, ``note`` what the plan is going to take.
    """
    at_once = _at_once(options)
    each = max(1, at_once // max(1, len(options.impls)))
    told, ends = Told(progress, watch, note), Ends(options.budget_s)
    with ThreadPoolExecutor(at_once) as pool:
        found = pool.map(lambda impl: _check_one(impl, options, told, ends, workers=each), options.impls)
        return [row for rows in found for row in rows]


def _check_one(impl: str, options: CheckOptions, told: Told, ends: Ends, workers: int) -> list[CheckRow]:
    """Check one implementation; a worker that is lost is replaced for the next row."""
    if reason := _unavailable(impl):
        return [told.row(CheckRow(impl, "all", "all", options.device, "unsupported", 0, reason=reason))]
    with _sessions(impl, options, workers) as sessions:
        about = {**options.about(impl), "dtypes": list(options.dtypes), "features": list(options.features)}
        plan = sessions.do(lambda own: _ask(own, "check_plan", PLANNING_S, **about, depth=options.depth))
        if not plan.ok:
            return [told.row(lost_row(impl, "all", "all", options.device, plan))]
        pairs, info = plan.value["pairs"], _info(impl)

        def rows() -> list[CheckRow]:
            return sessions.map(row, pairs, kind=lambda pair: info.kind_of(pair[1]))

        def row(own: Session, pair: tuple[str, str]) -> CheckRow:
            return told.row(_row(own, impl, options, *pair, ends=ends), units=1)

        # Every row has cases of its own. With a budget they come first, else how much there is to do.
        first = rows() if options.budget_s is not None else None
        sweeps = sessions.map(
            lambda own, one: _ask(own, "check_sweep", PLANNING_S, **about, depth=options.depth, sweep=one),
            range(plan.value["sweeps"]),
        )
        if lost := next((one for one in sweeps if not one.ok), None):
            return [*(first or []), told.row(lost_row(impl, "plan", "all", options.device, lost))]
        cases = [case for one in sweeps for case in one.value["cases"]]
        told.expect(impl, len(pairs) + len(cases))
        found = first or rows()
        if not plan.value["sweeps"]:
            return found
        results = _judged(sessions, impl, options, cases, ends, told)

        def ask(kind: str, op: str, arguments: dict[str, Any]) -> Reply:
            return sessions.do(lambda own: own.ask(op, **arguments), kind)

        if not ends.now:
            results = judged_outside(impl, options, results, ask)
        return with_boundaries(found, results, options.features, gradients=plan.value["gradients"])


def _ask(session: Session, op: str, timeout_s: float | None = None, /, **arguments: Any) -> Reply:
    """Ask, and ask again where somebody else ended the process, which says nothing of the kernel."""
    reply = session.ask(op, timeout_s=timeout_s, **arguments)
    for _ in range(MOST_KILLS):
        if reply.outside:
            reply = session.ask(op, timeout_s=timeout_s, **arguments)
    return reply


def _judged(
    sessions: Sessions, impl: str, options: CheckOptions, cases: Sequence[str], ends: Ends, told: Told
) -> list[BoundaryResult]:
    """The cases of the plan, in questions of a few; a sample of all of it first, which tells what it takes."""
    info = _info(impl)
    parts = _parts(cases, info)

    def judge(own: Session, part: list[str]) -> list[BoundaryResult]:
        found = [BoundaryResult(case, UNTRIED, reason=SPENT) for case in part]
        found = found if ends.now else _boundaries(own, impl, options, part)
        told.done(impl, len(part))
        return found

    def kind(part: list[str]) -> str:
        return _kind(part[0], info)

    step = max(1, len(parts) // SAMPLE)
    sample, rest = parts[::step], [part for i, part in enumerate(parts) if i % step]
    start = time.monotonic()
    found = sessions.map(judge, sample, kind=kind)
    if not ends.now:
        told.price(impl, len(cases), sum(map(len, sample)), time.monotonic() - start, options.budget_s)
    found += sessions.map(judge, rest, kind=kind)
    return [one for part in found for one in part]


def check_randomly(options: CheckOptions, count: int, seed: int = 0, draws: int = 1) -> list[RandomResult]:
    """``count`` random cases of each implementation; what a lost worker was asked is a disagreement."""
    at_once = _at_once(options)
    each = max(1, at_once // max(1, len(options.impls)))
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda impl: _one_randomly(impl, options, count, (seed, draws), each), options.impls))


def _one_randomly(impl: str, options: CheckOptions, count: int, kind: tuple[int, int], workers: int) -> RandomResult:
    if reason := _unavailable(impl):
        return RandomResult(impl, unsupported=count, reason=reason)
    info = _info(impl)
    about = {**options.about(impl), "dtypes": list(options.dtypes), "seed": kind[0], "draws": kind[1]}
    by_kind = _by_kind(info, options.dtypes)
    parts = [(first, min(AT_A_TIME, count - first), among) for first in range(0, count, AT_A_TIME) for among in by_kind]
    with _sessions(impl, options, workers) as sessions:

        def work(own: Session, part: tuple[int, int, list[str]]) -> RandomResult:
            first, some, among = part
            return _random(own, impl, about, first, some, among)

        return together(impl, sessions.map(work, parts, kind=lambda part: info.kind_of(part[2][0])))


def _at_once(options: CheckOptions) -> int:
    return 1 if options.device != "cpu" else usable_cpus() or 1


def _info(impl: str) -> BackendInfo:
    return discover.backend(impl.partition("/")[0])


def _by_kind(info: BackendInfo, dtypes: Sequence[str]) -> list[list[str]]:
    """The dtypes that may share a process, together."""
    kinds: dict[str, list[str]] = {}
    for dtype in dtypes:
        kinds.setdefault(info.kind_of(dtype), []).append(dtype)
    return list(kinds.values())


def _unavailable(impl: str) -> str | None:
    return _info(impl).why_missing()


def _sessions(impl: str, options: CheckOptions, workers: int) -> Sessions:
    return Sessions(impl.partition("/")[0], options.timeout_s, workers)


def _row(session: Session, impl: str, options: CheckOptions, feature: str, dtype: str, *, ends: Ends) -> CheckRow:
    """One row, whatever becomes of the worker."""
    if ends.now:
        return CheckRow(impl, feature, dtype, options.device, UNTRIED, 0, reason=SPENT)
    reply = _ask(session, "check", **options.about(impl), feature=feature, dtype=dtype, deep=options.depth == DEEP)
    return CheckRow.from_dict(reply.value) if reply.ok else lost_row(impl, feature, dtype, options.device, reply)


def _parts(cases: Sequence[str], info: BackendInfo) -> list[list[str]]:
    """The cases of the plan in questions of a few, each for one kind of process."""
    kinds: dict[str, list[str]] = {}
    for case in cases:
        kinds.setdefault(_kind(case, info), []).append(case)
    at_a_time = CASES_AT_A_TIME
    return [one[i : i + at_a_time] for one in kinds.values() for i in range(0, len(one), at_a_time)]


def _kind(case: str, info: BackendInfo) -> str:
    return info.kind_of(case_from_text(case).problem.dtype)


def _boundaries(session: Session, impl: str, options: CheckOptions, cases: Sequence[str]) -> list[BoundaryResult]:
    """Cases at boundaries, whatever becomes of the worker; if it is lost, one after the other to find out where."""
    reply = _ask(session, "check_boundaries", **options.about(impl), cases=list(cases))
    if reply.ok:
        found = [BoundaryResult.from_dict(one) for one in reply.value["results"]]
        wrong = [one.status == "wrong" for one in found]
        return [replace(one, sequence=tuple(cases[: i + 1])) if wrong[i] else one for i, one in enumerate(found)]
    if len(cases) == 1:
        return [BoundaryResult(cases[0], "wrong", fault=fault(reply), reason=reply.reason)]
    each = [one for case in cases for one in _boundaries(session, impl, options, [case])]
    # Eight cases may take longer than one is given; what a process died of and none of them shows is a fault.
    if reply.status == TIMEOUT or any(one.status == "wrong" for one in each):
        return each
    reason = f"{reply.reason}, while it was asked case after case; {TOGETHER}"
    return [*each[:-1], BoundaryResult(cases[-1], "wrong", fault=fault(reply), reason=reason, sequence=tuple(cases))]


def _random(
    session: Session, impl: str, about: dict[str, Any], first: int, count: int, among: Sequence[str]
) -> RandomResult:
    """Those of some random cases that are in one of ``among``; if the worker is lost, one by one to find out where.

    ``about`` is what every question says: of which implementation, and how the cases are drawn.
    """
    reply = _ask(session, "check_random", **about, first=first, count=count, among=list(among))
    if reply.ok:
        return RandomResult.from_dict(reply.value)
    if reply.status == UNSUPPORTED:
        return RandomResult(impl, unsupported=count, reason=reply.reason)
    if count == 1:
        return _lost_case(session, impl, about, first, reply)
    found = together(impl, [_random(session, impl, about, one, 1, among) for one in range(first, first + count)])
    if found.wrong or reply.status == TIMEOUT:
        return found
    reply = replace(reply, reason=f"{reply.reason}, while it was asked case after case; {TOGETHER}")
    last = _lost_case(session, impl, about, first + count - 1, reply)
    return together(impl, [found, replace(last, cases=0)])


def _lost_case(session: Session, impl: str, about: dict[str, Any], number: int, reply: Reply) -> RandomResult:
    """A random case that took the worker along."""
    case = _ask(session, "random_case", **about, number=number).value.get("case", "")
    told = {"case": case, "reason": reply.reason or "", "fault": fault(reply)}
    return RandomResult(impl, cases=1, wrong=1, disagreements=[told])
