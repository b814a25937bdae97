"""Does the softmax saturate as d grows, and does 1/√d prevent it? Vaswani et al. 2017, section 3.2.1."""

from __future__ import annotations

from attnbench.api.suites import (
    AttentionSpec,
    Figure,
    Frame,
    ObservedSuite,
    OneOf,
    Probe,
    Story,
    Whole,
    claims,
    diagnostics,
    draws,
    frames,
    intervals,
)

QUERIES = 64
HEADS = 4
# A row is called saturated when one key has this much of the weight.
SATURATED = 0.99
# The number of keys that sentences and verdicts speak of.
KEYS = 64
BY_SEED = ("max_weight", "entropy", "jacobian_median")


def observe(probe: Probe, d: int, scale: str, keys: int) -> dict[str, float]:
    """Entropy, largest weight and Jacobian of the softmax, over queries and heads, for each seed."""
    operands = draws.seeded_operands(heads=HEADS, queries=QUERIES, keys=keys, d=d)
    spec = AttentionSpec(scale=draws.named_scale(scale))
    seen = probe.attend(spec, operands, outputs=("logits", "weights"))
    weights = seen.weights
    floor = diagnostics.entropy_floor(diagnostics.row_norms(seen.logits), keys)
    largest = diagnostics.max_weight(weights)
    jacobian = diagnostics.quantile_fan(diagnostics.softmax_jacobian_norm(weights))
    metrics = {
        "max_weight": largest.mean(axis=(1, 2)),
        "entropy": diagnostics.normalised_entropy(weights).mean(axis=(1, 2)),
        # Zhai's bound: no row has less entropy than the norm of its logits allows.
        "over_floor": (diagnostics.entropy(weights) - floor).min(axis=(1, 2)),
        "saturated_rows": (largest > SATURATED).mean(axis=(1, 2)),
        **{f"jacobian_{name}": values for name, values in jacobian.items()},
    }
    return diagnostics.by_seed(metrics, kept=BY_SEED)


def findings(frame: Frame) -> list[str]:
    """From the smallest to the largest d, by scale; how far the frameworks differ."""
    keys = frames.level_to_speak_of(frame, "keys", KEYS)
    said = [frames.together(frame, lambda rows, scale=scale: _course(rows, scale, keys)) for scale in draws.SCALES]  # type: ignore[misc]
    return [*filter(None, said), *frames.agreement(frame), *frames.shortfall(frame)]


def _course(rows: Frame, scale: str, keys: int) -> str:
    sizes = sorted(frames.measured(rows, scale=scale, keys=keys)["point.d"])
    if not sizes:
        return ""
    ends = [sizes[0], sizes[-1]]
    weight, entropy = (
        " to ".join(
            intervals.mean_interval(frames.at(rows, metric, d=d, scale=scale, keys=keys)).text(".3f") for d in ends
        )
        for metric in ("max_weight", "entropy")
    )
    name = "Without a scale" if scale == "none" else f"Scaled by {scale}"
    return (
        f"{name}, from d = {ends[0]} to {ends[1]} over {keys} keys the largest weight goes from {weight}, and the "
        f"entropy, as a fraction of log {keys}, from {entropy}."
    )


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """Whether the median Jacobian collapses without a scale."""
    keys = frames.level_to_speak_of(frame, "keys", KEYS)

    def collapse(rows: Frame) -> intervals.Interval | None:
        ratios = frames.first_to_last(rows, "jacobian_median", "d", least=4, scale="none", keys=keys)
        return intervals.geometric_interval(ratios) if ratios else None

    return claims.judge_each(frame, "softmax-saturates", collapse)


def _figure(name: str, title: str, metric: str, label: str, caption: str, *, log_y: bool = False) -> Figure:
    return Figure(
        name,
        title,
        x="point.d",
        y=f"metric.{metric}",
        hue="point.scale",
        style="impl",
        col="point.keys",
        log_x=True,
        log_y=log_y,
        x_label="head size d",
        y_label=label,
        data=lambda frame: frames.one_row_per_seed(frame, metric),
        caption=caption,
    )


STORY = Story(
    question="Does the softmax saturate as d grows, and does the scale prevent it?",
    method=(
        "Standard normal q and k in float64, eight seeds. Each implementation returns its weights; the largest weight, "
        "the entropy over log(keys) and the Frobenius norm of the softmax's Jacobian are computed of them in NumPy, "
        "row by row."
    ),
    findings=findings,
    claims=verdicts,
    figures=(
        _figure(
            "max-weight",
            "The largest weight of a row against the head size",
            "max_weight",
            "largest weight, mean over rows",
            "1 is full saturation: one key has all the weight. Median over eight seeds, and their middle half.",
        ),
        _figure(
            "entropy",
            "Entropy of a row against the head size",
            "entropy",
            "entropy / log(keys), mean over rows",
            "1 is uniform attention, 0 is one key alone. Median over eight seeds, and their middle half.",
        ),
        _figure(
            "jacobian",
            "What the softmax lets through, against the head size",
            "jacobian_median",
            "norm of the softmax's Jacobian, median row",
            "Frobenius norm of diag(p) − p pᵀ. Median over eight seeds, and their middle half.",
            log_y=True,
        ),
    ),
    limits=(
        "It is the state at a random initialisation with components of variance 1. Whether training recovers from "
        "saturation is a question for training runs."
    ),
)

SUITE = ObservedSuite(
    name="saturation",
    story=STORY,
    axes={"d": (1, 4, 16, 64, 256, 1024), "scale": ("none", "1/sqrt(d)"), "keys": (16, 64, 256)},
    levels={"d": Whole(1, 2**16), "scale": OneOf(*draws.SCALES), "keys": Whole(1, 2**16)},
    observe=observe,
    implementations=("*/naive",),
    tiers={"smoke": {"d": (4, 64), "keys": (64,)}},
)
