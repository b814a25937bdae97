"""What implementations claim and deny, each asked with as little else in the case as can be.

A claim is false where the case is wrong, or refused. A denial is put to the function itself, as though it were
claimed: it is right where the function refuses or answers wrong. Where it answers right within the bounds of the
check, the denial is needless, and needs a reason in ``lacks``.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from attnbench.agree.judge.trial import Trial, trial
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import POSITIONS, SCORES, STAGES, AttentionSpec
from attnbench.backends.asked import needs_of
from attnbench.backends.backend import Backend
from attnbench.backends.fitted import asked as fitting
from attnbench.backends.fitted import offered
from attnbench.backends.implementation import FEATURES, ONLY, Capabilities, Implementation

SIZES: dict[str, Any] = {"B": 2, "Hq": 2, "Tq": 6, "S": 6, "D": 8, "Dv": 8, "Da": 5}
WIDE: dict[str, Any] = {**SIZES, "S": 9}
SAMPLE = 1  # claims, and denials, that are asked of an implementation whose every case is compiled


def _case(*operands: str, sizes: Mapping[str, Any] = SIZES, outputs: tuple[str, ...] = (), **spec: Any) -> Case:
    problem = replace(Problem.from_dict(dict(sizes)), operands=operands, seed=3)
    forward = bool(set(outputs) & set(STAGES)) or any(kind.startswith("nan") for kind in operands)
    return Case(AttentionSpec(**spec), problem, "forward" if forward else "backward", outputs)


# The cases of a feature; those whose other features are declared are asked.
OF_FEATURE: dict[str, tuple[Case, ...]] = {
    "causal": (_case(causal=True),),
    "gqa": (_case(sizes={**SIZES, "Hq": 4, "Hkv": 2}),),
    "mask": (_case("mask"),),
    "bias": (_case("bias"),),
    "window": (_case(window=(2, 1)),),
    "lengths": (_case("kv_lengths"),),
    "segments": (_case("segments"),),
    "softcap": (_case(softcap=1.5),),
    "sinks": (_case("sinks"),),
    "dropout": (_case(dropout=0.25),),
    "slopes": (_case("slopes"),),
    "head_scale": (_case(scale=(0.5, -0.25)),),
    "log_n": (_case(scale="log_n"),),
    "batch_offset": (
        _case("offsets", sizes=WIDE, causal=True),
        _case("offsets", sizes=WIDE, window=(2, 1)),
        _case("offsets", "slopes", sizes=WIDE),
    ),
    "lse": (_case(outputs=("lse",)),),
    "stages": (_case(outputs=STAGES),),
    "nan_isolation": (_case("kv_lengths", "nan"), _case("nan_last_key", causal=True)),
    "gradients": (_case(),),
}
OF_SCORE = {score: _case(score=score) for score in SCORES}
PLAIN = OF_FEATURE["gradients"][0]
# Calls that a restriction of ``only=`` leaves out.
BEYOND = {
    "causal": PLAIN,
    "square": _case(sizes=WIDE),
    "key_lengths": _case("kv_lengths", "q_lengths"),
    "equal_head_sizes": _case(sizes={**SIZES, "Dv": 5}),
    "default_scale": _case(scale=0.3),
    "contiguous": _case("layout_step"),
}
AT = {
    "top_left": _case(sizes=WIDE, causal=True, align="top_left"),
    "bottom_right": _case(sizes=WIDE, causal=True, align="bottom_right"),
    "offset": _case("offset", sizes=WIDE, causal=True),
}


@dataclass(frozen=True)
class Question:
    """A claim or a denial, what it is about, and the case that asks it; ``can`` is what is then declared."""

    about: str
    claimed: bool
    case: Case
    can: Capabilities


def questions(implementation: Implementation, device: str) -> list[Question]:
    """Everything that an implementation claims or denies on a device, as far as a case can ask it by itself."""
    can = implementation.capabilities_on(device)
    dtype = "float32" if "float32" in can.dtypes else can.dtypes[0]
    every = [*_of_features(implementation, can), *_of_scores(can), *_of_restrictions(can)]
    every = [replace(question, case=question.case.with_problem(dtype=dtype)) for question in every]
    plain = PLAIN if "dot" in can.scores else OF_SCORE[can.scores[0]]
    every += [Question(name, True, plain.with_problem(dtype=name), can) for name in can.dtypes]
    return [fitted for question in every if (fitted := _fitted(implementation, question, device)) is not None]


def _of_features(implementation: Implementation, can: Capabilities) -> Iterator[Question]:
    has_vjp = implementation.vjp is not None
    for feature, cases in OF_FEATURE.items():
        claimed = getattr(can, feature) or (feature == "gradients" and has_vjp)
        for case in cases:
            yield Question(feature, claimed, case, can if claimed else _with(can, feature))


def _with(can: Capabilities, feature: str) -> Capabilities:
    claims: dict[str, Any] = {feature: True}
    # A restriction that the feature contradicts is given up with the denial.
    only = tuple(name for name in can.only if feature not in ONLY[name].forbids)
    return replace(can, only=only, **claims)


def _of_scores(can: Capabilities) -> Iterator[Question]:
    for score, case in OF_SCORE.items():
        claimed = score in can.scores
        yield Question(score, claimed, case, can if claimed else replace(can, scores=(*can.scores, score)))


def _of_restrictions(can: Capabilities) -> Iterator[Question]:
    for name in can.only:
        rest = tuple(other for other in can.only if other != name)
        yield Question(ONLY[name].needed, False, BEYOND[name], replace(can, only=rest))
    for where in POSITIONS:
        claimed = where in can.alignments
        widened = can if claimed else replace(can, alignments=(*can.alignments, where))
        yield Question(where, claimed, AT[where], widened)


def _fitted(implementation: Implementation, question: Question, device: str) -> Question | None:
    """The question as the implementation can be asked it; ``None`` where what it also needs is denied."""
    widened = _declaring(implementation, question.can, device)
    case = fitting(question.case, question.can)
    if question.about != "gradients":
        case = offered(case, widened, device)
    needs = needs_of(case, device)
    kept = question.about in needs.features | {needs.score, needs.dtype} | needs.positions
    restricted = question.can is not implementation.capabilities_on(device)
    if widened.unsupported(needs) is not None or not (kept or restricted):
        return None
    return replace(question, case=case)


def _declaring(implementation: Implementation, can: Capabilities, device: str) -> Implementation:
    return replace(implementation, capabilities=can, on={**implementation.on, device: can})


def lie(backend: Backend, implementation: Implementation, about: list[Question], device: str = "cpu") -> str | None:
    """What is wrong with a claim or a denial; ``None`` where it is true.

    A claim must hold in every case about it; a denial is needless where all of them are right.
    """
    answers = [
        _answer(backend, _declaring(implementation, asking.can, device), asking.case, device) for asking in about
    ]
    name, what = implementation.name, about[0].about
    if about[0].claimed:
        false = next((answer for answer in answers if answer.status != "ok"), None)
        return None if false is None else f"{name} claims {what}, and it is {false.status}: {false.reason}"
    if any(answer.status != "ok" for answer in answers):
        return None
    if implementation.capabilities_on(device).lacks.get(what, "").strip():
        return None
    return (
        f"{name} denies {what} without a reason, and its function computes it right:"
        f" declare it, or say why not in lacks={{{what!r}: ...}}"
    )


def _answer(backend: Backend, implementation: Implementation, case: Case, device: str) -> Trial:
    """What a framework warns of is no answer: it may do so once, and not the next time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return trial(backend, implementation, case, device)


