"""What to type where saved runs decide nothing: the same cells, live, by ``attnbench ab``."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Sequence

from attnbench.comparing.verdicts import NO_CELL, NO_TIMES, Verdict
from attnbench.results.schema import RunInfo

OPEN = ("inconclusive", "not-comparable")
# Options of ``attnbench run`` that say which cells there are, and mean the same to ``ab``.
CARRIED = {"-a": "-a", "--axis": "-a", "--impls": "--impls", "--suites": "--suites"}
MOST_COMMANDS = 3
UNDECIDABLE = (NO_CELL, NO_TIMES)
TWO_MACHINES = (
    "The runs are of two machines, and what differs between them is not told from what the code changed. To judge the "
    "code, measure both versions on one of them; to see the machines side by side: attnbench report BASE HEAD -o DIR"
)


def live_advice(base: RunInfo, head: RunInfo, verdicts: Iterable[Verdict], margin: float) -> list[str]:
    """Sentences, each ending in a command, for the cells that are open; none where nothing is."""
    open_ = [verdict for verdict in verdicts if verdict.verdict in OPEN and verdict.metric != "status"]
    if not open_:
        return []
    two_machines = base.fingerprint.machine_id != head.fingerprint.machine_id
    foreign = [info.imported for info in (base, head) if info.imported is not None and info.imported.unknown]
    if foreign:
        tool, where = foreign[0].tool, " on one machine" if two_machines else ""
        return [f"attnbench cannot measure what {tool} measured. Measure both there again,{where} one after the other."]
    if two_machines:
        return [TWO_MACHINES]
    open_ = [verdict for verdict in open_ if _decidable(verdict)]
    if not open_:
        return ["What is open, no other clock decides: both runs need a time of the same cell. Measure them again."]
    rest = _cells(head, open_, margin)
    impls = list(dict.fromkeys(verdict.impl for verdict in open_))
    if _interpreters_differ(base, head, impls):
        why = "The environments differ. With the interpreters of both on one machine, this decides it live"
        pythons = "--python-a BASE/bin/python --python-b HEAD/bin/python"
        return [f"{why}: attnbench ab {impl} {pythons} {rest}" for impl in impls[:MOST_COMMANDS]]
    varies = any(verdict.verdict == "inconclusive" for verdict in open_)
    chosen = " ".join(f"--impl {shlex.quote(impl)}" for impl in impls)
    return [_revisions(base, head, f"{chosen} {rest}", varies=varies)]


def _decidable(verdict: Verdict) -> bool:
    """Whether a live comparison would have times of both sides: not of a cell that one run lacks, or that has none."""
    return verdict.reason is None or not any(words in verdict.reason for words in UNDECIDABLE)


def _revisions(base: RunInfo, head: RunInfo, rest: str, *, varies: bool) -> str:
    old, new = base.fingerprint.git, head.fingerprint.git
    if old is None or new is None:
        why = "Which revisions these are was not recorded. With their names, this decides it live, on one machine"
        return f"{why}: attnbench ab REVISION-OF-BASE REVISION-OF-HEAD {rest}"
    if old == new and not old.endswith("+"):
        why = f"Both are of the same code, {old}: what differs is the machine."
        again = "Set what differs alike and measure both again."
        return f"{why} This says by how much it varies: attnbench calibrate" if varies else f"{why} {again}"
    lost = " (the uncommitted files of BASE are not in it)" if old.endswith("+") else ""
    right = "WORKTREE" if new.endswith("+") else new
    return f"This decides it live, on one machine{lost}: attnbench ab {old.rstrip('+')} {right} {rest}"


def _interpreters_differ(base: RunInfo, head: RunInfo, impls: Sequence[str]) -> bool:
    old, new = base.fingerprint, head.fingerprint
    backends = {name.partition("/")[0] for name in impls}
    return old.python != new.python or any(old.frameworks.get(n) != new.frameworks.get(n) for n in backends)


def _cells(info: RunInfo, verdicts: Sequence[Verdict], margin: float) -> str:
    """The options that choose the same cells: suites, axes as the run was asked for them, drop-in files, threads."""
    options = [f"--suite {shlex.quote(name)}" for name in dict.fromkeys(verdict.suite for verdict in verdicts)]
    words = list(info.command)
    for word, after in itertools.pairwise(words):
        if word in CARRIED:
            options.append(f"{CARRIED[word]} {shlex.quote(after)}")
    threads = {verdict.threads for verdict in verdicts}
    if len(threads) == 1 and "--threads" in words:
        options.append(f"--threads {threads.pop()}")
    return " ".join([*options, f"--margin {100 * margin:g}%"])
