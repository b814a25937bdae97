"""The plan: suites × implementations × devices × threads become cells, and these become blocks.

Cells of one case become a block; cases that their suite wants beside each other share one. Nothing vanishes here: what
is not installed is planned like the rest and carries its reason. Planning imports no framework; the names in drop-in
files are asked of a worker, since importing such a file runs it.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attnbench.attention.problem import Case
from attnbench.backends import discover
from attnbench.errors import NothingSelectedError, UsageError, suggest
from attnbench.measure.clock.roofline import array_bytes
from attnbench.measure.run.choice import Omission, measured_by, reasons, unmet
from attnbench.show import units
from attnbench.suite import Cell, Point, Suite, TimedSuite
from attnbench.suite.levels import word_of
from attnbench.suite.written import written
from attnbench.workers.devices import lacking
from attnbench.workers.limits import free_memory
from attnbench.workers.protocol import Described, value
from attnbench.workers.session import Session

DESCRIBE_TIMEOUT_S = 60.0
MOST_DESCRIBING = 0.5  # of a budget


@dataclass(frozen=True)
class Plan:
    """What a run will measure. ``refused`` gives the reason for cells that cannot be measured here.

    ``left_out`` are implementations of which no cell is planned, because nobody named them.
    """

    suites: tuple[Suite, ...]
    cells: tuple[Cell, ...]
    refused: Mapping[str, str]
    left_out: tuple[Omission, ...] = ()

    def blocks(self) -> tuple[tuple[Cell, ...], ...]:
        """The cells by block, in planned order."""
        grouped: dict[str, list[Cell]] = {}
        for cell in self.cells:
            grouped.setdefault(cell.block_id, []).append(cell)
        return tuple(tuple(cells) for cells in grouped.values())

    def implementations(self) -> tuple[str, ...]:
        """The names of the implementations, in planned order."""
        return tuple(dict.fromkeys(cell.impl for cell in self.cells))

    def axes(self) -> dict[str, dict[str, list[Any]]]:
        """The levels of every axis by suite."""
        return {suite.name: {axis: list(levels) for axis, levels in suite.axes.items()} for suite in self.suites}


def make_plan(
    suites: Sequence[str | Suite],
    *,
    patterns: Sequence[str] = (),
    overrides: Sequence[str] = (),
    devices: Sequence[str] = (),
    threads: Sequence[int] = (),
    files: Sequence[str] = (),
    probe: bool = True,
    timeout_s: float = DESCRIBE_TIMEOUT_S,
) -> Plan:
    """Lay out every cell; ``timeout_s`` bounds the import of a drop-in file.

    Without ``devices`` and ``threads`` each suite has its own. ``probe`` asks the frameworks which devices they have,
    where a cell is on another than the CPU, so that what is not there is refused. Raises ``UsageError`` for what does
    not exist, ``NothingSelectedError`` for an empty plan.
    """
    chosen = chosen_suites(suites, overrides)
    dropped = found_in(files, min(timeout_s, DESCRIBE_TIMEOUT_S))
    known = tuple(dict.fromkeys((*discover.implementation_names(), *dropped)))
    for name in dropped:
        discover.backend(name.partition("/")[0])
    if any(count < 1 for count in threads):
        msg = f"--threads is 1 or more; got {', '.join(map(str, threads))}"
        raise UsageError(msg)
    cells: dict[str, Cell] = {}
    left_out: list[Omission] = []
    for suite in chosen:
        names, others = _selected(suite, patterns, known, dropped, devices or suite.devices)
        left_out += others
        points = list(suite.cases())
        suite_file = None if suite.file is None else suite.file.key
        _check_asked_for(suite, overrides, [point for point, _ in points])
        for cell in _cells(suite, points, names, devices or suite.devices, threads or suite.threads):
            filed = replace(cell, files=dropped.get(cell.impl, ()), suite_file=suite_file)
            _refuse_twins(suite, cells.get(filed.id), filed)
            cells[filed.id] = filed
    if not cells:
        msg = f"nothing to measure: suite {', '.join(suite.name for suite in chosen)} has no cell with these axes"
        raise NothingSelectedError(msg)
    return plan_of(chosen, tuple(cells.values()), patterns, tuple(left_out), probe=probe)


def chosen_suites(suites: Sequence[str | Suite], overrides: Sequence[str]) -> list[Suite]:
    """The suites, each once, with the levels that ``-a`` gives."""
    named = {suite.name: suite for suite in (discover.suite(s) if isinstance(s, str) else s for s in suites)}
    return overridden(list(named.values()), overrides)


def plan_of(
    suites: Sequence[Suite],
    cells: Sequence[Cell],
    patterns: Sequence[str] = (),
    left_out: tuple[Omission, ...] = (),
    *,
    probe: bool = True,
) -> Plan:
    """The plan of cells that are laid out already, with the reasons why some cannot be measured here."""
    refused = _too_much(suites, cells, patterns) | unmet(suites, cells) | refusals(cells, probe=probe)
    return Plan(tuple(suites), tuple(cells), refused, left_out)


def _selected(
    suite: Suite, patterns: Sequence[str], known: Sequence[str], dropped: Collection[str], devices: Sequence[str]
) -> tuple[tuple[str, ...], tuple[Omission, ...]]:
    """An explicit choice stands for the suite's own, and then nothing is left out."""
    if patterns:
        return discover.select(patterns, known), ()
    mine, left_out = measured_by(suite, known, dropped, devices)
    if not mine:
        msg = f"suite {suite.name!r} measures no implementation here: {'; '.join(reasons(left_out))}"
        raise NothingSelectedError(msg)
    return mine, left_out


