"""Do additive scores stay bounded where dot products grow? Bahdanau et al. 2014; Vaswani et al. 2017, section 3.2.1.

A dot product grows with the size of both vectors, and with their dimension; an additive score is a sum of tanh, each
within ±1, so that no input can push it beyond Σ|v|.
"""

from __future__ import annotations

from dataclasses import replace

from attnbench.api.suites import (
    AttentionSpec,
    Figure,
    Frame,
    Number,
    ObservedSuite,
    Operands,
    Probe,
    Story,
    Whole,
    claims,
    default_params,
    diagnostics,
    draws,
    frames,
    intervals,
)

QUERIES = KEYS = 64
SPECS = {
    "dot": AttentionSpec(scale="none"),
    "scaled": AttentionSpec(),
    "additive": AttentionSpec(score="additive"),
}
# The head size that sentences and verdicts speak of.
SPOKEN_D = 64


def observe(probe: Probe, score: str, d: int, size: float) -> dict[str, float]:
    """Spread, largest magnitude and entropy of the scores of inputs ``size`` times as large, for each seed."""
    spec = SPECS[score]
    operands = _operands(spec, d, size)
    attended = probe.attend(spec, operands, outputs=("scores", "weights"))
    scores = attended.scores[0]
    entropy = diagnostics.normalised_entropy(attended.weights[0])
    metrics = {
        "deviation": scores.std(axis=(1, 2)),
        "largest": abs(scores).max(axis=(1, 2)),
        "entropy": entropy.mean(axis=1),
    }
    if operands.params:
        metrics["of_bound"] = metrics["largest"] / abs(operands.params["v"]).sum(-1)
    return diagnostics.by_seed(metrics, kept=tuple(metrics))


def _operands(spec: AttentionSpec, d: int, size: float) -> Operands:
    """The seeds lie along the heads, so that each has parameters of its own; q (1, N, queries, d)."""
    drawn = draws.seeded_operands(heads=1, queries=QUERIES, keys=KEYS, d=d)
    q, k, v = (array.swapaxes(0, 1) for array in (drawn.q * size, drawn.k * size, drawn.v))
    operands = replace(drawn, q=q, k=k, v=v)
    if spec.score != "additive":
        return operands
    return replace(operands, params=default_params(spec, heads=len(draws.SEEDS), d=d, dtype="float64"))


def growth(rows: Frame, score: str, d: int) -> intervals.Interval | None:
    """The deviation of the scores at the largest inputs over that at the smallest."""
    ratios = frames.first_to_last(rows, "deviation", "size", score=score, d=d)
    return intervals.geometric_interval(ratios) if ratios else None


def findings(frame: Frame) -> list[str]:
    """How scores grow with the inputs, by score; how far the frameworks differ."""
    d = frames.level_to_speak_of(frame, "d", SPOKEN_D)
    said = frames.together(frame, lambda rows: _growths(rows, d))
    return [
        *filter(None, [said]),
        *frames.agreement(frame),
        *frames.shortfall(frame),
    ]


def _growths(rows: Frame, d: int) -> str:
    sizes = sorted(frames.measured(rows, d=d)["point.size"].unique())
    growths = {score: growth(rows, score, d) for score in frames.levels(rows, "score")}
    parts = [f"{name} {interval.text('.3g')}" for name, interval in growths.items() if interval]
    if not parts:
        return ""
    return (
        f"From inputs of size {sizes[0]:g} to {sizes[-1]:g} at d = {d}, the standard deviation of the scores grows by "
        f"a factor of: {', '.join(parts)}."
    )


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """That no score passes the bound, and that dot products outgrow additive scores."""

    def bound(rows: Frame) -> intervals.Interval | None:
        highest = [max(at_points) for at_points in zip(*_of_bound(rows), strict=True)]
        return intervals.Interval(max(highest), min(highest), max(highest), len(highest)) if highest else None

    def outgrown(rows: Frame) -> intervals.Interval | None:
        d = frames.level_to_speak_of(frame, "d", SPOKEN_D)
        dot, additive = (
            frames.first_to_last(rows, "deviation", "size", score=score, d=d) for score in ("dot", "additive")
        )
        both = [a / b for a, b in zip(dot, additive, strict=False)]
        return intervals.geometric_interval(both) if both else None

    return [
        *claims.judge_each(frame, "additive-is-bounded", bound),
        *claims.judge_each(frame, "dot-products-grow-large", outgrown),
    ]


def _of_bound(rows: Frame) -> list[list[float]]:
    """The largest score over the bound by seed, at every point of the additive score."""
    additive = frames.measured(rows, score="additive")
    points = [(row["point.d"], row["point.size"]) for _, row in additive.iterrows()]
    return [frames.at(rows, "of_bound", score="additive", d=d, size=size) for d, size in points]


STORY = Story(
    question="Do additive scores stay bounded where dot products grow?",
    method=(
        "Normal q and k in float64, with components of standard deviation 1 to 64. The parameters of the additive "
        "score are normal, of variance 1/fan-in, other ones for each of eight seeds; its hidden size is d. Each "
        "implementation returns its scores and weights."
    ),
    findings=findings,
    claims=verdicts,
    figures=(
        Figure(
            "score-growth",
            "Standard deviation of the scores against the size of the inputs",
            x="point.size",
            y="metric.deviation",
            hue="point.score",
            style="impl",
            col="point.d",
            log_x=True,
            log_y=True,
            x_label="size of q and k",
            y_label="deviation of the scores",
            data=lambda frame: frames.one_row_per_seed(frame, "deviation"),
            caption="Median over eight seeds, and their middle half. Dot products go as the square; tanh levels off.",
        ),
        Figure(
            "entropy-by-size",
            "Entropy of a row against the size of the inputs",
            x="point.size",
            y="metric.entropy",
            hue="point.score",
            style="impl",
            col="point.d",
            log_x=True,
            x_label="size of q and k",
            y_label="entropy / log(keys)",
            data=lambda frame: frames.one_row_per_seed(frame, "entropy"),
            caption="1 is uniform attention, 0 is one key alone. Median over eight seeds, and their middle half.",
        ),
    ),
    limits=(
        "A bound on the scores is no bound on v: training can make v large, and additive attention as peaked as it "
        "likes. It is about the formula at given parameters."
    ),
)

SUITE = ObservedSuite(
    name="additive-bounded",
    story=STORY,
    axes={"score": tuple(SPECS), "d": (16, 64, 256), "size": (1.0, 4.0, 16.0, 64.0)},
    levels={"d": Whole(1, 4096), "size": Number(above=0, most=1e6)},
    observe=observe,
    implementations=("*/naive",),
    tiers={"smoke": {"d": (64,), "size": (1.0, 16.0)}},
)
