"""JAX's own attention, and that of libraries built on JAX, as their users call it, for ``attnbench semantics``."""

from __future__ import annotations

import importlib
import os
import tempfile
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

import jax
from jax import Array

from attnbench.api.backends import NativeKernel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped

Result = Array | tuple[Array, Array]


def jax_nn(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    *,
    kernel: Literal["xla", "cudnn"],
    mask: Bool[Array, "Tq S"] | None = None,
    bias: Float[Array, "Tq S"] | None = None,
    causal: bool = False,
    lse: bool = False,
) -> Result:
    """``jax.nn.dot_product_attention``."""
    attend: Any = jax.nn.dot_product_attention  # its overloads know the literals of return_residual only
    result = attend(
        *heads_third(q, k, v),
        bias=with_heads(bias),
        mask=with_heads(mask),
        is_causal=causal,
        implementation=kernel,
        return_residual=lse,
    )
    turned: Result = jax.tree.map(lambda x: x.swapaxes(1, 2), result)
    return turned


def keras_ops(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    *,
    mask: Bool[Array, "Tq S"] | None = None,
    bias: Float[Array, "Tq S"] | None = None,
    causal: bool = False,
    softcap: float | None = None,
) -> Float[Array, "B Hq Tq Dv"]:
    """``keras.ops.dot_product_attention``."""
    result: Array = keras().ops.dot_product_attention(
        *heads_third(q, k, v),
        bias=with_heads(bias),
        mask=with_heads(mask),
        is_causal=causal,
        attn_logits_soft_cap=softcap,
    )
    return result.swapaxes(1, 2)


def keras_layer(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], *, causal: bool = False
) -> Float[Array, "B Hq Tq Dv"]:
    """``keras.layers.Attention``, which has one head (so heads go along the batch) and by default no scale."""
    b, h, t, d = q.shape
    if k.shape[1] != h:
        msg = "the layer has one head"
        raise NotImplementedError(msg)
    one_headed = [x.reshape(b * h, *x.shape[2:]) for x in (q * d**-0.5, v, k)]
    result: Array = keras().layers.Attention(dtype=q.dtype.name)(one_headed, use_causal_mask=causal)
    return result.reshape(b, h, t, v.shape[3])


def flax_nnx(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    *,
    mask: Bool[Array, "Tq S"] | None = None,
    bias: Float[Array, "Tq S"] | None = None,
    causal: bool = False,
) -> Float[Array, "B Hq Tq Dv"]:
    """``flax.nnx.dot_product_attention``."""
    attend = importlib.import_module("flax.nnx").dot_product_attention
    result: Array = attend(*heads_third(q, k, v), bias=with_heads(bias), mask=with_heads(mask), is_causal=causal)
    return result.swapaxes(1, 2)


@cache
def keras() -> Any:
    """Keras on JAX. Importing it writes a configuration file, which must not be the user's."""
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ.setdefault("KERAS_HOME", tempfile.mkdtemp(prefix="attnbench-keras-"))
    return importlib.import_module("keras")


def heads_third(*arrays: Shaped[Array, "B _ _ _"]) -> tuple[Shaped[Array, "B _ _ _"], ...]:
    """(B, H, T, D) as (B, T, H, D)."""
    return tuple(x.swapaxes(1, 2) for x in arrays)


def with_heads(x: Shaped[Array, "Tq S"] | None) -> Shaped[Array, "1 1 Tq S"] | None:
    """The same for every head and batch entry."""
    return None if x is None else x[None, None]


PLAIN = ("mask", "bias", "causal")
EVERYWHERE = ("cpu", "cuda")

KERNELS = (
    NativeKernel("jax.nn.dot_product_attention (xla)", partial(jax_nn, kernel="xla"), (*PLAIN, "lse"), EVERYWHERE),
    NativeKernel("jax.nn.dot_product_attention (cudnn)", partial(jax_nn, kernel="cudnn"), (*PLAIN, "lse"), ("cuda",)),
    NativeKernel("keras.ops.dot_product_attention (jax)", keras_ops, (*PLAIN, "softcap"), EVERYWHERE, "keras"),
    NativeKernel("keras.layers.Attention (jax)", keras_layer, ("causal",), EVERYWHERE, "keras"),
    NativeKernel("flax.nnx.dot_product_attention", flax_nnx, PLAIN, EVERYWHERE, "flax"),
)
