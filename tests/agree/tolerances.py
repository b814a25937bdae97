"""How other projects decide that attention agrees, as functions of arrays: the rivals in the kill table.

Each rule gets what a kernel returned, the truth in float64, and what plain eager attention in the input's dtype gives;
it says whether its project's test would pass. Sources are the projects' own tests (September 2026).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnbench.agree.eager.attention import Eager
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call
from attnbench.attention.precision import numpy_dtype

# torch.testing.assert_close: (rtol, atol) by dtype.
TORCH = {
    "float64": (1e-7, 1e-7),
    "float32": (1.3e-6, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float16": (1e-3, 1e-5),
}
# default_rtol and default_atol of PyTorch's test/test_transformers.py (float64 is not among them).
TORCH_SDPA = {**TORCH, "bfloat16": (1.6e-2, 1e-3), "float16": (1e-3, 1e-3)}
ONNX_RTOL, ONNX_ATOL, ONNX_RTOL_BFLOAT16 = 1e-3, 1e-7, 2.0**-6
JAX_TOLERANCE = 1e-2
FLASH_FACTOR, FLASH_ATOL = 2.0, 1e-5
TOO_LARGE = 1e30


@dataclass(frozen=True)
class Rule:
    """One project's rule: its inputs (a distribution of ours), whether it looks at gradients, and the rule itself."""

    name: str
    distribution: str
    gradients: bool
    accepts: Callable[[Array, Array, Array, str], bool]


class LowPrecision(Eager):
    """Plain eager attention that keeps every intermediate array in the input's dtype."""

    def stored(self, array: Array, call: Call) -> Array:
        """Rounded."""
        return array.astype(numpy_dtype(call.dtype)).astype(array.dtype)


def _close(got: Array, expected: Array, rtol: float, atol: float) -> bool:
    wide: Any = np.float64
    rounded = expected.astype(got.dtype).astype(wide)
    return bool(np.allclose(got.astype(wide), rounded, rtol=rtol, atol=atol, equal_nan=True))


def _same_form(got: Array, like: Array) -> bool:
    return got.shape == like.shape and got.dtype == like.dtype


def torch_defaults(got: Array, expected: Array, low: Array, dtype: str) -> bool:
    """``torch.testing.assert_close`` with nothing said."""
    rtol, atol = TORCH[dtype]
    return _same_form(got, low) and _close(got, expected, rtol, atol)


def torch_sdpa(got: Array, expected: Array, low: Array, dtype: str) -> bool:
    """``get_tolerances``: the largest absolute and relative deviation of the low-precision reference."""
    if not _same_form(got, low):
        return False
    rtol, atol = TORCH_SDPA[dtype]
    deviation = np.abs(expected - low.astype(np.float64))
    deviation = np.where(np.isnan(deviation), 0, deviation)
    relative = np.nan_to_num(deviation / np.abs(expected), nan=rtol, posinf=2 * TOO_LARGE)
    largest = float(relative.max(initial=0))
    rtol = rtol if largest > TOO_LARGE else max(rtol, largest)
    return _close(got, expected, rtol, max(atol, float(deviation.max(initial=0))))


def onnx(got: Array, expected: Array, low: Array, dtype: str) -> bool:
    """ONNX's runner of node tests."""
    rtol = max(ONNX_RTOL, ONNX_RTOL_BFLOAT16) if dtype == "bfloat16" else ONNX_RTOL
    return _same_form(got, low) and _close(got, expected, rtol, ONNX_ATOL)


def jax(got: Array, expected: Array, low: Array, dtype: str) -> bool:
    """JAX's tests of its fused attention."""
    del dtype
    return _same_form(got, low) and _close(got, expected, JAX_TOLERANCE, JAX_TOLERANCE)


def flash(got: Array, expected: Array, low: Array, dtype: str) -> bool:
    """FlashAttention: the largest error is at most twice that of eager attention in low precision, plus 1e-5."""
    del dtype
    if got.shape != expected.shape:
        return False
    finite = np.isfinite(expected)
    if not np.array_equal(got[~finite].astype(np.float64), expected[~finite], equal_nan=True):
        return False
    error, allowed = (np.abs(a.astype(np.float64) - expected)[finite].max(initial=0) for a in (got, low))
    return bool(error <= FLASH_FACTOR * allowed + FLASH_ATOL)


RULES = (
    Rule("`torch.testing.assert_close`", "normal", gradients=True, accepts=torch_defaults),
    Rule("PyTorch SDPA tests", "uniform", gradients=True, accepts=torch_sdpa),
    Rule("ONNX node tests", "uniform", gradients=False, accepts=onnx),
    Rule("FlashAttention tests", "normal", gradients=True, accepts=flash),
    Rule("JAX tests", "normal", gradients=True, accepts=jax),
)
