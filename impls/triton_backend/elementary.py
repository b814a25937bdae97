"""Functions of numbers for kernels: what Triton's language lacks, and constants of the base-2 exponential."""

from __future__ import annotations

from typing import Any

from attnbench.impls.triton_backend.importing import tl, triton

LOG2E: Any = tl.constexpr(1.4426950408889634)
LN2: Any = tl.constexpr(0.6931471805599453)
MINUS_INF: Any = tl.constexpr(float("-inf"))
LOWEST: Any = tl.constexpr(-3.4028234663852886e38)  # of float32
# Below it tanh is the polynomial.
NEAR: Any = tl.constexpr(0.625)


@triton.jit
def in_units(x, bias):
    """A logit in the units of a kernel: over ln 2, and half of that with a bias.

    A bias may be the lowest finite number, as libraries write what is masked. Over ln 2 it would be −inf.
    """
    if bias is not None:
        x *= 0.5 * LOG2E
    else:
        x *= LOG2E
    return x


@triton.jit
def power(x, bias):
    """The exponential of a difference in these units."""
    if bias is not None:
        x += x
    return tl.exp2(x)


@triton.jit
def lse_of(base, total, bias):
    """The lse of a row whose largest logit is ``base`` in these units, and its sum ``total`` by that."""
    if bias is not None:
        lse = (base + 0.5 * tl.log2(total)) * (2 * LN2)
        lse = tl.where(lse == MINUS_INF, LOWEST, lse)  # no maximum, which would take it for NaN
    else:
        lse = (base + tl.log2(total)) * LN2
    return lse


@triton.jit
def tanh(x):
    """The hyperbolic tangent in float32, within 2 units in the last place: a polynomial near 0, else 1 − 2/(e²ˣ + 1).

    Of Triton's own only the GPU's library has one, which the interpreter lacks. The polynomial is that of Cephes
    (Moshier), whose error near 0 is relative, as that of the quotient is not.
    """
    size = tl.abs(x)
    square = x * x
    series = (-5.70498872745e-3 * square + 2.06390887954e-2) * square - 5.37397155531e-2
    series = (series * square + 1.33314422036e-1) * square - 3.33332819422e-1
    near = x + x * (square * series)
    far = 1 - 2 / (tl.exp(2 * size) + 1)  # 1 where the exponential overflows, NaN of NaN
    return tl.where(size < NEAR, near, tl.where(x < 0, -far, far))
