"""Does attention fade as there are more keys, and what holds it? One matching key among n that do not match.

With 1/√d the weight of a key whose logit is fixed falls as 1/n once n outgrows its exponential. log-n scaling lets the
logits grow with log n; softmax₊₁ (a sink of logit 0) lets a row attend to nothing.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

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

QUERIES, D = 16, 64
SCALES: dict[str, Any] = {"1/sqrt(d)": None, "log-n": "log_n", "softmax+1": None}
BY_SEED = ("match", "unmatched_entropy", "unmatched_nothing")


def observe(probe: Probe, keys: int, arm: str) -> dict[str, float]:
    """The weight of a matching key, and what a query does that matches none, for each seed."""
    spec = AttentionSpec(scale=SCALES[arm])
    operands = draws.seeded_operands(heads=1, queries=QUERIES, keys=keys, d=D)
    # Query i finds itself at key i · (keys / QUERIES): its logit is |q|²/√d, about √d.
    place = [query * (keys // QUERIES) for query in range(QUERIES // 2)]
    k = operands.k.copy()
    k[:, :, place] = operands.q[:, :, : QUERIES // 2]
    operands = replace(operands, k=k)
    if arm == "softmax+1":
        operands = replace(operands, sinks=0.0 * operands.q[0, :, 0, 0])
    weights = probe.attend(spec, operands, outputs=("weights",)).weights[:, 0]
    matched, unmatched = weights[:, : QUERIES // 2], weights[:, QUERIES // 2 :]
    metrics = {
        "match": matched[:, list(range(QUERIES // 2)), place].mean(axis=1),
        "unmatched_entropy": diagnostics.normalised_entropy(unmatched).mean(axis=1),
        "unmatched_nothing": 1.0 - unmatched.sum(axis=-1).mean(axis=1),
    }
    return diagnostics.by_seed(metrics, kept=BY_SEED)


def kept(rows: Frame, arm: str) -> intervals.Interval | None:
    """The weight of the matching key at the most keys over that at the fewest."""
    ratios = frames.first_to_last(rows, "match", "keys", arm=arm)
    return intervals.geometric_interval(ratios) if ratios else None


def findings(frame: Frame) -> list[str]:
    """What is left of the matching key's weight, by arm; how far the frameworks differ."""
    said = frames.together(frame, _course)
    nothing = frames.together(frame, _nothing)
    return [*filter(None, [said, nothing]), *frames.agreement(frame), *frames.shortfall(frame)]


def _course(rows: Frame) -> str:
    sizes = sorted(frames.levels(rows, "keys"))
    parts = []
    for arm in frames.levels(rows, "arm"):
        ends = [frames.at(rows, "match", keys=n, arm=arm) for n in (sizes[0], sizes[-1])]
        if all(ends) and sizes[0] != sizes[-1]:
            first, last = (intervals.mean_interval(values).text(".3f") for values in ends)
            parts.append(f"from {first} to {last} ({arm})")
    if not parts:
        return ""
    return f"From {sizes[0]:g} to {sizes[-1]:g} keys the weight of the one that matches goes {', '.join(parts)}."


def _nothing(rows: Frame) -> str:
    every = {n: frames.at(rows, "unmatched_nothing", keys=n, arm="softmax+1") for n in frames.levels(rows, "keys")}
    sizes = sorted(n for n, values in every.items() if values)
    if not sizes:
        return ""
    first, last = (intervals.mean_interval(every[n]).text(".2g") for n in (sizes[0], sizes[-1]))
    return (
        f"With softmax+1 a query that matches nothing leaves this much of its weight unspent: {first} at "
        f"{sizes[0]:g} keys, {last} at {sizes[-1]:g}."
    )


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """That attention fades with 1/√d, and that log-n scaling holds it."""
    return [
        *claims.judge_each(frame, "attention-fades", lambda rows: kept(rows, "1/sqrt(d)")),
        *claims.judge_each(frame, "log-n-holds", lambda rows: kept(rows, "log-n")),
    ]


STORY = Story(
    question="Does attention fade as there are more keys, and what holds it?",
    method=(
        f"Standard normal q and k in float64, d = {D}, eight seeds. Half of the queries stand among the keys "
        f"themselves, so that one logit is |q|²/√d, about {math.sqrt(D):g}, and the others are standard normal; the "
        "other half match nothing. The log-n scale is ln(n)/√d; softmax+1 is a sink of logit 0."
    ),
    findings=findings,
    claims=verdicts,
    figures=(
        Figure(
            "match-weight",
            "The weight of the one key that matches, against the number of keys",
            x="point.keys",
            y="metric.match",
            hue="point.arm",
            style="impl",
            log_x=True,
            log_y=True,
            x_label="keys n",
            y_label="weight of the matching key",
            data=lambda frame: frames.one_row_per_seed(frame, "match"),
            caption=f"d = {D}. Median over eight seeds, and their middle half.",
        ),
        Figure(
            "unmatched-entropy",
            "Entropy of a query that matches nothing, against the number of keys",
            x="point.keys",
            y="metric.unmatched_entropy",
            hue="point.arm",
            style="impl",
            log_x=True,
            x_label="keys n",
            y_label="entropy / log(keys)",
            data=lambda frame: frames.one_row_per_seed(frame, "unmatched_entropy"),
            caption=f"d = {D}. 1 is uniform attention. Median over eight seeds, and their middle half.",
        ),
    ),
    limits=(
        "Random keys and one exact match. A trained network can make its match as sharp as it needs at the lengths "
        "that it has seen; the question is what happens beyond them."
    ),
)

SUITE = ObservedSuite(
    name="fading",
    story=STORY,
    axes={"keys": (32, 128, 512, 2048, 8192, 32768), "arm": tuple(SCALES)},
    levels={"keys": Whole(QUERIES, 2**20)},
    observe=observe,
    implementations=("*/naive",),
    tiers={"smoke": {"keys": (32, 512)}},
)
