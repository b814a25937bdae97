"""Addresses of calls that are too large for any memory here: do offsets of 32 bits overflow?

Inputs are tensors without memory (PyTorch's ``meta`` device), of more than 2³¹ elements. The kernels run in the
interpreter, but of each launch only the last programs, whose offsets are the largest; what they read is 0 (small
tensors that PyTorch filled have their ``twins``), what they write goes nowhere, and every address must lie within the
tensor that it came from.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from attnbench.attention.call import Call, Sizes
from attnbench.attention.checked import param_shapes
from attnbench.attention.spec import AttentionSpec
from attnbench.backends import discover
from attnbench.backends.bind import Inputs
from attnbench.errors import is_refusal
from attnbench.precheck.triton.architectures import GRID
from attnbench.precheck.triton.cases import DOT, GPU
from attnbench.precheck.triton.interpreted import watch
from attnbench.precheck.triton.regions import OUT_OF_BOUNDS, Regions
from attnbench.precheck.triton.standin import standing_in
from attnbench.precheck.triton.twins import Twins
from attnbench.precheck.triton.watched import ARCHITECTURE, REASON, no_time

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

LAST = 2  # programs of each launch
HIDDEN = 64  # units of a learned score
ELEMENTS = 2**31  # more than a signed integer of 32 bits counts
FAR = 2**20  # elements out of bounds that no mistake by one or by a tile is
# Each of q, k, v and the output has more elements than that, or keys and values alone; no call has more than 65,535
# heads in all, as many programs as CUDA takes along the second axis of a grid.
SQUARE = {"B": 132, "Hq": 256, "Hkv": 256, "Tq": 1024, "S": 1024, "D": 64, "Dv": 64}
DECODING = {"B": 128, "Hq": 64, "Hkv": 64, "Tq": 1, "S": 4200, "D": 64, "Dv": 64}
# Or a bias or a mask has, with strides of its own: the first of these that is taken.
PAIRS = (
    {"B": 2, "Hq": 64, "Hkv": 64, "Tq": 4100, "S": 4100, "D": 64, "Dv": 64},
    {"B": 128, "Hq": 64, "Hkv": 64, "Tq": 64, "S": 4200, "D": 64, "Dv": 64},
    {"B": 511, "Hq": 128, "Hkv": 128, "Tq": 1, "S": 33_000, "D": 64, "Dv": 64},
)
BY_PAIR = ("bias", "mask")


def large_calls(implementation: Implementation) -> list[dict[str, Any]]:
    """The large calls that an implementation takes, with a backward pass where it has one."""
    capabilities = implementation.capabilities_on(GPU)
    dtype = next((name for name in ("float16", "bfloat16", "float32") if name in capabilities.dtypes), None)
    if dtype is None:
        return []
    score = DOT if DOT in capabilities.scores else capabilities.scores[0]

    def taken(sizes: dict[str, int], operand: str | None = None) -> dict[str, Any] | None:
        for gradients in (True, False) if implementation.has_gradients(GPU) else (False,):
            call = {"sizes": sizes, "dtype": dtype, "gradients": gradients, "score": score, "operand": operand}
            needs = _inputs(_placeholder, call).call.needs(GPU, gradients=gradients)
            if implementation.unsupported(needs) is None:
                return {**call, "says": _says(call)}
        return None

    calls = [taken(SQUARE), taken(DECODING)]
    by_pair = (taken(sizes, operand) for operand in BY_PAIR for sizes in PAIRS)
    calls.append(next((each for each in by_pair if each), None))
    return [each for each in calls if each]


def _says(call: dict[str, Any]) -> str:
    sizes = " ".join(f"{name}{call['sizes'][name]}" for name in ("B", "Hq", "Tq", "S", "D"))
    score = "" if call["score"] == DOT else f" {call['score']}"
    return f"{sizes} {call['dtype']}{score}{' ' + call['operand'] if call['operand'] else ''}"


def last(grid: tuple[int, int, int]) -> Sequence[tuple[int, int, int]]:
    """The last programs, whose offsets are the largest; of an empty grid none."""
    if 0 in grid:
        return []
    x, y, z = (sorted({0, n - 1}) for n in grid)
    return list(product(x, y, z))[-LAST:]


def offsets(backend: Backend, impl: str, files: list[str], call: dict[str, Any]) -> dict[str, Any]:
    """``status``, ``reason`` and ``detail`` of one large call."""
    torch = importlib.import_module("torch")
    grids: list[tuple[int, int, int]] = []

    def programs(grid: tuple[int, int, int]) -> Sequence[tuple[int, int, int]]:
        grids.append(grid)
        return last(grid)

    def shaped(dtype: str, *shape: int) -> Any:
        return torch.empty(shape, dtype=getattr(torch, dtype), device="meta")

    twins, raised = Twins(), None
    regions = Regions(twins.storage)
    with standing_in(ARCHITECTURE, no_time):
        implementation = discover.load_implementation(impl, files)
        native = _inputs(shaped, call)
        try:
            with twins.following():
                bound = backend.bind(implementation, *native.qkv, native.call, **native.cotangents)
                run = bound.on(*native.qkv, native.call, **native.cotangents)
                with watch(regions, programs):
                    run()
        except Exception as error:  # noqa: BLE001  (a kernel may raise anything)
            words = " ".join(str(error).split())
            raised = (words if is_refusal(error) else f"called on tensors without memory it raised {words}")[:REASON]
    return _judged(regions, grids, raised)


def _placeholder(dtype: str, *shape: int) -> Any:
    """In place of an array where only its presence counts."""
    del shape
    return dtype


def _inputs(array: Callable[..., Any], call: dict[str, Any]) -> Inputs:
    """The inputs of a call, as shapes: no array of this size is ever made."""
    s, dtype = Sizes(**call["sizes"]), call["dtype"]
    q, k, v = (array(dtype, s.B, h, t, d) for h, t, d in ((s.Hq, s.Tq, s.D), (s.Hkv, s.S, s.D), (s.Hkv, s.S, s.Dv)))
    d_output = array(dtype, s.B, s.Hq, s.Tq, s.Dv) if call["gradients"] else None
    shapes = param_shapes(call["score"], s.D, HIDDEN)
    params = {name: array(dtype, s.Hq, *shape) for name, shape in shapes.items()}
    kind = {"bias": dtype, "mask": "bool"}
    pairs = {name: array(kind[name], s.B, s.Hq, s.Tq, s.S) for name in BY_PAIR if name == call["operand"]}
    spec = AttentionSpec(score=call["score"])
    return Inputs(q, k, v, Call(spec, s, dtype, scale=spec.scale_factor(s.D), params=params, **pairs), d_output)


def _judged(regions: Regions, grids: Sequence[tuple[int, int, int]], raised: str | None = None) -> dict[str, Any]:
    """A fault, whatever was raised after it; then what was raised; then whether the addresses were large at all."""
    detail = {"grids": [list(grid) for grid in grids], "farthest": regions.farthest}
    over = [grid for grid in grids if any(n > most for n, most in zip(grid, GRID, strict=True))]
    fault = next((fault for fault in regions.faults.values() if fault.kind.startswith(OUT_OF_BOUNDS)), None)
    status, why = "ok", "addresses of the last programs stay within their tensors"
    if fault is not None:
        status = "wrong"
        cause = "an offset of 32 bits overflows, or is too large" if regions.outside >= FAR else "out of bounds"
        why = f"{fault.kernel}: {fault.message}: {cause}"
    elif over:
        status = "wrong"
        why = f"a grid of {over[0]} programs cannot be launched: CUDA takes {GRID}"
    elif raised is not None:
        status, why = "unknown", raised
    elif not grids:
        status, why = "unknown", "nothing was launched"
    elif regions.farthest < ELEMENTS:
        status, why = "unknown", "the last programs use no element beyond the first 2³¹ of any tensor"
    return {"status": status, "reason": why, "detail": detail}
