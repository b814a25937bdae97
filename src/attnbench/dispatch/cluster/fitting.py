"""The blocks that wait, by number, and the first of them that fits into a worker's memory."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator

GONE = math.inf  # needs more than anybody has: it does not wait


class FittingNumbers:
    """Blocks in the order of their numbers, with the memory in bytes that each needs.

    The first that fits is found in few steps, however many before it are too large: a binary tree over the numbers
    holds at each node the least that any waiting block below it needs. The children of node n are 2n and 2n + 1.
    """

    def __init__(self) -> None:
        self._memory: dict[int, int] = {}  # of all that were ever added
        self._waiting: set[int] = set()
        self._numbers: list[int] = []  # those in the tree, in order
        self._least: list[float] = []
        self._leaves = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Those that wait: number and memory."""
        return ((number, self._memory[number]) for number in sorted(self._waiting))

    def add(self, number: int, memory: int) -> None:
        """A new block, which waits."""
        self._memory[number] = memory
        self._waiting.add(number)

    def put_back(self, number: int) -> None:
        """One that was taken waits again, in its old place."""
        self._waiting.add(number)
        self._set(number, self._memory[number])

    def take(self, number: int) -> None:
        """One waits no longer."""
        self._waiting.discard(number)
        self._set(number, GONE)

    def fitting(self, memory: int) -> Iterator[int]:
        """Those that need no more than so much, in order."""
        self._grow()
        place = self._next(0, memory)
        while place is not None:
            yield self._numbers[place]
            place = self._next(place + 1, memory)

    def _grow(self) -> None:
        """Build the tree anew where blocks were added since."""
        if len(self._numbers) == len(self._memory):
            return
        self._numbers = sorted(self._memory)
        self._leaves = 1 << (len(self._numbers) - 1).bit_length()
        held = [self._memory[number] if number in self._waiting else GONE for number in self._numbers]
        self._least = [GONE] * self._leaves + held + [GONE] * (self._leaves - len(held))
        for node in range(self._leaves - 1, 0, -1):
            self._least[node] = min(self._least[2 * node], self._least[2 * node + 1])

    def _set(self, number: int, needed: float) -> None:
        self._grow()
        node = self._leaves + bisect_left(self._numbers, number)
        self._least[node] = needed
        while node := node // 2:
            self._least[node] = min(self._least[2 * node], self._least[2 * node + 1])

    def _next(self, place: int, memory: int) -> int | None:
        """The first place from this one on whose block waits and needs no more than so much."""
        if place >= self._leaves:
            return None
        node = self._leaves + place
        while self._least[node] > memory:  # none below this one: the next to its right
            while node % 2:
                node //= 2
            if node == 0:
                return None
            node += 1
        while node < self._leaves:
            node *= 2
            node += self._least[node] > memory
        return node - self._leaves
