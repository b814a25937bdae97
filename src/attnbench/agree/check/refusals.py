"""What a kernel refuses although it declares it: a case that is not supported, or a declaration that is not true.

A kernel refuses a call with ``UnsupportedError``. That is no disagreement, and no agreement either. Where it refuses
every case of a feature that it declares, the declaration is false; and where one field of ``Capabilities`` would leave
out just what was refused, it is named: of this row, and of all that the check asks in that dtype.
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


def why_left_out(implementation: Implementation, found: Refusals) -> str:
    """Why some cases are left out: the kernel's words, and what would declare it."""
    return f"{REFUSED}{found.words} ({_offer(implementation, found, whole=False)})"


def false_declaration(implementation: Implementation, found: Refusals) -> str:
    """What is declared, what the kernel said, and which field would declare it truly."""
    what = _declared(found.feature, found.dtype)
    count = len(found.refused)
    every = "its one case" if count == 1 else f"all {count} cases"
    offer = _offer(implementation, found, whole=True)
    return f"declares {what}, and refuses {every} of {found.feature}: {found.words}; {offer}"


def _declared(feature: str, dtype: str) -> str:
    if feature in FEATURES:
        return f"{feature}=True and {dtype}"
    return f"score {feature} and {dtype}" if feature in SCORES else dtype


def _offer(implementation: Implementation, found: Refusals, *, whole: bool) -> str:
    fields = truer(implementation, found, whole=whole)
    return f"to declare that: {' or '.join(fields)}" if fields else GENERAL


def truer(implementation: Implementation, found: Refusals, *, whole: bool) -> list[str]:
    """The fields that leave out every case that was refused and none that is taken, in this row or in another.

    ``whole``: nothing was taken. Else there is one such field, or none is named: a guess would be a false declaration.
    """
    can = implementation.capabilities_on(found.device)
    if implementation.vjp is not None:
        can = replace(can, gradients=True)

    def needed(cases: Sequence[Case]) -> list[Needs]:
        return [needs_of(offered(case, implementation, found.device), found.device) for case in cases]

    refused, taken = needed(found.refused), needed(found.taken)
    near = [(text, other) for text, other in _others(can, found, whole=whole) if _just(other, refused, taken)]
    others = list(zip(found.others, needed(found.others), strict=True)) if near else []
    declared = [(case, needs) for case, needs in others if not can.missing(needs)]
    fitting = _widest(
        [
            (text, other)
            for text, other in near
            if not any(other.missing(needs) and found.takes(case) for case, needs in declared)
        ]
    )
    if not whole and len(fitting) > 1:
        return []
    return list(dict.fromkeys(fitting))[:NAMED]


def _widest(fitting: Sequence[tuple[str, Capabilities]]) -> list[str]:
    """The words of each, less those that another is but for more alignments.

    Where Tq = S, ``top_left`` and ``bottom_right`` mean the same, so that either fits wherever both do.
    """

    def is_narrower(one: Capabilities, other: Capabilities) -> bool:
        return set(one.alignments) < set(other.alignments) and replace(one, alignments=other.alignments) == other

    return [text for text, one in fitting if not any(is_narrower(one, other) for _, other in fitting)]


def _just(can: Capabilities, refused: Sequence[Needs], taken: Sequence[Needs]) -> bool:
    return all(can.missing(one) for one in refused) and not any(can.missing(one) for one in taken)


def _others(can: Capabilities, found: Refusals, *, whole: bool) -> Iterator[tuple[str, Capabilities]]:
    """Narrower declarations with the words for them; where all of a row was refused, its own name comes first."""
    if whole and found.feature in FIRST:
        yield from _restricted(can, (FIRST[found.feature],))
    if whole:
        yield from _without(can, found)
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


def _without(can: Capabilities, found: Refusals) -> Iterator[tuple[str, Capabilities]]:
    """The feature, the score or the dtype of the row left out."""
    if found.feature in FEATURES:
        yield from _changed(can, f"leave {found.feature}=True out", **{found.feature: False})
    if found.feature in SCORES:
        scores = tuple(one for one in can.scores if one != found.feature)
        yield from _changed(can, f"leave {found.feature!r} out of scores", scores=scores)
    dtypes = tuple(one for one in can.dtypes if one != found.dtype)
    yield from _changed(can, f"leave {found.dtype!r} out of dtypes, if it is this one alone", dtypes=dtypes)


def _changed(can: Capabilities, text: str, **changes: Any) -> Iterator[tuple[str, Capabilities]]:
    try:
        yield text, replace(can, **changes)
    except UsageError:  # it would contradict the rest
        return
