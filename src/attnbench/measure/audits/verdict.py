"""What of a cell's time its audited calls explain, and what they do not.

A burst repeats one call on the same inputs; an audited call finds values that nobody has seen. Honest work takes as
long on them. What it may take longer does not grow with the work: a call by itself, after values were written, finds
its own code out of the nearest cache and wakes threads that a burst keeps awake; and operands that a burst leaves in a
cache may have to be read from memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from attnbench.show import units

# Seconds by which an audited call of honest work may be longer, where it follows others and where it stands by itself;
# docs/measurement.md says what was seen.
FOLLOWING_S, BY_ITSELF_S, ON_DEVICE_S = 60e-6, 200e-6, 200e-6
# Operands beyond the nearest caches are read at this rate at least, and all of them where each call has its own; all
# that together explains no more than this share.
NEAR_BYTES, READ_BYTES_PER_S = 2 * 2**20, 5e9
MOST_ALLOWED = 0.6
# Below this share of its audited time, less that, a call in a burst has not done the work.
EXPLAINED = 0.84
# A cell is accused by no fewer rounds.
FEWEST = 7
# A call in the bursts that count takes at least this share of its time in those beside an audit. They are of different
# moments, and a processor is not equally fast at all of them.
ALIKE = 0.7
# A first round with at least this share leaves no doubt: no other one is needed.
CLEAR = 0.90
# The times of a round are a guess where the process had a processor for less than this share of it.
QUIET = 0.9


@dataclass(frozen=True)
class Round:
    """Seconds of one call: in bursts before and after an audit, and as audited on new values and on new parts.

    ``allowed_s`` is by how much an audited call may be longer (``allowed``), ``running`` the share of its time in which
    the process had a processor: the less it is, the more is a guess.
    """

    burst_s: float
    new_s: float
    part_s: float
    allowed_s: float = 0.0
    running: float = 1.0

    @property
    def audited_s(self) -> float:
        """The longer of the two: a kernel may keep its answers whole or by parts."""
        return max(self.new_s, self.part_s)

    @property
    def share(self) -> float:
        """Which share of the audited time, less what is allowed, a burst shows."""
        least = (1 - MOST_ALLOWED) * self.audited_s
        return self.burst_s / max(self.audited_s - self.allowed_s, least, 1e-9)


def allowed(set_bytes: float, device: str, *, ahead: bool) -> float:
    """By how many seconds an audited call may be longer, whose operands have so many bytes."""
    if device != "cpu":
        return ON_DEVICE_S
    if ahead:
        return FOLLOWING_S + set_bytes / READ_BYTES_PER_S
    return BY_ITSELF_S + max(0.0, set_bytes - NEAR_BYTES) / READ_BYTES_PER_S


def suspected(rounds: Sequence[Round]) -> bool:
    """Whether most of them are not explained, nor the shortest times of all, or one alone leaves a doubt."""
    if len(rounds) == 1:
        return rounds[0].share < CLEAR
    return median(min(1.0, round_.share) for round_ in rounds) < EXPLAINED and shortest(rounds) < EXPLAINED


def unexplained(rounds: Sequence[Round]) -> str | None:
    """Why the times of a cell are not believed, or ``None``.

    Of ``FEWEST`` rounds no more than two are explained, and the shortest times of all do not explain each other.
    """
    ordered = sorted(rounds, key=lambda round_: round_.share)
    if len(rounds) < FEWEST or ordered[-3].share >= EXPLAINED or shortest(rounds) >= EXPLAINED:
        return None
    middle = ordered[len(rounds) // 2]
    audited = "values that it had not seen" if middle.new_s >= middle.part_s else "inputs of which one part was new"
    hot, new = units.seconds(middle.burst_s), units.seconds(middle.audited_s)
    times = f"a call took {hot} on the same inputs over and over, and {new} on {audited}"
    return f"{times}: it does not do its work at every call"


def shortest(rounds: Sequence[Round], burst_s: float | None = None) -> float:
    """The share that the shortest of all times show: what disturbs a call makes it longer, never shorter.

    ``burst_s`` stands for their bursts where those of another process are asked about. Rounds that others took the
    processor from do not count where there are others: their times are shortened by what that may have cost. Where
    there are none, nobody is accused whom the shortest of these explain.
    """
    count = quiet(rounds) or rounds
    new, part, beside = (min(getattr(round_, name) for round_ in count) for name in ("new_s", "part_s", "allowed_s"))
    return Round(min(round_.burst_s for round_ in rounds) if burst_s is None else burst_s, new, part, beside).share


def quiet(rounds: Sequence[Round]) -> list[Round]:
    """Those in which the process had a processor nearly all the time."""
    return [round_ for round_ in rounds if round_.running >= QUIET]


def unlike(counted_s: float, rounds: Sequence[Round]) -> str | None:
    """Why bursts that counted are not those beside an audit, by the time of a call; or ``None``."""
    if len(rounds) < FEWEST or counted_s >= ALIKE * min(round_.burst_s for round_ in rounds):
        return None
    counted, beside = units.seconds(counted_s), units.seconds(median(round_.burst_s for round_ in rounds))
    times = f"{counted} in the bursts that count, and {beside} of a processor in those beside its audit"
    return f"a call took {times}: it does not do its work at every call"
