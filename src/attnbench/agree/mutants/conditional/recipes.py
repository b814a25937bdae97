"""Small cases for every feature that tells a mutant, from which the witness of a condition is made.

They are written without a look at the cases of the check: a witness shows that a fault can be seen, independently of
whether the check sees it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from attnbench.agree.mutants.catalogue import Mutant
from attnbench.attention.problem import OPERAND_GROUPS, Case, Problem
from attnbench.attention.spec import AttentionSpec

SIZES = {"B": 2, "Hq": 4, "Hkv": 4, "Tq": 37, "S": 65, "D": 16, "Dv": 8}
SQUARE = SIZES | {"Tq": 65}
TALL = SIZES | {"Tq": 70, "S": 33}
SAME = SIZES | {"Dv": 16}
FEW = SIZES | {"Tq": 9, "S": 2}
GROUPED = SIZES | {"Hq": 6, "Hkv": 2}
DEAD = ("mask_dead_rows", "nan_cotangent")
PADDED = ("kv_lengths", "q_lengths")


def _case(sizes: dict[str, int], *operands: str, outputs: tuple[str, ...] = (), **spec: Any) -> Case:
    distribution, phase = spec.pop("distribution", "normal"), spec.pop("phase", "backward")
    problem = replace(Problem.from_dict(dict(sizes)), operands=operands, distribution=distribution)
    return placed(Case(AttentionSpec(**spec), problem, phase, outputs))


def placed(case: Case) -> Case:
    """The case with its queries at the end of the keys, if that matters and no operand says where they stand."""
    spec, operands = case.spec, case.problem.operands
    elsewhere = bool({"past", *OPERAND_GROUPS["offset"]} & set(operands))
    matters = spec.causal or spec.window is not None or "slopes" in operands
    return replace(case, spec=replace(spec, align="bottom_right" if matters and not elsewhere else None))


def _of_inputs() -> list[Case]:
    kinds = ("huge", "peaky", "large_mean", "denormal", "near_ties", "outliers")
    return [
        *(_case(SIZES, distribution=kind) for kind in kinds),
        _case(FEW | {"D": 2048}, distribution="huge"),
        _case(FEW | {"D": 1}, distribution="huge", scale=100.0),
    ]


def _of_score(score: str) -> list[Case]:
    return [_case(SIZES | {"Da": 12}, score=score), _case(GROUPED | {"Da": 12}, "mask", score=score, softcap=1.5)]


BY_FEATURE: dict[str, list[Case]] = {
    "sizes": [_case(SIZES), _case(SAME), _case(SIZES, "zero_cotangent")],
    "inputs": _of_inputs(),
    "scale": [_case(SQUARE, causal=True, scale=scale) for scale in (1.7, -1.3, 0.3, "1/d")],
    "head_scale": [_case(SIZES, scale=(0.5, -0.25, 0.2, 0.5))],
    "log_n": [_case(SQUARE, scale="log_n", causal=True)],
    "causal": [
        _case(SIZES, causal=True),
        _case(TALL, causal=True),
        _case(SIZES, "offset", causal=True),
        _case(SIZES, "offset_negative", causal=True),
    ],
    "batch_offset": [_case(SIZES, kind, causal=True) for kind in ("offsets", "offsets_negative")],
    "window": [_case(SIZES, window=(4, 2)), _case(SIZES, window=(5, None)), _case(SIZES, window=(None, 3))],
    "mask": [
        _case(SIZES, "mask"),
        _case(SIZES, "mask_heads"),
        _case(SIZES, "mask_keys", "garbage"),
        _case(SQUARE, "mask", causal=True),
        _case(SIZES, *DEAD),
    ],
    "bias": [_case(SIZES, kind) for kind in ("bias", "bias_heads", "bias_keys", "bias_minus_inf")],
    "lengths": [_case(SIZES, *PADDED), _case(SIZES, *PADDED, "garbage", "nan_cotangent"), _case(SIZES, "kv_lengths")],
    "segments": [_case(SIZES, "segments")],
    "nan_isolation": [_case(SIZES, *PADDED, "nan", "nan_cotangent"), _case(SQUARE, "nan_last_key", causal=True)],
    "nan_reached": [_case(SIZES, kind, phase="forward") for kind in ("nan_query", "nan_key", "nan_value")],
    "gqa": [_case(GROUPED), _case(GROUPED, "mask", causal=True)],
    "softcap": [_case(SIZES, softcap=1.5), _case(SIZES, "mask", "bias", softcap=1.5)],
    "sinks": [
        _case(SIZES, "sinks"),
        _case(SIZES, "sinks", "mask_dead_rows"),
        _case(SIZES, "sinks", outputs=("lse",)),
        _case(FEW, "sinks", distribution="huge"),
    ],
    "slopes": [_case(SIZES, "slopes"), _case(SQUARE, "slopes", causal=True)],
    "dropout": [_case(SIZES, dropout=0.25)],
    "lse": [
        _case(SIZES, outputs=("lse",)),
        _case(SIZES, outputs=("lse",), causal=True),
        _case(SIZES, "zero_cotangent", outputs=("lse",)),
        _case(SIZES, "sinks", outputs=("lse",)),
    ],
    "cache": [_case(SIZES, "past", causal=True)],
    "additive": _of_score("additive"),
    "concat": _of_score("concat"),
    "general": _of_score("general"),
    "cosine": [*_of_score("cosine"), _case(SIZES, "zeros", score="cosine")],
}
"""Several for each feature, plain ones first."""

BY_KIND: dict[str, list[Case]] = {"dead row": [_case(SIZES, *DEAD), _case(SIZES, *PADDED, "nan_cotangent")]}


def recipes(mutant: Mutant) -> list[Case]:
    """Cases that may show a mutant, the most telling first."""
    return [case for name in mutant.telling for case in BY_FEATURE[name]] + BY_KIND.get(mutant.kind, [])
