"""Addresses of calls that are too large for any memory here: do offsets of 32 bits overflow?

Inputs are tensors without memory (PyTorch's ``meta`` device), of more than 2³¹ elements. The kernels run in the
interpreter, but of each launch only the last programs, whose offsets are the largest; what they read is 0, what they
write goes nowhere, and every address must lie within the tensor that it came from.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from attnbench.attention.call import Call, Sizes
from attnbench.attention.spec import AttentionSpec
from attnbench.backends import discover
from attnbench.backends.bind import Inputs
from attnbench.errors import is_refusal
from attnbench.precheck.triton.architectures import GRID
from attnbench.precheck.triton.cases import GPU
from attnbench.precheck.triton.interpreted import watch
from attnbench.precheck.triton.regions import Regions
from attnbench.precheck.triton.standin import standing_in
from attnbench.precheck.triton.watched import ARCHITECTURE, REASON, no_time

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

CORNERS = 2  # programs of each launch
# 2.2 · 10⁹ elements of q, k, v and the output: more than a signed integer of 32 bits counts.
SIZES = {"B": 132, "Hq": 256, "Hkv": 256, "Tq": 1024, "S": 1024, "D": 64, "Dv": 64}


def large_calls(implementation: Implementation) -> list[dict[str, Any]]:
    """The large calls that an implementation takes, with a backward pass where it has one."""
    claimed = implementation.capabilities_on(GPU).dtypes
    dtype = next((name for name in ("float16", "bfloat16", "float32") if name in claimed), None)
    if dtype is None:
        return []
    says = " ".join(f"{name}{SIZES[name]}" for name in ("B", "Hq", "Tq", "D")) + f" {dtype}"
    gradients = implementation.has_gradients(GPU)
    return [{"sizes": SIZES, "dtype": dtype, "gradients": gradients, "says": says}]


def corners(grid: tuple[int, int, int]) -> Sequence[tuple[int, int, int]]:
    """The last programs, whose offsets are the largest."""
    x, y, z = (sorted({0, n - 1}) for n in grid)
    return list(product(x, y, z))[-CORNERS:]


def offsets(
    backend: Backend, impl: str, files: list[str], sizes: dict[str, int], dtype: str, *, gradients: bool
) -> dict[str, Any]:
    """``status``, ``reason`` and ``detail`` of one large call."""
    torch = importlib.import_module("torch")
    grids: list[tuple[int, int, int]] = []

    def programs(grid: tuple[int, int, int]) -> Sequence[tuple[int, int, int]]:
        grids.append(grid)
        return corners(grid)

    regions = Regions()
    with standing_in(ARCHITECTURE, no_time):
        implementation = discover.load_implementation(impl, files)
        native = _inputs(torch, sizes, dtype, gradients=gradients)
        try:
            bound = backend.bind(implementation, *native.qkv, native.call, **native.cotangents)
            run = bound.on(*native.qkv, native.call, **native.cotangents)
            with watch(regions, programs):
                run()
        except Exception as error:  # noqa: BLE001  (a kernel may raise anything)
            words = " ".join(str(error).split())
            why = words if is_refusal(error) else f"called on tensors without memory it raised {words}"
            if not regions.faults:
                return {"status": "unknown", "reason": why[:REASON], "detail": {}}
    return _judged(regions, grids)


def _inputs(torch: Any, sizes: dict[str, int], dtype: str, *, gradients: bool) -> Inputs:
    """The inputs of a plain call, as shapes: no array of this size is ever made."""
    s = Sizes(**sizes)

    def shaped(*shape: int) -> Any:
        return torch.empty(shape, dtype=getattr(torch, dtype), device="meta")

    q, k, v = shaped(s.B, s.Hq, s.Tq, s.D), shaped(s.B, s.Hkv, s.S, s.D), shaped(s.B, s.Hkv, s.S, s.Dv)
    d_output = shaped(s.B, s.Hq, s.Tq, s.Dv) if gradients else None
    return Inputs(q, k, v, Call(AttentionSpec(), s, dtype, scale=s.D**-0.5), d_output)


def _judged(regions: Regions, grids: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
    detail = {"grids": [list(grid) for grid in grids]}
    over = [grid for grid in grids if any(n > most for n, most in zip(grid, GRID, strict=True))]
    fault = next((fault for fault in regions.faults.values() if fault.kind.startswith("out of bounds")), None)
    if fault is not None:
        what = f"{fault.kernel}: {fault.message}: an offset of 32 bits overflows, or is too large"
        return {"status": "wrong", "reason": what, "detail": detail}
    if not grids:
        return {"status": "unknown", "reason": "nothing was launched", "detail": detail}
    if over:
        what = f"a grid of {over[0]} programs cannot be launched: CUDA takes {GRID}"
        return {"status": "unknown", "reason": what, "detail": detail}
    return {
        "status": "ok",
        "reason": "addresses of the last programs stay within their tensors",
        "detail": detail,
    }
