"""A right kernel in NumPy, and the same with one fault each, as an author would write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def right(q: Any, k: Any, v: Any, *, causal: bool = False, scale: float | None = None) -> Any:
    """Attention with grouped heads; a key is seen up to its own query."""
    return attention(q, k, v, allowed(q, k, 0) if causal else None, scale)


def attention(q: Any, k: Any, v: Any, mask: Any = None, scale: float | None = None) -> Any:
    """Attention where the mask is True; a row without a key is 0."""
    group = q.shape[1] // k.shape[1]
    k, v = (np.repeat(array, group, axis=1) for array in (k, v))
    factor = q.dtype.type(q.shape[-1] ** -0.5 if scale is None else scale)
    scores = np.einsum("bhtd,bhsd->bhts", q, k) * factor
    scores = scores if mask is None else np.where(mask, scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    terms = np.exp(scores - np.where(np.isinf(top), 0, top))
    total = terms.sum(-1, keepdims=True)
    return np.einsum("bhts,bhsd->bhtd", terms / np.where(total == 0, 1, total), v)


def allowed(q: Any, k: Any, more: int) -> Any:
    """The causal mask, so many keys too wide."""
    return np.tri(q.shape[2], k.shape[2], more, dtype=bool)


def too_wide(q: Any, k: Any, v: Any, *, causal: bool = False) -> Any:
    """The causal mask is one key too wide."""
    return attention(q, k, v, allowed(q, k, 1) if causal else None)


def at_tile(q: Any, k: Any, v: Any, *, causal: bool = False) -> Any:
    """Where it is causal, from the second tile of 64 queries on, the last key of the first is not seen."""
    mask = allowed(q, k, 0)
    mask[64:, 63:64] = False
    return attention(q, k, v, mask if causal else None)


def tiled_heads(q: Any, k: Any, v: Any) -> Any:
    """Query head h reads key/value head h % Hkv."""
    group = q.shape[1] // k.shape[1]
    return attention(q, np.tile(k, (1, group, 1, 1)), np.tile(v, (1, group, 1, 1)))


def unscaled(q: Any, k: Any, v: Any) -> Any:
    """The scale is dropped."""
    return attention(q, k, v, scale=1.0)


def writes(q: Any, k: Any, v: Any) -> Any:
    """It scales q where it lies."""
    q *= q.shape[-1] ** -0.5
    return attention(q, k, v, scale=1.0)


def contiguous_alone(q: Any, k: Any, v: Any) -> Any:
    """It reads the memory of q as if it were contiguous."""
    flat = np.lib.stride_tricks.as_strided(q, q.shape, _strides(q.shape, q.itemsize))
    return attention(flat, k, v)


def _strides(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[axis + 1 :])) * size for axis in range(len(shape)))


def wide(q: Any, k: Any, v: Any) -> Any:
    """It returns float64 whatever comes."""
    return attention(q, k, v).astype(np.float64)


def turned(q: Any, k: Any, v: Any) -> Any:
    """It returns heads and tokens in the wrong order."""
    return attention(q, k, v).swapaxes(1, 2)


def hides_nan(q: Any, k: Any, v: Any) -> Any:
    """A NaN becomes 0."""
    return np.nan_to_num(attention(q, k, v))


def refuses(q: Any, k: Any, v: Any, *, mask: Any = None) -> Any:
    """It has an argument that it does not take yet."""
    if mask is not None:
        msg = "masks will come"
        raise NotImplementedError(msg)
    return attention(q, k, v)


def with_lse(q: Any, k: Any, v: Any, *, causal: bool = False) -> Any:
    """It returns the log-sum-exp too."""
    scores = np.einsum("bhtd,bhsd->bhts", q, k) * q.dtype.type(q.shape[-1] ** -0.5)
    scores = np.where(allowed(q, k, 0), scores, -np.inf) if causal else scores
    return right(q, k, v, causal=causal), np.logaddexp.reduce(scores, axis=-1)


def in_bshd(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel in the other layout."""

    def bshd(q: Any, k: Any, v: Any, *, causal: bool = False) -> Any:
        return fn(*(array.swapaxes(1, 2) for array in (q, k, v)), causal=causal).swapaxes(1, 2)

    return bshd
