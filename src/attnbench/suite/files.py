"""Suites in files of one's own (``--suites FILE``): loaded, checked, and known to this process beside installed ones.

Loading a file runs it, as importing a module does. What is wrong with it is one line that names the file and, where
that is known, the line in it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import re
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from attnbench.errors import AttnbenchError, DeclarationError, UsageError, suggest
from attnbench.suite.kinds import Suite

OPTION = "--suites"
INSTALLED = "attnbench.suites."
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
FORM = "SUITE = ObservedSuite(...) or SUITE = TimedSuite(...), from attnbench.api.suites"
# What the files given to the command that runs say; ``use`` replaces it.
_KNOWN: dict[str, Suite] = {}
# The names of the suites of each file or folder that was given.
_GIVEN: dict[str, tuple[str, ...]] = {}
# Modules that lie beside a file and were imported by it, by name.
_SIBLINGS: dict[str, ModuleType] = {}


@dataclass(frozen=True)
class SuiteFile:
    """Where a suite was loaded from: the path as it was typed, the whole path, and the SHA-256 of the file's bytes."""

    typed: str
    path: str
    sha256: str

    @property
    def key(self) -> tuple[str, str]:
        """What a worker needs to load the very same file."""
        return self.path, self.sha256

    def place(self, error: BaseException) -> str:
        """Where in this file an error came from, such as ``mine.py, line 12``; empty where it came from elsewhere."""
        line = _last_line(error, self.path)
        return "" if line is None else f"{self.typed}, line {line}"


def use(files: Sequence[str | Path], installed: Collection[str], reserved: Collection[str] = ()) -> tuple[str, ...]:
    """Load files, or folders of them, and know their suites in this process instead of those of an earlier call.

    Names of ``installed`` suites and ``reserved`` ones are taken. Returns the names in the files. Raises
    ``UsageError``, and then nothing is known.
    """
    _KNOWN.clear()
    _GIVEN.clear()
    found_by_name: dict[str, Suite] = {}
    names_in: dict[str, tuple[str, ...]] = {}
    for given in files:
        suites = loaded(given)
        for suite in suites:
            _check_typed(suite)
            if suite is found_by_name.get(suite.name):
                continue  # its file was given before, by itself or by its folder
            _check_name(suite, installed, reserved, found_by_name)
            found_by_name[suite.name] = suite
        names_in[str(given)] = tuple(suite.name for suite in suites)
    _KNOWN.update(found_by_name)
    _GIVEN.update(names_in)
    return tuple(found_by_name)


def known() -> Mapping[str, Suite]:
    """The suites of the files that are in use, by name."""
    return _KNOWN


def names_in(given: str | Path) -> tuple[str, ...]:
    """The names of the suites that came from a file or folder in use, as it was given; none of another one."""
    return _GIVEN.get(str(given), ())


def loaded(given: str | Path) -> tuple[Suite, ...]:
    """The suites in a file, or in the files of a folder. Raises ``UsageError`` where there are none."""
    suites = tuple(suite for file in python_files(given) for suite in _suites_in(*_read(file)))
    if not suites:
        msg = f"{OPTION} {given}: no suite in it{_what_else(python_files(given))}; write {FORM}"
        raise UsageError(msg)
    return suites


def load_from(origin: SuiteFile, name: str) -> Suite:
    """One suite of the very file that it was loaded from before. ``UsageError`` where the file is another by now."""
    data = _bytes_of(origin)
    why = _unlike(origin, data)
    if data is None or why:
        msg = f"suite {name!r} stands in {origin.typed}, {why}"
        raise UsageError(msg)
    for suite in _suites_in(origin, data):
        if suite.name == name:
            return suite
    msg = f"{OPTION} {origin.typed}: no suite {name!r} in it"
    raise UsageError(msg)


def unlike(origin: SuiteFile) -> str:
    """Why a file is not what was loaded: it is gone, or has changed; empty where it is as it was."""
    return _unlike(origin, _bytes_of(origin))


def _bytes_of(origin: SuiteFile) -> bytes | None:
    try:
        return Path(origin.path).read_bytes()
    except OSError:
        return None


def _unlike(origin: SuiteFile, data: bytes | None) -> str:
    if data is None:
        return "which is not there any more"
    return "" if digest(data) == origin.sha256 else "which has changed since"


def digest(data: bytes) -> str:
    """The SHA-256 of a file's bytes."""
    return hashlib.sha256(data).hexdigest()


def python_files(given: str | Path) -> list[Path]:
    """The file, or the Python files of a folder by name. Raises ``UsageError`` where there is neither."""
    path = Path(given)
    if not path.exists():
        near = suggest(path.name, [file.name for file in path.parent.glob("*.py")])
        msg = f"{OPTION} {path}: no such file or folder{near}"
        raise UsageError(msg)
    if path.is_dir():
        return sorted(path.glob("*.py"))
    if path.suffix != ".py":
        msg = f"{OPTION} {path}: not a Python file (its name does not end in .py)"
        raise UsageError(msg)
    return [path]


def _read(file: Path) -> tuple[SuiteFile, bytes]:
    try:
        data = file.read_bytes()
    except OSError as error:
        msg = f"{OPTION} {file}: cannot be read ({error.strerror})"
        raise UsageError(msg) from error
    return SuiteFile(str(file), str(file.resolve()), digest(data)), data


