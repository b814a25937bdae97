"""Random ``Attention`` nodes: attributes, shapes, dtypes and masks drawn from one seed each.

Everything that an opset allows is drawn, the corners in which ``onnx.reference`` departs from its own text too.
Not drawn: empty tensors and a negative scale, on which the reference raises or gives NaN (docs/onnx.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from attnbench.agree.onnx.node import DTYPE_OF_CODE, OPSETS, OUTPUTS, SHORT_MASKS, SINCE, Node
from attnbench.attention.arrays import Array
from attnbench.attention.inputs import stream
from attnbench.attention.precision import numpy_dtype

Rng = np.random.Generator

OPSET_SHARES = (0.25, 0.25, 0.5)
DTYPES = ("float32", "float64", "float16", "bfloat16")
DTYPE_SHARES = (0.5, 0.2, 0.15, 0.15)
HEAD_SIZES = (1, 2, 3, 4, 8, 13, 16)
LONGEST = 9


def random_node(seed: int) -> Node:
    """The node of a seed: the same on every machine and in every version of NumPy that keeps PCG64."""
    rng = stream(seed, "onnx.Attention")
    opset = int(rng.choice(OPSETS, p=OPSET_SHARES))
    sizes = _sizes(rng)
    cache = str(rng.choice(("none", "past", "nonpad") if opset >= SINCE["nonpad_kv_seqlen"] else ("none", "past")))
    dtype = str(rng.choice(DTYPES, p=DTYPE_SHARES))
    inputs = _inputs(rng, sizes, dtype, cache)
    past = inputs["past_key"].shape[2] if cache == "past" else 0
    if _chance(rng, 0.6):
        inputs["attn_mask"] = _mask(rng, sizes | {"S": sizes["S"] + past}, dtype, opset)
    attributes = _attributes(rng, opset)
    if _chance(rng, 0.4):
        attributes |= {"q_num_heads": sizes["Hq"], "kv_num_heads": sizes["Hkv"]}
        inputs |= {name: _packed(inputs[name]) for name in ("Q", "K", "V")}
    present = cache != "nonpad" and _chance(rng, 0.5)
    wanted = {"Y": True, "present_key": present, "present_value": present, "qk_matmul_output": _chance(rng, 0.6)}
    return Node(opset, attributes, inputs, tuple(name for name in OUTPUTS if wanted[name]))


def _chance(rng: Rng, probability: float) -> bool:
    return bool(rng.random() < probability)


def _upto(rng: Rng, largest: int, smallest: int = 1) -> int:
    return int(rng.integers(smallest, largest + 1))


def _sizes(rng: Rng) -> dict[str, int]:
    heads, group, d = _upto(rng, 3), _upto(rng, 3), int(rng.choice(HEAD_SIZES))
    tq = _upto(rng, LONGEST)
    return {
        "B": _upto(rng, 3),
        "Hq": heads * group,
        "Hkv": heads,
        "Tq": tq,
        "S": tq if _chance(rng, 0.3) else _upto(rng, LONGEST),
        "D": d,
        "Dv": d if _chance(rng, 0.5) else int(rng.choice(HEAD_SIZES)),
    }


def _inputs(rng: Rng, s: dict[str, int], dtype: str, cache: str) -> dict[str, Array]:
    """Q, K, V and the cache. V has a dtype of its own now and then (type T2 of the operator)."""
    of_v = str(rng.choice(DTYPES)) if _chance(rng, 0.05) else dtype
    spread = 4.0 if _chance(rng, 0.2) else 1.0
    inputs = {
        "Q": _normal(rng, (s["B"], s["Hq"], s["Tq"], s["D"]), dtype, spread),
        "K": _normal(rng, (s["B"], s["Hkv"], s["S"], s["D"]), dtype),
        "V": _normal(rng, (s["B"], s["Hkv"], s["S"], s["Dv"]), of_v),
    }
    if cache == "past":
        past = _upto(rng, LONGEST, 0)
        inputs["past_key"] = _normal(rng, (s["B"], s["Hkv"], past, s["D"]), dtype)
        inputs["past_value"] = _normal(rng, (s["B"], s["Hkv"], past, s["Dv"]), of_v)
    if cache == "nonpad":
        inputs["nonpad_kv_seqlen"] = rng.integers(0, s["S"] + 1, s["B"])
    return inputs


def _normal(rng: Rng, shape: tuple[int, ...], dtype: str, spread: float = 1.0) -> Array:
    return (spread * rng.standard_normal(shape)).astype(numpy_dtype(dtype))


def _packed(array: Array) -> Array:
    """(B, H, T, D) as (B, T, H·D)."""
    return array.swapaxes(1, 2).reshape(array.shape[0], array.shape[2], -1)


def _mask(rng: Rng, s: dict[str, int], dtype: str, opset: int) -> Array:
    """Bool or float, 1 to 4 axes, any of them 1, shorter than the keys where that is allowed, with dead rows."""
    shape = [n if _chance(rng, 0.7) else 1 for n in (s["B"], s["Hq"], s["Tq"])]
    last = s["S"]
    if _chance(rng, 0.3):
        last = _upto(rng, s["S"]) if opset >= SHORT_MASKS else 1
    axes = _upto(rng, 4)
    full = tuple([*shape, last][-axes:])
    allowed = rng.random(full) < 0.7  # noqa: PLR2004  (most keys are allowed)
    if axes > 1 and _chance(rng, 0.3):
        allowed[..., -1, :] = False
    if _chance(rng, 0.5):
        return allowed
    return np.where(allowed | _chance(rng, 0.5), rng.standard_normal(full), -np.inf).astype(numpy_dtype(dtype))


def _attributes(rng: Rng, opset: int) -> dict[str, Any]:
    """Every attribute set or left out; the numbers are float32, as a node stores them.

    Most scales are squares of a few bits, so that the roots that ONNX multiplies into Q and K are exact.
    """
    drawn: dict[str, Any] = {
        "is_causal": int(_chance(rng, 0.8)),
        "scale": float(np.float32(rng.uniform(0.01, 2))) if _chance(rng, 0.3) else _upto(rng, 24, 0) ** 2 / 256,
        "softcap": float(np.float32(rng.choice((0.0, rng.uniform(0.3, 5), -rng.uniform(0.3, 5)), p=(0.1, 0.8, 0.1)))),
        "softmax_precision": int(rng.choice(list(DTYPE_OF_CODE))),
        "qk_matmul_output_mode": _upto(rng, 3, 0),
        "left_window_size": _upto(rng, 4, -1),
        "right_window_size": _upto(rng, 4, -1),
    }
    shares = {"is_causal": 0.6, "qk_matmul_output_mode": 0.8, "softmax_precision": 0.25}
    kept = {name: value for name, value in drawn.items() if _chance(rng, shares.get(name, 0.5))}
    return {name: value for name, value in kept.items() if opset >= SINCE.get(name, 0)}
