"""Mutants behind conditions, judged on the cases of the default check.

    python -m tests.agree.conditional --count 2000 [--seed N]    # tox -e mutants

Each of ``count`` pairs of a mutant and a condition is drawn from the seed and its number, has a witness (see
``agree.mutants.conditional.witnesses``) and is judged until the first case that finds it. Printed are the killed and
the survivors by class of condition and by kind of fault, and every survivor on one line; the status is 1 below 99 %.
"""

from __future__ import annotations

import argparse
import multiprocessing
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import threadpoolctl

from attnbench.agree.cases.by_feature import CheckCase, check_cases
from attnbench.agree.cases.dimensions import SMALL, MostWork
from attnbench.agree.cases.plan import SWEEPS, planned_cases
from attnbench.agree.eager.attention import Eager
from attnbench.agree.judge.selection import SHARE
from attnbench.agree.mutants.conditional.known import Known, called_again, fault, known
from attnbench.agree.mutants.conditional.witnesses import KEEPS, ConditionedMutant, draw_witnessed
from attnbench.attention.precision import DTYPES
from attnbench.attention.problem import Case
from attnbench.backends.bind import Inputs, inputs_of

ENOUGH = 0.99
BOUNDARIES = "boundaries"
Plan = Callable[[], Sequence[CheckCase]]


@cache
def cases_of_features() -> Sequence[CheckCase]:
    """The cases of the check without its plan of boundaries: soon judged, and the floor of what is found."""
    return tuple(feature_case for dtype in DTYPES for feature_case in check_cases(dtype))


@cache
def default_plan() -> Sequence[CheckCase]:
    """The cases that ``attnbench check`` tries by default."""
    return (*cases_of_features(), *_boundaries(dict(enumerate(SWEEPS))))


@cache
def small_plan() -> Sequence[CheckCase]:
    """Those of them that are soon judged: of features, and the first sweep of small cases."""
    number = SWEEPS.index(SMALL)
    return (*cases_of_features(), *_boundaries({number: SMALL}))


def _boundaries(sweeps: Mapping[int, MostWork]) -> list[CheckCase]:
    plan = planned_cases(Eager().implementation("control"), sweeps=sweeps)
    return [CheckCase(BOUNDARIES, planned.case) for planned in plan]


@dataclass(frozen=True)
class Verdict:
    """What became of one pair: the case that killed it, or ``None``; and the pairs drawn before it without a witness.

    ``condition`` is the class of its condition, ``kind`` that of its fault, ``tried`` the number of cases judged.
    """

    condition: str
    kind: str
    line: str
    killed: str | None
    tried: int
    unseen: tuple[str, ...] = ()


@cache
def _inputs(case: Case) -> Inputs:
    return inputs_of(case)


@cache
def _known(check_case: CheckCase) -> Known:
    share = SHARE if check_case.feature == BOUNDARIES else None
    return known(check_case.case, inputs=_inputs(check_case.case), share=share)


def first_kill(pair: ConditionedMutant, plan: Sequence[CheckCase]) -> tuple[Case | None, int]:
    """The first case of a plan that finds the planted fault, and how many were judged.

    Where a fault depends on what came before, the order is that of the plan; otherwise the likeliest come first.
    """
    planted, keeps = pair.planted(), pair.mutant.kind in KEEPS
    ordered, tried = plan if keeps or pair.condition.remembers else _likeliest_first(pair, plan), 0
    for check_case in ordered:
        call = _inputs(check_case.case).call
        if call.sizes.empty:
            continue
        if not planted.would_show(call, gradients=check_case.case.gradients):
            for _ in range(1 + called_again(call.sizes)):
                planted.note(call.sizes)
            continue
        tried += 1
        if fault(_known(check_case), planted, twice=keeps) is not None:
            return check_case.case, tried
    return None, tried


def _likeliest_first(pair: ConditionedMutant, plan: Sequence[CheckCase]) -> list[CheckCase]:
    order = {feature: i for i, feature in enumerate(pair.mutant.telling)}

    def key(check_case: CheckCase) -> tuple[bool, int]:
        p = check_case.case.problem
        return check_case.feature not in order, p.B * p.Hq * p.Tq * p.S

    return sorted(plan, key=key)


def judge(number: int, *, seed: int, plan: Plan = default_plan) -> Verdict:
    """Draw the pair of this number and judge it."""
    pair, unseen = draw_witnessed(np.random.default_rng([seed, number]))
    killed, tried = first_kill(pair, plan())
    lines = tuple(pair.sentence() for pair in unseen)
    return Verdict(
        pair.condition.kind, pair.mutant.kind, pair.sentence(), None if killed is None else killed.label(), tried, lines
    )


def verdicts(count: int, seed: int, processes: int, plan: Plan = default_plan) -> Iterable[Verdict]:
    """Judge so many pairs, in their order."""
    task = partial(judge, seed=seed, plan=plan)
    if processes == 1:
        yield from map(task, range(count))
        return
    with multiprocessing.get_context("spawn").Pool(processes, threadpoolctl.threadpool_limits, (1,)) as pool:
        yield from pool.imap(task, range(count), chunksize=1)


def tables(judged: Sequence[Verdict]) -> str:
    """Killed of all by class of condition and by kind of fault, as Markdown."""
    lines = []
    for title, name in (("condition", "condition"), ("kind of fault", "kind")):
        everybody = Counter(getattr(verdict, name) for verdict in judged)
        killed = Counter(getattr(verdict, name) for verdict in judged if verdict.killed)
        lines += [f"| {title} | killed | survived |", "|---|---|---|"]
        lines += [f"| {group} | {killed[group]} | {everybody[group] - killed[group]} |" for group in sorted(everybody)]
        lines.append("")
    return "\n".join(lines)


def report(judged: Sequence[Verdict]) -> str:
    """Everything that is printed at the end."""
    survivors = [verdict for verdict in judged if verdict.killed is None]
    unseen = [line for verdict in judged for line in verdict.unseen]
    lines = [tables(judged), f"{len(survivors)} survived:", *(verdict.line for verdict in survivors), ""]
    lines += [f"{len(unseen)} drawn besides have no witness and do not count:", *unseen, ""]
    lines.append(
        f"killed {len(judged) - len(survivors)} of {len(judged)}: {share(judged):.1%}, {ENOUGH:.0%} are wanted"
    )
    return "\n".join(lines)


def share(judged: Sequence[Verdict]) -> float:
    """The part of the pairs that was killed."""
    return sum(verdict.killed is not None for verdict in judged) / len(judged)


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge and print; 1 below 99 %."""
    parser = argparse.ArgumentParser(description="mutants behind conditions, judged on the cases of the default check")
    parser.add_argument("--count", type=int, default=2000, help="how many pairs are judged")
    parser.add_argument("--seed", type=int, default=None, help="which ones; by default a random one, printed")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments)
    if given.count < 1 or given.processes < 1:
        parser.error("--count and --processes are 1 or more")
    seed = secrets.randbelow(2**32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)  # noqa: T201  (a program's answer)
    judged, start = [], time.monotonic()
    for verdict in verdicts(given.count, seed, given.processes):
        judged.append(verdict)
        if not len(judged) % 50:
            sys.stderr.write(f"{len(judged)} of {given.count}, {time.monotonic() - start:.0f} s\n")
    print(report(judged))  # noqa: T201
    return int(share(judged) < ENOUGH)


if __name__ == "__main__":
    sys.exit(main())
