"""The arguments that all kernels of dot products share: what is asked besides q, k and v."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

    from attnbench.api import Call

# Positions of a call reach no farther in the spec.
FARTHEST = 2**30


def rules_of(call: Call) -> dict[str, Any]:
    """Names and values of these arguments; what is not there is ``None``, and its code is not compiled."""
    sizes = call.sizes
    mask = None if call.mask is None else call.mask.view(torch.uint8)
    by_batch = not isinstance(call.offset, int)
    per_head = hasattr(call.scale, "dtype")
    first, last = reach(call)
    return {
        "bias": call.bias,
        "mask": mask,
        "q_segments": in_rows(call.q_segments),
        "kv_segments": in_rows(call.kv_segments),
        "q_lengths": in_rows(call.q_lengths),
        "kv_lengths": in_rows(call.kv_lengths),
        "offsets": in_rows(call.offset) if by_batch else None,
        "slopes": in_rows(call.slopes),
        "scales": call.scale.to(torch.float32).contiguous() if per_head else None,
        "scale": 0.0 if per_head else float(call.scale),
        "softcap": call.spec.softcap,
        "offset": 0 if by_batch else call.offset,
        "first": first,
        "last": last,
        **strides("bias", call.bias, sizes.as_dict()),
        **strides("mask", mask, sizes.as_dict()),
        "HQ": sizes.Hq,
        "GROUP": sizes.group,
        "TQ": sizes.Tq,
        "S": sizes.S,
        "D": sizes.D,
        "DV": sizes.Dv,
    }


def reach(call: Call) -> tuple[int | None, int | None]:
    """The first and last key that query 0 may see, before an offset of its batch entry; ``None`` where nothing says."""
    left, right = call.spec.window or (None, None)
    if call.spec.causal:
        right = 0
    offset = call.offset if isinstance(call.offset, int) else 0
    first, last = (None if side is None else bounded(sign * side + offset) for sign, side in ((-1, left), (1, right)))
    return first, last


def bounded(position: int) -> int:
    """The position, or the farthest that a kernel's 32 bits are to add to."""
    return max(-FARTHEST, min(FARTHEST, position))


def strides(name: str, x: Shaped[Tensor, "#B #Hq #Tq #S"] | None, sizes: dict[str, int]) -> dict[str, int]:
    """Of an operand that broadcasts to (B, Hq, Tq, S): 0 along axes that it does not have."""
    axes = {f"{name}_{axis}": size for axis, size in (("b", "B"), ("h", "Hq"), ("t", "Tq"), ("s", "S"))}
    if x is None:
        return dict.fromkeys(axes, 0)
    expanded = x.expand(*(sizes[size] for size in axes.values()))
    return dict(zip(axes, expanded.stride(), strict=True))


def in_rows(x: Any) -> Any:
    """The array in order, as kernels read it that count elements."""
    return None if x is None else x.contiguous()


def strides_of(**tensors: Float[Tensor, "_ _ _ _"]) -> dict[str, int]:
    """The strides of operands, by the names that kernels have for them."""
    named = ((name, zip("bhtd", x.stride(), strict=True)) for name, x in tensors.items())
    return {f"{name}_{axis}": stride for name, of_axes in named for axis, stride in of_axes}
