"""``jax/pallas-hopper``: FlashAttention's forward pass for Hopper (Shah 2024), as a kernel in Pallas' Mosaic GPU.

A block has three warpgroups. One copies tiles of keys and values into shared memory (TMA), a few tiles ahead; the two
others take 64 queries each and multiply on the tensor cores (``wgmma``): Q·Kᵀ, then P·V, with a running maximum, sum
and output in float32. Barriers say which tile is there, and which may be overwritten. P goes through shared memory, so
that Pallas' interpreter, which takes no operand of ``wgmma`` from registers, runs the very same kernel on a CPU. That
shows that it is right and says nothing of its speed. Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from attnbench.api import AttentionOutput, Capabilities, Limit, Precision, implementation

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.api import Call

# Queries of a warpgroup (the rows of one wgmma), warpgroups that compute, keys of a tile, and tiles on their way.
ROWS, COMPUTING, KEYS, STAGES = 64, 2, 128, 2
QUERIES = ROWS * COMPUTING
# Elements of 16 bits in the 128 bytes by which tiles are swizzled: head sizes are filled up to a multiple of it.
WIDTH = 64
# Lower than any logit, and no infinity, of which differences would be NaN.
LOWEST = -1e38


def shared(*shape: int, dtype: Any) -> Any:
    """A buffer in shared memory as TMA writes it and wgmma reads it."""
    return plgpu.SMEM(shape, dtype, transforms=(plgpu.TilingTransform((8, WIDTH)), plgpu.SwizzleTransform(128)))


def filled(x: Any, rows: int) -> Any:
    """Zeros behind the rows and columns, up to full tiles."""
    return jnp.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % rows), (0, -x.shape[3] % WIDTH)))


def attend(q, k, v, call, interpret=False):
    global INTERPRET
    INTERPRET = interpret
    full = filled(q, QUERIES), filled(k, KEYS).swapaxes(2, 3), filled(v, KEYS)
    out, lse = launch(*full, call=call, interpret=interpret)
    n = q.shape[2]
    return out[:, :, :n, : v.shape[3]], lse[:, :, :n]


def launch(q, k, v, *, call: Call, interpret: bool) -> Any:
    """One block for each batch entry, query head and pair of tiles of queries."""
    (B, heads, Tq, D), Dv, dtype = q.shape, v.shape[3], q.dtype
    run: Any = plgpu.kernel(
        partial(kernel, call=call),
        out_type=[jax.ShapeDtypeStruct((B, heads, Tq, Dv), dtype), jax.ShapeDtypeStruct((B, heads, Tq), jnp.float32)],
        scratch_types={
            "q_tile": shared(COMPUTING, ROWS, D, dtype=dtype),
            "k_tile": shared(STAGES, D, KEYS, dtype=dtype),
            "v_tile": shared(STAGES, KEYS, Dv, dtype=dtype),
            "p_tile": shared(COMPUTING, ROWS, KEYS, dtype=dtype),
            "o_tile": shared(COMPUTING, ROWS, Dv, dtype=dtype),
            "lse_tile": plgpu.SMEM((COMPUTING, ROWS), jnp.float32),
            "q_there": plgpu.Barrier(num_barriers=COMPUTING),
            "k_there": plgpu.Barrier(num_barriers=STAGES),
            "v_there": plgpu.Barrier(num_barriers=STAGES),
            "k_free": plgpu.Barrier(num_arrivals=COMPUTING, num_barriers=STAGES),
            "v_free": plgpu.Barrier(num_arrivals=COMPUTING, num_barriers=STAGES),
        },
        grid=(heads, Tq // QUERIES, B),
        grid_names=("head", "queries", "batch"),
        num_threads=COMPUTING + 1,
        thread_name="warpgroup",
        interpret=plgpu_interpret() if interpret else None,
    )
    return run(q, k, v)

def plgpu_interpret(**kw):
    from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams
    return InterpretGPUParams(**kw)

def reached(first: Array, tiles: int, call: Call) -> tuple[Array | int, Array | int]:
    """The tiles of keys, from one to before another, that the queries of a block can reach."""
    left, right = call.spec.window or (None, None)
    right = right if not call.spec.causal else 0 if right is None else min(right, 0)
    begin, end = jnp.int32(0), jnp.int32(tiles)
    if left is not None:
        begin = jnp.clip(lax.div(first + call.offset - left, jnp.int32(KEYS)), 0, tiles)
    if right is not None:
        end = jnp.clip(lax.div(first + QUERIES + call.offset + right + KEYS - 1, jnp.int32(KEYS)), 0, tiles)
    return begin, jnp.maximum(begin, end)


def kernel(q, k, v, o, lse, *, call, **s):
    who = lax.axis_index("warpgroup")
    first = lax.axis_index("queries") * QUERIES
    begin, end = reached(first, k.shape[3] // KEYS, call)
    at = lax.axis_index("batch"), lax.axis_index("head")

    @pl.when(who < COMPUTING)
    def _():
        compute(q, o, lse, at, first + who * ROWS, begin, end, who, s, call)

    @pl.when(who == COMPUTING)
    def _():
        fetch(k, v, at, begin, end, s, call)


def fetch(k, v, at, begin, end, s, call):
    plgpu.set_max_registers(40, action="decrease")
    batch, head = at
    kv_head = lax.div(head, jnp.int32(call.sizes.group))

    @pl.loop(begin, end)
    def _(tile):
        slot = lax.rem(tile - begin, jnp.int32(STAGES))
        keys = pl.ds(tile * KEYS, KEYS)

        @pl.when(tile - begin >= STAGES)
        def _():
            plgpu.barrier_wait(s["k_free"].at[slot])
            plgpu.barrier_wait(s["v_free"].at[slot])
        plgpu.copy_gmem_to_smem(k.at[batch, kv_head, :, keys], s["k_tile"].at[slot], s["k_there"].at[slot])
        plgpu.copy_gmem_to_smem(v.at[batch, kv_head, keys], s["v_tile"].at[slot], s["v_there"].at[slot])

    @pl.loop(jnp.maximum(begin, end - STAGES), end)
    def _(tile):
        slot = lax.rem(tile - begin, jnp.int32(STAGES))
        plgpu.barrier_wait(s["k_free"].at[slot])
        plgpu.barrier_wait(s["v_free"].at[slot])


def compute(q, o, lse, at, first, begin, end, who, s, call):
    plgpu.set_max_registers(232, action="increase")
    batch, head = at
    q_tile, p_tile, o_tile, lse_tile = (s[n].at[who] for n in ("q_tile", "p_tile", "o_tile", "lse_tile"))
    plgpu.copy_gmem_to_smem(q.at[batch, head, pl.ds(first, ROWS)], q_tile, s["q_there"].at[who])
    plgpu.barrier_wait(s["q_there"].at[who])
    Dv = o.shape[3]
    i = first + iota(jnp.int32, (ROWS, KEYS), 0, layout=plgpu.Layout.WGMMA) + call.offset
    j = iota(jnp.int32, (ROWS, KEYS), 1, layout=plgpu.Layout.WGMMA)

    def step(tile, state):
        largest, total, output = state
        slot = lax.rem(tile - begin, jnp.int32(STAGES))
        plgpu.barrier_wait(s["k_there"].at[slot])

        def scores(acc):
            plgpu.wgmma(acc, q_tile, s["k_tile"].at[slot])
            return acc[...]
        x = pl.run_scoped(scores, plgpu.ACC((ROWS, KEYS), jnp.float32))
        plgpu.barrier_arrive(s["k_free"].at[slot])
        x = x * call.scale
        if call.spec.softcap is not None:
            x = call.spec.softcap * jnp.tanh(x / call.spec.softcap)
        ok = allowed(i, tile * KEYS + j, call)
        x = jnp.where(ok, x, LOWEST)
        now = jnp.maximum(largest, x.max(axis=1))
        p = jnp.where(ok, jnp.exp(x - across(now, KEYS)), 0.0)
        before = jnp.exp(largest - now)
        p_tile[...] = p.astype(p_tile.dtype)
        plgpu.commit_smem()
        plgpu.barrier_wait(s["v_there"].at[slot])

        def sums(acc):
            plgpu.wgmma(acc, p_tile, s["v_tile"].at[slot])
            return acc[...]
        more = pl.run_scoped(sums, plgpu.ACC((ROWS, Dv), jnp.float32))
        plgpu.barrier_arrive(s["v_free"].at[slot])
        return now, total * before + p.sum(axis=1), output * across(before, Dv) + more

    start = rows(LOWEST), rows(0.0), laid(jnp.full((ROWS, Dv), 0.0, jnp.float32), plgpu.Layout.WGMMA)
    largest, total, output = lax.fori_loop(begin, end, step, start)
    some = total > 0
    divisor = jnp.where(some, total, 1.0)
    o_tile[...] = (output / across(divisor, Dv)).astype(o_tile.dtype)
    lse_tile[...] = jnp.where(some, largest + jnp.log(divisor), -jnp.inf)
    plgpu.commit_smem()
    plgpu.copy_smem_to_gmem(o_tile, o.at[batch, head, pl.ds(first, ROWS)])
    plgpu.copy_smem_to_gmem(lse_tile, lse.at[batch, head, pl.ds(first, ROWS)])
    plgpu.wait_smem_to_gmem(0)


INTERPRET = False
def laid(x, layout):
    return x if INTERPRET else plgpu.layout_cast(x, layout)

def iota(dtype, shape, axis, layout):
    return lax.broadcasted_iota(dtype, shape, axis) if INTERPRET else plgpu.broadcasted_iota(dtype, shape, axis, layout=layout)

def rows(value):
    return laid(jnp.full((ROWS,), value, jnp.float32), plgpu.Layout.WGMMA.reduce(1))


def across(x, width):
    return lax.broadcast_in_dim(x, (ROWS, width), [0])


def allowed(p, j, call):
    left, right = call.spec.window or (None, None)
    ok = j < call.sizes.S
    if call.spec.causal:
        ok &= j <= p
    if left is not None:
        ok &= j >= p - left
    if right is not None:
        ok &= j <= p + right
    return ok
