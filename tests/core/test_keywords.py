"""Keywords that are none: what was meant, in every public function and dataclass."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import attnbench
from attnbench import api, keywords
from attnbench.api import suites
from attnbench.attention.call import Operands
from attnbench.backends.implementation import Capabilities
from attnbench.errors import EXIT_USAGE, AttnbenchError
from attnbench.keywords import KeywordError, explained

Q = np.zeros((1, 2, 4, 8), np.float32)
SPEC, PROBLEM = attnbench.AttentionSpec(), attnbench.Problem()
# A type checker refuses these calls by itself; the tests are about those who have none.
Spec: Callable[..., Any] = attnbench.AttentionSpec
Anything: dict[str, Callable[..., Any]] = {
    "AttentionSpec": attnbench.AttentionSpec,
    "AttentionOutput": attnbench.AttentionOutput,
    "Problem": attnbench.Problem,
    "Case": lambda **words: attnbench.Case(SPEC, PROBLEM, **words),
    "attend": lambda **words: attnbench.attend(Q, Q, Q, **words),
    "vjp": lambda **words: attnbench.vjp(Q, Q, Q, Q, **words),
    "load": lambda **words: attnbench.load("nowhere", **words),
    "from_padding": attnbench.from_padding,
    "default_params": lambda **words: attnbench.default_params(SPEC, heads=1, **words),
    "clear_bindings": attnbench.clear_bindings,
    "Capabilities": api.Capabilities,
    "Precision": api.Precision,
    "Limit": lambda **words: api.Limit("D", "small", **words),
    "implementation": lambda **words: api.implementation("numpy/mine", **words),
    "Story": lambda **words: suites.Story(question="?", **words),
    "Figure": lambda **words: suites.Figure("a", "b", "c", "d", **words),
    "Operands": lambda **words: Operands(Q, Q, Q, **words),
}


@pytest.mark.parametrize("name", Anything)
def test_a_word_that_nobody_knows_is_refused_everywhere(name: str) -> None:
    with pytest.raises(KeywordError, match=f"^{name} takes no 'zzz'; it takes "):
        Anything[name](zzz=1)


def test_it_is_a_type_error_and_an_error_of_wrong_usage() -> None:
    with pytest.raises(TypeError) as raised:
        Spec(casual=True)
    assert isinstance(raised.value, AttnbenchError)
    assert raised.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize(
    ("name", "word", "said"),
    [
        ("AttentionSpec", "casual", "did you mean 'causal'?"),
        ("AttentionSpec", "Causal", "did you mean 'causal'?"),
        ("AttentionSpec", "is_causal", "did you mean 'causal'?"),
        ("AttentionSpec", "softmax_scale", "did you mean 'scale'?"),
        ("AttentionSpec", "dropout_p", "did you mean 'dropout'?"),
        ("AttentionSpec", "window_size", "did you mean 'window'?"),
        ("AttentionSpec", "logits_soft_cap", "did you mean 'softcap'?"),
        ("AttentionSpec", "mask", "that is an operand of a call: attend(q, k, v, mask=...)"),
        (
            "AttentionSpec",
            "alibi_slopes",
            "did you mean 'slopes'? that is an operand of a call: attend(q, k, v, slopes=...)",
        ),
        ("AttentionSpec", "head_dim", "that is a part of a problem: Problem(D=...)"),
        ("attend", "causal", "that is part of the spec: spec=AttentionSpec(causal=...)"),
        ("attend", "casual", "did you mean 'causal'? that is part of the spec: spec=AttentionSpec(causal=...)"),
        ("attend", "is_causal", "that is part of the spec: spec=AttentionSpec(causal=...)"),
        ("attend", "scale", "that is part of the spec: spec=AttentionSpec(scale=...)"),
        ("attend", "sm_scale", "that is part of the spec: spec=AttentionSpec(scale=...)"),
        ("attend", "dropout_p", "that is part of the spec: spec=AttentionSpec(dropout=...)"),
        ("attend", "attn_mask", "write mask= for one of booleans (True: may attend), bias= for one of numbers"),
        ("attend", "enable_gqa", "k and v may have fewer heads than q"),
        ("attend", "alibi_slopes", "did you mean 'slopes'?"),
        ("attend", "num_heads", "its shape is (B, Hq, Tq, D)"),
        ("attend", "need_weights", 'write outputs=("weights",)'),
        ("attend", "key_padding_mask", "attnbench.from_padding(...)"),
        ("attend", "cu_seqlens_q", "q_segments= and kv_segments="),
        ("attend", "attn_bias", "did you mean 'bias'?"),
        ("attend", "backend", "that is an option of a call: attend(q, k, v, impl=...)"),
        ("vjp", "causal", "vjp takes no 'causal'; that is part of the spec"),
        ("Problem", "batch_size", "did you mean 'B'?"),
        ("Problem", "num_kv_heads", "did you mean 'Hkv'?"),
        ("Problem", "hq", "did you mean 'Hq'?"),
        ("Problem", "causal", "that is part of the spec: spec=AttentionSpec(causal=...)"),
        ("Case", "dtype", "a problem has it, Problem(dtype=...)"),
        ("load", "sample", "did you mean 'samples'?"),
        ("default_params", "D", "did you mean 'd'?"),
        ("Capabilities", "casual", "did you mean 'causal'?"),
        ("Capabilities", "dtype", "did you mean 'dtypes'?"),
        ("Capabilities", "alibi", "did you mean 'slopes'?"),
        ("Capabilities", "backward", "did you mean 'gradients'?"),
        ("Precision", "accum", "did you mean 'accumulate'?"),
        ("Limit", "max", "did you mean 'at_most'?"),
        ("implementation", "causal", "that is a capability: Capabilities(causal=...)"),
        ("implementation", "dtypes", "that is a capability: Capabilities(dtypes=...)"),
        ("Figure", "xlabel", "did you mean 'x_label'?"),
    ],
)
def test_what_was_meant(name: str, word: str, said: str) -> None:
    with pytest.raises(KeywordError) as raised:
        Anything[name](**{word: None})
    assert str(raised.value).startswith(f"{name} takes no {word!r}; ")
    assert said in str(raised.value)


def test_every_wrong_word_of_a_call_is_named() -> None:
    with pytest.raises(KeywordError, match=r"no 'is_causal'; .*causal=\.\.\.\), and no 'scale'; .*scale=\.\.\.\)"):
        attnbench.attend(Q, Q, Q, is_causal=True, scale=0.5)
    with pytest.raises(KeywordError, match=r"no 'cuda'; did you mean 'devices'\?, and no 'alibi'"):
        Anything["Capabilities"](cuda=True, alibi=True)


@explained
def pair(a: Any, b: Any) -> Any:
    return a + b


call_pair: Callable[..., Any] = pair


def test_too_many_arguments_and_too_few() -> None:
    with pytest.raises(KeywordError, match="AttentionSpec: too many positional arguments; it takes score, scale"):
        Spec("dot", None, None, True, None, None, 0.0, 1)
    with pytest.raises(KeywordError, match="pair: missing a required argument: 'b'; it takes a, b"):
        call_pair(1)


def test_a_type_error_from_within_stays_what_it_is() -> None:
    with pytest.raises(TypeError, match="unsupported operand") as raised:
        pair(1, "x")
    assert not isinstance(raised.value, KeywordError)


def test_signatures_copies_and_pickles_stay() -> None:
    assert list(inspect.signature(attnbench.AttentionSpec).parameters)[:3] == ["score", "scale", "softcap"]
    assert inspect.signature(attnbench.attend).parameters["impl"].default == "numpy/naive"
    spec = attnbench.AttentionSpec(causal=True)
    assert pickle.loads(pickle.dumps(spec)) == copy.deepcopy(spec) == dataclasses.replace(spec) == spec  # noqa: S301
    with pytest.raises(KeywordError, match="did you mean 'causal'"):
        dataclasses.replace(spec, casual=False)


def test_the_words_are_those_that_there_are() -> None:
    names = {field.name for field in dataclasses.fields(Capabilities)}
    assert set(keywords.CAPABILITIES) == names
    assert [*keywords.SPEC] == [field.name for field in dataclasses.fields(attnbench.AttentionSpec)]
    assert ("q", "k", "v", *keywords.OPERANDS) == tuple(field.name for field in dataclasses.fields(Operands))
    assert set(keywords.SIZES) <= {field.name for field in dataclasses.fields(attnbench.Problem)}
