"""What does additive attention cost over dot-product attention? Vaswani et al. 2017, section 3.2.1.

The paper calls dot-product attention "much faster and more space-efficient in practice", and gives no figure. On a
two-core machine the default selection is 112 cells in seven blocks, about four minutes with one thread.
"""

from __future__ import annotations

import math

from attnbench.api.suites import (
    AttentionSpec,
    Case,
    Figure,
    Frame,
    OneOf,
    Problem,
    Story,
    TimedSuite,
    UsageError,
    claims,
    costs,
    frames,
    intervals,
    not_one_of,
)
from attnbench.suites import left_out as kinds

BASE, ADDITIVE = "dot", "additive"
SPECS = {
    BASE: AttentionSpec(scale="none"),
    "scaled": AttentionSpec(),
    "general": AttentionSpec(score="general"),
    ADDITIVE: AttentionSpec(score="additive"),
}
# The float64 reference writes additive attention out: Tq·S·Da numbers, in several copies, and in more of them backward.
LARGEST = {"forward": 1024 * 1024 * 64, "backward": 512 * 512 * 64}
# The point (T, d, phase) of sentences and verdicts, fixed before anything was measured.
CHOSEN = (256, 64, "forward")
# From this length on a call is long beside what every call costs: exponents are fitted from here.
LONG = 128


def case(T: int, d: int, phase: str, score: str) -> Case | None:
    """B1 H1 float32; the hidden size of additive attention is d. ``None`` where T²·d is too large for the reference."""
    if score not in SPECS:
        raise UsageError(not_one_of("score", score, SPECS))
    if phase not in LARGEST:
        raise UsageError(not_one_of("phase", phase, LARGEST))
    if T * T * d > LARGEST[phase]:
        return None
    return Case(SPECS[score], Problem(Tq=T, D=d, dtype="float32"), phase=phase)


def on_the_cross(T: int, d: int, phase: str) -> bool:
    """Every length at d = 64 and every d at T = 256; the backward pass where the two meet."""
    meet = CHOSEN[:2] == (T, d)
    return meet if phase != CHOSEN[2] else CHOSEN[0] == T or CHOSEN[1] == d


def others_in_the_middle(T: int, d: int, phase: str, score: str) -> bool:
    """The scaled and the general score are asked about at the chosen point only."""
    return score in (BASE, ADDITIVE) or (T, d, phase) == CHOSEN


def pairs(frame: Frame) -> Frame:
    """Every score over the dot product, one row for each implementation, T, d and phase."""
    return costs.over_base(frame, "point.score", BASE).assign(status="ok")


def compared(frame: Frame) -> Frame:
    """The pairs at the point that sentences speak of: the chosen one, else the most work that was done."""
    ratios = pairs(frame)
    if ratios.empty:
        return ratios
    chosen = ratios[_at(ratios, *CHOSEN)]
    if len(chosen):
        return chosen
    top = ratios.loc[(ratios["point.T"] ** 2 * ratios["point.d"]).idxmax()]
    return ratios[_at(ratios, top["point.T"], top["point.d"], top["point.phase"])]


def _at(ratios: Frame, T: int, d: int, phase: str) -> Frame:
    return (ratios["point.T"] == T) & (ratios["point.d"] == d) & (ratios["point.phase"] == phase)


def findings(frame: Frame) -> list[str]:
    """How much slower and larger each score is than a dot product; how both grow; what is missing."""
    chosen = compared(frame)
    if chosen.empty:
        return frames.shortfall(frame)
    ratios = pairs(frame)
    trained = ratios[_at(ratios, *CHOSEN[:2], "backward")]
    others = [score for score in chosen["point.score"].unique() if score != ADDITIVE]
    said = [*_cost(chosen, ADDITIVE), *_cost(trained, ADDITIVE)]
    said += [_times(chosen, score) for score in others]
    return [*said, *_growth(frame), *frames.shortfall(frame)]


def _cost(rows: Frame, score: str) -> list[str]:
    mine = rows[(rows["point.score"] == score) & rows["memory_ratio"].notna()]
    if rows[rows["point.score"] == score].empty:
        return []
    sizes = [f"{row.impl} {row.memory_ratio:.3g} ({costs.size(row.peak_bytes)})" for row in mine.itertuples()]
    memory = [f"There it needs this many times the memory: {', '.join(sizes)}."] if sizes else []
    return [_times(rows, score), *memory]


def _times(rows: Frame, score: str) -> str:
    mine = rows[rows["point.score"] == score]
    first = mine.iloc[0]
    where = f"At T = {first['point.T']}, d = {first['point.d']}, {first['point.phase']}"
    times = [f"{row.impl} {costs.ratio(row).text('.3g')}" for row in mine.itertuples()]
    return f"{where}, {score} attention takes this many times as long as dot-product: {', '.join(times)}."


def _growth(frame: Frame) -> list[str]:
    """The exponents of time and memory in T and in d, by least squares of the logarithms."""
    ok = frames.measured(frame)
    forward = ok[ok["point.phase"] == CHOSEN[2]]
    along = {
        "T": (forward[(forward["point.d"] == CHOSEN[1]) & (forward["point.T"] >= LONG)], f"d = {CHOSEN[1]}"),
        "d": (forward[forward["point.T"] == CHOSEN[0]], f"T = {CHOSEN[0]}"),
    }
    said = []
    for column, what in (("time_median_s", "time"), ("peak_bytes", "memory")):
        for axis, (rows, fixed) in along.items():
            exponents = {
                score: _exponents(rows[rows["point.score"] == score], column, f"point.{axis}")
                for score in (BASE, ADDITIVE)
            }
            parts = [f"{score}: {', '.join(powers)}" for score, powers in exponents.items() if powers]
            levels = ", ".join(str(level) for level in sorted(rows[f"point.{axis}"].unique()))
            if parts:
                said.append(
                    f"Forward {what} goes with this power of {axis} ({fixed}, fitted over {axis} = {levels}): "
                    f"{'; '.join(parts)}."
                )
    return said


