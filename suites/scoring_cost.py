"""What does additive attention cost over dot-product attention? Vaswani et al. 2017, section 3.2.1.

The paper calls dot-product attention "much faster and more space-efficient in practice", and gives no figure.
"""

from __future__ import annotations

import math

from attnbench.api import AttentionSpec, Case, Figure, Frame, Problem, Suite, claims, frames, intervals

# Additive attention written out holds Tq·S·Da numbers, in several copies: larger points are left out.
LARGEST = 512 * 512 * 64
# The point (T, d, phase) of sentences and verdicts, fixed before anything was measured.
CHOSEN = (256, 64, "forward")


def case(score: str, T: int, d: int, phase: str) -> Case | None:
    """B1 H1 float32; the hidden size of additive attention is d. ``None`` where T²·d is too large for the formula."""
    if T * T * d > LARGEST:
        return None
    return Case(AttentionSpec(score=score), Problem(Tq=T, D=d, dtype="float32"), phase=phase)


def pairs(frame: Frame) -> Frame:
    """Additive over dot, one row for each implementation, T, d and phase: ``time_ratio`` and ``memory_ratio``.

    ``low`` and ``high`` bound the ratio of times by the far ends of the two intervals:
    the two were measured one after the other, not interleaved.
    """
    key = ["impl", "backend", "point.T", "point.d", "point.phase", "device", "threads"]
    ok = frames.measured(frame)
    kept = [*key, "time_median_s", "time_low_s", "time_high_s", "peak_bytes"]
    both = ok[ok["point.score"] == "additive"][kept].merge(
        ok[ok["point.score"] == "dot"][kept], on=key, suffixes=("_additive", "_dot")
    )
    return both.assign(
        time_ratio=both["time_median_s_additive"] / both["time_median_s_dot"],
        low=(both["time_low_s_additive"] / both["time_high_s_dot"]).fillna(0.0),
        high=(both["time_high_s_additive"] / both["time_low_s_dot"]).fillna(math.inf),
        memory_ratio=both["peak_bytes_additive"] / both["peak_bytes_dot"].where(both["peak_bytes_dot"] > 0),
        status="ok",
    )


def compared(frame: Frame) -> Frame:
    """The pairs at the point that sentences speak of: the chosen one, else the most work that was done."""
    found = pairs(frame)
    if found.empty:
        return found
    chosen = found[_at(found, *CHOSEN)]
    if len(chosen):
        return chosen
    top = found.loc[(found["point.T"] ** 2 * found["point.d"]).idxmax()]
    return found[_at(found, top["point.T"], top["point.d"], top["point.phase"])]


def _at(found: Frame, T: int, d: int, phase: str) -> Frame:
    return (found["point.T"] == T) & (found["point.d"] == d) & (found["point.phase"] == phase)


def findings(frame: Frame) -> list[str]:
    """How much slower and how much larger additive attention is, in each framework; the verdicts; what is missing."""
    chosen = compared(frame)
    if chosen.empty:
        return frames.shortfall(frame)
    first = chosen.iloc[0]
    times = [f"{row.impl} {_time(row).text('.3g')}" for row in chosen.itertuples()]
    sizes = [
        f"{row.impl} {row.memory_ratio:.3g} ({_mib(row.peak_bytes_additive)} over {_mib(row.peak_bytes_dot)})"
        for row in chosen[chosen["memory_ratio"].notna()].itertuples()
    ]
    where = f"At T = {first['point.T']}, d = {first['point.d']}, {first['point.phase']}"
    said = [f"{where}, additive attention takes this many times as long as dot-product: {', '.join(times)}."]
    if sizes:
        said.append(f"There it needs this many times the memory: {', '.join(sizes)}.")
    return [*said, *claims.verdict_sentences(verdicts(frame)), *frames.shortfall(frame)]


def _time(row: Frame) -> intervals.Interval:
    return intervals.Interval(row.time_ratio, row.low, row.high, 1)


def _mib(size: float) -> str:
    return f"{size / 2**20:.3g} MiB"


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """The two halves of the paper's sentence, for each framework, at the point that was chosen beforehand."""
    found = pairs(frame)
    judged = []
    for row in found[_at(found, *CHOSEN)].itertuples():
        judged.append(claims.judge("dot-faster", _time(row), (row.impl,)))
        ratio = row.memory_ratio
        exact = None if math.isnan(ratio) else intervals.Interval(ratio, ratio, ratio, 1)
        judged.append(claims.judge("dot-smaller", exact, (row.impl,)))
    return judged


def _by_score(name: str, title: str, y: str, caption: str) -> Figure:
    return Figure(
        name,
        title,
        x="point.T",
        y=y,
        hue="point.score",
        style="point.score",
        col="impl",
        row="point.d",
        log_x=True,
        log_y=True,
        x_label="length T",
        caption=caption,
    )


def _ratio(name: str, title: str, y: str, label: str, caption: str) -> Figure:
    return Figure(
        name,
        title,
        x="point.T",
        y=y,
        hue="impl",
        col="point.d",
        log_x=True,
        log_y=True,
        x_label="length T",
        y_label=label,
        guide=(1.0, 0.0, "equal"),
        data=pairs,
        caption=caption,
    )


SUITE = Suite(
    name="scoring-cost",
    question="How much slower and how much larger is additive attention than dot-product attention?",
    axes={"score": ("dot", "additive"), "T": (64, 256, 512), "d": (16, 64, 256), "phase": ("forward",)},
    case=case,
    implementations=("*/naive",),
    figures=(
        _ratio(
            "time-ratio",
            "Additive over dot-product attention: time",
            "time_ratio",
            "time, additive / dot",
            "Ratio of medians; forward pass, one head, float32.",
        ),
        _ratio(
            "memory-ratio",
            "Additive over dot-product attention: memory",
            "memory_ratio",
            "memory, additive / dot",
            "Ratio of the high-water marks of a call beyond what was held before it.",
        ),
        _by_score(
            "time",
            "Time of both scores against the length",
            "time_median_s",
            "Median of burst medians; the band is its interval.",
        ),
        _by_score(
            "memory",
            "Memory of both scores against the length",
            "peak_bytes",
            "High-water mark during the call less the level just before it.",
        ),
    ),
    findings=findings,
    claims=verdicts,
    method=(
        "The formula as it is written, in each framework: scores of all pairs of T queries and T keys with one head, "
        "float32; the hidden size of additive attention is d. Points with T²·d above 512²·64 are left out. The "
        "interval of a ratio spans the far ends of the two intervals."
    ),
    limits=(
        "It is about these two formulas written out, not about fused or chunked kernels: a compiler that never stores "
        "the T × T × d array removes the difference in memory, and not the one in time."
    ),
)