def _cells(
    suite: Suite,
    points: Sequence[tuple[Point, Case | None]],
    names: Sequence[str],
    devices: Sequence[str],
    threads: Sequence[int],
) -> Iterable[Cell]:
    for point, case in points:
        for device in dict.fromkeys(devices):
            for count in dict.fromkeys(threads):
                block = suite.block_of(point, device, count)
                for name in names:
                    yield Cell(suite.name, point, case, name, device, count, block=block)


def _refuse_twins(suite: Suite, first: Cell | None, second: Cell) -> None:
    if first is None:
        return
    unlike = [axis for axis in second.point if second.point[axis] != first.point.get(axis)]
    what = f"differ in {', '.join(unlike)} and are" if unlike else "are"
    msg = f"suite {suite.name!r}: two points {what} the same case ({dict(first.point)}); it would be measured twice"
    raise UsageError(msg)


def _too_much(suites: Sequence[Suite], cells: Sequence[Cell], patterns: Sequence[str]) -> dict[str, str]:
    """What the suites themselves do not measure and why, by id; an implementation named in full is asked for."""
    rules = {suite.name: suite.refuse for suite in suites if isinstance(suite, TimedSuite) and suite.refuse}
    reasons: dict[str, str] = {}
    for cell in cells:
        rule = rules.get(cell.suite)
        if rule is not None and cell.case is not None and cell.impl not in patterns:
            reason = rule(cell.case, cell.impl)
            reasons |= {cell.id: reason} if reason else {}
    return reasons


def refusals(cells: Iterable[Cell], *, probe: bool = True) -> dict[str, str]:
    """Why cells cannot be measured here, by id.

    Their framework, or a program that they need, is not installed, it has no such device, or what they are about is
    more than the memory.
    """
    planned = tuple(cells)
    missing = {impl: why for impl in {cell.impl for cell in planned} if (why := _why_missing(impl))}
    reasons = _too_large(planned) | {cell.id: missing[cell.impl] for cell in planned if cell.impl in missing}
    return reasons | (lacking(cell for cell in planned if cell.id not in reasons) if probe else {})


def _why_missing(impl: str) -> str | None:
    """What an implementation needs and is not installed; nothing is known of one without a backend."""
    backend, _, variant = impl.partition("/")
    card = discover.backends().get(backend)
    return None if card is None else card.why_missing(variant)


def _too_large(cells: Iterable[Cell]) -> dict[str, str]:
    """Why cells do not fit into memory, by id: what they are called with and answer is more than is free."""
    free, reasons = free_memory(), {}
    for cell in cells:
        if cell.case is not None and (size := array_bytes(cell.case)) > free:
            what = (
                f"its inputs and outputs alone take {units.size(size)}, and {units.size(free)} of memory are free here"
            )
            reasons[cell.id] = f"{what}; ask for fewer tokens or a smaller batch"
    return reasons


def within(budget_s: float | None, timeout_s: float = DESCRIBE_TIMEOUT_S) -> float:
    """Seconds to describe a drop-in file in, where there is a budget: half of it, and the rest is for its rows."""
    usual = min(timeout_s, DESCRIBE_TIMEOUT_S)
    return usual if budget_s is None else min(usual, MOST_DESCRIBING * budget_s)


def names_in(files: Sequence[str | Path], timeout_s: float = DESCRIBE_TIMEOUT_S) -> tuple[str, ...]:
    """The implementations that drop-in files define; see ``found_in``."""
    return tuple(found_in(files, timeout_s))