def lies(backend: Backend, implementation: Implementation, device: str = "cpu", *, compiles: bool = False) -> list[str]:
    """Every false claim and needless denial; of few of them, and forward alone, where each case is compiled."""
    about: dict[tuple[bool, str], list[Question]] = {}
    for question in questions(implementation, device):
        about.setdefault((question.claimed, question.about), []).append(question)
    chosen = list(about)
    if compiles:
        chosen = sample([key for key in about if key[1] != "gradients"], implementation.name)
        about = {key: [replace(q, case=replace(q.case, phase="forward")) for q in about[key]] for key in chosen}
    return [said for key in chosen if (said := lie(backend, implementation, about[key], device)) is not None]


def sample(about: list[tuple[bool, str]], name: str, count: int = SAMPLE) -> list[tuple[bool, str]]:
    """Some claims and some denials, others for each implementation, and the same each time."""

    def place(key: tuple[bool, str]) -> str:
        return hashlib.sha256(f"{name} {key[1]}".encode()).hexdigest()

    return [
        key for claimed in (True, False) for key in sorted((k for k in about if k[0] is claimed), key=place)[:count]
    ]


def unasked(implementation: Implementation, device: str) -> set[str]:
    """Features that no question is about."""
    return set(FEATURES) - {question.about for question in questions(implementation, device)}
