"""The cases of ``attnbench check``: every feature of the spec, alone and combined, in sizes around tile edges.

A case belongs to one feature, the row of the table that it decides. tests/agree/test_power.py proves each one able
to fail: switching the feature off moves the oracle's output by far more than the bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import SCORES, STAGES, AttentionSpec

# Questions about the bits of a kernel, rows of the table beside the features (agree/check/repeatable.py).
REPEATABLE = ("deterministic", "batch_invariant")
# A tail of one key behind two tiles of 32, several heads, D other than Dv.
PLAIN = {"B": 2, "Hq": 3, "Tq": 33, "S": 65, "D": 16, "Dv": 8}
# Fewer keys than a vector register holds: kernels have a loop of their own for the rest of a vector.
FEW = {"B": 1, "Hq": 2, "Tq": 3, "S": 5, "D": 16}
SQUARE = {"B": 2, "Hq": 3, "Tq": 65, "S": 65, "D": 16, "Dv": 8}


@dataclass(frozen=True)
class CheckCase:
    """A case and the feature that it is evidence for."""

    feature: str
    case: Case


def _case(feature: str, sizes: dict[str, int], *operands: str, outputs: tuple[str, ...] = (), **spec: Any) -> CheckCase:
    distribution = spec.pop("distribution", "normal")
    seed = spec.pop("seed", 0)
    phase = spec.pop("phase", "backward")
    problem = replace(Problem.from_dict(dict(sizes)), operands=operands, distribution=distribution, seed=seed)
    return CheckCase(feature, Case(AttentionSpec(**spec), problem, phase, outputs))


def _sizes() -> list[CheckCase]:
    shapes = [(1, 1, 8), (1, 257, 40), (17, 1, 16), (129, 127, 64), (31, 512, 3), (16, 33, 1)]
    cases = [_case("sizes", {"B": 1, "Hq": 2, "Tq": tq, "S": s, "D": d}) for tq, s, d in shapes]
    # The same shape twice with other values: an answer kept from an earlier call is seen. Cotangents may hold zeros.
    many = [{"B": 1, "Hq": 1, "Tq": 513, "S": 1025, "D": 80}, {"B": 3, "Hq": 8, "Tq": 33, "S": 65, "D": 96}]
    many.append({"B": 1, "Hq": 2, "Tq": 255, "S": 256, "D": 256, "Dv": 72})
    again = _case("sizes", PLAIN, "zero_cotangent", seed=1)
    last = _case("sizes", {"B": 1, "Hq": 2, "Tq": 15, "S": 64, "D": 128}, "zero_cotangent")
    wanted = [_case("sizes", PLAIN, kind) for kind in ("wanted_q", "wanted_kv")]
    return [_case("sizes", PLAIN), again, *wanted, *(_case("sizes", sizes) for sizes in many), *cases, last]


def _inputs() -> list[CheckCase]:
    kinds = ("peaky", "huge", "uniform", "outliers", "near_ties", "denormal", "large_mean")
    two_keys = {"B": 1, "Hq": 2, "Tq": 17, "S": 2, "Dv": 8}
    return [
        *(_case("inputs", PLAIN, distribution=kind) for kind in kinds),
        _case("inputs", {**two_keys, "D": 2048}, distribution="huge"),  # q·k beyond float16's range
        _case("inputs", {**two_keys, "D": 1}, distribution="huge", scale=100.0),  # rows far below zero as a whole
    ]


def _scales() -> list[CheckCase]:
    # A kernel that scales what its mask has made -inf turns it round.
    cases = [_case("scale", SQUARE, scale=-0.2, causal=True, phase="forward")]
    cases += [_case("scale", PLAIN, scale=scale, phase="forward") for scale in (0.3, 1.7, "none")]
    cases += [_case("scale", PLAIN, scale=scale) for scale in (-0.2, -1.3, 0.0, "1/d")]
    cases.append(_case("head_scale", PLAIN, scale=(0.5, -0.25, 0.125)))
    cases.append(_case("log_n", SQUARE, scale="log_n", causal=True))
    return cases


def _positions() -> list[CheckCase]:
    tall = {**PLAIN, "Tq": 65, "S": 33}
    return [
        _case("causal", SQUARE, causal=True),
        _case("causal", PLAIN, causal=True, align="top_left", phase="forward"),
        _case("causal", PLAIN, causal=True, align="bottom_right"),
        _case("causal", tall, causal=True, align="bottom_right"),
        _case("causal", PLAIN, "offset", causal=True, phase="forward"),
        # A scale beyond -1 besides: here it is no program of its own in any dtype.
        _case("causal", PLAIN, "offset_negative", causal=True, scale=-1.3),
        _case("batch_offset", PLAIN, "offsets", causal=True),
        _case("batch_offset", PLAIN, "offsets_negative", causal=True),
        _case("window", SQUARE, window=(7, 2), causal=True),
        _case("window", PLAIN, window=(None, 2), align="top_left", phase="forward"),
        _case("window", PLAIN, window=(4, None), align="top_left", phase="forward"),
        _case("window", PLAIN, window=(3, 5), align="bottom_right"),
    ]


def _masks() -> list[CheckCase]:
    return [
        _case("mask", PLAIN, "mask"),
        _case("mask", PLAIN, "mask_keys"),
        _case("mask", PLAIN, "mask_keys", "garbage"),
        _case("mask", PLAIN, "mask_heads"),
        _case("mask", SQUARE, "mask", causal=True),
        _case("mask", PLAIN, "mask_dead_rows", "nan_cotangent"),
        _case("bias", PLAIN, "bias"),
        _case("bias", PLAIN, "bias", "wanted_qkv"),
        _case("bias", PLAIN, "bias_keys"),
        _case("bias", PLAIN, "bias_heads"),
        _case("bias", SQUARE, "bias_minus_inf", causal=True),
        _case("lengths", PLAIN, "kv_lengths"),
        _case("lengths", PLAIN, "kv_lengths", "q_lengths", "garbage", "nan_cotangent"),
        _case("lengths", SQUARE, "kv_lengths", "q_lengths", causal=True),
        _case("segments", SQUARE, "segments", causal=True),
        _case("nan_isolation", PLAIN, "kv_lengths", "q_lengths", "nan", "nan_cotangent"),
        _case("nan_isolation", SQUARE, "nan_last_key", causal=True, phase="forward"),
        _case("nan_reached", FEW, "nan_query", phase="forward"),
        # The same program three times, and one that others have: a NaN that is reached shows, where it should alone.
        *(_case("nan_reached", PLAIN, kind, phase="forward") for kind in ("nan_query", "nan_key", "nan_value")),
    ]


def _others() -> list[CheckCase]:
    gqa, mqa = {**PLAIN, "Hq": 6, "Hkv": 3}, {**PLAIN, "Hq": 4, "Hkv": 1}
    tall = {**PLAIN, "Tq": 65, "S": 33}
    return [
        _case("gqa", gqa),
        _case("gqa", mqa),
        _case("gqa", {**PLAIN, "Hq": 8, "Hkv": 2}),
        _case("gqa", {**gqa, "Tq": 65}, "mask", causal=True),
        _case("softcap", PLAIN, softcap=1.5),
        _case("softcap", PLAIN, "mask", "bias", softcap=1.5),
        _case("sinks", PLAIN, "sinks"),
        _case("sinks", PLAIN, "sinks", "mask_dead_rows"),
        _case("sinks", {**PLAIN, "S": 2}, "sinks", distribution="huge"),
        _case("slopes", SQUARE, "slopes", causal=True),
        _case("slopes", PLAIN, "slopes", align="bottom_right"),
        _case("dropout", PLAIN, dropout=0.25),
        _case("lse", PLAIN, outputs=("lse",)),
        _case("lse", SQUARE, outputs=("lse",), causal=True),
        _case("lse", PLAIN, "zero_cotangent", outputs=("lse",)),
        _case("lse", PLAIN, outputs=("lse",), causal=True, align="bottom_right"),
        _case("lse", PLAIN, "sinks", outputs=("lse",), phase="forward"),
        _case("lse", PLAIN, "mask_dead_rows", outputs=("lse",)),
        # Rows without a key, without a mask.
        _case("lse", tall, "zero_cotangent", outputs=("lse",), causal=True, align="bottom_right"),
        # A stage has no cotangent.
        _case("stages", PLAIN, outputs=STAGES, phase="forward"),
        _case("stages", PLAIN, "mask", "bias", outputs=STAGES, softcap=1.5, phase="forward"),
        _case("cache", PLAIN, "past", causal=True),
        _case("layout", PLAIN, "layout_step"),
        _case("layout", PLAIN, "layout_transposed"),
    ]


def _scores() -> list[CheckCase]:
    cases = []
    for score in SCORES[1:]:
        sizes = {**PLAIN, "Da": 12}
        rich = {**sizes, "Hq": 4, "Hkv": 2}
        cases += [_case(score, rich, "mask", score=score, softcap=1.5, scale=0.7), _case(score, sizes, score=score)]
    return [*cases, _case("cosine", PLAIN, "zeros", score="cosine")]


# Faults of indexing and of the formula show best in float32, where the bound is tight and every framework is fast:
# there all cases are tried. In the other dtypes it is the last of each feature, the most demanding one, and those that
# alone find some mutant (tests/agree/test_mutants.py holds the choice to account); with --deep all of them. A framework
# that compiles needs its time for compiling, so that what costs is the number of different programs and their passes.
FULL_DTYPE = "float32"
LARGE_HEAD = 1024
ALONE = ("huge", "denormal", "mask_heads", "bias_keys", "bias_heads", "offsets", "nan_query", "nan_key")
# Their backward pass reads the allowed set, or the score, of a feature that is tried with its gradient.
FORWARD_IS_ENOUGH = ("causal", "batch_offset", "window", "segments", "cache", "concat")


def check_cases(dtype: str, *, deep: bool = False) -> list[CheckCase]:
    """The cases in one dtype, in the order of the table's rows."""
    groups = (_sizes(), _inputs(), _scales(), _positions(), _masks(), _others(), _scores())
    by_feature: dict[str, list[CheckCase]] = {}
    for check_case in chain(*groups):
        in_dtype = CheckCase(check_case.feature, check_case.case.with_problem(dtype=dtype))
        by_feature.setdefault(check_case.feature, []).append(in_dtype)
    choose = _all_of_them if deep else _without_repetition if dtype == FULL_DTYPE else _most_demanding
    return [check_case for cases in by_feature.values() for check_case in choose(cases)]


