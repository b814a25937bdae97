"""A function of somebody's own as an implementation, by its arguments and by what its author says of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from attnbench.agree.cases.by_feature import FEATURES as ROWS_OF_SPEC
from attnbench.attention.spec import ALIGNMENTS, POSITIONS
from attnbench.backends.implementation import FEATURES, AttentionOutput, Capabilities, Implementation
from attnbench.errors import UnsupportedError, UsageError
from attnbench.interface.functions import POSITIONED, Adapted, adapted, shown
from attnbench.testing.saying import NOT_JUDGED, Saying

Attend = Callable[..., Any]
# Features that no argument shows: who names one declares it.
NEED_NO_ARGUMENT = ("gqa", "nan_isolation", "head_scale", "log_n", "batch_offset")


def kernel(function: Any, said: Saying) -> Adapted:
    """The implementation that a function is. Raises ``UsageError`` for what cannot be called as one."""
    if isinstance(function, Implementation):
        _refuse_said(function, said)
        return adapted(function, None, None)
    function = _with_arguments(function)
    takes_call = "call" in _parameters(function)
    if said.capabilities is not None:
        before = _besides(said.capabilities, said)
    else:
        before = _of_call(said) if takes_call else _of_arguments(function, said)
    handed_over = before if takes_call else replace(before, lse=False)
    plain = adapted(function, handed_over, said.backend, said.vjp)
    can = _restricted(before, said)
    attend = _built_in(_returning(_laid_out(plain.implementation.attend, said.layout), said.returns), said.spec)
    implementation = Implementation(plain.implementation.name, can, attend, said.vjp)
    name = str(getattr(function, "__name__", ""))
    typed = ", ".join([name if name.isidentifier() else "fn", *_typed(said)])
    return Adapted(implementation, (), typed)


def _refuse_said(decorated: Implementation, said: Saying) -> None:
    """Raise ``UsageError`` for what is said of a decorated function, which declares all of it itself."""
    can = decorated.capabilities_on(said.device)
    there = {
        "backend": said.backend not in ("numpy", decorated.backend),
        "gradients": said.gradients and not can.gradients,
        "layout": said.layout != "bhsd",
        "returns": said.returns != ("output",),
        **{name: bool(getattr(said, name)) for name in ("only", "precision", "limits")},
        **{name: getattr(said, name) is not None for name in ("capabilities", "vjp")},
    }
    if idle := [name for name, is_there in there.items() if is_there]:
        msg = f"{decorated.name} is decorated, and declares all of that itself: leave out {', '.join(idle)}"
        raise UsageError(msg)
    if missing := [name for name in said.features if name in FEATURES and not getattr(can, name)]:
        msg = f"{decorated.name} does not declare {', '.join(missing)}: write it into its Capabilities, or leave it out"
        raise UsageError(msg)


def _besides(can: Capabilities, said: Saying) -> Capabilities:
    """What is declared, and what is said besides."""
    return replace(
        can,
        gradients=can.gradients or said.gradients,
        lse=can.lse or "lse" in said.returns,
        precision={**can.precision, **said.precision},
        limits=(*can.limits, *said.limits),
        only=tuple(dict.fromkeys((*can.only, *said.only))),
    )


def _with_arguments(function: Any) -> Any:
    """A module of PyTorch shows the arguments of its ``forward``."""
    forward = getattr(type(function), "forward", None)
    if forward is None or inspect.isfunction(function) or not callable(function):
        return function

    def module(*arguments: Any, **words: Any) -> Any:
        return function(*arguments, **words)

    module.__name__ = type(function).__name__
    module.__signature__ = inspect.signature(function.forward)  # type: ignore[attr-defined]
    return module


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _of_call(said: Saying) -> Capabilities:
    """What a function that takes the call is said to support: the features that are named."""
    features: dict[str, Any] = {name: True for name in said.features if name in FEATURES}
    return _said(Capabilities(**features), said)


def _of_arguments(function: Any, said: Saying) -> Capabilities:
    """What the arguments of a function show, and of that only the features that are named, where any are."""
    can = adapted(function, None, said.backend).implementation.capabilities
    named = [name for name in said.features if name in FEATURES and name not in said.spec]
    if set(said.features) & set(ROWS_OF_SPEC):
        if "lse" in named and "lse" not in said.returns:
            msg = "the feature lse is named: say where it is returned, as in returns=('output', 'lse')"
            raise UsageError(msg)
        declared = dict.fromkeys(FEATURES, False) | dict.fromkeys(named, True)
        only = tuple(name for name in can.only if name == "default_scale")
        can = replace(can, **declared, only=only, alignments=POSITIONS)  # type: ignore[arg-type]
    return _said(_narrowed(can, _parameters(function)), said)


def _narrowed(can: Capabilities, parameters: Mapping[str, Any]) -> Capabilities:
    """Without an offset only calls with as many queries as keys can be asked, where positions matter."""
    every = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    only = [name for name in can.only if name == "default_scale"]
    if any(getattr(can, name) for name in POSITIONED) and "offset" not in parameters and not every:
        only.append("square")
    if can.lengths and "q_lengths" not in parameters and not every:
        only.append("key_lengths")
    alignments = ALIGNMENTS if "square" in only else POSITIONS
    return replace(can, only=tuple(only), alignments=alignments)


def _said(can: Capabilities, said: Saying) -> Capabilities:
    """With dtypes, device, gradients and what else the author says."""
    return replace(
        can,
        dtypes=said.dtypes or can.dtypes,
        devices=(said.device,),
        gradients=said.gradients,
        lse=can.lse or "lse" in said.returns,
        precision=said.precision,
        limits=said.limits,
        only=tuple(dict.fromkeys((*can.only, *said.only))),
    )


def _restricted(can: Capabilities, said: Saying) -> Capabilities:
    """With the words that are built in: they are supported, and nothing else is."""
    fixed = said.spec
    features = {name: True for name in ("causal", "window", "softcap") if fixed.get(name)}
    only = [name for name in can.only if not (name == "default_scale" and "scale" in fixed)]
    positioned = any(features.get(name) for name in POSITIONED)
    if positioned and "align" in fixed:
        only = [name for name in only if name != "square"]
    elif positioned and not can.causal and "square" not in only:
        only.append("square")
    if fixed.get("causal"):
        only.append("causal")
    alignments = (fixed["align"],) if positioned and "align" in fixed else can.alignments
    alignments = ALIGNMENTS if "square" in only else alignments
    return replace(can, **features, only=tuple(only), alignments=alignments)  # type: ignore[arg-type]


def _laid_out(attend: Attend, layout: str) -> Attend:
    """The function, called with arrays (B, T, H, D) where that is its layout."""
    if layout == "bhsd":
        return attend

    def in_layout(q: Any, k: Any, v: Any, call: Any) -> Any:
        given = [turned(array) for array in (q, k, v)]
        result = attend(*given, call)
        for name, array, before in zip("qkv", given, (q, k, v), strict=True):
            refuse_written(name, array, before.swapaxes(1, 2))
        return _turned_back(result)

    return in_layout


def turned(array: Any) -> Any:
    """Heads and tokens exchanged; what was contiguous is so again."""
    other = array.swapaxes(1, 2)
    flags = getattr(array, "flags", None)
    if flags is not None and getattr(flags, "c_contiguous", False):
        other = other.copy()
        other.flags.writeable = False
    elif hasattr(array, "is_contiguous") and array.is_contiguous():
        other = other.contiguous()
    return other


def refuse_written(name: str, array: Any, before: Any) -> None:
    """Raise ``ValueError`` where the function changed a copy of its input; JAX's arrays cannot be changed."""
    if hasattr(array, "is_contiguous"):
        array, before = array.detach(), before.detach()
        if not bool(((array == before) | ((array != array) & (before != before))).all()):  # noqa: PLR0124  (a NaN is not itself)
            msg = f"the function wrote to its input {name}, which is read-only"
            raise ValueError(msg)


