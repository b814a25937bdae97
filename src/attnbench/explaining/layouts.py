"""Layouts: arrays as their library has them, brought into the logical order (B, H, T, D) of the spec and back.

``bhsd`` is that order; ``bshd`` is (B, S, H, D); ``packed`` is (B, S, H·D), which needs the numbers of heads;
``varlen`` is (total, H, D), sequences one behind the other, which needs cumulative lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from attnbench.attention import layouts
from attnbench.attention.arrays import Array
from attnbench.errors import SpecError, UsageError, not_one_of

LAYOUTS = ("bhsd", "bshd", "packed", "varlen")
OF_QUERIES = ("q", "out", "other", "d_output", "dq")  # the rest has a row for each key
SIDED = (*OF_QUERIES, "k", "v", "past_k", "past_v", "dk", "dv", "dpast_k", "dpast_v")


@dataclass(frozen=True)
class Arranged:
    """How arrays lie. ``heads`` and ``kv_heads`` are those of ``packed``, ``cu_q`` and ``cu_k`` those of ``varlen``."""

    name: str = "bhsd"
    heads: int | None = None
    kv_heads: int | None = None
    cu_q: Any = None
    cu_k: Any = None

    def __post_init__(self) -> None:
        if self.name not in LAYOUTS:
            raise UsageError(not_one_of("layout", self.name, LAYOUTS))
        if (self.name == "packed") != (self.heads is not None):
            _fail(self.name, "packed", "--heads N, the number of query heads (and --kv-heads, where k has fewer)")
        if self.kv_heads is not None and self.heads is None:
            _fail(self.name, "packed", "--kv-heads")
        if (self.name == "varlen") != (self.cu_q is not None):
            _fail(self.name, "varlen", "--cu-seqlens FILE, the cumulative lengths from 0 to the number of rows")
        if self.cu_k is not None and self.cu_q is None:
            _fail(self.name, "varlen", "--cu-seqlens-k")

    def logical(self, name: str, array: Any) -> Any:
        """An array by its name in (B, H, T, D); one that is no side of q, k or v as it is."""
        if name not in SIDED or self.name == "bhsd":
            return self._lse(name, array) if name in ("lse", "d_lse") else array
        rows = name in OF_QUERIES
        try:
            if self.name == "bshd":
                return layouts.from_bthd(array)
            if self.name == "packed":
                heads = self.heads if rows else self.kv_heads or self.heads
                return layouts.from_packed(array, heads or 0)
            return layouts.pad(name, array, self.cu_q if rows or self.cu_k is None else self.cu_k)
        except SpecError as error:
            msg = f"{name}: {error}"
            raise SpecError(msg) from None

    def _lse(self, name: str, array: Any) -> Any:
        """Lse of varlen kernels is (Hq, total); elsewhere it is (B, Hq, Tq)."""
        if self.name != "varlen":
            return array
        if getattr(array, "ndim", 0) != 2:  # noqa: PLR2004  (heads and rows)
            msg = f"varlen: {name} is (Hq, total); got shape {getattr(array, 'shape', None)}"
            raise SpecError(msg)
        padded = layouts.pad(name, np.ascontiguousarray(array.T)[:, :, None], self.cu_q)[..., 0]
        lengths = np.diff(self.cu_q)
        behind = np.arange(padded.shape[2]) >= lengths[:, None, None]
        return np.where(behind, np.asarray(-np.inf if name == "lse" else 0, padded.dtype), padded)

    def lengths(self) -> dict[str, Array]:
        """What a varlen layout says of lengths, as operands."""
        if self.name != "varlen":
            return {}
        cu_k = self.cu_q if self.cu_k is None else self.cu_k
        given = {"q_lengths": self.cu_q, "kv_lengths": cu_k}
        if len(self.cu_q) != len(cu_k):
            msg = f"varlen: cu_seqlens and cu_seqlens_k tell of {len(self.cu_q) - 1} and {len(cu_k) - 1} sequences"
            raise SpecError(msg)
        return {name: np.diff(ends).astype(np.int32) for name, ends in given.items()}


def arranged(name: str, heads: int | None, kv_heads: int | None, cu_q: Any, cu_k: Any) -> Arranged:
    """A layout, with cumulative lengths that are checked."""
    ends = {"--cu-seqlens": cu_q, "--cu-seqlens-k": cu_k}
    checked = [
        None if array is None else layouts.checked_cumulative(option, array, None) for option, array in ends.items()
    ]
    return Arranged(name, heads, kv_heads, *checked)


def _fail(given: str, layout: str, option: str) -> NoReturn:
    if given == layout:
        msg = f"--layout {layout} needs {option}"
    else:
        msg = f"{option.split(',', maxsplit=1)[0]} goes with --layout {layout}; the layout is {given}"
    raise UsageError(msg)
