"""A call: one attention problem with its operands, checked against the spec before any kernel sees it.

``Operands`` is what a user gives (NumPy arrays). ``prepare`` checks them and returns the arrays q, k, v (a cache
already standing before k and v) with a ``Call``, whose fields are what an implementation reads. The messages are the
same for every backend, because the check happens here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.needs import needs_of_call
from attnbench.attention.precision import dtype_name
from attnbench.attention.spec import FARTHEST, OUTPUTS, SCORE_PARAMS, AttentionSpec, Needs
from attnbench.errors import SpecError, not_one_of


@dataclass(frozen=True)
class Operands:
    """The arrays of one problem, as a user gives them; legend of the shapes in ``attnbench.attention.spec``.

    q (B, Hq, Tq, D); k (B, Hkv, S, D); v (B, Hkv, S, Dv); mask bool and bias float, broadcastable to
    (B, Hq, Tq, S); q_lengths, kv_lengths (B,) integers; q_segments (B, Tq), kv_segments (B, S) integers; offset an
    integer or (B,) integers; sinks, slopes (Hq,); past_k, past_v (B, Hkv, P, D or Dv); keep bool
    (B, Hq, Tq, S); params by name (``spec.SCORE_PARAMS``).
    """

    q: Array
    k: Array
    v: Array
    mask: Array | None = None
    bias: Array | None = None
    q_lengths: Array | None = None
    kv_lengths: Array | None = None
    q_segments: Array | None = None
    kv_segments: Array | None = None
    offset: int | Array | None = None
    sinks: Array | None = None
    slopes: Array | None = None
    keep: Array | None = None
    past_k: Array | None = None
    past_v: Array | None = None
    params: Mapping[str, Array] | None = None

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
        """The inverse of ``arrays``: the same call with these array fields (as jit needs)."""
        return replace(self, **arrays)

    def needs(self, device: str = "cpu", *, gradients: bool = False) -> Needs:
        """What this call asks of an implementation."""
        return needs_of_call(self, device, gradients=gradients)


ARRAY_FIELDS = (
    "scale", "offset", "mask", "bias", "q_lengths", "kv_lengths", "q_segments", "kv_segments",
    "sinks", "slopes", "keep",
)  # fmt: skip


def _fail(message: str) -> NoReturn:
    raise SpecError(message)


def prepare(spec: AttentionSpec, operands: Operands, outputs: tuple[str, ...] = ()) -> tuple[Array, Array, Array, Call]:
    """Check ``operands`` against ``spec`` and return contiguous q, k, v with the ``Call``.

    Raises ``SpecError`` for wrong ranks, head counts, lengths, dtypes, and for unused or missing parameters; nothing
    is broadcast, cast or guessed on the way.
    """
    for name in outputs:
        if name not in OUTPUTS:
            _fail(not_one_of("output", name, OUTPUTS))
    q, k, v, sizes = _checked_qkv(operands)
    segments = _segments(operands, sizes)
    call = Call(
        spec=spec,
        sizes=sizes,
        dtype=dtype_name(q.dtype),
        scale=_scale(spec, sizes),
        offset=_offset(spec, operands, sizes),
        mask=_scores_like("mask", operands.mask, sizes, kind="b"),
        bias=_scores_like("bias", operands.bias, sizes, kind="f"),
        q_lengths=_lengths("q_lengths", operands.q_lengths, sizes.B, sizes.Tq),
        kv_lengths=_lengths("kv_lengths", operands.kv_lengths, sizes.B, sizes.S),
        q_segments=segments["q_segments"],
        kv_segments=segments["kv_segments"],
        sinks=_per_head("sinks", operands.sinks, sizes),
        slopes=_per_head("slopes", operands.slopes, sizes),
        keep=_keep(spec, operands.keep, sizes),
        params=_params(spec, operands.params, sizes),
        outputs=tuple(dict.fromkeys(o for o in outputs if o != "output")),
    )
    return q, k, v, call


def _plain(name: str, array: Any, ranks: tuple[int, ...]) -> Array:
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        _fail(f"{name} is a NumPy array, got {type(array).__name__}")
    if array.ndim not in ranks:
        wanted = " or ".join(map(str, ranks))
        _fail(f"{name} has {wanted} axes, got shape {array.shape}")
    if not array.dtype.isnative:
        _fail(f"{name} has foreign byte order ({array.dtype.str}); convert it with .astype({array.dtype.name!r})")
    return np.require(array, requirements=["C", "A"])


def _float(name: str, array: Any, ranks: tuple[int, ...]) -> Array:
    plain = _plain(name, array, ranks)
    if plain.dtype.name not in ("float64", "float32", "bfloat16", "float16"):
        _fail(f"{name} has dtype {plain.dtype.name}; it is float64, float32, bfloat16 or float16")
    return plain


def _checked_qkv(operands: Operands) -> tuple[Array, Array, Array, Sizes]:
    q, k, v = (_float(name, getattr(operands, name), (4,)) for name in "qkv")
    if not q.dtype == k.dtype == v.dtype:
        _fail(f"q, k and v have one dtype; got {q.dtype.name}, {k.dtype.name}, {v.dtype.name}")
    k, v, past = _with_past(operands, k, v)
    b, hq, tq, d = q.shape
    _same("batch sizes", q=b, k=k.shape[0], v=v.shape[0])
    _same("key and value heads", k=k.shape[1], v=v.shape[1])
    _same("head sizes D of queries and keys", q=d, k=k.shape[3])
    _same("numbers of keys and values", k=k.shape[2], v=v.shape[2])
    if d == 0:
        _fail("the head size D is 0; dot products need at least one element")
    hkv = k.shape[1]
    if hq == 0 or hkv == 0 or hq % hkv:
        _fail(f"Hq = {hq} query heads cannot share Hkv = {hkv} key/value heads: Hq must be a multiple of Hkv")
    return q, k, v, Sizes(b, hq, hkv, tq, k.shape[2], d, v.shape[3], past)


def _same(what: str, **values: int) -> None:
    if len(set(values.values())) > 1:
        _fail(f"{what} differ: " + ", ".join(f"{name} has {value}" for name, value in values.items()))


def _with_past(operands: Operands, k: Array, v: Array) -> tuple[Array, Array, int]:
    if operands.past_k is None and operands.past_v is None:
        return k, v, 0
    if operands.past_k is None or operands.past_v is None:
        _fail("past_k and past_v belong together; only one was given")
    past_k, past_v = _float("past_k", operands.past_k, (4,)), _float("past_v", operands.past_v, (4,))
    for name, past, new in (("past_k", past_k, k), ("past_v", past_v, v)):
        if past.dtype != new.dtype or past.shape[:2] + past.shape[3:] != new.shape[:2] + new.shape[3:]:
            _fail(f"{name} {past.dtype.name}{past.shape} does not fit before {new.dtype.name}{new.shape} along S")
    _same("lengths of the cache", past_k=past_k.shape[2], past_v=past_v.shape[2])
    return np.concatenate([past_k, k], 2), np.concatenate([past_v, v], 2), past_k.shape[2]


def _scale(spec: AttentionSpec, sizes: Sizes) -> float | Array:
    if not isinstance(spec.scale, tuple):
        return spec.scale_factor(sizes.D)
    if len(spec.scale) != sizes.Hq:
        _fail(f"scale has {len(spec.scale)} values for Hq = {sizes.Hq} query heads")
    return np.asarray(spec.scale, np.float64)


def _offset(spec: AttentionSpec, operands: Operands, sizes: Sizes) -> int | Array:
    positions_matter = spec.causal or spec.window is not None or operands.slopes is not None
    has_past = operands.past_k is not None
    offset = operands.offset
    if offset is not None and spec.align is not None:
        _fail("offset and align both say where the queries stand among the keys; give one")
    if has_past and (offset is not None or spec.align is not None):
        _fail("with a cache the offset is the length of the past; give neither offset nor align")
    if has_past:
        return sizes.past
    if offset is not None:
        return _checked_offset(offset, sizes)
    if spec.align == "bottom_right" and positions_matter:
        return _bottom_right(operands, sizes)
    if spec.align is None and positions_matter and sizes.Tq != sizes.S:
        _fail(
            f"Tq = {sizes.Tq} queries among S = {sizes.S} keys: positions matter here, so say where they stand: "
            'align="top_left" or align="bottom_right" in the spec, or offset='
        )
    return 0


def _checked_offset(offset: Any, sizes: Sizes) -> int | Array:
    number = isinstance(offset, (int, np.integer)) and not isinstance(offset, bool)
    if not number and not (isinstance(offset, np.ndarray) and offset.shape == (sizes.B,) and offset.dtype.kind in "iu"):
        _fail(f"offset is an integer or an integer array of shape (B,) = ({sizes.B},); got {offset!r}")
    values = [int(offset)] if number else [int(value) for value in offset]
    if any(abs(value) > FARTHEST for value in values):
        _fail(f"offset stands between -2**30 and 2**30; got {offset!r}")
    return values[0] if number else np.array(values, np.int32)


def _bottom_right(operands: Operands, sizes: Sizes) -> int | Array:
    if operands.q_lengths is None and operands.kv_lengths is None:
        return sizes.S - sizes.Tq
    queries = _lengths("q_lengths", operands.q_lengths, sizes.B, sizes.Tq)
    keys = _lengths("kv_lengths", operands.kv_lengths, sizes.B, sizes.S)
    last_query = np.full(sizes.B, sizes.Tq, np.int32) if queries is None else queries
    last_key = np.full(sizes.B, sizes.S, np.int32) if keys is None else keys
    return (last_key - last_query).astype(np.int32)


def _scores_like(name: str, array: Any, sizes: Sizes, kind: str) -> Array | None:
    if array is None:
        return None
    plain = _plain(name, array, (0, 1, 2, 3, 4)) if kind == "b" else _float(name, array, (0, 1, 2, 3, 4))
    if kind == "b" and plain.dtype != np.bool_:
        _fail(f"mask is bool (True attends), got dtype {plain.dtype.name}; float values to add are bias=")
    full = (sizes.B, sizes.Hq, sizes.Tq, sizes.S)
    shape = (1,) * (4 - plain.ndim) + plain.shape
    if any(n not in (1, whole) for n, whole in zip(shape, full, strict=True)):
        _fail(f"{name} {plain.shape} does not broadcast to (B, Hq, Tq, S) = {full}")
    return plain.reshape(shape)


def _lengths(name: str, array: Any, batch: int, longest: int) -> Array | None:
    if array is None:
        return None
    if not isinstance(array, np.ndarray) or array.shape != (batch,) or array.dtype.kind not in "iu":
        _fail(f"{name} is an integer array of shape (B,) = ({batch},); got {array!r}")
    if batch and (int(array.min()) < 0 or int(array.max()) > longest):
        _fail(f"{name} stand between 0 and {longest}; got {array.tolist()}")
    return np.ascontiguousarray(array, np.int32)


def _segments(operands: Operands, sizes: Sizes) -> dict[str, Array | None]:
    given = {"q_segments": operands.q_segments, "kv_segments": operands.kv_segments}
    if all(a is None for a in given.values()):
        return dict(given)
    checked: dict[str, Array | None] = {}
    for (name, array), length in zip(given.items(), (sizes.Tq, sizes.S), strict=True):
        shape = (sizes.B, length)
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype.kind not in "iu":
            _fail(f"{name} is an integer array of shape {shape}, given together with the other one; got {array!r}")
        if array.size and not -(2**31) <= int(array.min()) <= int(array.max()) < 2**31:
            _fail(f"{name} holds ids that do not fit 32 bits, from {array.min()} to {array.max()}; number them anew")
        checked[name] = np.ascontiguousarray(array, np.int32)
    return checked


def _per_head(name: str, array: Any, sizes: Sizes) -> Array | None:
    if array is None:
        return None
    plain = _float(name, array, (1,))
    if plain.shape != (sizes.Hq,):
        _fail(f"{name} has one value for each of Hq = {sizes.Hq} query heads; got shape {plain.shape}")
    return plain


def _keep(spec: AttentionSpec, keep: Any, sizes: Sizes) -> Array | None:
    if (keep is None) != (spec.dropout == 0):
        _fail(
            f"dropout = {spec.dropout:g} and keep {'is missing' if keep is None else 'was given'}: dropout > 0 comes "
            "with keep=, a bool array (B, Hq, Tq, S) in which True keeps, and only then"
        )
    if keep is None:
        return None
    plain = _plain("keep", keep, (4,))
    full = (sizes.B, sizes.Hq, sizes.Tq, sizes.S)
    if plain.dtype != np.bool_ or plain.shape != full:
        _fail(f"keep is bool (True keeps) of shape (B, Hq, Tq, S) = {full}; got {plain.dtype.name}{plain.shape}")
    return plain


def _params(spec: AttentionSpec, params: Mapping[str, Any] | None, sizes: Sizes) -> dict[str, Array]:
    given, wanted = dict(params or {}), SCORE_PARAMS[spec.score]
    if set(given) != set(wanted):
        needs = f"needs params {', '.join(wanted)}" if wanted else "takes no params"
        _fail(f"score {spec.score!r} {needs}; got {', '.join(sorted(given)) or 'none'}. See attnbench.default_params")
    checked = {name: _float(f"params.{name}", given[name], (1, 2, 3)) for name in wanted}
    shapes = param_shapes(spec.score, sizes.D, _hidden(spec.score, checked))
    for name, array in checked.items():
        if array.shape[0] not in (1, sizes.Hq) or array.shape[1:] != shapes[name]:
            expected = ", ".join(map(str, (f"{sizes.Hq} or 1", *shapes[name])))
            _fail(f"params.{name} of score {spec.score!r} has shape ({expected}); got {array.shape}")
    return checked


def _hidden(score: str, params: Mapping[str, Array]) -> int:
    if score not in ("additive", "concat"):
        return 0
    return int(params["v"].shape[-1])


def from_padding(padding: Array) -> Array:
    """A mask from the other polarity: ``padding`` (B, S) is True where a key is padding and must not be attended.

    Returns a bool (B, 1, 1, S) in which True attends, as ``mask=`` wants it (PyTorch's ``key_padding_mask`` has the
    polarity of ``padding``).
    """
    plain = _plain("padding", padding, (2,))
    if plain.dtype != np.bool_:
        _fail(f"padding is bool (True is padding) of shape (B, S), got dtype {plain.dtype.name}")
    return np.asarray(~plain[:, None, None, :])


def param_shapes(score: str, d: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a score's parameters without the leading head axis (Hq or 1)."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {
        "dot": {},
        "general": {"W": (d, d)},
        "additive": {"Wq": (d, hidden), "Wk": (d, hidden), "b": (hidden,), "v": (hidden,)},
        "concat": {"W": (2 * d, hidden), "v": (hidden,)},
        "cosine": {"temperature": ()},
    }
    return shapes[score]
