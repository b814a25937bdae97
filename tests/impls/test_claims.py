"""Capabilities never lie: every announced implementation is asked what it claims, and what it denies."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from attnbench.api import Capabilities, Implementation
from attnbench.attention.spec import POSITIONS, SCORES
from attnbench.backends import discover
from attnbench.backends.attend import resolve
from attnbench.backends.discover import backend, implementation_names, load_implementation
from attnbench.backends.implementation import FEATURES, ONLY
from tests.impls.against_oracle import fresh_process
from tests.impls.claims import AT, BEYOND, OF_FEATURE, OF_SCORE, lies, questions, unasked
from tests.repository import REPOSITORY

NAMES = implementation_names()
# Backends that compile a case in milliseconds: all of their claims are asked.
QUICK = ("onnxruntime", "openvino")


def device_of(name: str) -> str:
    """Where it is asked: the first device that it runs on; skipped where there is none here."""
    info = backend(name.partition("/")[0])
    if (why := info.why_missing()) is not None:
        pytest.skip(why)
    adapter, implementation = resolve(name)
    devices = [device for device in adapter.devices() if device in implementation.capabilities_on(device).devices]
    if not devices:
        pytest.skip(f"{name} runs on {', '.join(implementation.capabilities.devices)}, which is not here")
    return devices[0]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_claimed_is_right_and_what_is_denied_is_not_or_has_a_reason(name: str) -> None:
    info = backend(name.partition("/")[0])
    if "KERAS_BACKEND" in info.environment and info.why_missing() is None:
        assert in_a_process_of_its_own(info.name, compiles=info.compiles)[name] == []
        return
    device, (adapter, implementation) = device_of(name), resolve(name)
    slow = discover.compiles(implementation) and info.name not in QUICK
    assert lies(adapter, implementation, device, compiles=slow) == []


IN_A_PROCESS = """
import json
from attnbench.backends.attend import resolve
from attnbench.backends.discover import backend
from tests.impls.claims import lies
info = backend({backend!r})
print(json.dumps({{name: lies(*resolve(name), "cpu", compiles={compiles}) for name in info.names()}}))
"""


@cache
def in_a_process_of_its_own(name: str, *, compiles: bool) -> dict[str, list[str]]:
    """The lies of all implementations of a backend that needs a process to itself, as each side of Keras does."""
    program = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n" + IN_A_PROCESS.format(
        backend=name, compiles=compiles
    )
    printed = fresh_process(program, **backend(name).process_environment(1))
    every: dict[str, list[str]] = json.loads(printed.splitlines()[-1])
    return every


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [n for n in NAMES if not n.startswith((*QUICK, "keras_", "cupy")) and discover.compiles(load_implementation(n))],
)
def test_every_claim_and_denial_where_each_is_compiled(name: str) -> None:
    assert lies(*resolve(name), device_of(name)) == []


@pytest.mark.proof
@pytest.mark.slow
def test_every_claim_and_denial_of_keras_on_jax() -> None:
    for name, said in in_a_process_of_its_own("keras_jax", compiles=False).items():
        assert said == [], name


def test_there_is_a_question_about_everything_that_can_be_declared() -> None:
    assert set(OF_FEATURE) == set(FEATURES)
    assert set(OF_SCORE) == set(SCORES)
    assert set(BEYOND) == set(ONLY)
    assert set(AT) == set(POSITIONS)
    assert unasked(resolve("numpy/naive")[1], "cpu") == set()


def liar(**claims: Any) -> Implementation:
    """``numpy/blocked`` declaring something else."""
    honest = resolve("numpy/blocked")[1]
    return replace(honest, capabilities=replace(honest.capabilities, **claims))


def test_a_score_that_is_claimed_and_not_computed_is_a_lie() -> None:
    honest = resolve("numpy/loops")[1]
    lying = replace(honest, capabilities=replace(honest.capabilities, scores=("dot", "cosine")))
    assert any("claims cosine, and it is" in lie for lie in told(lying))


def told(implementation: Implementation) -> list[str]:
    return lies(resolve("numpy/blocked")[0], implementation)


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"stages": True, "lacks": {}}, "claims stages, and it is wrong"),
        ({"softcap": False}, "denies softcap without a reason, and its function computes it right"),
        ({"softcap": False, "lacks": {"softcap": " "}}, "denies softcap without a reason"),
        ({"scores": ("dot", "general", "additive")}, "denies concat without a reason"),
        ({"only": ("square",)}, "denies not_square without a reason"),
        ({"alignments": ("top_left",)}, "denies bottom_right without a reason"),
    ],
)
def test_a_lie_is_told_either_way(claims: dict[str, Any], said: str) -> None:
    assert any(said in lie for lie in told(liar(**claims))), told(liar(**claims))


def test_a_denial_of_what_works_stands_with_a_reason() -> None:
    assert told(liar(softcap=False, lacks={"softcap": "its users are not to rely on it"})) == []


def test_a_claim_that_the_function_refuses_is_false() -> None:
    from attnbench.api import UnsupportedError

    def refusing(q: object, k: object, v: object, call: object) -> object:
        del q, k, v, call
        msg = "not today"
        raise UnsupportedError(msg)

    said = lies(resolve("numpy/naive")[0], Implementation("numpy/refusing", Capabilities(causal=True), refusing))
    assert "numpy/refusing claims causal, and it is unsupported: not today" in said


def test_what_is_asked_about_a_feature_needs_nothing_else_that_is_denied() -> None:
    bare = Implementation("numpy/bare", Capabilities(), lambda q, k, v, call: q)  # noqa: ARG005
    about = {question.about for question in questions(bare, "cpu")}
    assert {"mask", "causal", "cosine", "float32"} <= about
    assert "batch_offset" not in about  # there is an offset where positions matter alone
