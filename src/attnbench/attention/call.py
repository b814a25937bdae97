"""A call: one attention problem with its operands, checked against the spec before any kernel sees it.

``Operands`` is what a user gives (NumPy arrays). ``prepare`` checks them and returns the arrays q, k, v (with a cache
in front of k and v) and a ``Call``, whose fields are what an implementation reads. The messages are the same for every
backend, because the check happens here, once: each operand alone in ``attention.checked``, how they fit together in
this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.attention import checked
from attnbench.attention.arrays import Array
from attnbench.attention.needs import needs_of_call
from attnbench.attention.precision import dtype_name, wide
from attnbench.attention.spec import FARTHEST, OUTPUTS, AttentionSpec, Needs
from attnbench.errors import SpecError, not_one_of
from attnbench.keywords import explained

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


@explained
@dataclass(frozen=True)
class Operands:
    """The arrays of one problem, as a user gives them; legend of the shapes in ``attnbench.attention.spec``.

    Mask and bias are of any shape that broadcasts to (B, Hq, Tq, N), where N is the number of all keys: S, or with a
    cache of P keys (``past_k`` and ``past_v``, which come before k and v) P + S. An ``offset`` is one for all batch
    entries or one for each. ``params`` go by name (``spec.SCORE_PARAMS``).
    """

    q: Float[Array, "B Hq Tq D"]
    k: Float[Array, "B Hkv S D"]
    v: Float[Array, "B Hkv S Dv"]
    mask: Bool[Array, " ..."] | None = None
    bias: Float[Array, " ..."] | None = None
    q_lengths: Int[Array, " B"] | None = None
    kv_lengths: Int[Array, " B"] | None = None
    q_segments: Int[Array, "B Tq"] | None = None
    kv_segments: Int[Array, "B N"] | None = None
    offset: int | Int[Array, " B"] | None = None
    sinks: Float[Array, " Hq"] | None = None
    slopes: Float[Array, " Hq"] | None = None
    keep: Bool[Array, "B Hq Tq N"] | None = None
    past_k: Float[Array, "B Hkv P D"] | None = None
    past_v: Float[Array, "B Hkv P Dv"] | None = None
    params: Mapping[str, Float[Array, " ..."]] | None = None

    def arrays(self) -> dict[str, Array]:
        """Every array by its name, parameters as ``params.W``."""
        named = {n: a for n in self.__dataclass_fields__ if isinstance(a := getattr(self, n), np.ndarray)}
        return named | {f"params.{n}": a for n, a in (self.params or {}).items()}


@dataclass(frozen=True)
class Sizes:
    """The sizes of a call; S counts a cache too. ``past`` is the length of that cache."""

    B: int
    Hq: int
    Hkv: int
    Tq: int
    S: int
    D: int
    Dv: int
    past: int = 0

    @property
    def group(self) -> int:
        """Query heads that share a key/value head."""
        return self.Hq // self.Hkv

    @property
    def empty(self) -> bool:
        """Whether there is nothing to attend to, or nobody to attend: decided before any kernel is called."""
        return 0 in (self.B, self.Tq, self.S, self.Dv)

    def as_dict(self) -> dict[str, int]:
        """By name, for limits and rows."""
        return {n: getattr(self, n) for n in ("B", "Hq", "Hkv", "Tq", "S", "D", "Dv")}


@dataclass(frozen=True)
class Call:
    """What an implementation reads besides q, k and v. Arrays are the backend's own; mask and bias have four axes.

    ``scale`` is a float, or (Hq,) where the spec gives one per head (for ``log_n`` the factor besides ln n).
    ``offset`` is the integer that, added to a query's index, gives its position among the keys, or a (B,) array.
    ``wanted`` names the operands whose gradients are wanted, of q, k, v; empty where all are, of every operand.
    """

    spec: AttentionSpec
    sizes: Sizes
    dtype: str
    scale: Any
    offset: Any = 0
    mask: Any = None
    bias: Any = None
    q_lengths: Any = None
    kv_lengths: Any = None
    q_segments: Any = None
    kv_segments: Any = None
    sinks: Any = None
    slopes: Any = None
    keep: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()

    def wants(self, name: str) -> bool:
        """Whether this output was asked for."""
        return name in self.outputs

    @property
    def restricted(self) -> bool:
        """Whether the allowed set can be smaller than all keys for all queries."""
        spec = self.spec
        some = (self.mask, self.bias, self.q_lengths, self.kv_lengths, self.q_segments)
        return spec.causal or spec.window is not None or any(a is not None for a in some)

    def map_arrays(self, convert: Callable[[Any], Any]) -> Call:
        """The same call with every array converted, as an adapter does."""
        changed = {n: convert(a) for n in ARRAY_FIELDS if hasattr(a := getattr(self, n), "dtype")}
        return replace(self, params={n: convert(a) for n, a in self.params.items()}, **changed)

    def arrays(self) -> dict[str, Any]:
        """The array fields that are there, by name; parameters under ``params``."""
        named = {n: a for n in ARRAY_FIELDS if hasattr(a := getattr(self, n), "dtype")}
        return named | ({"params": dict(self.params)} if self.params else {})

    def with_arrays(self, arrays: Mapping[str, Any]) -> Call:
        """The inverse of ``arrays``: the same call with other array fields, as a framework needs that traces them."""
        return replace(self, **arrays)

    def arrays_by_name(self) -> dict[str, Any]:
        """Every array by its name, parameters as ``params.W``."""
        arrays = self.arrays()
        return arrays | {f"params.{name}": array for name, array in arrays.pop("params", {}).items()}

    def with_arrays_by_name(self, arrays: Mapping[str, Any]) -> Call:
        """The inverse of ``arrays_by_name``; what else is in ``arrays`` is not of this call."""
        fields = {name: arrays[name] for name in self.arrays() if name != "params"}
        return self.with_arrays({**fields, "params": {name: arrays[f"params.{name}"] for name in self.params}})

    def needs(self, device: str = "cpu", *, gradients: bool = False) -> Needs:
        """What this call asks of an implementation."""
        return needs_of_call(self, device, gradients=gradients)


ARRAY_FIELDS = (
    "scale", "offset", "mask", "bias", "q_lengths", "kv_lengths", "q_segments", "kv_segments",
    "sinks", "slopes", "keep",
)  # fmt: skip


def prepare(
    spec: AttentionSpec, operands: Operands, outputs: tuple[str, ...] = ()
) -> tuple[Float[Array, "B Hq Tq D"], Float[Array, "B Hkv S D"], Float[Array, "B Hkv S Dv"], Call]:
    """Check ``operands`` against ``spec`` and return contiguous q, k, v with the ``Call``.

    Raises ``SpecError`` for wrong ranks, head counts, lengths, dtypes, and for unused or missing parameters; nothing
    is broadcast, cast or guessed on the way.
    """
    for name in outputs:
        if name not in OUTPUTS:
            raise SpecError(not_one_of("output", name, OUTPUTS))
    q, k, v, sizes = _queries_keys_values(operands)
    segments = checked.segments(operands, sizes)
    call = Call(
        spec=spec,
        sizes=sizes,
        dtype=dtype_name(q.dtype),
        scale=_scale(spec, sizes, dtype_name(q.dtype)),
        offset=_offset(spec, operands, sizes),
        mask=checked.mask(operands.mask, sizes),
        bias=checked.bias(operands.bias, sizes),
        q_lengths=checked.lengths("q_lengths", operands.q_lengths, sizes.B, sizes.Tq),
        kv_lengths=checked.lengths("kv_lengths", operands.kv_lengths, sizes.B, sizes.S),
        q_segments=segments["q_segments"],
        kv_segments=segments["kv_segments"],
        sinks=checked.per_head("sinks", operands.sinks, sizes),
        slopes=checked.per_head("slopes", operands.slopes, sizes),
        keep=checked.keep(spec, operands.keep, sizes),
        params=checked.params(spec, operands.params, sizes),
        outputs=tuple(dict.fromkeys(name for name in outputs if name != "output")),
    )
    return q, k, v, call


def _queries_keys_values(operands: Operands) -> tuple[Array, Array, Array, Sizes]:
    """q, and k and v behind their cache, with the sizes that they agree on."""
    q, k, v = (checked.floating(name, getattr(operands, name), (4,)) for name in "qkv")
    if not q.dtype == k.dtype == v.dtype:
        msg = f"q, k and v have one dtype; got {q.dtype.name}, {k.dtype.name}, {v.dtype.name}"
        raise SpecError(msg)
    k, v, past = _with_past(operands, k, v)
    return q, k, v, _sizes(q, k, v, past)


def _sizes(q: Array, k: Array, v: Array, past: int) -> Sizes:
    (b, hq, tq, d), (hkv, s), dv = q.shape, k.shape[1:3], v.shape[3]
    checked.alike("batch sizes", q=b, k=k.shape[0], v=v.shape[0])
    checked.alike("key and value heads", k=hkv, v=v.shape[1])
    checked.alike("head sizes D of queries and keys", q=d, k=k.shape[3])
    checked.alike("numbers of keys and values", k=s, v=v.shape[2])
    if d == 0:
        msg = "the head size D is 0; dot products need at least one element"
        raise SpecError(msg)
    if hq == 0 or hkv == 0 or hq % hkv:
        msg = f"Hq = {hq} query heads cannot share Hkv = {hkv} key/value heads: Hq must be a multiple of Hkv"
        raise SpecError(msg)
    return Sizes(b, hq, hkv, tq, s, d, dv, past)


def _with_past(operands: Operands, k: Array, v: Array) -> tuple[Array, Array, int]:
    """Keys and values with the cache in front of them, and its length."""
    if operands.past_k is None and operands.past_v is None:
        return k, v, 0
    if operands.past_k is None or operands.past_v is None:
        msg = "past_k and past_v belong together; only one was given"
        raise SpecError(msg)
    past_k, past_v = (checked.floating(name, getattr(operands, name), (4,)) for name in ("past_k", "past_v"))
    for name, past, new in (("past_k", past_k, k), ("past_v", past_v, v)):
        if past.dtype != new.dtype or past.shape[:2] + past.shape[3:] != new.shape[:2] + new.shape[3:]:
            msg = f"{name} {past.dtype.name}{past.shape} does not fit before {new.dtype.name}{new.shape} along S"
            raise SpecError(msg)
    checked.alike("lengths of the cache", past_k=past_k.shape[2], past_v=past_v.shape[2])
    return np.concatenate([past_k, k], 2), np.concatenate([past_v, v], 2), past_k.shape[2]


def _scale(spec: AttentionSpec, sizes: Sizes, dtype: str) -> float | Array:
    """One that is 0 in the dtype of the computation is 0 for everybody; some kernels take such a number for none."""
    if isinstance(spec.scale, float):
        return float(_held(spec.scale, dtype))
    if not isinstance(spec.scale, tuple):
        return spec.scale_factor(sizes.D)
    if len(spec.scale) != sizes.Hq:
        msg = f"scale has {len(spec.scale)} values for Hq = {sizes.Hq} query heads"
        raise SpecError(msg)
    return _held(np.asarray(spec.scale, np.float64), dtype)


def _held(scale: float | Array, dtype: str) -> Array:
    """The scale, in float64, if the dtype in which inputs of ``dtype`` are computed can hold it; else ``SpecError``."""
    with np.errstate(over="ignore", under="ignore"):
        held = np.asarray(scale).astype(wide(dtype))
    if not np.isfinite(held).all():
        largest = float(np.finfo(held.dtype).max)
        msg = f"{dtype} is computed in {wide(dtype)}, which holds a scale up to {largest:.3g}; got {scale!r}"
        raise SpecError(msg)
    return np.where(held == 0, 0.0, scale)


def _offset(spec: AttentionSpec, operands: Operands, sizes: Sizes) -> int | Array:
    """Where the queries stand among the keys: given, behind a cache, or at the corner that the spec names."""
    offset, has_past = operands.offset, operands.past_k is not None
    if offset is not None and spec.align is not None:
        msg = "offset and align both say where the queries stand among the keys; give one"
        raise SpecError(msg)
    if has_past and (offset is not None or spec.align is not None):
        msg = "with a cache the offset is the length of the past; give neither offset nor align"
        raise SpecError(msg)
    if has_past:
        return sizes.past
    if offset is not None:
        return _given_offset(offset, sizes)
    positions_matter = spec.causal or spec.window is not None or operands.slopes is not None
    return _corner(spec, operands, sizes) if positions_matter else 0


def _given_offset(offset: Any, sizes: Sizes) -> int | Array:
    number = isinstance(offset, (int, np.integer)) and not isinstance(offset, bool)
    if not number and not (isinstance(offset, np.ndarray) and offset.shape == (sizes.B,) and offset.dtype.kind in "iu"):
        msg = f"offset is an integer or an integer array of shape (B,) = ({sizes.B},); got {offset!r}"
        raise SpecError(msg)
    values = [int(offset)] if number else [int(value) for value in offset]
    if any(abs(value) > FARTHEST for value in values):
        msg = f"offset stands between -2**30 and 2**30; got {offset!r}"
        raise SpecError(msg)
    return values[0] if number else np.array(values, np.int32)


def _corner(spec: AttentionSpec, operands: Operands, sizes: Sizes) -> int | Array:
    """Top left: the first query stands at the first key. Bottom right: the last query stands at the last key."""
    if spec.align == "bottom_right":
        return _bottom_right(operands, sizes)
    if spec.align is None and sizes.Tq != sizes.S:
        msg = (
            f"Tq = {sizes.Tq} queries among S = {sizes.S} keys: positions matter here, so say where they stand: "
            'align="top_left" or align="bottom_right" in the spec, or offset='
        )
        raise SpecError(msg)
    return 0


def _bottom_right(operands: Operands, sizes: Sizes) -> int | Array:
    if operands.q_lengths is None and operands.kv_lengths is None:
        return sizes.S - sizes.Tq
    queries = checked.lengths("q_lengths", operands.q_lengths, sizes.B, sizes.Tq)
    keys = checked.lengths("kv_lengths", operands.kv_lengths, sizes.B, sizes.S)
    last_query = np.full(sizes.B, sizes.Tq, np.int32) if queries is None else queries
    last_key = np.full(sizes.B, sizes.S, np.int32) if keys is None else keys
    return (last_key - last_query).astype(np.int32)


@explained
def from_padding(padding: Bool[Array, "B S"]) -> Bool[Array, "B 1 1 S"]:
    """A mask from the other polarity: ``padding`` is True where a key is padding and must not be attended.

    In what is returned True attends, as ``mask=`` wants it (PyTorch's ``key_padding_mask`` has the polarity of
    ``padding``).
    """
    plain = checked.plain("padding", padding, (2,))
    if plain.dtype != np.bool_:
        msg = f"padding is bool (True is padding) of shape (B, S), got dtype {plain.dtype.name}"
        raise SpecError(msg)
    return np.asarray(~plain[:, None, None, :])
