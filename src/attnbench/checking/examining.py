"""Examining the disagreements of ``attnbench check`` in a worker of their own: kind, smallest case, command.

A crash or a hang during an examination leaves the row as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.check.rows import CheckRow
from attnbench.agree.diagnose.doctor import AGREES_AGAIN, UNKNOWN
from attnbench.backends import discover
from attnbench.checking.again import command, command_of_row
from attnbench.checking.declaring import with_declarations
from attnbench.checking.judged_outside import OUTSIDE, SecondJudge
from attnbench.checking.lost import LOST, lost_row
from attnbench.workers.protocol import OK, WRONG, Reply
from attnbench.workers.session import Session, Sessions, Until, never

if TYPE_CHECKING:
    from attnbench.checking.features import CheckOptions

MOST = 8  # disagreements examined for one implementation, the first of each feature
EACH_S = 8.0
ALL_S = 24.0
AFTER = "the case agrees by itself, and disagrees after another one: something is kept from an earlier call"
ELSEWHERE = "by itself the case agrees, and so it does after those that came before it: perhaps it takes earlier calls"
CHANGED = "its file changes how answers are judged in its own process, or it answers otherwise where nobody judges"
GRACE_S = 20.0  # a kernel may be slow; a hang is not waited for longer


def _sessions(impl: str, options: CheckOptions, until: Until = never) -> Sessions:
    """One process after the other, and one for each dtype that is to have a process of its own; or this process."""
    if options.here is not None:
        return options.here.sessions()
    return Sessions(impl.partition("/")[0], options.timeout_s, until=until)


def _kind(impl: str, dtype: str) -> str:
    return discover.backend(impl.partition("/")[0]).kind_of(dtype)


def check_given(options: CheckOptions, cases: Sequence[str]) -> list[CheckRow]:
    """Every implementation on these cases, in their order and in one process: one row each."""
    rows = []
    for impl in options.impls:
        with _sessions(impl, options) as sessions:
            for number, case in enumerate(cases, 1):
                kind = _kind(impl, case_from_text(case).problem.dtype)
                reply = sessions.do(partial(_ask_case, impl, options, case), kind)
                feature = "case" if len(cases) == 1 else f"case {number}"
                row = _row(impl, feature, case, options.device, reply)
                if options.files and row.status == OK:
                    row = _judged_outside(row, impl, options, case, partial(_ask, sessions, kind))
                rows.append(row if reply.ok else replace(row, again=command(impl, cases[:number], options)))
    return rows


def _ask(sessions: Sessions, kind: str, op: str, arguments: dict[str, Any]) -> Reply:
    """The reply of a process of this kind."""
    return sessions.do(lambda session: session.ask(op, **arguments), kind)


def _judged_outside(
    row: CheckRow, impl: str, options: CheckOptions, case: str, ask: Callable[[str, Any], Reply]
) -> CheckRow:
    """A row that agrees, which becomes wrong where a judge outside its process finds it so."""
    with SecondJudge(impl, options) as outside:
        why = outside.wrong(case, ask)
    if why is None:
        return row
    return replace(row, status=WRONG, fault=OUTSIDE, reason=why, failing=case, error_ratio=float("inf"))


def _ask_case(impl: str, options: CheckOptions, case: str, session: Session) -> Reply:
    return session.ask("check_case", **options.about(impl), case=case)


def _row(impl: str, feature: str, case: str, device: str, reply: Reply) -> CheckRow:
    if reply.ok:
        return replace(CheckRow.from_dict(reply.value), feature=feature)
    return lost_row(impl, feature, case_from_text(case).problem.dtype, device, reply, case)


def examined(rows: Sequence[CheckRow], options: CheckOptions, until: Until = never) -> list[CheckRow]:
    """The rows; of each feature the first that disagrees gets a diagnosis, its smallest case and a command.

    Where a declaration of arithmetic explains a row, that is its diagnosis, and no other cause is looked for. What is
    not examined by the moment ``until()`` stays as it is.
    """
    table = [_of_outside(row) for row in rows]
    impls = list(dict.fromkeys(row.impl for row in rows if row.status == WRONG))
    for number, impl in enumerate(impls):
        part = _part(until, len(impls) - number)
        with _sessions(impl, options, part) as sessions:
            declared = sessions.do(partial(_declared, table, impl, options, until=part))
            table = [_with_command(row, options) for row in declared]
            end = min(time.monotonic() + ALL_S, part())
            for place in _chosen(table, impl):
                left = end - time.monotonic()
                if left <= 1:
                    break
                examine = partial(_examined, table[place], min(EACH_S, left), options, until=part)
                table[place] = sessions.do(examine, _kind(impl, table[place].dtype))
    return table


def _part(until: Until, count: int) -> Until:
    """The end of a part of what is left, where so many are to have one."""
    now = time.monotonic()
    end = now + (until() - now) / count
    return lambda: end


def _of_outside(row: CheckRow) -> CheckRow:
    """A row that only a judge outside finds wrong gets its diagnosis here: in its own process nothing would show."""
    diagnosis = {"kind": OUTSIDE, "evidence": CHANGED}
    return replace(row, diagnosis=diagnosis) if row.status == WRONG and row.fault == OUTSIDE else row


def _declared(
    rows: Sequence[CheckRow], impl: str, options: CheckOptions, session: Session, *, until: Until
) -> list[CheckRow]:
    return with_declarations(rows, impl, session, options, until() - time.monotonic())


def _with_command(row: CheckRow, options: CheckOptions) -> CheckRow:
    """A row that is explained is shown again by its first case."""
    if not row.declaration or not row.diagnosis or not row.disagreements:
        return row
    return replace(row, again=command(row.impl, [row.disagreements[0]["case"]], options))


def _chosen(rows: Sequence[CheckRow], impl: str) -> list[int]:
    """The places of the rows to examine: the first of each feature whose cause is not known yet."""
    first: dict[str, int] = {}
    for place, row in enumerate(rows):
        if (
            row.impl == impl
            and row.status == "wrong"
            and row.failing
            and not row.diagnosis
            and row.fault not in (*LOST, OUTSIDE)
        ):
            first.setdefault(row.feature, place)
    return list(first.values())[:MOST]


def _examined(row: CheckRow, seconds: float, options: CheckOptions, session: Session, *, until: Until) -> CheckRow:
    timeout_s = min(seconds + GRACE_S, options.timeout_s)
    given = {"case": row.failing, "seconds": seconds}
    reply = session.ask("examine", timeout_s=timeout_s, **options.about(row.impl), **given)
    if not reply.ok:
        return row
    if reply.value["diagnosis"]["evidence"] == AGREES_AGAIN:
        return _of_earlier_calls(row, seconds, options, until)
    return replace(row, **reply.value, again=command(row.impl, reply.value["smallest_case"], options))


def _of_earlier_calls(row: CheckRow, seconds: float, options: CheckOptions, until: Until) -> CheckRow:
    """A row whose case agrees when it is run alone: which earlier case makes it wrong, or whether it takes all of them.

    Each earlier case is tried together with it in a new process.
    """
    end = time.monotonic() + seconds
    *before, failing = row.sequence or [row.failing or ""]
    if not before or not _disagrees([*before, failing], row.impl, options, until):
        diagnosis = {"kind": UNKNOWN, "evidence": ELSEWHERE}
        return replace(row, diagnosis=diagnosis, again=command_of_row(row, options))
    pairs = ([earlier, failing] for earlier in reversed(before) if time.monotonic() < end)
    cases = next((pair for pair in pairs if _disagrees(pair, row.impl, options, until)), [*before, failing])
    diagnosis = {"kind": "state", "evidence": AFTER}
    return replace(row, diagnosis=diagnosis, smallest_case=cases, again=command(row.impl, cases, options))


def _disagrees(cases: Sequence[str], impl: str, options: CheckOptions, until: Until) -> bool:
    """Whether the last of some cases disagrees in a new process that runs them one after the other."""
    with _sessions(impl, options, until) as sessions:
        kind = _kind(impl, case_from_text(cases[-1]).problem.dtype)
        replies = [sessions.do(partial(_ask_case, impl, options, case), kind) for case in cases]
    return replies[-1].ok and replies[-1].value["status"] == "wrong"
