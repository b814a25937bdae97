"""``jax/pallas-hopper``: FlashAttention's forward pass for Hopper (Shah 2024), a kernel in Pallas' Mosaic GPU.

A block has three warpgroups. One copies tiles of keys and values into shared memory (TMA), some tiles ahead. The two
others take 64 queries each and multiply on the tensor cores (wgmma): Q·Kᵀ, then P·V, with a running maximum, sum and
output in float32. Barriers say which tile has come, and which may be overwritten.

Two choices are made so that Pallas' interpreter (``interpreting``) can run this very kernel on a CPU: K comes
transposed, and P goes through shared memory. Both cost a little time. Legend of the shapes in
``attnbench.attention.spec``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from attnbench.api import AttentionOutput, Capabilities, Limit, Precision, UnsupportedError, implementation
from attnbench.impls.jax_backend.allowed import allowed_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float, Shaped

    from attnbench.api import Call

    Refs = Mapping[str, Any]

# Queries of a warpgroup (the rows of one wgmma), warpgroups that compute, keys of a tile, and tiles on their way.
ROWS, COMPUTING, KEYS, STAGES = 64, 2, 128, 2
QUERIES = ROWS * COMPUTING
# Elements of 16 bits in the 128 bytes by which tiles are swizzled: head sizes are filled up to a multiple of it.
WIDTH, SWIZZLE = 64, 128
# Registers of a thread: the warpgroup that copies gives its own to those that compute.
FEW, MANY = 40, 232
# Lower than any logit, and no infinity, of which differences would be NaN.
LOWEST = -1e38
HOPPER = "9.0"
WHOLE = "the kernel has no such term in its inner loop"
IN_REGISTERS = "a warpgroup keeps its part of the output in registers"


def precision(dtype: str) -> Precision:
    """Logits, softmax and sums in float32; P is rounded to the input's dtype before it meets V."""
    return Precision(p_cast=dtype, exp_ulp=2.0, tanh_ulp=5.0, flush=True, seen="jax>=0.10,<0.11")


CAN = Capabilities(
    dtypes=("bfloat16", "float16"),
    devices=("cuda",),
    causal=True,
    gqa=True,
    window=True,
    softcap=True,
    lse=True,
    precision={dtype: precision(dtype) for dtype in ("bfloat16", "float16")},
    limits=(Limit("D", IN_REGISTERS, at_most=128), Limit("Dv", IN_REGISTERS, at_most=128)),
    lacks={
        "float64": "its products are of 16 bits, and its sums float32",
        "float32": "wgmma would round it to TF32",
        "cpu": "a CPU has no wgmma; attnbench precheck interprets it",
        "gradients": "the kernel has no backward pass, and JAX differentiates none of Pallas",
        "stages": "no (Tq, S) array is ever stored",
        "nan_isolation": "0 · NaN is NaN in its product of weights and values",
    }
    | dict.fromkeys(("mask", "bias", "lengths", "segments", "sinks", "dropout", "slopes"), WHOLE)
    | dict.fromkeys(("head_scale", "log_n", "batch_offset"), "scale and offset are constants of the kernel"),
)