def _all_of_them(cases: list[CheckCase]) -> list[CheckCase]:
    return [_forward(cases[0]), *cases]


def _without_repetition(cases: list[CheckCase]) -> list[CheckCase]:
    """The first forward alone, where others have a backward pass."""
    return [_forward(cases[0]), *cases[1:]] if len(cases) > 1 else cases


def _forward(check_case: CheckCase) -> CheckCase:
    """The same case without the backward pass: an implementation may take another way where no gradient is asked."""
    return CheckCase(check_case.feature, replace(check_case.case, phase="forward"))


def _most_demanding(cases: list[CheckCase]) -> list[CheckCase]:
    chosen = [check_case for check_case in cases if check_case is cases[-1] or _irreplaceable(check_case.case)]
    return [_forward(check_case) if _forward_is_enough(check_case) else check_case for check_case in chosen]


def _forward_is_enough(check_case: CheckCase) -> bool:
    kinds = set(check_case.case.problem.operands)
    return check_case.feature in FORWARD_IS_ENOUGH or bool({"mask_heads", "bias_heads"} & kinds)


def _irreplaceable(case: Case) -> bool:
    p = case.problem
    if p.D > LARGE_HEAD and p.dtype != "float16":
        return False  # it is there for the range of float16
    kinds = (p.distribution, *p.operands)
    return any(kind in kinds for kind in ALONE) or ("sinks" in kinds and "lse" in case.outputs)


# Rows that look at errors as a whole (against our own baseline, for a direction) and at what inputs chosen for it show
# by themselves, not at a feature (see attnbench.agree.rules.rows).
RULES = ("rule_2", "rule_3", "probes")
FEATURES = tuple(dict.fromkeys(c.feature for c in check_cases(FULL_DTYPE)))
ROWS = (*FEATURES, *RULES, *REPEATABLE)
