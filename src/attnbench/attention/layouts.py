"""Layouts: the same attention with its arrays in another order (feature 23 of the spec).

The logical layout is (B, H, T, D). Adapters to and from it: ``bthd`` (B, T, H, D), as FlashAttention and ``jax.nn``
have it; ``packed`` (B, T, H·D), as it leaves a projection; ``varlen`` (ΣT, H, D) with cumulative lengths, sequences
one behind the other, as FlashAttention's varlen kernels have it. Each gives the values of the logical layout, in views
where NumPy can; the padding of ``varlen`` is zero, and outside the allowed set by the lengths that go with it.

    q, k, v, lengths = layouts.from_varlen(q, k, v, cu_q, cu_k)         # (B, H, T, D), and q_lengths, kv_lengths
    out = attnbench.attend(q, k, v, **lengths)
    layouts.to_varlen(out.output, cu_q)                                 # (ΣTq, Hq, Dv)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.errors import SpecError

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped


def from_bthd(array: Shaped[Array, "B T H D"]) -> Shaped[Array, "B H T D"]:
    """(B, T, H, D) as (B, H, T, D)."""
    return _of_rank("bthd", array, 4, "(B, T, H, D)").swapaxes(1, 2)


def to_bthd(array: Shaped[Array, "B H T D"]) -> Shaped[Array, "B T H D"]:
    """(B, H, T, D) as (B, T, H, D)."""
    return _of_rank("logical", array, 4, "(B, H, T, D)").swapaxes(1, 2)


def from_packed(array: Shaped[Array, "B T HD"], heads: int) -> Shaped[Array, "B H T D"]:
    """(B, T, H·D), the heads side by side, as (B, H, T, D)."""
    b, t, width = _of_rank("packed", array, 3, "(B, T, H*D)").shape
    if heads < 1 or width % heads:
        _fail(f"packed: a width of {width} does not divide into {heads} heads")
    return array.reshape(b, t, heads, width // heads).swapaxes(1, 2)


def to_packed(array: Shaped[Array, "B H T D"]) -> Shaped[Array, "B T HD"]:
    """(B, H, T, D) as (B, T, H·D)."""
    b, h, t, d = _of_rank("logical", array, 4, "(B, H, T, D)").shape
    return array.swapaxes(1, 2).reshape(b, t, h * d)


def from_varlen(
    q: Shaped[Array, "sum_Tq Hq D"],
    k: Shaped[Array, "sum_S Hkv D"],
    v: Shaped[Array, "sum_S Hkv Dv"],
    cu_q: Int[Array, " ends"],
    cu_k: Int[Array, " ends"] | None = None,
) -> tuple[
    Shaped[Array, "B Hq Tq D"], Shaped[Array, "B Hkv S D"], Shaped[Array, "B Hkv S Dv"], dict[str, Int[Array, " B"]]
]:
    """Sequences one behind the other as padded (B, H, T, D), with ``q_lengths`` and ``kv_lengths`` (B,).

    cu_q and cu_k hold B + 1 ends: they start at 0 and end at ΣTq and ΣS; cu_k is by default cu_q. Causal attention in
    varlen kernels aligns each sequence by itself: ``align="bottom_right"`` with these lengths says that.
    """
    cu_k = cu_q if cu_k is None else cu_k
    if len(np.atleast_1d(cu_q)) != len(np.atleast_1d(cu_k)):
        _fail(
            f"varlen: cu_q and cu_k tell of {len(np.atleast_1d(cu_q)) - 1} and {len(np.atleast_1d(cu_k)) - 1} sequences"
        )
    padded = [pad(name, a, cu) for name, a, cu in (("q", q, cu_q), ("k", k, cu_k), ("v", v, cu_k))]
    lengths = {"q_lengths": np.diff(cu_q).astype(np.int32), "kv_lengths": np.diff(cu_k).astype(np.int32)}
    return padded[0], padded[1], padded[2], lengths


def pad(name: str, array: Shaped[Array, "sum_T H D"], cumulative: Int[Array, " ends"]) -> Shaped[Array, "B H T D"]:
    """(ΣT, H, D) as (B, H, T, D), T being the longest of the sequences; zeros behind the shorter ones."""
    total, heads, size = _of_rank(f"varlen {name}", array, 3, "(sum of T, H, D)").shape
    lengths = np.diff(checked_cumulative(name, cumulative, total))
    padded = np.zeros((len(lengths), heads, int(lengths.max(initial=0)), size), array.dtype)
    for b, (start, length) in enumerate(zip(cumulative[:-1], lengths, strict=True)):
        padded[b, :, :length] = array[start : start + length].swapaxes(0, 1)
    return padded


def to_varlen(array: Shaped[Array, "B H T D"], cumulative: Int[Array, " ends"]) -> Shaped[Array, "sum_T H D"]:
    """(B, H, T, D), such as an output or a gradient of q, as (ΣT, H, D): the padding is left out."""
    b, heads, longest, size = _of_rank("logical", array, 4, "(B, H, T, D)").shape
    lengths = np.diff(checked_cumulative("output", cumulative, None))
    if len(lengths) != b or (lengths > longest).any():
        _fail(f"varlen: lengths {lengths.tolist()} do not fit an array of B = {b} and T = {longest}")
    parts = [array[i, :, :length].swapaxes(0, 1) for i, length in enumerate(lengths)]
    return np.concatenate([np.zeros((0, heads, size), array.dtype), *parts])


def checked_cumulative(name: str, cumulative: Any, total: int | None) -> Int[Array, " ends"]:
    """Cumulative lengths (B + 1,): integers from 0, never falling, to ``total``; else ``SpecError``."""
    what = f"varlen: the cumulative lengths of {name}"
    if not isinstance(cumulative, np.ndarray) or cumulative.ndim != 1 or cumulative.dtype.kind not in "iu":
        _fail(f"{what} are an integer array of shape (B + 1,); got {cumulative!r}")
    if len(cumulative) == 0 or cumulative[0] != 0:
        _fail(f"{what} start at 0; got {cumulative.tolist()}")
    if (cumulative[1:] < cumulative[:-1]).any():
        _fail(f"{what} never fall; got {cumulative.tolist()}")
    if total is not None and cumulative[-1] != total:
        _fail(f"{what} end at the number of rows, {total}; got {cumulative.tolist()}")
    return cumulative.astype(np.int64)


def _of_rank(layout: str, array: Any, rank: int, axes: str) -> Array:
    if not isinstance(array, np.ndarray) or array.ndim != rank:
        _fail(f"{layout}: a NumPy array {axes} of {rank} axes; got {getattr(array, 'shape', type(array).__name__)}")
    checked: Array = array
    return checked


def _fail(message: str) -> NoReturn:
    raise SpecError(message)
