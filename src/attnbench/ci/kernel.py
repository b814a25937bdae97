"""What is asked of the files of CI, understood: which kernels, compared with what, how long, what is installed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path
from urllib.parse import urlsplit

from attnbench.backends import discover
from attnbench.ci.repository import Repository, repository
from attnbench.errors import UsageError, installed_from
from attnbench.measure.run.plan import found_in, overridden

OURS = "attnbench"
# Each is something to a shell in YAML or to tox: an expression, a substitution, a comment, an escape.
MEANS_SOMETHING = "{}#\\"
VERSION = re.compile(r"3\.(\d{1,2})")
ADDRESS = re.compile(r"(git\+)?(https?|ssh)://\S+")
SPECIFIER = re.compile(r"(==|>=|<=|~=|!=|<|>)\s*[\w.*+!-]+(\s*,\s*(==|>=|<=|~=|!=|<|>)\s*[\w.*+!-]+)*")
SUCH_AS = "--attnbench 'git+https://github.com/OWNER/attnbench@COMMIT'"


@dataclass(frozen=True)
class WantedCi:
    """What is said on the command line; pip gets attnbench from ``source``, and takes ``installs`` besides."""

    files: Sequence[Path]
    patterns: Sequence[str] = ()
    base: str | None = None
    python: str = "3.12"
    budget: str = "5m"
    budget_s: float = 300.0
    suites: Sequence[str] = ()
    axes: Sequence[str] = ()
    source: str | None = None
    installs: Sequence[str] = ()
    out: Path | None = None


@dataclass(frozen=True)
class KernelCi:
    """The same, understood: paths from the top of the repository, with a / between folders on every system."""

    repository: Repository
    files: tuple[str, ...]
    impls: tuple[str, ...]
    base: str
    python: str
    budget: str
    budget_s: float
    cells: tuple[str, ...]
    requirement: str
    installs: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def check_words(self) -> tuple[str, ...]:
        """What stands behind ``attnbench check``."""
        return (*self.impls, *self.file_words)

    @property
    def file_words(self) -> tuple[str, ...]:
        """The files, each behind its option."""
        return _each("--impls", self.files)

    @property
    def ab_words(self) -> tuple[str, ...]:
        """What stands behind ``attnbench ab A B``."""
        return (*self.file_words, *_each("--impl", self.impls), *self.ab_options)

    @property
    def ab_options(self) -> tuple[str, ...]:
        """Which cells, and for how long. What stays open does not fail, and that has to be said."""
        return (*self.cells, "--budget", self.budget, "--inconclusive", "pass")


def understood(wanted: WantedCi) -> KernelCi:
    """Look at everything that was said. Raises ``UsageError``; nothing is written."""
    if not wanted.files:
        msg = "which kernel? Name its file: attnbench init-ci --impls mine.py"
        raise UsageError(msg)
    place = repository(wanted.out)
    files = tuple(dict.fromkeys(_from_the_top(place, file) for file in wanted.files))
    base = place.base(wanted.base)
    cells = (*_each("--suite", wanted.suites), *_each("-a", wanted.axes))
    _check_python(wanted.python)
    _check_cells(wanted)
    for option, texts in (("--impls", files), ("--base", [base]), ("-a", cells), ("--install", wanted.installs)):
        _refuse_what_means_something(option, texts)
    _check_installs(wanted.installs)
    source = _source(wanted.source)
    impls = discover.select(wanted.patterns, found_in([str(place.root / file) for file in files]))
    return KernelCi(
        repository=place,
        files=files,
        impls=impls,
        base=base,
        python=wanted.python,
        budget=wanted.budget,
        budget_s=wanted.budget_s,
        cells=cells,
        requirement=f"{OURS}[{','.join(_extras(impls))}]{source}",
        installs=tuple(wanted.installs),
        notes=tuple(_notes(place, files)),
    )


def _each(option: str, values: Iterable[str]) -> tuple[str, ...]:
    """The option before each of its values."""
    return tuple(word for value in values for word in (option, value))


def _from_the_top(place: Repository, file: Path) -> str:
    """The path of a kernel's file from the top of its repository; a link is what it is called, not what it leads to."""
    if not file.exists():
        msg = f"--impls {file}: no such file or folder"
        raise UsageError(msg)
    whole = file.resolve() if file.is_dir() else file.parent.resolve() / file.name
    if not whole.is_relative_to(place.root):
        msg = f"--impls {file} is outside of the repository {place.root}, and only what is in it is there in CI"
        raise UsageError(msg)
    path = whole.relative_to(place.root).as_posix()
    if place.ignores(path):
        msg = f"--impls {file}: git is told to ignore it, so it would be missing in CI; see: git check-ignore -v {path}"
        raise UsageError(msg)
    return path


