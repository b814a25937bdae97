"""The edge cases that the semantics probe puts to a native kernel, and the word for what it does in each.

Every function calls the kernel on a tiny problem and compares the result with the conventions that are known from the
field. What the kernel raises comes out as ``Refused``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.agree.semantics.conventions import attend, classify_row, close, first_match, lower
from attnbench.attention.arrays import Array
from attnbench.attention.precision import DTYPES, UNIT_ROUNDOFF, numpy_dtype

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.card import NativeKernel

ERROR, NONE, OTHER = "error", "–", "something else"
DETAIL_LENGTH = 200
# Relative to the largest value: float32 errs by 1e-6, TF32 and bfloat16 by more than 1e-4.
FLOAT32_ERROR = 1e-5
WEAK = 64  # a dtype computed in a lower one errs by far more than this many of its units


@dataclass(frozen=True)
class Finding:
    """What a probe found: a word for the table (``–``: the kernel has no such option) and the detail behind it."""

    word: str
    detail: str = ""

    def to_dict(self) -> dict[str, str]:
        """JSON-ready."""
        return asdict(self)


class Refused(Exception):  # noqa: N818  (no error of ours: what the kernel raised)
    """The kernel raised."""


class Native:
    """A native kernel with NumPy arrays for its arguments and results."""

    def __init__(self, backend: Backend, kernel: NativeKernel, device: str = "cpu") -> None:
        self._backend, self._kernel, self._device = backend, kernel, device

    def has(self, *options: str) -> bool:
        """Whether the kernel has all these options."""
        return set(options) <= set(self._kernel.takes)

    def __call__(self, q: Array, k: Array, v: Array, **options: Any) -> Array:
        """The output; ``Refused`` if the kernel raises."""
        output: Array = self._run(q, k, v, options)
        return output

    def lse(self, q: Array, k: Array, v: Array, **options: Any) -> Array:
        """The lse beside the output."""
        lse: Array = self._run(q, k, v, options | {"lse": True})[1]
        return lse

    def allowing(self, allowed: Array) -> dict[str, Array]:
        """The bool mask for this allowed set in the kernel's own polarity."""
        return {"mask": allowed if polarity(self).word == TRUE_ATTENDS else ~allowed}

    def _run(self, q: Array, k: Array, v: Array, options: dict[str, Any]) -> Any:
        def native(value: Any) -> Any:
            return self._backend.to_native(value, self._device) if isinstance(value, np.ndarray) else value

        given = {name: native(value) for name, value in options.items()}
        try:
            with np.errstate(all="ignore"), self._backend.computing(q.dtype.name):
                result = self._kernel.call(native(q), native(k), native(v), **given)
                self._backend.wait(result)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            raise Refused(f"{type(error).__name__}: {lines[0]}"[:DETAIL_LENGTH]) from error
        if isinstance(result, tuple):
            return tuple(self._backend.to_numpy(array) for array in result)
        return self._backend.to_numpy(result)


def operands(tq: int = 4, s: int = 6, hq: int = 2, hkv: int = 2, d: int = 8, *, b: int = 1) -> tuple[Array, ...]:
    """q (b, hq, tq, d), k and v (b, hkv, s, d), N(0, 1), float32."""
    rng = np.random.default_rng(0)
    shapes = ((b, hq, tq, d), (b, hkv, s, d), (b, hkv, s, d))
    return tuple(rng.standard_normal(shape, np.float32) for shape in shapes)


def identity(v: Array) -> Array:
    """Values that make the output the matrix of weights: row j has its 1 in column j."""
    return np.broadcast_to(np.eye(*v.shape[2:], dtype=v.dtype), v.shape).copy()


TRUE_ATTENDS, TRUE_MASKS = "True attends", "True is masked out"


def polarity(native: Native) -> Finding:
    """A bool mask that is True on the first half of the keys."""
    if not native.has("mask"):
        return Finding(NONE)
    q, k, v = operands()
    mask = np.broadcast_to(np.arange(6) < 3, (4, 6)).copy()  # noqa: PLR2004  (half of the keys)
    known = {TRUE_ATTENDS: attend(q, k, v, mask).output, TRUE_MASKS: attend(q, k, v, ~mask).output}
    return Finding(first_match(native(q, k, v, mask=mask), known, OTHER))


def dead_row(native: Native) -> Finding:
    """One row whose bool mask allows no key."""
    if not native.has("mask"):
        return Finding(NONE)
    q, k, v = operands()
    allowed = np.ones((4, 6), bool)
    allowed[1] = False
    return Finding(classify_row(native(q, k, v, **native.allowing(allowed)), q, k, v, row=1))


