"""PyTorch's own samples of scaled_dot_product_attention: ``python -m tests.differential.produce_opinfo DIR``.

A process of its own, because importing PyTorch's test tools changes its global settings. Writes one file for each
sample: the operands, the options, and the output and gradients of PyTorch's function. 16-bit values are kept as
float32, which holds them exactly.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from attnbench.attention.precision import DTYPES


def main(folder: Path) -> None:
    """Write ``DTYPE-NUMBER.npz`` for every sample."""
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    (entry,) = (one for one in op_db if one.name == "nn.functional.scaled_dot_product_attention")
    for dtype in DTYPES:
        torch.manual_seed(0)
        samples = entry.sample_inputs("cpu", getattr(torch, dtype), requires_grad=True)
        for number, sample in enumerate(samples):
            np.savez(folder / f"{dtype}-{number:02}.npz", **one_sample(sample, dtype))


def one_sample(sample: Any, dtype: str) -> dict[str, Any]:
    """Operands, options, and what PyTorch makes of them."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    qkv = [tensor.detach().requires_grad_() for tensor in (sample.input, *sample.args)]
    options = dict(sample.kwargs)
    mask = options.get("attn_mask")
    output = scaled_dot_product_attention(*qkv, **options)
    torch.manual_seed(1)
    cotangent = torch.randn_like(output)
    found = dict(zip("qkv", qkv, strict=True)) | {"output": output, "d_output": cotangent}
    found |= dict(zip(("d_q", "d_k", "d_v"), torch.autograd.grad(output, qkv, cotangent), strict=True))
    if mask is not None:
        found["mask"] = mask
    arrays = {name: plain(tensor) for name, tensor in found.items()}
    rest = {name: value for name, value in options.items() if name != "attn_mask"}
    return arrays | {"options": json.dumps(rest | {"dtype": dtype})}


def plain(tensor: Any) -> Any:
    """As NumPy: bool and float64 as they are, everything else in float32."""
    tensor = tensor.detach()
    return (tensor if tensor.dtype.itemsize in (1, 8) else tensor.float()).numpy()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
