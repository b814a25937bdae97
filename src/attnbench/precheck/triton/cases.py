"""What an implementation is called with: realistic sizes for machine code, small ones for the interpreter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.by_feature import FULL_DTYPE, CheckCase, check_cases
from attnbench.agree.cases.dimensions import SMALL
from attnbench.agree.cases.features import features_of
from attnbench.agree.cases.plan import planned_cases
from attnbench.attention.needs import with_operands
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.bind import inputs_of
from attnbench.backends.fitted import SIZES, asked, fitted, offered
from attnbench.backends.implementation import FEATURES
from attnbench.errors import AttnbenchError

if TYPE_CHECKING:
    from attnbench.backends.implementation import Implementation

GPU = "cuda"
TOKENS, ODD_TOKENS, CACHED = 1024, 1021, 4096
HEADS = {"B": 2, "Hq": 4, "Hkv": 4}
# Half a tile, several tiles and one key more: tails of every tile that is in use.
TAILS = ({"B": 1, "Tq": 259, "S": 259}, {"B": 3, "Tq": 70, "S": 387}, {"B": 2, "Tq": 129, "S": 40})
TAIL_HEADS = {"Hq": 2, "Hkv": 2, "D": 32}
# Of every feature: a fault may be in the second tile alone, or in the third batch entry.
SEVERAL_TILES = {"B": 3, "Tq": 150, "S": 200, "D": 16, "Dv": 16}
# Few tiles of any size, so that a kernel whose interpreter is slow can afford those of a GPU; by feature.
FEW_TILES = {"B": 1, "Hq": 1, "Hkv": 1, "Tq": 40, "S": 70, "D": 8}
SPECS: dict[str, dict[str, Any]] = {
    "sizes": {},
    "causal": {"causal": True, "align": "bottom_right"},
    "window": {"window": (20, 9), "align": "bottom_right"},
}
DOT = "dot"
INTERPRETED = ("float16", "float32")  # bfloat16 is multiplied wrongly by the interpreter's tl.dot
SIXTEEN_BITS = ("float16", "bfloat16")
# Cases of the covering design of ``attnbench check``, where features that are claimed stand beside each other.
COMBINED = 32
# Sequences of no key, of one, of all and on the edges of tiles: what is written of rows without a key?
EDGES = {"B": 6, "Hq": 1, "Hkv": 1, "Tq": 3, "S": 70, "D": 8}
# Values around 100, so that a row of zeros is none of theirs.
LOW = {"B": 1, "Hq": 2, "Hkv": 2, "Tq": 9, "S": 70, "D": 8}
# In these nothing is about a kernel's own arithmetic at other sizes, or nothing is about a kernel in 16 bits.
NOT_COMPILED_FOR = ("sizes", "inputs", "nan_reached", "nan_isolation", "layout", "scale")
LARGEST, LARGEST_HEAD = 1 << 19, 256  # B·Hq·Tq·S and D of a case that the interpreter is asked


@dataclass(frozen=True)
class FeatureCase:
    """A case and the feature that it is about."""

    feature: str
    case: Case


def launched(implementation: Implementation, dtype: str) -> Iterator[FeatureCase]:
    """The supported cases of realistic sizes in one dtype, whose launches are recorded."""
    stands_for_width = dtype == _first_of_width(implementation, dtype)
    plain = [*_sizes(dtype), *(_large_heads(dtype) if stands_for_width else ())]
    taken = [
        each for each in (_as_claimed(implementation, each) for each in plain) if _supported(implementation, each.case)
    ]
    # Where limits leave out all of them: the nearest sizes within the limits.
    yield from taken or dict.fromkeys(_within_limits(implementation, plain))
    demanding = _most_demanding(implementation, dtype) if stands_for_width else ()
    large = [replace(each, case=each.case.with_problem(Tq=TOKENS, S=TOKENS, D=64, Dv=64)) for each in demanding]
    yield from dict.fromkeys(_within_limits(implementation, large))


def _first_of_width(implementation: Implementation, dtype: str) -> str:
    """The dtype that stands for its width: float16 and bfloat16 differ in no address, and in no size of a tile."""
    claimed = implementation.capabilities_on(GPU).dtypes
    return next(name for name in (*SIXTEEN_BITS, dtype) if name in claimed) if dtype in SIXTEEN_BITS else dtype


def _sizes(dtype: str) -> Iterator[FeatureCase]:
    square = {"Tq": TOKENS, "S": TOKENS}
    odd = {"Tq": ODD_TOKENS, "S": ODD_TOKENS}
    for sizes in ({**square, "D": 64}, {**square, "D": 128}, {**odd, "D": 64}):
        for phase in ("forward", "backward"):
            yield _plain({**HEADS, **sizes}, dtype, phase)
    yield _plain({**HEADS, "Tq": 1, "S": CACHED, "D": 128}, dtype, "decode")


def _large_heads(dtype: str) -> Iterator[FeatureCase]:
    """The largest head size that most kernels take, and that of multi-head latent attention, whose values have 128."""
    for heads in ({"D": 256}, {"D": 192, "Dv": 128}):
        for phase in ("forward", "backward"):
            yield _plain({**HEADS, "Tq": TOKENS, "S": TOKENS, **heads}, dtype, phase)
    yield _plain({**HEADS, "Tq": 1, "S": CACHED, "D": 256}, dtype, "decode")


def _plain(sizes: dict[str, int], dtype: str, phase: Any, **spec: Any) -> FeatureCase:
    problem = replace(Problem.from_dict(dict(sizes)), dtype=dtype)
    return FeatureCase("sizes", Case(AttentionSpec(**spec), problem, phase, ()))


def _most_demanding(implementation: Implementation, dtype: str) -> list[FeatureCase]:
    """The last supported case of every feature, which has the most besides it."""
    last: dict[str, FeatureCase] = {}
    for each in _of_features(implementation, dtype):
        if each.feature not in NOT_COMPILED_FOR:
            last[each.feature] = each
    return list(last.values())


def _of_features(
    implementation: Implementation, dtype: str, of_check: Sequence[CheckCase] | None = None
) -> Iterator[FeatureCase]:
    """The supported small cases of ``attnbench check`` in one dtype, of those of ``of_check`` (else of all)."""
    for check_case in check_cases(FULL_DTYPE) if of_check is None else of_check:
        each = FeatureCase(check_case.feature, check_case.case.with_problem(dtype=dtype))
        each = _as_claimed(implementation, each)
        if _small(each.case) and _supported(implementation, each.case):
            yield each


def _as_claimed(implementation: Implementation, each: FeatureCase) -> FeatureCase:
    """As what is declared restricts every call, with a claimed score, and forward alone where there are no gradients.

    (A backward pass launches its forward too.)
    """
    can = implementation.capabilities_on(GPU)
    scores = can.scores
    if each.case.spec.score == DOT and DOT not in scores:
        each = replace(each, case=replace(each.case, spec=replace(each.case.spec, score=scores[0])))
    return replace(each, case=offered(fitted(each.case, can, each.feature), implementation, GPU))


def _within_limits(implementation: Implementation, cases: Sequence[FeatureCase]) -> Iterator[FeatureCase]:
    """The cases as they are claimed, of the nearest sizes that the limits allow."""
    can = implementation.capabilities_on(GPU)
    for each in cases:
        claimed = _as_claimed(implementation, each)
        before, near = claimed.case.problem, asked(claimed.case, can).problem
        sizes = {name: getattr(near, name) for name in SIZES}
        if before.Da == before.D:
            sizes["Da"] = near.D
        short = min(near.Tq, near.S)
        # Where Tq was S, and no corner is named, other sizes may be no problem: then both are the shorter one.
        for others in (sizes, {**sizes, "Tq": short, "S": short}):
            nearest = replace(claimed, case=claimed.case.with_problem(**others))
            with suppress(AttnbenchError):
                if _supported(implementation, nearest.case):
                    yield nearest
                break


def interpreted(implementation: Implementation) -> list[FeatureCase]:
    """The supported small cases of every feature, in the dtypes that the interpreter computes rightly."""
    claimed = implementation.capabilities_on(GPU).dtypes
    dtypes = [name for name in INTERPRETED if name in claimed]
    cases: list[FeatureCase] = []
    for dtype in dtypes:
        asked_for = [*_tails(dtype), *_edges(implementation, dtype)]
        if dtype == dtypes[0]:
            asked_for += [*_several_tiles(implementation, dtype), *_combined(implementation, dtype)]
        wanted = list(_within_limits(implementation, asked_for))
        by_check = list(_of_features(implementation, dtype, check_cases(dtype)))
        there = {each.feature for each in by_check}
        # The most demanding case of a feature may have more besides it than is claimed: the last that is, then.
        others = {each.feature: each for each in _of_features(implementation, dtype) if each.feature not in there}
        # Or no case has sizes that are claimed.
        every = [FeatureCase(each.feature, each.case.with_problem(dtype=dtype)) for each in check_cases(FULL_DTYPE)]
        rest = [each for each in every if each.feature not in there | others.keys() and _small(each.case)]
        near = {each.feature: each for each in _within_limits(implementation, rest)}
        cases += dict.fromkeys((*wanted, *by_check, *others.values(), *near.values()))
    return cases


def _tails(dtype: str) -> Iterator[FeatureCase]:
    """Plain cases by position: sizes with tails of tiles, and of few tiles."""
    shapes = [*({**TAIL_HEADS, **sizes} for sizes in TAILS), FEW_TILES]
    for feature, spec in SPECS.items():
        yield from (replace(_plain(sizes, dtype, "backward", **spec), feature=feature) for sizes in shapes)


def _several_tiles(implementation: Implementation, dtype: str) -> list[FeatureCase]:
    """The most demanding case of every feature, over several tiles each way; both passes where there are two."""
    demanding = _most_demanding(implementation, dtype)
    large = (replace(each, case=each.case.with_problem(**SEVERAL_TILES)) for each in demanding)
    return [
        replace(each, case=replace(each.case, phase="backward")) if each.case.phase == "forward" else each
        for each in large
    ]


def _combined(implementation: Implementation, dtype: str) -> list[FeatureCase]:
    """Small cases in which claimed features, and classes of sizes and values, meet in pairs."""
    cases = (each.case for each in planned_cases(implementation, (dtype,), GPU, sweeps={1: SMALL}, most=COMBINED))
    return [FeatureCase(next(iter(features_of(case)), "sizes"), case) for case in cases]


def _edges(implementation: Implementation, dtype: str) -> list[FeatureCase]:
    """Lengths on edges, of keys and of queries; with lse where that is claimed. Rows that a bias lowers as a whole."""
    outputs = ("lse",) if implementation.capabilities_on(GPU).lse else ()
    kinds = (("kv_lengths_edges",), ("kv_lengths_edges", "q_lengths_edges"))
    problem = replace(Problem.from_dict(dict(EDGES)), dtype=dtype)
    problems = (replace(problem, operands=kind) for kind in kinds)
    low = replace(Problem.from_dict(dict(LOW)), dtype=dtype, operands=("bias_low",), distribution="large_mean")
    return [
        *(FeatureCase("lengths", Case(AttentionSpec(), each, "backward", outputs)) for each in problems),
        FeatureCase("bias", Case(AttentionSpec(), low, "forward", ())),
    ]


def unasked(implementation: Implementation, features: set[str]) -> list[str]:
    """Features that are claimed on a GPU and are not among these; every case asks for gradients where there are any."""
    can = implementation.capabilities_on(GPU)
    return [name for name in FEATURES if getattr(can, name) and name not in features and name != "gradients"]


def _small(case: Case) -> bool:
    p = case.problem
    return p.B * p.Hq * p.Tq * p.S <= LARGEST and p.D <= LARGEST_HEAD


def _supported(implementation: Implementation, case: Case) -> bool:
    """Whether it is claimed on a GPU. A problem that cannot be drawn so is none."""
    call = inputs_of(case).call
    needs = with_operands(call.needs(GPU, gradients=case.gradients), case.problem.operands)
    return implementation.unsupported(needs) is None
