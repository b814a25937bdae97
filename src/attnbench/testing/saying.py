"""What the author of a function says of it, checked before anything is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attnbench.agree.cases.by_feature import ROWS
from attnbench.agree.cases.case_text import case_from_text
from attnbench.attention.precision import DTYPES
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.implementation import DEVICES, Capabilities
from attnbench.backends.kinds import framework_of_type
from attnbench.errors import UsageError, check_known, not_one_of
from attnbench.keywords import SPEC, check_keywords

LAYOUTS = ("bhsd", "bshd")
DTYPE = "float32"
NOT_JUDGED = "_"
RETURNS = ("output", "lse", NOT_JUDGED)
PLAIN = "sizes"  # the row of the plain call, which is always asked


@dataclass(frozen=True)
class Saying:
    """What is said of a function besides what its arguments show; ``spec`` are the words that are built into it."""

    backend: str = "numpy"
    dtypes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    gradients: bool = False
    layout: str = "bhsd"
    returns: tuple[str, ...] = ("output",)
    only: tuple[str, ...] = ()
    precision: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[Any, ...] = ()
    capabilities: Capabilities | None = None
    vjp: Callable[..., Any] | None = None
    device: str = "cpu"
    spec: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_known("dtype", self.dtypes, DTYPES)
        check_known("feature", (*self.features, *self.without), ROWS)
        check_known("part of returns=", self.returns, RETURNS)
        check_known("device", [self.device], DEVICES)
        if self.layout not in LAYOUTS:
            raise UsageError(not_one_of("layout", self.layout, LAYOUTS))
        if "output" not in self.returns:
            msg = f"returns= says where the output is, as in returns=('output', 'lse'); got {self.returns!r}"
            raise UsageError(msg)
        if self.vjp is not None and self.layout != "bhsd":
            msg = "vjp= is called with arrays (B, H, T, D): leave out layout=, or let the framework take the gradients"
            raise UsageError(msg)


def words(value: Any) -> tuple[str, ...]:
    """One word or several, or several in one text with commas between them."""
    several = [] if value is None else [value] if isinstance(value, str) else list(value)
    return tuple(part.strip() for word in several for part in str(word).split(",") if part.strip())


def built_in(spec: Any, given: Mapping[str, Any], arguments: Iterable[str]) -> dict[str, Any]:
    """The words of the spec that a function always computes, given beside the ``arguments`` of ``assert_agrees``.

    Raises ``UsageError`` for what is no spec, and for a word that is neither.
    """
    check_keywords("assert_agrees", given, [*SPEC, *(name for name in arguments if name not in ("rows", "built"))])
    if spec is None:
        checked = AttentionSpec(**given)
        return {name: getattr(checked, name) for name in given}
    if given:
        msg = f"spec has the words of the spec; leave out {', '.join(given)} beside it"
        raise UsageError(msg)
    if not isinstance(spec, AttentionSpec):
        msg = f"spec is an AttentionSpec, such as AttentionSpec(causal=True), or its words: causal=True; got {spec!r}"
        raise UsageError(msg)
    usual = AttentionSpec()
    return {name: getattr(spec, name) for name in SPEC if getattr(spec, name) != getattr(usual, name)}


def refuse_unread(
    fixed: Mapping[str, Any], cases: Sequence[str], dtypes: Sequence[str], *, gradients: bool, others: Mapping[str, Any]
) -> None:
    """Raise ``UsageError`` for words that say nothing beside ``case``, or beside a spec that is built in."""
    given = [name for name, value in others.items() if value not in (None, (), [], "")]
    if not cases:
        if idle := [name for name in given if fixed and name != "without"]:
            msg = f"{' and '.join(idle)} would say nothing beside {', '.join(fixed)}, which is built in: leave it out"
            raise UsageError(msg)
        return
    idle = list(given)
    parsed = [case_from_text(text) for text in cases]
    idle += ["dtype"] if not set(dtypes) <= {case.problem.dtype for case in parsed} else []
    idle += ["gradients"] if gradients and not any(case.gradients for case in parsed) else []
    if idle:
        line = f"{'backward ' * ('gradients' in idle)}{cases[0]}{f' dtype={dtypes[0]}' * ('dtype' in idle)}"
        say = f", and write the line so: {line!r}" if line != cases[0] else ""
        msg = f"{' and '.join(idle)} would say nothing beside case, whose line says it all: leave it out{say}"
        raise UsageError(msg)


def backend_of(function: Any) -> str:
    """Whose arrays a function takes, as far as its type says so: a module of PyTorch, a jitted function of JAX."""
    return framework_of_type(type(function)) or "numpy"
