"""What a kernel refuses although it declares it: a case that is not supported, or a declaration that is not true.

A kernel refuses a call with ``UnsupportedError``. That is no disagreement, and no agreement either. Where it refuses
every case of a feature that it declares, the declaration is false. Where one field of ``Capabilities`` would leave out
what was refused and nothing else, in this row and in all that the check asks in that dtype, that field is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from attnbench.attention.spec import SCORES
from attnbench.backends.asked import needs_of
from attnbench.backends.fitted import offered
from attnbench.backends.implementation import FEATURES, ONLY
from attnbench.errors import UsageError

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.attention.spec import Needs
    from attnbench.backends.implementation import Capabilities, Implementation

DECLARATION = "declaration"
REFUSED = "refused by the kernel: "
NAMED = 2  # declarations that are offered
# Restrictions that are offered first in the rows that are about them.
FIRST = {"scale": "default_scale", "lengths": "key_lengths"}
GENERAL = "say in Capabilities what it does not take (only=, alignments=, limits=)"


@dataclass(frozen=True)
class Refusals:
    """The cases of one row: those that the kernel refused, with its words, and those that it took.

    ``others`` are all that the check asks in that dtype, and ``takes`` whether the kernel takes one of them.
    """

    feature: str
    dtype: str
    device: str
    refused: Sequence[Case]
    taken: Sequence[Case]
    words: str
    others: Sequence[Case] = ()
    takes: Callable[[Case], bool] = lambda _: False


def why_left_out(implementation: Implementation, refusals: Refusals) -> str:
    """Why some cases are left out: the kernel's words, and what would declare it."""
    return f"{REFUSED}{refusals.words} ({_offer(implementation, refusals, whole=False)})"


def false_declaration(implementation: Implementation, refusals: Refusals) -> str:
    """What is declared, what the kernel said, and which field would declare it truly."""
    what = _declared(refusals.feature, refusals.dtype)
    count = len(refusals.refused)
    every = "its one case" if count == 1 else f"all {count} cases"
    offer = _offer(implementation, refusals, whole=True)
    return f"declares {what}, and refuses {every} of {refusals.feature}: {refusals.words}; {offer}"


def _declared(feature: str, dtype: str) -> str:
    if feature in FEATURES:
        return f"{feature}=True and {dtype}"
    return f"score {feature} and {dtype}" if feature in SCORES else dtype


def _offer(implementation: Implementation, refusals: Refusals, *, whole: bool) -> str:
    fields = truer(implementation, refusals, whole=whole)
    return f"to declare that: {' or '.join(fields)}" if fields else GENERAL


def truer(implementation: Implementation, refusals: Refusals, *, whole: bool) -> list[str]:
    """The fields that leave out every case that was refused and none that is taken, in this row or in another.

    ``whole``: nothing of the row was taken. Where something was, a field is named only if it is the one such field: a
    guess could be a false declaration.
    """
    can = implementation.capabilities_on(refusals.device)
    if implementation.vjp is not None:
        can = replace(can, gradients=True)

    def needed(cases: Sequence[Case]) -> list[Needs]:
        return [needs_of(offered(case, implementation, refusals.device), refusals.device) for case in cases]

    refused, taken = needed(refusals.refused), needed(refusals.taken)
    near = [(text, other) for text, other in _others(can, refusals, whole=whole) if _just(other, refused, taken)]
    others = list(zip(refusals.others, needed(refusals.others), strict=True)) if near else []
    declared = [(case, needs) for case, needs in others if not can.missing(needs)]
    fitting = _widest(
        [
            (text, other)
            for text, other in near
            if not any(other.missing(needs) and refusals.takes(case) for case, needs in declared)
        ]
    )
    if not whole and len(fitting) > 1:
        return []
    return list(dict.fromkeys(fitting))[:NAMED]


def _widest(fitting: Sequence[tuple[str, Capabilities]]) -> list[str]:
    """The words of each declaration, without those that another one equals but for having more alignments.

    Where Tq = S, ``top_left`` and ``bottom_right`` mean the same, so that either fits wherever both do.
    """

    def is_narrower(can: Capabilities, other: Capabilities) -> bool:
        return set(can.alignments) < set(other.alignments) and replace(can, alignments=other.alignments) == other

    return [text for text, can in fitting if not any(is_narrower(can, other) for _, other in fitting)]


def _just(can: Capabilities, refused: Sequence[Needs], taken: Sequence[Needs]) -> bool:
    return all(can.missing(needs) for needs in refused) and not any(can.missing(needs) for needs in taken)


def _others(can: Capabilities, refusals: Refusals, *, whole: bool) -> Iterator[tuple[str, Capabilities]]:
    """Narrower declarations with the words for them; where all of a row was refused, its own name comes first."""
    if whole and refusals.feature in FIRST:
        yield from _restricted(can, (FIRST[refusals.feature],))
    if whole:
        yield from _without(can, refusals)
    yield from _restricted(can, tuple(ONLY))
    for size in range(len(can.alignments) - 1, 0, -1):
        for some in combinations(can.alignments, size):
            yield from _changed(can, f"alignments={some!r}", alignments=some)
    for name in FEATURES:
        if getattr(can, name):
            yield from _changed(can, f"leave {name}=True out", **{name: False})


def _restricted(can: Capabilities, names: Sequence[str]) -> Iterator[tuple[str, Capabilities]]:
    for name in names:
        if name not in can.only:
            only = (*can.only, name)
            yield from _changed(can, f"only={only!r}", only=only)


def _without(can: Capabilities, refusals: Refusals) -> Iterator[tuple[str, Capabilities]]:
    """The feature, the score or the dtype of the row left out."""
    if refusals.feature in FEATURES:
        yield from _changed(can, f"leave {refusals.feature}=True out", **{refusals.feature: False})
    if refusals.feature in SCORES:
        scores = tuple(name for name in can.scores if name != refusals.feature)
        yield from _changed(can, f"leave {refusals.feature!r} out of scores", scores=scores)
    dtypes = tuple(name for name in can.dtypes if name != refusals.dtype)
    yield from _changed(can, f"leave {refusals.dtype!r} out of dtypes, if it is this one alone", dtypes=dtypes)


def _changed(can: Capabilities, text: str, **changes: Any) -> Iterator[tuple[str, Capabilities]]:
    try:
        yield text, replace(can, **changes)
    except UsageError:  # it would contradict the rest
        return
