"""The plan: suites × implementations × devices × threads become cells, and these become blocks.

Cells of one case become a block; cases that their suite wants beside each other share one. Nothing vanishes here: what
is not installed is planned like the rest and carries its reason. Planning imports no framework; the names in drop-in
files are asked of a worker, since importing such a file runs it.
"""

from __future__ import annotations

import ast
import fnmatch
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnbench.backends import discover
from attnbench.errors import NothingSelectedError, UsageError, suggest
from attnbench.measure.clock.roofline import array_bytes
from attnbench.show import units
from attnbench.suite import Cell, Suite, TimedSuite
from attnbench.workers.devices import lacking
from attnbench.workers.limits import free_memory
from attnbench.workers.protocol import Described, value
from attnbench.workers.session import Session

DESCRIBE_TIMEOUT_S = 60.0
TRUTH = {"true": True, "false": False}
NONE = "none"


@dataclass(frozen=True)
class Plan:
    """What a run will measure. ``refused`` gives the reason for cells that cannot be measured here."""

    suites: tuple[Suite, ...]
    cells: tuple[Cell, ...]
    refused: Mapping[str, str]

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
    named = {suite.name: suite for suite in (discover.suite(s) if isinstance(s, str) else s for s in suites)}
    chosen = overridden(list(named.values()), overrides)
    dropped = found_in(files, min(timeout_s, DESCRIBE_TIMEOUT_S))
    known = tuple(dict.fromkeys((*discover.implementation_names(), *dropped)))
    for name in dropped:
        discover.backend(name.partition("/")[0])
    if any(count < 1 for count in threads):
        msg = f"--threads is 1 or more; got {', '.join(map(str, threads))}"
        raise UsageError(msg)
    cells: dict[str, Cell] = {}
    for suite in chosen:
        names = _selected(suite, patterns, known, dropped)
        for cell in _cells(suite, names, devices or suite.devices, threads or suite.threads):
            filed = Cell(**{**cell.__dict__, "files": dropped.get(cell.impl, ())})
            _refuse_twins(suite, cells.get(filed.id), filed)
            cells[filed.id] = filed
    if not cells:
        msg = f"nothing to measure: suite {', '.join(suite.name for suite in chosen)} has no cell with these axes"
        raise NothingSelectedError(msg)
    planned = tuple(cells.values())
    return Plan(tuple(chosen), planned, _too_much(chosen, planned, patterns) | refusals(planned, probe=probe))


def _selected(suite: Suite, patterns: Sequence[str], known: Sequence[str], dropped: Collection[str]) -> tuple[str, ...]:
    """An explicit choice stands for the suite's own; drop-ins are chosen by being there."""
    if patterns:
        return discover.select(patterns, known)
    mine = tuple(n for n in known if n in dropped or any(fnmatch.fnmatchcase(n, p) for p in suite.implementations))
    if not mine:
        msg = f"suite {suite.name!r} is about {', '.join(suite.implementations)}, and no implementation is one of these"
        raise NothingSelectedError(msg)
    return mine


def _cells(suite: Suite, names: Sequence[str], devices: Sequence[str], threads: Sequence[int]) -> Iterable[Cell]:
    for point, case in suite.cases():
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

    Their framework is not installed, it has no such device, or what they are about is more than the memory.
    """
    missing = {name: why for name, card in discover.backends().items() if (why := card.why_missing())}
    planned = tuple(cells)
    reasons = _too_large(planned) | {cell.id: missing[cell.backend] for cell in planned if cell.backend in missing}
    return reasons | (lacking(cell for cell in planned if cell.id not in reasons) if probe else {})


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
    """The names in one file, and why there are none."""
    reply = session.ask("describe", files=[str(file)])
    if reply.outside:
        reply = session.ask("describe", files=[str(file)])
    if reply.ok:
        return value(Described, reply).names, ""
    why = (reply.reason or "no implementation found").removeprefix("UsageError: ")
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
    """The suites with the levels that ``axis=v1,v2`` texts give; each applies to the suites that have the axis."""
    changed = list(suites)
    for text in overrides:
        axis, equals, levels = text.partition("=")
        if not (axis and equals and levels):
            msg = f"-a {text}: write axis=v1,v2, such as -a T=128,512"
            raise UsageError(msg)
        having = [suite for suite in changed if axis in suite.axes]
        if not having:
            known = list(dict.fromkeys(name for suite in changed for name in suite.axes))
            names = ", ".join(suite.name for suite in changed)
            msg = f"-a {text}: {names} has no axis {axis!r}; it has {', '.join(known)}{suggest(axis, known)}"
            raise UsageError(msg)
        changed = [
            suite.with_axes({axis: parsed(suite, axis, levels)}) if suite in having else suite for suite in changed
        ]
    return changed


def parsed(suite: Suite, axis: str, text: str) -> tuple[Any, ...]:
    """Levels as the axis' own levels are typed."""
    usual = suite.axes[axis]
    if any(isinstance(level, (tuple, list)) for level in usual):
        return _parsed_lists(suite, axis, text)
    kinds = {type(level) for level in usual if level is not None}
    levels: list[Any] = []
    for word in (part.strip() for part in text.split(",")):
        if None in usual and word.lower() == NONE:
            levels.append(None)
            continue
        reader, what = _reader(kinds)
        try:
            levels.append(reader(word))
        except (ValueError, KeyError) as error:
            shown = ", ".join(str(level) for level in usual)
            msg = f"-a {axis}={text}: axis {axis!r} of suite {suite.name!r} takes {what}, as in {shown}; got {word!r}"
            raise UsageError(msg) from error
    return tuple(dict.fromkeys(levels))


def _reader(kinds: set[type]) -> tuple[Callable[[str], Any], str]:
    if kinds == {bool}:
        return (lambda word: TRUTH[word.lower()]), "true or false"
    if kinds == {int}:
        return int, "integers"
    if kinds and kinds <= {int, float}:
        return float, "numbers"
    return _nonempty, "words"


def _nonempty(word: str) -> str:
    if not word:
        raise ValueError(word)
    return word


def _parsed_lists(suite: Suite, axis: str, text: str) -> tuple[Any, ...]:
    example = json.dumps([list(level) if isinstance(level, tuple) else level for level in suite.axes[axis]])[1:-1]
    try:
        levels = json.loads(f"[{text}]")
    except ValueError as error:
        msg = f"-a {axis}={text}: axis {axis!r} of suite {suite.name!r} takes lists; write -a '{axis}={example}'"
        raise UsageError(msg) from error
    return tuple(tuple(level) if isinstance(level, list) else level for level in levels)
