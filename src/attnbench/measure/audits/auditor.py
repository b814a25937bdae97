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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from attnbench.measure.audits.judging import HOT, NEW, PART, REST
from attnbench.measure.audits.verdict import (
    ALIKE,
    EXPLAINED,
    FEWEST,
    Round,
    allowed,
    shortest,
    suspected,
    unexplained,
    unlike,
)
from attnbench.measure.limits import free_memory
from attnbench.measure.protocol import WRONG, Burst, Reply, Verified, value
from attnbench.measure.roofline import work
from attnbench.measure.scratch import Scratch, sweep
from attnbench.suite import Cell
from attnbench.workers.session import Session

PREFIX = "attnbench-audit-"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (a folder that only its owner reads is made there)
# Calls of one kind in one round take about so long together, and are so many.
ROUND_S = 0.030
FEWEST_CALLS, MOST_CALLS = 2, 12
# Calls that take longer are audited by one of each kind.
LONG_S = 0.1
# What is moved for one call is read, written in place and handed out, at this rate at least, and in so many steps.
BYTES_PER_S = 1e9
STEP_S, REQUEST_S = 1e-3, 0.010
# However busy a machine is, a call is taken to have had this share of a processor.
LEAST_RUNNING = 0.25
# Shorter calls seldom lose the processor.
SLICE_S = 0.7e-3
# As much as this may lie in arrays of its own before it is needed.
AHEAD_BYTES = 64 * 2**20
# A share of the time outside that may be missing in what the process says.
MISSING = 0.25
# Two audits that should take the same may differ by so much, and by so much for every step: the same result need not
# be converted twice.
UNEVEN_S, UNEVEN_STEP_S = 0.003, 0.25e-3

# How many times the bytes of its operands a cell's files and processes hold.
COPIES, IN_MEMORY = 5, 10
MARGIN_BYTES = 16 * 2**20

SAID = {
    "hot": "in a burst it answered otherwise than at the gate",
    "new": "on values that it had not seen",
    "par": "after one part of its inputs had changed",
    "res": "it goes on after it has returned",
}

NOT_JUDGED = "its answer could not be handed to the judge"

# For so long a process is watched after a burst, and it may use so much of a processor meanwhile.
WATCHED_S, RESTING_S = 0.030, 0.005
# And for so long before its last answer is read again.
RESTED_S = 0.020
WATCHES = 3
GOES_ON = "its process goes on computing after it has answered: within"


def by_the_system(reply: Reply) -> Burst:
    """The burst of a reply, its processor time as the system tells it: all of its time but what it waited for one."""
    burst = value(Burst, reply)
    if reply.cpu_s is None or reply.waited_s is None:
        return replace(burst, cpu_ns=burst.wall_ns)
    return replace(burst, cpu_ns=max(round(1e9 * reply.cpu_s), burst.wall_ns - round(1e9 * reply.waited_s)))


@dataclass(frozen=True)
class Side:
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

    def told(self) -> dict[str, Any]:
        """For the journal."""
        return asdict(self)


