"""What attention is: the specification, free of sizes, data and frameworks.

Legend of the shapes used throughout: ``B`` batch, ``Hq``/``Hkv`` query and key/value heads, ``Tq`` queries, ``S``
keys, ``D`` query/key head size, ``Dv`` value head size, ``Da`` hidden size of a learned score. Arrays are
(B, H, T, D). The normative text is ``docs/spec.md``.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, NoReturn

from attnbench.errors import SpecError, not_one_of, suggest
from attnbench.keywords import explained

SPEC_VERSION = "1"

SCORES = ("dot", "general", "additive", "concat", "cosine")
SCALE_NAMES = ("none", "1/d", "log_n")
ALIGNMENTS = ("top_left", "bottom_right")
# Where the queries of a call stand among its keys: at one of the corners, or anywhere.
POSITIONS = (*ALIGNMENTS, "offset")
SCORE_PARAMS = {
    "dot": (),
    "general": ("W",),
    "additive": ("Wq", "Wk", "b", "v"),
    "concat": ("W", "v"),
    "cosine": ("temperature",),
}
# What a call may ask for: the output, the log-sum-exp, and the stages on the way to the weights.
STAGES = ("scores", "capped", "logits", "weights")
OUTPUTS = ("output", "lse", *STAGES)
COSINE_FLOOR = 1e-12
# Offsets and window sides reach no farther, so that positions fit 32-bit integers in every framework.
FARTHEST = 2**30

Scale = float | str | tuple[float, ...] | None


def _fail(message: str) -> NoReturn:
    raise SpecError(message)


def _real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _finite(value: Any) -> bool:
    return _real(value) and abs(value) <= sys.float_info.max  # an integer can be larger than any float


@explained
@dataclass(frozen=True)
class AttentionSpec:
    """One way to attend: score, scale, softcap, causality, window and dropout. Immutable and hashable.

    ``scale``: ``None`` is 1/√D for ``dot`` and 1 for every other score; a float of any sign; ``"none"`` is 1; a tuple
    of Hq floats; ``"1/d"``; ``"log_n"``. ``softcap`` c > 0 gives c·tanh(s/c) after the scale, before bias and mask.
    ``causal`` with Tq ≠ S needs ``align`` (or an ``offset`` in the call). ``window`` is (left, right), inclusive,
    ``None`` for unbounded. Sources: Vaswani 2017 (dot, scale), Bahdanau 2014 (additive), Luong 2015 (general,
    concat), Gemma 2 (softcap).

    Raises ``SpecError`` for anything that is not a member of the spec.
    """

    score: str = "dot"
    scale: Scale = None
    softcap: float | None = None
    causal: bool = False
    align: str | None = None
    window: tuple[int | None, int | None] | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            _fail(not_one_of("score", self.score, SCORES))
        object.__setattr__(self, "scale", _checked_scale(self.scale))
        if not isinstance(self.causal, bool):
            _fail(f"causal is True or False, not {self.causal!r}")
        if self.align is not None and self.align not in ALIGNMENTS:
            _fail(not_one_of("align", self.align, ALIGNMENTS))
        object.__setattr__(self, "softcap", _checked_softcap(self.softcap))
        object.__setattr__(self, "window", _checked_window(self.window))
        if not _real(self.dropout) or not 0 <= self.dropout < 1:
            _fail(f"dropout is a probability with 0 <= p < 1, not {self.dropout!r}")
        object.__setattr__(self, "dropout", float(self.dropout) + 0.0)

    @property
    def unscaled(self) -> bool:
        """Whether the spec has no scale at all, which is not a scale of 1: nothing need be multiplied."""
        return self.scale == "none" or (self.scale is None and self.score != "dot")

    def scale_factor(self, head_size: int) -> float:
        """The scale as one float for head size D; for ``log_n`` the factor besides ln n. Per-head scales have none."""
        if isinstance(self.scale, tuple):
            _fail("a scale per head is not one float; read call.scale")
        if isinstance(self.scale, float):
            return self.scale
        if self.unscaled:
            return 1.0
        return 1.0 / head_size if self.scale == "1/d" else 1.0 / math.sqrt(head_size)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of the fields that differ from their defaults, in a fixed order."""
        listed = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {f.name: listed[f.name] for f in fields(self) if getattr(self, f.name) != f.default}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> AttentionSpec:
        """The inverse of ``to_dict``; unknown names are an error, not ignored."""
        known = [f.name for f in fields(cls)]
        for name in data:
            if name not in known:
                _fail(f"an AttentionSpec has no field {name!r}; it has {', '.join(known)}{suggest(name, known)}")
        return cls(**data)

    @property
    def id(self) -> str:
        """A stable name of this spec: the same in every process and version that means the same."""
        return stable_id(self.to_dict())


@dataclass(frozen=True)
class Needs:
    """What one call asks of an implementation: features by their names in ``Capabilities``, and sizes.

    Among the features stand those that a restriction excludes (``backends.implementation.ONLY``), such as ``strided``
    for operands that are not contiguous. ``positions`` are the names of where the queries stand among the keys
    (``POSITIONS``): any one of them that is supported will do; none where positions play no part.
    """

    dtype: str
    score: str
    features: frozenset[str]
    sizes: Mapping[str, int]
    device: str = "cpu"
    positions: frozenset[str] = frozenset()

    def with_features(self, *names: str) -> Needs:
        """The same with more features."""
        return replace(self, features=self.features | set(names))


def stable_id(data: object) -> str:
    """Twelve hexadecimal digits of the SHA-256 of the canonical JSON of ``data`` with the spec's version."""
    text = json.dumps([SPEC_VERSION, data], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _checked_scale(scale: Any) -> Scale:
    if scale is None or (isinstance(scale, str) and scale in SCALE_NAMES):
        return scale
    if isinstance(scale, str):
        _fail(f"scale {scale!r} is not a number, a list of Hq numbers, None or one of {', '.join(SCALE_NAMES)}")
    if hasattr(scale, "tolist"):
        scale = scale.tolist()
    values = list(scale) if isinstance(scale, (list, tuple)) else [scale]
    if not values or not all(_finite(v) for v in values):
        _fail(f"scale is a finite number, or one for each query head; got {scale!r}")
    numbers = tuple(float(v) + 0.0 for v in values)  # -0.0 is 0.0: equal specs have equal ids
    return numbers if isinstance(scale, (list, tuple)) else numbers[0]


def _checked_softcap(softcap: Any) -> float | None:
    if softcap is None:
        return None
    if not _finite(softcap) or softcap <= 0:
        _fail(f"softcap is a number above 0, or None for no cap; got {softcap!r}")
    return float(softcap)


def _checked_window(window: Any) -> tuple[int | None, int | None] | None:
    if window is None:
        return None
    if not isinstance(window, (list, tuple)) or len(window) != 2:  # noqa: PLR2004  (left and right)
        _fail(f"window is (left, right), None for unbounded; got {window!r}")
    for side in window:
        whole = isinstance(side, Integral) and not isinstance(side, bool)
        if side is not None and not (whole and 0 <= int(side) <= FARTHEST):
            _fail(f"a window's sides are integers from 0 to 2**30, or None for unbounded; got {window!r}")
    left, right = (None if side is None else int(side) for side in window)
    return None if left is None and right is None else (left, right)
