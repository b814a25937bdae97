"""A case made to fit what an implementation declares: what it restricts is replaced, and not dropped with the case.

A kernel that takes causal calls alone still has sizes, masks and heads to be checked: its cases are made causal. What a
row is about is never replaced: the cases of the row ``scale`` keep their scales, and are then not supported.

Questions that are about no size (the rules, the probes, the arithmetic, the bits) are asked at fixed sizes. Where the
limits that a kernel declares exclude these, ``asked`` takes the nearest sizes that they allow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from attnbench.attention.needs import LAYOUT
from attnbench.attention.spec import ALIGNMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from attnbench.attention.problem import Case
    from attnbench.backends.implementation import Capabilities, Implementation

Fit = Callable[["Case", "Capabilities"], "Case"]
NAN_COTANGENT = "nan_cotangent"
SIZES = ("B", "Hq", "Hkv", "Tq", "S", "D", "Dv")
ALIKE = {"square": ("Tq", "S"), "equal_head_sizes": ("D", "Dv")}
MOST = 1024  # a size beyond which no question is taken
SAYS_WHERE = ("offset", "past")  # how the names of operands begin that say where the queries stand


def fitted(case: Case, can: Capabilities, feature: str = "") -> Case:
    """The case as ``can`` takes it, but for what ``feature``, the row that it belongs to, is about."""
    wanted = [name for name in can.only if name in FITS and feature not in ROWS_ABOUT.get(name, ())]
    for name in wanted:
        case = FITS[name](case, can)
    if feature not in ABOUT_POSITIONS:
        case = _aligned(case, can)
    return case if can.nan_isolation or feature == "nan_isolation" else _without(case, NAN_COTANGENT)


def asked(case: Case, can: Capabilities) -> Case:
    """The case as ``can`` takes it, at the nearest sizes within its limits; as it is where there are none."""
    case = fitted(case, can)
    sizes = {name: getattr(case.problem, name) for name in SIZES}
    tied = _tied(case, can)
    within = sizes
    while broken := _broken(within, can):
        nearer = min(_nearest(within, can, tied), key=lambda others: _broken(others, can), default=within)
        if _broken(nearer, can) >= broken:
            return case
        within = nearer
    return case if within == sizes else case.with_problem(**within)


def offered(case: Case, implementation: Implementation, device: str) -> Case:
    """The case with its gradients where the implementation has any on this device, else forward alone."""
    return case if not case.gradients or implementation.has_gradients(device) else replace(case, phase="forward")


def _broken(sizes: Mapping[str, int], can: Capabilities) -> int:
    return sum(limit.broken_by(sizes) is not None for limit in can.limits)


def _tied(case: Case, can: Capabilities) -> list[tuple[str, ...]]:
    """The sizes that are alike in every case that it takes, and so change together."""
    pairs: list[tuple[str, ...]] = [pair for name, pair in ALIKE.items() if name in can.only]
    return [("Hq", "Hkv"), *pairs] if case.problem.Hq == case.problem.Hkv else pairs


def _nearest(sizes: dict[str, int], can: Capabilities, tied: list[tuple[str, ...]]) -> Iterator[dict[str, int]]:
    """For each size of a broken limit those with another value of it that break the fewest, the nearest of these."""
    broken = [limit for limit in can.limits if limit.broken_by(sizes)]
    for name in dict.fromkeys(name for limit in broken for name in limit.of.split("*")):
        alike = next((pair for pair in tied if name in pair), (name,))
        others = [sizes | dict.fromkeys(alike, value) for value in range(1, MOST + 1)]
        allowed = [other for other in others if other["Hq"] % other["Hkv"] == 0]
        yield min(allowed, key=partial(_distance, sizes[name], name, can), default=sizes)


def _distance(now: int, name: str, can: Capabilities, sizes: dict[str, int]) -> tuple[int, int, int]:
    return _broken(sizes, can), abs(sizes[name] - now), -sizes[name]


def _causal(case: Case, can: Capabilities) -> Case:
    if case.spec.causal:
        return case
    p, spec = case.problem, case.spec
    unsaid = spec.align is None and p.Tq != p.S and not _said(case)
    corner = next((name for name in ("bottom_right", "top_left") if name in can.alignments), "bottom_right")
    return replace(case, spec=replace(spec, causal=True, align=corner if unsaid else spec.align))


def _square(case: Case, can: Capabilities) -> Case:
    del can
    longest = max(case.problem.Tq, case.problem.S)
    return case.with_problem(Tq=longest, S=longest) if case.phase != "decode" else case


def _equal_head_sizes(case: Case, can: Capabilities) -> Case:
    del can
    return case.with_problem(Dv=case.problem.D)


def _default_scale(case: Case, can: Capabilities) -> Case:
    del can
    return replace(case, spec=replace(case.spec, scale=None))


def _key_lengths(case: Case, can: Capabilities) -> Case:
    del can
    kinds = [kind for kind in case.problem.operands if kind.startswith("q_lengths")]
    return _without(case, *kinds) if any(kind.startswith("kv_") for kind in case.problem.operands) else case


def _contiguous(case: Case, can: Capabilities) -> Case:
    del can
    return _without(case, *(kind for kind in case.problem.operands if kind.startswith(LAYOUT)))


FITS: dict[str, Fit] = {
    "causal": _causal,
    "square": _square,
    "equal_head_sizes": _equal_head_sizes,
    "default_scale": _default_scale,
    "key_lengths": _key_lengths,
    "contiguous": _contiguous,
}
# The rows that are about a restriction: their cases keep it, and show what is not supported.
ROWS_ABOUT = {"default_scale": ("scale", "head_scale", "log_n"), "square": ("cache",)}
ABOUT_POSITIONS = ("causal", "batch_offset", "window", "cache")


def _said(case: Case) -> bool:
    return any(kind.startswith(SAYS_WHERE) for kind in case.problem.operands)


def _aligned(case: Case, can: Capabilities) -> Case:
    """At a corner that is declared, where the case names another one."""
    corners = [name for name in ALIGNMENTS if name in can.alignments]
    align = case.spec.align
    if align is None or "offset" in can.alignments or align in corners or not corners:
        return case
    return replace(case, spec=replace(case.spec, align=corners[0]))


def _without(case: Case, *kinds: str) -> Case:
    if not set(kinds) & set(case.problem.operands):
        return case
    return case.with_problem(operands=tuple(kind for kind in case.problem.operands if kind not in kinds))
