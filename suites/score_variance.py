"""Does var(q·k) grow as d, and does 1/√d undo it? Vaswani et al. 2017, section 3.2.1, footnote 4."""

from __future__ import annotations

from attnbench.api.suites import (
    AttentionSpec,
    Figure,
    Frame,
    ObservedSuite,
    Probe,
    Story,
    Whole,
    claims,
    diagnostics,
    draws,
    frames,
    intervals,
)

QUERIES = KEYS = 64
# Small d gets more heads, so that no d rests on fewer random components than this for each seed.
COMPONENTS = 4096
FEWEST_HEADS = 4


def observe(probe: Probe, d: int, scale: str, distribution: str) -> dict[str, float]:
    """Variance and mean of the scores, over queries, keys and heads, for each seed."""
    heads = max(FEWEST_HEADS, COMPONENTS // (QUERIES * d))
    operands = draws.seeded_operands(heads=heads, queries=QUERIES, keys=KEYS, d=d, distribution=distribution)
    spec = AttentionSpec(scale=draws.named_scale(scale))
    scores = probe.attend(spec, operands, outputs=("scores",)).scores
    metrics = {"variance": scores.var(axis=(1, 2, 3)), "mean": scores.mean(axis=(1, 2, 3))}
    return diagnostics.by_seed(metrics, kept=("variance",))


def exponent(rows: Frame, scale: str, **point: str) -> intervals.Interval | None:
    """The exponent of the variance in d, over seeds, in one implementation."""
    slopes = frames.slopes(rows, "variance", "d", scale=scale, **point)
    return intervals.mean_interval(slopes) if slopes else None


def findings(frame: Frame) -> list[str]:
    """The exponents by scale and distribution, and how far the frameworks differ."""
    said = frames.together(frame, _growth)
    return [*filter(None, [said]), *frames.agreement(frame), *frames.shortfall(frame)]


def _growth(rows: Frame) -> str:
    parts = []
    for scale in frames.levels(rows, "scale"):
        exponents = {
            distribution: exponent(rows, scale, distribution=distribution)
            for distribution in frames.levels(rows, "distribution")
        }
        texts = [f"{interval.text()} ({name})" for name, interval in exponents.items() if interval]
        name = "without a scale" if scale == "none" else f"scaled by {scale}"
        parts += [f"{name}, {', '.join(texts)}"] if texts else []
    return f"The variance of the scores goes as a power of d: {'; '.join(parts)}." if parts else ""


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """The two claims of section 3.2.1, for standard normal components."""

    def normal(scale: str) -> list[claims.ClaimVerdict]:
        claim = "variance-grows-as-d" if scale == "none" else "scale-holds-variance"
        return claims.judge_each(frame, claim, lambda rows: exponent(rows, scale, distribution="normal"))

    return [*normal("none"), *normal("1/sqrt(d)")]


STORY = Story(
    question="Does the variance of q·k grow as d, and does the scale undo it?",
    method=(
        "Components of q and k are independent, of mean 0 and variance 1, in float64. Each implementation returns its "
        "scores, after its scale and before the softmax; their variance is taken over queries, keys and heads, for "
        "eight seeds, and its exponent in d is fitted for each seed. The interval is Student's over seeds. All "
        "implementations are given the same arrays."
    ),
    findings=findings,
    claims=verdicts,
    figures=(
        Figure(
            "score-variance",
            "Variance of the scores against the head size",
            x="point.d",
            y="metric.variance",
            hue="point.scale",
            style="impl",
            col="point.distribution",
            log_x=True,
            log_y=True,
            x_label="head size d",
            y_label="var(scores)",
            guide=(1.0, 1.0, "y = d"),
            data=lambda frame: frames.one_row_per_seed(frame, "variance"),
            caption=(
                "Median over eight seeds, and their middle half. Without a scale the variance follows y = d; 1/√d "
                "holds it at 1, 1/d makes it fall as 1/d. The lines of the frameworks lie on one another."
            ),
        ),
    ),
    limits=(
        "It shows what follows from independence, not what trained networks do: their queries and keys are neither "
        "independent nor of variance 1."
    ),
)

SUITE = ObservedSuite(
    name="score-variance",
    story=STORY,
    axes={
        "d": (1, 4, 16, 64, 256, 1024),
        "scale": ("none", "1/sqrt(d)", "1/d"),
        "distribution": ("normal", "uniform", "rademacher"),
    },
    levels={"d": Whole(1, 2**16)},
    observe=observe,
    implementations=("*/naive",),
    tiers={"smoke": {"d": (4, 64), "distribution": ("normal",)}},
)
