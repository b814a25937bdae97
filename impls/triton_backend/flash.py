"""``triton/flash``: FlashAttention-2 (Dao 2023) in Triton. Legend of the shapes in ``attnbench.attention.spec``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from attnbench.api import AttentionOutput, implementation
from attnbench.impls.triton_backend import tiles
from attnbench.impls.triton_backend.declared import ON_CPU, ON_GPU
from attnbench.impls.triton_backend.forward import attend_tile
from attnbench.impls.triton_backend.importing import launching
from attnbench.impls.triton_backend.rules import rules_of

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.api import Call


@implementation("triton/flash", ON_CPU, on={"cuda": ON_GPU})
def attend(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend by the kernel."""
    output, lse = attended(q, k, v, call.sinks, rules_of(call))
    return AttentionOutput(output, lse=lse if call.wants("lse") else None)


def attended(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    sinks: Float[Tensor, " Hq"] | None,
    rules: dict[str, Any],
) -> tuple[Float[Tensor, "B Hq Tq Dv"], Float[Tensor, "B Hq Tq"]]:
    """Output and lse."""
    width, value_width = tiles.width_of(q.shape[3]), tiles.width_of(v.shape[3])
    tile = tiles.forward(0, str(q.dtype), max(width, value_width))
    output = torch.empty(*q.shape[:3], v.shape[3], dtype=q.dtype, device=q.device)
    lse = torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
    grid = (q.shape[0] * q.shape[1] * -(-q.shape[2] // tile.queries),)
    with launching():
        attend_tile[grid](
            q, k, v, output, lse, sinks=sinks, **rules, **stride_arguments(q=q, k=k, v=v), BLOCK_M=tile.queries,
            BLOCK_N=tile.keys, BLOCK_D=width, BLOCK_DV=value_width, **tile.options(),
        )  # fmt: skip
    return output, lse


def stride_arguments(**tensors: Float[Tensor, "B H T n"]) -> dict[str, int]:
    """The strides of operands, by the names that kernels have for them."""
    named = ((name, zip("bhtd", x.stride(), strict=True)) for name, x in tensors.items())
    return {f"{name}_{axis}": stride for name, of_axes in named for axis, stride in of_axes}
