"""ONNX ``Attention`` nodes (opsets 23, 24 and 25) as problems of the spec, and our answers as the node's outputs.

The adapter follows ONNX's text and function body; where ``onnx.reference`` departs from them is in
``attnbench.agree.onnx.reference`` and in docs/onnx.md. Nothing here imports ``onnx``: a ``Node`` is attributes and
arrays. Source: https://onnx.ai/onnx/operators/onnx__Attention.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands
from attnbench.attention.precision import UNIT_ROUNDOFF, dtype_name, numpy_dtype
from attnbench.attention.spec import AttentionSpec
from attnbench.errors import SpecError

if TYPE_CHECKING:
    from attnbench.backends.implementation import AttentionOutput

OPSETS = (23, 24, 25)
INPUTS = ("Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen")
OUTPUTS = ("Y", "present_key", "present_value", "qk_matmul_output")
ATTRIBUTES = (
    "is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale", "softcap", "softmax_precision",
    "left_window_size", "right_window_size",
)  # fmt: skip
# The opset in which a name first appears, where it is not 23.
SINCE = {"nonpad_kv_seqlen": 24, "left_window_size": 25, "right_window_size": 25}
# The opset from which a mask may be shorter than the keys, and q_num_heads may not come with 4-D inputs.
SHORT_MASKS = 24
NO_HEADS_IN_4D = 25
# qk_matmul_output_mode by our names of the stages.
STAGE_OF_MODE = ("scores", "capped", "logits", "weights")
# TensorProto.DataType of softmax_precision.
DTYPE_OF_CODE = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
PACKED_AXES, HEAD_AXES = 3, 4


@dataclass(frozen=True)
class Node:
    """One ``Attention`` node with its data: attributes that were set, arrays by formal name, outputs asked for.

    Q (B, Hq, T, D), K (B, Hkv, S, D), V (B, Hkv, S, Dv), or all three packed as (B, T, H·D); past_key, past_value
    (B, Hkv, P, ·); attn_mask bool or float; nonpad_kv_seqlen (B,). P keys of the past stand before the S new ones.
    """

    opset: int
    attributes: Mapping[str, Any]
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...] = ("Y",)

    def attribute(self, name: str, default: Any = 0) -> Any:
        """The value that was set, or the default."""
        return self.attributes.get(name, default)


@dataclass(frozen=True)
class Translation:
    """A node in our terms: what to call, and the name of the stage that is its ``qk_matmul_output``.

    ``softmax`` is the precision that the node asks of the softmax, by name, or ``None``.
    """

    spec: AttentionSpec
    operands: Operands
    stage: str | None
    softmax: str | None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs to ask for besides the output itself."""
        return () if self.stage is None else (self.stage,)

    def has_nan(self) -> bool:
        """Whether a NaN stands in any operand: then only an implementation that isolates NaN can be asked."""
        floats = [array for array in self.operands.arrays().values() if array.dtype.kind not in "biu"]
        return any(bool(np.isnan(array.astype(np.float64)).any()) for array in floats)


def translate(node: Node) -> Translation:
    """A node as a call of ours. Raises ``SpecError`` for what ONNX does not allow in this opset."""
    _check_names(node)
    code = node.attribute("softmax_precision", None)
    if code is not None and code not in DTYPE_OF_CODE:
        _fail(f"softmax_precision is one of {', '.join(map(str, DTYPE_OF_CODE))}, not {code!r}")
    softmax = None if code is None else DTYPE_OF_CODE[code]
    mode = node.attribute("qk_matmul_output_mode")
    if mode not in range(len(STAGE_OF_MODE)):
        _fail(f"qk_matmul_output_mode is 0, 1, 2 or 3, not {mode!r}")
    stage = STAGE_OF_MODE[mode] if "qk_matmul_output" in node.outputs else None
    return Translation(_spec(node), _operands(node, softmax), stage, softmax)


def answer(node: Node, translation: Translation, result: AttentionOutput) -> dict[str, Array]:
    """The node's outputs by name: Y and qk_matmul_output in the dtype of Q, the present as ONNX concatenates it."""
    dtype = node.inputs["Q"].dtype
    with np.errstate(over="ignore"):  # a value beyond the output's dtype is infinite, as ONNX's own cast makes it
        y = result.output.astype(dtype, copy=False)
        if node.inputs["Q"].ndim == PACKED_AXES:
            y = y.swapaxes(1, 2).reshape(y.shape[0], y.shape[2], -1)
        outputs = {"Y": y}
        if translation.stage is not None:
            outputs["qk_matmul_output"] = getattr(result, translation.stage).astype(dtype, copy=False)
    for output, new, past in (("present_key", "K", "past_key"), ("present_value", "V", "past_value")):
        heads = by_heads(node, new)
        outputs[output] = np.concatenate([node.inputs[past], heads], 2) if past in node.inputs else heads
    return {name: outputs[name] for name in node.outputs}


