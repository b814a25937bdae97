"""JAX's own attention, and that of libraries built on JAX, as their users call it, for ``attnbench semantics``."""

from __future__ import annotations

import importlib
from functools import partial
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
    NativeKernel("flax.nnx.dot_product_attention", flax_nnx, PLAIN, EVERYWHERE, "flax"),
)
