"""The semantics probe finds what a kernel does: kernels with each habit, planted, and the word for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from attnbench.agree.semantics.behaviour import PROBES, find
from attnbench.api.backends import NativeKernel
from attnbench.attention.arrays import Array
from attnbench.backends.attend import load_backend
from attnbench.errors import UsageError

CALLS = itertools.count()


def kernel(**habits: Any) -> NativeKernel:
    """A kernel with the spec's habits but for those given."""

    def call(q: Array, k: Array, v: Array, **options: Any) -> Any:
        return _attend(q, k, v, habits, **options)

    return NativeKernel("planted", call, habits.get("takes", ("mask", "bias", "causal", "softcap", "lse")))


def _attend(
    q: Array,
    k: Array,
    v: Array,
    habits: dict[str, Any],
    *,
    mask: Array | None = None,
    bias: Array | None = None,
    causal: bool = False,
    softcap: float | None = None,
    lse: bool = False,
) -> Any:
    for name in ("strict_heads", "strict_lengths"):
        if habits.get(name, True) and (q.shape[1] % k.shape[1] if name == "strict_heads" else k.shape[2] - v.shape[2]):
            raise ValueError(name)
    low, dtype = habits.get("compute", {}).get(q.dtype.name, np.float64), q.dtype
    tq, s, group = q.shape[2], min(k.shape[2], v.shape[2]), q.shape[1] // k.shape[1]
    q, k, v = (x.astype(low) for x in (q, k[:, :, :s], v[:, :, :s]))
    share = (lambda x: np.tile(x, (1, group, 1, 1))) if habits.get("tiled") else (lambda x: x.repeat(group, 1))
    k, v = (share(x)[:, : q.shape[1]] for x in (k, v))
    q = q[:, : k.shape[1]]
    logits = q @ k.swapaxes(2, 3) / np.sqrt(q.shape[3])
    added = 0 if bias is None else bias
    if softcap is None or habits.get("cap") == "ignored":
        logits = logits + added
    elif habits.get("cap") == "after":
        logits = softcap * np.tanh((logits + added) / softcap)
    else:
        logits = softcap * np.tanh(logits / softcap) + added
    allowed = np.ones((tq, s), bool)
    if mask is not None and not (causal and habits.get("together") == "causal"):
        allowed &= mask if habits.get("polarity", True) else ~mask
    if causal and not (mask is not None and habits.get("together") == "mask"):
        allowed &= np.arange(s) <= np.arange(tq)[:, None] + (s - tq if habits.get("bottom") else 0)
    logits = np.where(allowed, logits, habits.get("masked", -np.inf))
    largest = np.maximum(logits.max(-1, keepdims=True, initial=-np.inf), habits.get("floor", -1e300))
    weights = np.exp(logits - largest)
    total = weights.sum(-1, keepdims=True)
    weights = weights / np.where(total == 0, habits.get("empty", 1), total)
    if habits.get("isolates"):
        v = np.nan_to_num(v)
    output = (weights @ v + habits.get("noise", lambda: 0)()).astype(dtype)
    sums = (np.where(total == 0, habits.get("dead_lse", -np.inf), largest + np.log(total)))[..., 0]
    return (output, sums / habits.get("log", 1)) if lse else output


SEEN: list[tuple[str, str, dict[str, Any]]] = [
    ("dead_row", "0", {}),
    ("dead_row", "NaN", {"empty": 0}),
    ("dead_row", "mean of all values", {"masked": -1e30, "floor": -1e31}),
    ("dead_bias_row", "0", {}),
    ("dead_bias_row", "NaN", {"empty": 0}),
    ("polarity", "True attends", {}),
    ("polarity", "True is masked out", {"polarity": False}),
    ("causal_wide", "top left", {}),
    ("causal_wide", "bottom right", {"bottom": True}),
    ("causal_tall", "top left", {}),
    ("causal_tall", "bottom right", {"bottom": True}),
    ("mask_and_causal", "both apply", {"polarity": False}),
    ("mask_and_causal", "the mask alone", {"together": "mask"}),
    ("mask_and_causal", "causal alone", {"together": "causal"}),
    ("softcap", "before the bias", {}),
    ("softcap", "after the bias", {"cap": "after"}),
    ("softcap", "ignored", {"cap": "ignored"}),
    ("softcap", "applied", {"takes": ("softcap",)}),
    ("softcap", "–", {"takes": ()}),
    ("lse", "natural log", {}),
    ("lse", "base 2", {"log": np.log(2)}),
    ("lse_dead", "−inf", {}),
    ("lse_dead", "0", {"dead_lse": 0.0}),
    ("lse_dead", "NaN", {"dead_lse": np.nan}),
    ("lse_dead", "a large negative number", {"masked": -1e30, "floor": -1e31}),
    ("nan", "leaks from v", {}),
    ("nan", "isolated", {"isolates": True}),
    ("no_keys", "0", {}),
    ("no_keys", "NaN", {"noise": lambda: np.nan}),
    ("no_queries", "empty array", {}),
    ("heads", "consecutive heads share", {}),
    ("heads", "alternate heads share", {"tiled": True}),
    ("value_width", "yes", {}),
    ("determinism", "same bits", {}),
    ("determinism", "differs", {"noise": lambda: 1e-4 * next(CALLS)}),
    ("float32", "float32", {}),
    ("float32", "less than float32", {"compute": {"float32": np.float16}}),
    ("dtypes", "all four", {}),
    ("dtypes", "float64 (less precise), float32, bfloat16, float16", {"compute": {"float64": np.float32}}),
    ("float16_range", "finite", {}),
    ("float16_range", "NaN", {"compute": {"float16": np.float16}}),
    ("fewer_values", "error", {}),
    ("fewer_values", "accepted: ignores the last", {"strict_lengths": False}),
    ("fewer_keys", "error", {}),
    ("fewer_keys", "accepted: reads beyond the keys", {"strict_lengths": False, "noise": lambda: 1}),
    ("unlike_heads", "error", {}),
    ("unlike_heads", "accepted", {"strict_heads": False}),
]


@pytest.mark.parametrize(("probe", "word", "habits"), SEEN)
def test_the_probe_finds_the_habit(probe: str, word: str, habits: dict[str, Any]) -> None:
    assert find(load_backend("numpy"), kernel(**habits), probe).word == word


def test_every_probe_is_shown_to_find_something() -> None:
    assert {probe for probe, *_ in SEEN} == {probe.key for probe in PROBES}


def test_what_the_kernel_raises_is_a_finding_and_an_unknown_probe_is_not() -> None:
    def refuses(*_: Any, **__: Any) -> Any:
        msg = "no kernel for this\nand more"
        raise RuntimeError(msg)

    finding = find(load_backend("numpy"), NativeKernel("planted", refuses, ()), "no_keys")
    assert (finding.word, finding.detail) == ("error", "RuntimeError: no kernel for this")
    with pytest.raises(KeyError):
        find(load_backend("numpy"), NativeKernel("planted", refuses, ()), "no_such_probe")


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(UsageError, match="did you mean 'softcap'"):
        NativeKernel("planted", Callable, ("softcaps",))  # type: ignore[arg-type]
