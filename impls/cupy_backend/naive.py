"""``cupy/naive``: the formula of ``numpy/naive`` on a GPU, forwards and backwards, by the same functions.

NumPy hands a function of its own over to CuPy where an argument is an array of CuPy's (NEP 13, 18 and 35). So every
stage is a full (B, Hq, Tq, S) array in the GPU's memory, and every function a kernel. CuPy itself is not imported here:
what is declared can be read without it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from attnbench.api import AttentionOutput, Call, Precision, implementation
from attnbench.impls.numpy_backend import naive as formula

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.api import Array

# CUDA's own functions, in units in the last place by its Programming Guide: expf 2, tanhf 2, exp 1, tanh 2.
IN_FLOAT32 = Precision(exp_ulp=4.0, tanh_ulp=4.0)
IN_FLOAT64 = Precision(accumulate="float64", softmax="float64", exp_ulp=2.0, tanh_ulp=4.0)

CAN = replace(
    formula.naive.capabilities,
    devices=("cuda",),
    precision=dict.fromkeys(("float32", "bfloat16", "float16"), IN_FLOAT32) | {"float64": IN_FLOAT64},
)


@implementation("cupy/naive", CAN, vjp=formula.vjp)
def naive(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend, keeping every stage that was asked for."""
    output: AttentionOutput = formula.naive(q, k, v, call)
    return output
