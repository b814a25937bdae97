"""The axes along which one implementation may overtake another: which numbers there are, and the cell of each.

All else of a cell is that of a named shape (``attention.shapes``), a phase, a number of tokens and a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from attnbench.attention import shapes
from attnbench.attention.problem import Case
from attnbench.crossover.search import Grid
from attnbench.errors import SpecError, UsageError, check_known

TOKENS = 512


@dataclass(frozen=True)
class AxisSetting:
    """What does not vary: the shape, the tokens and the batch where they are not the axis, phase, dtype, place."""

    shape: str = "h4-d64"
    tokens: int = TOKENS
    batch: int = 1
    phase: str = "prefill"
    dtype: str = "float32"
    device: str = "cpu"
    threads: int = 1

    def case(self, tokens: int | None = None, batch: int | None = None) -> Case:
        """The case with this many tokens and sequences."""
        counts = {"phase": self.phase, "batch": batch or self.batch, "dtype": self.dtype}
        return shapes.case(self.shape, tokens or self.tokens, **counts)  # type: ignore[arg-type]


@dataclass(frozen=True)
class SearchAxis:
    """One axis. ``sign`` is how it is written in a sentence, ``power`` how the work of a call grows with it."""

    name: str
    sign: str
    about: str
    low: int
    high: int
    power: float
    case: Callable[[AxisSetting, int], Case]
    beyond: bool = True  # where a place is too much for an implementation, larger ones are


def _tokens(setting: AxisSetting, x: int) -> Case:
    return setting.case(tokens=x)


def _heads(setting: AxisSetting, x: int) -> Case:
    case = setting.case()
    shared = case.problem.Hq // case.problem.Hkv
    return replace(case, problem=replace(case.problem, Hq=x, Hkv=x // shared))


def _head_size(setting: AxisSetting, x: int) -> Case:
    case = setting.case()
    values = x if case.problem.Dv == case.problem.D else case.problem.Dv
    return replace(case, problem=replace(case.problem, D=x, Dv=values, Da=x))


def _batch(setting: AxisSetting, x: int) -> Case:
    return setting.case(batch=x)


def _same(setting: AxisSetting, x: int) -> Case:
    del x
    return setting.case()


AXES = {
    axis.name: axis
    for axis in (
        SearchAxis("tokens", "T", "queries and keys", 64, 8192, 2.0, _tokens),
        SearchAxis("keys", "S", "keys in the cache, in decode", 256, 32768, 1.0, _tokens),
        SearchAxis("heads", "heads", "query heads; keys are shared as in the shape", 1, 64, 1.0, _heads),
        SearchAxis("head_size", "D", "the size of a head", 16, 256, 1.0, _head_size),
        SearchAxis("batch", "B", "sequences at once", 1, 64, 1.0, _batch),
        SearchAxis("threads", "threads", "threads, the same for all", 1, 0, 0.0, _same, beyond=False),
    )
}
EIGHT = 8


def axis_named(name: str) -> SearchAxis:
    """An axis. Raises ``UsageError`` that names those there are."""
    check_known("--axis", [name], tuple(AXES))
    return AXES[name]


def setting_for(axis: SearchAxis, setting: AxisSetting, *, typed: str | None) -> AxisSetting:
    """The setting with the phase that its axis is about. Raises ``UsageError`` where another was ``typed``."""
    if axis.name == "keys":
        if typed is not None and setting.phase != "decode":
            msg = f"--axis keys is about decode; got --phase {typed}. For prefill and train: --axis tokens"
            raise UsageError(msg)
        return replace(setting, phase="decode")
    if axis.name == "tokens" and setting.phase == "decode":
        msg = "in decode there is one new token, and the cache varies: type --axis keys"
        raise UsageError(msg)
    return setting


def grid_of(axis: SearchAxis, setting: AxisSetting, low: int | None = None, high: int | None = None) -> Grid:
    """The numbers of an axis between two ends, by default its own. Raises ``UsageError`` where there are not two."""
    from attnbench.results.fingerprint import processors

    most = high if high is not None else axis.high or processors() or 1
    least = low if low is not None else min(axis.low, most)
    step = 1
    if axis.name == "heads":
        problem = setting.case().problem
        step = problem.Hq // problem.Hkv
        least = max(least, step) if low is None else least
        if least % step:
            msg = f"--range {least}:{most}: in shape {setting.shape} {step} query heads share one of keys; begin at a "
            raise UsageError(msg + f"multiple of {step}")
    elif axis.name == "head_size" and not (least % EIGHT or most % EIGHT):
        step = EIGHT
    if most < least + step:
        steps = f" in steps of {step}" if step > 1 else ""
        msg = f"--axis {axis.name} needs two places at least; {least}:{most}{steps} has one"
        raise UsageError(msg + (f". This process may use {most} processor" if axis.name == "threads" else ""))
    try:
        axis.case(setting, least)
        axis.case(setting, most)
    except SpecError as error:
        msg = f"--range {least}:{most}: {error}"
        raise UsageError(msg) from error
    return Grid(least, most, step)
