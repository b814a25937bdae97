"""Finding backends, implementations and suites: by entry point, the same route for ours and third parties', and files.

Listing imports no framework. Loading an implementation imports its framework, so it happens in the process that
checks or measures.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib
import importlib.util
import sys
import traceback
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.backends.card import BackendInfo
from attnbench.backends.implementation import BACKEND_GROUP, DECORATING, Implementation
from attnbench.errors import (
    AttnbenchError,
    DeclarationError,
    MissingExtraError,
    NothingSelectedError,
    UnsupportedError,
    UsageError,
    suggest,
)
from attnbench.suite import files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.metadata import EntryPoint
    from types import FrameType, ModuleType

    from attnbench.suite import Suite

SUITE_GROUP = "attnbench.suites"
# Where a drop-in file's module keeps what was decorated in it.
DECORATED = "__attnbench_decorated__"
# Implementations that no file and no package defines: functions of this process, while they are checked in it.
HELD: dict[str, Implementation] = {}
# Errors of ours that say what is not here, and nothing of the file that was imported.
NOT_BY_AUTHOR = (MissingExtraError, UnsupportedError)


@cache
def backends() -> dict[str, BackendInfo]:
    """Every announced backend by name, in alphabetical order with ``numpy`` first; broken ones left out."""
    cards = {name: info for name, info in _announced().items() if isinstance(info, BackendInfo)}
    return dict(sorted(cards.items(), key=lambda item: (item[0] != "numpy", item[0])))


def broken_backends() -> dict[str, str]:
    """Announced backends that cannot be read, with the reason: ``attnbench doctor`` shows them."""
    return {name: reason for name, reason in _announced().items() if isinstance(reason, str)}


@cache
def _announced() -> dict[str, BackendInfo | str]:
    return {point.name: _card(point) for point in entry_points(group=BACKEND_GROUP)}


def _card(point: EntryPoint) -> BackendInfo | str:
    """A third party's broken package must not take the others down with it: the reason is kept and shown."""
    try:
        info = point.load()
    except Exception as error:  # noqa: BLE001  (anything can go wrong in somebody else's module)
        return f"{point.value}: {type(error).__name__}: {error}"
    if not isinstance(info, BackendInfo) or info.name != point.name:
        return f"{point.value} is not a BackendInfo named {point.name!r}"
    return info


def backend(name: str) -> BackendInfo:
    """The card of one backend; ``UsageError`` names those that exist."""
    known = backends()
    if name in (broken := broken_backends()):
        msg = f"backend {name!r} cannot be loaded: {broken[name]}"
        raise UsageError(msg)
    if name not in known:
        msg = f"unknown backend {name!r}; there are {', '.join(known)}{suggest(name, known)}"
        raise UsageError(msg)
    return known[name]


def compiles(implementation: Implementation) -> bool:
    """Whether every new shape is compiled: by its framework always, or of this implementation."""
    return implementation.compiled or backend(implementation.backend).compiles


def implementation_names() -> tuple[str, ...]:
    """Names of all announced implementations, installed or not."""
    return tuple(name for info in backends().values() for name in info.names())


def select(patterns: Sequence[str], names: Iterable[str] | None = None) -> tuple[str, ...]:
    """The names that match any of the shell patterns (all without patterns); an empty match is an error."""
    known = tuple(implementation_names() if names is None else names)
    if not patterns:
        return known
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            msg = f"no implementation matches {pattern!r}; there are {', '.join(known)}{_meant(pattern, known)}"
            raise UsageError(msg) if "*" not in pattern else NothingSelectedError(msg)
    return tuple(name for name in known if any(fnmatch.fnmatchcase(name, p) for p in patterns))


def _meant(pattern: str, known: Sequence[str]) -> str:
    """What to type for a list, for a backend, and for a part of names; else the nearest name."""
    parts = [part.strip() for part in pattern.split(",")]
    if len(parts) > 1 and all(fnmatch.filter(known, part) for part in parts):
        return f"; each is an argument of its own: {' '.join(parts)}, or --impl {' --impl '.join(parts)}"
    if any(name.startswith(f"{pattern}/") for name in known):
        return f"; did you mean '{pattern}/*', all of that backend?"
    if pattern and not set(pattern) & set("/*?[") and any(pattern in name for name in known):
        return f"; did you mean '*{pattern}*', all whose names have it?"
    return suggest(pattern, known)


def load_implementation(name: str, dropped: Sequence[str | Path] = ()) -> Implementation:
    """Import one implementation, from drop-in files first, else from its backend's package; or one that is held."""
    if name in HELD:
        return HELD[name]
    for path in dropped:
        for candidate in load_file(path):
            if candidate.name == name:
                return candidate
    info = backend(name.partition("/")[0])
    variant = name.partition("/")[2]
    modules = dict(info.implementations)
    if variant not in modules:
        msg = f"unknown implementation {name!r}; {info.name} has {', '.join(info.names())}{suggest(name, info.names())}"
        raise UsageError(msg)
    info.check_available(variant)
    module = importlib.import_module(f"{info.package}.{modules[variant]}")
    for candidate in _implementations_in(module):
        if candidate.name == name:
            return candidate
    msg = f"{info.package}.{modules[variant]} announces {name!r} but does not define it"
    raise UsageError(msg)


