"""Which cases there are for some features: what a kernel with these features would declare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases import dimensions as dims
from attnbench.agree.cases.by_feature import check_cases
from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.cases.features import features_of
from attnbench.agree.cases.levels import levels_of
from attnbench.agree.cases.plan import boundary_cases
from attnbench.attention.precision import DTYPES
from attnbench.attention.spec import ALIGNMENTS
from attnbench.backends.asked import needs_of
from attnbench.backends.fitted import SAYS_WHERE, fitted, offered
from attnbench.backends.implementation import FEATURES, Capabilities, Implementation
from attnbench.errors import SpecError, UsageError, check_known
from attnbench.interface.functions import POSITIONED
from attnbench.testing.saying import PLAIN

if TYPE_CHECKING:
    from attnbench.attention.problem import Case

# What can be asked for besides the features that a kernel declares.
BESIDES = ("scale", "layout", "nan_reached")
OFFERED = (*(name for name in FEATURES if name not in ("gradients", "stages")), *BESIDES)
ALWAYS = (PLAIN, "inputs")  # rows of the plain call


@dataclass(frozen=True)
class Drawable:
    """The features, dtypes and gradients of the cases that are wanted, and where the queries of causal calls stand."""

    features: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("float32",)
    gradients: bool = False
    align: str | None = None

    def __post_init__(self) -> None:
        check_known("feature", self.features, OFFERED)
        check_known("dtype", self.dtypes, DTYPES)
        if self.align is not None:
            check_known("align", [self.align], ALIGNMENTS)
        if not self.dtypes:
            msg = f"no dtype is named: dtypes are some of {', '.join(DTYPES)}"
            raise UsageError(msg)

    @property
    def implementation(self) -> Implementation:
        """What declares all of it; it is never called."""
        named: dict[str, Any] = {name: True for name in self.features if name in FEATURES}
        only = [] if {"scale", "head_scale", "log_n"} & set(self.features) else ["default_scale"]
        only += [] if "layout" in self.features else ["contiguous"]
        alignments: tuple[str, ...] = ALIGNMENTS
        positioned = any(named.get(name) for name in POSITIONED)
        if positioned and self.align is None:
            only.append("square")
        elif positioned and self.align is not None:
            alignments = (self.align,)
        more: dict[str, Any] = {"alignments": alignments} if positioned else {}
        can = Capabilities(dtypes=self.dtypes, gradients=self.gradients, only=tuple(only), **named, **more)
        return Implementation("numpy/drawn", can, _never)

    def cases(self) -> Iterator[Case]:
        """Those of ``attnbench check``: its table and its plan, of the plain call and of every named feature."""
        implementation = self.implementation
        can, rows = implementation.capabilities, (*ALWAYS, *self.features)
        for dtype in self.dtypes:
            for check_case in check_cases(dtype):
                case = fitted(offered(check_case.case, implementation, "cpu"), can, check_case.feature)
                try:
                    supported = implementation.unsupported(needs_of(case, "cpu")) is None
                except SpecError:
                    continue
                if check_case.feature in rows and supported:
                    yield case
        for text in boundary_cases(implementation, self.dtypes, (), "cpu", depth="quick"):
            case = case_from_text(text)
            is_wanted = set(features_of(case)) & set(OFFERED) <= set(self.features) and set(case.outputs) <= {"lse"}
            if is_wanted and not any(kind.startswith(SAYS_WHERE) for kind in case.problem.operands):
                yield case


@lru_cache(maxsize=16)
def levels(drawable: Drawable) -> dict[str, list[str]]:
    """The levels of every dimension that cases may have, plain ones first."""
    every = levels_of(drawable.implementation, drawable.dtypes)
    if not every["mode"]:
        msg = f"there are no cases of {', '.join(drawable.features)} together"
        raise UsageError(msg)
    kept = {name: list(every[name]) for name in every}
    kept["mode"].sort(key=lambda mode: mode.endswith("backward"))
    for name in ("Tq", "S", "B", "D"):
        kept[name].sort(key=lambda level: (level != dims.SQUARE, _smallest(name, level)))
    kept["poison"] = [level for level in kept["poison"] if _poison_is_asked(level, drawable.features)]
    kept["outputs"] = [level for level in kept["outputs"] if level in (dims.OFF, "lse")]
    kept["where"] = [level for level in kept["where"] if level in (dims.OFF, drawable.align)]
    return kept


def _smallest(name: str, level: str) -> int:
    if level == dims.SQUARE:
        return 0
    classes: dict[str, Any] = {"B": dims.BATCH, "D": dims.HEAD_SIZES}
    return int(classes.get(name, dims.LENGTHS)[level][0])


def _poison_is_asked(level: str, features: tuple[str, ...]) -> bool:
    """A NaN is drawn only where somebody asks what becomes of it."""
    if level in (dims.OFF, "zeros", "garbage"):
        return True
    return "nan_isolation" in features or ("nan_reached" in features and level in dims.SEEN)


def _never(q: Any, k: Any, v: Any, call: Any) -> Any:
    raise NotImplementedError
