"""Right outputs of every implementation that runs here are within rounding, in every dtype that it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import attnbench as ab
from attnbench.attention.precision import DTYPES, numpy_dtype
from attnbench.backends.discover import implementation_names
from attnbench.errors import AttnbenchError
from tests.explaining.faulty import arrays
from tests.proofs import part
from tests.repository import REPOSITORY

FAST = ["numpy/naive", "numpy/blocked", "torch/sdpa", "torch/sdpa-flash", "jax/nn-xla"]
# MLX's softmax of float64 is in float32, which is no rounding of float64 and is named instead.
SOFTMAX_IN_FLOAT32 = {("mlx/formula", "float64"), ("mlx/sdpa", "float64")}
COMPUTING_ONE = "from tests.explaining.test_right import print_verdicts; print_verdicts({name!r})"


def verdicts(name: str) -> dict[str, Any]:
    """The exit status and readings of what an implementation answers in each dtype that it takes."""
    seen: dict[str, Any] = {}
    for dtype in DTYPES:
        for group, score in ((2, "dot"), (1, "dot"), (1, "additive")):
            given = arrays(seed=3, dtype=numpy_dtype(dtype), Hq=4, Hkv=4 // group, Tq=33, S=33, Dv=16)
            spec = ab.AttentionSpec(score=score, causal=score == "dot")
            words: dict[str, Any] = {}
            if score == "additive":
                words = {"params": ab.default_params(spec, heads=4, d=16, hidden=8, seed=0, dtype=dtype)}
            try:
                out = ab.attend(**given, impl=name, spec=spec, **words).output
            except AttnbenchError:
                continue
            found = ab.explain(out, **given, spec=spec, **words)
            seen[dtype] = [found.exit_code, [reading.sentence for reading in found.readings]]
            break
    return seen


def print_verdicts(name: str) -> None:
    """For a process of its own: Keras takes one framework in each, and a compiler may be missing."""
    print(json.dumps(verdicts(name)))  # noqa: T201


@pytest.mark.parametrize("name", part(implementation_names(), FAST))
def test_a_right_output_is_within_rounding(name: str) -> None:
    if name in FAST:
        seen = verdicts(name)
        assert seen, "it took nothing"
    else:
        words = [sys.executable, "-c", COMPUTING_ONE.format(name=name)]
        done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout.splitlines()[-1])
    for dtype, (code, readings) in seen.items():
        if (name, dtype) in SOFTMAX_IN_FLOAT32:
            assert code == 3
            assert "a softmax in float32" in readings[0]
        else:
            assert (dtype, code, readings) == (dtype, 0, [])


def test_of_two_frameworks_in_bfloat16_both_are_within_rounding_and_one_is_nearer() -> None:
    given = arrays(dtype=numpy_dtype("bfloat16"), Tq=64, S=64, Dv=16)
    by_torch, by_jax = (ab.attend(**given, impl=impl).output for impl in ("torch/sdpa", "jax/naive"))
    found = ab.explain(by_torch, **given, other=by_jax)
    assert found.exit_code == 0
    assert found.nearer is not None
    assert (found.nearer.normal, found.nearer.other.ok) == (True, True)
    # Which of the two is nearer is a matter of the kernel that PyTorch takes on this CPU.
    by_size = {True: "out", False: "other"}[found.nearer.out_rms < found.nearer.other_rms]
    assert found.nearer.nearer == by_size
    turned = ab.explain(by_jax, **given, other=by_torch)
    assert turned.nearer is not None
    assert turned.nearer.nearer == {"out": "other", "other": "out"}[by_size]
    assert (turned.nearer.out_rms, turned.nearer.other_rms) == (found.nearer.other_rms, found.nearer.out_rms)
    assert f"both are within rounding; {turned.nearer.nearer} is nearer to the truth" in repr(turned)
    same = ab.explain(by_jax, **given, other=by_jax).nearer
    assert same is not None
    assert (same.nearer, same.difference, same.difference_ratio) == ("neither", 0, 0)


def test_of_two_outputs_the_wrong_one_is_explained() -> None:
    given = arrays()
    right = ab.attend(**given).output
    other = ab.attend(**given, spec=ab.AttentionSpec(scale="1/d")).output
    found = ab.explain(right, **given, other=other)
    assert found.exit_code == 0  # the exit status is of out
    assert found.nearer is not None
    assert (found.nearer.nearer, found.nearer.normal) == ("out", False)
    assert "the scale is 1/D" in [reading.sentence for reading in found.other_readings]
    wrong = ab.explain(other, **given, other=right)
    assert wrong.exit_code == 3
    assert "other is within rounding, out is not" in repr(wrong)


def test_arrays_of_any_framework_are_taken() -> None:
    import jax.numpy as jnp
    import torch

    given = arrays()
    out = ab.attend(**given).output
    as_torch = {name: torch.from_numpy(array) for name, array in given.items()}
    assert ab.explain(jnp.asarray(out), **as_torch, other=out).ok
    low = {name: tensor.to(torch.bfloat16) for name, tensor in as_torch.items()}
    found = ab.explain(torch.nn.functional.scaled_dot_product_attention(**_named(low), enable_gqa=True), **low)
    assert (found.exit_code, found.dtype) == (0, "bfloat16")


def _named(given: dict[str, Any]) -> dict[str, Any]:
    return dict(zip(("query", "key", "value"), given.values(), strict=True))


def test_lse_and_gradients_are_judged_and_explained() -> None:
    given = arrays()
    spec = ab.AttentionSpec(causal=True, align="top_left")
    answer = ab.attend(**given, spec=spec, outputs=("lse",))
    d_output = np.random.default_rng(5).standard_normal(answer.output.shape).astype(np.float32)
    grads = ab.vjp(**given, d_output=d_output, spec=spec)
    everything = {"spec": spec, "lse": answer.lse, "grads": grads, "d_output": d_output}
    found = ab.explain(answer.output, **given, **everything)
    assert found.ok
    assert list(found.arrays) == ["output", "lse", "d_q", "d_k", "d_v"]

    def said(**changes: Any) -> tuple[int, list[str]]:
        explained = ab.explain(answer.output, **given, **{**everything, **changes})
        return explained.exit_code, [reading.sentence for reading in explained.readings]

    assert said(lse=answer.lse / np.float32(np.log(2))) == (3, ["lse is in base 2"])
    code, sentences = said(grads={**grads, "q": 4 * grads["q"], "k": 4 * grads["k"]})
    assert (code, sentences) == (3, ["the scale is missing in the backward pass"])
    assert said(grads={**grads, "v": 2 * grads["v"]}) == (3, ["the gradient of v is 2 times the right one"])
    bottom = ab.AttentionSpec(causal=True, align="bottom_right")
    wrong = ab.attend(**given, spec=bottom, outputs=("lse",))
    explained = ab.explain(
        wrong.output,
        **given,
        **{**everything, "lse": wrong.lse, "grads": ab.vjp(**given, d_output=d_output, spec=bottom)},
    )
    said_of = " | ".join(reading.sentence for reading in explained.readings)
    assert explained.exit_code == 3
    assert "lse fits the same reading: aligned bottom right" in said_of
    assert "the gradients fit the same reading: aligned bottom right" in said_of
    noisy = {**grads, "v": grads["v"] + np.float32(0.5)}
    assert said(grads=noisy)[0] == 1


def test_a_notebook_shows_a_table() -> None:
    given = arrays()
    text = ab.explain(ab.attend(**given).output, **given)._repr_html_()
    assert text.startswith("<p><strong>within rounding")
    assert "<td>2,304 of 2,304</td>" in text
