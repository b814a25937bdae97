"""What gradient passes the softmax as d grows? Vaswani et al. 2017, section 3.2.1: "extremely small gradients".

The claim is usually repeated of "the gradient". Here it is asked of the whole distribution over rows, since the mean
and the median row behave differently.
"""

from __future__ import annotations

import math

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

QUERIES = KEYS = 64
HEADS = 4
VALUES = 16
# Below this d the scores are too alike for the softmax to have anything to saturate with.
LEAST_D = 4
NORMS = {"logits": "|dL/dlogits|", "q": "|dL/dq|"}
FAN = ("mean", "p10", "median", "p90")
BY_SEED = (*(f"{name}_{part}" for name in NORMS for part in FAN), "jacobian_median")


def observe(probe: Probe, d: int, scale: str) -> dict[str, float]:
    """Norms of the gradient of each row at the logits and at the query, and of the softmax's Jacobian, for each seed.

    The upstream gradient has one standard deviation at each weight: d_output is normal of variance 1/Dv, v normal.
    A bias of zeros brings the gradient of the logits out, since a bias is added to them.
    """
    drawn = draws.seeded_operands(heads=HEADS, queries=QUERIES, keys=KEYS, d=d, values=VALUES)
    d_output = draws.standardised("normal", "d_output", (HEADS, QUERIES, VALUES)) / math.sqrt(VALUES)
    spec = AttentionSpec(scale=draws.named_scale(scale))
    gradients = probe.vjp(spec, draws.with_zero_bias(drawn), d_output)
    weights = probe.attend(spec, drawn, outputs=("weights",)).weights
    rows = {
        "logits": diagnostics.row_norms(gradients["bias"]),
        "q": diagnostics.row_norms(gradients["q"]),
        "jacobian": diagnostics.softmax_jacobian_norm(weights),
    }
    metrics = {
        f"{name}_{part}": values
        for name, norms in rows.items()
        for part, values in diagnostics.quantile_fan(norms).items()
    }
    return diagnostics.by_seed(metrics, kept=BY_SEED)


def change(rows: Frame, metric: str, scale: str) -> intervals.Interval | None:
    """A metric at the largest d over the same at the smallest d from 4 on, paired by seed."""
    ratios = frames.first_to_last(rows, metric, "d", least=LEAST_D, scale=scale)
    return intervals.geometric_interval(ratios) if ratios else None


def findings(frame: Frame) -> list[str]:
    """How median and mean change with d, unscaled and scaled; how far the frameworks differ."""
    said = [frames.together(frame, lambda rows, scale=scale: _course(rows, scale)) for scale in draws.SCALES]  # type: ignore[misc]
    return [*filter(None, said), *frames.agreement(frame), *frames.shortfall(frame)]


def _course(rows: Frame, scale: str) -> str:
    sizes = sorted(d for d in frames.measured(rows, scale=scale)["point.d"] if d >= LEAST_D)
    changes = {key: change(rows, key, scale) for key in ("q_median", "q_mean", "logits_median", "logits_mean")}
    text = {key: interval.text(".3g") for key, interval in changes.items() if interval}
    if len(text) < len(changes):
        return ""
    name = "Without a scale" if scale == "none" else f"Scaled by {scale}"
    return (
        f"{name}, from d = {sizes[0]} to {sizes[-1]} the median over rows of |dL/dq| changes by a factor of "
        f"{text['q_median']} and its mean by {text['q_mean']}; at the logits the median changes by "
        f"{text['logits_median']} and the mean by {text['logits_mean']}."
    )


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """The claim asked of the median and of the mean, at the query and at the logits, and of the scale's effect."""
    metric_of = {
        "gradient-vanishes-median": "q_median",
        "gradient-vanishes-mean": "q_mean",
        "logit-gradient-vanishes-mean": "logits_mean",
    }
    judged = [
        verdict
        for claim, metric in metric_of.items()
        for verdict in claims.judge_each(frame, claim, lambda rows, metric=metric: change(rows, metric, "none"))  # type: ignore[misc]
    ]
    return [*judged, *claims.judge_each(frame, "scale-keeps-gradient", _scaled_over_unscaled)]


def _scaled_over_unscaled(rows: Frame) -> intervals.Interval | None:
    sizes = frames.levels(rows, "d")
    if not sizes:
        return None
    over, under = ({"d": max(sizes), "scale": scale} for scale in ("1/sqrt(d)", "none"))
    ratios = frames.ratios(rows, "q_median", over, under)
    return intervals.geometric_interval(ratios) if ratios else None


def _fan(name: str, what: str) -> Figure:
    return Figure(
        f"gradient-{name}",
        f"{what} against the head size: quantiles over rows, and the mean",
        x="point.d",
        y="norm",
        hue="over rows",
        style="impl",
        col="point.scale",
        log_x=True,
        log_y=True,
        x_label="head size d",
        y_label=what,
        data=lambda frame: fan_rows(frame, name),
        caption=(
            "Each line is the median over eight seeds, the band their middle half. Where mean and median part, a few "
            "rows carry the gradient and the others have none."
        ),
    )


def fan_rows(frame: Frame, name: str) -> Frame:
    """The frame with a row for each quantile and seed: columns ``over rows`` and ``norm``."""
    by_seed = frames.one_row_per_seed(frame, *(f"{name}_{part}" for part in FAN))
    columns = {f"metric.{name}_{part}": part for part in FAN}
    kept = ["impl", "point.d", "point.scale", "seed"]
    narrow = by_seed[[*kept, *columns]].rename(columns=columns)
    return narrow.melt(kept, var_name="over rows", value_name="norm")


STORY = Story(
    question="How much gradient passes the softmax as d grows, with and without the scale?",
    method=(
        "Standard normal q, k, v in float64, eight seeds, and an upstream gradient that has one standard deviation at "
        "each weight. Each implementation's own backward pass gives dL/dq and, through a bias of zeros, dL/dlogits; "
        "norms are taken row by row, and of these the mean and the quantiles 10, 50 and 90 %."
    ),
    findings=findings,
    claims=verdicts,
    figures=tuple(_fan(name, what) for name, what in NORMS.items()),
    limits=(
        "One backward pass at a random initialisation: not what an optimiser that rescales gradients makes of it, and "
        "not what a trained network has."
    ),
)

SUITE = ObservedSuite(
    name="gradients",
    story=STORY,
    axes={"d": (1, 4, 16, 64, 256, 1024), "scale": ("none", "1/sqrt(d)")},
    levels={"d": Whole(1, 2**16), "scale": OneOf(*draws.SCALES)},
    observe=observe,
    implementations=("*/naive",),
    tiers={"smoke": {"d": (4, 64)}},
)
