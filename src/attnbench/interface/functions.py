"""A plain function as an implementation: which features it takes is read from the names of its arguments.

``def mine(q, k, v, *, causal=False, scale=None)`` declares ``causal`` by taking it; what a call needs besides is handed
over by name, as in ``attend``. A function with an argument ``call`` is handed the call, as one in a file is.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from attnbench.attention.spec import ALIGNMENTS
from attnbench.backends.discover import backend as card
from attnbench.backends.discover import implementation_names
from attnbench.backends.implementation import Capabilities, Implementation
from attnbench.errors import UsageError
from attnbench.keywords import SYNONYMS

ARRAYS = ("q", "k", "v")
OF_SPEC = ("causal", "window", "softcap")
OF_CALL = (
    *("scale", "offset", "mask", "bias", "q_lengths", "kv_lengths", "q_segments", "kv_segments", "sinks", "slopes"),
    "keep",
)
ARGUMENTS = (*OF_SPEC, *OF_CALL)
# The arguments without which a feature cannot be handed over.
NEEDED: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("causal", "window", "softcap", "mask", "bias", "sinks", "slopes")},
    "lengths": ("kv_lengths",),
    "segments": ("q_segments", "kv_segments"),
    "dropout": ("keep",),
    "head_scale": ("scale",),
    "batch_offset": ("offset",),
}
# What is asked of a function only through its argument ``call``.
UNNAMED = ("lse", "stages")
OTHERS = "Grouped heads, other dtypes, gradients and more are declared by capabilities=Capabilities(...)."
POSITIONED = ("causal", "window", "slopes")


@dataclass(frozen=True)
class Adapted:
    """A function as an implementation: what was read from its arguments, in sentences, and how it is asked again."""

    implementation: Implementation
    notes: tuple[str, ...]
    typed: str


def adapted(function: Any, capabilities: Capabilities | None, backend: str | None, vjp: Any = None) -> Adapted:
    """The implementation that a function is. Raises ``UsageError`` for what cannot be called as one."""
    if isinstance(function, Implementation):
        if capabilities is not None or vjp is not None or backend not in (None, function.backend):
            msg = f"{function.name} is decorated, and declares all of that itself: leave out capabilities, backend, vjp"
            raise UsageError(msg)
        return Adapted(function, (), getattr(function.attend, "__name__", function.variant))
    if not callable(function):
        msg = "what is checked is a function of (q, k, v), or the name of an implementation such as 'torch/sdpa'; "
        raise UsageError(f"{msg}got {function!r}")
    if capabilities is not None and not isinstance(capabilities, Capabilities):
        msg = "capabilities is a Capabilities of attnbench.api, such as Capabilities(causal=True, gqa=True); "
        raise UsageError(f"{msg}got {capabilities!r}")
    framework = backend or "numpy"
    card(framework)  # an unknown one is refused before anything is read of the function
    takes = _arguments(function)
    can = capabilities or _declared(takes)
    _check_handed_over(takes, can)
    name = _named(function, framework)
    python = getattr(function, "__name__", type(function).__name__)
    attend = _direct(function) if "call" in takes.names else _by_name(function, takes)
    notes = () if capabilities is not None or "call" in takes.names else _read(can, takes)
    words = [python, *([f"capabilities={shown(can)}"] if capabilities is not None else [])]
    words += [f"backend={framework!r}"] if framework != "numpy" else []
    words += ["vjp=..."] if vjp is not None else []
    return Adapted(Implementation(name, can, attend, vjp), notes, ", ".join(words))


@dataclass(frozen=True)
class _Takes:
    """The arguments of a function besides q, k and v that are handed over; with ``every`` it takes any."""

    names: tuple[str, ...]
    every: bool = False

    def has(self, name: str) -> bool:
        return self.every or name in self.names


def _arguments(function: Callable[..., Any]) -> _Takes:
    """What a function takes. Raises ``UsageError`` for arguments that nobody can give, or that go by another name."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return _Takes(())  # a compiled function may show none: it is called with q, k and v alone
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    spread = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(positional) < len(ARRAYS) and not spread:
        msg = f"a function that is checked takes (q, k, v) first; its signature is {inspect.signature(function)}"
        raise UsageError(msg)
    rest = [p for p in parameters if p not in positional[: len(ARRAYS)]]
    named = [p for p in rest if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    _refuse_others(named, positional[len(ARRAYS) :])
    names = tuple(p.name for p in named if p.name in (*ARGUMENTS, "call"))
    return _Takes(names, any(p.kind is p.VAR_KEYWORD for p in parameters))


def _refuse_others(named: Sequence[inspect.Parameter], positional: Sequence[inspect.Parameter]) -> None:
    for parameter in named:
        if parameter.name in (*ARGUMENTS, "call"):
            continue
        ours = next((name for name in SYNONYMS.get(parameter.name, ()) if name in ARGUMENTS), None)
        if ours is not None:
            msg = f"the argument {parameter.name!r} is called {ours!r} here: wrap the function, as in"
            raise UsageError(f"{msg} lambda q, k, v, {ours}: f(q, k, v, {parameter.name}={ours})")
        if parameter.default is parameter.empty:
            msg = f"nobody knows what to give for the argument {parameter.name!r}; what can be given is call, or "
            raise UsageError(f"{msg}{', '.join(ARGUMENTS)}. Wrap the function, or give the argument a default")
    only = [p.name for p in positional if p.kind is p.POSITIONAL_ONLY]
    if only:
        msg = f"arguments behind q, k and v are given by name, and {', '.join(only)} has none"
        raise UsageError(msg)


def _declared(takes: _Takes) -> Capabilities:
    """What a function declares by its arguments; what it does not take restricts the calls, and nothing is guessed."""
    if "call" in takes.names:
        msg = "a function that takes call declares what it supports: give capabilities=Capabilities(causal=True, ...)"
        raise UsageError(msg)
    features: dict[str, Any] = {
        feature: True
        for feature, needed in NEEDED.items()
        if set(needed) <= set(takes.names) and feature not in ("head_scale", "batch_offset")
    }
    only = [] if takes.has("scale") else ["default_scale"]
    positioned = any(features.get(name) for name in POSITIONED)
    only += ["square"] if positioned and not takes.has("offset") else []
    only += ["key_lengths"] if features.get("lengths") and not takes.has("q_lengths") else []
    if "square" in only:
        features["alignments"] = ALIGNMENTS  # nobody can say an offset to it
    return Capabilities(**features, only=tuple(only))


def _read(can: Capabilities, takes: _Takes) -> tuple[str, ...]:
    """What was read from the arguments, and what is therefore not asked, in sentences."""
    features = [name for name in NEEDED if getattr(can, name)]
    notes = [f"By its arguments it supports {', '.join(features) or 'no feature besides the plain call'}"]
    notes += ["it takes no scale, so that only the default one is asked"] if "default_scale" in can.only else []
    if "square" in can.only:
        notes.append("it takes no offset, so that only calls with as many queries as keys are asked")
    notes += ["it takes no q_lengths, so that only kv_lengths are given"] if "key_lengths" in can.only else []
    if takes.every:
        notes.append("what its **arguments may be is not known: capabilities=Capabilities(...) says it")
    return f"{'; '.join(notes)}.", OTHERS


def _check_handed_over(takes: _Takes, can: Capabilities) -> None:
    """Raise ``UsageError`` where a feature is declared that the function has no argument for."""
    if "call" in takes.names:
        return
    beyond = [f"scores={can.scores!r}"] if set(can.scores) - {"dot"} else []
    beyond += [f"{name}=True" for name in UNNAMED if getattr(can, name)]
    if beyond:
        msg = f"{' and '.join(beyond)} of the capabilities cannot be handed over by name: take call, as in "
        raise UsageError(
            f"{msg}def f(q, k, v, *, call), where call.spec has the score, and call.outputs what else is asked for"
        )
    for feature, needed in NEEDED.items():
        missing = [name for name in needed if not takes.has(name)]
        if getattr(can, feature) and missing:
            msg = f"the capability {feature} is declared, and the function takes no {' and no '.join(missing)}: add "
            raise UsageError(f"{msg}{', '.join(f'{name}=None' for name in missing)} to its arguments, or call")


def _direct(function: Callable[..., Any]) -> Callable[..., Any]:
    def attend(q: Any, k: Any, v: Any, call: Any) -> Any:
        return function(q, k, v, call=call)

    return attend


def _by_name(function: Callable[..., Any], takes: _Takes) -> Callable[..., Any]:
    """The function with what it takes of a call; by ``**arguments`` all that the call has."""

    def attend(q: Any, k: Any, v: Any, call: Any) -> Any:
        values = {name: getattr(call.spec, name) for name in OF_SPEC} | {name: getattr(call, name) for name in OF_CALL}
        words = {name: values[name] for name in takes.names}
        if takes.every:
            there = {name: value for name, value in values.items() if value is not None and value is not False}
            words = there | words
        return function(q, k, v, **words)

    return attend


def _named(function: Any, framework: str) -> str:
    """A name such as ``numpy/mine``, and never one that is taken."""
    python = getattr(function, "__name__", type(function).__name__)
    name = f"{framework}/{re.sub(r'[^A-Za-z0-9_.+-]', '', python) or 'function'}"
    return f"{name}-given" if name in implementation_names() else name


def shown(can: Capabilities) -> str:
    """Capabilities as they are written: what is not the default."""
    usual = Capabilities()
    said = {f.name: getattr(can, f.name) for f in fields(can) if getattr(can, f.name) != getattr(usual, f.name)}
    return f"Capabilities({', '.join(f'{name}={value!r}' for name, value in said.items())})"
