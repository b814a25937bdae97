"""``numpy/blocked``: exact attention tile by tile, on several threads; no T × S array is ever stored.

For a tile of queries keep the sum and the output, shifted so that no exponential overflows, and go through the tiles of
keys. Tiles that causality, the window, the lengths or the mask leave empty are skipped. The backward pass computes each
tile's weights again. How the work is cut, shared among threads and added up stands in ``tiled``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnbench.api import Array, AttentionOutput, Call, Capabilities, Precision, implementation

from .tiled.backward import backward
from .tiled.forward import RowSums, forward

if TYPE_CHECKING:
    from jaxtyping import Float


class BlockedGradients:
    """The backward pass: from a forward pass of its own, or from the one that gives the output as well."""

    __name__ = "vjp"

    def __call__(
        self,
        q: Float[Array, "B Hq Tq D"],
        k: Float[Array, "B Hkv S D"],
        v: Float[Array, "B Hkv S Dv"],
        call: Call,
        d_output: Float[Array, "B Hq Tq Dv"],
        d_lse: Float[Array, "B Hq Tq"] | None,
    ) -> dict[str, Float[Array, " ..."]]:
        """Gradients of q, k, v, and of bias, sinks and parameters where the call has them."""
        return backward(q, k, v, call, d_output, d_lse, forward(q, k, v, call))

    def with_output(
        self,
        q: Float[Array, "B Hq Tq D"],
        k: Float[Array, "B Hkv S D"],
        v: Float[Array, "B Hkv S Dv"],
        call: Call,
        d_output: Float[Array, "B Hq Tq Dv"],
        d_lse: Float[Array, "B Hq Tq"] | None,
    ) -> tuple[AttentionOutput, dict[str, Float[Array, " ..."]]]:
        """Output and gradients, of one forward pass."""
        result = forward(q, k, v, call)
        return answer(q, call, result), backward(q, k, v, call, d_output, d_lse, result)


def answer(q: Float[Array, "B Hq Tq D"], call: Call, result: RowSums) -> AttentionOutput:
    """The output in the dtype of the inputs, and lse where it was asked for."""
    output = result.output.astype(q.dtype, copy=False)
    return AttentionOutput(output, lse=result.lse() if call.wants("lse") else None)


# d_row is read from the output, so the gradients carry the rounding of O; it is kept wide here. NumPy's vectorised exp
# errs by up to 3.4 u in float32 (its exp2, taken where it is vectorised, by 1.8 u), and by 1.2 u in float64.
_NARROW = Precision(stored_output="float32", exp_ulp=4.0)
_PRECISION = dict.fromkeys(("float32", "bfloat16", "float16"), _NARROW) | {
    "float64": Precision(accumulate="float64", softmax="float64", stored_output="float64", exp_ulp=2.0)
}


@implementation(
    "numpy/blocked",
    Capabilities(
        scores=("dot", "general", "additive", "concat", "cosine"),
        dtypes=("float64", "float32", "bfloat16", "float16"),
        causal=True,
        gqa=True,
        mask=True,
        bias=True,
        window=True,
        lengths=True,
        segments=True,
        softcap=True,
        sinks=True,
        dropout=True,
        slopes=True,
        head_scale=True,
        log_n=True,
        batch_offset=True,
        lse=True,
        nan_isolation=True,
        precision=_PRECISION,
        lacks={"stages": "it never holds a whole row of scores"},
    ),
    vjp=BlockedGradients(),
)
def blocked(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend, tile by tile."""
    return answer(q, call, forward(q, k, v, call))
