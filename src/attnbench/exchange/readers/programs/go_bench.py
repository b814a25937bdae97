"""The text that Go's benchmarks print, line by line: results, what failed or was skipped, what is said of the machine.

Source: the Go benchmark data format (golang.org/design/14313-benchmark-format) and ``testing/benchmark.go``. A line is
``BenchmarkName-8  1000  1234 ns/op  56 B/op``: iterations, then pairs of value and unit. The name is printed before the
benchmark runs, so that what it prints itself stands between the name and its numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from attnbench.exchange.readers.entries import number_of

NAME = r"(Benchmark(?![a-z])\S*)"
RESULT = re.compile(rf"^{NAME}\s+(\d+)\s+(\S+\s+\S.*)$")
NUMBERS = re.compile(r"^\s*(\d+)\s+(\S+\s+\S.*)$")  # those that follow a name which stands in an earlier line
STARTED = re.compile(rf"^{NAME}(?:\s+(.*))?$")
ENDED = re.compile(rf"^\s*--- (FAIL|SKIP|BENCH|PASS): {NAME}")
SETTING = re.compile(r"^([a-z][^\sA-Z:]*):(?:[ \t]+(.*))?$")
PROCS = re.compile(r"^(.+?)-(\d+)$")
# What a terminal, or a log of GitHub Actions, puts around a line.
AROUND = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|^\d{4}-\d\d-\d\dT[0-9:.]+Z ")
VERDICT = re.compile(r"^(?:ok  |FAIL)\t\S+|^FAIL\t\S+ \[.*\]$")
DIED = ("panic:", "fatal error:", "SIGSEGV", "signal: ", "exit status ")
LOG = re.compile(r"^\s+\S+\.go:\d+: (.*)$")
BECAME = {"FAIL": "crashed", "SKIP": "unsupported"}


@dataclass(frozen=True)
class GoResult:
    """One result line: ``process`` counts the test binaries that printed the results of its package so far."""

    package: str
    name: str
    iterations: int
    values: dict[str, float]
    process: int = 0


@dataclass
class Printed:
    """What a text says. ``settings`` are its ``key: value`` lines, every value of each in order."""

    settings: dict[str, list[str]] = field(default_factory=dict)
    results: list[GoResult] = field(default_factory=list)
    failures: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def last(self, key: str) -> str:
        """The value of a setting as it stands now; empty where there is none."""
        return (self.settings.get(key) or [""])[-1]


def lines_of(text: str) -> list[str]:
    """The lines as Go printed them."""
    return [AROUND.sub("", line).rstrip() for line in text.splitlines()]


def with_procs(name: str) -> tuple[str, int]:
    """A name without its suffix, and GOMAXPROCS, which is the suffix; Go leaves it out where it is 1."""
    parts = PROCS.match(name)
    return (name, 1) if parts is None or int(parts[2]) < 1 else (parts[1], int(parts[2]))


def printed(text: str) -> Printed:
    """Read a text: the output of one ``go test -bench``, or of several after each other."""
    reading = _Reading()
    for line in lines_of(text):
        reading.line(line)
    reading.end()
    return reading.seen


class _Reading:
    """Where a reading stands: the name that waits for its numbers, the names that began, and the lines of a log."""

    def __init__(self) -> None:
        self.seen = Printed()
        self.waiting: str | None = None
        self.began: dict[tuple[str, str], None] = {}
        self.log: list[str] = []
        self.ended: tuple[str, str, list[str]] | None = None
        self.last_words = ""

    @property
    def package(self) -> str:
        return self.seen.last("pkg")

    def line(self, line: str) -> None:
        if match := LOG.match(line):
            (self.ended[2] if self.ended else self.log).append(match[1].strip())
            return
        self._close()
        if (match := RESULT.match(line)) and self._result(match[1], match[2], match[3]):
            self.waiting = None
        elif match := ENDED.match(line):
            self.ended = (match[1], match[2], self.log if match[1] == "SKIP" else [])
            self.log = []
        elif self.waiting and (match := NUMBERS.match(line)) and self._result(self.waiting, match[1], match[2]):
            self.waiting = None
        elif match := STARTED.match(line):
            self._begins(match[1], match[2] or "")
        elif line.startswith(DIED):
            self._dies(line)
        elif match := SETTING.match(line):
            self.seen.settings.setdefault(match[1], []).append((match[2] or "").strip())
        elif line.startswith("FAIL\t"):
            self._fails(line)

    def _result(self, name: str, iterations: str, rest: str) -> bool:
        values = _pairs(rest)
        if values is None:
            return False
        # Each binary prints its package first; where none is printed, its system.
        headers = self.seen.settings.get("pkg") or self.seen.settings.get("goos") or []
        process = max(headers.count(headers[-1]) - 1, 0) if headers else 0
        self.seen.results.append(GoResult(self.package, name, int(iterations), values, process))
        return True

    def _begins(self, name: str, rest: str) -> None:
        self.waiting = name
        self.began[self.package, name] = None
        self.log = []
        numbers = rest.split()
        if len(numbers) > 1 and numbers[0].isdigit():
            self.seen.warnings.append(f"{name}: its line cannot be read and is left out: {' '.join(numbers)[:60]}")
        if rest.startswith(DIED):
            self._dies(rest)

    def _dies(self, words: str) -> None:
        if not self.last_words or words.startswith("panic:"):
            self.last_words = words
        if self.waiting:
            self.seen.failures.setdefault((self.package, self.waiting), ("crashed", words))
            self.waiting = None

    def _fails(self, line: str) -> None:
        name, *rest = line.split("\t")[1].split(" ", 1)
        words = self.last_words or "".join(rest)
        self.seen.warnings.append(f"go test has {name} as failed{f': {words}' if words else ''}")
        self.last_words = ""

    def _close(self) -> None:
        """What ended is known with its reason once the lines of its log are over."""
        if self.ended is None:
            return
        kind, name, log = self.ended
        self.ended = None
        self.waiting = None
        if kind in BECAME:
            words = " ".join(log) or "go test has it as " + {"FAIL": "failed", "SKIP": "skipped"}[kind]
            self.seen.failures.setdefault((self.package, name), (BECAME[kind], words))

    def end(self) -> None:
        """A benchmark that began last, and of which nothing more is there, was cut off."""
        self._close()
        if self.waiting and not self._known(self.package, self.waiting):
            reason = "the text ends before its result"
            self.seen.failures.setdefault((self.package, self.waiting), ("not-run", reason))

    def _known(self, package: str, name: str) -> bool:
        """Whether there is a result of it, or of a benchmark within it."""
        known = {(result.package, result.name) for result in self.seen.results} | set(self.seen.failures)
        bare = with_procs(name)[0]
        return any(
            package == other and (with_procs(full)[0] == bare or full.startswith(f"{bare}/")) for other, full in known
        )


def _pairs(rest: str) -> dict[str, float] | None:
    """Values by their units; ``None`` where the text is something else, such as what a benchmark prints."""
    words = rest.split()
    if len(words) % 2:
        return None
    values = {}
    for value, unit in zip(words[::2], words[1::2], strict=True):
        number = number_of(value)
        if number is None:
            return None
        values[unit] = number
    return values


def joined(documents: Iterable[dict[str, object]]) -> str:
    """The text of a ``go test -json`` stream: what each package printed, package after package."""
    texts: dict[str, list[str]] = {}
    for document in documents:
        if document.get("Action") == "output":
            texts.setdefault(str(document.get("Package") or ""), []).append(str(document.get("Output") or ""))
    return "\n".join(_headed(package, "".join(parts)) for package, parts in texts.items())


def _headed(package: str, text: str) -> str:
    is_said = not package or re.search(rf"^pkg: {re.escape(package)}$", text, re.MULTILINE)
    return text if is_said else f"pkg: {package}\n{text}"


def is_printed(lines: Iterable[str]) -> Iterator[bool]:
    """For each line whether Go's benchmarks print such a line, and nothing else does."""
    for line in lines:
        match = RESULT.match(line)
        yield bool((match and _pairs(match[3])) or ENDED.match(line) or VERDICT.match(line))
