"""Which block goes to which worker: by what it needs, in the order of the numbers, one at a time on a machine."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from attnbench.dispatch.cluster.fitting import FittingNumbers
from attnbench.dispatch.cluster.messages import WorkerAbout
from attnbench.dispatch.needs import kind_of
from attnbench.dispatch.records import BlockNeeds
from attnbench.show.units import size

# A machine, as far as measurements there keep apart: the computer, and the file that they lock.
Slot = tuple[str, str]


@dataclass(frozen=True)
class Hand:
    """A worker that may have a block: its id, where it stands, and what it is."""

    id: str
    name: str
    about: WorkerAbout

    @property
    def slot(self) -> Slot:
        """Workers that share it take turns."""
        return self.about.machine, self.about.lock


@dataclass(frozen=True)
class LostHand:
    """A worker that was lost over a block, and how."""

    hand: Hand
    how: str


def lacks(needs: BlockNeeds, about: WorkerAbout) -> list[str]:
    """What a worker has not of what a block needs, each in a few words; empty where nothing is missing."""
    missing = []
    if needs.device == "cuda" and not about.gpus:
        missing.append("no GPU")
    if about.processors is not None and needs.threads > about.processors:
        missing.append(f"{about.processors} of {needs.threads} processors")
    missing += [f"no package {name}" for name in needs.packages if name in about.missing]
    for name, value in sorted(needs.labels.items()):
        if about.labels.get(name) != value:
            missing.append(f"{name}={about.labels[name]}" if name in about.labels else f"no label {name}")
    if needs.memory_bytes is not None and about.memory_bytes is not None and needs.memory_bytes > about.memory_bytes:
        missing.append(f"{size(about.memory_bytes)} of {size(needs.memory_bytes)} of memory")
    return missing


@dataclass
class WaitingKind:
    """Blocks that need the same, memory aside; ``able`` says by a worker's id who has the rest of what they need."""

    name: str
    needs: BlockNeeds
    numbers: FittingNumbers = field(default_factory=FittingNumbers)
    able: dict[str, bool] = field(default_factory=dict)

    def can(self, hand: Hand) -> bool:
        """Whether a worker has what all of these need."""
        known = self.able.get(hand.id)
        if known is None:
            known = self.able[hand.id] = not lacks(self.needs, hand.about)
        return known


def memory_of(hand: Hand) -> int:
    """The memory of a worker; where it is not known it is enough for all."""
    return sys.maxsize if hand.about.memory_bytes is None else hand.about.memory_bytes


class WaitingBlocks:
    """Blocks that wait for a machine, and which machines each of them is not given to.

    ``refused`` are the slots that said no to a block and why, by its number; ``lost`` the workers that were lost over
    it.
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[object, ...], WaitingKind] = {}
        self._of: dict[int, tuple[WaitingKind, int | None]] = {}  # and the memory that it needs, where that is known
        self.refused: dict[int, dict[Slot, str]] = {}
        self.lost: dict[int, list[LostHand]] = {}

    def __len__(self) -> int:
        return sum(len(kind.numbers) for kind in self._kinds.values())

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(number for kind in self._kinds.values() for number, _ in kind.numbers))

    def add(self, number: int, needs: BlockNeeds) -> None:
        """A block that waits."""
        key = (needs.device, needs.threads, needs.packages, *sorted(needs.labels.items()))
        bare = needs.model_copy(update={"memory_bytes": None})
        kind = self._kinds.setdefault(key, WaitingKind(kind_of(needs), bare))
        self._of[number] = kind, needs.memory_bytes
        kind.numbers.add(number, needs.memory_bytes or 0)

    def put_back(self, number: int) -> None:
        """A block that was given out waits again, in its old place."""
        self._of[number][0].numbers.put_back(number)

    def needs(self, number: int) -> BlockNeeds:
        """What a block needs."""
        kind, memory = self._of[number]
        return kind.needs.model_copy(update={"memory_bytes": memory})

    def take(self, hand: Hand, others: Collection[Hand]) -> int | None:
        """The next block for a worker, which waits no longer; of kinds that fewer workers can measure first."""
        able = [kind for kind in self._kinds.values() if len(kind.numbers) and kind.can(hand)]
        if len(able) > 1:
            able.sort(key=lambda kind: sum(kind.can(other) for other in others))
        for kind in able:
            for number in kind.numbers.fitting(memory_of(hand)):
                if self.may_have(number, hand, others):
                    kind.numbers.take(number)
                    return number
        return None

    def may_have(self, number: int, hand: Hand, others: Collection[Hand]) -> bool:
        """Whether a block may go to a worker: it can measure it, and nobody farther from those that were lost can."""
        if not self._can(number, hand):
            return False
        if number not in self.lost:
            return True
        near = self._near(number, hand)
        return not any(self._near(number, other) < near and self._can(number, other) for other in others)

    def _can(self, number: int, hand: Hand) -> bool:
        """Whether a worker has what a block needs, and its machine has not refused it."""
        kind, memory = self._of[number]
        enough = (memory or 0) <= memory_of(hand)
        return enough and kind.can(hand) and hand.slot not in self.refused.get(number, {})

    def _near(self, number: int, hand: Hand) -> int:
        """2 for a worker that was lost over a block, 1 for one on the same machine, 0 for others."""
        lost = [entry.hand for entry in self.lost[number]]
        return max(2 * any(hand.id == gone.id for gone in lost), any(hand.slot == gone.slot for gone in lost))

    def stranded(self, hands: Collection[Hand]) -> list[int]:
        """The blocks that wait and that none of these workers may have, in order."""
        stranded: list[int] = []
        for kind in self._kinds.values():
            most = max((memory_of(hand) for hand in hands if kind.can(hand)), default=-1)
            for number, memory in kind.numbers:
                if memory > most or not self._has_a_taker(number, hands):
                    stranded.append(number)
        return sorted(stranded)

    def _has_a_taker(self, number: int, hands: Collection[Hand]) -> bool:
        """Whether somebody may have a block that somebody has enough for."""
        if number not in self.refused and number not in self.lost:
            return True
        return any(self.may_have(number, hand, hands) for hand in hands)

    def drop(self, numbers: Iterable[int]) -> None:
        """Wait no longer for a machine for these."""
        for number in numbers:
            self._of[number][0].numbers.take(number)

    def by_kind(self, numbers: Sequence[int]) -> dict[str, list[int]]:
        """Blocks by what they need, in words."""
        kinds: dict[str, list[int]] = {}
        for number in numbers:
            kinds.setdefault(self._of[number][0].name, []).append(number)
        return kinds
