"""``attnbench explain``: whether saved arrays lie within rounding, and which other reading of the spec fits if not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from attnbench.commands import options
from attnbench.errors import UsageError
from attnbench.show.console import document, say, set_quiet, show

if TYPE_CHECKING:
    from attnbench.attention.spec import AttentionSpec
    from attnbench.explaining.files import ArrayFiles
    from attnbench.explaining.question import Given

Place = str | None


def explain(
    *,
    q: options.ArrayOfQ,
    k: options.ArrayOfK,
    v: options.ArrayOfV,
    out: options.ArrayOfOut,
    lse: options.ArrayOfLse = None,
    other: options.ArrayOfOther = None,
    grad: options.Grads = None,
    d_out: options.ArrayOfDOut = None,
    d_lse: options.ArrayOfDLse = None,
    causal: options.Causal = False,
    align: options.Align = None,
    scale: options.Scale = None,
    window: options.Window = None,
    softcap: options.Softcap = None,
    score: options.Score = "dot",
    dropout: options.Dropout = 0.0,
    mask: options.ArrayOfMask = None,
    bias: options.ArrayOfBias = None,
    q_lengths: options.ArrayOfQLengths = None,
    kv_lengths: options.ArrayOfKvLengths = None,
    q_segments: options.ArrayOfQSegments = None,
    kv_segments: options.ArrayOfKvSegments = None,
    offset: options.Offset = None,
    sinks: options.ArrayOfSinks = None,
    slopes: options.ArrayOfSlopes = None,
    keep: options.ArrayOfKeep = None,
    past_k: options.ArrayOfPastK = None,
    past_v: options.ArrayOfPastV = None,
    param: options.Params = None,
    layout: options.Layout = "bhsd",
    heads: options.Heads = None,
    kv_heads: options.KvHeads = None,
    cu_seqlens: options.CuSeqlens = None,
    cu_seqlens_k: options.CuSeqlensK = None,
    dtype: options.ComputedIn = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say whether a saved output is within rounding of the attention of its inputs, and if not, what fits it."""
    from attnbench.explaining.files import ArrayFiles

    set_quiet(quiet)
    files = ArrayFiles()
    spec = _spec(files, causal, align, scale, window, softcap, score, dropout)
    places = {"q": q, "k": k, "v": v, "mask": mask, "bias": bias, "q_lengths": q_lengths, "kv_lengths": kv_lengths}
    places |= {"q_segments": q_segments, "kv_segments": kv_segments, "sinks": sinks, "slopes": slopes, "keep": keep}
    operands = _arrays(files, places | {"past_k": past_k, "past_v": past_v})
    operands |= {} if offset is None else {"offset": _offset(files, offset)}
    operands |= {} if not param else {"params": _named(files, "--param", param, lambda name: (name,))}
    results = {"out": out, "lse": lse, "other": other, "d_output": d_out, "d_lse": d_lse}
    arranged = _arranged(files, layout, heads, kv_heads, cu_seqlens, cu_seqlens_k)
    given = _given(operands, _arrays(files, results), _grads(files, grad), arranged, dtype)
    raise typer.Exit(_answered(spec, given, files, as_json=as_json))


def _answered(spec: AttentionSpec, given: Given, files: ArrayFiles, *, as_json: bool) -> int:
    """Show the explanation and return the exit status."""
    from attnbench.explaining.ask import explained

    say("computing the truth in float64")
    explanation = explained(spec, given, tuple(files.notes))
    if as_json:
        document(explanation.to_dict())
    else:
        show(repr(explanation))
    return explanation.exit_code


def _spec(
    files: ArrayFiles,
    causal: bool,  # noqa: FBT001  (the flag itself)
    align: str | None,
    scale: str | None,
    window: str | None,
    softcap: float | None,
    score: str,
    dropout: float,
) -> AttentionSpec:
    from attnbench.attention.spec import AttentionSpec

    sides: Any = None if window is None else _sides(window)
    factor = None if scale is None else _scale(files, scale)
    return AttentionSpec(score, factor, softcap, causal, align, sides, dropout)


def _scale(files: ArrayFiles, text: str) -> Any:
    """A number, a name of the spec, or one number for each query head from a file."""
    try:
        return float(text)
    except ValueError:
        is_file = Path(text.rpartition(":")[0] or text).suffix != "" or Path(text).is_file()
        return tuple(files.array("--scale", text).ravel().tolist()) if is_file else text


def _sides(text: str) -> tuple[int | None, int | None]:
    """``64,0`` or ``64,none``."""
    sides = [side.strip() for side in text.split(",")]
    if len(sides) == 2 and all(side == "none" or side.isdecimal() for side in sides):  # noqa: PLR2004
        left, right = (None if side == "none" else int(side) for side in sides)
        return left, right
    msg = f"--window is LEFT,RIGHT: how many keys to either side a query sees, none for all; got {text!r}. "
    raise UsageError(msg + "Type, for 64 keys to the left and none to the right: --window 64,0")


def _offset(files: ArrayFiles, text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return files.array("--offset", text)


def _option(name: str) -> str:
    return {"d_output": "--d-out"}.get(name, "--" + name.replace("_", "-"))


def _arrays(files: ArrayFiles, places: dict[str, Place]) -> dict[str, Any]:
    """The arrays of the options that were given."""
    return {name: files.array(_option(name), place) for name, place in places.items() if place is not None}


def _named(
    files: ArrayFiles, option: str, pairs: list[str], called: Callable[[str], tuple[str, ...]]
) -> dict[str, Any]:
    """Arrays by their names, from ``NAME=FILE``; ``called``: what each may be called in a file with several."""
    arrays: dict[str, Any] = {}
    for pair in pairs:
        name, given, place = pair.partition("=")
        if not given or not name or not place:
            msg = f"{option} is NAME=FILE; got {pair!r}"
            raise UsageError(msg)
        if name in arrays:
            msg = f"{option} has {name} twice"
            raise UsageError(msg)
        arrays[name] = files.array(f"{option} {name}", place, called(name))
    return arrays


def _operand(gradient: str) -> str:
    return gradient.removeprefix("d").removeprefix("_") or gradient


def _gradient_names(typed: str) -> tuple[str, ...]:
    """What the gradient of an operand may be called in a file: as it was typed, ``dq`` or ``d_q``."""
    operand = _operand(typed)
    return tuple(
        dict.fromkeys((f"d{operand}", f"d_{operand}") if typed == operand else (typed, f"d{operand}", f"d_{operand}"))
    )


def _grads(files: ArrayFiles, pairs: list[str] | None) -> dict[str, Any]:
    """Gradients by the names of their operands: ``dq``, ``d_q`` and ``q`` are the same."""
    grads: dict[str, Any] = {}
    for name, array in _named(files, "--grad", pairs or [], _gradient_names).items():
        operand = _operand(name)
        if operand in grads:
            msg = f"--grad has the gradient of {operand} twice"
            raise UsageError(msg)
        grads[operand] = array
    return grads


def _arranged(
    files: ArrayFiles, layout: str, heads: int | None, kv_heads: int | None, ends: Place, ends_k: Place
) -> Any:
    from attnbench.explaining.layouts import arranged

    read = _arrays(files, {"cu_seqlens": ends, "cu_seqlens_k": ends_k})
    return arranged(layout, heads, kv_heads, read.get("cu_seqlens"), read.get("cu_seqlens_k"))


def _given(
    operands: dict[str, Any], results: dict[str, Any], grads: dict[str, Any], layout: Any, dtype: str | None
) -> Given:
    from attnbench.explaining.question import Given

    return Given(operands, grads=grads, layout=layout, dtype=dtype, **results)