def found_in(files: Sequence[str | Path], timeout_s: float = DESCRIBE_TIMEOUT_S) -> dict[str, tuple[str, ...]]:
    """Each implementation in drop-in files (or folders of them) with the file that defines it.

    Only that file is imported where the implementation is measured, so that no other one can hurt it. A worker imports
    the files; where it crashes or hangs over one, its text is read instead, so that its implementations get their rows
    with the reason. Raises ``UsageError`` where neither finds one.
    """
    files_by_name: dict[str, tuple[str, ...]] = {}
    with Session(None, timeout_s) as session:
        for given in files:
            within = _python_files(given)
            inside: list[str] = []
            for file in within:
                names, why = _names_in(file, session)
                if not names and len(within) == 1:
                    raise UsageError(why)
                _refuse_doubles(file, names, files_by_name)
                files_by_name |= {name: (str(file),) for name in names}
                inside += names
            if not inside:
                msg = f'--impls {given}: no implementation in it; decorate one with @implementation("numpy/mine", ...)'
                raise UsageError(msg)
    return files_by_name


def _refuse_doubles(file: Path, names: Sequence[str], files_by_name: Mapping[str, tuple[str, ...]]) -> None:
    for name in names:
        if files_by_name.get(name, (str(file),)) != (str(file),):
            msg = f"--impls {file}: {name} is defined in {files_by_name[name][0]} too; give one of them another name"
            raise UsageError(msg)


def _names_in(file: Path, session: Session) -> tuple[list[str], str]:
    """The names in one file, and why there are none. ``UsageError`` for a declaration that is wrong."""
    reply = session.ask("describe", files=[str(file)])
    if reply.outside:
        reply = session.ask("describe", files=[str(file)])
    if reply.ok:
        described = value(Described, reply)
        if described.problem:
            raise UsageError(described.problem)
        return described.names, ""
    why = (reply.reason or "no implementation found").removeprefix("UsageError: ")
    if str(file) not in why:
        why = f"--impls {file}: importing it ended in {why}"
    return list(dict.fromkeys(_names_written_in(file))), why


def _python_files(path: str | Path) -> list[Path]:
    path = Path(path).resolve()
    if not path.exists():
        msg = f"--impls {path}: no such file or folder"
        raise UsageError(msg)
    return sorted(path.glob("*.py")) if path.is_dir() else [path]


def _names_written_in(file: Path) -> list[str]:
    """The names in ``@implementation("backend/variant", …)``, without importing anything."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return []
    called = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node) == "implementation"]
    first = [node.args[0] for node in called if node.args]
    return [
        argument.value for argument in first if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def _called(node: ast.Call) -> str:
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def overridden(suites: Sequence[Suite], overrides: Sequence[str]) -> list[Suite]:
    """The suites with the levels that ``axis=v1,v2`` texts give; each applies to the suites that have the axis.

    Texts of one axis add up. Raises ``UsageError`` for an unknown axis, and for a level that the axis does not take.
    """
    texts_by_axis: dict[str, list[str]] = {}
    for text in overrides:
        axis, levels = _axis_and_levels(text)
        if not any(axis in suite.axes for suite in suites):
            known = list(dict.fromkeys(name for suite in suites for name in suite.axes))
            names = ", ".join(suite.name for suite in suites)
            msg = f"-a {text}: {names} has no axis {axis!r}; it has {', '.join(known)}{suggest(axis, known)}"
            raise UsageError(msg)
        texts_by_axis.setdefault(axis, []).append(levels)
    return [
        suite.with_axes({axis: suite.read(axis, *texts) for axis, texts in texts_by_axis.items() if axis in suite.axes})
        for suite in suites
    ]


def _axis_and_levels(text: str) -> tuple[str, str]:
    axis, equals, levels = text.partition("=")
    if not (axis.strip() and equals and levels.strip()):
        msg = f"-a {text}: write axis=v1,v2, such as -a T=128,512"
        raise UsageError(msg)
    return axis.strip(), levels


def _check_asked_for(suite: Suite, overrides: Sequence[str], points: Sequence[Point]) -> None:
    """Raise ``UsageError`` for a level that was asked for and that no case has: it would be gone without a word."""
    for axis in dict.fromkeys(_axis_and_levels(text)[0] for text in overrides):
        seen = [point[axis] for point in points if axis in point]
        if missing := [level for level in suite.axes.get(axis, ()) if points and level not in seen]:
            levels = "; ".join(f"{name} {written(map(word_of, levels))}" for name, levels in suite.axes.items())
            msg = f"suite {suite.name!r} has no case with {axis}={word_of(missing[0])} among these levels: {levels}"
            raise UsageError(msg)