class Auditor:
    """Audits cells, one after the other, with one judge. Use it as a context."""

    def __init__(self, timeout_s: float) -> None:
        self._judge = Session(None, timeout_s)
        self._secret = secrets.SystemRandom()
        for parent in (SHARED_MEMORY, Path(tempfile.gettempdir())):
            sweep(PREFIX, parent)
        self._shelves: dict[Path, Scratch] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
        side: Side,
        earlier: Sequence[Round] = (),
    ) -> Audited | None:
        """Audit a prepared cell; ``None`` where its process gave no answer.

        ``precision`` says how exact its answers have to be, ``call_s`` what a call took in the bursts that count,
        ``earlier`` are the rounds of another process of the same cell: where they explain this one's times as well, it
        has none, but an answer of a burst is judged, and what goes on after it. A cell that is not explained is audited
        again, and accused by ``FEWEST`` rounds.
        """
        if cell.device == "cpu" and earlier and shortest(earlier, call_s) >= EXPLAINED:
            return self._explained(cell, precision, side)
        groups = 1 if call_s > LONG_S else max(FEWEST_CALLS, min(MOST_CALLS, round(ROUND_S / max(call_s, 1e-9))))
        folder = self._folder(cell, groups)
        if folder is None:
            return Audited(skipped="there is too little memory for values beside those that it is timed on")
        try:
            seen = self._rounds(cell, precision, call_s, groups, folder, side)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if seen is not None and seen.wrong is None and seen.skipped is None:
            seen.wrong = unexplained(seen.rounds) or (unlike(call_s, seen.rounds) if _alone(cell) else None)
        return seen

    def _rounds(
        self, cell: Cell, precision: Mapping[str, Any], call_s: float, groups: int, folder: Path, side: Side
    ) -> Audited | None:
        """As many rounds as are needed; ``None`` where its process gave no answer."""
        seen = Audited()
        if side.ask("steady") is None:
            return None
        before = self._at_rest(side, seen) if cell.device == "cpu" else side.burst()
        while not seen.wrong and not seen.skipped and self._doubted(cell, call_s, seen.rounds):
            if seen.rounds:
                side.move()
                before = side.burst()
            if before is None or not self._round(cell, precision, groups, folder, side, seen, before):
                return None
        return None if before is None else seen

    def _explained(self, cell: Cell, precision: Mapping[str, Any], side: Side) -> Audited | None:
        """Judge an answer of a burst, and watch the process after it."""
        seen = Audited(explained=True)
        if self._at_rest(side, seen) is None:
            return None
        judged = None if seen.wrong else self._last(cell, precision, side.ask)
        if judged is not None and judged.status == WRONG:
            seen.wrong = f"{SAID[HOT]}: {judged.reason}"
        elif not seen.wrong and (judged is None or not judged.ok):
            seen.skipped = NOT_JUDGED if judged is None else f"the judge could not judge: {judged.reason}"
        return seen

    def _doubted(self, cell: Cell, call_s: float, rounds: list[Round]) -> bool:
        """Whether a further round is needed."""
        if not rounds:
            return True
        if len(rounds) == FEWEST:
            return False
        return suspected(rounds) or (_alone(cell) and call_s < ALIKE * min(one.burst_s for one in rounds))

    def answered(self, cell: Cell, precision: Mapping[str, Any], ask: Callable[..., Reply | None]) -> str | None:
        """Why what the last call of a process returned is wrong, or ``None``; for one that was not timed."""
        judged = self._last(cell, precision, ask)
        return judged.reason if judged is not None and judged.status == WRONG else None

    def _last(self, cell: Cell, precision: Mapping[str, Any], ask: Callable[..., Reply | None]) -> Reply | None:
        """Judge what the last call of a process returned; ``None`` where it cannot be handed over."""
        folder = self._folder(cell, 1)
        if folder is None:
            return None
        try:
            if ask("answer", folder=str(folder), name="last") is None:
                return None
            drawing: dict[str, Any] = {"cell": cell.to_dict(), "folder": str(folder), "seed": self._seed()}
            drawn = self._judge.ask("draw", groups=0, **drawing)
            asked: dict[str, Any] = {"cell_id": cell.id, "folder": str(folder), "precision": dict(precision)}
            judge = partial(self._judge.ask, "judge_answers", answers=[["last", HOT]], alike=[], **asked)
            return judge() if drawn.ok else drawn
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _at_rest(self, side: Side, seen: Audited) -> Burst | None:
        """Watch its process after bursts, while nobody asks for anything; the last of them, if it gave an answer."""
        used: list[float] = []
        burst = None
        while len(used) < WATCHES and (not used or used[-1] > RESTING_S):
            burst = side.burst()
            if burst is None:
                return None
            used.append(side.rest(WATCHED_S) or 0.0)
        if len(used) == WATCHES and min(used) > RESTING_S:
            seen.wrong = f"{GOES_ON} {1e3 * WATCHED_S:.0f} ms it used {1e3 * min(used):.0f} ms of a processor"
        return burst

    def _round(
        self,
        cell: Cell,
        precision: Mapping[str, Any],
        groups: int,
        folder: Path,
        side: Side,
        seen: Audited,
        before: Burst,
    ) -> bool:
        """One round more in ``seen``, after a burst; false where the process gave no answer."""
        first, where = not seen.rounds, str(folder)
        draw = partial(self._judge.ask, "draw", cell=cell.to_dict(), folder=where)
        if first and side.ask("answer", folder=where, name="burst") is None:
            return False
        # What an audit takes beside its calls is seen first, on the usual values: the first of all asks the system for
        # memory that the second finds there, and new values are not there before they are called on.
        hot = draw(seed=self._seed(), groups=0)
        if not hot.ok:
            seen.skipped = f"the judge could not draw: {hot.reason}"
            return True
        moved = 2 * groups * hot.value["bytes"]
        ahead = groups > FEWEST_CALLS and moved <= AHEAD_BYTES
        audit = partial(side.ask, "audit", folder=where, ahead=ahead)
        idle = audit(steps=[HOT] * (2 * groups), idle=True)
        if idle is None:
            return False
        drawn = draw(seed=self._seed(), groups=groups)
        if not drawn.ok:
            seen.skipped = f"the judge could not draw: {drawn.reason}"
            return True
        steps = self._steps(groups)
        reply = audit(steps=steps, idle=False)
        rest = self._once_more(side, where) if first and reply is not None else None
        if reply is None or (first and rest is None) or (after := side.burst()) is None:
            return False
        seen.kernel_s = seen.kernel_s if rest is None else value(Verified, rest).kernel_s
        seconds = charged(reply, idle, len(steps), moved, cell.threads)
        chosen = self._chosen(steps, seconds)
        answers = [["burst", HOT], *chosen] if first else chosen
        alike = [REST, f"answer-{len(steps) - 1}"] if first else []
        asked: dict[str, Any] = {"cell_id": cell.id, "folder": where, "precision": dict(precision)}
        judged = self._judge.ask("judge_answers", answers=answers, alike=alike, **asked)
        if judged.status == WRONG:
            seen.wrong = f"{SAID[judged.value.get('set', NEW)[:3]]}: {judged.reason}"
        elif not judged.ok:
            seen.skipped = f"the judge could not judge: {judged.reason}"
        running = running_share(reply, cell)
        new, part = usual(dict(zip(steps, seconds, strict=True)), running, used(reply, idle) / len(steps))
        least = evenly(seconds, reply, idle, moved, cell.threads)
        new, part = max(new, least), max(part, least if part >= new else 0.0)
        calls = [_seconds(one, cell) for one in (before, after)]
        beside = allowed(moved / len(steps), cell.device, ahead=ahead)
        seen.rounds.append(Round(min(calls), new, part, beside, running))
        return True

    def _once_more(self, side: Side, folder: str) -> Reply | None:
        """The last answer, handed out once more when its process has had time to come to rest."""
        side.rest(RESTED_S)
        return side.ask("rest", folder=folder, name=REST)

    def _seed(self) -> int:
        return self._secret.randrange(2**31)

    def _steps(self, groups: int) -> list[str]:
        """The sets in random order, each part right after what it is a part of."""
        order = self._secret.sample(range(groups), groups)
        return [f"{kind}{group}" for group in order for kind in (NEW, PART)]

    def _chosen(self, steps: list[str], seconds: list[float]) -> list[list[str]]:
        """Which answers are judged: one of each kind, and one of the fastest, which may be kept ones."""
        order = sorted(self._secret.sample(range(len(steps)), len(steps)), key=lambda number: seconds[number])
        kinds = ([number for number in order if steps[number].startswith(kind)] for kind in (NEW, PART))
        among = (*kinds, order[: max(1, len(order) // 4)])
        return [[f"answer-{number}", steps[number]] for number in {self._secret.choice(one) for one in among}]

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


def charged(reply: Reply, idle: Reply, steps: int, moved: int, threads: int) -> list[float]:
    """Seconds of each audited call: what its process says, unless it used a processor for longer than that.

    What moving values takes is what the same audit took without its calls (``idle``); at most what it may take where
    ``moved`` bytes were read: they are written in place, and about as many are handed out. Where nobody tells processor
    time it is the time outside.
    """
    told = [one / 1e9 for one in reply.value["call_ns"]]
    most = _most(steps, moved)
    if reply.cpu_s is None or idle.cpu_s is None:
        outside = reply.took_s - min(idle.took_s, most)
    else:
        outside = (reply.cpu_s - min(idle.cpu_s, most)) / threads
    sane = len(told) == steps and all(math.isfinite(one) and one >= 0 for one in told)
    if sane and outside <= sum(told) * (1 + MISSING) + UNEVEN_S + UNEVEN_STEP_S * steps:
        return told
    return [max(0.0, outside) / steps] * steps


def _seconds(burst: Burst, cell: Cell) -> float:
    """Seconds of one call of a burst; of one thread no more than it had of a processor, however busy the machine is."""
    alone = _alone(cell) and burst.cpu_ns > 0
    return (min(burst.wall_ns, burst.cpu_ns) if alone else burst.wall_ns) / 1e9 / burst.calls


def evenly(seconds: list[float], reply: Reply, idle: Reply, moved: int, threads: int) -> float:
    """What each call took if all of them shared the work: one of them may have done it for all the others.

    No more than the processor was used by them.
    """
    steps = len(seconds)
    mean = sum(seconds) / steps
    if reply.cpu_s is None or idle.cpu_s is None:
        return 0.0
    beside = min(idle.cpu_s, _most(steps, moved)) + UNEVEN_S + UNEVEN_STEP_S * steps
    return min(mean, max(0.0, reply.cpu_s - beside) / steps / threads)


def _most(steps: int, moved: int) -> float:
    """The most that moving values may take."""
    return REQUEST_S + STEP_S * steps + 3 * moved / BYTES_PER_S


def used(reply: Reply, idle: Reply) -> float:
    """Seconds of a processor that an audit took beyond one without calls; 0 where nobody tells."""
    return 0.0 if reply.cpu_s is None or idle.cpu_s is None else max(0.0, reply.cpu_s - idle.cpu_s)


def usual(seconds: Mapping[str, float], running: float, mean_s: float) -> tuple[float, float]:
    """What a call takes on new values and on a new part: the lower quartiles, for what disturbs a call makes it longer.

    Where others compete for a processor each has it for some milliseconds. Most calls that are shorter than that lose
    nothing; longer ones are taken to be shorter by the share of the time in which the process (``running``) had none,
    but no shorter than they were in the mean (``mean_s``) by the processor time that was used for them.
    """
    by_kind = ([s for name, s in seconds.items() if name.startswith(kind)] for kind in (NEW, PART))
    new, part = (sorted(one)[len(one) // 4] for one in by_kind)
    corrected = max(LEAST_RUNNING, running)
    new, part = (one if one < SLICE_S else min(one, max(one * corrected, mean_s)) for one in (new, part))
    return new, part


def running_share(reply: Reply, cell: Cell) -> float:
    """Which share of the time that it could have used a processor a process of one thread had one; else 1."""
    if not _alone(cell) or not reply.cpu_s or reply.waited_s is None:
        return 1.0
    return reply.cpu_s / (reply.cpu_s + reply.waited_s)


def _alone(cell: Cell) -> bool:
    return cell.device == "cpu" and cell.threads == 1
