"""The plan: suites × implementations × devices × threads become cells, and cells of one case become blocks.

Nothing vanishes here: what is not installed is planned like the rest and carries its reason. Planning imports no
framework; the names in drop-in files are asked of a worker, since importing such a file runs it.
"""

from __future__ import annotations

import ast
import fnmatch
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnbench import discover
from attnbench.errors import MissingExtraError, NothingSelectedError, UsageError, suggest
from attnbench.measure.process import Setting, WorkerProcess
from attnbench.measure.protocol import Described, value
from attnbench.suite import Cell, Suite

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
        return {one.name: {axis: list(levels) for axis, levels in one.axes.items()} for one in self.suites}


def make_plan(
    suites: Sequence[str | Suite],
    *,
    patterns: Sequence[str] = (),
    overrides: Sequence[str] = (),
    devices: Sequence[str] = ("cpu",),
    threads: Sequence[int] = (1,),
    files: Sequence[str] = (),
) -> Plan:
    """Lay out every cell. Raises ``UsageError`` for what does not exist, ``NothingSelectedError`` for an empty plan."""
    named = {one.name: one for one in (discover.suite(s) if isinstance(s, str) else s for s in suites)}
    chosen = overridden(list(named.values()), overrides)
    absolute = tuple(str(Path(path).resolve()) for path in files)
    dropped = names_in(absolute)
    known = tuple(dict.fromkeys((*discover.implementation_names(), *dropped)))
    for name in dropped:
        discover.backend(name.partition("/")[0])
    if any(count < 1 for count in threads):
        msg = f"--threads is 1 or more; got {', '.join(map(str, threads))}"
        raise UsageError(msg)
    cells: dict[str, Cell] = {}
    for suite in chosen:
        names = _selected(suite, patterns, known, dropped)
        for cell in _cells(suite, names, devices, threads):
            own = Cell(**{**cell.__dict__, "files": absolute if cell.impl in dropped else ()})
            _refuse_twins(suite, cells.get(own.id), own)
            cells[own.id] = own
    if not cells:
        msg = f"nothing to measure: suite {', '.join(one.name for one in chosen)} has no cell with these axes"
        raise NothingSelectedError(msg)
    return Plan(tuple(chosen), tuple(cells.values()), refusals(cells.values()))


def _selected(suite: Suite, patterns: Sequence[str], known: Sequence[str], dropped: Sequence[str]) -> tuple[str, ...]:
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
                for name in names:
                    yield Cell(suite.name, point, case, name, device, count)


def _refuse_twins(suite: Suite, first: Cell | None, second: Cell) -> None:
    if first is None:
        return
    unlike = [axis for axis in second.point if second.point[axis] != first.point.get(axis)]
    what = f"differ in {', '.join(unlike)} and are" if unlike else "are"
    msg = f"suite {suite.name!r}: two points {what} the same case ({dict(first.point)}); it would be measured twice"
    raise UsageError(msg)


def refusals(cells: Iterable[Cell]) -> dict[str, str]:
    """Why cells cannot be measured here, by id: their framework is not installed."""
    cards = discover.backends()
    missing = {}
    for name, card in cards.items():
        try:
            card.check_available()
        except MissingExtraError as error:
            missing[name] = str(error)
    return {cell.id: missing[cell.backend] for cell in cells if cell.backend in missing}


def names_in(files: Sequence[str], timeout_s: float = DESCRIBE_TIMEOUT_S) -> tuple[str, ...]:
    """The implementations that drop-in files define.

    A worker imports the files; where it crashes or hangs over them, their text is read instead, so that each gets its
    rows with the reason. Raises ``UsageError`` where neither finds one.
    """
    if not files:
        return ()
    for path in files:
        if not Path(path).exists():
            msg = f"--impls {path}: no such file or folder"
            raise UsageError(msg)
    with WorkerProcess(None, Setting()) as worker:
        reply = worker.call("describe", timeout_s, files=list(files))
    if reply.ok:
        return tuple(dict.fromkeys(value(Described, reply).names))
    names = tuple(dict.fromkeys(name for path in files for name in _names_written_in(Path(path))))
    if not names:
        msg = (reply.reason or "no implementation found").removeprefix("UsageError: ")
        raise UsageError(msg)
    return names


def _names_written_in(path: Path) -> list[str]:
    """The names in ``@implementation("backend/variant", …)``, without importing anything."""
    found = []
    for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, OSError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _called(node) == "implementation" and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.append(first.value)
    return found


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
        having = [one for one in changed if axis in one.axes]
        if not having:
            known = list(dict.fromkeys(name for one in changed for name in one.axes))
            names = ", ".join(one.name for one in changed)
            msg = f"-a {text}: {names} has no axis {axis!r}; it has {', '.join(known)}{suggest(axis, known)}"
            raise UsageError(msg)
        changed = [one.with_axes({axis: parsed(one, axis, levels)}) if one in having else one for one in changed]
    return changed


def parsed(suite: Suite, axis: str, text: str) -> tuple[Any, ...]:
    """Levels as the axis' own levels are typed."""
    own = suite.axes[axis]
    if any(isinstance(level, (tuple, list)) for level in own):
        return _parsed_lists(suite, axis, text)
    kinds = {type(level) for level in own if level is not None}
    levels: list[Any] = []
    for word in (part.strip() for part in text.split(",")):
        if None in own and word.lower() == NONE:
            levels.append(None)
            continue
        reader, what = _reader(kinds)
        try:
            levels.append(reader(word))
        except (ValueError, KeyError) as error:
            shown = ", ".join(str(level) for level in own)
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
    example = json.dumps([list(one) if isinstance(one, tuple) else one for one in suite.axes[axis]])[1:-1]
    try:
        levels = json.loads(f"[{text}]")
    except ValueError as error:
        msg = f"-a {axis}={text}: axis {axis!r} of suite {suite.name!r} takes lists; write -a '{axis}={example}'"
        raise UsageError(msg) from error
    return tuple(tuple(one) if isinstance(one, list) else one for one in levels)
