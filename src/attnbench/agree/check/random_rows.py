"""``attnbench check --random N``: an implementation on random combinations of all that it declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.case_text import case_text
from attnbench.agree.cases.levels import why_none
from attnbench.agree.cases.random_cases import Levels, RandomCases
from attnbench.agree.judge.selection import SHARE
from attnbench.agree.judge.trial import largest, trial
from attnbench.attention.precision import DTYPES
from attnbench.errors import SpecError
from attnbench.show import finite

if TYPE_CHECKING:
    from attnbench.agree.cases.making import Planned
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

KEPT = 20  # disagreements that are described; all are counted


@dataclass(frozen=True)
class RandomResult:
    """What random cases of one implementation showed.

    ``cases`` were judged, ``unsupported`` were not, ``refused`` of these by the kernel itself (``refusal`` is the first
    of its words); ``untried`` would have passed whatever the kernel returned; ``wrong`` disagreed. ``error_ratio`` and
    ``gradient_ratio`` are the largest error over its bound. ``disagreements`` holds the case (as ``--case`` takes
    it), reason and fault of each, the first ``KEPT`` of them; ``levels`` those of every judged case, ``possible`` those
    that can be drawn; ``reason`` why nothing could be judged. ``known`` are the cases that are known deviations.
    """

    impl: str
    cases: int = 0
    unsupported: int = 0
    wrong: int = 0
    error_ratio: float | None = None
    gradient_ratio: float | None = None
    disagreements: list[dict[str, str]] = field(default_factory=list)
    levels: list[Levels] = field(default_factory=list)
    possible: Mapping[str, list[str]] = field(default_factory=dict)
    reason: str | None = None
    refused: int = 0
    refusal: str | None = None
    untried: int = 0
    known: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; an infinite ratio is the string ``"inf"``."""
        return finite.to_record(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RandomResult:
        """The inverse of ``to_dict``."""
        values = finite.from_record(data)
        return cls(**values)


def together(impl: str, parts: Iterable[RandomResult]) -> RandomResult:
    """Several results of one implementation as one."""
    every = list(parts)
    return RandomResult(
        impl,
        sum(part.cases for part in every),
        sum(part.unsupported for part in every),
        sum(part.wrong for part in every),
        largest(part.error_ratio for part in every),
        largest(part.gradient_ratio for part in every),
        [disagreement for part in every for disagreement in part.disagreements][:KEPT],
        [levels for part in every for levels in part.levels],
        next((part.possible for part in every if part.possible), {}),
        next((part.reason for part in every if part.reason), None),
        sum(part.refused for part in every),
        next((part.refusal for part in every if part.refusal), None),
        sum(part.untried for part in every),
    )


_CASES: dict[tuple[int, tuple[str, ...], str, int, int], RandomCases] = {}


def _cases(implementation: Implementation, dtypes: tuple[str, ...], device: str, seed: int, draws: int) -> RandomCases:
    """The cases, kept for the next call with the same arguments: to find the levels takes many tries."""
    key = id(implementation), dtypes, device, seed, draws
    if key not in _CASES:
        _CASES.clear()
        _CASES[key] = RandomCases(implementation, dtypes, device, seed=seed, draws=draws)
    return _CASES[key]


def drawn(
    implementation: Implementation, dtypes: tuple[str, ...], number: int, seed: int, draws: int, device: str
) -> str:
    """The text of one random case, as ``--case`` takes it."""
    return case_text(_cases(implementation, dtypes, device, seed, draws)[number].case)


def check_random(
    backend: Backend,
    implementation: Implementation,
    dtypes: tuple[str, ...],
    first: int,
    count: int,
    seed: int = 0,
    draws: int = 1,
    device: str = "cpu",
    among: tuple[str, ...] = DTYPES,
) -> RandomResult:
    """Judge the random cases ``first`` to ``first + count - 1`` of what ``implementation`` declares.

    ``dtypes`` are those that are drawn; of the cases drawn those in one of ``among`` are judged here.
    """
    cases = _cases(implementation, tuple(dtypes), device, seed, draws)
    if not cases.levels["mode"]:
        return RandomResult(implementation.name, unsupported=count, reason=why_none(implementation, dtypes, device))
    try:
        drawn = [cases[i] for i in range(first, first + count)]
    except SpecError as error:
        return RandomResult(implementation.name, unsupported=count, reason=str(error))
    judged = [planned for planned in drawn if planned.case.problem.dtype in among]
    result = together(implementation.name, (_one(backend, implementation, planned, device) for planned in judged))
    return replace(result, possible={name: list(levels) for name, levels in cases.levels.items()})


def _one(backend: Backend, implementation: Implementation, planned: Planned, device: str) -> RandomResult:
    case = planned.case
    judged = trial(backend, implementation, case, device, share=SHARE)
    if judged.status == "unsupported":
        words = judged.reason if judged.refused else None
        return RandomResult(implementation.name, unsupported=1, refused=int(judged.refused), refusal=words)
    if not judged.tried:
        return RandomResult(implementation.name, untried=1)
    disagreement = {"case": case_text(case), "reason": judged.reason or "", "fault": judged.fault or ""}
    return RandomResult(
        implementation.name,
        cases=1,
        wrong=int(judged.status == "wrong"),
        error_ratio=judged.forward_ratio,
        gradient_ratio=judged.gradient_ratio,
        disagreements=[disagreement] if judged.status == "wrong" else [],
        levels=[planned.row],
    )
