"""MLX's own attention as its users call it, for ``attnbench semantics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx

from attnbench.api.backends import NativeKernel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


def fast_sdpa(
    q: Float[mx.array, "B Hq Tq D"],
    k: Float[mx.array, "B Hkv S D"],
    v: Float[mx.array, "B Hkv S Dv"],
    *,
    mask: Bool[mx.array, "Tq S"] | None = None,
    bias: Float[mx.array, "Tq S"] | None = None,
    causal: bool = False,
) -> Float[mx.array, "B Hq Tq Dv"]:
    """``mlx.core.fast.scaled_dot_product_attention``, which takes one mask."""
    given = [x for x in (mask, bias, "causal" if causal else None) if x is not None]
    if len(given) > 1:
        msg = "it takes one mask"
        raise NotImplementedError(msg)
    output: mx.array = mx.fast.scaled_dot_product_attention(
        q, k, v, scale=q.shape[-1] ** -0.5, mask=given[0] if given else None
    )
    return output


KERNELS = (NativeKernel("mlx.fast.scaled_dot_product_attention", fast_sdpa, ("mask", "bias", "causal")),)
