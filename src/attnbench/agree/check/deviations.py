"""Known deviations: disagreements that are understood, written down beside the backend in ``known_deviations.toml``.

An entry loosens nothing. It turns a row that disagrees in just the way it says into ``known``; a row that disagrees
otherwise, or by more, stays wrong; and an entry whose rows agree has to go, or the check is red. The format is in
``docs/agreement.md``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import date
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from attnbench.agree.cases.by_feature import FEATURES
from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.cases.features import features_of
from attnbench.agree.check.rows import CheckRow
from attnbench.attention.precision import DTYPES
from attnbench.backends import discover
from attnbench.errors import UsageError, suggest

if TYPE_CHECKING:
    from attnbench.agree.check.random_rows import RandomResult

FILE = "known_deviations.toml"
FAULTS = ("value", "nan", "inf", "type", "shape", "dtype", "exception", "input", "reused", "crash", "timeout", "memory")
KNOWN, STALE = "known", "stale"


@dataclass(frozen=True)
class Deviation:
    """One entry. ``impl``, ``feature``, ``dtype``, ``device`` are names or shell patterns; the row must match them all.

    ``fault`` is the property that fails, ``at_most`` the error ratio that it reaches (required for the fault
    ``value``); ``differs`` says what differs, ``reason`` why, ``link`` where it is discussed, ``date`` when it was
    seen, ``versions`` package by version pattern where it holds. ``deep``: it shows with ``--deep`` alone.
    """

    impl: str
    feature: str
    dtype: str
    fault: str
    differs: str
    reason: str
    link: str
    date: date
    versions: Mapping[str, str]
    at_most: float | None = None
    device: str = "*"
    deep: bool = False
    source: str = field(default="", metadata={"given": False})

    def covers(self, row: CheckRow) -> bool:
        """Whether it is about this row: an announced implementation, on what the patterns name."""
        names = ("impl", "feature", "dtype", "device")
        matches = all(fnmatchcase(getattr(row, name), getattr(self, name)) for name in names)
        return matches and row.impl in discover.implementation_names()

    def explains(self, row: CheckRow) -> bool:
        """Whether the row disagrees in the way that is known, and by no more."""
        if row.status != "wrong" or row.fault != self.fault:
            return False
        ratios = [ratio for ratio in (row.error_ratio, row.gradient_ratio) if ratio is not None]
        return self.at_most is None or max(ratios, default=0.0) <= self.at_most


GIVEN = {f.name: f for f in fields(Deviation) if f.metadata.get("given", True)}
REQUIRED = tuple(name for name, f in GIVEN.items() if f.default is MISSING)


def announced(backend: str) -> tuple[Deviation, ...]:
    """The deviations that are known of a backend; none where there is no file. Imports no framework."""
    file = files(discover.backend(backend).package).joinpath(FILE)
    known = parse(file.read_text("utf-8"), str(file)) if file.is_file() else ()
    package = discover.backend(backend).package
    of_folder = [name for card in discover.backends().values() if card.package == package for name in card.names()]
    for deviation in known:
        _check_known("impl", deviation.impl, of_folder, deviation.source)
    mine = discover.backend(backend).names()
    return tuple(deviation for deviation in known if any(fnmatchcase(name, deviation.impl) for name in mine))


def load(path: Path) -> tuple[Deviation, ...]:
    """The deviations in a file."""
    return parse(path.read_text("utf-8"), str(path))


def parse(text: str, source: str) -> tuple[Deviation, ...]:
    """The deviations in the text of ``source``; ``UsageError`` names the file, the entry and the key that is wrong."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        _fail(source, f"is not TOML: {error}")
    for key in data:
        if key != "deviation":
            _fail(source, f"has a key {key!r}; it holds [[deviation]] entries only")
    entries = data.get("deviation", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        _fail(source, "has no list of entries: write [[deviation]], with two brackets")
    return tuple(_entry(entry, f"{source}, entry {i}") for i, entry in enumerate(entries, 1))


def _fail(source: str, what: str) -> NoReturn:
    msg = f"{source} {what}"
    raise UsageError(msg)


def _entry(data: dict[str, Any], source: str) -> Deviation:
    for key in data:
        if key not in GIVEN:
            _fail(source, f"has an unknown key {key!r}; there are {', '.join(GIVEN)}{suggest(key, GIVEN)}")
    for key in REQUIRED:
        if key not in data:
            _fail(source, f"lacks the key {key!r}; it needs {', '.join(REQUIRED)}")
    for key, value in data.items():
        _check_type(key, value, source)
    deviation = Deviation(**data, source=source)
    _check_known("feature", deviation.feature, FEATURES, source)
    _check_known("dtype", deviation.dtype, DTYPES, source)
    _check_known("fault", deviation.fault, FAULTS, source)
    if (deviation.fault == "value") != (deviation.at_most is not None):
        _fail(source, "needs the key 'at_most', an error ratio, for the fault 'value' and for no other")
    return deviation


KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "date": ((date,), "a date such as 2026-01-31, without quotes"),
    "versions": ((dict,), 'a table of version patterns such as {torch = "2.13.*"}'),
    "at_most": ((int, float), "a number"),
    "deep": ((bool,), "true or false"),
}


