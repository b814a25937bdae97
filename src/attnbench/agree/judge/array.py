"""Judging one array: exactly first (shape, dtype, pattern of NaN and ±inf), then by its largest error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from attnbench.agree.judge.weight_bounds import SLACK
from attnbench.attention.arrays import Array
from attnbench.attention.precision import LARGEST, UNIT_ROUNDOFF, numpy_dtype


@dataclass(frozen=True)
class Judgement:
    """Whether one array agrees. ``error_ratio`` is the largest |error| / (SLACK · bound); above 1 it disagrees.

    ``fault`` names the property that failed: ``type``, ``shape``, ``dtype``, ``nan``, ``inf`` or ``value``; ``detail``
    says where and by how much. An error ratio of ``inf`` stands for an exact property that failed. ``telling`` is the
    share of the array whose bound leaves room for a wrong answer to show (``attnbench.agree.judge.telling``).
    """

    tensor: str
    error_ratio: float
    fault: str | None = None
    detail: str = ""
    telling: float = 1.0

    @property
    def ok(self) -> bool:
        """Whether it agrees."""
        return self.fault is None

    def sentence(self) -> str:
        """One line for people."""
        return f"{self.tensor}: {self.detail}" if self.fault else f"{self.tensor}: {self.error_ratio:.2f} of the bound"


def judge(tensor: str, got: Any, expected: Array, bound: Array, dtype: str, above: Array | None = None) -> Judgement:
    """Hold ``got`` to the oracle's ``expected`` (float64) within SLACK · ``bound``; ``dtype`` is what it must have.

    ``above`` is the bound of errors upwards, where it is another one.
    """
    if wrong := of_another_form(tensor, got, expected.shape, dtype):
        return wrong
    values = got.astype(np.float64)
    bound = bound if above is None else np.where(values > expected, above, bound)
    pattern = _nan_pattern(tensor, values, expected) or _inf_pattern(tensor, values, expected, bound, dtype)
    return pattern or _value(tensor, values, expected, bound)


def of_another_form(tensor: str, got: Any, shape: tuple[int, ...], dtype: str) -> Judgement | None:
    """Anything but a plain NumPy array of this shape and dtype, in this machine's byte order.

    A subclass is refused: a mask over its elements, or an arithmetic of its own, would escape the comparison.
    """
    if getattr(got, "shape", shape) != shape:
        return _failed(tensor, "shape", f"has shape {got.shape}, not {shape}")
    if type(got) is not np.ndarray:
        return _failed(tensor, "type", f"is a {type(got).__name__}, not a plain NumPy array")
    if got.dtype != numpy_dtype(dtype):
        return _failed(tensor, "dtype", f"has dtype {dtype_text(got.dtype)}, not {dtype}")
    return None


def dtype_text(dtype: np.dtype[Any]) -> str:
    """Its name, and the byte order where it is not this machine's."""
    return dtype.name if dtype.isnative else f"{dtype.name} of foreign byte order ({dtype.str})"


def _failed(tensor: str, fault: str, detail: str) -> Judgement:
    return Judgement(tensor, float("inf"), fault, detail)


def _nan_pattern(tensor: str, values: Array, expected: Array) -> Judgement | None:
    wrong = np.isnan(values) != np.isnan(expected)
    if not wrong.any():
        return None
    where = _first(wrong)
    kind = "is NaN where the oracle has a number" if np.isnan(values[where]) else "is a number where the oracle is NaN"
    return _failed(
        tensor, "nan", f"{kind}, at {_count(wrong)}, first at {_index(where)} (oracle {expected[where]:.6g})"
    )


def _inf_pattern(tensor: str, values: Array, expected: Array, bound: Array, dtype: str) -> Judgement | None:
    wrong = _wrong_infinities(values, expected, bound, dtype)
    if not wrong.any():
        return None
    where = _first(wrong)
    text = f"is {values[where]:.6g} where the oracle is {expected[where]:.6g}"
    return _failed(tensor, "inf", f"{text}, at {_count(wrong)}, first at {_index(where)}")


def _wrong_infinities(values: Array, expected: Array, bound: Array, dtype: str) -> Array:
    # Within rounding of the overflow threshold either is right.
    limit = LARGEST[dtype]
    if np.abs(values).max(initial=0.0) < np.inf and np.abs(expected).max(initial=0.0) <= limit:
        return np.zeros(values.shape, bool)
    with np.errstate(over="ignore"):
        near = np.abs(expected) + SLACK * bound >= limit * (1 - UNIT_ROUNDOFF[dtype])
    overflow = np.isfinite(expected) & (np.abs(expected) > limit * (1 + UNIT_ROUNDOFF[dtype]))
    rounded = np.where(overflow, np.copysign(np.inf, expected), expected)
    excused = near & np.isfinite(expected) & ~(np.isinf(values) & (np.sign(values) != np.sign(expected)))
    return np.asarray((np.isinf(values) | np.isinf(rounded)) & (values != rounded) & ~excused)


def error_ratios(values: Array, expected: Array, bound: Array, dtype: str, above: Array | None = None) -> Array:
    """The error of every element over what rounding explains; infinite where an exact property of it is wrong.

    ``values`` are float64; the rest is as in ``judge``.
    """
    bound = bound if above is None else np.where(values > expected, above, bound)
    wrong = (np.isnan(values) != np.isnan(expected)) | _wrong_infinities(values, expected, bound, dtype)
    return np.where(wrong, np.inf, _ratio(values, expected, bound))


def _ratio(values: Array, expected: Array, bound: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        error = np.abs(values - expected)
        if not error.max(initial=0.0) < np.inf:  # the pattern of what is not finite is judged on its own
            error = np.where(np.isfinite(values) & np.isfinite(expected), error, 0.0)
        return np.asarray(np.divide(error, SLACK * bound, out=np.zeros_like(error), where=error != 0))


def _value(tensor: str, values: Array, expected: Array, bound: Array) -> Judgement:
    ratio = _ratio(values, expected, bound)
    if not ratio.size:
        return Judgement(tensor, 0.0)
    where = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    worst = float(ratio[where])
    if worst <= 1:
        return Judgement(tensor, worst)
    text = (
        f"is {values[where]:.9g} where the oracle is {expected[where]:.9g}: the error is {worst:.3g} times what "
        f"rounding explains, at {_count(ratio > 1)}, worst at {_index(where)}"
    )
    return Judgement(tensor, worst, "value", text)


def _first(wrong: Array) -> tuple[Any, ...]:
    return tuple(np.argwhere(wrong)[0])


def _index(where: tuple[Any, ...]) -> str:
    return "[" + ", ".join(str(int(i)) for i in where) + "]"


def _count(wrong: Array) -> str:
    return f"{int(wrong.sum())} of {wrong.size} elements"
