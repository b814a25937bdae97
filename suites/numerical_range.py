"""How large may logits grow before a dtype can no longer carry attention? 32 and 16 bits against float64."""

from __future__ import annotations

from dataclasses import replace

from attnbench.api.suites import (
    AttentionSpec,
    Figure,
    Frame,
    Number,
    ObservedSuite,
    OneOf,
    Probe,
    Story,
    diagnostics,
    draws,
    frames,
    intervals,
)

QUERIES, KEYS, D, DV = 64, 256, 64, 8
HEADS = 2
# An output that is wrong by this much of the largest value is of no use.
USELESS = 0.1
BY_SEED = ("error", "lost", "logit")


def observe(probe: Probe, dtype: str, factor: float, scale: str) -> dict[str, float]:
    """Error of the output against float64 on the same rounded inputs, the share of rows lost, for each seed."""
    spec = AttentionSpec(scale=draws.named_scale(scale))
    drawn = draws.seeded_operands(heads=HEADS, queries=QUERIES, keys=KEYS, d=D, values=DV)
    q, k, v = (draws.as_dtype(array, dtype) for array in (drawn.q * factor, drawn.k, drawn.v))
    low = replace(drawn, q=q, k=k, v=v)
    logits, exact = diagnostics.exact_attention(spec, low)
    errors = diagnostics.row_errors(probe.attend(spec, low).output, exact)
    metrics = {
        "error": diagnostics.finite(errors).max(axis=(1, 2)),
        "lost": 1.0 - (errors <= USELESS).mean(axis=(1, 2)),  # NaN is lost too
        "logit": abs(logits).max(axis=(1, 2, 3)),
        "not_finite": 1.0 - (errors < float("inf")).mean(axis=(1, 2)),
    }
    return diagnostics.by_seed(metrics, kept=BY_SEED)


def reach(rows: Frame, dtype: str, scale: str) -> tuple[float, float] | None:
    """The largest logit of the last factor at which every row is right to 10 %, and of the first at which not."""
    chosen = frames.measured(rows, dtype=dtype, scale=scale).sort_values("point.factor")
    if chosen.empty:
        return None
    good = chosen[chosen["metric.lost"] == 0]
    bad = chosen[chosen["metric.lost"] > 0]
    return (
        float(good["metric.logit"].max()) if len(good) else 0.0,
        float(bad["metric.logit"].min()) if len(bad) else float("inf"),
    )


def findings(frame: Frame) -> list[str]:
    """Where each dtype ends, and the error at the smallest factor; errors themselves are no place to agree."""
    said = [frames.together(frame, _reaches), frames.together(frame, _errors)]
    return [*filter(None, said), *frames.shortfall(frame)]


def _reaches(rows: Frame) -> str:
    parts = []
    for dtype in frames.levels(rows, "dtype"):
        reached = reach(rows, dtype, "none")
        if reached is None:
            continue
        below, above = reached
        end = "and no row was lost" if above == float("inf") else f"and rows are lost at {above:.3g}"
        parts.append(f"{dtype} is right to {USELESS:.0%} in every row up to logits of {below:.3g}, {end}")
    return f"Unscaled: {'; '.join(parts)}." if parts else ""


def _errors(rows: Frame) -> str:
    factors = frames.levels(rows, "factor")
    if not factors:
        return ""
    first = min(factors)
    parts = []
    for dtype in frames.levels(rows, "dtype"):
        errors = frames.at(rows, "error", dtype=dtype, factor=first, scale="1/sqrt(d)")
        if errors:
            parts.append(f"{dtype} {intervals.mean_interval(errors).text('.2g')}")
    if not parts:
        return ""
    return f"With 1/sqrt(d) and q times {first:g}, the largest error is, of the largest output: {', '.join(parts)}."


STORY = Story(
    question="How large may logits grow before a dtype can no longer carry attention?",
    method=(
        f"Normal q (times the factor), k and v, d = {D}, {KEYS} keys, eight seeds, rounded to the dtype. The reference "
        "is computed in float64 from the same rounded values, so that the rounding of the inputs is not counted, only "
        "what the arithmetic in between does. A row is lost where its output is not finite, or off by a tenth of the "
        "largest output."
    ),
    findings=findings,
    figures=(
        Figure(
            "error-by-logit",
            "Error of the output against the largest logit",
            x="metric.logit",
            y="metric.error",
            hue="point.dtype",
            style="impl",
            col="point.scale",
            log_x=True,
            log_y=True,
            x_label="largest |logit|",
            y_label="largest error / largest output",
            data=lambda frame: frames.one_row_per_seed(frame, "error", "logit"),
            caption="Each point is a seed at one factor of q. The reference has the same rounded inputs, in float64.",
        ),
        Figure(
            "rows-lost",
            "Rows that are wrong by more than a tenth, against the factor of q",
            x="point.factor",
            y="metric.lost",
            hue="point.dtype",
            style="impl",
            col="point.scale",
            log_x=True,
            x_label="factor of q",
            y_label="share of rows",
            data=lambda frame: frames.one_row_per_seed(frame, "lost"),
            caption="Median over eight seeds, and their middle half. NaN and infinity count as wrong.",
        ),
    ),
    limits=(
        "Kernels on a CPU, most of which accumulate in float32 whatever they are given: what a kernel that keeps its "
        "logits in 16 bits loses is seen only where there is one. A GPU's matrix units are not seen on a CPU."
    ),
)

SUITE = ObservedSuite(
    name="numerical-range",
    story=STORY,
    axes={
        "dtype": ("float32", "bfloat16", "float16"),
        "factor": (1.0, 8.0, 64.0, 512.0, 4096.0),
        "scale": ("none", "1/sqrt(d)"),
    },
    levels={"factor": Number(above=0, most=1e30), "scale": OneOf(*draws.SCALES)},
    observe=observe,
    implementations=("*/naive", "torch/sdpa*", "jax/nn-*"),
    tiers={"smoke": {"factor": (1.0, 512.0)}},
)