def _notes(place: Repository, files: Sequence[str]) -> Iterator[str]:
    if not place.by_git:
        yield f"{place.root} is in no git repository yet; GitHub reads the workflow at the top of one"
    for file in files:
        if not place.holds(file):
            yield f"{file} is not in git yet: git add {shlex.quote(file)}"


def _check_python(version: str) -> None:
    """Raise ``UsageError`` for what is no version of Python that attnbench runs on."""
    needed = metadata(OURS)["Requires-Python"]
    lowest = VERSION.search(needed)
    match = VERSION.fullmatch(version)
    if match is None or (lowest is not None and int(match[1]) < int(lowest[1])):
        msg = f"--python is a version such as 3.12, and attnbench needs {needed}; got {version!r}"
        raise UsageError(msg)


def _check_cells(wanted: WantedCi) -> None:
    """Raise ``UsageError`` for a suite that is none or is not timed, and for axes that it does not have."""
    suites = [discover.suite(name) for name in wanted.suites or ("smoke",)]
    for suite in suites:
        if not suite.timed:
            msg = f"suite {suite.name!r} is observed, not timed: ab compares times; see: attnbench list suites"
            raise UsageError(msg)
    overridden(suites, wanted.axes)


def _refuse_what_means_something(option: str, texts: Iterable[str]) -> None:
    for text in texts:
        signs = sorted({sign for sign in text if sign in MEANS_SOMETHING or not sign.isprintable()})
        if signs:
            named = " and ".join(ascii(sign) for sign in signs)
            msg = f"{option} {text!r} has {named} in it, which GitHub or tox would not take as it stands; rename it"
            raise UsageError(msg)


def _check_installs(texts: Iterable[str]) -> None:
    """Raise ``UsageError`` for words that a shell could not take apart."""
    for text in texts:
        try:
            words = shlex.split(text)
        except ValueError as error:
            msg = f"--install {text!r} cannot be taken apart into words: {error}"
            raise UsageError(msg) from None
        if not words:
            msg = "--install is what pip takes besides, such as '-r requirements.txt'; got nothing"
            raise UsageError(msg)


def _source(named: str | None) -> str:
    """What stands behind the name in a requirement of pip: ``==VERSION``, or `` @ ADDRESS``."""
    source = (named if named is not None else installed_from() or "").strip()
    if not source:
        msg = "this attnbench was installed from a folder of this machine, which CI cannot reach. "
        msg += f"Say where pip gets it there: {SUCH_AS}"
        raise UsageError(msg)
    _refuse_what_means_something("--attnbench", [source])
    if ADDRESS.fullmatch(source):
        if "@" in urlsplit(source).netloc.removeprefix("git@"):
            msg = "--attnbench: the address has a name or a password in it, and would stand in a file that others read"
            raise UsageError(msg)
        return f" @ {source}"
    specifier = source.removeprefix(OURS).strip()
    if SPECIFIER.fullmatch(specifier):
        return specifier
    msg = f"--attnbench is an address or versions, such as {SUCH_AS} or --attnbench '==0.1.0'; got {source!r}"
    raise UsageError(msg)


def _extras(impls: Iterable[str]) -> list[str]:
    """The extras that bring what the implementations compute with, and what ``ab`` needs."""
    cards = discover.backends()
    names = {name.partition("/")[0] for name in impls}
    brought = {extra for name in names if name in cards for extra in (cards[name].extra or "").split(",") if extra}
    return ["report", *sorted(brought)]
