from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from attnbench.attention.spec import SCORES, AttentionSpec, stable_id
from attnbench.errors import AttnbenchError, SpecError

# Written down once: an id that changes would cut every stored result off from its past.
PINNED = {
    "AttentionSpec()": "5358e433e1cb",
    'AttentionSpec("cosine", scale=(0.5, -0.25), softcap=30.0)': "7e8dab45e5c7",
    'AttentionSpec(causal=True, align="bottom_right", window=(7, None), dropout=0.1)': "229fd6de351e",
    "Problem()": "56d59dda5f91",
    'Case(AttentionSpec(scale="log_n"), Problem(Hq=8, operands=("mask",)), "backward", ("lse",))': "0449576a6b91",
}

BAD: list[tuple[dict[str, Any], str]] = [
    ({"score": "dott"}, "score 'dott' is not one of dot, general, additive, concat, cosine; did you mean 'dot'?"),
    ({"score": None}, "score None is not one of"),
    ({"scale": "1/D"}, "scale '1/D' is not a number, a list of Hq numbers, None or one of none, 1/d, log_n"),
    ({"scale": float("nan")}, "scale is a finite number, or one for each query head; got nan"),
    ({"scale": float("inf")}, "scale is a finite number"),
    ({"scale": 10**400}, "scale is a finite number"),
    ({"scale": ()}, "scale is a finite number, or one for each query head; got ()"),
    ({"scale": (1.0, None)}, "or one for each query head"),
    ({"scale": [[1.0]]}, "or one for each query head"),
    ({"scale": np.ones((2, 2))}, "or one for each query head"),
    ({"scale": True}, "scale is a finite number"),
    ({"softcap": 0}, "softcap is a number above 0, or None for no cap; got 0"),
    ({"softcap": -1.0}, "softcap is a number above 0"),
    ({"softcap": float("inf")}, "softcap is a number above 0"),
    ({"softcap": float("nan")}, "softcap is a number above 0"),
    ({"softcap": 10**400}, "softcap is a number above 0"),
    ({"softcap": "30"}, "softcap is a number above 0, or None for no cap; got '30'"),
    ({"softcap": True}, "softcap is a number above 0"),
    ({"causal": 1}, "causal is True or False, not 1"),
    ({"causal": "bottom_right"}, "causal is True or False, not 'bottom_right'"),
    (
        {"align": "bottom-right"},
        "align 'bottom-right' is not one of top_left, bottom_right; did you mean 'bottom_right'?",
    ),
    ({"window": 3}, "window is (left, right), None for unbounded; got 3"),
    ({"window": (1,)}, "window is (left, right)"),
    ({"window": (1, 2, 3)}, "window is (left, right)"),
    ({"window": (-1, 0)}, "a window's sides are integers from 0 to 2**30, or None for unbounded; got (-1, 0)"),
    ({"window": (1.0, 0)}, "a window's sides are integers"),
    ({"window": (True, 0)}, "a window's sides are integers"),
    ({"window": (2**31, 0)}, "a window's sides are integers from 0 to 2**30"),
    ({"dropout": 1.0}, "dropout is a probability with 0 <= p < 1, not 1.0"),
    ({"dropout": -0.1}, "dropout is a probability"),
    ({"dropout": float("nan")}, "dropout is a probability"),
    ({"dropout": None}, "dropout is a probability with 0 <= p < 1, not None"),
]

GOOD: list[dict[str, Any]] = [
    {},
    *({"score": score} for score in SCORES),
    {"scale": 0.0},
    {"scale": -2},
    {"scale": "log_n"},
    {"scale": (1.0, 0.5)},
    {"softcap": 30.0, "causal": True, "align": "bottom_right", "window": (7, None), "dropout": 0.1},
    {"window": (0, 0)},
]


@pytest.mark.parametrize(("given", "phrase"), BAD)
def test_what_is_not_a_spec_is_refused_with_a_sentence(given: dict[str, Any], phrase: str) -> None:
    with pytest.raises(SpecError) as caught:
        AttentionSpec(**given)
    assert phrase in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_spec_error_is_a_value_error_and_ours() -> None:
    assert issubclass(SpecError, ValueError)
    assert issubclass(SpecError, AttnbenchError)
    assert SpecError.exit_code == 2


@pytest.mark.parametrize("given", GOOD)
def test_round_trip_through_a_dict(given: dict[str, Any]) -> None:
    spec = AttentionSpec(**given)
    again = AttentionSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert hash(again) == hash(spec)
    assert again.id == spec.id


def test_specs_are_immutable() -> None:
    spec = AttentionSpec()
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.causal = True  # type: ignore[misc]


def test_ids_tell_specs_apart() -> None:
    specs = [AttentionSpec(**given) for given in GOOD[1:]]
    assert len({spec.id for spec in specs}) == len(specs)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"scale": 2}, {"scale": 2.0}),
        ({"scale": [1, 2]}, {"scale": np.array([1.0, 2.0])}),
        ({"scale": -0.0}, {"scale": 0.0}),
        ({"scale": np.float32(0.5)}, {"scale": Fraction(1, 2)}),
        ({"scale": np.array(0.5)}, {"scale": 0.5}),
        ({"softcap": 30}, {"softcap": np.float64(30)}),
        ({"window": [np.int64(3), None]}, {"window": (3, None)}),
        ({"window": (None, None)}, {}),
        ({"dropout": 0}, {"dropout": -0.0}),
    ],
)
def test_what_means_the_same_is_equal_and_has_one_id(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert AttentionSpec(**first) == AttentionSpec(**second)
    assert AttentionSpec(**first).id == AttentionSpec(**second).id


def test_a_scale_for_one_head_is_not_a_scale() -> None:
    assert AttentionSpec(scale=(0.5,)) != AttentionSpec(scale=0.5)


def test_unknown_fields_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(SpecError, match=r"no field 'soft_cap'; it has .*; did you mean 'softcap'\?"):
        AttentionSpec.from_dict({"soft_cap": 30.0})


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (AttentionSpec(), 0.25),
        (AttentionSpec(scale="1/d"), 0.0625),
        (AttentionSpec(scale="none"), 1.0),
        (AttentionSpec(scale=-3), -3.0),
        (AttentionSpec(scale="log_n"), 0.25),
        (AttentionSpec("additive", scale="log_n"), 0.25),
        *((AttentionSpec(score), 1.0) for score in SCORES[1:]),
    ],
)
def test_the_scale_factor(spec: AttentionSpec, expected: float) -> None:
    assert spec.scale_factor(16) == expected


def test_a_scale_for_each_head_has_no_single_factor() -> None:
    with pytest.raises(SpecError, match="not one float"):
        AttentionSpec(scale=(1.0, 2.0)).scale_factor(16)


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_ids_are_the_same_in_every_process(hash_seed: str) -> None:
    code = "\n".join(
        [
            "from attnbench.attention.spec import AttentionSpec",
            "from attnbench.attention.problem import Case, Problem",
            *(f"print({expression}.id)" for expression in PINNED),
        ]
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert output.stdout.split() == list(PINNED.values())


def test_an_id_refuses_what_json_cannot_say() -> None:
    with pytest.raises(ValueError, match="JSON"):
        stable_id({"x": float("nan")})
