"""What a kernel can branch on, in classes: values either side of every usual threshold, which it may tell apart.

A *dimension* has *levels*; the first one is the plain one. A level of a size is a class, of which a value is drawn. A
level of a feature is what it adds to the spec, the operands or the outputs. ``docs/agreement.md`` says why these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from attnbench.attention.precision import DTYPES
from attnbench.attention.problem import IN_SOME_ENTRIES, OPERAND_KINDS
from attnbench.attention.spec import SCORES, STAGES

OFF = "off"
Rule = Callable[[Mapping[str, str]], bool]

# Lengths either side of the usual tiles, and beyond the sizes at which kernels change their way: there, too, some that
# tiles divide.
LENGTHS: dict[str, tuple[int, ...]] = {
    "1": (1,),
    "2": (2,),
    "odd": (3, 5, 7, 11, 13),
    "16": (15, 16, 17),
    "32": (31, 32, 33),
    "64": (63, 64, 65),
    "other": (48, 80, 96, 97, 160, 192, 193, 320, 384),
    "128": (127, 128, 129),
    "256": (255, 256, 257),
    "512": (511, 512, 513),
    "600+": (601, 640, 768, 769, 1000),
    "1024+": (1024, 1025, 1026, 1100, 1152),
    "2048+": (2048, 2049, 2100, 3000, 3072),
    "4096+": (4096, 4097, 4100, 6001, 6144),
    "8192+": (8192, 8193, 9001, 9088, 9100),
}
SQUARE = "=Tq"
HEADS: dict[str, tuple[tuple[int, int], ...]] = {
    "1/1": ((1, 1),),
    "2/2": ((2, 2),),
    "3/3": ((3, 3),),
    "6/6": ((6, 6), (5, 5), (7, 7)),
    "17+": ((17, 17), (18, 18)),
    "33+": ((33, 33), (40, 40)),
    "by 2": ((4, 2), (6, 3)),
    "by 3": ((6, 2), (9, 3)),
    "by 4": ((8, 2), (12, 3)),
    "by 5": ((10, 2), (15, 3)),
    "by 6": ((12, 2), (18, 3)),
    "by 7": ((14, 2), (21, 3)),
    "by 8": ((16, 2), (24, 3)),
    "all": ((3, 1), (8, 1), (5, 1)),
    "by 2 of 17+": ((34, 17), (36, 18)),
}
BATCH = {"1": (1,), "2": (2, 3), "9+": (9, 10)}
# Those that models have, small odd ones, and large ones that no usual tile divides.
HEAD_SIZES = {str(d): (d,) for d in (64, 1, 3, 8, 40, 72, 96, 128, 160, 192, 256)} | {"176+": (176, 200, 224, 248)}
VALUE_SIZES = ("same", "smaller", "larger")
SIZES = ("Tq", "S", "heads", "B", "D", "Dv")


@dataclass(frozen=True)
class MostWork:
    """What one case may cost, counted with the smallest value of each class.

    ``pairs`` of queries and keys are B·Hq·Tq·S, ``elements`` B·Hq·(Tq + S)·D. More is allowed to one head of one batch
    entry, where both lengths are long.
    """

    pairs: int
    pairs_of_one: int
    elements: int
    elements_of_one: int


# Every class beside every other; and small cases, of which many can be tried in the same time.
LARGE = MostWork(290_000, 1_100_000, 500_000, 2_400_000)
SMALL = MostWork(12_000, 30_000, 24_000, 60_000)
# Scores with a hidden layer do so many times the work of a product for each pair.
LEARNED, LEARNED_WORK = ("additive", "concat"), 8


@dataclass(frozen=True)
class Level:
    """What a level adds to a case. ``spec`` values and sizes in a tuple are drawn from it."""

    spec: Mapping[str, Any] = field(default_factory=dict)
    operands: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    distribution: str | None = None


def _kinds(*names: str) -> dict[str, Level]:
    return {OFF: Level()} | {name: Level(operands=(name,)) for name in names if name in OPERAND_KINDS}


def _specs(name: str, **levels: tuple[Any, ...]) -> dict[str, Level]:
    return {OFF: Level()} | {level: Level(spec={name: values}) for level, values in levels.items()}


FEATURES: dict[str, dict[str, Level]] = {
    "score": {score: Level(spec={"score": (score,)}) for score in SCORES},
    "scale": _specs(
        "scale",
        zero=(0.0,),
        negative=(-0.2, -1.3),
        tiny=(1e-3,),
        large=(2.0, 3.5),
        unscaled=("none",),
        inverse=("1/d",),
        log_n=("log_n",),
        per_head=("per_head",),
    ),
    "softcap": _specs("softcap", small=(0.7, 1.5), large=(30.0, 50.0)),
    "causal": _specs("causal", causal=(True,)),
    "window": _specs(
        "window",
        both=((3, 5), (7, 2), (20, 11)),
        none=((0, 0),),
        left=((5, None), (1, None)),
        left_0=((0, None),),
        right=((None, 4), (None, 1)),
        right_0=((None, 0),),
        left_right_0=((6, 0), (40, 0)),
        tile=((64, 64), (32, None), (16, 0), (128, 0)),
        tile_1=((65, 65), (33, None), (17, 0), (129, 0)),
        beyond=((20000, 0), (20000, 20000), (None, 20000)),
    ),
    "where": {
        OFF: Level(),
        "top_left": Level(spec={"align": ("top_left",)}),
        "bottom_right": Level(spec={"align": ("bottom_right",)}),
    }
    | {
        name: level
        for name, level in _kinds(
            "offset",
            "offset_minus_1",
            "offset_minus_2",
            "offset_below",
            "offset_beyond",
            "offset_negative",
            "offsets",
            "offsets_edges",
            "offsets_negative",
            "past",
        ).items()
        if name != OFF
    },
    "mask": _kinds(
        "mask",
        "mask_keys",
        "mask_heads",
        "mask_batch",
        "mask_shared",
        "mask_pairs",
        "mask_head_keys",
        "mask_rows",
        "mask_dead_rows",
        "mask_single",
        "mask_tile",
    ),
    "bias": _kinds(
        "bias",
        "bias_keys",
        "bias_heads",
        "bias_batch",
        "bias_shared",
        "bias_pairs",
        "bias_head_keys",
        "bias_rows",
        "bias_minus_inf",
        "bias_low",
        "bias_low_keys",
    ),
    "q_lengths": _kinds("q_lengths", "q_lengths_edges"),
    "kv_lengths": _kinds("kv_lengths", "kv_lengths_edges"),
    "segments": _kinds("segments", "segments_edges"),
    "sinks": _kinds("sinks", "sinks_edges"),
    "slopes": _kinds("slopes"),
    "dropout": _specs("dropout", dropout=(0.25, 0.5)),
    "poison": _kinds("garbage", "nan", "nan_last_key", "nan_query", "nan_key", "nan_value", "zeros"),
    "cotangent": _kinds("nan_cotangent", "zero_cotangent"),
    "layout": _kinds("layout_transposed", "layout_padded", "layout_step", "layout_expanded", "layout_offset"),
    "wanted": _kinds("wanted_q", "wanted_kv", "wanted_qkv"),
    "outputs": {
        OFF: Level(),
        "lse": Level(outputs=("lse",)),
        "stages": Level(outputs=STAGES),
        "all": Level(outputs=("lse", *STAGES)),
    },
    "values": {OFF: Level()}
    | {name: Level(distribution=name) for name in ("uniform", "large_mean", "peaky", "outliers", "near_ties")},
}
# Levels whose arrays have the same shapes: where a case is compiled, what is right for one is right for the others.
ALIKE: dict[str, tuple[tuple[str, ...], ...]] = {
    "mask": (("mask", "mask_tile"), ("mask_batch", "mask_single"), ("mask_pairs", "mask_dead_rows")),
    "bias": (("bias", "bias_minus_inf", "bias_low"), ("bias_keys", "bias_low_keys")),
    "where": (("offsets", "offsets_edges", "offsets_negative"),),
    "q_lengths": (("q_lengths", "q_lengths_edges"),),
    "kv_lengths": (("kv_lengths", "kv_lengths_edges"),),
    "segments": (("segments", "segments_edges"),),
    "sinks": (("sinks", "sinks_edges"),),
    "poison": (tuple(FEATURES["poison"]),),
    "cotangent": (tuple(FEATURES["cotangent"]),),
    "layout": (tuple(FEATURES["layout"]),),
    "values": (tuple(FEATURES["values"]),),
}
DRAWN_NUMBERS = ("offset", "offset_below", "offset_beyond")  # one number for all, drawn anew with another seed
# Each dtype with its gradients, and without them, where an implementation may take another way.
MODES = tuple(f"{dtype} {phase}" for phase in ("backward", "forward") for dtype in DTYPES)

# Poisons of what is hidden, and of what some row sees.
HIDDEN, SEEN = ("garbage", "nan"), ("nan_last_key", "nan_query", "nan_key", "nan_value")
# Much of what goes wrong elsewhere does so only beside one of these.
CORE = ("causal", "outputs")
POSITIONS = ("causal", "window", "slopes")
HIDING = ("causal", "window", "mask", "q_lengths", "kv_lengths", "segments")
# Queries before the first key by so much; windows that take all keys behind a query, or all before it.
BEFORE = {"offset_minus_1": 1, "offset_minus_2": 2, "offset_below": 50}
NONE_BEHIND, NONE_BEFORE = ("none", "right_0", "left_right_0"), ("none", "left_0")

WORK = ("heads", "B", "Tq", "S", "D", "score")  # what the work of a case depends on


def fits(row: Mapping[str, str], work: MostWork = LARGE, added: str | None = None) -> bool:
    """Whether a row, or a part of one, can stand for a case that says something about each of its levels.

    ``added`` names the dimension that is new where the rest is known to fit: only what depends on it is looked at.
    """
    rules = RULES if added is None else _RULES_OF.get(added, ())
    if (added is None or added in WORK) and not _not_too_much_work(row, work):
        return False
    return all(rule(row) for rule in rules)


def isolates(row: Mapping[str, str]) -> bool:
    """Whether a NaN that some rows see is to be hidden from others."""
    hidden = any(row.get(name, OFF) != OFF for name in HIDING) or row.get("bias") == "bias_minus_inf"
    return hidden and row.get("poison") in SEEN


def _positions_are_said(row: Mapping[str, str]) -> bool:
    """A row says where the queries stand where that matters and lengths differ, and only where it matters."""
    if "where" not in row:
        return True
    known = [row[name] != OFF for name in POSITIONS if name in row]
    if row["where"] != OFF:
        return any(known) or len(known) < len(POSITIONS)
    return not any(known) or row.get("S", SQUARE) == SQUARE


def _a_cache_is_the_start_of_the_keys(row: Mapping[str, str]) -> bool:
    if row.get("where") != "past":
        return True
    if row.get("S") == SQUARE:
        return False
    longest = smallest(row, "S") if "S" in row else max(values[0] for values in LENGTHS.values())
    return (largest(row["Tq"]) if "Tq" in row else 1) < longest


def _poison_needs_a_place(row: Mapping[str, str]) -> bool:
    """Something outside the allowed set that is known to be there: lengths, or a mask of keys."""
    if row.get("poison") not in HIDDEN:
        return True
    known = ("q_lengths", "kv_lengths", "mask")
    return any(name not in row for name in known) or (
        row["q_lengths"] != OFF or row["kv_lengths"] != OFF or row["mask"] == "mask_keys"
    )


def _copies_are_poisoned_alike(row: Mapping[str, str]) -> bool:
    """Keys and values that lie in memory once for all batch entries have no poison in some of these."""
    return row.get("layout") != "layout_expanded" or row.get("poison") not in IN_SOME_ENTRIES


def _some_query_has_a_key(row: Mapping[str, str]) -> bool:
    """Without one the answer is 0 throughout, and nothing is tried; so not all queries stand before the first key."""
    where, window = row.get("where"), row.get("window")
    if row.get("mask") == "mask_dead_rows" and row.get("Tq") == "1":
        return False
    if where == "offset_beyond" and window in NONE_BEFORE:
        return False
    if row.get("causal", OFF) == OFF and window not in NONE_BEHIND:
        return True
    if where in BEFORE and "Tq" in row:
        return largest(row["Tq"]) > BEFORE[where]
    return where != "offsets_negative" or row.get("B") != "1"


def _gradients_are_asked_for(row: Mapping[str, str]) -> bool:
    if not row.get("mode", "backward").endswith("forward"):
        return True
    return row.get("wanted", OFF) == OFF and row.get("cotangent", OFF) == OFF


def _a_nan_is_seen_in_the_output(row: Mapping[str, str]) -> bool:
    """The spec says nothing of gradients through a NaN, nor of the weight that a hidden key has beside one."""
    if row.get("poison") not in SEEN:
        return True
    return row.get("mode", "forward").endswith("forward") and row.get("outputs", OFF) in (OFF, "lse")


def _a_wrong_answer_can_show(row: Mapping[str, str]) -> bool:
    """Values far from zero are rounded to more in bfloat16 than they spread."""
    return row.get("values") != "large_mean" or not row.get("mode", "").startswith("bfloat16")


def _not_too_much_work(row: Mapping[str, str], work: MostWork) -> bool:
    return _little(tuple(sorted((name, row[name]) for name in WORK if name in row)), work)


@cache
def _little(sizes: tuple[tuple[str, str], ...], work: MostWork) -> bool:
    row = dict(sizes)
    count, d = _heads(row), HEAD_SIZES[row["D"]][0] if "D" in row else 1
    pairs = _pairs(row) * (LEARNED_WORK if row.get("score") in LEARNED else 1)
    elements = count * (smallest(row, "Tq") + smallest(row, "S")) * d
    if count == 1:
        return pairs <= work.pairs_of_one and elements <= work.elements_of_one
    return pairs <= work.pairs and elements <= work.elements


def _heads(row: Mapping[str, str]) -> int:
    """The fewest heads of all batch entries together."""
    heads = min(hq for hq, _ in HEADS[row["heads"]]) if "heads" in row else 1
    return heads * (BATCH[row["B"]][0] if "B" in row else 1)


def _pairs(row: Mapping[str, str]) -> int:
    return _heads(row) * smallest(row, "Tq") * smallest(row, "S")


def smallest(row: Mapping[str, str], name: str) -> int:
    """The smallest length of the class that a row has for ``Tq`` or ``S``; 1 where it has none yet."""
    level = row.get(name)
    if level == SQUARE:
        level = row.get("Tq")
    return LENGTHS[level][0] if level is not None else 1


def largest(level: str) -> int:
    """The largest length of a class."""
    return LENGTHS[level][-1]


# Each rule with the dimensions that it depends on.
DEPENDS: dict[Rule, tuple[str, ...]] = {
    _positions_are_said: ("where", *POSITIONS, "S"),
    _a_cache_is_the_start_of_the_keys: ("where", "Tq", "S"),
    _poison_needs_a_place: ("poison", "q_lengths", "kv_lengths", "mask"),
    _copies_are_poisoned_alike: ("layout", "poison"),
    _some_query_has_a_key: ("where", "window", "mask", "causal", "Tq", "B"),
    _gradients_are_asked_for: ("mode", "wanted", "cotangent"),
    _a_nan_is_seen_in_the_output: ("poison", "mode", "outputs"),
    _a_wrong_answer_can_show: ("values", "mode"),
}
RULES = tuple(DEPENDS)
_RULES_OF = {name: tuple(rule for rule in RULES if name in DEPENDS[rule]) for of in DEPENDS.values() for name in of}
