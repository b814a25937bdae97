"""Which sizes are wrong: one size of a failing case is changed at a time, and the kernel run again.

What comes out says what was seen and no more: the sizes next to each other of which one is wrong and one agrees.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from attnbench.attention.problem import Case
from attnbench.errors import SpecError

LARGEST = 1024  # a size that is tried
MOST_PAIRS = 1 << 21  # query-key pairs of a case that is tried
SEEDS = 8  # draws that must all agree before a size is said to agree
PLAIN_SIZE = 2  # a size of 1 that agrees is no condition: most faults need two queries or keys to show
Wrong = Callable[[Case], bool | None]  # None: the case cannot be run, or it is wrong in another way
Resize = Callable[[Case, int], Case]


def condition(case: Case, fails: Wrong, *, seconds: float = 2.0) -> str | None:
    """The sizes of ``case``, which fails, from which on and up to which it is wrong; ``None`` if none was found."""
    until = time.monotonic() + seconds
    sentences = []
    for name, resize in _sizes(case).items():
        axis = Axis(case, resize, fails, until)
        if sentence := axis.sentence(name, _size(case, name)):
            sentences.append(sentence)
    return "; ".join(sentences) or None


def _size(case: Case, name: str) -> int:
    p = case.problem
    return {"Tq = S": p.Tq, "group of query heads": p.Hq // p.Hkv}.get(name) or int(getattr(p, name))


def _sizes(case: Case) -> dict[str, Resize]:
    """What can be changed; lengths that must be equal change together."""
    p = case.problem
    together = p.Tq == p.S and case.spec.causal and case.spec.align is None
    lengths: dict[str, Resize] = (
        {"Tq = S": lambda other, n: other.with_problem(Tq=n, S=n)}
        if together
        else {"Tq": lambda other, n: other.with_problem(Tq=n), "S": lambda other, n: other.with_problem(S=n)}
    )
    learned = case.spec.score in ("additive", "concat")
    heads = {"group of query heads": _grouped} if p.Hq > p.Hkv else {}
    width: Resize = lambda other, n: other.with_problem(D=n, **({} if learned else {"Da": n}))  # noqa: E731
    return lengths | heads | {"D": width, "B": lambda other, n: other.with_problem(B=n)}


def _grouped(case: Case, n: int) -> Case:
    return case.with_problem(Hq=case.problem.Hkv * n)


@dataclass
class Axis:
    """One size of a failing case: which of its values were seen to be wrong."""

    case: Case
    resize: Resize
    fails: Wrong
    until: float
    seen: dict[int, bool] = field(default_factory=dict)

    def wrong(self, n: int) -> bool | None:
        """Whether it is wrong at a size; ``None`` where that cannot be run, or where the time is up."""
        if n in self.seen:
            return self.seen[n]
        if time.monotonic() > self.until:
            return None
        try:
            resized = self.resize(self.case, n)
            p = resized.problem
            if p.B * p.Hq * p.Tq * p.S > MOST_PAIRS:
                return None
            is_wrong = self._on_any_values(resized)
        except SpecError:
            return None
        if is_wrong is not None:
            self.seen[n] = is_wrong
        return is_wrong

    def _on_any_values(self, case: Case) -> bool | None:
        """Whether it is wrong with any of several draws, since the values of one draw may hide the fault."""
        for more in range(SEEDS):
            wrong = self.fails(case.with_problem(seed=case.problem.seed + more))
            if wrong or wrong is None:
                return wrong
        return False

    def sentence(self, name: str, n: int) -> str | None:
        """What was seen of this size, which is wrong at ``n``; ``None`` if no value agrees."""
        self.seen[n] = True
        below, above = self._below(n), self._above(n)
        if below is None and above is None:
            return None
        if above is None and (below or 0) < PLAIN_SIZE:
            return None
        tried = sorted(m for m, wrong in self.seen.items() if wrong)
        first, last = tried[0], tried[-1]
        agree = " and ".join(str(m) for m in (below, above) if m is not None)
        if any(not wrong and first < m < last for m, wrong in self.seen.items()):
            return f"{name}: of those tried {_listed(tried)} are wrong, {_listed(set(self.seen) - set(tried))} agree"
        if first == last:
            return f"{name} {n} is wrong, {agree} agree{'s' * (' ' not in agree)}"
        many = f"wrong at every size tried from {first} to {last} ({_listed(tried)})"
        return f"{name}: {many}, {agree} agree{'s' * (' ' not in agree)}"

    def _below(self, n: int) -> int | None:
        """The size next below the smallest wrong one: it agrees."""
        if n == 1 or self.wrong(1) is not False:
            return None
        return self._edge(1, n)

    def _above(self, n: int) -> int | None:
        """The size next above the largest wrong one: it agrees."""
        step, right = n + 1, n
        while step <= LARGEST:
            wrong = self.wrong(step)
            if wrong is None:
                return None
            if not wrong:  # where a size further on is wrong again, it is no edge
                return None if self.wrong(2 * step) else self._edge(step, right)
            step, right = 2 * right if step == n + 1 else 2 * step, step
            step = max(step, right + 1)
        return None

    def _edge(self, agrees: int, wrong: int) -> int | None:
        """Between a size that agrees and one that is wrong: the one that agrees next to one that is wrong."""
        while abs(wrong - agrees) > 1:
            middle = (agrees + wrong) // 2
            is_wrong = self.wrong(middle)
            if is_wrong is None:
                return None
            agrees, wrong = (agrees, middle) if is_wrong else (middle, wrong)
        return agrees


def _listed(sizes: Iterable[int]) -> str:
    """``8``, ``1 and 4``, ``1, 4 and 9``."""
    *some, last = (str(m) for m in sorted(sizes))
    return f"{', '.join(some)} and {last}" if some else last
