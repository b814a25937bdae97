"""Which later processes of a cell are audited in full, beside the first one; no kernel can know it.

A kernel can tell its first process, in which agreement is checked, from the later ones: there it might do its work and
nowhere else. So one of the later ones is audited like the first, and which is drawn when the bursts of each are over.
It is among the first ``USUAL`` processes, since a cell that may have many is often done after a few. Those after it are
still drawn one time in four, since a kernel may write down that it was audited. A process that ends when it is audited
in full, before that stands, escapes nothing: all later ones of its cell are audited in full.

The seed of the run is written in its journal, where a kernel can read it: this is drawn from the system's randomness.
"""

from __future__ import annotations

import random
import secrets
from collections import Counter
from dataclasses import dataclass, field

from attnbench.measure.blocks.effort import USUAL

# How likely one is that comes after the one that was drawn.
ONCE_MORE = 0.25


@dataclass
class Draw:
    """The draws of one block, with its cells by id.

    Of those in ``drawn`` a later process was audited in full; of those ``due`` one is to be, and of those in ``lost``
    one was to be and was gone before that stood. ``seen`` counts the processes of each whose audit stood, the first one
    too.
    """

    rng: random.Random = field(default_factory=secrets.SystemRandom)
    drawn: set[str] = field(default_factory=set)
    due: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    seen: Counter[str] = field(default_factory=Counter)

    def in_full(self, cell_id: str, left: int) -> bool:
        """Whether the process that has just timed a cell, not its first, is audited in full.

        At most ``left`` come after it. Each up to the last of the ``USUAL`` is as likely as the others, and one of them
        is certain.
        """
        if cell_id in self.due:
            self.lost.add(cell_id)
        left = max(0, min(left, USUAL - 1 - self.seen[cell_id]))
        if self.rng.random() < (ONCE_MORE if cell_id in self.drawn else 1 / (left + 1)):
            self.due.add(cell_id)
        return cell_id in self.due

    def stands(self, cell_id: str, *, in_full: bool) -> None:
        """The audit of a process stands; ``in_full`` where it was one that was drawn."""
        self.seen[cell_id] += 1
        if in_full:
            self.drawn.add(cell_id)
            if cell_id not in self.lost:
                self.due.discard(cell_id)