def load_file(path: str | Path) -> tuple[Implementation, ...]:
    """The implementations in a drop-in file, or in the files of a folder; imports whatever they import."""
    path = Path(path)
    if not path.exists():
        msg = f"--impls {path}: no such file or folder"
        raise UsageError(msg)
    inside = sorted(path.glob("*.py")) if path.is_dir() else [path]
    defined = tuple(implementation for file in inside for implementation in _implementations_in(_load_module(file)))
    if not defined:
        msg = f'--impls {path}: no implementation in it; decorate one with @implementation("numpy/mine", ...)'
        raise UsageError(msg)
    names = [implementation.name for implementation in defined]
    taken = sorted(set(names) & set(implementation_names()))
    if taken:
        msg = f"--impls {path}: {', '.join(taken)} is there already; give yours a name of its own, such as numpy/mine"
        raise DeclarationError(msg)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        msg = f"--impls {path}: defined twice: {', '.join(sorted(twice))}; give each a name of its own"
        raise DeclarationError(msg)
    return defined


def _load_module(file: Path) -> ModuleType:
    name = f"attnbench_dropin_{file.stem}_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        msg = f"--impls {file}: not a Python file"
        raise UsageError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _decorated_in(name) as decorated:
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _import_error(file, error) from error
    setattr(module, DECORATED, tuple(decorated))
    return module


@contextmanager
def _decorated_in(module: str) -> Iterator[list[Implementation]]:
    """What is decorated while this module is executed, by its own code or by functions that it calls."""
    decorated: list[Implementation] = []

    def keep(implementation: Implementation) -> None:
        if _executed() == module:
            decorated.append(implementation)

    DECORATING.append(keep)
    try:
        yield decorated
    finally:
        DECORATING.remove(keep)


def _executed() -> str:
    """The name of the module that is being executed, at whatever depth of calls."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  (the way to the frames)
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals.get("__name__", ""))


def _import_error(file: Path, error: Exception) -> UsageError:
    """What is said of a file that cannot be imported: its author's mistake, or what is not here."""
    if isinstance(error, SyntaxError):
        return DeclarationError(f"--impls {error.filename or file}, line {error.lineno}: {error.msg}")
    by_author = isinstance(error, (AttnbenchError, NameError)) and not isinstance(error, NOT_BY_AUTHOR)
    if not by_author:
        return UsageError(f"--impls {file}: importing it raised {type(error).__name__}: {error}")
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
    where = f"--impls {file}" + (f", line {lines[-1]}" if lines else "")
    return DeclarationError(f"{where}: {error}")


def _implementations_in(module: ModuleType) -> tuple[Implementation, ...]:
    """What was decorated in a module, two functions of one Python name too, and what else it holds."""
    held = {id(value): value for value in vars(module).values() if isinstance(value, Implementation)}
    decorated = {id(value): value for value in getattr(module, DECORATED, ())}
    # One that was changed afterwards and kept under the same name stands for the one that was decorated.
    changed = {value.name for key, value in held.items() if key not in decorated}
    kept = {key: value for key, value in decorated.items() if key in held or value.name not in changed}
    return tuple((kept | held).values())


def use_suites(paths: Sequence[str | Path], reserved: Iterable[str] = ()) -> tuple[str, ...]:
    """Know the suites in these files (``--suites``) beside the installed ones, until the next call; their names.

    ``reserved`` are names that no suite may have. Raises ``UsageError`` for a file that is missing or wrong.
    """
    return files.use(paths, _announced_suites(), tuple(reserved))


def suite_names() -> tuple[str, ...]:
    """Names of all announced suites, and of those in the files that are in use."""
    return tuple(sorted({*_announced_suites(), *files.known()}))


def _announced_suites() -> tuple[str, ...]:
    return tuple(point.name for point in entry_points(group=SUITE_GROUP))


def _loaded(point: EntryPoint) -> Suite:
    try:
        loaded: Suite = point.load()
    except Exception as error:  # anything can go wrong in somebody else's module
        msg = f"suite {point.name!r} ({point.value}) cannot be loaded: {type(error).__name__}: {error}"
        raise UsageError(msg) from error
    return loaded


def suite(name: str) -> Suite:
    """One suite by name; ``UsageError`` names those that exist."""
    if name in files.known():
        return files.known()[name]
    for point in entry_points(group=SUITE_GROUP):
        if point.name == name:
            return _loaded(point)
    known = suite_names()
    parts = [part.strip() for part in name.split(",")]
    several = len(parts) > 1 and set(parts) <= set(known)
    meant = f"; name several one after the other: {' '.join(parts)}" if several else suggest(name, known)
    msg = f"unknown suite {name!r}; there are {', '.join(known)}{meant}"
    raise UsageError(msg)
