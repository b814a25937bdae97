"""PyTorch's own samples of scaled_dot_product_attention through the naive implementations, forward and backward.

Both sides may be their bound away from the truth. (PyTorch's own tolerance for float32, 1.3e-6 relative and 1e-5
absolute, is too narrow for these gradients: a correct one was seen 1.14e-5 off.)
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands
from attnbench.attention.precision import DTYPES, Precision, numpy_dtype
from attnbench.attention.spec import AttentionSpec
from tests.differential.comparing import NAIVE, difference, gradient_differences, produce

pytestmark = pytest.mark.skipif(
    find_spec("expecttest") is None, reason="PyTorch's test tools need expecttest, which the test extra brings"
)

# The arithmetic of its CPU flash kernel, which these samples reach: a fast exponential, and P rounded to 16 bits.
FLASH = {
    "float64": Precision(accumulate="float64", softmax="float64"),
    "float32": Precision(exp_ulp=20.0, flush=True),
    "bfloat16": Precision(exp_ulp=20.0, flush=True, p_cast="bfloat16"),
    "float16": Precision(exp_ulp=20.0, p_cast="float16"),
}
SAMPLES = 25
WITHOUT_DROPOUT = 13
# Every sample; in JAX, where each costs a compilation, every second one, and every third in two of the dtypes.
EVERY = {("jax/naive", dtype): 2 if dtype in ("float32", "bfloat16") else 3 for dtype in DTYPES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples, one file each."""
    path = tmp_path_factory.mktemp("opinfo")
    produce("produce_opinfo", path)
    return path


def samples(folder: Path, dtype: str) -> list[dict[str, Any]]:
    """The samples without dropout, whose mask PyTorch draws inside and does not tell."""
    every = [dict(np.load(file)) for file in sorted(folder.glob(f"{dtype}-*.npz"))]
    assert len(every) == SAMPLES
    for one in every:
        one["options"] = json.loads(str(one["options"]))
    kept = [one for one in every if not one["options"]["dropout_p"]]
    assert len(kept) == WITHOUT_DROPOUT
    return kept


def in_our_words(sample: dict[str, Any], dtype: str) -> tuple[AttentionSpec, Operands]:
    """Three axes are one head; fewer axes for q are broadcast; causal is top left; a float mask is a bias."""
    level = numpy_dtype(dtype)
    shape = sample["output"].shape
    q = np.broadcast_to(sample["q"], (*shape[:-1], sample["q"].shape[-1]))
    q, k, v = (four_axes(x).astype(level) for x in (q, sample["k"], sample["v"]))
    spec = AttentionSpec(causal=True, align="top_left") if sample["options"]["is_causal"] else AttentionSpec()
    bias = sample["mask"].astype(level) if "mask" in sample else None
    return spec, Operands(q, k, v, bias=bias)


def four_axes(x: Array) -> Array:
    """(B, T, D) as (B, 1, T, D)."""
    return np.ascontiguousarray(x[:, None] if x.ndim == 3 else x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("impl", NAIVE)
def test_outputs(impl: str, dtype: str, folder: Path) -> None:
    for sample in samples(folder, dtype)[:: EVERY.get((impl, dtype), 1)]:
        spec, operands = in_our_words(sample, dtype)
        judged = difference(impl, spec, operands, four_axes(sample["output"]), FLASH[dtype])
        assert judged.ok, f"{sample['options']} {sample['q'].shape}: {judged.sentence()}"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("impl", NAIVE)
def test_gradients(impl: str, dtype: str, folder: Path) -> None:
    for sample in samples(folder, dtype)[:: EVERY.get((impl, dtype), 1)]:
        spec, operands = in_our_words(sample, dtype)
        d_output = four_axes(sample["d_output"])
        theirs = {name: sample[f"d_{name}"] for name in "qkv"}
        for judged in gradient_differences(impl, spec, operands, d_output, theirs, FLASH[dtype]):
            assert judged.ok, f"{sample['options']} {sample['q'].shape}: {judged.sentence()}"


def test_another_alignment_would_be_seen(folder: Path) -> None:
    causal = next(one for one in samples(folder, "float32") if one["options"]["is_causal"])
    _, operands = in_our_words(causal, "float32")
    spec = AttentionSpec(causal=True, align="bottom_right")
    assert not difference("numpy/naive", spec, operands, four_axes(causal["output"])).ok
