"""Which rows and heads of an answer are judged, and their judgement; whoever computed the answer.

Small cases are judged whole. Of large ones some rows of some heads are judged: the oracle evaluates these alone, and
the cotangent is zero everywhere else, so that the gradients of k and v are still those of the whole kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.agree.judge import telling
from attnbench.agree.judge.array import Judgement, judge, of_another_form
from attnbench.agree.judge.bounds import Units, output_sides, stage_bounds
from attnbench.agree.judge.gradient_bounds import gradient_bounds
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call, Sizes
from attnbench.attention.inputs import stream
from attnbench.attention.oracle import Evaluated, heads
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.attention.precision import wide
from attnbench.backends.answers import gradient_names
from attnbench.backends.bind import Inputs

if TYPE_CHECKING:
    from attnbench.backends.implementation import AttentionOutput

WHOLE = 1 << 22  # B·Hq·Tq·S up to which everything is judged
CHOSEN_HEADS = 4
# Where kernels begin a new tile of queries.
TILES = (16, 32, 48, 64, 80, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192)


@dataclass(frozen=True)
class Selection:
    """Which rows and heads of an answer are judged: row indices, and (b, h) pairs."""

    rows: Array
    pairs: tuple[tuple[int, int], ...]

    def is_whole(self, call: Call) -> bool:
        """Whether all of a call is judged."""
        s = call.sizes
        return len(self.rows) == s.Tq and len(self.pairs) == s.B * s.Hq


@dataclass(frozen=True)
class Share:
    """Up to which size a case is judged whole: so many query-key pairs, and so many heads of all batch entries.

    Of a larger one ``chosen_heads`` are judged, or all if there are fewer; without it the usual few, fewer where a head
    is drawn twice.
    """

    pairs: int
    heads: int | None = None
    chosen_heads: int | None = None


# What is judged whole of a case of the plan; of a larger one some rows and heads are judged.
SHARE = Share(pairs=1 << 15, heads=12)


def choose(call: Call, seed: int, share: Share | None = None) -> Selection:
    """All rows and heads of a call within ``share``, or without it within ``WHOLE`` pairs; of a larger one some.

    These have about half as many pairs as the share: the first and the last rows, those either side of every usual edge
    of a tile, and random ones.
    """
    s, share = call.sizes, share or Share(WHOLE)
    everything = Selection(np.arange(s.Tq), tuple(np.ndindex(s.B, s.Hq)))
    pairs, most = s.B * s.Hq * s.Tq * s.S, share.heads or s.B * s.Hq
    if pairs <= share.pairs and s.B * s.Hq <= most:
        return everything
    rng = stream(seed, "sample")  # the name is part of the seed: with another one other rows would be judged
    heads = _some_heads(s, share, rng)
    if s.Tq * s.S * len(heads) <= share.pairs // 2:
        return Selection(everything.rows, heads)
    count = min(s.Tq, max(8, share.pairs // 2 // (s.S * len(heads))))
    edges = {0, 1, s.Tq // 2, s.Tq - 2, s.Tq - 1} | {row for tile in TILES for row in (tile - 1, tile)}
    edges &= set(range(s.Tq))
    rows = edges | set(rng.choice(s.Tq, count, replace=False).tolist())
    return Selection(np.array(sorted(rows)), heads)


def _some_heads(s: Sizes, share: Share, rng: np.random.Generator) -> tuple[tuple[int, int], ...]:
    """The first head, the last, and random ones: ``chosen_heads`` in all, else four, or more where heads are small."""
    every, count = list(np.ndindex(s.B, s.Hq)), CHOSEN_HEADS
    if share.chosen_heads is not None:
        others = rng.permutation(np.arange(1, len(every) - 1))[: share.chosen_heads - 2]
    else:
        if share.heads is not None:
            count = max(count, min(share.heads, share.pairs // 2 // (s.Tq * s.S)))
        others = rng.choice(len(every), min(count - 2, len(every)))
    chosen = {0, len(every) - 1, *others.tolist()}
    return tuple((int(b), int(h)) for b, h in (every[i] for i in sorted(chosen)))


def with_selected_cotangents(inputs: Inputs, selection: Selection) -> Inputs:
    """The inputs with cotangents that are zero outside the selection."""
    kept = np.zeros(inputs.q.shape[:3], bool)
    for b, h in selection.pairs:
        kept[b, h, selection.rows] = True
    zeroed = {
        name: np.where(kept.reshape(kept.shape + (1,) * (array.ndim - 3)), array, array.dtype.type(0))
        for name, array in inputs.cotangents.items()
    }
    return inputs.with_values(**zeroed)


@dataclass(frozen=True)
class Truth:
    """What is right of one array where it is judged, and how far below and above it an answer agrees."""

    expected: Array
    below: Array
    above: Array
    dtype: str
    telling: float

    def judge(self, name: str, got: Array) -> Judgement:
        """Hold what came out there to it."""
        return replace(judge(name, got, self.expected, self.below, self.dtype, self.above), telling=self.telling)


def judge_forward(
    output: AttentionOutput, inputs: Inputs, units: Units, selection: Selection, evaluated: Evaluated | None = None
) -> tuple[Judgement, ...]:
    """Hold output, lse and stages to the oracle in the selected rows and heads, ``evaluated`` if they are already."""
    call = inputs.call
    if call.sizes.empty:
        return ()
    return forms(output, call) or held(output, true_forward(inputs, units, selection, evaluated), selection)


def forms(output: AttentionOutput, call: Call) -> tuple[Judgement, ...]:
    """What is no plain array of the shape and the dtype that the spec has."""
    judged = (_form(name, array, call) for name, array in output.items())
    return tuple(judgement for judgement in judged if judgement is not None)


def held(output: AttentionOutput, truth: dict[str, Truth], selection: Selection) -> tuple[Judgement, ...]:
    """Hold each array to the truth about its selected rows and heads."""
    arrays = dict(output.items())
    return tuple(
        right.judge(name, np.stack([arrays[name][b, h][selection.rows] for b, h in selection.pairs]))
        for name, right in truth.items()
    )


def true_forward(
    inputs: Inputs, units: Units, selection: Selection, evaluated: Evaluated | None = None
) -> dict[str, Truth]:
    """The truth about output, lse and stages in the selected rows and heads."""
    call = inputs.call
    picked: dict[str, list[tuple[Array, ...]]] = {name: [] for name in ("output", *call.outputs)}
    for _, h, head in evaluated or heads(*inputs.qkv, call, selection.rows, selection.pairs):
        sides = output_sides(head, call, h, units)
        picked["output"].append((head.output, *sides, telling.spread(head, sink=call.sinks is not None)))
        bounds = stage_bounds(head, call, h, units) if call.outputs else {}
        for name in call.outputs:
            picked[name].append((getattr(head, name), bounds[name]))
    return {name: _truth(name, parts, call) for name, parts in picked.items()}


def _form(name: str, array: Any, call: Call) -> Judgement | None:
    s = call.sizes
    shape = (s.B, s.Hq, s.Tq, *{"output": (s.Dv,), "lse": ()}.get(name, (s.S,)))
    return of_another_form(name, array, shape, _dtype(name, call))


def _dtype(name: str, call: Call) -> str:
    return call.dtype if name == "output" else wide(call.dtype)


def _truth(name: str, parts: list[tuple[Array, ...]], call: Call) -> Truth:
    expected, bound, *rest = (np.stack(part) for part in zip(*parts, strict=True))
    if not rest:
        return _evenly(expected, bound, _dtype(name, call))
    above, spreads = rest
    tells = telling.of_output(expected, np.maximum(bound, above), spreads)
    return Truth(expected, bound, above, _dtype(name, call), tells)


def _evenly(expected: Array, bound: Array, dtype: str) -> Truth:
    return Truth(expected, bound, bound, dtype, telling.of_numbers(expected, bound))


def judge_gradients(
    grads: dict[str, Array], inputs: Inputs, units: Units, selection: Selection, evaluated: Evaluated | None = None
) -> tuple[Judgement, ...]:
    """Hold gradients to the oracle; the cotangents are zero outside the selection."""
    return held_gradients(grads, true_gradients(inputs, units, selection, evaluated))


def held_gradients(grads: dict[str, Array], truth: dict[str, Truth]) -> tuple[Judgement, ...]:
    """Hold each gradient to the truth about it."""
    return tuple(right.judge(f"d_{name}", grads[name]) for name, right in truth.items())


def true_gradients(
    inputs: Inputs, units: Units, selection: Selection, evaluated: Evaluated | None = None
) -> dict[str, Truth]:
    """The truth about every gradient; none where there are no cotangents."""
    qkv, call, d_output, d_lse = inputs.qkv, inputs.call, inputs.d_output, inputs.d_lse
    if d_output is None or call.sizes.empty:
        return {}
    expected = reference_vjp(*qkv, call, d_output, d_lse, selection.rows, selection.pairs, evaluated)
    bounds = gradient_bounds(*qkv, call, d_output, d_lse, units, selection.rows, selection.pairs, evaluated)
    operands = inputs.arrays()
    return {name: _evenly(expected[name], bounds[name], operands[name].dtype.name) for name in gradient_names(call)}
