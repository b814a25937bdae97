"""What is asked: the arrays of one call as they were given, checked, and in the order and the words of the spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from attnbench.agree.judge.array import dtype_text
from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands, prepare
from attnbench.attention.precision import DTYPES, numpy_dtype, wide
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.answers import gradient_names
from attnbench.backends.bind import Inputs
from attnbench.errors import SpecError, UsageError, not_one_of, suggest
from attnbench.explaining.layouts import Arranged

# How an output of each layout lies, and how one does that has two axes of the logical order exchanged.
LIES = {"bhsd": "(B, H, S, D)", "bshd": "(B, S, H, D)", "packed": "(B, S, H·D)", "varlen": "(total, H, D)"}
TURNED = {
    (0, 2, 1, 3): {"bhsd": "(B, S, H, D)", "bshd": "(B, H, S, D)"},
    (0, 1, 3, 2): {"bhsd": "(B, H, D, S)", "bshd": "(B, D, H, S)", "packed": "(B, D, H·S)"},
}
CAST = ("q", "k", "v", "past_k", "past_v", "out", "other", "d_output", "dq", "dk", "dv", "dpast_k", "dpast_v")
LSES = ("lse", "d_lse")


@dataclass(frozen=True)
class Given:
    """Arrays as a user has them: operands by their names, and what came out of the kernel.

    ``grads`` go by the names of their operands. ``dtype`` is what was computed in, where the arrays are in a wider one.
    """

    operands: Mapping[str, Any]
    out: Any
    lse: Any = None
    other: Any = None
    grads: Mapping[str, Any] | None = None
    d_output: Any = None
    d_lse: Any = None
    layout: Arranged = field(default_factory=Arranged)
    dtype: str | None = None


@dataclass(frozen=True)
class PosedCall:
    """One call in logical order, and what is judged by name: ``output``, ``lse``, and gradients as ``d_q``.

    ``counted`` marks the rows (B, 1, Tq) that were given, and ``counted_keys`` those of keys (B, 1, S); the others are
    padding. ``turned`` says how an output lies whose axes are exchanged, and ``lies`` how it should by its layout.
    """

    inputs: Inputs
    answers: Mapping[str, Array]
    other: Array | None
    counted: Array
    counted_keys: Array
    turned: str = ""
    lies: str = LIES["bhsd"]

    @property
    def grads(self) -> dict[str, Array]:
        """The gradients by the names of their operands."""
        return {name.removeprefix("d_"): a for name, a in self.answers.items() if name.startswith("d_")}

    def with_output(self, output: Array) -> PosedCall:
        """The same with another output."""
        return replace(self, answers={**self.answers, "output": output})


def question(spec: AttentionSpec, given: Given) -> PosedCall:
    """Check all that was given. Raises ``SpecError`` or ``UsageError``, with the name of the array that is wrong."""
    layout, operands = given.layout, dict(given.operands)
    for name, lengths in layout.lengths().items():
        if operands.get(name) is not None:
            msg = f"{name} and the cumulative lengths of varlen both say how long the sequences are; leave out {name}"
            raise SpecError(msg)
        operands[name] = lengths
    arrays = {"out": given.out, "lse": given.lse, "other": given.other, "d_output": given.d_output}
    arrays |= {"d_lse": given.d_lse, **operands}
    arrays |= {f"d{name}": grad for name, grad in (given.grads or {}).items()}
    arrays = {name: _plain(name, layout.logical(name, a), given.dtype) for name, a in arrays.items() if a is not None}
    known = {name: arrays[name] for name in operands if name in arrays}
    q, k, v, call = prepare(spec, Operands(**known), ("lse",) if "lse" in arrays else ())
    s, dtype = call.sizes, numpy_dtype(call.dtype)
    output, turned = _output(arrays["out"], (s.B, s.Hq, s.Tq, s.Dv), dtype, layout.name)
    answers = {"output": output}
    level = np.dtype(wide(call.dtype))
    if "lse" in arrays:
        answers["lse"] = _held("lse", arrays["lse"], (s.B, s.Hq, s.Tq), level)
    other = arrays.get("other")
    if other is not None:
        other = _held("other", other, output.shape, dtype)
    inputs = Inputs(q, k, v, call)
    if given.grads or given.d_output is not None or given.d_lse is not None:
        inputs = _with_cotangents(inputs, given, arrays)
        answers |= _gradients(inputs, known, arrays, given.grads or {})
    counted, keys = np.ones((s.B, 1, s.Tq), bool), np.ones((s.B, 1, s.S), bool)
    if layout.name == "varlen":
        counted = (np.arange(s.Tq) < call.q_lengths[:, None])[:, None]
        keys = (np.arange(s.S) < call.kv_lengths[:, None])[:, None]
    return PosedCall(inputs, answers, other, counted, keys, turned, LIES[layout.name])


def _plain(name: str, array: Any, dtype: str | None) -> Any:
    """The array, in ``dtype`` where that is asked for and holds all of its values."""
    if dtype is None or name not in (*CAST, *LSES):
        return array
    if dtype not in DTYPES:
        raise UsageError(not_one_of("dtype", dtype, DTYPES))
    if not isinstance(array, np.ndarray) or array.dtype.name not in DTYPES:
        return array
    if name in LSES:  # is in float32 or wider, whatever the others are in
        dtype = wide(dtype)
        if array.dtype.itemsize <= numpy_dtype(dtype).itemsize:
            return array
    with np.errstate(over="ignore"):
        cast = array.astype(numpy_dtype(dtype))
    same = (cast.astype(array.dtype) == array) | np.isnan(array)
    if not same.all():
        where = tuple(int(i) for i in np.argwhere(~same)[0])
        msg = (
            f"{name} has values that {dtype} has not, {array[where]} at {list(where)} first: it is no array of {dtype}"
        )
        raise SpecError(f"{msg}. Leave out the dtype, or name the one that was computed in")
    return cast


def _held(name: str, array: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    if not isinstance(array, np.ndarray):
        msg = f"{name} is an array, got {type(array).__name__}"
        raise SpecError(msg)
    if array.shape != shape:
        msg = f"{name} has shape {array.shape}; with these q, k and v it has {shape} (in logical order B, H, T, D)"
        raise SpecError(f"{msg}. Does the layout say how the arrays lie?")
    if array.dtype != dtype:
        msg = f"{name} has dtype {dtype_text(array.dtype)}, not {dtype.name}"
        hint = ": where a file holds a wider dtype than was computed in, say so: --dtype, or dtype= in Python"
        raise SpecError(msg + (hint if array.dtype.name in DTYPES and array.dtype.isnative else ""))
    return np.asarray(array)


def _output(array: Any, shape: tuple[int, ...], dtype: Any, layout: str) -> tuple[Array, str]:
    """The output; one whose shape is right after exchanging two axes is turned, and the words say from what."""
    for axes, words in TURNED.items():
        turned = tuple(shape[axis] for axis in axes)
        if layout in words and getattr(array, "shape", None) == turned != shape:
            return _held("out", array, turned, dtype).transpose(axes), words[layout]
    return _held("out", array, shape, dtype), ""


def _with_cotangents(inputs: Inputs, given: Given, arrays: Mapping[str, Array]) -> Inputs:
    if not given.grads:
        what = "d_lse" if given.d_output is None else "d_output"
        msg = f"{what} is what gradients are taken of, and none is given: name one, as in --grad dq=FILE"
        raise UsageError(msg)
    if given.d_output is None:
        msg = "gradients are judged by the cotangent of the output: give d_output (--d-out FILE) with them"
        raise UsageError(msg)
    s, call = inputs.call.sizes, inputs.call
    shape = (s.B, s.Hq, s.Tq)
    d_output = _held("d_output", arrays["d_output"], (*shape, s.Dv), numpy_dtype(call.dtype))
    d_lse = arrays.get("d_lse")
    if d_lse is not None:
        d_lse = _held("d_lse", d_lse, shape, np.dtype(wide(call.dtype)))
    return replace(inputs, d_output=d_output, d_lse=d_lse)


def _gradients(
    inputs: Inputs, operands: Mapping[str, Any], arrays: Mapping[str, Array], grads: Mapping[str, Any]
) -> dict[str, Array]:
    """The gradients that were given, in the shapes in which a call has its operands: a cache stands before k and v."""
    known = gradient_names(inputs.call)
    past = [f"past_{name}" for name in ("k", "v") if f"past_{name}" in operands]
    for name in grads:
        if name not in (*known, *past):
            raise UsageError(
                f"gradient {name!r} is of no operand here{suggest(name, [*known, *past])}; there are "
                f"{', '.join([*known, *past])}"
            )
    shaped = inputs.arrays()
    judged = {}
    for name in known:
        if name not in grads and f"past_{name}" not in grads:
            continue
        parts = [f"past_{name}", name] if f"past_{name}" in past else [name]
        if missing := [part for part in parts if part not in grads]:
            msg = f"with a cache the gradients of {' and '.join(parts)} are judged together; {missing[0]} is missing"
            raise UsageError(msg)
        held = [_held(f"d{part}", arrays[f"d{part}"], _shape(operands, part), shaped[name].dtype) for part in parts]
        judged[f"d_{name}"] = np.concatenate(held, 2) if len(held) > 1 else held[0].reshape(shaped[name].shape)
    return judged


def _shape(operands: Mapping[str, Any], name: str) -> tuple[int, ...]:
    given = operands["params"][name.removeprefix("params.")] if name.startswith("params.") else operands[name]
    return tuple(given.shape)
