"""Which declaration of arithmetic explains what disagreed: the search for it, and the conditions of an offer.

All cases of one dtype whose values disagreed are answered once and judged under each candidate, from the least
permissive. One that explains them all is offered only if

* Rule 2, which asks for no declaration, holds, and Rule 3 and the probes hold with it; what a softmax in 16 bits could
  do to their constants is not counted;
* where it says that something is kept in fewer bits: all these could be asked; the plainest case disagrees as well,
  since every case goes through the softmax; and our own eager attention in that format is about as far off in the cases
  that disagreed.

Cases that even the most permissive candidate leaves with a NaN, a shape or an infinity are set aside at the beginning:
no declaration explains them, and an offer does not speak of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.declare.candidates import LOW, Widening, declaring, sets, widenings, with_all
from attnbench.agree.declare.stock import stock
from attnbench.agree.eager.baseline import baseline_cases
from attnbench.agree.judge.answered import Answered, answered
from attnbench.agree.judge.arithmetic import precision_of
from attnbench.agree.judge.trial import trial
from attnbench.agree.rules.rows import applies, ruling
from attnbench.backends.fitted import asked, offered
from attnbench.errors import UnsupportedError

if TYPE_CHECKING:
    from attnbench.attention.precision import Precision
    from attnbench.attention.problem import Case
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

TRIED = 4  # candidates that explain every case and are then held to the rules
AS_FAR_OFF = 8.0  # times the error ratio of our own eager attention in the same format


class LateError(Exception):
    """The time is up."""


@dataclass(frozen=True)
class Suspect:
    """One implementation that disagreed, in one dtype on one device, examined until a moment of ``time.monotonic``.

    ``held`` are rules that it keeps as it is declared: a wider bound only widens what they allow.
    """

    backend: Backend
    implementation: Implementation
    dtype: str
    device: str = "cpu"
    until: float = float("inf")
    deep: bool = False
    held: tuple[str, ...] = ()

    def in_time(self) -> None:
        """Raise ``LateError`` once the time is up."""
        if time.monotonic() > self.until:
            raise LateError

    @property
    def held_to(self) -> Precision:
        """What it is judged by now."""
        return precision_of(self.implementation, self.dtype, self.device)

    def keeps(self, rule: str, precision: Precision) -> bool | None:
        """Whether it keeps a rule with this declaration; ``None`` where that cannot be asked of it."""
        self.in_time()
        if rule in self.held:
            return True
        other = with_precision(self.implementation, self.dtype, self.device, precision)
        try:
            return ruling(rule, self.backend, other, self.dtype, self.device, deep=self.deep).ok
        except UnsupportedError:
            return None


def with_precision(implementation: Implementation, dtype: str, device: str, precision: Precision) -> Implementation:
    """The same kernel with another declaration for inputs of ``dtype`` on ``device``."""
    capabilities = implementation.capabilities_on(device)
    capabilities = replace(capabilities, precision={**capabilities.precision, dtype: precision})
    return replace(implementation, on={**implementation.on, device: capabilities})


@dataclass(frozen=True)
class Explanation:
    """What must be declared besides, as fields of ``Precision``; the cases that agree with it, and the rules that hold.

    A rule that could not be asked is not among them.
    """

    changes: dict[str, Any]
    cases: tuple[Case, ...]
    rules: tuple[str, ...]


class Evidence:
    """The cases that disagreed, each answered when it is first judged.

    A case that refuted a candidate is asked first about the next one.
    """

    def __init__(self, suspect: Suspect, cases: Sequence[Case]) -> None:
        self._suspect, self._cases, self._order = suspect, cases, list(range(len(cases)))
        self._answers: dict[int, Answered] = {}

    @property
    def cases(self) -> tuple[Case, ...]:
        """Those that were not set aside."""
        return tuple(self._cases[place] for place in sorted(self._order))

    def _answer(self, place: int) -> Answered:
        suspect = self._suspect
        suspect.in_time()
        if place not in self._answers:
            self._answers[place] = answered(suspect.backend, suspect.implementation, self._cases[place], suspect.device)
        return self._answers[place]

    def is_within(self, widest: Precision) -> bool:
        """Whether the most permissive candidate explains every case of which a declaration can speak.

        Cases that it leaves with a NaN, a shape or an infinity are set aside for all candidates; so this is asked
        first, and once.
        """
        for place in list(self._order):
            answer = self._answer(place)
            if answer.agrees(widest):
                continue
            if answer.is_about_values(widest):
                return False
            self._order.remove(place)
        return bool(self._order)

    def agrees(self, precision: Precision) -> bool:
        """Whether this arithmetic explains every case that was not set aside."""
        for place in list(self._order):
            if not self._answer(place).agrees(precision):
                self._order.remove(place)
                self._order.insert(0, place)
                return False
        return bool(self._order)

    def is_as_our_own(self, precision: Precision) -> bool:
        """Whether our own eager attention in fewer bits is about as far beyond this bound, in every case and array."""
        from attnbench.backends.attend import load_backend

        narrow, numpy = stock(self._suspect.dtype), load_backend("numpy")
        for place in self._order:
            answer = self._answer(place)
            usual = answer.by(numpy, narrow).ratios(precision)
            if any(r > AS_FAR_OFF * max(1.0, usual[name]) for name, r in answer.ratios(precision).items()):
                return False
        return True


def explaining(suspect: Suspect, cases: Sequence[Case], *, formats: bool = True) -> Explanation | None:
    """What must be declared besides so that these cases agree; ``None`` for nothing.

    Without ``formats`` nothing is said to be kept in fewer bits.
    """
    if not cases:
        return None
    try:
        return _search(suspect, cases, formats=formats)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  (a kernel may raise anything; time may be up)
        return None


def _search(suspect: Suspect, cases: Sequence[Case], *, formats: bool) -> Explanation | None:
    every = widenings(suspect.held_to, suspect.dtype)
    if not formats or not _plainly_wrong(suspect):
        every = _unnarrowing(every)
    evidence = Evidence(suspect, cases)
    if not every or not evidence.is_within(with_all(suspect.held_to, every)):
        return None
    kept = {"rule_2": suspect.keeps("rule_2", suspect.held_to)} if applies("rule_2", suspect.dtype) else {}
    if False in kept.values():
        return None
    if None in kept.values():
        every = _unnarrowing(every)
        if not every or not evidence.agrees(with_all(suspect.held_to, every)):
            return None
    needed = [
        widening for widening in every if not evidence.agrees(with_all(suspect.held_to, _without(every, widening)))
    ]
    tried = 0
    for chosen in sets(every, needed):
        if not evidence.agrees(with_all(suspect.held_to, chosen)):
            continue
        precision = _least(suspect, evidence, chosen)
        rules = kept | _also(suspect, evidence, precision, chosen)
        if False not in rules.values():
            holding = tuple(rule for rule, holds in rules.items() if holds)
            return Explanation(precision.beyond(suspect.held_to), evidence.cases, holding)
        tried += 1
        if tried == TRIED:
            return None
    return None


def _without(every: Sequence[Widening], left_out: Widening) -> list[Widening]:
    return [widening for widening in every if widening is not left_out]


def _unnarrowing(every: Sequence[Widening]) -> tuple[Widening, ...]:
    return tuple(widening for widening in every if not widening.narrows)


def _plainly_wrong(suspect: Suspect) -> bool:
    """Whether the plainest case that the kernel takes disagrees as well."""
    case = asked(baseline_cases(suspect.dtype)[0], suspect.implementation.capabilities_on(suspect.device))
    case = offered(case, suspect.implementation, suspect.device)
    return trial(suspect.backend, suspect.implementation, case, suspect.device).status == "wrong"


def _least(suspect: Suspect, evidence: Evidence, chosen: Sequence[Widening]) -> Precision:
    """The lowest level of each widening, one after the other, that still explains every case."""
    levels = [widening.levels[-1] for widening in chosen]
    for i, widening in enumerate(chosen):
        for level in widening.levels[:-1]:
            lower = [*levels[:i], level, *levels[i + 1 :]]
            if evidence.agrees(declaring(suspect.held_to, lower)):
                levels = lower
                break
    return declaring(suspect.held_to, levels)


def _also(
    suspect: Suspect, evidence: Evidence, precision: Precision, chosen: Sequence[Widening]
) -> dict[str, bool | None]:
    """Whether what must hold besides the cases holds with this arithmetic, by name; ``None``: it could not be asked."""
    now = suspect.held_to
    wide = replace(precision, accumulate=now.accumulate, softmax=now.softmax)
    unnarrowed = replace(wide, p_cast=now.p_cast, logits=now.logits)
    narrows = any(widening.narrows for widening in chosen)
    if narrows and not evidence.is_as_our_own(unnarrowed):
        return {"rule_3": False}
    held_to = wide if suspect.dtype in LOW else precision
    kept: dict[str, bool | None] = {}
    for rule in ("rule_3", "probes"):
        kept[rule] = suspect.keeps(rule, held_to)
        if not kept[rule] and (narrows or kept[rule] is False):
            return {rule: False}
    return kept
