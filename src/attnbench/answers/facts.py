"""What may help to choose among those that cannot be told apart: memory and limits. Facts, and no verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attnbench.answers.able import Able
from attnbench.answers.answer import Contender
from attnbench.show import units

# A difference in memory below either is none, as for ``attnbench compare``.
LEAST_SHARE, LEAST_BYTES = 0.01, 2**20


def among(equals: Sequence[Contender], able: Mapping[str, Able]) -> tuple[str, ...]:
    """A sentence for each respect in which one of them stands out."""
    return tuple(filter(None, (_memory(equals), _limits(equals, able))))


def _memory(equals: Sequence[Contender]) -> str:
    known = sorted((c.peak_bytes, c.impl) for c in equals if c.peak_bytes is not None)
    if len(known) < 2 or len(known) < len(equals):  # noqa: PLR2004  (nothing to stand out from)
        return ""
    (least, name), (second, _) = known[:2]
    if second - least < max(LEAST_BYTES, LEAST_SHARE * second):
        return ""
    others = ", ".join(f"{other} {units.size(peak)}" for peak, other in known[1:])
    return f"{name} needs the least memory for a call: {units.size(least)} ({others})"


def _limits(equals: Sequence[Contender], able: Mapping[str, Able]) -> str:
    counts = sorted((able[c.impl].limits, c.impl) for c in equals if c.impl in able)
    if len(counts) < 2 or len(counts) < len(equals) or counts[0][0] == counts[1][0]:  # noqa: PLR2004
        return ""
    others = ", ".join(f"{name} {count}" for count, name in counts[1:])
    return f"{counts[0][1]} declares the fewest limits of sizes and calls: {counts[0][0]} ({others})"
