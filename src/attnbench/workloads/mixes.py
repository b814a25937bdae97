"""A workload: a mix of sequences with their counts, where it comes from, and what of it belongs together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from attnbench.errors import UsageError
from attnbench.workloads.grammar import STAGES, Counted, Stretch

# Sequences in one call, where several are one call: a batch of more is cut into such batches.
TOGETHER = 16

# How the level of an axis begins that is the title of a workload.
LEVEL = "workload "


def check_level(text: str) -> None:
    """Raise ``UsageError`` for a level that is no title of a workload."""
    if not text.removeprefix(LEVEL).strip() or not text.startswith(LEVEL):
        msg = f"a title begins with {LEVEL.strip()!r}; to measure another mix, type: attnbench run --workload MIX"
        raise UsageError(msg)


@dataclass(frozen=True)
class Workload:
    """What is served: how many sequences ask for what. ``title`` names it, ``source`` says whose figures they are.

    ``counts`` are in the order of the first mention; sequences that ask alike are one entry. ``note`` is to be said
    with every answer, such as what binning a trace changed.
    """

    title: str
    counts: Mapping[Stretch, int]
    source: str = ""
    note: str = ""
    figures: str = field(default="", compare=False)
    checked: str = field(default="", compare=False)
    ours: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.counts:
            msg = f"workload {self.title!r} is empty: nothing is served"
            raise UsageError(msg)

    @classmethod
    def of(cls, title: str, mix: Iterable[Counted], **words: str) -> Workload:
        """The workload of a mix; ``UsageError`` for an empty one."""
        counts: dict[Stretch, int] = {}
        for item in mix:
            counts[item.stretch] = counts.get(item.stretch, 0) + item.count
        return cls(title, counts, **words)

    @property
    def level(self) -> str:
        """Its title as the level of an axis (``check_level``)."""
        return f"{LEVEL}{self.title}"

    @property
    def items(self) -> tuple[Counted, ...]:
        """The mix, each kind of sequence once."""
        return tuple(Counted(count, stretch) for stretch, count in self.counts.items())

    @property
    def total(self) -> int:
        """How many sequences there are."""
        return sum(self.counts.values())

    @property
    def stages(self) -> tuple[str, ...]:
        """Which of prefill and decode are in it."""
        return tuple(stage for stage in STAGES if self.calls(stage))

    def calls(self, stage: str) -> int:
        """How many sequences are in a stage."""
        return sum(count for stretch, count in self.counts.items() if stretch.stage == stage)

    def words(self) -> list[str]:
        """Every item in words, so that nobody is misled by the grammar."""
        return [item.words() for item in self.items]

    def __str__(self) -> str:
        return ", ".join(map(str, self.items))

    def kinds(self) -> dict[str, tuple[Counted, ...]]:
        """The items by kind (``Stretch.kind``): those of a kind can be one call."""
        grouped: dict[str, list[Counted]] = {}
        for item in self.items:
            grouped.setdefault(item.stretch.kind, []).append(item)
        return {kind: tuple(mine) for kind, mine in grouped.items()}


def together(mix: Iterable[Counted]) -> tuple[Counted, ...]:
    """A batch of the sequences of a kind, shortest first: all of them, or of more than 16 such 16 as stand for all.

    They are those in the middle of 16 equal parts of the sorted sequences.
    """
    ordered = sorted(mix, key=lambda item: (item.stretch.keys, item.stretch.queries))
    total = sum(item.count for item in ordered)
    if total <= TOGETHER:
        return tuple(ordered)
    counts: dict[Stretch, int] = {}
    for part in range(TOGETHER):
        middle = (2 * part + 1) * total // (2 * TOGETHER)
        stretch = _at(ordered, middle)
        counts[stretch] = counts.get(stretch, 0) + 1
    return tuple(Counted(count, stretch) for stretch, count in counts.items())


def _at(ordered: list[Counted], place: int) -> Stretch:
    """The sequence that stands at a place, from 0, when all are laid side by side."""
    for item in ordered:
        if place < item.count:
            return item.stretch
        place -= item.count
    return ordered[-1].stretch
