"""What A and B of ``attnbench ab`` are: implementations, interpreters or git revisions; and the cells of each."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from attnbench.backends import discover
from attnbench.backends.implementation import DEVICES
from attnbench.errors import NothingSelectedError, UsageError, check_known, install_from_origin, suggest
from attnbench.live.duo import Name, Side, Twin, twins_of
from attnbench.live.revisions import (
    FORCE,
    OURS,
    WORKTREE,
    Revisions,
    branches,
    commit_of,
    known_commit,
    repository,
    unlike,
)
from attnbench.measure.run.choice import Omission
from attnbench.measure.run.plan import DESCRIBE_TIMEOUT_S, Plan, found_in, make_plan, overridden
from attnbench.suite import Cell, Suite

Kind = Literal["implementations", "interpreters", "revisions"]
Hold = Callable[[], object]


@dataclass(frozen=True)
class WantedComparison:
    """What is said of the two sides and of the cells, in the words of the command line.

    ``describing_s`` bounds the import of a drop-in file.
    """

    a: str
    b: str | None = None
    suites: Sequence[str] = ("smoke",)
    patterns: Sequence[str] = ()
    axes: Sequence[str] = ()
    files: Sequence[Path] = ()
    python_a: str | None = None
    python_b: str | None = None
    device: str | None = None
    threads: int | None = None
    describing_s: float = DESCRIBE_TIMEOUT_S


@dataclass(frozen=True)
class Resolved:
    """Two sides and the cells that stand against each other; ``refused`` gives reasons for cells by id.

    ``left_out`` are the implementations of a comparison of revisions of which nobody named any.
    """

    kind: Kind
    sides: Mapping[Name, Side]
    twins: tuple[Twin, ...]
    refused: Mapping[str, str]
    left_out: tuple[Omission, ...] = ()


def resolve(wanted: WantedComparison, stack: ExitStack, hold: Hold = lambda: None) -> Resolved:
    """Say what is compared; trees of revisions live until ``stack`` ends. Raises ``UsageError`` and its kin.

    ``hold`` is called once, when the question is understood and before any work is done for the answer.
    """
    _check_what_is_cheap(wanted)
    dropped = tuple(found_in([str(path) for path in wanted.files], wanted.describing_s)) if wanted.files else ()
    known = {*discover.implementation_names(), *dropped}
    b = wanted.b if wanted.b is not None else wanted.a
    if wanted.python_a is not None or wanted.python_b is not None:
        return _interpreters(wanted, b, known, hold)
    kinds = {_kind(name, known) for name in (wanted.a, b)}
    if len(kinds) > 1:
        msg = f"{wanted.a} and {b} are an implementation and a git revision; compare two of a kind"
        raise UsageError(msg)
    if wanted.b is None:
        msg = f"compare {wanted.a} with what? Name B too, such as: attnbench ab {wanted.a} B"
        raise UsageError(msg)
    if kinds == {"implementations"}:
        return _implementations(wanted, b, hold)
    return _revisions(wanted, b, stack, hold)


def _check_what_is_cheap(wanted: WantedComparison) -> None:
    """Raise ``UsageError`` for what is wrong to be seen at once, before a drop-in file is imported."""
    check_known("--device", [] if wanted.device is None else [wanted.device], DEVICES)
    suites = _timed_suites(wanted.suites)
    overridden(suites, wanted.axes)
    for file in wanted.files:
        if not file.exists():
            msg = f"--impls {file}: no such file or folder"
            raise UsageError(msg)
    for python in (wanted.python_a, wanted.python_b):
        _interpreter(python)
    announced = set(discover.implementation_names())
    if not wanted.files:
        discover.select(wanted.patterns)
    for name in filter(None, (wanted.a, wanted.b)):
        backend = name.partition("/")[0]
        may_be_dropped = bool(wanted.files) and backend in discover.backends()
        if not may_be_dropped and wanted.python_a is None and wanted.python_b is None:
            _kind(name, announced)


def resolve_itself(wanted: WantedComparison, stack: ExitStack) -> Resolved:
    """Every implementation that ``wanted.patterns`` name against itself, in one comparison."""
    names = discover.select(wanted.patterns or ("numpy/naive",))
    parts = [resolve(replace(wanted, a=name, b=name, patterns=()), stack) for name in names]
    twins = tuple(twin for part in parts for twin in part.twins)
    refused = {key: why for part in parts for key, why in part.refused.items()}
    return Resolved("implementations", parts[0].sides, twins, refused)


def _kind(name: str, known: set[str]) -> Kind:
    if name in known:
        return "implementations"
    if name in WORKTREE:
        return "revisions"
    if name.startswith(FORCE):
        known_commit(repository(Path.cwd()), name.removeprefix(FORCE))
        return "revisions"
    try:
        root = repository(Path.cwd())
    except UsageError:
        msg = f"{name!r} is no implementation, and this folder is in no git repository{suggest(name, known)}"
        raise UsageError(msg) from None
    if commit_of(root, name) is None:
        near = suggest(name, [*known, *branches(root)])
        msg = f"{name!r} is neither an implementation (attnbench list) nor a revision of {root}{near}"
        raise UsageError(msg)
    return "revisions"


def _implementations(wanted: WantedComparison, b: str, hold: Hold) -> Resolved:
    if wanted.patterns:
        msg = "--impl says what to compare between revisions; A and B are implementations already"
        raise UsageError(msg)
    plan = _plan(wanted, list(dict.fromkeys([wanted.a, b])))
    twins = _some(twins_of(plan.cells, wanted.a, b), wanted)
    hold()
    return Resolved("implementations", {"A": Side(wanted.a), "B": Side(b)}, twins, plan.refused)


def _interpreters(wanted: WantedComparison, b: str, known: set[str], hold: Hold) -> Resolved:
    for name in (wanted.a, b):
        if name not in known:
            msg = f"{name!r} is no implementation; --python-a and --python-b run one under two interpreters"
            raise UsageError(msg + suggest(name, known))
    plan = _plan(wanted, list(dict.fromkeys([wanted.a, b])))
    twins = _some(twins_of(plan.cells, wanted.a, b), wanted)
    a_path, b_path = (_interpreter(python) for python in (wanted.python_a, wanted.python_b))
    hold()
    sides: dict[Name, Side] = {"A": _interpreted(wanted.a, a_path), "B": _interpreted(b, b_path)}
    return Resolved("interpreters", sides, twins, plan.refused)


def _interpreter(name: str | None) -> str:
    if name is None:
        return sys.executable
    program = shutil.which(name)
    if program is None:
        msg = f"{name} is no program; name a Python in which attnbench is installed, such as ../old/bin/python"
        raise UsageError(msg)
    return str(Path(program).absolute())


def _interpreted(impl: str, python: str) -> Side:
    """The side of an interpreter; its ``problem`` where the attnbench in it speaks another protocol."""
    side = Side(f"{impl}, {python}", python)
    if python == sys.executable:
        return side
    problem = unlike(side)
    if problem is not None and f"No module named '{OURS}'" in problem:
        typed = install_from_origin(f"{shlex.quote(python)} -m pip")
        msg = f"{python} has no attnbench, and its worker is started by it. Type: {typed}"
        raise UsageError(msg)
    return replace(side, problem=problem)


def _revisions(wanted: WantedComparison, b: str, stack: ExitStack, hold: Hold) -> Resolved:
    plan = _plan(wanted, wanted.patterns)
    planned = _some(twins_of(plan.cells), wanted)
    hold()
    revisions = stack.enter_context(Revisions())
    trees = [revisions.tree(name.removeprefix(FORCE)) for name in (wanted.a, b)]
    sides: dict[Name, Side] = {"A": revisions.side(trees[0]), "B": revisions.side(trees[1])}

    def moved(cell: Cell, number: int) -> Cell:
        return replace(cell, files=tuple(str(revisions.within(trees[number], Path(file))) for file in cell.files))

    twins = tuple(Twin(moved(twin.a, 0), moved(twin.b, 1)) for twin in planned)
    return Resolved("revisions", sides, twins, plan.refused, plan.left_out)


def _plan(wanted: WantedComparison, patterns: Sequence[str]) -> Plan:
    return make_plan(
        _timed_suites(wanted.suites),
        patterns=patterns,
        overrides=wanted.axes,
        devices=() if wanted.device is None else (wanted.device,),
        threads=() if wanted.threads is None else (wanted.threads,),
        files=[str(path) for path in wanted.files],
    )


def _timed_suites(names: Sequence[str]) -> list[Suite]:
    suites = [discover.suite(name) for name in names]
    for suite in suites:
        if not suite.timed:
            msg = f"suite {suite.name!r} is observed, not timed: ab compares times. Timed suites: {', '.join(_timed())}"
            raise UsageError(msg)
    return suites


def _timed() -> list[str]:
    return [name for name in discover.suite_names() if discover.suite(name).timed]


def _some(twins: tuple[Twin, ...], wanted: WantedComparison) -> tuple[Twin, ...]:
    if not twins:
        msg = f"nothing to compare: {', '.join(wanted.suites)} has no cell that both sides have"
        raise NothingSelectedError(msg)
    return twins
