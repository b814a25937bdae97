"""``attnbench check`` in processes of its own: a kernel that crashes or hangs is a row, and the rest is checked.

Several workers at a time where the device is the CPU: agreement is not timed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench import discover
from attnbench.agree.case_text import case_from_text
from attnbench.agree.check.boundaries import BoundaryResult, with_boundaries
from attnbench.agree.check.plan import DEEP, USUAL
from attnbench.agree.check.rows import CheckRow
from attnbench.agree.random_check import RandomResult, together
from attnbench.measure.lost import fault, lost_row
from attnbench.measure.protocol import UNSUPPORTED
from attnbench.precision import DTYPES
from attnbench.results.fingerprint import usable_cpus
from attnbench.workers.session import Session, Sessions

if TYPE_CHECKING:
    from attnbench.backend import BackendInfo

Progress = Callable[[CheckRow], None]
AT_A_TIME = 10  # random cases in one question to a worker
CASES_AT_A_TIME = 8  # of the plan


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

    def about(self, impl: str) -> dict[str, Any]:
        """What every question about an implementation says."""
        return {"impl": impl, "files": [str(path) for path in self.files], "device": self.device}


def check(options: CheckOptions, progress: Progress | None = None) -> list[CheckRow]:
    """Check every implementation; rows in the order of ``options.impls``.

    With fewer implementations than processors the rows of each are spread over several workers.
    """
    at_once = _at_once(options)
    each = max(1, at_once // max(1, len(options.impls)))
    with ThreadPoolExecutor(at_once) as pool:
        found = pool.map(lambda impl: check_one(impl, options, progress, workers=each), options.impls)
        return [row for rows in found for row in rows]


def check_one(impl: str, options: CheckOptions, progress: Progress | None = None, workers: int = 1) -> list[CheckRow]:
    """Check one implementation; a worker that is lost is replaced for the next row."""
    if reason := _unavailable(impl):
        return [_told(CheckRow(impl, "all", "all", options.device, "unsupported", 0, reason=reason), progress)]
    with _sessions(impl, options, workers) as sessions:
        names: dict[str, Any] = {"dtypes": list(options.dtypes), "features": list(options.features)}
        plan = sessions.do(lambda own: own.ask("check_plan", **options.about(impl), **names, depth=options.depth))
        if not plan.ok:
            return [_told(lost_row(impl, "all", "all", options.device, plan), progress)]
        info, pairs = _info(impl), plan.value["pairs"]
        work = lambda own, pair: _told(_row(own, impl, options, *pair), progress)  # noqa: E731  (in words it is longer)
        rows = sessions.map(work, pairs, kind=lambda pair: info.kind_of(pair[1]))
        parts = _parts(plan.value["boundaries"], info)
        judge = lambda own, part: _boundaries(own, impl, options, part)  # noqa: E731  (the same)
        found = sessions.map(judge, parts, kind=lambda part: _kind(part[0], info))
        results = [one for part in found for one in part]
        return with_boundaries(rows, results, options.features, gradients=plan.value["gradients"])


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
    by_kind = _by_kind(info, options.dtypes)
    parts = [(first, min(AT_A_TIME, count - first), among) for first in range(0, count, AT_A_TIME) for among in by_kind]
    with _sessions(impl, options, workers) as sessions:
        work = lambda own, part: _random(own, impl, options, part[0], part[1], part[2], kind[0], kind[1])  # noqa: E731
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


def _told(row: CheckRow, progress: Progress | None) -> CheckRow:
    if progress is not None:
        progress(row)
    return row


def _sessions(impl: str, options: CheckOptions, workers: int) -> Sessions:
    return Sessions(impl.partition("/")[0], options.timeout_s, workers)


def _row(session: Session, impl: str, options: CheckOptions, feature: str, dtype: str) -> CheckRow:
    """One row, whatever becomes of the worker."""
    reply = session.ask("check", **options.about(impl), feature=feature, dtype=dtype, deep=options.depth == DEEP)
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
    reply = session.ask("check_boundaries", **options.about(impl), cases=list(cases))
    if reply.ok:
        return [BoundaryResult.from_dict(one) for one in reply.value["results"]]
    if len(cases) > 1:
        return [one for case in cases for one in _boundaries(session, impl, options, [case])]
    return [BoundaryResult(cases[0], "wrong", fault=fault(reply), reason=reply.reason)]


def _random(
    session: Session,
    impl: str,
    options: CheckOptions,
    first: int,
    count: int,
    among: Sequence[str],
    seed: int,
    draws: int,
) -> RandomResult:
    """Those of some random cases that are in one of ``among``; if the worker is lost, one by one to find out where."""
    given: dict[str, Any] = {"dtypes": list(options.dtypes), "seed": seed, "draws": draws, "among": list(among)}
    reply = session.ask("check_random", **options.about(impl), first=first, count=count, **given)
    if reply.ok:
        return RandomResult.from_dict(reply.value)
    if reply.status == UNSUPPORTED:
        return RandomResult(impl, unsupported=count, reason=reply.reason)
    if count > 1:
        each = [_random(session, impl, options, one, 1, among, seed, draws) for one in range(first, first + count)]
        return together(impl, each)
    told = {
        "case": f"number {first} of --seed {seed} --draws {draws}",
        "reason": reply.reason or "",
        "fault": reply.status,
    }
    return RandomResult(impl, cases=1, wrong=1, disagreements=[told])
