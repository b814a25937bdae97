"""tinygrad's own attention as its users call it, for ``attnbench semantics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnbench.api.backends import NativeKernel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from tinygrad.tensor import Tensor


def sdpa(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    *,
    mask: Bool[Tensor, "Tq S"] | None = None,
    bias: Float[Tensor, "Tq S"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``Tensor.scaled_dot_product_attention``, which takes one mask."""
    if mask is not None and bias is not None:
        msg = "it takes one mask"
        raise NotImplementedError(msg)
    output: Tensor = q.scaled_dot_product_attention(
        k,
        v,
        attn_mask=bias if mask is None else mask,
        is_causal=causal,
        enable_gqa=bool(q.shape[1] != k.shape[1]),
    )
    return output.realize()


KERNELS = (NativeKernel("tinygrad Tensor.scaled_dot_product_attention", sdpa, ("mask", "bias", "causal")),)
