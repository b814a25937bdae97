"""What a call of an audit or of a burst took: as its process says, as the system says, and without the rest of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from attnbench.measure.audits.judging import NEW, PART
from attnbench.suite import Cell
from attnbench.workers.protocol import Burst, Reply, value

# What is moved for one call is read, written in place and handed out, at this rate at least, and in so many steps.
BYTES_PER_S = 1e9
STEP_S, REQUEST_S = 1e-3, 0.010
# However busy a machine is, a call is taken to have had this share of a processor.
LEAST_RUNNING = 0.25
# Shorter calls seldom lose the processor.
SLICE_S = 0.7e-3
# A share of the time outside that may be missing in what the process says.
MISSING = 0.25
# Two audits that should take the same may differ by so much, and by so much for every step: the same result need not
# be converted twice.
UNEVEN_S, UNEVEN_STEP_S = 0.003, 0.25e-3


def by_the_system(reply: Reply) -> Burst:
    """The burst of a reply, its processor time as the system tells it: all of its time but what it waited for one."""
    burst = value(Burst, reply)
    if reply.cpu_s is None or reply.waited_s is None:
        return replace(burst, cpu_ns=burst.wall_ns)
    return replace(burst, cpu_ns=max(round(1e9 * reply.cpu_s), burst.wall_ns - round(1e9 * reply.waited_s)))


def charged(reply: Reply, idle: Reply, steps: int, moved: int, threads: int) -> list[float]:
    """Seconds of each audited call: what its process says, unless it used a processor for longer than that.

    What moving values takes is what the same audit took without its calls (``idle``); at most what it may take where
    ``moved`` bytes were read: they are written in place, and about as many are handed out. Where nobody tells processor
    time it is the time outside.
    """
    said = [ns / 1e9 for ns in reply.value["call_ns"]]
    most = _most(steps, moved)
    if reply.cpu_s is None or idle.cpu_s is None:
        outside = reply.took_s - min(idle.took_s, most)
    else:
        outside = (reply.cpu_s - min(idle.cpu_s, most)) / threads
    sane = len(said) == steps and all(math.isfinite(took) and took >= 0 for took in said)
    if sane and outside <= sum(said) * (1 + MISSING) + UNEVEN_S + UNEVEN_STEP_S * steps:
        return said
    return [max(0.0, outside) / steps] * steps


def seconds_of(burst: Burst, cell: Cell) -> float:
    """Seconds of one call of a burst; of one thread no more than it had of a processor, however busy the machine is."""
    alone = is_alone(cell) and burst.cpu_ns > 0
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
    new, part = (sorted(times)[len(times) // 4] for times in by_kind)
    corrected = max(LEAST_RUNNING, running)
    new, part = (took if took < SLICE_S else min(took, max(took * corrected, mean_s)) for took in (new, part))
    return new, part


def running_share(reply: Reply, cell: Cell) -> float:
    """Which share of the time that it could have used a processor a process of one thread had one; else 1."""
    if not is_alone(cell) or not reply.cpu_s or reply.waited_s is None:
        return 1.0
    return reply.cpu_s / (reply.cpu_s + reply.waited_s)


def is_alone(cell: Cell) -> bool:
    """Whether a cell computes in one thread, so that its times can be held to the processor's."""
    return cell.device == "cpu" and cell.threads == 1