def by_heads(node: Node, name: str) -> Array:
    """Q, K or V as (B, H, T, D)."""
    array = node.inputs[name]
    if array.ndim == HEAD_AXES:
        return array
    heads = node.attribute("q_num_heads" if name == "Q" else "kv_num_heads")
    if heads < 1 or array.shape[2] % heads:
        _fail(f"{name} {array.shape} with 3 axes does not divide into {heads} heads: set q_num_heads and kv_num_heads")
    return array.reshape(*array.shape[:2], heads, -1 if array.size else array.shape[2] // heads).swapaxes(1, 2)


def full_mask(node: Node) -> Array | None:
    """``attn_mask`` with as many keys as there are: from opset 24 on, what is short is padded with −inf or False.

    So is a mask of one key, which before opset 24 broadcasts (the function bodies of these opsets say so).
    """
    mask = node.inputs.get("attn_mask")
    if mask is None:
        return None
    missing = keys(node) - mask.shape[-1]
    if node.opset < SHORT_MASKS or missing <= 0:
        return mask
    value = np.zeros((), mask.dtype) if mask.dtype == np.bool_ else np.array(-np.inf, mask.dtype)
    return np.concatenate([mask, np.broadcast_to(value, (*mask.shape[:-1], missing))], -1)


def keys(node: Node) -> int:
    """How many keys there are, past and new."""
    past = node.inputs.get("past_key")
    return int(by_heads(node, "K").shape[2]) + (0 if past is None else int(past.shape[2]))


def _fail(message: str) -> NoReturn:
    raise SpecError(f"ONNX Attention: {message}")


def _check_names(node: Node) -> None:
    if node.opset not in OPSETS:
        _fail(f"opset {node.opset} is not one of {', '.join(map(str, OPSETS))}")
    known = {"attribute": (node.attributes, ATTRIBUTES), "input": (node.inputs, INPUTS)}
    for what, (given, allowed) in known.items():
        for name in given:
            if name not in allowed or node.opset < SINCE.get(name, 0):
                _fail(f"opset {node.opset} has no {what} {name!r}")
    absent = [name for name in ("Q", "K", "V") if name not in node.inputs]
    if absent or any(name not in OUTPUTS for name in node.outputs):
        _fail(f"inputs Q, K, V and outputs out of {', '.join(OUTPUTS)}; absent: {absent}, outputs: {node.outputs}")
    if ("past_key" in node.inputs) != ("past_value" in node.inputs):
        _fail("past_key and past_value come together")
    if "nonpad_kv_seqlen" in node.inputs and "past_key" in node.inputs:
        _fail("nonpad_kv_seqlen says that the cache is outside, so it does not come with past_key")
    _check_axes(node)


def _check_axes(node: Node) -> None:
    ranks = {name: node.inputs[name].ndim for name in ("Q", "K", "V")}
    if set(ranks.values()) not in ({PACKED_AXES}, {HEAD_AXES}):
        _fail(f"Q, K and V have 3 axes or 4, all the same; got {ranks}")
    for attribute, name in (("q_num_heads", "Q"), ("kv_num_heads", "K")):
        if ranks[name] != HEAD_AXES or attribute not in node.attributes:
            continue
        if node.opset >= NO_HEADS_IN_4D:
            _fail(f"{attribute} belongs to inputs with 3 axes")
        if node.attributes[attribute] != node.inputs[name].shape[1]:
            _fail(f"{attribute} = {node.attributes[attribute]}, but {name} has shape {node.inputs[name].shape}")


def _spec(node: Node) -> AttentionSpec:
    left, right = (node.attribute(f"{side}_window_size", -1) for side in ("left", "right"))
    if min(left, right) < -1:
        _fail(f"a window's size is -1 (unbounded), 0 or more; got {left} and {right}")
    spec = AttentionSpec(
        scale=node.attribute("scale", None),
        # 0 is no cap; c·tanh(s/c) is even in c.
        softcap=abs(node.attribute("softcap")) or None,
        causal=bool(node.attribute("is_causal")),
        window=(None if left < 0 else left, None if right < 0 else right),
    )
    positions_matter = spec.causal or spec.window is not None
    if not positions_matter or "past_key" in node.inputs:
        return spec  # with a past, its length is the offset, in ONNX as in the spec
    # A cache outside: query i stands at nonpad_kv_seqlen − Tq + i. No cache: at i, however many keys there are.
    return replace(spec, align="bottom_right" if "nonpad_kv_seqlen" in node.inputs else "top_left")


def _operands(node: Node, softmax: str | None) -> Operands:
    _same_dtype(node, "Q", "K", "past_key")
    _same_dtype(node, "V", "past_value")
    dtype = numpy_dtype(_computing_dtype(node, softmax))

    def widened(array: Array | None) -> Array | None:
        return None if array is None else array.astype(dtype, copy=False)

    q, k, v = (by_heads(node, name).astype(dtype, copy=False) for name in ("Q", "K", "V"))
    mask = full_mask(node)
    if mask is not None and (mask.ndim == 0 or mask.dtype not in (np.dtype(np.bool_), node.inputs["Q"].dtype)):
        _fail(f"attn_mask is bool or of Q's dtype, with 1 to 4 axes; got {mask.dtype.name}{mask.shape}")
    boolean = mask is not None and mask.dtype == np.bool_
    return Operands(
        q,
        k,
        v,
        mask=mask if boolean else None,
        bias=None if boolean else widened(mask),
        kv_lengths=node.inputs.get("nonpad_kv_seqlen"),
        past_k=widened(node.inputs.get("past_key")),
        past_v=widened(node.inputs.get("past_value")),
    )


def _same_dtype(node: Node, *names: str) -> None:
    dtypes = {name: node.inputs[name].dtype.name for name in names if name in node.inputs}
    if len(set(dtypes.values())) > 1:
        _fail(f"{', '.join(dtypes)} have one dtype; got {', '.join(dtypes.values())}")


def _computing_dtype(node: Node, softmax: str | None) -> str:
    """The dtype of the call: that of Q and V, and float64 where the softmax is asked for in float64.

    Where Q and V differ it is the narrowest that holds both exactly. A softmax in float32 or less is no reason to
    widen: what an implementation computes it in is declared, and compared with what is asked.
    """
    dtypes = {dtype_name(node.inputs[name].dtype) for name in ("Q", "V")}
    if softmax == "float64":
        dtypes.add("float64")
    if dtypes == {"bfloat16", "float16"}:
        return "float32"
    return min(dtypes, key=lambda name: UNIT_ROUNDOFF[name])
