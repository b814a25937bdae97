"""A block of heads as its tiles read it: widened, projected, and transposed where products are faster so.

A block is made ready by the first thread that takes a piece of it, and forgotten with its last piece, so that only the
blocks that are being worked at are in memory twice.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from attnbench.api import Array, Call
from attnbench.impls.numpy_backend.tile_scores import Projected, project

from . import cosine, crew
from .edges import allowed_tile, reach
from .layout import Heads, key_tiles

if TYPE_CHECKING:
    from jaxtyping import Float

Made = TypeVar("Made")

LOG2_E = math.log2(math.e)


def wide_type(call: Call) -> Any:
    """What is computed in: float64 for float64, else float32."""
    return np.float64 if call.dtype == "float64" else np.float32


def _fast_exp2() -> bool:
    """Whether NumPy has exp2 in vector instructions here: it is then about twice as fast as exp, and more exact."""
    try:
        compiled = np.lib.introspect.opt_func_info(func_name="^exp2$", signature="float32")["exp2"]
        return not next(iter(compiled.values()))["current"].startswith("baseline")
    except (AttributeError, KeyError, StopIteration):  # an older NumPy does not tell
        return False


# exp(x) is POWER(x · FACTOR); the factor is multiplied into the queries.
POWER, FACTOR = (np.exp2, LOG2_E) if _fast_exp2() else (np.exp, 1.0)


def widened(array: Float[Array, ...], dtype: Any) -> Float[Array, ...]:
    """In the wide dtype, in one piece of memory; the array itself where it is so already."""
    return np.ascontiguousarray(array, dtype)


class BlockOperands:
    """q, k, v of a block of heads, and what has been made of them."""

    def __init__(self, call: Call, heads: Heads, q: Array, k: Array, v: Array) -> None:
        self.call, self.heads, self.dtype = call, heads, wide_type(call)
        self._given = q, k, v
        self._lock = threading.RLock()
        self._made: dict[str, Any] = {}
        self._space: crew.Space | None = None

    def _once(self, name: str, make: Callable[[], Made]) -> Made:
        """What ``make`` makes, when it is needed first."""
        if name not in self._made:
            with self._lock:
                if name not in self._made:
                    self._made[name] = make()
        made: Made = self._made[name]
        return made

    @property
    def count(self) -> int:
        """Key/value heads in the block."""
        return self.heads.g1 - self.heads.g0

    @property
    def q(self) -> Float[Array, "heads Tq D"]:
        """The queries as they were given."""
        queries: Array = self._given[0][self.heads.b, self.heads.queries]
        return queries

    @property
    def raw_k(self) -> Float[Array, "G S D"]:
        """The keys in the wide dtype, before any projection."""
        return self._once(
            "raw_k", lambda: widened(self._given[1][self.heads.b, self.heads.g0 : self.heads.g1], self.dtype)
        )

    @property
    def v(self) -> Float[Array, "G S Dv"]:
        """The values in the wide dtype."""
        return self._once("v", lambda: widened(self._given[2][self.heads.b, self.heads.g0 : self.heads.g1], self.dtype))

    @property
    def k(self) -> Float[Array, "G S D"]:
        """The keys as they meet queries in a product."""
        if self.call.spec.score != "cosine":
            return self.raw_k
        return self._once("unit_k", lambda: cosine.unit(self.raw_k)[0])

    @property
    def query(self) -> Float[Array, "heads Tq D"]:
        """The queries as they meet keys in a product, not scaled; those of a dot product as they were given."""
        if self.call.spec.score == "dot":
            return self.q
        return self._once("query", self._projected_queries)

    def _projected_queries(self) -> Array:
        wide = widened(self.q, self.dtype)
        if self.call.spec.score == "cosine":
            return cosine.unit(wide)[0] * cosine.temperatures(self.call, self.heads.queries, self.dtype)
        none = self.raw_k[0]  # the general score leaves keys as they are
        return np.stack([project(wide[at], none, self.call, h).query for at, h in enumerate(self._heads())])

    def _heads(self) -> range:
        return range(self.heads.h0, self.heads.h1)

    @property
    def learned(self) -> list[Projected]:
        """What a score that is no product makes of each query head."""
        return self._once("learned", self._learned)

    def _learned(self) -> list[Projected]:
        group = self.heads.group
        wide = widened(self.q, self.dtype)
        return [project(wide[at], self.raw_k[at // group], self.call, h) for at, h in enumerate(self._heads())]

    @property
    def k_and_one(self) -> Float[Array, "G S n"]:
        """The keys, each with a 1 behind it: with it a product subtracts a number of each row."""
        return self._once("k_and_one", lambda: with_one(self.k))

    def keys_across(self, width: int) -> Float[Array, "G tiles n width"]:
        """The keys and the 1 behind each in columns, ``width`` of them in one piece of memory."""
        return self._once("keys_across", lambda: self._across(width))

    def _across(self, width: int) -> Array:
        """What lies behind the last key is arbitrary."""
        count, length, d = self.k.shape
        columns = self._memory("keys_across", (count, -(-length // width), d + 1, width))
        columns[:, :, d] = 1
        for at in range(0, length, width):
            some = self.k[:, at : at + width]
            columns[:, at // width, :d, : some.shape[1]] = some.mT
        return columns

    def _memory(self, name: str, shape: tuple[int, ...]) -> Array:
        if self._space is None:
            self._space = crew.take()
        return self._space.array(name, shape, self.dtype)

    def forget(self) -> None:
        """Nobody reads it any more: its memory is for the next block."""
        self._made.clear()
        if self._space is not None:
            crew.keep(self._space)
            self._space = None

    @property
    def v_and_one(self) -> Float[Array, "G S n"]:
        """The values likewise."""
        return self._once("v_and_one", lambda: with_one(self.v))

    def scale(self, rows: slice) -> Float[Array, ...] | float:
        """The factor on scores: a number, or in axes (G, group, rows or 1, 1)."""
        call = self.call
        scale: Array | float = call.scale
        if not isinstance(scale, float):
            scale = np.reshape(scale[self.heads.queries], (self.count, self.heads.group, 1, 1))
        if call.spec.scale != "log_n":
            return scale
        counts = np.maximum(self._once("counts", self._counts), 2)
        return np.asarray(scale * np.log(counts[:, :, rows]))

    def _counts(self) -> Array:
        """How many keys each row may attend, in axes (G or 1, group or 1, Tq, 1)."""
        call, step = self.call, 256
        heads_shape = (self.count, self.heads.group)
        counts = np.zeros((*heads_shape, call.sizes.Tq, 1))
        for first in range(0, call.sizes.Tq, step):
            rows = slice(first, min(first + step, call.sizes.Tq))
            for keys in key_tiles(*reach(call, self.heads.b, rows.start, rows.stop), 1024):
                allowed = allowed_tile(call, self.heads, rows, keys)
                width = keys.stop - keys.start
                if allowed is None:
                    counts[:, :, rows] += width
                elif allowed.shape[-1] == 1:
                    counts[:, :, rows] += allowed * width
                else:
                    counts[:, :, rows] += allowed.sum(-1, keepdims=True)
        return counts


def with_one(array: Float[Array, "G S D"]) -> Float[Array, "G S n"]:
    """Each row with a 1 behind it."""
    longer = np.empty((*array.shape[:2], array.shape[2] + 1), array.dtype)
    longer[..., :-1] = array
    longer[..., -1] = 1
    return longer