@implementation("jax/pallas-hopper", CAN)
def attend(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend by the kernel; tiles are filled up with zeros. Raises ``UnsupportedError`` on a GPU that is no Hopper."""
    if why := refusal(jax.devices()[0] if isinstance(q, jax.core.Tracer) else next(iter(q.devices()))):
        raise UnsupportedError(why)
    output, lse = launch(filled(q, QUERIES), filled(k, KEYS).swapaxes(2, 3), filled(v, KEYS), call)
    queries = q.shape[2]
    return AttentionOutput(output[:, :, :queries, : v.shape[3]], lse=lse[:, :, :queries] if call.wants("lse") else None)


def refusal(device: Any) -> str | None:
    """Why the kernel does not run there, or ``None``; a CPU interprets it."""
    capability = str(getattr(device, "compute_capability", HOPPER))
    if device.platform != "gpu" or capability == HOPPER:
        return None
    return f"wgmma is an instruction of Hopper alone (compute capability {HOPPER}); this GPU has {capability}"


def filled(x: Shaped[Array, "B H T n"], rows: int) -> Shaped[Array, "B H T_full n_full"]:
    """Zeros behind the rows and columns, up to full tiles."""
    return jnp.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % rows), (0, -x.shape[3] % WIDTH)))


def launch(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv D S"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> tuple[Float[Array, "B Hq Tq Dv"], Float[Array, "B Hq Tq"]]:
    """One block for each batch entry, query head and ``QUERIES`` queries."""
    batch, heads, queries, width = q.shape
    value_width, dtype = v.shape[3], q.dtype
    scratch = {
        "q_tile": tiles(COMPUTING, ROWS, width, dtype=dtype),
        "k_tile": tiles(STAGES, width, KEYS, dtype=dtype),
        "v_tile": tiles(STAGES, KEYS, value_width, dtype=dtype),
        "p_tile": tiles(COMPUTING, ROWS, KEYS, dtype=dtype),
        "lse_tile": plgpu.SMEM((COMPUTING, ROWS), jnp.float32),
        "q_came": plgpu.Barrier(num_barriers=COMPUTING),
        "k_came": plgpu.Barrier(num_barriers=STAGES),
        "v_came": plgpu.Barrier(num_barriers=STAGES),
        "k_read": plgpu.Barrier(num_arrivals=COMPUTING, num_barriers=STAGES),
        "v_read": plgpu.Barrier(num_arrivals=COMPUTING, num_barriers=STAGES),
    }
    if width != value_width:  # else the output takes the place of the queries
        scratch["output_tile"] = tiles(COMPUTING, ROWS, value_width, dtype=dtype)
    launched: Any = plgpu.kernel(
        partial(kernel, call=call),
        out_type=[
            jax.ShapeDtypeStruct((batch, heads, queries, value_width), dtype),
            jax.ShapeDtypeStruct((batch, heads, queries), jnp.float32),
        ],
        scratch_types=scratch,
        grid=(heads, queries // QUERIES, batch),
        grid_names=("head", "queries", "batch"),
        num_threads=COMPUTING + 1,
        thread_name="warpgroup",
        kernel_name="attention",
    )
    output, lse = launched(q, k, v)
    return output, lse


def tiles(*shape: int, dtype: Any) -> Any:
    """Buffers in shared memory, laid out as TMA writes and wgmma reads them."""
    laid_out = (plgpu.TilingTransform((8, WIDTH)), plgpu.SwizzleTransform(SWIZZLE))
    return plgpu.SMEM(shape, dtype, transforms=laid_out)


def kernel(q: Any, k: Any, v: Any, output: Any, lse: Any, *, call: Call, **scratch: Any) -> None:
    """The rows of one block. A warpgroup computes or copies."""
    who = lax.axis_index("warpgroup")
    batch, head = lax.axis_index("batch"), lax.axis_index("head")
    first = lax.axis_index("queries") * QUERIES
    begin, end = reached(first, k.shape[3] // KEYS, call)

    @pl.when(who == COMPUTING)
    def _copying() -> None:
        plgpu.set_max_registers(FEW, action="decrease")
        kv_head = lax.div(head, jnp.int32(call.sizes.group))
        copy_tiles(k.at[batch, kv_head], v.at[batch, kv_head], begin, end, scratch)

    @pl.when(who < COMPUTING)
    def _computing() -> None:
        plgpu.set_max_registers(MANY, action="increase")
        mine, rows = at_slot(scratch, who), pl.ds(first + who * ROWS, ROWS)
        plgpu.copy_gmem_to_smem(q.at[batch, head, rows], mine["q_tile"], mine["q_came"])
        plgpu.barrier_wait(mine["q_came"])
        summed = over_tiles(first + who * ROWS, begin, end, output.shape[3], call, scratch, mine)
        store(summed, output.at[batch, head, rows], lse.at[batch, head, rows], mine)


def at_slot(scratch: Refs, who: Array) -> dict[str, Any]:
    """The part of a warpgroup in what each of them has for itself."""
    return {
        name: scratch[name].at[who]
        for name in ("q_tile", "p_tile", "lse_tile", "output_tile", "q_came")
        if name in scratch
    }


def reached(first: Array, count: int, call: Call) -> tuple[Array, Array]:
    """The tiles of keys, from one to before another, that the queries of a block can reach."""
    left, right = call.spec.window or (None, None)
    if call.spec.causal:
        right = 0 if right is None else min(right, 0)
    begin, end = jnp.int32(0), jnp.int32(count)
    if left is not None:
        begin = jnp.clip(lax.div(first + call.offset - left, jnp.int32(KEYS)), 0, count)
    if right is not None:
        end = jnp.clip(lax.div(first + QUERIES + call.offset + right + KEYS - 1, jnp.int32(KEYS)), 0, count)
    return begin, jnp.maximum(begin, end)


def copy_tiles(k: Any, v: Any, begin: Array, end: Array, scratch: Refs) -> None:
    """Each tile in turn, as soon as both warpgroups have read the one that lay in its place."""

    def wait_until_read(tile: Array) -> Array:
        slot = lax.rem(tile - begin, jnp.int32(STAGES))
        plgpu.barrier_wait(scratch["k_read"].at[slot])
        plgpu.barrier_wait(scratch["v_read"].at[slot])
        return slot

    @pl.loop(begin, end)
    def _each(tile: Array) -> None:
        @pl.when(tile - begin >= STAGES)
        def _overwriting() -> None:
            wait_until_read(tile)

        slot, keys = lax.rem(tile - begin, jnp.int32(STAGES)), pl.ds(tile * KEYS, KEYS)
        plgpu.copy_gmem_to_smem(k.at[:, keys], scratch["k_tile"].at[slot], scratch["k_came"].at[slot])
        plgpu.copy_gmem_to_smem(v.at[keys], scratch["v_tile"].at[slot], scratch["v_came"].at[slot])

    @pl.loop(jnp.maximum(begin, end - STAGES), end)
    def _last(tile: Array) -> None:
        wait_until_read(tile)


def over_tiles(
    first: Array, begin: Array, end: Array, width: int, call: Call, scratch: Refs, mine: Refs
) -> tuple[Float[Array, " rows"], Float[Array, " rows"], Float[Array, "rows Dv"]]:
    """The running maximum, sum and output of a warpgroup's queries, over the tiles of keys."""
    place = first + call.offset + plgpu.broadcasted_iota(jnp.int32, (ROWS, KEYS), 0, layout=plgpu.Layout.WGMMA)
    key = plgpu.broadcasted_iota(jnp.int32, (ROWS, KEYS), 1, layout=plgpu.Layout.WGMMA)

    def step(tile: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        largest, total, output = state
        slot = lax.rem(tile - begin, jnp.int32(STAGES))
        plgpu.barrier_wait(scratch["k_came"].at[slot])
        s = product(mine["q_tile"], scratch["k_tile"].at[slot], KEYS) * call.scale
        plgpu.barrier_arrive(scratch["k_read"].at[slot])
        if call.spec.softcap is not None:
            s = call.spec.softcap * jnp.tanh(s / call.spec.softcap)
        allowed = allowed_pairs(place, tile * KEYS + key, call)
        s = jnp.where(allowed, s, LOWEST)
        now = jnp.maximum(largest, s.max(axis=1))
        terms = jnp.where(allowed, jnp.exp(s - across(now, KEYS)), 0.0)
        before = jnp.exp(largest - now)
        mine["p_tile"][...] = terms.astype(mine["p_tile"].dtype)
        plgpu.commit_smem()
        plgpu.barrier_wait(scratch["v_came"].at[slot])
        sums = product(mine["p_tile"], scratch["v_tile"].at[slot], width)
        plgpu.barrier_arrive(scratch["v_read"].at[slot])
        return now, total * before + terms.sum(axis=1), output * across(before, width) + sums

    start = constant(LOWEST), constant(0.0), plgpu.layout_cast(jnp.zeros((ROWS, width)), plgpu.Layout.WGMMA)
    summed: tuple[Array, Array, Array] = lax.fori_loop(begin, end, step, start)
    return summed


def store(summed: tuple[Array, Array, Array], output: Any, lse: Any, mine: Refs) -> None:
    """Divide by the sum, and copy to the GPU's memory by way of shared memory."""
    largest, total, sums = summed
    some = total != 0  # a sum that is NaN stays NaN, and is not taken for no key
    divisor = jnp.where(some, total, 1.0)
    staged = mine.get("output_tile", mine["q_tile"])
    staged[...] = (sums / across(divisor, sums.shape[1])).astype(staged.dtype)
    mine["lse_tile"][...] = jnp.where(some, largest + jnp.log(divisor), -jnp.inf)
    plgpu.commit_smem()
    plgpu.copy_smem_to_gmem(staged, output)
    plgpu.copy_smem_to_gmem(mine["lse_tile"], lse)
    plgpu.wait_smem_to_gmem(0)


def product(a: Any, b: Any, columns: int) -> Float[Array, "rows columns"]:
    """The product of two tiles in shared memory, in float32."""

    def multiplied(sums: Any) -> Any:
        plgpu.wgmma(sums, a, b)
        return sums[...]

    result: Array = pl.run_scoped(multiplied, plgpu.WGMMAAccumulatorRef((ROWS, columns), jnp.float32))
    return result


def constant(value: float) -> Float[Array, " rows"]:
    """The same number for each row, laid out as the sums of wgmma's rows are."""
    laid_out: Array = plgpu.layout_cast(jnp.full((ROWS,), value, jnp.float32), plgpu.Layout.WGMMA.reduce(1))
    return laid_out


def across(x: Float[Array, " rows"], columns: int) -> Float[Array, "rows columns"]:
    """The number of each row in all of its columns."""
    return lax.broadcast_in_dim(x, (ROWS, columns), [0])
