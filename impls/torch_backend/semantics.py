"""PyTorch's own attention, as its users call it, for ``attnbench semantics``."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import AuxRequest, create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from attnbench.api.backends import NativeKernel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

Result = Tensor | tuple[Tensor, Tensor]


def sdpa(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    *,
    kernel: SDPBackend | None = None,
    mask: Bool[Tensor, "Tq S"] | None = None,
    bias: Float[Tensor, "Tq S"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``torch.nn.functional.scaled_dot_product_attention``, free to choose or held to one kernel."""
    both = bias if mask is None else mask
    grouped = q.shape[1] != k.shape[1]
    with nullcontext() if kernel is None else sdpa_kernel(kernel), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a held kernel tells why it refuses in warnings before it raises
        return scaled_dot_product_attention(q, k, v, attn_mask=both, is_causal=causal, enable_gqa=grouped)


def flash_for_cpu(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    *,
    lse: bool = False,
    **options: Any,
) -> Result:
    """The flash kernel; its lse by the operator that the public function calls and drops it from."""
    if not lse:
        return sdpa(q, k, v, kernel=SDPBackend.FLASH_ATTENTION, **options)
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001  (no public function has the lse)
    mask = options.get("mask")
    # The public function turns a bool mask into an added one before it calls the operator.
    added = None if mask is None else torch.zeros(mask.shape, dtype=q.dtype).masked_fill(~mask, -torch.inf)
    output, sums = flash(q, k, v, 0.0, options.get("causal", False), attn_mask=added)
    return output, sums


def multihead(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    *,
    weights: bool,
    mask: Bool[Tensor, "Tq S"] | None = None,
    bias: Float[Tensor, "Tq S"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``torch.nn.MultiheadAttention`` with identities for its projections."""
    heads, width = q.shape[1], q.shape[1] * q.shape[3]
    module = torch.nn.MultiheadAttention(width, heads, bias=False, batch_first=True, device=q.device, dtype=q.dtype)
    identity = torch.eye(width, device=q.device, dtype=q.dtype)
    module.load_state_dict({"in_proj_weight": identity.repeat(3, 1), "out_proj.weight": identity})
    packed = (x.transpose(1, 2).flatten(2) for x in (q, k, v))
    both = bias if mask is None else mask
    output, _ = module.eval()(*packed, attn_mask=both, is_causal=causal, need_weights=weights)
    split: Tensor = output.detach().unflatten(2, (heads, -1))
    return split.transpose(1, 2)


def flex(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    *,
    mask: Bool[Tensor, "Tq S"] | None = None,
    bias: Float[Tensor, "Tq S"] | None = None,
    lse: bool = False,
) -> Result:
    """``torch.nn.attention.flex_attention``, eager: the mask by a ``BlockMask``, the bias by a ``score_mod``."""
    block = None
    if mask is not None:
        block = create_block_mask(lambda _b, _h, i, j: mask[i, j], None, None, q.shape[2], k.shape[2], q.device.type)

    def add(score: Tensor, _b: Tensor, _h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score if bias is None else score + bias[i, j]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow when it is not compiled
        output, aux = flex_attention(
            q,
            k,
            v,
            score_mod=None if bias is None else add,
            block_mask=block,
            enable_gqa=q.shape[1] != k.shape[1],
            return_aux=AuxRequest(lse=True),
        )
    return output if aux.lse is None or not lse else (output, aux.lse)


SDPA = "F.scaled_dot_product_attention"
PLAIN = ("mask", "bias", "causal")
EVERYWHERE = ("cpu", "cuda")

KERNELS = (
    NativeKernel(SDPA, sdpa, PLAIN, EVERYWHERE),
    NativeKernel(f"{SDPA} (MATH)", partial(sdpa, kernel=SDPBackend.MATH), PLAIN, EVERYWHERE),
    NativeKernel(f"{SDPA} (FLASH, CPU)", flash_for_cpu, (*PLAIN, "lse")),
    NativeKernel(f"{SDPA} (FLASH)", partial(sdpa, kernel=SDPBackend.FLASH_ATTENTION), PLAIN, ("cuda",)),
    NativeKernel(f"{SDPA} (EFFICIENT)", partial(sdpa, kernel=SDPBackend.EFFICIENT_ATTENTION), PLAIN, ("cuda",)),
    NativeKernel(f"{SDPA} (CUDNN)", partial(sdpa, kernel=SDPBackend.CUDNN_ATTENTION), PLAIN, ("cuda",)),
    NativeKernel("nn.MultiheadAttention", partial(multihead, weights=True), PLAIN, EVERYWHERE),
    NativeKernel("nn.MultiheadAttention (need_weights=False)", partial(multihead, weights=False), PLAIN, EVERYWHERE),
    NativeKernel("flex_attention (eager)", flex, ("mask", "bias", "lse"), EVERYWHERE),
)
