"""Strategies for Hypothesis: cases, and operands, that make faults visible, and shrink to small ones.

A case is drawn from the classes of ``attnbench check --random``: lengths either side of tiles, fewer keys than queries,
grouped heads, head sizes that nothing divides, rows without a key, windows as wide as a tile, values near ties.

    @given(strategies.problems(features="causal,gqa", backend="torch"))
    def test_flash(problem):
        problem.assert_close(flash(problem.q, problem.k, problem.v, **problem.words))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases import dimensions as dims
from attnbench.agree.cases.making import case_of, has_a_key
from attnbench.attention.problem import Case
from attnbench.backends.asked import needs_of
from attnbench.errors import SpecError, pip_install
from attnbench.testing.declared import Drawable, levels
from attnbench.testing.posed import PosedProblem, problem
from attnbench.testing.saying import words

try:
    from hypothesis import reject
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    MSG = f"attnbench.testing.strategies needs hypothesis, which is not installed. Type: {pip_install('testing', '')}"
    raise ModuleNotFoundError(MSG, name="hypothesis") from error

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

Names = str | Sequence[str]
READ_PAIRS = 100
SOME = 240  # more than any class has values; most numbers of values divide it
MOST_ON = 3  # features in one case: with many of them hardly a key is left
VALUES = ("normal", "uniform", "peaky", "outliers", "near_ties")


def cases(
    features: Names = (), dtypes: Names = "float32", *, gradients: bool = False, align: str | None = None
) -> SearchStrategy[Case]:
    """Cases of the plain call and of ``features``, some of them together.

    ``features`` are those that a kernel declares (``causal``, ``gqa``, ``mask``, ``window`` …), and ``scale``,
    ``layout`` (arrays that are not contiguous) and ``nan_reached``. With ``gradients`` some cases are backward ones.
    Without ``align`` there are as many keys as queries where the features include ``causal``, ``window`` or ``slopes``.
    """
    return _cases(Drawable(words(features), words(dtypes), gradients, align))


def problems(
    features: Names = (),
    dtypes: Names = "float32",
    *,
    gradients: bool = False,
    align: str | None = None,
    backend: str = "numpy",
    layout: str = "bhsd",
    device: str = "cpu",
) -> SearchStrategy[PosedProblem]:
    """The same cases with their operands, as ``attnbench.testing.problem`` makes them."""
    drawn = cases(features, dtypes, gradients=gradients, align=align)
    return drawn.map(lambda case: _small_read(problem(case, backend=backend, layout=layout, device=device)))


def operands(
    case: Case | str, *, backend: str = "numpy", layout: str = "bhsd", device: str = "cpu"
) -> SearchStrategy[PosedProblem]:
    """Operands of one case, which differ in their values: seeds, and distributions that make other faults visible."""
    given = problem(case, backend=backend, layout=layout, device=device).case

    def with_values(seed: int, distribution: str) -> PosedProblem:
        other = given.with_problem(seed=seed, distribution=distribution)
        return _small_read(problem(other, backend=backend, layout=layout, device=device))

    return st.builds(with_values, st.integers(0, 2**31 - 1), st.sampled_from(VALUES))


def _small_read(posed: PosedProblem) -> PosedProblem:
    """While a failing problem shrinks, readings are tried only on small ones: there are many of them."""
    return replace(posed, read_pairs=READ_PAIRS)


class _Draws:
    """What draws a case of its classes, in the place of NumPy's generator: what is drawn can shrink."""

    def __init__(self, draw: DrawFn) -> None:
        self._draw = draw

    def integers(self, high: int) -> int:
        return _below(self._draw, high)

    def uniform(self, low: float, high: float, count: int) -> list[float]:
        return [self._draw(st.integers(-1000, 1000)) / 1000 * (high - low) / 2 + (low + high) / 2 for _ in range(count)]


def _below(draw: DrawFn, high: int) -> int:
    """A number below ``high``, always drawn from one range where that is small.

    So the draws that follow stay what they are while another size shrinks, and has fewer values to choose from.
    """
    return draw(st.integers(0, SOME - 1)) % high if high <= SOME else draw(st.integers(0, high - 1))


@st.composite
def _cases(draw: DrawFn, drawable: Drawable) -> Case:
    every = levels(drawable)
    row = {name: some[0] for name, some in every.items() if name not in dims.SIZES}
    row["mode"] = draw(st.sampled_from(every["mode"]))
    row |= _sizes(draw, every, row["score"])
    optional = [name for name in dims.FEATURES if name not in ("where", *dims.CORE) and len(every.get(name, ())) > 1]
    core = [name for name in dims.CORE if len(every.get(name, ())) > 1 and draw(st.booleans())]
    chosen = draw(st.lists(st.sampled_from(optional), max_size=MOST_ON, unique=True)) if optional else []
    for name in (*core, *chosen):
        _turn_on(draw, every, row, name)
    implementation = drawable.implementation
    try:
        generator: Any = _Draws(draw)
        case = case_of(row, generator)
        if implementation.unsupported(needs_of(case, "cpu")) is not None or not has_a_key(case):
            reject()
    except SpecError:
        reject()
    return case


def _sizes(draw: DrawFn, every: dict[str, list[str]], score: str) -> dict[str, str]:
    """Classes of sizes, one after the other, that together are not too much work."""
    sizes: dict[str, str] = {}
    for name in dims.SIZES:
        fitting = [level for level in every[name] if dims.fits({**sizes, "score": score, name: level}, dims.SMALL)]
        sizes[name] = fitting[_below(draw, len(fitting))] if fitting else every[name][0]
    return sizes


def _turn_on(draw: DrawFn, every: dict[str, list[str]], row: dict[str, str], name: str) -> None:
    """A feature beside what is on, where it has a meaning there; with its position where that plays a part."""
    level = draw(st.sampled_from(every[name][1:]))
    if dims.fits(row | {name: level}, dims.SMALL):
        row[name] = level
        return
    ways = [*({"where": where} for where in every["where"][1:]), {"S": dims.SQUARE}]
    for way in ways:
        if dims.fits(row | {name: level} | way, dims.SMALL):
            row |= {name: level} | way
            return
