"""One trial: an implementation on one case, held to the oracle. The gate of a run and ``attnbench check`` both use it.

Small cases are judged whole. Of large ones some rows of some heads are judged: the oracle evaluates these alone, and
the cotangent is zero everywhere else, so that the gradients of k and v are still those of the whole kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.agree import telling
from attnbench.agree.bounds import Units, output_sides, stage_bounds
from attnbench.agree.gradient_bounds import gradient_bounds
from attnbench.agree.judge import Judgement, judge, of_another_form
from attnbench.agree.run_once import Ran, run_once
from attnbench.backends.answers import gradient_names
from attnbench.backends.arithmetic import precision_of
from attnbench.backends.bind import Inputs, inputs_of
from attnbench.call import Call, Sizes
from attnbench.errors import AttnbenchError, is_refusal, refusal_of
from attnbench.inputs import stream
from attnbench.needs import with_operands
from attnbench.oracle import Evaluated, heads
from attnbench.oracle_vjp import reference_vjp
from attnbench.precision import wide

if TYPE_CHECKING:
    from attnbench.backend import Backend
    from attnbench.backends.bind import Binding
    from attnbench.implementation import AttentionOutput, Implementation
    from attnbench.problem import Case

Array = np.ndarray[Any, np.dtype[Any]]

MOST = 0.5  # of an array must tell, or it counts as not tried
WHOLE = 1 << 22  # B·Hq·Tq·S up to which everything is judged
SAMPLED_HEADS = 4
# Where kernels begin a new tile of queries.
TILES = (16, 32, 48, 64, 80, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192)


@dataclass(frozen=True)
class Trial:
    """The outcome of one case: ``ok``, ``wrong`` or ``unsupported``, with the judgements or the reason.

    ``refused``: it is declared, and the kernel itself did not take it; ``reason`` are its own words.
    """

    status: str
    forward: tuple[Judgement, ...] = ()
    gradients: tuple[Judgement, ...] = ()
    reason: str | None = None
    fault: str | None = None
    refused: bool = False

    @property
    def error_ratio(self) -> float:
        """The largest error over its bound; above 1, or ``inf``, in a trial that disagrees."""
        judged = (*self.forward, *self.gradients)
        if self.status == "wrong" and all(j.ok for j in judged):
            return float("inf")  # it raised, or wrote to an input
        return max((j.error_ratio for j in judged), default=0.0)

    @property
    def blunt(self) -> tuple[str, ...]:
        """The arrays whose bounds are too wide to tell: whatever a kernel returns there, they are not tried."""
        return tuple(j.tensor for j in (*self.forward, *self.gradients) if j.telling < MOST)


@dataclass(frozen=True)
class Sample:
    """What is judged: row indices and (b, h) pairs."""

    rows: Array
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Share:
    """How much of a case is judged whole: up to so many query-key pairs, and so many heads of all batch entries."""

    pairs: int
    heads: int | None = None


def choose(call: Call, seed: int, share: Share | None = None) -> Sample:
    """All rows and heads of a call within ``share`` (``WHOLE`` pairs); of a larger one about half as many pairs.

    These are the first and the last ones, those either side of every usual edge of a tile, and random ones.
    """
    s, share = call.sizes, share or Share(WHOLE)
    everything = Sample(np.arange(s.Tq), tuple(np.ndindex(s.B, s.Hq)))
    pairs, most = s.B * s.Hq * s.Tq * s.S, share.heads or s.B * s.Hq
    if pairs <= share.pairs and s.B * s.Hq <= most:
        return everything
    rng = stream(seed, "sample")
    heads = _some_heads(s, share, rng)
    if s.Tq * s.S * len(heads) <= share.pairs // 2:
        return Sample(everything.rows, heads)
    count = min(s.Tq, max(8, share.pairs // 2 // (s.S * len(heads))))
    edges = {0, 1, s.Tq // 2, s.Tq - 2, s.Tq - 1} | {row for tile in TILES for row in (tile - 1, tile)}
    edges &= set(range(s.Tq))
    rows = edges | set(rng.choice(s.Tq, count, replace=False).tolist())
    return Sample(np.array(sorted(rows)), heads)


def _some_heads(s: Sizes, share: Share, rng: np.random.Generator) -> tuple[tuple[int, int], ...]:
    """The first and the last, and others: as many as may be where a head is small, else four."""
    every, count = list(np.ndindex(s.B, s.Hq)), SAMPLED_HEADS
    if share.heads is not None:
        count = max(count, min(share.heads, share.pairs // 2 // (s.Tq * s.S)))
    chosen = {0, len(every) - 1, *rng.choice(len(every), min(count - 2, len(every))).tolist()}
    return tuple((int(b), int(h)) for b, h in (every[i] for i in sorted(chosen)))


def trial(
    backend: Backend,
    implementation: Implementation,
    case: Case,
    device: str = "cpu",
    binding: Binding | None = None,
    share: Share | None = None,
) -> Trial:
    """Run ``case`` and judge it; with a ``binding`` of its kind nothing is compiled. ``share`` as in ``choose``.

    An exception, an input that was written to, and a result that a second call changes are disagreements too. A kernel
    that raises ``UnsupportedError`` refuses the case, which is unsupported.
    """
    inputs = inputs_of(case)
    call = inputs.call
    needs = with_operands(call.needs(device, gradients=case.gradients), case.problem.operands)
    if reason := implementation.unsupported(needs):
        return Trial("unsupported", reason=reason)
    sample = choose(call, case.problem.seed, share)
    inputs = sampled(inputs, sample)
    try:
        ran = run_once(backend, implementation, inputs, device, binding)
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        return _raised(error)
    if wrong := _of_memory(ran):
        return wrong
    units = Units.of(precision_of(implementation, call.dtype, device), call.dtype)
    evaluated = Evaluated(*inputs.qkv, call, sample.rows, sample.pairs)
    forward = judge_forward(ran.output, inputs, units, sample, evaluated)
    backward = judge_gradients(ran.grads, inputs, units, sample, evaluated) if ran.grads else ()
    failed = next((j for j in (*forward, *backward) if not j.ok), None)
    if failed is None:
        return Trial("ok", forward, backward)
    return Trial("wrong", forward, backward, reason=failed.sentence(), fault=failed.fault)


def _raised(error: Exception) -> Trial:
    """What an exception says of a case: refused by the kernel, or a disagreement."""
    if is_refusal(error):
        return Trial("unsupported", reason=refusal_of(error), refused=True)
    if isinstance(error, ValueError) and "read-only" in str(error):
        return Trial("wrong", reason=f"tried to write to an input: {_first_line(error)}", fault="input")
    kind = "" if isinstance(error, AttnbenchError) else f"{type(error).__name__}: "
    return Trial("wrong", reason=f"raised {kind}{_first_line(error)}", fault="exception")


def _of_memory(ran: Ran) -> Trial | None:
    """An input that was written to, and a result that did not last."""
    if ran.written:
        return Trial("wrong", reason=f"wrote to its input {', '.join(ran.written)}", fault="input")
    if ran.changed:
        what = f"{ran.changed[0]}: changed when it was called again on other inputs: the memory is used twice"
        return Trial("wrong", reason=what, fault="reused")
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]


def sampled(inputs: Inputs, sample: Sample) -> Inputs:
    """The inputs with cotangents that are zero outside the sample."""
    kept = np.zeros(inputs.q.shape[:3], bool)
    for b, h in sample.pairs:
        kept[b, h, sample.rows] = True
    zeroed = {
        name: np.where(kept.reshape(kept.shape + (1,) * (array.ndim - 3)), array, array.dtype.type(0))
        for name, array in inputs.cotangents.items()
    }
    return inputs.with_values(**zeroed)


def judge_forward(
    output: AttentionOutput, inputs: Inputs, units: Units, sample: Sample, evaluated: Evaluated | None = None
) -> tuple[Judgement, ...]:
    """Hold output, lse and stages to the oracle in the sampled rows and heads, ``evaluated`` if they are already."""
    arrays, call = dict(output.items()), inputs.call
    if call.sizes.empty:
        return ()
    wrong = [j for name, array in arrays.items() if (j := _form(name, array, call)) is not None]
    if wrong:
        return tuple(wrong)
    picked: dict[str, list[tuple[Array, ...]]] = {name: [] for name in ("output", *call.outputs)}
    for b, h, head in evaluated or heads(*inputs.qkv, call, sample.rows, sample.pairs):
        below, above = output_sides(head, call, h, units)
        spreads = telling.spread(head, sink=call.sinks is not None)
        picked["output"].append((arrays["output"][b, h][sample.rows], head.output, below, above, spreads))
        bounds = stage_bounds(head, call, h, units) if call.outputs else {}
        for name in call.outputs:
            picked[name].append((arrays[name][b, h][sample.rows], getattr(head, name), bounds[name]))
    return tuple(_judge_parts(name, parts, call) for name, parts in picked.items())


def _form(name: str, array: Any, call: Call) -> Judgement | None:
    s = call.sizes
    shape = (s.B, s.Hq, s.Tq, *{"output": (s.Dv,), "lse": ()}.get(name, (s.S,)))
    return of_another_form(name, array, shape, _dtype(name, call))


def _dtype(name: str, call: Call) -> str:
    return call.dtype if name == "output" else wide(call.dtype)


def _judge_parts(name: str, parts: list[tuple[Array, ...]], call: Call) -> Judgement:
    got, expected, bound, *rest = (np.stack(part) for part in zip(*parts, strict=True))
    if not rest:
        return _judged(name, got, expected, bound, _dtype(name, call))
    above, spreads = rest
    judged = judge(name, got, expected, bound, _dtype(name, call), above)
    return replace(judged, telling=telling.of_output(np.maximum(bound, above), spreads))


def _judged(name: str, got: Array, expected: Array, bound: Array, dtype: str) -> Judgement:
    return replace(judge(name, got, expected, bound, dtype), telling=telling.of_numbers(expected, bound))


def judge_gradients(
    grads: dict[str, Array], inputs: Inputs, units: Units, sample: Sample, evaluated: Evaluated | None = None
) -> tuple[Judgement, ...]:
    """Hold gradients to the oracle; the cotangents are zero outside the sample."""
    qkv, call, d_output, d_lse = inputs.qkv, inputs.call, inputs.d_output, inputs.d_lse
    if d_output is None or call.sizes.empty:
        return ()
    expected = reference_vjp(*qkv, call, d_output, d_lse, sample.rows, sample.pairs, evaluated)
    bounds = gradient_bounds(*qkv, call, d_output, d_lse, units, sample.rows, sample.pairs, evaluated)
    operands = inputs.arrays()
    return tuple(
        _judged(f"d_{name}", grads[name], expected[name], bounds[name], operands[name].dtype.name)
        for name in gradient_names(call)
    )