def _check_type(key: str, value: Any, source: str) -> None:
    kinds, wanted = KINDS.get(key, ((str,), "a text that is not empty"))
    right = isinstance(value, kinds) and (isinstance(value, bool) == (kinds == (bool,))) and value not in ("", {})
    if key == "versions" and right:
        right = all(isinstance(pattern, str) and pattern for pattern in value.values())
    if not right:
        _fail(source, f"has {value!r} for the key {key!r}, which takes {wanted}")


def _check_known(key: str, pattern: str, known: Sequence[str], source: str) -> None:
    if not any(fnmatchcase(name, pattern) for name in known):
        choices = ", ".join(known)
        _fail(source, f"has {pattern!r} for the key {key!r}, which matches none of {choices}{suggest(pattern, known)}")


def of_backends(impls: Sequence[str]) -> tuple[Deviation, ...]:
    """The known deviations of the backends of these implementations; ``UsageError`` where a file is malformed."""
    backends = dict.fromkeys(impl.partition("/")[0] for impl in impls)
    return tuple(deviation for backend in backends for deviation in announced(backend))


def settle(
    rows: Sequence[CheckRow], known: Sequence[Deviation], *, deep: bool = False, whole: bool = True
) -> list[CheckRow]:
    """The rows as the entries leave them.

    A row that disagrees just as an entry says is ``known``. Where all rows that an entry is about agree, they are
    ``wrong`` with the fault ``stale``, and the reason says what to delete; unless the check was not ``whole`` and may
    have missed it. Entries are about announced implementations only: a drop-in file is never excused.
    """
    valid = [deviation for deviation in known if (deep or not deviation.deep) and holds_here(deviation.versions)]
    seen = [deviation for deviation in valid if any(deviation.covers(row) and deviation.explains(row) for row in rows)]
    gone = [deviation for deviation in valid if whole and deviation not in seen]
    return [_settled(row, [deviation for deviation in valid if deviation.covers(row)], gone) for row in rows]


def _settled(row: CheckRow, about: list[Deviation], gone: list[Deviation]) -> CheckRow:
    old = next((deviation for deviation in about if deviation in gone), None)
    if row.status == "ok" and old is not None:
        why = f"agrees, but is a known deviation ({old.differs}): delete or narrow the entry in {old.source}"
        return replace(row, status="wrong", fault=STALE, reason=why)
    excuse = next((deviation for deviation in about if deviation.explains(row)), None)
    return row if excuse is None else _marked(row, excuse)


def _marked(row: CheckRow, deviation: Deviation) -> CheckRow:
    why = f"{deviation.differs}: {deviation.reason} ({deviation.link}, {deviation.date}). {row.reason}"
    return replace(row, status=KNOWN, reason=why)


def settle_random(results: Sequence[RandomResult], known: Sequence[Deviation], device: str) -> list[RandomResult]:
    """Random cases that disagree as an entry says are ``known``, and no disagreements any more.

    A case is matched by its fault, such as ``nan``. Entries for the fault ``value`` excuse none: how large the error of
    one case is depends on the case.
    """
    usable = [deviation for deviation in known if not deviation.deep and deviation.at_most is None]
    valid = [deviation for deviation in usable if holds_here(deviation.versions)]
    return [_settled_random(result, valid, device) for result in results]


def _settled_random(result: RandomResult, valid: Sequence[Deviation], device: str) -> RandomResult:
    def is_known(disagreement: Mapping[str, str]) -> bool:
        case = case_from_text(disagreement["case"])
        dtype, fault = case.problem.dtype, disagreement["fault"]
        rows = [CheckRow(result.impl, name, dtype, device, "wrong", 1, fault=fault) for name in features_of(case)]
        return any(deviation.covers(row) and deviation.explains(row) for deviation in valid for row in rows)

    excused = [disagreement["case"] for disagreement in result.disagreements if is_known(disagreement)]
    left = [disagreement for disagreement in result.disagreements if disagreement["case"] not in excused]
    return replace(result, disagreements=left, wrong=result.wrong - len(excused), known=excused)


def holds_here(versions: Mapping[str, str]) -> bool:
    """Whether the installed packages have these versions; a build's local label such as +cpu is not compared."""
    return all(fnmatchcase(_installed(name), pattern) for name, pattern in versions.items())


def _installed(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return ""