def dead_bias_row(native: Native) -> Finding:
    """One row whose bias is −inf everywhere."""
    if not native.has("bias"):
        return Finding(NONE)
    q, k, v = operands()
    bias = np.zeros((4, 6), np.float32)
    bias[1] = -np.inf
    return Finding(classify_row(native(q, k, v, bias=bias), q, k, v, row=1))


def causal_wide(native: Native) -> Finding:
    """Causal with fewer queries than keys."""
    return _alignment(native, 3, 5)


def causal_tall(native: Native) -> Finding:
    """Causal with more queries than keys."""
    return _alignment(native, 5, 3)


def _alignment(native: Native, tq: int, s: int) -> Finding:
    if not native.has("causal"):
        return Finding(NONE)
    q, k, v = operands(tq, s)
    support = native(q, k, identity(v), causal=True)[0, 0, :, :s] != 0
    known = {"top left": lower(tq, s), "bottom right": lower(tq, s, s - tq), "not applied": np.ones((tq, s), bool)}
    for word, allowed in known.items():
        rows = allowed.any(1)  # a row without keys has a probe of its own
        if np.array_equal(support[rows], allowed[rows]):
            return Finding(word)
    return Finding(OTHER)


def mask_and_causal(native: Native) -> Finding:
    """A bool mask and causal together."""
    if not native.has("mask", "causal"):
        return Finding(NONE)
    q, k, v = operands(6)
    mask = np.random.default_rng(1).random((6, 6)) < 0.5  # noqa: PLR2004  (a coin)
    np.fill_diagonal(mask, val=True)
    known = {"both apply": mask & lower(6, 6), "the mask alone": mask, "causal alone": lower(6, 6)}
    support = native(q, k, identity(v), causal=True, **native.allowing(mask))[0, 0, :, :6] != 0
    return Finding(first_match(support, known, OTHER))


def softcap(native: Native) -> Finding:
    """A cap of 1, with a bias if there is one."""
    if not native.has("softcap"):
        return Finding(NONE)
    q, k, v = operands()
    q = 4 * q
    if not native.has("bias"):
        known = {"applied": attend(q, k, v, cap=1.0).output, "ignored": attend(q, k, v).output}
        return Finding(first_match(native(q, k, v, softcap=1.0), known, OTHER))
    bias = 3 * np.random.default_rng(2).standard_normal((4, 6), np.float32)
    known = {
        "before the bias": attend(q, k, v, bias=bias, cap=1.0).output,
        "after the bias": attend(q, k, v, bias=bias, cap=1.0, cap_last=True).output,
        "ignored": attend(q, k, v, bias=bias).output,
    }
    return Finding(first_match(native(q, k, v, bias=bias, softcap=1.0), known, OTHER))


def lse_base(native: Native) -> Finding:
    """The lse of ordinary rows."""
    if not native.has("lse"):
        return Finding(NONE)
    q, k, v = operands()
    natural = attend(q, k, v).lse
    return Finding(first_match(native.lse(q, k, v), {"natural log": natural, "base 2": natural / np.log(2)}, OTHER))


def lse_dead(native: Native) -> Finding:
    """The lse of a row whose bool mask allows no key."""
    if not native.has("lse", "mask"):
        return Finding(NONE)
    q, k, v = operands()
    allowed = np.ones((4, 6), bool)
    allowed[1] = False
    value = float(native.lse(q, k, v, **native.allowing(allowed))[0, 0, 1])
    named = {"0": value == 0, "NaN": np.isnan(value), "−inf": value == -np.inf, "+inf": value == np.inf}
    word = next((word for word, holds in named.items() if holds), None)
    return Finding(word or ("a large negative number" if value < -1e4 else OTHER), repr(value))  # noqa: PLR2004


def nan_isolation(native: Native) -> Finding:
    """NaN in the last key, which no row may attend (with ``causal`` alone: no row but the last)."""
    if not native.has("mask") and not native.has("causal"):
        return Finding(NONE)
    q, k, v = operands(6)
    allowed = np.broadcast_to(np.arange(6) < 5, (6, 6)).copy()  # noqa: PLR2004  (all but the last key)
    options = native.allowing(allowed) if native.has("mask") else {"causal": True}
    leaks = []
    for name, operand in (("k", k), ("v", v)):
        poisoned = operand.copy()
        poisoned[..., -1, :] = np.nan
        given = {"k": k, "v": v} | {name: poisoned}
        if np.isnan(native(q, given["k"], given["v"], **options)[..., :5, :]).any():
            leaks.append(name)
    return Finding(f"leaks from {' and '.join(leaks)}" if leaks else "isolated")