def _exponents(rows: Frame, column: str, axis: str) -> list[str]:
    parts = []
    for name, mine in rows.groupby("impl", sort=False):
        power = costs.exponent(mine, column, axis)
        if power is not None:  # two levels have an exponent, and no interval
            parts.append(f"{name} {power.text('.2f') if math.isfinite(power.low) else f'{power.value:.2f}'}")
    return parts


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """The two halves of the paper's sentence, for each implementation, at the point that was chosen beforehand."""
    ratios = pairs(frame)
    judged = []
    for row in ratios[_at(ratios, *CHOSEN) & (ratios["point.score"] == ADDITIVE)].itertuples():
        judged.append(claims.judge("dot-faster", costs.ratio(row), (row.impl,)))
        ratio = row.memory_ratio
        exact = None if math.isnan(ratio) else intervals.Interval(ratio, ratio, ratio, 1)
        judged.append(claims.judge("dot-smaller", exact, (row.impl,)))
    return judged


def _additive_pairs(frame: Frame) -> Frame:
    ratios = pairs(frame)
    return ratios[ratios["point.score"] == ADDITIVE]


def _along_lengths(ratios: Frame) -> Frame:
    return ratios[ratios["point.d"] == CHOSEN[1]]


def _along_sizes(ratios: Frame) -> Frame:
    return ratios[ratios["point.T"] == CHOSEN[0]]


def _two_scores(frame: Frame) -> Frame:
    rows = _along_lengths(frame)
    return rows[rows["point.score"].isin([BASE, ADDITIVE]) & (rows["point.phase"] == CHOSEN[2])]


def _by_score(name: str, title: str, y: str, caption: str) -> Figure:
    return Figure(
        name,
        title,
        x="point.T",
        y=y,
        hue="impl",
        style="impl",
        col="point.score",
        log_x=True,
        log_y=True,
        x_label="length T",
        data=_two_scores,
        caption=caption,
    )


STORY = Story(
    question="How much slower and how much larger is additive attention than dot-product attention?",
    method=(
        "One head, float32; the hidden size of additive attention is d. Written out (naive), learned scores go "
        "through an array of T × T × d; numpy/blocked, torch/chunked and jax/blocked hold a part of it at a time, and "
        "jax/fused leaves it to the compiler. All scores of a size stand in one block, and ratios "
        "are taken of bursts of the same round. Lengths at d = 64, head sizes at T = 256, backward at T = 256, d = 64; "
        "T²·d is at most 1024²·64 (backward 512²·64), since the float64 reference is written out too."
    ),
    findings=findings,
    claims=verdicts,
    figures=(
        Figure(
            "time-ratio",
            "Additive over dot-product attention: time",
            x="point.T",
            y="time_ratio",
            hue="impl",
            col="point.phase",
            log_x=True,
            log_y=True,
            x_label="length T",
            y_label="time, additive / dot",
            guide=(1.0, 0.0, "equal"),
            data=lambda frame: _along_lengths(_additive_pairs(frame)),
            caption="d = 64. Median of the ratios of bursts of the same round; the band is its interval.",
        ),
        Figure(
            "memory-ratio",
            "Additive over dot-product attention: memory",
            x="point.d",
            y="memory_ratio",
            hue="impl",
            col="point.phase",
            log_x=True,
            log_y=True,
            x_label="head size and hidden size d",
            y_label="memory, additive / dot",
            guide=(1.0, 1.0, "d"),
            data=lambda frame: _along_sizes(_additive_pairs(frame)),
            caption="T = 256. Ratio of the high-water marks of a call beyond what was held before it.",
        ),
        _by_score(
            "time",
            "Time of both scores against the length",
            "time_median_s",
            "Forward, d = 64. Median of burst medians; the band is its interval.",
        ),
        _by_score(
            "memory",
            "Memory of both scores against the length",
            "peak_bytes",
            "Forward, d = 64. High-water mark during the call less the level just before it.",
        ),
    ),
    limits=(
        "It is about one head on this machine and these implementations: a kernel written for additive attention might "
        "be faster than all of them. A ratio is over the same implementation's dot product, not over the fastest one."
    ),
)

SUITE = TimedSuite(
    name="scoring-cost",
    story=STORY,
    axes={
        "T": (64, 128, 256, 512),
        "d": (16, 64, 256),
        "phase": ("forward", "backward"),
        "score": tuple(SPECS),
    },
    levels={"phase": OneOf(*LARGEST)},
    case=case,
    thin=(on_the_cross, others_in_the_middle),
    beside=("score",),
    leaves_out=kinds.left_out(kinds.DOT_ALONE, kinds.INTERPRETED, kinds.KERAS, kinds.TWINS),
    cell_s=0.12,
    tiers={
        "full": {
            "T": (64, 128, 256, 512, 1024),
            "d": (16, 64, 256),
            "phase": ("forward", "backward"),
            "score": tuple(SPECS),
        }
    },
)
