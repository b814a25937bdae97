"""``jax/pallas``: FlashAttention's forward pass (Dao 2022) as a kernel in Pallas.

One program for each head and block of queries: it loops over blocks of keys and keeps the row maximum, sum and output.
On a GPU it is compiled by way of Triton, for which blocks are powers of two; what fills the last ones is masked. On the
CPU Pallas interprets it, which shows that it is right and says nothing of its speed: it is therefore limited to small
problems there. Sums are in float32, and 16-bit operands are widened to it. Legend of the shapes in
``attnbench.attention.spec``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from attnbench.api import AttentionOutput, Capabilities, Limit, Precision, implementation
from attnbench.impls.jax_backend.allowed import allowed_pairs

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

    from attnbench.api import Call

# Queries and keys of a block on a GPU; a dimension of a product has at least LEAST elements there (Triton).
QUERIES, KEYS, LEAST = 64, 64, 16
# Lower than any logit, and no infinity, of which differences would be NaN.
LOWEST = -1e38
WHOLE = "the kernel has no such term in its inner loop"
INTERPRETED = "on the CPU Pallas interprets the kernel step by step, which says nothing of its speed"

# Its exponential and tanh on the CPU are XLA's: off by up to 1.39 and 4.90 unit roundoffs in float32, as probed.
IN_FLOAT32 = Precision(exp_ulp=2.0, tanh_ulp=5.0, flush=True, seen="jax>=0.10,<0.11")

ON_GPU = Capabilities(
    dtypes=("float32", "bfloat16", "float16"),
    devices=("cpu", "cuda"),
    causal=True,
    gqa=True,
    window=True,
    softcap=True,
    lse=True,
    precision={"float32": IN_FLOAT32, "bfloat16": IN_FLOAT32, "float16": IN_FLOAT32},
    lacks={
        "float64": "its sums are float32",
        "gradients": "the kernel has no backward pass, and JAX differentiates none of Pallas",
        "stages": "no (Tq, S) array is ever stored",
        "nan_isolation": "0 · NaN is NaN in its product of weights and values",
    }
    | dict.fromkeys(("mask", "bias", "lengths", "segments", "sinks", "dropout", "slopes"), WHOLE)
    | dict.fromkeys(("head_scale", "log_n", "batch_offset"), "scale and offset are constants of the kernel"),
)
ON_CPU = replace(ON_GPU, limits=(Limit("B*Hq*Tq*S", INTERPRETED, at_most=2**20),))


@implementation("jax/pallas", ON_CPU, on={"cuda": ON_GPU})
def attend(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend by the kernel; blocks are filled up with zeros."""
    rows, keys = (min(most, block(n)) for most, n in ((QUERIES, q.shape[2]), (KEYS, k.shape[2])))
    width, value_width = block(q.shape[3]), block(v.shape[3])
    full = filled(q, rows, width), filled(k, keys, width), filled(v, keys, value_width)
    compiled = partial(launch, call=call, rows=rows, keys=keys)
    output, lse = lax.platform_dependent(
        *full, cpu=partial(compiled, interpret=True), default=partial(compiled, interpret=False)
    )
    queries = q.shape[2]
    return AttentionOutput(output[:, :, :queries, : v.shape[3]], lse=lse[:, :, :queries] if call.wants("lse") else None)


def block(size: int) -> int:
    """The power of two that holds this many."""
    return max(LEAST, 1 << (size - 1).bit_length())


def filled(x: Shaped[Array, "B H T n"], rows: int, width: int) -> Shaped[Array, "B H T_full n_full"]:
    """Zeros behind the rows and columns, up to full blocks."""
    return jnp.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % rows), (0, width - x.shape[3])))


def launch(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    *,
    call: Call,
    rows: int,
    keys: int,
    interpret: bool,
) -> tuple[Float[Array, "B Hq Tq Dv"], Float[Array, "B Hq Tq"]]:
    """One program for each batch entry, query head and block of queries."""
    group = call.sizes.group
    of_queries, of_keys = ((lambda b, h, i: (b, h, i, 0)), (lambda b, h, _: (b, h // group, 0, 0)))
    launched: Any = pl.pallas_call(
        partial(kernel, call=call, keys=keys),
        grid=(*q.shape[:2], q.shape[2] // rows),
        in_specs=[
            pl.BlockSpec((None, None, rows, q.shape[3]), of_queries),
            pl.BlockSpec((None, None, *k.shape[2:]), of_keys),
            pl.BlockSpec((None, None, *v.shape[2:]), of_keys),
        ],
        out_specs=[
            pl.BlockSpec((None, None, rows, v.shape[3]), of_queries),
            pl.BlockSpec((None, None, rows), lambda b, h, i: (b, h, i)),
        ],
        out_shape=[
            jax.ShapeDtypeStruct((*q.shape[:3], v.shape[3]), q.dtype),
            jax.ShapeDtypeStruct(q.shape[:3], jnp.float32),
        ],
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=2),
        interpret=interpret,
        name="attention",
    )
    output, lse = launched(q, k, v)
    return output, lse


def kernel(q_ref: Any, k_ref: Any, v_ref: Any, output_ref: Any, lse_ref: Any, *, call: Call, keys: int) -> None:
    """The rows of one block: over blocks of keys, with a running maximum, sum and output."""
    q = q_ref[...].astype(jnp.float32)
    rows = q.shape[0]
    first = pl.program_id(2) * rows
    i = first + lax.broadcasted_iota(jnp.int32, (rows, keys), 0)
    j = lax.broadcasted_iota(jnp.int32, (rows, keys), 1)

    def step(number: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        largest, total, output = state
        at = pl.ds(number * keys, keys)
        s = product(q, k_ref[at, :].astype(jnp.float32).T) * call.scale
        if call.spec.softcap is not None:
            s = call.spec.softcap * jnp.tanh(s / call.spec.softcap)
        allowed = allowed_pairs(i + call.offset, number * keys + j, call)
        s = jnp.where(allowed, s, LOWEST)
        now = jnp.maximum(largest, s.max(1))
        terms = jnp.where(allowed, jnp.exp(s - now[:, None]), 0.0)
        before = jnp.exp(largest - now)
        sums = product(terms, v_ref[at, :].astype(jnp.float32))
        return now, total * before + terms.sum(1), output * before[:, None] + sums

    start = jnp.full((rows,), LOWEST), jnp.zeros((rows,)), jnp.zeros((rows, v_ref.shape[1]))
    reached = blocks_reached(first + rows, k_ref.shape[0] // keys, call, keys)
    largest, total, output = lax.fori_loop(0, reached, step, start)
    some = total != 0
    divisor = jnp.where(some, total, 1.0)
    output_ref[...] = (output / divisor[:, None]).astype(output_ref.dtype)
    lse_ref[...] = jnp.where(some, largest + jnp.log(divisor), -jnp.inf)


def product(a: Float[Array, "m n"], b: Float[Array, "n o"]) -> Float[Array, "m o"]:
    """In float32, never TF32."""
    return lax.dot(a, b, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32)


def blocks_reached(end: Array, blocks: int, call: Call, keys: int) -> Array | int:
    """The blocks of keys that queries before ``end`` can reach."""
    if not call.spec.causal:
        return blocks
    return jnp.clip(lax.div(end + call.offset + keys - 1, keys), 0, blocks)
