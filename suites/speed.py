"""How long does attention take, by length, head size, mask, grouped keys, dtype and phase?

On a two-core machine the default selection is 14 cases of 17 implementations, two of them compiled for each;
``--budget`` cuts it, shortest lengths first. Shapes of real models: ``--shape llama-3-8b --tokens 4096``.
"""

from __future__ import annotations

from attnbench.api.suites import Case, Figure, Frame, Story, TimedSuite, catalogue, costs, frames
from attnbench.suites import left_out as kinds

BASE, CAUSAL = "h4-d64", "h4-d64-causal"
SHAPES = (BASE, CAUSAL, "h4-d128", "h8-2-d128-causal")
# Beside the length one thing varies at a time, at these lengths.
CHOSEN = (512, 2048)
# One array of all scores in float32, above which what stores them is not measured unless it is named.
MOST_SCORES = 2**30


def case(tokens: int, shape: str, phase: str, dtype: str, batch: int) -> Case:
    """One layer of a named shape: prefill is forward, train forward and backward, decode one token over a cache."""
    return catalogue.case(shape, tokens, phase=phase, batch=batch, dtype=dtype)


def lengths(tokens: int, shape: str) -> bool:
    """Every length for the base shape; the others at the chosen ones."""
    return shape == BASE or tokens in CHOSEN


def phases(phase: str, shape: str) -> bool:
    """Training is asked of the causal shape."""
    return phase == "prefill" or shape == CAUSAL


def dtypes(dtype: str, shape: str) -> bool:
    """Half the bits are asked of the causal shape."""
    return dtype == "float32" or shape == CAUSAL


def both(dtype: str, phase: str) -> bool:
    """Training in float32 alone."""
    return dtype == "float32" or phase == "prefill"


def findings(frame: Frame) -> list[str]:
    """The fastest of every case, how time grows with the length, what bfloat16 and training cost; what is missing."""
    fastest = costs.fastest(frame, lambda row: costs.label(row, "shape", "tokens", "phase", "dtype"))
    growth = []
    for shape, phase in (
        frames.measured(frame)[["point.shape", "point.phase"]].drop_duplicates().itertuples(index=False)
    ):
        growth += costs.grows(
            frame,
            "time_median_s",
            f"{shape}, {phase}: time",
            lambda rows, shape=shape, phase=phase: (  # type: ignore[misc]
                (rows["point.shape"] == shape) & (rows["point.phase"] == phase) & (rows["point.dtype"] == "float32")
            ),
        )
    ratios = [*_over(frame, "point.dtype", "float32"), *_over(frame, "point.phase", "prefill")]
    return [*fastest, *growth, *ratios, *costs.shortfall(frame)]


def _over(frame: Frame, axis: str, base: str) -> list[str]:
    """What another level of an axis costs over its base, at the largest point where both were measured."""
    ratios = costs.over_base(frame, axis, base)
    said = []
    for level, rows in ratios.groupby(axis, sort=False):
        at = rows[rows["point.tokens"] == rows["point.tokens"].max()]
        for shape, of_shape in at.groupby("point.shape", sort=False):
            parts = [f"{row.impl} {costs.ratio(row).text('.3g')}" for row in of_shape.itertuples()]
            where = f"{shape}, {of_shape['point.tokens'].iloc[0]} tokens"
            said.append(f"{where}: {level} takes this many times as long as {base}: {', '.join(parts)}.")
    return said


def in_float32(frame: Frame) -> Frame:
    """Forward passes in float32, where all lengths are."""
    return frame[(frame["point.dtype"] == "float32") & (frame["point.phase"] == costs.first_level(frame, "phase"))]


def over_float32(frame: Frame) -> Frame:
    """Every other dtype over float32."""
    return costs.over_base(frame, "point.dtype", "float32")


def over_prefill(frame: Frame) -> Frame:
    """Every other phase over the forward pass."""
    return costs.over_base(frame, "point.phase", "prefill")


STORY = Story(
    question="How long does attention take, by length, head size, mask, grouped keys, dtype and phase?",
    method=(
        "By itself the suite asks about one attention layer: four heads of 64 at every length; at 512 and 2048 "
        "tokens also causal, with heads of 128, and with eight heads of 128 that share two of keys; the causal "
        "shape besides in bfloat16, and in training (forward and backward). Prefill is a forward pass over all "
        "tokens; decode, where asked for, one new token over a cache of the others. Every cell is checked against "
        "the float64 oracle before it is timed."
    ),
    findings=findings,
    figures=(
        Figure(
            "time",
            "Time of a call against the tokens, float32",
            x="point.tokens",
            y="time_median_s",
            hue="impl",
            col="point.shape",
            log_x=True,
            log_y=True,
            x_label="tokens",
            data=in_float32,
            caption="Median of burst medians; the band is its interval. Both axes are logarithmic.",
        ),
        Figure(
            "roofline",
            "Time as a fraction of the roofline, float32",
            x="point.tokens",
            y="roofline_fraction",
            hue="impl",
            col="point.shape",
            log_x=True,
            x_label="tokens",
            data=in_float32,
            caption=(
                "1 is what this machine's ceilings allow at best, measured in the same run with the same threads. Only "
                "what causality needs is counted as work."
            ),
        ),
        Figure(
            "dtype",
            "Other dtypes over float32: time",
            x="impl",
            y="time_ratio",
            col="point.tokens",
            kind="bar",
            y_label="time over float32",
            guide=(1.0, 0.0, "equal"),
            data=over_float32,
            caption="Ratio of medians of the same case, measured one after the other.",
        ),
        Figure(
            "phase",
            "Forward and backward over forward: time",
            x="impl",
            y="time_ratio",
            col="point.tokens",
            kind="bar",
            y_label="time over the forward pass",
            guide=(3.5, 0.0, "3.5: the products"),
            data=over_prefill,
            caption="Counted in products, training costs 3.5 forward passes (Dao 2022): 1 and five products for two.",
        ),
    ),
    limits=(
        "One layer by itself, its operands in memory already: no projections, no rotary embedding, and in decode no "
        "writing of the cache. One batch entry and few heads, so that it is done on two cores; more heads and batches "
        "fill more cores. What stores all scores is left out where one array of them is above 1 GiB."
    ),
)

SUITE = TimedSuite(
    name="speed",
    story=STORY,
    axes={
        "tokens": (128, 512, 2048, 8192),
        "shape": SHAPES,
        "phase": ("prefill", "train"),
        "dtype": ("float32", "bfloat16"),
        "batch": (1,),
    },
    case=case,
    thin=(lengths, phases, dtypes, both),
    refuse=costs.refuse_scores_above(MOST_SCORES, kinds.STORES_SCORES),
    leaves_out=kinds.left_out(kinds.FAR_BEHIND, *kinds.BY_NAME_ALONE, kinds.PYTHON_LOOPS),
    cell_s=0.2,
)
