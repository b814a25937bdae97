"""When a planted fault shows, and in which part of the answer: what a condition is made of.

A ``Condition`` is drawn with its numbers by one of the classes in ``conditions``. It looks at a ``Moment``, one call on
its way forward or backward with what came before it, and says whether the fault shows at all; its ``part``, if it has
one, says in which rows of which heads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.call import Call, Sizes
from attnbench.attention.problem import Case


@dataclass(frozen=True)
class Moment:
    """A call, forward or ``backward``; how many ``calls`` came before it, and the sizes of the last of them."""

    call: Call
    backward: bool = False
    calls: int = 0
    last: Sizes | None = None


@dataclass(frozen=True)
class Condition:
    """When a fault shows. ``kind`` is its class, ``text`` the condition with its numbers.

    ``part`` gives the rows that are wrong, as bool that broadcasts to (B, Hq, Tq); ``keys`` is the first key whose
    contribution is wrong; neither means the whole answer. ``fit`` turns a case into one in which the condition can
    hold. ``before`` is how many calls it takes before it can.
    """

    kind: str
    text: str
    when: Callable[[Moment], bool]
    fit: Callable[[Case], Case]
    part: Callable[[Sizes], Array] | None = None
    keys: int | None = None
    before: int = 0

    def holds(self, moment: Moment) -> bool:
        """Whether the fault shows in some part of the answer to this call."""
        if moment.call.sizes.empty or not self.when(moment):
            return False
        if self.keys is not None:
            return self.keys < moment.call.sizes.S
        return self.part is None or bool(self.part(moment.call.sizes).any())

    def rows(self, sizes: Sizes) -> Array | None:
        """The wrong rows (B, Hq, Tq), or ``None`` for all of them."""
        if self.part is None:
            return None
        return np.broadcast_to(self.part(sizes), (sizes.B, sizes.Hq, sizes.Tq))

    @property
    def divides(self) -> bool:
        """Whether only a part of the answer is wrong."""
        return self.part is not None or self.keys is not None

    @property
    def remembers(self) -> bool:
        """Whether it looks at earlier calls."""
        return self.before > 0
