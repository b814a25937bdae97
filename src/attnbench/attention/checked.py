"""One operand of a call at a time, checked against the sizes of the call: its type, dtype, shape and range.

Nothing is broadcast, cast or guessed: what comes back has the values that were given, contiguous and in this machine's
byte order. Every function raises ``SpecError`` for an operand that is not right. Where an operand may be left out,
``None`` comes back for ``None``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.precision import DTYPES
from attnbench.attention.spec import SCORE_PARAMS, AttentionSpec
from attnbench.errors import SpecError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from attnbench.attention.call import Operands, Sizes

ANY_RANK = (0, 1, 2, 3, 4)


def _fail(message: str) -> NoReturn:
    raise SpecError(message)


def plain(name: str, array: Any, ranks: tuple[int, ...]) -> Array:
    """A NumPy array of one of these ranks and of any dtype, contiguous."""
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        _fail(f"{name} is a NumPy array, got {type(array).__name__}")
    if array.ndim not in ranks:
        wanted = " or ".join(map(str, ranks))
        _fail(f"{name} has {wanted} axes, got shape {array.shape}")
    if not array.dtype.isnative:
        _fail(f"{name} has foreign byte order ({array.dtype.str}); convert it with .astype({array.dtype.name!r})")
    return np.require(array, requirements=["C", "A"])


def floating(name: str, array: Any, ranks: tuple[int, ...]) -> Float[Array, " ..."]:
    """The same in one of the dtypes that attention is defined for."""
    checked = plain(name, array, ranks)
    if checked.dtype.name not in DTYPES:
        _fail(f"{name} has dtype {checked.dtype.name}; it is float64, float32, bfloat16 or float16")
    return checked


def alike(what: str, **values: int) -> None:
    """The same number under every name."""
    if len(set(values.values())) > 1:
        _fail(f"{what} differ: " + ", ".join(f"{name} has {value}" for name, value in values.items()))


def mask(array: Any, sizes: Sizes) -> Bool[Array, "#B #Hq #Tq #S"] | None:
    """Which keys are allowed, with four axes."""
    if array is None:
        return None
    checked = plain("mask", array, ANY_RANK)
    if checked.dtype != np.bool_:
        _fail(f"mask is bool (True attends), got dtype {checked.dtype.name}; float values to add are bias=")
    return _four_axes("mask", checked, sizes)


def bias(array: Any, sizes: Sizes) -> Float[Array, "#B #Hq #Tq #S"] | None:
    """What is added to the scores, with four axes."""
    return None if array is None else _four_axes("bias", floating("bias", array, ANY_RANK), sizes)


def _four_axes(name: str, array: Array, sizes: Sizes) -> Array:
    full = (sizes.B, sizes.Hq, sizes.Tq, sizes.S)
    shape = (1,) * (4 - array.ndim) + array.shape
    if any(n not in (1, whole) for n, whole in zip(shape, full, strict=True)):
        _fail(f"{name} {array.shape} does not broadcast to (B, Hq, Tq, S) = {full}")
    return array.reshape(shape)


def lengths(name: str, array: Any, batch: int, longest: int) -> Int[Array, " B"] | None:
    """How many queries or keys each batch entry has, as int32."""
    if array is None:
        return None
    if not isinstance(array, np.ndarray) or array.shape != (batch,) or array.dtype.kind not in "iu":
        _fail(f"{name} is an integer array of shape (B,) = ({batch},); got {array!r}")
    if batch and (int(array.min()) < 0 or int(array.max()) > longest):
        _fail(f"{name} stand between 0 and {longest}; got {array.tolist()}")
    return np.ascontiguousarray(array, np.int32)


def segments(operands: Operands, sizes: Sizes) -> dict[str, Int[Array, "B n"] | None]:
    """The ids of the segments of queries and keys by name, as int32: both are there, or neither is."""
    given = {"q_segments": operands.q_segments, "kv_segments": operands.kv_segments}
    if all(array is None for array in given.values()):
        return dict(given)
    shapes = {"q_segments": (sizes.B, sizes.Tq), "kv_segments": (sizes.B, sizes.S)}
    return {name: _ids(name, array, shapes[name]) for name, array in given.items()}


def _ids(name: str, array: Any, shape: tuple[int, int]) -> Array:
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype.kind not in "iu":
        _fail(f"{name} is an integer array of shape {shape}, given together with the other one; got {array!r}")
    if array.size and not -(2**31) <= int(array.min()) <= int(array.max()) < 2**31:
        _fail(f"{name} holds ids that do not fit 32 bits, from {array.min()} to {array.max()}; number them anew")
    return np.ascontiguousarray(array, np.int32)


def per_head(name: str, array: Any, sizes: Sizes) -> Float[Array, " Hq"] | None:
    """A number for each query head."""
    if array is None:
        return None
    checked = floating(name, array, (1,))
    if checked.shape != (sizes.Hq,):
        _fail(f"{name} has one value for each of Hq = {sizes.Hq} query heads; got shape {checked.shape}")
    return checked


def keep(spec: AttentionSpec, array: Any, sizes: Sizes) -> Bool[Array, "B Hq Tq S"] | None:
    """Which weights dropout keeps: there where the spec has dropout, and only there."""
    if (array is None) != (spec.dropout == 0):
        _fail(
            f"dropout = {spec.dropout:g} and keep {'is missing' if array is None else 'was given'}: dropout > 0 comes "
            "with keep=, a bool array (B, Hq, Tq, S) in which True keeps, and only then"
        )
    if array is None:
        return None
    checked = plain("keep", array, (4,))
    full = (sizes.B, sizes.Hq, sizes.Tq, sizes.S)
    if checked.dtype != np.bool_ or checked.shape != full:
        _fail(f"keep is bool (True keeps) of shape (B, Hq, Tq, S) = {full}; got {checked.dtype.name}{checked.shape}")
    return checked


def params(spec: AttentionSpec, given: Mapping[str, Any] | None, sizes: Sizes) -> dict[str, Float[Array, " ..."]]:
    """The parameters of a learned score by name: all that it has, and no others."""
    given, wanted = dict(given or {}), SCORE_PARAMS[spec.score]
    if set(given) != set(wanted):
        needs = f"needs params {', '.join(wanted)}" if wanted else "takes no params"
        _fail(f"score {spec.score!r} {needs}; got {', '.join(sorted(given)) or 'none'}. See attnbench.default_params")
    checked = {name: floating(f"params.{name}", given[name], (1, 2, 3)) for name in wanted}
    shapes = param_shapes(spec.score, sizes.D, _hidden(spec.score, checked))
    for name, array in checked.items():
        if array.shape[0] not in (1, sizes.Hq) or array.shape[1:] != shapes[name]:
            expected = ", ".join(map(str, (f"{sizes.Hq} or 1", *shapes[name])))
            _fail(f"params.{name} of score {spec.score!r} has shape ({expected}); got {array.shape}")
    return checked


def _hidden(score: str, checked: Mapping[str, Array]) -> int:
    """Da, the hidden size of a learned score; 0 where there is none."""
    return int(checked["v"].shape[-1]) if score in ("additive", "concat") else 0


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
