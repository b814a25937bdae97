"""What parent and worker say to each other: one JSON object a line, over two pipes of their own.

Standard output and error stay free for whatever a kernel prints. A ``Request`` names an operation; a ``Reply`` has a
status and, where it is ``ok``, the fields of the operation's value class below. NaN and infinity are written as
Python's ``json`` writes them; both ends are this module.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from attnbench.errors import AttnbenchError

if TYPE_CHECKING:
    from attnbench.results.schema import Cache

# Statuses of a reply; they are those of a result row.
OK, WRONG, UNSUPPORTED, OOM, TIMEOUT, CRASHED = "ok", "wrong", "unsupported", "oom", "timeout", "crashed"
# It was not asked, or its answer was not waited for, because the budget of the run was spent. No worker says it.
NOT_RUN = "not-run"
SPENT = "the budget was spent"
# What is said of memory that an interrupt left unmeasured.
INTERRUPTED = "not measured: interrupted"
# The reason that a process gives when it is asked for an answer and has none.
NOTHING_KEPT = "there is no result to hand out: no call was made since the last one was"

REASON_LENGTH = 600

# What an operation of the worker did: status, reason and value of the reply.
Done = tuple[str, str | None, dict[str, Any]]


class ProtocolError(AttnbenchError):
    """A line that is not a message of this protocol."""


@dataclass(frozen=True)
class Request:
    """One operation of the worker with its arguments; ``number`` comes back in the reply."""

    number: int
    op: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """The answer to a request. ``pid`` tells a worker from a child that a kernel forked.

    ``outside``: the process was ended by somebody else, which says nothing of what it was asked. ``took_s`` is the time
    between question and answer by the parent's clock, and ``cpu_s`` the processor time that the process and all below
    it used meanwhile, ``waited_s`` the time that its threads were ready and had none, as the system tells it. A parent
    sets them.
    """

    number: int
    status: str
    reason: str | None = None
    value: dict[str, Any] = field(default_factory=dict)
    pid: int = 0
    outside: bool = False
    took_s: float = 0.0
    cpu_s: float | None = None
    waited_s: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the operation was done."""
        return self.status == OK


def unless_late(reply: Reply, *, late: bool, reason: str = SPENT) -> Reply:
    """A reply; where the budget ran out before it came, ``not-run``, since another time it may come."""
    return replace(reply, status=NOT_RUN, reason=reason, value={}) if late and reply.status == TIMEOUT else reply


@dataclass(frozen=True)
class Hello:
    """``hello``: the framework is imported and its threads are set. Seconds; versions and pools by name."""

    import_s: float
    versions: dict[str, str]
    devices: list[str]
    threads: dict[str, int]
    affinity: list[int]
    pid: int
    device_names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Described:
    """``describe``: the names of the implementations that drop-in files define, or what is wrong with these files."""

    names: list[str]
    problem: str = ""


@dataclass(frozen=True)
class Burst:
    """``calls`` calls timed together: wall and process CPU time of all of them in ns, and the receipt of it.

    On an accelerator ``wall_ns`` is told by the device's clock where it has one, and the host's stands in the receipt.
    ``cache`` is the state that the calls found.
    """

    calls: int
    wall_ns: int
    cpu_ns: int
    receipt: dict[str, float]
    started_at: float
    cache: Cache = "none"

    @property
    def host_s(self) -> float:
        """Seconds of all of them by the host's clock."""
        return self.receipt.get("host_s", self.wall_ns / 1e9)


@dataclass(frozen=True)
class Prepared:
    """``prepare``: the cell is bound, agrees and is calibrated; its phases in seconds, and the warm-up bursts.

    ``states`` are the cache states in which it is to be timed, a burst for each. ``precision`` says how exact its
    answers have to be; workers of older revisions do not say it.
    """

    import_s: float
    trace_s: float
    compile_s: float
    first_call_s: float
    calls: int
    error_ratio: float | None
    warmups: list[dict[str, Any]]
    states: list[Cache] = field(default_factory=lambda: ["none"])
    precision: dict[str, Any] | None = None

    def bursts(self) -> list[Burst]:
        """The warm-up bursts, typed."""
        return [Burst(**burst) for burst in self.warmups]


@dataclass(frozen=True)
class Verified:
    """``verify``: what was timed answers rightly. ``kernel_s``: seconds of one call's kernels by a second clock."""

    kernel_s: float | None = None


@dataclass(frozen=True)
class Memory:
    """``memory``: the high-water mark during one call less the level before it; bytes. ``source`` says who told."""

    peak_bytes: int | None
    source: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """``observe``: the numbers that an observed suite computed at one point."""

    metrics: dict[str, float]


@dataclass(frozen=True)
class Ceilings:
    """``ceilings``: what this machine can do with these threads, as far as one framework can show it: rates by name."""

    rates: dict[str, float]

    def better(self, other: Ceilings) -> Ceilings:
        """The higher rate of each name: a ceiling is the machine's, whoever reaches it."""
        names = {*self.rates, *other.rates}
        return Ceilings({name: max(self.rates.get(name, 0.0), other.rates.get(name, 0.0)) for name in sorted(names)})


Value = TypeVar("Value", Hello, Described, Prepared, Burst, Verified, Memory, Observed, Ceilings)
Message = TypeVar("Message", Request, Reply)


def encode(message: Request | Reply) -> bytes:
    """One line."""
    return json.dumps(asdict(message), separators=(",", ":")).encode() + b"\n"


def decode(kind: type[Message], line: bytes) -> Message:
    """The inverse of ``encode``; ``ProtocolError`` for anything else."""
    try:
        data = json.loads(line)
        return kind(**data)
    except (ValueError, TypeError) as error:
        msg = f"not a {kind.__name__.lower()} of the worker's protocol: {line[:200]!r}"
        raise ProtocolError(msg) from error


def value(kind: type[Value], reply: Reply) -> Value:
    """The typed value of an ``ok`` reply."""
    known = {f.name for f in fields(kind)}
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    if not reply.ok or set(reply.value) - known or needed - set(reply.value):
        msg = f"a reply of status {reply.status} with {sorted(reply.value)} is not a {kind.__name__}"
        raise ProtocolError(msg)
    return kind(**reply.value)
