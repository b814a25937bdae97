"""Random cases: every feature of the spec with every other, seeded, valid by construction, and counted pair by pair.

A case has one *level* on each *axis* (``AXES``): the score, the mask, the size of a head, and so on. Levels are drawn
independently, those that restrict A or add an operand being off more often than on; of several candidates the one
with the rarest pairs of levels is taken. What the spec forbids is never drawn:

- align, offset and cache exclude each other: all say where the queries stand (one axis, ``where``);
- where positions matter (causal, window, slopes) and Tq differs from S, one of them must be said;
- a cache holds the first S − Tq keys, so Tq > S has none;
- a NaN in the last key may be attended, and gradients through it are outside the spec: forward only;
- garbage or NaN outside A needs something outside A (lengths, or a mask of keys), and a NaN in the cotangent of a
  dead row needs dead rows (query lengths, or a mask with dead rows) and a gradient.

An exclusion of two levels by each other stands in ``FORBIDDEN``; the others take more than two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.inputs import stream
from attnbench.precision import DTYPES
from attnbench.problem import DISTRIBUTIONS, Case, Problem
from attnbench.spec import SCORES, STAGES, AttentionSpec

if TYPE_CHECKING:
    from attnbench.implementation import Implementation

Levels = dict[str, str]
Pair = tuple[tuple[str, str], tuple[str, str]]

OFF, ON = "off", "on"

# Around the edges of tiles; a class of lengths is a level, a length within it is drawn.
LENGTHS = {
    "1": (1,),
    "2-17": (2, 15, 16, 17),
    "31-65": (31, 32, 33, 63, 64, 65),
    "127-257": (127, 128, 129, 255, 256, 257),
    "511-1025": (511, 512, 513, 1025),
}
HEAD_SIZES = {"1-3": (1, 3), "8-64": (8, 40, 64), "72-256": (72, 80, 96, 128, 256)}
HEADS = {"own": ((1, 1), (2, 2), (3, 3)), "grouped": ((4, 2), (6, 3), (6, 2)), "one": ((2, 1), (3, 1), (8, 1))}
SCALES = ("default", "positive", "negative", "zero", "none", "1/d", "log_n", "per_head")
OUTPUTS = {"output": (), "lse": ("lse",), "stages": STAGES, "all": ("lse", *STAGES)}

AXES: dict[str, tuple[str, ...]] = {
    "score": SCORES,
    "scale": SCALES,
    "softcap": (OFF, ON),
    "causal": (OFF, ON),
    "window": (OFF, "both", "left", "right"),
    "where": ("unsaid", "top_left", "bottom_right", "offset", "offsets", "past"),
    "mask": (OFF, "mask", "mask_keys", "mask_dead_rows"),
    "bias": (OFF, "bias", "bias_keys", "bias_minus_inf"),
    "q_lengths": (OFF, ON),
    "kv_lengths": (OFF, ON),
    "segments": (OFF, ON),
    "sinks": (OFF, ON),
    "slopes": (OFF, ON),
    "dropout": (OFF, ON),
    "poison": (OFF, "garbage", "nan", "nan_last_key"),
    "cotangent": (OFF, "nan_cotangent"),
    "outputs": tuple(OUTPUTS),
    "phase": ("backward", "forward"),
    "distribution": DISTRIBUTIONS,
    "dtype": DTYPES,
    "heads": tuple(HEADS),
    "Tq": tuple(LENGTHS)[:4],
    "S": tuple(LENGTHS),
    "D": tuple(HEAD_SIZES),
    "Dv": ("same", "other"),
    "Tq:S": ("less", "equal", "more"),
}
FLAGS = ("q_lengths", "kv_lengths", "segments", "sinks", "slopes")
# Drawn rarely, or little of A would be left: the probability of the first level (off).
MOSTLY_OFF = {"window": 0.6, "mask": 0.4, "bias": 0.4, "poison": 0.4, "cotangent": 0.5, "dropout": 0.6, "where": 0.2}
MOSTLY_OFF |= dict.fromkeys(("causal", "q_lengths", "kv_lengths", "segments", "sinks", "slopes", "softcap"), 0.6)

FORBIDDEN: dict[Pair, str] = {
    (("poison", "nan_last_key"), ("phase", "backward")): "gradients through a NaN are outside the spec",
    (("poison", "nan_last_key"), ("cotangent", "nan_cotangent")): "gradients through a NaN are outside the spec",
    (("cotangent", "nan_cotangent"), ("phase", "forward")): "a forward pass has no cotangent",
    (("where", "past"), ("Tq:S", "more")): "a cache holds the first S - Tq keys",
    (("Tq", "1"), ("Tq:S", "more")): "S is at least 1",
    (("S", "1"), ("Tq:S", "less")): "Tq is at least 1",
    (("S", "511-1025"), ("Tq:S", "equal")): "queries are kept below 258",
    (("S", "511-1025"), ("Tq:S", "more")): "queries are kept below 258",
}

WORK = 800_000  # elements of the temporaries of the bounds in one case
CANDIDATES = 6


class RandomCases:
    """An endless sequence of cases: a function of ``seed`` and the levels, by default all.

    ``supported_levels`` are those that an implementation declares. With ``draws`` above 1 so many cases in a row differ
    in their values alone (seed, distribution, NaN or garbage): for a framework that compiles, one program.
    """

    def __init__(self, seed: int = 0, levels: Mapping[str, tuple[str, ...]] | None = None, draws: int = 1) -> None:
        self._draws = max(1, draws)
        self._rng = stream(seed, "random-cases")
        self._levels = levels or AXES
        self._seen: Counter[Pair] = Counter()
        self._drawn: list[Case] = []

    def __getitem__(self, index: int) -> Case:
        """The case of this number, counted from 0."""
        while len(self._drawn) <= index:
            case = self._next()
            self._drawn += [case, *(self._other_values(case) for _ in range(self._draws - 1))]
        return self._drawn[index]

    def _next(self) -> Case:
        candidates = [self._case() for _ in range(CANDIDATES)]
        pairs = [pairs_of(levels_of(case)) for case in candidates]
        news = [sum(1.0 / (1 + self._seen[pair]) ** 2 for pair in one) for one in pairs]
        best = int(np.argmax(news))
        self._seen.update(pairs[best])
        return candidates[best]

    def _other_values(self, case: Case) -> Case:
        poison = self._pick([level for level in ("garbage", "nan") if level in self._levels["poison"]] or [OFF])
        operands = tuple(poison if kind in ("garbage", "nan") else kind for kind in case.problem.operands)
        distribution, seed = self._pick(self._levels["distribution"]), int(self._rng.integers(2**31))
        other = case.with_problem(operands=operands, distribution=distribution, seed=seed)
        self._seen.update(pairs_of(levels_of(other)))
        return other

    def _case(self) -> Case:
        chosen = {axis: self._level(axis, levels) for axis, levels in self._levels.items()}
        _without_the_forbidden(chosen)
        sizes = self._sizes(chosen)
        operands = [chosen[axis] for axis in ("mask", "bias", "poison", "cotangent") if chosen[axis] != OFF]
        operands += [axis for axis in FLAGS if chosen[axis] == ON]
        operands += [chosen["where"]] if chosen["where"] in ("offset", "offsets", "past") else []
        problem = Problem(
            **sizes,
            dtype=chosen["dtype"],
            seed=int(self._rng.integers(2**31)),
            distribution=chosen["distribution"],
            operands=tuple(operands),
        )
        return Case(self._spec(chosen, sizes["Hq"]), problem, chosen["phase"], OUTPUTS[chosen["outputs"]])

    def _level(self, axis: str, levels: tuple[str, ...]) -> str:
        if len(levels) > 1 and axis in MOSTLY_OFF and self._rng.random() < MOSTLY_OFF[axis]:
            return levels[0]
        return str(levels[self._rng.integers(len(levels))])

    def _spec(self, chosen: Levels, heads: int) -> AttentionSpec:
        rng = self._rng
        left, right = (int(side) for side in rng.integers(0, 40, 2))
        sides = {OFF: None, "both": (left, right), "left": (left, None), "right": (None, right)}
        scales: dict[str, Any] = {
            "default": None,
            "positive": _short(rng.uniform(0.05, 1.5)),
            "negative": -_short(rng.uniform(0.05, 1.5)),
            "zero": 0.0,
            "per_head": tuple(_short(value) for value in rng.uniform(-1, 1, heads)),
        }
        return AttentionSpec(
            score=chosen["score"],
            scale=scales.get(chosen["scale"], chosen["scale"]),
            softcap=_short(rng.uniform(0.5, 30.0)) if chosen["softcap"] == ON else None,
            causal=chosen["causal"] == ON,
            align=chosen["where"] if chosen["where"] in ("top_left", "bottom_right") else None,
            window=sides[chosen["window"]],
            dropout=_short(rng.uniform(0.05, 0.7)) if chosen["dropout"] == ON else 0.0,
        )

    def _sizes(self, chosen: Levels) -> dict[str, int]:
        """Sizes of the chosen classes that are not too much work, with Tq = S where nothing says how they differ."""
        positions_matter = any(chosen[axis] != OFF for axis in ("causal", "window", "slopes"))
        equal = chosen["Tq:S"] == "equal" or (chosen["where"] == "unsaid" and positions_matter)
        for attempt in range(50):
            hq, hkv = self._pick(HEADS[chosen["heads"]])
            tq, s = self._pick(LENGTHS[chosen["Tq"]]), self._pick(LENGTHS[chosen["S"]])
            if equal:
                tq = s = (tq, s)[attempt % 2]
            elif chosen["where"] == "past":
                tq, s = sorted((tq, s))
            d = self._pick(HEAD_SIZES[chosen["D"]])
            dv = d if chosen["Dv"] == "same" else self._pick((1, 8, 16))
            hidden = self._pick((1, 5, 16))
            b = self._pick((1, 2, 3))
            if b * hq * tq * s * (dv + d // 4 + 2 * hidden * (chosen["score"] in ("additive", "concat")) + 8) <= WORK:
                break
        else:
            b, tq = 1, s if equal else 1
            tq, s = (min(tq, 33), min(s, 33)) if equal else (tq, s)
        return {"B": b, "Hq": hq, "Hkv": hkv, "Tq": tq, "S": s, "D": d, "Dv": dv, "Da": hidden}

    def _pick(self, choices: Sequence[Any]) -> Any:
        return choices[int(self._rng.integers(len(choices)))]


def _short(value: float) -> float:
    """Few digits, so that a case can be read and typed."""
    return round(float(value), 3)


def _without_the_forbidden(chosen: Levels) -> None:
    """Turn off what the rest of the combination leaves without a meaning."""
    if chosen["poison"] == "nan_last_key":
        chosen["phase"] = "forward"
    hidden = chosen["mask"] == "mask_keys" or ON in (chosen["kv_lengths"], chosen["q_lengths"])
    if chosen["poison"] in ("garbage", "nan") and not hidden:
        chosen["poison"] = OFF
    dead = chosen["mask"] == "mask_dead_rows" or chosen["q_lengths"] == ON
    if chosen["phase"] == "forward" or not dead:
        chosen["cotangent"] = OFF


def levels_of(case: Case) -> Levels:
    """The level of a case on every axis, read from the case itself; a kind that is never drawn is its own level."""
    spec, p = case.spec, case.problem
    one_of = {axis: p.kind_of(axis) or OFF for axis in ("mask", "bias", "poison", "cotangent")}
    flags = {name: ON if p.kind_of(name) else OFF for name in FLAGS}
    where = p.kind_of("offset") or p.kind_of("past") or spec.align or "unsaid"
    return {
        "score": spec.score,
        "scale": _scale_level(spec),
        "softcap": OFF if spec.softcap is None else ON,
        "causal": ON if spec.causal else OFF,
        "window": _window_level(spec),
        "where": where,
        **one_of,
        **flags,
        "dropout": ON if spec.dropout else OFF,
        "outputs": next(name for name, outputs in OUTPUTS.items() if outputs == case.outputs),
        "phase": case.phase,
        "distribution": p.distribution,
        "dtype": p.dtype,
        "heads": "own" if p.Hq == p.Hkv else "one" if p.Hkv == 1 else "grouped",
        "Tq": _class_of(p.Tq, LENGTHS),
        "S": _class_of(p.S, LENGTHS),
        "D": _class_of(p.D, HEAD_SIZES),
        "Dv": "same" if p.Dv == p.D else "other",
        "Tq:S": "equal" if p.Tq == p.S else "less" if p.Tq < p.S else "more",
    }


def _window_level(spec: AttentionSpec) -> str:
    if spec.window is None:
        return OFF
    return "both" if None not in spec.window else "right" if spec.window[0] is None else "left"


def _scale_level(spec: AttentionSpec) -> str:
    if isinstance(spec.scale, tuple):
        return "per_head"
    if isinstance(spec.scale, float):
        return "zero" if spec.scale == 0 else "positive" if spec.scale > 0 else "negative"
    return spec.scale or "default"


def _class_of(value: int, classes: Mapping[str, tuple[int, ...]]) -> str:
    return next(name for name, values in classes.items() if value in values)


def supported_levels(
    implementation: Implementation, dtypes: Sequence[str] = DTYPES, device: str = "cpu"
) -> dict[str, tuple[str, ...]]:
    """The axes with the levels that an implementation declares, in these dtypes."""
    c = implementation.capabilities_on(device)
    declared: dict[str, dict[str, bool]] = {
        "score": {score: score in c.scores for score in SCORES},
        "scale": {"log_n": c.log_n, "per_head": c.head_scale},
        "where": {"offsets": c.batch_offset},
        "q_lengths": {ON: c.lengths},
        "kv_lengths": {ON: c.lengths},
        "poison": {"nan": c.nan_isolation, "nan_last_key": c.nan_isolation},
        "cotangent": {"nan_cotangent": c.nan_isolation},
        "heads": {"grouped": c.gqa, "one": c.gqa},
        "outputs": {"lse": c.lse, "stages": c.stages, "all": c.lse and c.stages},
        "phase": {"backward": implementation.has_gradients(device)},
        "dtype": {dtype: dtype in dtypes and dtype in c.dtypes for dtype in DTYPES},
    }
    for axis in ("softcap", "causal", "window", "mask", "bias", "segments", "sinks", "slopes", "dropout"):
        declared[axis] = dict.fromkeys(AXES[axis][1:], getattr(c, axis))
    return {
        axis: tuple(level for level in levels if declared.get(axis, {}).get(level, True))
        for axis, levels in AXES.items()
    }


def pairs_of(levels: Mapping[str, str]) -> list[Pair]:
    """Every pair of levels in a combination, in the order of ``AXES``."""
    return list(combinations(((axis, levels[axis]) for axis in AXES), 2))


def possible_pairs(levels: Mapping[str, Sequence[str]]) -> set[Pair]:
    """Every pair of levels of two axes that can stand in one case."""
    forbidden = {frozenset(pair) for pair in FORBIDDEN}
    singles = [[(axis, level) for level in levels[axis]] for axis in AXES]
    return {
        (one, other)
        for first, second in combinations(singles, 2)
        for one in first
        for other in second
        if frozenset((one, other)) not in forbidden
    }


class Coverage:
    """How often each pair of levels was seen in the cases that were judged."""

    def __init__(self, combinations_seen: Iterable[Mapping[str, str]] = ()) -> None:
        self.seen: Counter[Pair] = Counter()
        self.levels: dict[str, set[str]] = {axis: set() for axis in AXES}
        for levels in combinations_seen:
            self.add(levels)

    def add(self, levels: Mapping[str, str]) -> None:
        """Count one case."""
        self.seen.update(pairs_of(levels))
        for axis, level in levels.items():
            self.levels[axis].add(level)

    def counts(self) -> dict[Pair, int]:
        """The times that each possible pair of the levels that occurred was seen, rarest first."""
        possible = possible_pairs({axis: sorted(levels) for axis, levels in self.levels.items()})
        return dict(sorted(((pair, self.seen[pair]) for pair in possible), key=lambda item: (item[1], item[0])))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: pairs possible, pairs seen, the fewest times, and the rarest pairs by name."""
        counts = self.counts()
        rarest = [f"{a}={x} with {b}={y}: {n}" for ((a, x), (b, y)), n in list(counts.items())[:5]]
        return {
            "pairs": len(counts),
            "pairs_seen": sum(n > 0 for n in counts.values()),
            "fewest": min(counts.values(), default=0),
            "rarest": rarest,
        }
