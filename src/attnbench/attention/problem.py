"""Problems and cases: the sizes, dtype, seed and distribution of one question, and what is done with them.

*Problem*: sizes, dtype, seed, distribution, and which optional operands are drawn. *Case*: spec × problem × phase.
Both are frozen, serialisable and have a stable id.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from numbers import Integral
from typing import Any, NoReturn

from attnbench.attention.precision import DTYPES
from attnbench.attention.spec import OUTPUTS, AttentionSpec, stable_id
from attnbench.errors import SpecError, not_one_of, suggest
from attnbench.keywords import explained

DISTRIBUTIONS = ("normal", "peaky", "huge", "uniform", "outliers", "near_ties", "denormal", "large_mean")
PHASES = ("forward", "backward", "decode")

# Optional operands by the name of the way in which they are drawn (see inputs.py); at most one of each group.
#
# mask, bias: a value for each pair, of each head and batch entry; _keys (B, 1, 1, S), _heads (1, Hq, Tq, S), _batch
# (B, 1, Tq, S), _pairs (1, 1, Tq, S), _shared (1, 1, 1, S), _head_keys (B, Hq, 1, S), bias (1, Hq, 1, S), and _rows
# (one value for all keys of a query: (B, 1, Tq, 1), bias (1, 1, Tq, 1)) broadcast. mask_dead_rows leaves every third
# query without a key, mask_single one key to each, and mask_tile takes a whole tile of keys from all and all keys from
# a tile of queries.
# bias_minus_inf removes keys. bias_low removes none: a quarter of it is low and finite, around -1e4, around -1e9 and
# the dtype's lowest number, mixed, and some rows are low as a whole; bias_low_keys is such a bias of padding.
# offset, offsets: of all, or one for each batch entry. _negative stand far before the first key; offset_minus_1 and
# offset_minus_2 just before it, offset_below more than a tile of 32 before it, offset_beyond behind the last key;
# offsets_edges has such offsets in turn.
# The lengths are anything from 0 to all; lengths_edges are in turn 0, 1, all, all but one, on a tile's edge, one more.
# segments are three runs of ids; segments_edges are runs of one key, across a tile's edge, and of queries alone.
# sinks_edges are in turn -inf, which is no sink, one that takes nearly all, one that takes nearly nothing, and 0.
# The poisons put 1e4 or NaN where lengths and key masks leave no key or query, NaN into the last key, or zeros into
# every third query and key; nan_query, nan_key and nan_value put one NaN into the first batch entry. nan_cotangent puts
# NaN into d_output where no key is allowed, zero_cotangent zeros into every third row and one whole head of it.
# The layouts say where q, k, v, d_output, mask and bias lie in memory (see Backend.laid_out in backends/backend.py):
# transposed (B, T, H, D), padded rows, every second element of the last axis, at an odd offset; expanded gives all
# batch entries the same keys and values, which lie there once.
# wanted_q and its kin ask for the gradients of these operands alone.
OPERAND_GROUPS = {
    "mask": (
        "mask", "mask_keys", "mask_heads", "mask_dead_rows",
        "mask_batch", "mask_shared", "mask_pairs", "mask_head_keys", "mask_rows", "mask_single", "mask_tile",
    ),
    "bias": (
        "bias", "bias_keys", "bias_heads", "bias_minus_inf",
        "bias_batch", "bias_shared", "bias_pairs", "bias_head_keys", "bias_rows", "bias_low", "bias_low_keys",
    ),
    "offset": (
        "offset", "offset_negative", "offsets", "offsets_negative",
        "offset_minus_1", "offset_minus_2", "offset_below", "offset_beyond", "offsets_edges",
    ),
    "q_lengths": ("q_lengths", "q_lengths_edges"),
    "kv_lengths": ("kv_lengths", "kv_lengths_edges"),
    "segments": ("segments", "segments_edges"),
    "sinks": ("sinks", "sinks_edges"),
    "slopes": ("slopes",),
    "keep": ("keep",),
    "past": ("past",),
    "poison": ("garbage", "nan", "nan_last_key", "nan_query", "nan_key", "nan_value", "zeros"),
    "cotangent": ("nan_cotangent", "zero_cotangent"),
    "layout": ("layout_transposed", "layout_padded", "layout_step", "layout_expanded", "layout_offset"),
    "wanted": ("wanted_q", "wanted_kv", "wanted_qkv"),
}  # fmt: skip
# Poisons that are not the same in all batch entries' keys and values.
IN_SOME_ENTRIES = ("garbage", "nan", "nan_key", "nan_value")
OPERAND_KINDS = tuple(kind for kinds in OPERAND_GROUPS.values() for kind in kinds)


def _fail(message: str) -> NoReturn:
    raise SpecError(message)


def _checked_pair(pair: Any) -> tuple[int, int]:
    whole = [isinstance(n, Integral) and not isinstance(n, bool) and int(n) >= 1 for n in pair]
    if len(whole) != 2 or not all(whole):  # noqa: PLR2004  (queries and keys)
        _fail(f"sequences are pairs of whole numbers from 1 on, queries and keys; got {pair!r}")
    return int(pair[0]), int(pair[1])


@explained
@dataclass(frozen=True)
class Problem:
    """Sizes (legend in ``attention.spec``), dtype, seed, distribution, and the optional operands that are drawn.

    ``Hkv``, ``S`` and ``Dv`` default to Hq, Tq and D; ``Da`` is the hidden size of a learned score (default D).
    ``past`` in ``operands`` puts the first S − Tq keys into a cache. ``sequences`` says how many queries and keys each
    of several sequences has: then lengths and segments are theirs, and not drawn. They are taken in turn where there
    are fewer than batch entries, and cut off at Tq and S, so that a smaller problem of the same kind is one too. Raises
    ``SpecError``.
    """

    B: int = 1
    Hq: int = 1
    Hkv: int = 0
    Tq: int = 16
    S: int = -1
    D: int = 16
    Dv: int = -1
    Da: int = 0
    dtype: str = "float32"
    seed: int = 0
    distribution: str = "normal"
    operands: tuple[str, ...] = ()
    sequences: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for name, fallback, unset in (("Hkv", "Hq", 0), ("S", "Tq", -1), ("Dv", "D", -1), ("Da", "D", 0)):
            if getattr(self, name) == unset:
                object.__setattr__(self, name, getattr(self, fallback))
        self._check_sizes()
        if self.dtype not in DTYPES:
            _fail(not_one_of("dtype", self.dtype, DTYPES))
        if self.distribution not in DISTRIBUTIONS:
            _fail(not_one_of("distribution", self.distribution, DISTRIBUTIONS))
        object.__setattr__(self, "operands", tuple(sorted(self.operands)))
        self._check_operands()
        object.__setattr__(self, "sequences", tuple(_checked_pair(pair) for pair in self.sequences))

    def _check_sizes(self) -> None:
        for name in ("B", "Hq", "Hkv", "Tq", "S", "D", "Dv", "Da", "seed"):
            value = getattr(self, name)
            least = 1 if name in ("Hq", "Hkv", "D", "Da") else 0
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                _fail(f"{name} is an integer >= {least}; got {value!r}")
            object.__setattr__(self, name, int(value))
        if self.Hq % self.Hkv:
            _fail(f"Hq = {self.Hq} query heads cannot share Hkv = {self.Hkv}: Hq must be a multiple of Hkv")

    def _check_operands(self) -> None:
        for kind in self.operands:
            if kind not in OPERAND_KINDS:
                _fail(not_one_of("operand", kind, OPERAND_KINDS))
        for group, kinds in OPERAND_GROUPS.items():
            chosen = [kind for kind in self.operands if kind in kinds]
            if len(chosen) > 1:
                _fail(f"a problem has at most one {group}; got {', '.join(chosen)}")
        if "past" in self.operands and self.Tq > self.S:
            _fail(f"a cache holds the first S - Tq keys, so S = {self.S} cannot be below Tq = {self.Tq}")
        hidden = [kind for kind in self.operands if kind in IN_SOME_ENTRIES]
        if "layout_expanded" in self.operands and hidden:
            _fail(f"layout_expanded gives all batch entries the same keys, and {hidden[0]} changes those of some")

    @property
    def wanted(self) -> tuple[str, ...]:
        """The operands whose gradients alone are wanted, of q, k, v; empty where all are."""
        return tuple((self.kind_of("wanted") or "").removeprefix("wanted_"))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, every field but sequences where there are none, in a fixed order."""
        data = asdict(self) | {"operands": list(self.operands)}
        if not data.pop("sequences"):
            return data  # the ids of problems are older than sequences
        return data | {"sequences": [list(pair) for pair in self.sequences]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Problem:
        """The inverse of ``to_dict``; unknown names are an error."""
        known = [f.name for f in fields(cls)]
        for name in data:
            if name not in known:
                _fail(f"a Problem has no field {name!r}; it has {', '.join(known)}{suggest(name, known)}")
        several = {name: tuple(data.get(name, ())) for name in ("operands", "sequences")}
        return cls(**{**data, **several})

    def kind_of(self, group: str) -> str | None:
        """How the operand of this group is drawn; ``None`` where there is none."""
        return next((kind for kind in self.operands if kind in OPERAND_GROUPS[group]), None)

    @property
    def layout(self) -> str:
        """Where the arrays lie in memory, such as ``transposed``; empty where each is contiguous."""
        return (self.kind_of("layout") or "").removeprefix("layout_")

    @property
    def id(self) -> str:
        """A stable name of this problem."""
        return stable_id(self.to_dict())


@explained
@dataclass(frozen=True)
class Case:
    """One question: a spec, a problem, a phase (``forward``, ``backward`` = forward and backward, ``decode``).

    ``outputs`` are asked for besides the output itself.
    """

    spec: AttentionSpec
    problem: Problem
    phase: str = "forward"
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            _fail(not_one_of("phase", self.phase, PHASES))
        object.__setattr__(self, "outputs", (self.outputs,) if isinstance(self.outputs, str) else tuple(self.outputs))
        for name in self.outputs:
            if name not in OUTPUTS:
                _fail(not_one_of("output", name, OUTPUTS))
        if self.phase == "decode" and self.problem.Tq != 1:
            _fail(f"decode asks about one new query, Tq = 1; got Tq = {self.problem.Tq}")

    @property
    def gradients(self) -> bool:
        """Whether the phase includes the backward pass."""
        return self.phase == "backward"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "spec": self.spec.to_dict(),
            "problem": self.problem.to_dict(),
            "phase": self.phase,
            "outputs": list(self.outputs),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Case:
        """The inverse of ``to_dict``; unknown names are an error."""
        known = [f.name for f in fields(cls)]
        for name in data:
            if name not in known:
                _fail(f"a Case has no field {name!r}; it has {', '.join(known)}{suggest(name, known)}")
        for name in ("spec", "problem"):
            if not isinstance(data.get(name), dict):
                _fail(f"a Case has a {name}, a table of its fields; got {data.get(name)!r}")
        spec, problem = AttentionSpec.from_dict(data["spec"]), Problem.from_dict(data["problem"])
        return cls(spec, problem, data.get("phase", "forward"), tuple(data.get("outputs", ())))

    @cached_property  # a plan asks for it many times, and it costs more than all the rest of one
    def id(self) -> str:
        """A stable name of this case."""
        return stable_id(self.to_dict())

    def with_problem(self, **changes: Any) -> Case:
        """The same case with a changed problem."""
        return replace(self, problem=replace(self.problem, **changes))

    def in_contiguous_memory(self) -> Case:
        """The same case without a layout."""
        kinds = self.problem.operands
        return self.with_problem(operands=tuple(kind for kind in kinds if kind not in OPERAND_GROUPS["layout"]))

    def label(self) -> str:
        """One short line for people, such as ``forward causal B1 H8/2 T512 S512 D64 float32``."""
        p = self.problem
        spec = " ".join(f"{k}={v}" if v is not True else k for k, v in self.spec.to_dict().items())
        heads = f"H{p.Hq}" if p.Hq == p.Hkv else f"H{p.Hq}/{p.Hkv}"
        sizes = f"B{p.B} {heads} T{p.Tq}" + (f" S{p.S}" if p.Tq != p.S else "")
        head = f"D{p.D}" + (f"/{p.Dv}" if p.Dv != p.D else "")
        shown = "" if p.distribution == "normal" else p.distribution
        return " ".join(filter(None, (self.phase, spec, sizes, head, p.dtype, shown, *p.operands)))
