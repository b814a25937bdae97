"""``keras.layers.Attention`` and ``keras.layers.AdditiveAttention``, brought to the spec.

Both have one head, so that heads stand along the batch; one mask of queries and one of keys, for the same restriction
in every row; and a top-left causal mask. What they weigh with are weights of a layer, given to it at each call by
``stateless_call``, so that they can be operands and have gradients. ``Attention(score_mode="concat")`` is no score of
the spec: it has one factor for all hidden units. Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from attnbench.api import Capabilities
from attnbench.impls.keras_backend.allowed import Tensor
from attnbench.impls.keras_backend.ops import repeated

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Bool, Float

    from attnbench.api import Call

    Layers = Callable[[str, str, int], Any]

TWO_MASKS = "the layer takes one mask of queries and one of keys"
ONE_SCALE = "the layer has one scale"
LACKS = {
    "float64": "Keras turns float64 into float32 in its products (keras.backend.result_type knows no float64)",
    **dict.fromkeys(("bfloat16", "float16"), "the layer rounds its scale, scores and weights to 16 bits"),
    **dict.fromkeys(("mask", "window", "segments", "batch_offset", "bottom_right", "offset"), TWO_MASKS),
    **dict.fromkeys(("bias", "slopes", "softcap", "sinks"), "the layer computes the logits inside, and adds nothing"),
    "dropout": "it draws its own mask and takes no explicit one",
    "stages": "the layer returns the output and the weights only",
    "lse": "the layer returns the output and the weights only",
    "head_scale": ONE_SCALE,
    "log_n": ONE_SCALE,
    "nan_isolation": "0 · NaN is NaN in its product of weights and values",
}
CAN: dict[str, Any] = {
    "causal": True,
    "gqa": True,
    "lengths": True,
    "gradients": True,
    "alignments": ("top_left",),
    "lacks": LACKS,
}
DOT = Capabilities(**CAN, dtypes=("float32",))
ADDITIVE = Capabilities(**CAN, dtypes=("float32",), scores=("additive", "concat"))


def attention(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    call: Call,
    layers: Layers,
) -> Float[Tensor, "B Hq Tq Dv"]:
    """Dot products: the scale is the layer's own weight, ``use_scale=True``."""
    from keras import ops

    scale = ops.convert_to_tensor(call.scale, dtype=call.dtype)
    return one_headed(layers("attention", call.dtype, 1), scale, q, repeated(k, call), repeated(v, call), call)


def additive(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    call: Call,
    layers: Layers,
) -> Float[Tensor, "B Hq Tq Dv"]:
    """The layer has no projections: they are ``keras.ops.matmul`` before it. Its ``scale`` is the vector v of the spec.

    Where each head has a vector of its own, each has a call of the layer.
    """
    from keras import ops

    weights = {name: ops.cast(x, call.dtype) for name, x in call.params.items()}
    if call.spec.score == "concat":
        weights |= {"Wq": weights["W"][:, : call.sizes.D], "Wk": weights["W"][:, call.sizes.D :]}
    q, k = ops.matmul(q, weights["Wq"]), ops.matmul(repeated(k, call), weights["Wk"])
    if "b" in weights:
        q = q + weights["b"][:, None]
    v, vectors = repeated(v, call), weights["v"] * call.scale
    layer = layers("additive", call.dtype, q.shape[3])
    if len(vectors) == 1:
        return one_headed(layer, vectors[0], q, k, v, call)
    heads = [slice(h, h + 1) for h in range(call.sizes.Hq)]
    each = [one_headed(layer, vectors[h.start], q[:, h], k[:, h], v[:, h], call) for h in heads]
    return ops.concatenate(each, axis=1)


def one_headed(
    layer: Any,
    weight: Float[Tensor, " ..."],
    q: Float[Tensor, "B H Tq Da"],
    k: Float[Tensor, "B H S Da"],
    v: Float[Tensor, "B H S Dv"],
    call: Call,
) -> Float[Tensor, "B H Tq Dv"]:
    """The layer, with heads along the batch; 0 in rows without a key, which it gives the mean of all values or so."""
    from keras import ops

    b, h = q.shape[:2]
    queries, keys = masks(call, h)
    given = [ops.reshape(x, (b * h, *x.shape[2:])) for x in (q, v, k)]
    mask = None if queries is None and keys is None else [queries, keys]
    output, _ = layer.stateless_call([weight], [], given, mask=mask, use_causal_mask=call.spec.causal)
    if keys is not None:
        output = ops.where(ops.any(keys, -1)[:, None, None], output, 0)
    return ops.reshape(output, (b, h, *output.shape[1:]))


def masks(call: Call, heads: int) -> tuple[Bool[Tensor, "BH Tq"] | None, Bool[Tensor, "BH S"] | None]:
    """Which queries and which keys exist, in every head."""
    from keras import ops

    def before(lengths: Any, n: int) -> Any:
        return None if lengths is None else ops.repeat(ops.arange(n) < lengths[:, None], heads, axis=0)

    return before(call.q_lengths, call.sizes.Tq), before(call.kv_lengths, call.sizes.S)


def new_layer(kind: str, dtype: str, width: int) -> Any:
    """A layer with a weight for which a value is given at each call, and which it is not to draw by itself."""
    import keras

    some = (1, 1, width)
    with keras.StatelessScope(initialize_variables=False):
        if kind == "attention":
            layer = keras.layers.Attention(use_scale=True, dtype=dtype)
        else:
            layer = keras.layers.AdditiveAttention(use_scale=True, dtype=dtype)
        layer.build([some, some, some])
    return layer


@cache
def kept_layer(kind: str, dtype: str, width: int) -> Any:
    """The same, made once: for sides that compute as they are called."""
    return new_layer(kind, dtype, width)