def _turned_back(result: Any) -> Any:
    if isinstance(result, AttentionOutput):
        return replace(result, output=_of_rank_4(result.output))
    if isinstance(result, tuple | list):
        return tuple(_of_rank_4(array) for array in result)
    return _of_rank_4(result)


def _of_rank_4(array: Any) -> Any:
    return array.swapaxes(1, 2) if len(getattr(array, "shape", ())) == len("bshd") else array


def _returning(attend: Attend, returns: tuple[str, ...]) -> Attend:
    """The function, whose tuple is taken apart as ``returns`` says."""

    def returning(q: Any, k: Any, v: Any, call: Any) -> Any:
        result = attend(q, k, v, call)
        if result is None:
            msg = "it returned nothing (None)"
            raise TypeError(msg)
        if not isinstance(result, tuple | list):
            if len(returns) > 1:
                msg = f"it is to return {', '.join(returns)}, and returned one {type(result).__name__}"
                raise TypeError(msg)
            return result
        if len(result) != len(returns):
            msg = f"it returned {len(result)} values: say which, as in returns=('output', 'lse'); '_' is not judged"
            raise TypeError(msg)
        parts = {name: part for name, part in zip(returns, result, strict=True) if name != NOT_JUDGED}
        return AttentionOutput(parts["output"], lse=parts.get("lse") if call.wants("lse") else None)

    return returning


def _built_in(attend: Attend, fixed: Mapping[str, Any]) -> Attend:
    """The function, which refuses calls of another spec than the one that is built into it."""
    if not fixed:
        return attend

    @functools.wraps(attend)
    def always(q: Any, k: Any, v: Any, call: Any) -> Any:
        for name, value in fixed.items():
            asks = getattr(call.spec, name)
            if asks != value and not (name == "align" and call.sizes.Tq == call.sizes.S):
                msg = f"it computes {name}={value!r} alone, and not {asks!r}"
                raise UnsupportedError(msg)
        return attend(q, k, v, call)

    return always


def _typed(said: Saying) -> list[str]:
    """What has to be said again in a call that shows one case again."""
    typed = [f"{name}={value!r}" for name, value in said.spec.items()]
    typed += [f"backend={said.backend!r}"] if said.backend != "numpy" else []
    typed += [f"device={said.device!r}"] if said.device != "cpu" else []
    typed += [f"layout={said.layout!r}"] if said.layout != "bhsd" else []
    typed += [f"returns={said.returns!r}"] if said.returns != ("output",) else []
    typed += [f"only={said.only!r}"] if said.only else []
    typed += [f"precision={dict(said.precision)!r}"] if said.precision else []
    typed += [f"capabilities={shown(said.capabilities)}"] if said.capabilities is not None else []
    return typed + (["vjp=..."] if said.vjp is not None else [])
