"""The auditor: asks a judge for values and a kernel's process for calls on them, and compares time and answers.

It is of the run's own process, which no kernel reaches, as is its clock. What to judge it chooses by a seed that it
tells nobody before the answers are there.
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from attnbench.measure.audits.charges import charged, evenly, is_alone, running_share, seconds_of, used, usual
from attnbench.measure.audits.judging import HOT, NEW, PART, REST
from attnbench.measure.audits.verdict import (
    ALIKE,
    EXPLAINED,
    FEWEST,
    Round,
    allowed,
    quiet,
    shortest,
    suspected,
    unexplained,
    unlike,
)
from attnbench.measure.clock.roofline import work
from attnbench.suite import Cell
from attnbench.workers.limits import free_memory
from attnbench.workers.protocol import NOTHING_KEPT, WRONG, Burst, Reply, Verified, value
from attnbench.workers.scratch import Scratch, sweep
from attnbench.workers.session import Session

PREFIX = "attnbench-audit-"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (a folder that only its owner reads is made there)
# The calls of one kind in a round are as many as take about ROUND_S seconds together, within these two numbers.
ROUND_S = 0.030
FEWEST_CALLS, MOST_CALLS, MOST_IF_BRIEF = 2, 12, 4
# Calls that take longer are audited by one of each kind.
LONG_S = 0.1
# Values of no more bytes than this are all put into arrays of their own before the first call on them.
AHEAD_BYTES = 64 * 2**20

# How many times the bytes of its operands a cell's files and processes hold.
COPIES, IN_MEMORY = 5, 10
MARGIN_BYTES = 16 * 2**20

SAID = {
    "hot": "in a burst it answered otherwise than at the gate",
    "new": "on values that it had not seen",
    "par": "after one part of its inputs had changed",
    "res": "it goes on after it has returned",
}

WEIGHED = "where its memory was measured"

# An answer of a further process is not judged again that was found right so often, byte for byte; each time other rows
# and heads of it were judged.
OFTEN_ENOUGH = 2

# The file with the answer of the last call before an audit.
LAST = "last"

# Seconds for which a process is watched after a burst, and seconds of a processor that it may use meanwhile.
WATCHED_S, RESTING_S = 0.030, 0.005
# Seconds that it has to come to rest before its last answer is read again.
RESTED_S = 0.020
WATCHES = 3
GOES_ON = "its process goes on computing after it has answered: within"


@dataclass(frozen=True)
class AuditedProcess:
    """The process of a cell: ``ask`` it, ``burst`` as all its bursts were made, ``rest``: what it does unasked.

    The first two give ``None`` where it gave no answer; the processor time of a burst is what the system tells of it
    (``by_the_system``). ``rest`` takes seconds and gives seconds of processor time. ``move`` lets it compute on other
    processors, as they are drawn for bursts that count: they are not alike.
    """

    ask: Callable[..., Reply | None]
    burst: Callable[[], Burst | None]
    rest: Callable[[float], float | None]
    move: Callable[[], object] = lambda: None


@dataclass
class Audited:
    """What an audit saw: its rounds, why the cell is ``wrong`` and why it was not audited, ``None`` where it is not.

    Where ``explained`` it had no rounds: its times are those that were audited in another process of the same cell.
    """

    rounds: list[Round] = field(default_factory=list)
    wrong: str | None = None
    skipped: str | None = None
    kernel_s: float | None = None
    explained: bool = False

    def take(self, judged: Reply) -> None:
        """What the judge said of its answers."""
        if judged.status == WRONG:
            self.wrong = f"{SAID[judged.value.get('set', NEW)[:3]]}: {judged.reason}"
        elif not judged.ok:
            self.skipped = f"the judge could not judge: {judged.reason}"

    def told(self) -> dict[str, Any]:
        """For the journal."""
        return asdict(self)


class Auditor:
    """Audits cells, one after the other, with one judge. Use it as a context.

    The judge has ``timeout_s`` seconds for an answer, and is not waited for beyond ``until`` (of ``time.monotonic``).
    ``brief`` audits have fewer calls in a round, and judge an answer less.
    """

    def __init__(self, timeout_s: float, until: float = math.inf, *, brief: bool = False) -> None:
        self._brief = brief
        self._judge, self._timeout_s, self._until = Session(None, timeout_s), timeout_s, until
        self._secret = secrets.SystemRandom()
        for parent in (SHARED_MEMORY, Path(tempfile.gettempdir())):
            sweep(PREFIX, parent)
        self._shelves: dict[Path, Scratch] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Have the judge begin, and do not wait for it: it imports while others do."""
        self._judge.start()

    def close(self) -> None:
        """End the judge, and leave nothing behind."""
        self._judge.close()
        for shelf in self._shelves.values():
            shelf.remove()
        self._shelves = {}

    def audit(
        self,
        cell: Cell,
        precision: Mapping[str, Any],
        call_s: float,
        process: AuditedProcess,
        earlier: Sequence[Round] = (),
    ) -> Audited | None:
        """Audit a prepared cell; ``None`` where its process gave no answer.

        ``precision`` says how exact its answers have to be, ``call_s`` what a call took in the bursts that count,
        ``earlier`` are the rounds of another process of the same cell: where they explain this one's times as well, it
        has none, but an answer of a burst is judged, and what goes on after it. A cell that is not explained is audited
        again, and accused by ``FEWEST`` rounds.
        """
        most = MOST_IF_BRIEF if self._brief else MOST_CALLS
        groups = 1 if call_s > LONG_S else max(FEWEST_CALLS, min(most, round(ROUND_S / max(call_s, 1e-9))))
        folder = self._folder(cell, groups)
        if folder is None:
            return Audited(skipped="there is too little memory for values beside those that it is timed on")
        try:
            if cell.device == "cpu" and quiet(earlier) and shortest(earlier, call_s) >= EXPLAINED:
                return self._explained(cell, precision, folder, process)
            seen = self._rounds(cell, precision, call_s, groups, folder, process)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if seen is not None and seen.wrong is None and seen.skipped is None:
            seen.wrong = unexplained(seen.rounds) or (unlike(call_s, seen.rounds) if is_alone(cell) else None)
        return seen

    def _rounds(
        self,
        cell: Cell,
        precision: Mapping[str, Any],
        call_s: float,
        groups: int,
        folder: Path,
        process: AuditedProcess,
    ) -> Audited | None:
        """As many rounds as are needed; ``None`` where its process gave no answer."""
        seen = Audited()
        if process.ask("steady") is None:
            return None
        before = self._at_rest(process, seen) if cell.device == "cpu" else process.burst()
        while not seen.wrong and not seen.skipped and self._doubted(cell, call_s, seen.rounds):
            if seen.rounds:
                process.move()
                before = process.burst()
            if before is None or not self._round(cell, precision, groups, folder, process, seen, before):
                return None
        return None if before is None else seen

    def _explained(
        self, cell: Cell, precision: Mapping[str, Any], folder: Path, process: AuditedProcess
    ) -> Audited | None:
        """Judge an answer of a burst, and watch the process after it; ``None`` where it gave no answer."""
        seen = Audited(explained=True)
        if self._at_rest(process, seen) is None:
            return None
        if not seen.wrong:
            if process.ask("answer", folder=str(folder), name=LAST) is None:
                return None
            if self._times_right(cell, precision, folder) < OFTEN_ENOUGH:
                seen.take(self._last(cell, precision, folder))
        return seen

    def _doubted(self, cell: Cell, call_s: float, rounds: list[Round]) -> bool:
        """Whether a further round is needed."""
        if not rounds:
            return True
        if len(rounds) == FEWEST:
            return False
        return suspected(rounds) or (is_alone(cell) and call_s < ALIKE * min(round_.burst_s for round_ in rounds))

    def answered(self, cell: Cell, precision: Mapping[str, Any], ask: Callable[..., Reply]) -> Reply | None:
        """The reply that ends a cell whose last call was weighed, not timed: its answer is wrong, or it hands out none.

        The same answer, byte for byte, that was right in a burst is not judged again. ``None`` is also said where
        memory is short, the judge fails, or its process measured itself and kept nothing.
        """
        folder = self._folder(cell, 1)
        if folder is None:
            return None
        try:
            handed = ask("answer", folder=str(folder), name=LAST)
            if not handed.ok:
                return None if NOTHING_KEPT in (handed.reason or "") else handed
            if self._times_right(cell, precision, folder):
                return None
            judged = self._last(cell, precision, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return replace(judged, reason=f"{WEIGHED}: {judged.reason}") if judged.status == WRONG else None

    def _ask(self, op: str, **arguments: Any) -> Reply:
        patience_s = min(self._timeout_s, self._until - time.monotonic())
        return self._judge.ask(op, timeout_s=max(patience_s, 0.0), **arguments)

    def _times_right(self, cell: Cell, precision: Mapping[str, Any], folder: Path) -> int:
        """How often what was handed out, byte for byte, was found right for the usual values of this cell."""
        known = self._ask("was_right", file=LAST, **_answered(cell, precision, folder))
        return int(known.value.get("times", 0))

    def _last(self, cell: Cell, precision: Mapping[str, Any], folder: Path) -> Reply:
        """Judge what was handed out of the last call of a process, on the usual values."""
        drawn = self._draw(cell, folder, 0)
        return self._judged(cell, precision, folder, [[LAST, HOT]]) if drawn.ok else drawn

    def _draw(self, cell: Cell, folder: Path, groups: int) -> Reply:
        """Have so many pairs of sets drawn, or with none the usual values."""
        seed = self._secret.randrange(2**31)
        return self._ask("draw", cell=cell.to_dict(), folder=str(folder), seed=seed, groups=groups)

    def _judged(
        self,
        cell: Cell,
        precision: Mapping[str, Any],
        folder: Path,
        answers: Sequence[Sequence[str]],
        alike: Sequence[str] = (),
    ) -> Reply:
        """What the judge says of answers, each by the name of its file and that of its set."""
        arguments = _answered(cell, precision, folder)
        how = {"answers": list(answers), "alike": list(alike), "brief": self._brief}
        return self._ask("judge_answers", **how, **arguments)

    def _at_rest(self, process: AuditedProcess, seen: Audited) -> Burst | None:
        """Watch its process after bursts, while nobody asks for anything; the last of them, if it gave an answer."""
        used: list[float] = []
        burst = None
        while len(used) < WATCHES and (not used or used[-1] > RESTING_S):
            burst = process.burst()
            if burst is None:
                return None
            used.append(process.rest(WATCHED_S) or 0.0)
        if len(used) == WATCHES and min(used) > RESTING_S:
            seen.wrong = f"{GOES_ON} {1e3 * WATCHED_S:.0f} ms it used {1e3 * min(used):.0f} ms of a processor"
        return burst

    def _round(
        self,
        cell: Cell,
        precision: Mapping[str, Any],
        groups: int,
        folder: Path,
        process: AuditedProcess,
        seen: Audited,
        before: Burst,
    ) -> bool:
        """One round more in ``seen``, after a burst; false where the process gave no answer."""
        first, where = not seen.rounds, str(folder)
        if first and process.ask("answer", folder=where, name=LAST) is None:
            return False
        # First an audit without calls, on the usual values: it shows what an audit takes beside its calls, and it asks
        # the system for memory that the next one then finds there. New values are drawn after it, so that they are not
        # there before they are called on.
        hot = self._draw(cell, folder, 0)
        if not hot.ok:
            seen.skipped = f"the judge could not draw: {hot.reason}"
            return True
        moved = 2 * groups * hot.value["bytes"]
        ahead = groups > FEWEST_CALLS and moved <= AHEAD_BYTES
        audit = partial(process.ask, "audit", folder=where, ahead=ahead)
        idle = audit(steps=[HOT] * (2 * groups), idle=True)
        if idle is None:
            return False
        drawn = self._draw(cell, folder, groups)
        if not drawn.ok:
            seen.skipped = f"the judge could not draw: {drawn.reason}"
            return True
        steps = self._steps(groups)
        reply = audit(steps=steps, idle=False)
        rest = self._once_more(process, where) if first and reply is not None else None
        if reply is None or (first and rest is None) or (after := process.burst()) is None:
            return False
        seen.kernel_s = seen.kernel_s if rest is None else value(Verified, rest).kernel_s
        seconds = charged(reply, idle, len(steps), moved, cell.threads)
        answers, alike = self._chosen(steps, seconds), list[str]()
        if first:
            answers, alike = [[LAST, HOT], *answers], [REST, f"answer-{len(steps) - 1}"]
        seen.take(self._judged(cell, precision, folder, answers, alike))
        running = running_share(reply, cell)
        new, part = usual(dict(zip(steps, seconds, strict=True)), running, used(reply, idle) / len(steps))
        least = evenly(seconds, reply, idle, moved, cell.threads)
        new, part = max(new, least), max(part, least if part >= new else 0.0)
        calls = [seconds_of(burst, cell) for burst in (before, after)]
        beside = allowed(moved / len(steps), cell.device, ahead=ahead)
        seen.rounds.append(Round(min(calls), new, part, beside, running))
        return True

    def _once_more(self, process: AuditedProcess, folder: str) -> Reply | None:
        """The last answer, handed out once more when its process has had time to come to rest."""
        process.rest(RESTED_S)
        return process.ask("rest", folder=folder, name=REST)

    def _steps(self, groups: int) -> list[str]:
        """The sets in random order, each part right after what it is a part of."""
        order = self._secret.sample(range(groups), groups)
        return [f"{kind}{group}" for group in order for kind in (NEW, PART)]

    def _chosen(self, steps: list[str], seconds: list[float]) -> list[list[str]]:
        """Which answers are judged: one of each kind, and one of the fastest, which may be kept ones.

        If brief, those of each kind are among its faster half, and no other one is judged.
        """
        order = sorted(self._secret.sample(range(len(steps)), len(steps)), key=lambda number: seconds[number])
        kinds = [[number for number in order if steps[number].startswith(kind)] for kind in (NEW, PART)]
        if self._brief:
            among = [numbers[: max(1, len(numbers) // 2)] for numbers in kinds]
        else:
            among = [*kinds, order[: max(1, len(order) // 4)]]
        return [[f"answer-{number}", steps[number]] for number in {self._secret.choice(numbers) for numbers in among}]

    def _folder(self, cell: Cell, groups: int) -> Path | None:
        """A folder for the files of a cell, in shared memory where they fit; ``None`` where nothing does."""
        if cell.case is None:
            return None
        size = work(cell.case).min_bytes
        if free_memory() < IN_MEMORY * size:
            return None
        wanted = COPIES * groups * size + MARGIN_BYTES
        for parent in (SHARED_MEMORY, Path(tempfile.gettempdir())):
            with suppress(OSError):
                if os.access(parent, os.W_OK) and shutil.disk_usage(parent).free > wanted:
                    if parent not in self._shelves:
                        self._shelves[parent] = Scratch(PREFIX, Path.cwd(), parent)
                    return Path(tempfile.mkdtemp(dir=self._shelves[parent].path))
        return None


def _answered(cell: Cell, precision: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the judge has to know of answers in a folder."""
    return {"cell_id": cell.id, "folder": str(folder), "precision": dict(precision)}