def no_keys(native: Native) -> Finding:
    """S = 0."""
    q, k, v = operands(4, 0)
    output = native(q, k, v)
    if output.shape != q.shape:
        return Finding("wrong shape", f"{output.shape}")
    if np.isnan(output).all():
        return Finding("NaN")
    return Finding("0" if not output.any() else OTHER)


def no_queries(native: Native) -> Finding:
    """Tq = 0."""
    q, k, v = operands(0)
    output = native(q, k, v)
    return Finding("empty array" if output.shape == q.shape else "wrong shape", f"{output.shape}")


def determinism(native: Native) -> Finding:
    """Two runs on the same operands, of a size that is split among blocks."""
    q, k, v = operands(129, 513, 4, 4, 64)
    return Finding("same bits" if native(q, k, v).tobytes() == native(q, k, v).tobytes() else "differs")


def float32_precision(native: Native) -> Finding:
    """The largest error of float32 against float64, relative to the largest value."""
    q, k, v = operands(33, 257, d=64)
    error = _error(native(q, k, v), q, k, v)
    return Finding("float32" if error <= FLOAT32_ERROR else "less than float32", f"relative error {error:.1e}")


def _error(output: Array, q: Array, k: Array, v: Array) -> float:
    expected = attend(q, k, v).output
    return float(np.abs(output.astype(np.float64) - expected).max() / np.abs(expected).max())


def dtypes(native: Native) -> Finding:
    """The four dtypes of the spec, and whether the results have their precision."""
    taken, details = [], []
    for dtype in DTYPES:
        q, k, v = (x.astype(numpy_dtype(dtype)) for x in operands())
        try:
            output = native(q, k, v)
        except Refused as refused:
            details.append(f"{dtype}: {refused}")
            continue
        error = _error(output, q, k, v)
        weak = " (less precise)" if not error <= WEAK * UNIT_ROUNDOFF[dtype] else ""
        other = "" if output.dtype.name == dtype else f" (returns {output.dtype.name})"
        taken.append(dtype + (other or weak))
        details.append(f"{dtype}: {output.dtype.name}, relative error {error:.1e}")
    word = "all four" if taken == list(DTYPES) else ", ".join(taken)
    return Finding(word or ERROR, "; ".join(details))


def float16_range(native: Native) -> Finding:
    """float16 with q·k = 80,000, which float16 cannot hold, and scaled logits of 28,284, which it can."""
    q, k, v = (x.astype(np.float16) for x in operands())
    q[:], k[:] = 100, 100
    k[..., -1, :] = 99
    output = native(q, k, v)
    return Finding("finite" if np.isfinite(output).all() else "NaN" if np.isnan(output).any() else "infinite")


def grouped_heads(native: Native) -> Finding:
    """Four query heads on two key and value heads."""
    q, k, v = operands(hq=4)
    known = {
        "consecutive heads share": attend(q, k.repeat(2, 1), v.repeat(2, 1)).output,
        "alternate heads share": attend(q, np.tile(k, (1, 2, 1, 1)), np.tile(v, (1, 2, 1, 1))).output,
    }
    return Finding(first_match(native(q, k, v), known, OTHER))


def value_width(native: Native) -> Finding:
    """Values wider than the keys."""
    q, k, _ = operands()
    *_, v = operands(d=12)
    return Finding(first_match(native(q, k, v), {"yes": attend(q, k, v).output}, OTHER))


def fewer_values(native: Native) -> Finding:
    """Six keys and five values: wrong input."""
    q, k, v = operands()
    return _unlike_lengths(native(q, k, first(v, 5)), q, first(k, 5), first(v, 5), "values")


def fewer_keys(native: Native) -> Finding:
    """Five keys and six values: wrong input."""
    q, k, v = operands()
    return _unlike_lengths(native(q, first(k, 5), v), q, first(k, 5), first(v, 5), "keys")


def first(x: Array, count: int) -> Array:
    """The first positions, in memory of their own."""
    return np.ascontiguousarray(x[:, :, :count])


def _unlike_lengths(output: Array, q: Array, k: Array, v: Array, short: str) -> Finding:
    ignored = output.shape == q.shape and close(output, attend(q, k, v).output)
    return Finding("accepted: ignores the last" if ignored else f"accepted: reads beyond the {short}")


def unlike_heads(native: Native) -> Finding:
    """Three query heads on two key and value heads: wrong input."""
    output = native(*operands(hq=3))
    return Finding("accepted", f"{output.shape}")
