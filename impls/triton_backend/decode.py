"""``triton/decode``: split-KV decoding in Triton, for few queries among many keys.

Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attnbench.api import AttentionOutput, implementation
from attnbench.impls.triton_backend import tiles
from attnbench.impls.triton_backend.declared import DECODING_ON_CPU, DECODING_ON_GPU
from attnbench.impls.triton_backend.importing import launching
from attnbench.impls.triton_backend.rules import rules_of, strides_of
from attnbench.impls.triton_backend.split import attend_part, merge_parts

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.api import Call


@implementation("triton/decode", DECODING_ON_CPU, on={"cuda": DECODING_ON_GPU})
def attend(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend to parts of the keys, and merge them."""
    rules = rules_of(call)
    tile, batches, value_width = tiles.of("decode", q, v, rules), call.sizes.B, v.shape[3]
    programs = batches * call.sizes.Hkv * tiles.count(call.sizes.Tq * call.sizes.group, tile.queries)
    part, count = tiles.parts_of(k.shape[2], tile.keys, programs, q)
    rows = q.shape[0] * q.shape[1] * q.shape[2]
    of_parts = torch.empty(count, rows, value_width, dtype=torch.float32, device=q.device)
    largest, sums = (torch.empty(count, rows, dtype=torch.float32, device=q.device) for _ in range(2))
    output = torch.empty(*q.shape[:3], value_width, dtype=q.dtype, device=q.device)
    lse = torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
    with launching():
        attend_part[(programs, count)](
            q, k, v, of_parts, largest, sums, **rules, **strides_of(q=q, k=k, v=v), PART=part, ROWS=rows,
            **tile.shape(), **tile.options(),
        )  # fmt: skip
        merge_parts[(rows,)](
            of_parts, largest, sums, output, lse, call.sinks, call.bias, call.sizes.Hq, call.sizes.Tq, rows, count,
            value_width, BLOCK_PARTS=tiles.power_of_two(count), BLOCK_DV=tile.value_width, num_warps=4,
            enable_fp_fusion=True,
        )  # fmt: skip
    return AttentionOutput(output, lse=lse if call.wants("lse") else None)
