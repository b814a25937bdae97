"""``ab.explain``: whether an output is the attention of its inputs within rounding, and if not, which reading fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from attnbench.agree.judge.bounds import Units
from attnbench.attention.arrays import Array
from attnbench.attention.precision import numpy_dtype
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import load_backend
from attnbench.backends.kinds import kind_of
from attnbench.errors import SpecError, UsageError
from attnbench.explaining import besides, readings
from attnbench.explaining.explanation import READING, UNEXPLAINED, WITHIN, ExplainedArrays
from attnbench.explaining.judging import JudgedAll, arithmetics, judged, output_fits, refuse_unjudged
from attnbench.explaining.layouts import Arranged, arranged
from attnbench.explaining.nearer import nearer
from attnbench.explaining.question import Given, PosedCall, question
from attnbench.explaining.readings import FittingReading
from attnbench.explaining.subject import FEWER_PAIRS, Subject, is_within, subject
from attnbench.keywords import OPERANDS, SPEC, check_keywords

NARROW = ("bfloat16", "float16")
UNREAD = "no other reading was tried: the problem is not small"
RESULTS = ("out", "lse", "other", "d_output", "d_lse", "cu_seqlens", "cu_seqlens_k")


def explain(
    out: Any,
    q: Any,
    k: Any,
    v: Any,
    *,
    spec: AttentionSpec | None = None,
    lse: Any = None,
    other: Any = None,
    grads: Mapping[str, Any] | None = None,
    d_output: Any = None,
    d_lse: Any = None,
    layout: str = "bhsd",
    heads: int | None = None,
    kv_heads: int | None = None,
    cu_seqlens: Any = None,
    cu_seqlens_k: Any = None,
    dtype: str | None = None,
    **words: Any,
) -> ExplainedArrays:
    """Say whether ``out`` is the attention of q, k and v within rounding, and if not, which other reading it fits.

    Arrays are NumPy's, PyTorch's or JAX's, each of any of them. ``words`` are the spec's (``causal=True,
    align="top_left"``), where ``spec`` is not given, and operands as in ``attend`` (``mask``, ``bias``, ``sinks`` …).
    ``lse`` is judged too, and ``grads`` (by the names of their operands, such as ``{"q": dq}``) of the cotangents
    ``d_output`` and ``d_lse``. ``other`` is a second output: which is nearer to the truth, and whether two right
    kernels may differ so. ``layout`` is ``bhsd``, ``bshd``, ``packed`` (with ``heads``, ``kv_heads``) or ``varlen``
    (with ``cu_seqlens``). ``dtype`` is what was computed in, where the arrays hold it in a wider one.

    Returns an ``ExplainedArrays``. Raises ``SpecError`` or ``UsageError`` for arrays that are no such call.
    """
    check_keywords("explain", words, [*SPEC, *OPERANDS])
    spec_words = {name: words[name] for name in SPEC if name in words}
    if spec is not None and spec_words:
        msg = (
            f"spec has the words of the spec; {', '.join(spec_words)} besides it would be read by nobody: leave it out"
        )
        raise UsageError(msg)
    arrays = {"q": q, "k": k, "v": v, **{name: words[name] for name in OPERANDS if name in words}}
    arrays = {name: _numpy(array, name) for name, array in arrays.items()}
    results = dict(zip(RESULTS, (out, lse, other, d_output, d_lse, cu_seqlens, cu_seqlens_k), strict=True))
    given = {name: _numpy(array, name) for name, array in results.items()}
    ends = given.pop("cu_seqlens"), given.pop("cu_seqlens_k")
    return explained(
        spec or AttentionSpec(**spec_words),
        Given(
            arrays,
            grads=_numpy(dict(grads or {}), "grads"),
            layout=arranged(layout, heads, kv_heads, *ends),
            dtype=dtype,
            **given,
        ),
    )


def _numpy(array: Any, name: str) -> Any:
    """An array of any framework as NumPy has it; what came out of one may be compared with what came out of another."""
    if isinstance(array, Mapping):
        return {key: _numpy(value, f"{name}[{key!r}]") for key, value in array.items()}
    return kind_of(array, load_backend, name).numpy(array, name)


def explained(spec: AttentionSpec, given: Given, notes: tuple[str, ...] = (), *, read: bool = True) -> ExplainedArrays:
    """The explanation of what was given; unless ``read`` no other reading is tried, except of its layout."""
    posed = question(spec, given)
    refuse_unjudged(posed)
    first = judged(posed)
    right = first.ok and not posed.turned
    fits, more = ((), ()) if right else _fitting(spec, given, posed, first) if read or posed.turned else ((), (UNREAD,))
    explanation = ExplainedArrays(
        WITHIN if right else READING if fits else UNEXPLAINED,
        first.arrays,
        first.arithmetic,
        posed.inputs.call.dtype,
        posed.inputs.call.sizes.as_dict(),
        readings=tuple(fits),
        notes=(*notes, *_notes(posed, first, given), *more),
    )
    return explanation if posed.other is None else _with_other(explanation, posed, first)


def _with_other(explanation: ExplainedArrays, posed: PosedCall, first: JudgedAll) -> ExplainedArrays:
    """The same with a second output: compared, and explained where it is not within rounding."""
    assert posed.other is not None  # noqa: S101  (for the type checker)
    inputs = replace(posed.inputs, d_output=None, d_lse=None, call=replace(posed.inputs.call, outputs=()))
    second = replace(posed, inputs=inputs, answers={"output": posed.other}, other=None, turned="")
    of_other = judged(second)
    fits = () if of_other.ok else _of_output(second, of_other)[0]
    return replace(explanation, nearer=nearer(posed, first, of_other), other_readings=tuple(fits))


def _fitting(
    spec: AttentionSpec, given: Given, posed: PosedCall, first: JudgedAll
) -> tuple[list[FittingReading], tuple[str, ...]]:
    """The readings of all that is wrong, and notes; no reading where a part of it stays unexplained."""
    output: list[FittingReading] = []
    notes: tuple[str, ...] = ()
    if not first.arrays["output"].ok or posed.turned:
        output = _of_other_layout(spec, given, posed)
        if not output:
            output, notes = _of_output(posed, first)
        if not output:
            return [], notes
    fits = list(output)
    part = _part(posed, first)
    if "lse" in first.arrays and not first.arrays["lse"].ok:
        of_lse = besides.of_lse(part, output) if part is not None else []
        if not of_lse:
            return [], (*notes, *_partly(output, "lse"))
        fits += of_lse
    wrong = [name.removeprefix("d_") for name, a in first.arrays.items() if name.startswith("d_") and not a.ok]
    if wrong:
        small = is_within(posed.inputs.call)
        of_grads = besides.of_gradients(posed, first.units, wrong, output) if small else []
        if not of_grads:
            size = () if small else ("readings of gradients were not tried: the call is too large; save a smaller one",)
            return [], (*notes, *size, *_partly(fits, f"the gradients of {', '.join(wrong)}"))
        fits += of_grads
    return fits, notes


def _partly(fits: list[FittingReading], rest: str) -> tuple[str, ...]:
    """What is explained of it, though not all is."""
    return (*(f"explained is this much: {reading.sentence}" for reading in fits), f"unexplained: {rest}")


def _part(posed: PosedCall, first: JudgedAll) -> Subject | None:
    return None if posed.inputs.call.sizes.empty else subject(posed, first, _allowed(posed))


def _allowed(posed: PosedCall) -> Units:
    """The coarsest arithmetic that is allowed."""
    dtype = posed.inputs.call.dtype
    return Units.of(list(arithmetics(dtype).values())[-1], dtype)


def _of_output(posed: PosedCall, first: JudgedAll) -> tuple[list[FittingReading], tuple[str, ...]]:
    """The readings of an output, its layout first: that of a whole output is told without any other reading."""
    if posed.inputs.call.sizes.empty:
        return [], ()
    for reading, laid in besides.relaid(posed):
        if output_fits(laid, first):
            return [reading], ()
    large = _part(posed, first)
    if large is None:
        return [], ("readings were not tried: one head of the call is too large; save a shorter one",)
    small = subject(posed, first, large.witness.units, FEWER_PAIRS)
    notes: tuple[str, ...] = ()
    if posed.turned:
        notes = (f"the output is laid out as {posed.turned}; it was turned into {posed.lies}",)
    if not large.whole:
        heads = (
            "" if large.whole_heads else f" of heads {large.heads[0]} to {large.heads[-1]}, without readings of heads"
        )
        s = posed.inputs.call.sizes
        part = f"{len(large.rows)} of {s.Tq} queries of {len(large.entries)} of {s.B} batch entries{heads}"
        notes = (*notes, f"readings were tried on {part}: the call is large")
    return readings.of_output(large, small), notes


def _of_other_layout(spec: AttentionSpec, given: Given, posed: PosedCall) -> list[FittingReading]:
    """All arrays in the other order of heads and tokens than was said; of a large call where heads outnumber tokens."""
    s = posed.inputs.call.sizes
    if s.Hq <= s.Tq and not is_within(posed.inputs.call):
        return []
    other = {"bhsd": "bshd", "bshd": "bhsd"}.get(given.layout.name)
    if other is None:
        return []
    try:
        laid = question(spec, replace(given, layout=Arranged(other), lse=None, grads=None, d_output=None, d_lse=None))
    except (SpecError, UsageError):
        return []
    if not judged(laid).ok:
        return []
    which = "all arrays but the output" if laid.turned else "all arrays"
    rest = f"; the output lies as {laid.turned}" if laid.turned else ""
    return [FittingReading("layout", f"{which} lie as {laid.lies}, not as {posed.lies}: the layout is {other}{rest}")]


def _notes(posed: PosedCall, first: JudgedAll, given: Given) -> tuple[str, ...]:
    notes = []
    call, selection = posed.inputs.call, first.selection
    if not selection.is_whole(call):
        s = call.sizes
        notes.append(
            f"judged are {len(selection.rows)} of {s.Tq} queries of {len(selection.pairs)} of {s.B * s.Hq} heads: "
            "the call is large"
        )
    narrow = _narrow(posed) if given.dtype is None and not first.ok else None
    if narrow:
        notes.append(f"every value is one of {narrow}: if that was computed in, say so (--dtype {narrow})")
    return tuple(notes)


def _narrow(posed: PosedCall) -> str | None:
    """A narrower dtype that holds every value of q, k, v and the output."""
    arrays: list[Array] = [*posed.inputs.qkv, posed.answers["output"]]
    if posed.inputs.call.dtype in NARROW or any(array.size == 0 for array in arrays):
        return None
    with np.errstate(over="ignore"):
        for dtype in NARROW:
            casts = [(array.astype(numpy_dtype(dtype)).astype(array.dtype), array) for array in arrays]
            if all(np.array_equal(cast, array, equal_nan=True) for cast, array in casts):
                return dtype
    return None
