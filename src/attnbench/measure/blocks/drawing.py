"""Which later processes of a cell are audited in full, beside the first one; no kernel can know it.

A kernel can tell its first process, in which agreement is checked, from the later ones: there it might do its work and
nowhere else. So one of the later ones is audited like the first, and which is drawn when the bursts of each are over.
Those after it are still drawn one time in four, since a kernel may write down that it was audited.

The seed of the run is written in its journal, where a kernel can read it: this is drawn from the system's randomness.
"""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass, field

# How likely one is that comes after the one that was drawn.
ONCE_MORE = 0.25


@dataclass
class Draw:
    """The draws of one block; ``drawn`` are the cells, by id, of which a later process was audited in full."""

    rng: random.Random = field(default_factory=secrets.SystemRandom)
    drawn: set[str] = field(default_factory=set)

    def in_full(self, cell_id: str, left: int) -> bool:
        """Whether the process that has just timed a cell, not its first, is audited in full; ``left`` come after it.

        Each of those that are to come is as likely as the others, and one of them is certain.
        """
        chance = ONCE_MORE if cell_id in self.drawn else 1 / (max(0, left) + 1)
        if self.rng.random() >= chance:
            return False
        self.drawn.add(cell_id)
        return True
