"""A shape: what one attention layer of a model computes, as data, and the cases that can be asked of it.

Read from ``models.toml`` beside this module, where every model names its source. Legend of the sizes in
``attnbench.attention.spec``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any, NoReturn

from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.errors import UsageError, not_one_of, suggest

# The words of people who run models, and the phases of a case that they stand for.
PHASES = {"prefill": "forward", "decode": "decode", "train": "backward"}
# And back: whoever types the phase of a case means that word.
PHASE_WORDS = {phase: word for word, phase in PHASES.items()}
LIST = "attnbench list shapes"
# Plain sizes by their names, listed or not: h8-2-d128-causal is eight heads of 128 that share two of keys, causal.
PLAIN = re.compile(r"h([1-9]\d{0,4})(?:-([1-9]\d{0,4}))?-d([1-9]\d{0,4})(-causal)?")


def _fail(message: str) -> NoReturn:
    raise UsageError(message)


@dataclass(frozen=True)
class Shape:
    """One attention layer.

    ``heads`` query heads share ``kv_heads`` (default: as many) of keys and values; ``head_size`` is D, ``value_size``
    Dv. ``window`` counts the keys that a query sees, itself among them. ``scale`` is the factor of q·k, by default
    1/√D. ``bias``: a float bias of shape (1, Hq, Tq, S). ``keys``: the number of keys where it is not that of the
    tokens (cross attention). ``context``: the longest sequence that the model is made for. ``hidden`` is the width of
    the model's stream; ``from_hidden`` says whether D is hidden / heads or a figure of its own. ``source`` is the
    address of ``fields``, the names and values there; ``read`` says where else they were read, and ``note`` the rest.
    """

    name: str
    title: str
    heads: int
    head_size: int
    kv_heads: int = 0
    value_size: int = 0
    causal: bool = False
    window: int | None = None
    softcap: float | None = None
    scale: float | None = None
    sinks: bool = False
    bias: bool = False
    keys: int | None = None
    context: int | None = None
    hidden: int | None = None
    from_hidden: bool = True
    source: str = ""
    fields: str = ""
    read: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kv_heads", self.kv_heads or self.heads)
        object.__setattr__(self, "value_size", self.value_size or self.head_size)

    @property
    def is_model(self) -> bool:
        """Whether it is a model's, with a source; the others are plain sizes that suites use."""
        return bool(self.source)

    @property
    def spec(self) -> AttentionSpec:
        """What the layer computes."""
        window = None if self.window is None else (self.window - 1, None if self.causal else self.window - 1)
        return AttentionSpec(scale=self.scale, softcap=self.softcap, causal=self.causal, window=window)

    def problem(self, tokens: int, *, phase: str = "prefill", batch: int = 1, dtype: str = "float32") -> Problem:
        """Sizes and operands: ``tokens`` queries and keys, or with ``decode`` one query over ``tokens`` keys.

        The keys of a cache are those before the new one; cross attention has ``keys`` of them whatever the tokens are.
        """
        decoding = phase == "decode"
        operands = [
            *(["sinks"] if self.sinks else []),
            *(["bias_heads"] if self.bias else []),
            *(["past"] if decoding and self.keys is None else []),
        ]
        return Problem(
            B=batch,
            Hq=self.heads,
            Hkv=self.kv_heads,
            Tq=1 if decoding else tokens,
            S=tokens if self.keys is None else self.keys,
            D=self.head_size,
            Dv=self.value_size,
            dtype=dtype,
            operands=tuple(operands),
        )

    def case(self, tokens: int, *, phase: str = "prefill", batch: int = 1, dtype: str = "float32") -> Case:
        """The case of a phase: ``prefill`` (forward), ``train`` (forward and backward) or ``decode`` (one token).

        Raises ``UsageError`` for another phase, or for no tokens.
        """
        if phase not in PHASES:
            _fail(not_one_of("phase", phase, PHASES))
        if tokens < 1 or batch < 1:
            _fail(f"--tokens and --batch are 1 or more; got {tokens} tokens, a batch of {batch}")
        problem = self.problem(tokens, phase=phase, batch=batch, dtype=dtype)
        return Case(self.spec, problem, phase=PHASES[phase])


@cache
def shapes() -> Mapping[str, Shape]:
    """Every shape by name, in the order of ``models.toml``. Raises ``UsageError`` for an entry that is none."""
    text = files("attnbench.attention").joinpath("models.toml").read_text(encoding="utf-8")
    return {name: _shape(name, entry) for name, entry in tomllib.loads(text).items()}


def _shape(name: str, entry: dict[str, Any]) -> Shape:
    known = [field.name for field in fields(Shape) if field.name != "name"]
    needed = [field.name for field in fields(Shape) if field.default is MISSING and field.name != "name"]
    for key in entry:
        if key not in known:
            _fail(
                f"models.toml, [{name}]: there is no field {key!r}; there are {', '.join(known)}{suggest(key, known)}"
            )
    if missing := [key for key in needed if key not in entry]:
        _fail(f"models.toml, [{name}]: {', '.join(missing)} is missing")
    return Shape(name, **entry)


def shape(name: str) -> Shape:
    """One shape by name; ``UsageError`` names the nearest and how to list them."""
    known = shapes()
    if name in known:
        return known[name]
    if plain := PLAIN.fullmatch(name):
        return _plain(name, *plain.groups())
    kinds = [layer for layer in known if layer.startswith(f"{name}/")]
    near = f"; it has layers of {len(kinds)} kinds: {', '.join(kinds)}" if kinds else suggest(name, known)
    return _fail(f"unknown shape {name!r}{near}; to see them all, type: {LIST}")


def _plain(name: str, heads: str, kv_heads: str | None, head_size: str, causal: str | None) -> Shape:
    """A plain size by its name alone; ``UsageError`` where its heads cannot share."""
    shared = int(kv_heads or heads)
    if int(heads) % shared:
        _fail(f"shape {name!r}: {heads} query heads cannot share {shared}; they must be a multiple of them")
    title = f"{heads} heads of {head_size}" + (f" sharing {shared} of keys" if kv_heads else "")
    return Shape(name, title, int(heads), int(head_size), shared, causal=causal is not None)


def case(name: str, tokens: int, *, phase: str = "prefill", batch: int = 1, dtype: str = "float32") -> Case:
    """The case of a named shape: ``shape(name).case(...)``."""
    return shape(name).case(tokens, phase=phase, batch=batch, dtype=dtype)
