"""A long trace as a few dozen cases: sequences of like sizes become one case, and what that changes is said.

Bins are of a kind of sequence (whole prompts, chunks, decoding, verifying) and even in the logarithms of queries and
keys, as fine as ``MOST`` cases allow. A bin's case keeps what its time grows with, as far as whole numbers can: the
mean of the keys where there is a cache, and of whole prompts the root of the mean of the squares, which keeps pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from attnbench.workloads.grammar import Stretch

MOST = 24
# From one width of bins to the next: a factor between neighbouring sizes, to the power of 1.15.
FINEST, COARSER = 0.005, 1.15


@dataclass(frozen=True)
class Binned:
    """The mix after binning, and what it changed: ``kinds`` of sequences before, and relative errors of the totals.

    ``widest`` is the largest ratio of the keys of two sequences in one case.
    """

    counts: Mapping[Stretch, int]
    kinds: int
    pairs: float = 0.0
    keys: float = 0.0
    widest: float = 1.0

    def sentence(self) -> str:
        """What to say of it; empty where nothing was binned."""
        if self.kinds == len(self.counts):
            return ""
        return (
            f"{self.kinds:,} different sizes stand in {len(self.counts)} cases; that changes the pairs of query and "
            f"key by {self.pairs:+.2%} and the keys read by {self.keys:+.2%}, and in a case keys differ by a factor "
            f"of {self.widest:.3g} at most"
        )


def binned(counts: Mapping[Stretch, int], most: int = MOST) -> Binned:
    """At most ``most`` cases that stand for all; the same mix where it has no more.

    Every kind of sequence that is there keeps a case of its own, so ``most`` is at least 4.
    """
    if len(counts) <= most:
        return Binned(counts, len(counts))
    width = FINEST
    while len(bins := _bins(counts, width)) > most:
        width *= COARSER
    cases: dict[Stretch, int] = {}
    widest = 1.0
    for mine in bins:
        case = _standing_for(mine)
        cases[case] = cases.get(case, 0) + sum(mine.values())
        widest = max(widest, max(s.keys for s in mine) / min(s.keys for s in mine))
    pairs, keys = (_total(cases, what) / _total(counts, what) - 1 for what in ("pairs", "keys"))
    return Binned(cases, len(counts), pairs, keys, widest)


def _bins(counts: Mapping[Stretch, int], width: float) -> list[dict[Stretch, int]]:
    grouped: dict[tuple[str, int, int], dict[Stretch, int]] = {}
    for stretch in sorted(counts):
        place = (stretch.kind, int(math.log(stretch.queries) / width), int(math.log(stretch.keys) / width))
        grouped.setdefault(place, {})[stretch] = counts[stretch]
    return list(grouped.values())


def _standing_for(counts: Mapping[Stretch, int]) -> Stretch:
    """One sequence of the same kind in the place of several."""
    if len(counts) == 1:
        return next(iter(counts))
    total, kind = sum(counts.values()), next(iter(counts)).kind
    if kind == "prompt":
        size = round(math.sqrt(sum(s.queries**2 * n for s, n in counts.items()) / total))
        return Stretch(size, size)
    queries = round(sum(s.queries * n for s, n in counts.items()) / total)
    # A query counts its keys: the mean over queries keeps the pairs of whatever asks several at once.
    queries_of_all = sum(s.queries * n for s, n in counts.items())
    keys = round(sum(s.keys * s.queries * n for s, n in counts.items()) / queries_of_all)
    return Stretch(queries, max(keys, queries + 1))


def _total(counts: Mapping[Stretch, int], what: str) -> float:
    return float(sum(getattr(stretch, what) * count for stretch, count in counts.items()))