def _suites_in(origin: SuiteFile, data: bytes) -> list[Suite]:
    """The suites that a file holds, each once; one that it only imported from an installed module is not its own."""
    module = _module(origin, data)
    mine = {id(suite): suite for value in vars(module).values() for suite in _within(value)}
    foreign = _imported()
    suites = [suite for key, suite in mine.items() if key not in foreign]
    for suite in suites:
        object.__setattr__(suite, "file", origin)
    return suites


def _within(value: object) -> Iterator[Suite]:
    """A suite, or the suites in a list, a tuple or a dictionary."""
    if isinstance(value, Suite):
        yield value
    elif isinstance(value, (list, tuple)):
        yield from (part for part in value if isinstance(part, Suite))
    elif isinstance(value, dict):
        yield from (part for part in value.values() if isinstance(part, Suite))


def _imported() -> set[int]:
    """Suites that a file may have imported to build upon: they are another module's."""
    others = [other for name, other in list(sys.modules.items()) if name.startswith(INSTALLED)]
    values = [value for other in others for value in vars(other).values()]
    return {id(value) for value in values if isinstance(value, Suite)}


def _module(origin: SuiteFile, data: bytes) -> ModuleType:
    """The module of a file as it is now: a file that has changed is another module.

    It may import what lies beside it, as a program may: a worker, which has no such folder by itself, is no exception.
    """
    key = digest(origin.path.encode())[:8]
    name = f"attnbench_suite_{key}_{origin.sha256[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = origin.path
    sys.modules[name] = module
    try:
        with _beside(Path(origin.path).parent):
            exec(compile(data, origin.path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102  (that is what loading it is)
    except KeyboardInterrupt:
        del sys.modules[name]
        raise
    except BaseException as error:  # a file may raise anything, SystemExit too
        del sys.modules[name]
        raise DeclarationError(_what_it_raised(origin, error)) from error
    return module


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """What lies in a folder can be imported. What an earlier file imported so is not taken for a module of this one."""
    for name, module in _SIBLINGS.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
    _SIBLINGS.clear()
    before, place = set(sys.modules), str(folder)
    of_program = place in sys.path  # then they are modules of the program that runs, and stay
    importlib.invalidate_caches()
    sys.path.insert(0, place)
    try:
        yield
    finally:
        if place in sys.path:  # the first of them: one that stood there before stays
            sys.path.remove(place)
        tops = {name.partition(".")[0] for name in set(sys.modules) - before} - before
        beside = {top for top in tops if not of_program and _stands_in(folder, top)}
        _SIBLINGS.update({name: sys.modules[name] for name in sys.modules if name.partition(".")[0] in beside})


def _stands_in(folder: Path, top: str) -> bool:
    """Whether a module was loaded from a folder itself, as from ``helper.py`` or ``helper/__init__.py`` in it."""
    source = getattr(sys.modules.get(top), "__file__", None)
    return source is not None and Path(source).with_suffix("") in (folder / top, folder / top / "__init__")


def _what_it_raised(origin: SuiteFile, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename in (None, origin.path):
        line = "" if error.lineno is None else f", line {error.lineno}"
        return f"{OPTION} {origin.typed}{line}: {error.msg}"
    place = origin.place(error) or origin.typed
    why = str(error) if isinstance(error, AttnbenchError) else f"importing it raised {type(error).__name__}: {error}"
    return f"{OPTION} {place}: {' '.join(why.split())}"


def _last_line(error: BaseException, path: str) -> int | None:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return lines[-1] if lines else None


def _check_typed(suite: Suite) -> None:
    """Raise ``DeclarationError`` for a name that cannot be typed."""
    name: object = suite.name
    if not isinstance(name, str) or not NAME.fullmatch(name):
        what = "letters, digits, dots, hyphens and underscores, such as my-question"
        msg = f"{OPTION} {_place_of(suite)}: a suite is named by {what}; got {name!r}"
        raise DeclarationError(msg)


def _check_name(
    suite: Suite, installed: Collection[str], reserved: Collection[str], before: Mapping[str, Suite]
) -> None:
    """Raise ``DeclarationError`` for a name that is taken."""
    start, name = f"{OPTION} {_place_of(suite)}:", suite.name
    if name in before:
        msg = f"{start} {name!r} is defined in {_place_of(before[name])} too; rename one of them"
        raise DeclarationError(msg)
    if name in (*installed, *reserved):
        what = "a group of suites" if name in reserved else "an installed suite"
        msg = f"{start} {name!r} is {what}; give yours a name of its own, such as my-{name}"
        raise DeclarationError(msg)


def _place_of(suite: Suite) -> str:
    """The file of a suite, and the line where its name stands, if it is written out there."""
    if suite.file is None:
        return "?"
    line = _line_of(Path(suite.file.path), suite.name)
    return suite.file.typed if line is None else f"{suite.file.typed}, line {line}"


def _line_of(file: Path, name: object) -> int | None:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return None
    lines = [
        node.value.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "name"
        if isinstance(node.value, ast.Constant) and node.value.value == name
    ]
    return max(lines, default=None)


def _what_else(files: Iterable[Path]) -> str:
    """What stands in the place of a suite, where a file has a ``SUITE`` that is none."""
    for file in files:
        origin = SuiteFile(str(file), str(file.resolve()), digest(data := file.read_bytes()))
        value = getattr(_module(origin, data), "SUITE", None)
        if value is not None and not isinstance(value, Suite):
            return f" (SUITE of {file.name} is of type {type(value).__name__})"
    return ""
