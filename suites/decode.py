"""What does one new token cost against a long cache, and how much of it is reading the cache?

On a two-core machine the default selection is 13 cases of 13 implementations; ``--budget 15m`` bounds it.
"""

from __future__ import annotations

from attnbench.api.suites import Case, Figure, Frame, Story, TimedSuite, catalogue, costs, frames
from attnbench.suites import left_out as kinds

# The same eight query heads over eight, two and one heads of keys: the cache is read once, whatever shares it.
MANY, GROUPED, SINGLE = "h8-d128-causal", "h8-2-d128-causal", "h8-1-d128-causal"
LONG = 8192


def case(tokens: int, shape: str, batch: int, dtype: str) -> Case:
    """One new token over ``tokens`` keys, its own among them; the others stand in a cache."""
    return catalogue.case(shape, tokens, phase="decode", batch=batch, dtype=dtype)


def half(dtype: str, tokens: int) -> bool:
    """Half the bits at the chosen length."""
    return dtype == "float32" or tokens == LONG


def batches(batch: int, tokens: int, shape: str, dtype: str) -> bool:
    """Several sequences at once: the grouped shape in float32 at the chosen length."""
    return batch == 1 or (tokens == LONG and shape == GROUPED and dtype == "float32")


def findings(frame: Frame) -> list[str]:
    """The fastest of every case, growth with the cache, what sharing keys saves against what it saves in bytes."""
    fastest = costs.fastest(frame, lambda row: costs.label(row, "shape", "tokens", "batch", "dtype"))
    growth = []
    for shape in frames.levels(frame, "shape"):
        growth += costs.grows(
            frame,
            "time_median_s",
            f"{shape}: time",
            lambda rows, shape=shape: (  # type: ignore[misc]
                (rows["point.shape"] == shape) & (rows["point.dtype"] == "float32") & (rows["point.batch"] == 1)
            ),
        )
    return [*fastest, *growth, *_sharing(frame), *_reading(frame), *costs.shortfall(frame)]


def _sharing(frame: Frame) -> list[str]:
    """The time of shared keys over that of a head of keys for each query head, with the ratio of bytes beside it."""
    ratios = costs.over_base(frame, "point.shape", MANY)
    said = []
    for shape, rows in ratios.groupby("point.shape", sort=False):
        at = rows[(rows["point.tokens"] == rows["point.tokens"].max()) & (rows["point.dtype"] == "float32")]
        base = frame[(frame["point.shape"] == MANY) & frame["point.tokens"].isin(at["point.tokens"])]
        base = base[(base["point.dtype"] == "float32") & (base["point.batch"] == 1)]
        at = at[at["point.batch"] == 1]
        if at.empty:
            continue
        bytes_ratio = at["min_bytes"].iloc[0] / base["min_bytes"].iloc[0]
        parts = [f"{row.impl} {costs.ratio(row).text('.3g')}" for row in at.itertuples()]
        said.append(
            f"{at['point.tokens'].iloc[0]} tokens: {shape} has to read {bytes_ratio:.3g} of the bytes of {MANY}, and "
            f"takes this part of its time: {', '.join(parts)}."
        )
    return said


def _reading(frame: Frame) -> list[str]:
    """The rate at which the cache is read at the longest length."""
    ok = frames.measured(frame)
    if ok.empty:
        return []
    at = ok[ok["point.tokens"] == ok["point.tokens"].max()]
    best = at.assign(rate=at["min_bytes"] / at["time_median_s"]).sort_values("rate", ascending=False).iloc[0]
    where = costs.label(best, "shape", "tokens", "dtype")
    return [f"The highest rate at which a cache was read is {best['rate'] / 1e9:.3g} GB/s: {best['impl']}, {where}."]


def rates(frame: Frame) -> Frame:
    """The frame with ``rate``: the fewest bytes over the time, in GB/s, for one sequence."""
    single = frame[frame["point.batch"] == costs.first_level(frame, "batch")]
    return single.assign(rate=single["min_bytes"] / single["time_median_s"] / 1e9)


def in_float32(frame: Frame) -> Frame:
    """One sequence in float32, where all lengths are."""
    return frame[(frame["point.dtype"] == "float32") & (frame["point.batch"] == costs.first_level(frame, "batch"))]


def over_one(frame: Frame) -> Frame:
    """Several sequences over one."""
    return costs.over_base(frame, "point.batch", 1)


STORY = Story(
    question="What does one new token cost against a long cache, and does sharing keys save what it saves in bytes?",
    method=(
        "By itself the suite asks about eight query heads of 128 over eight, two and one heads of keys; one new "
        "token over 512 to 32,768 keys, the last of which is its own and the others a cache; float32 at every "
        "length, bfloat16 and a batch of 8 at 8192."
    ),
    findings=findings,
    figures=(
        Figure(
            "time",
            "Time of one token against the length of the cache, float32",
            x="point.tokens",
            y="time_median_s",
            hue="impl",
            col="point.shape",
            log_x=True,
            log_y=True,
            x_label="keys",
            data=in_float32,
            caption="Median of burst medians; the band is its interval. Both axes are logarithmic.",
        ),
        Figure(
            "rate",
            "Rate at which the cache is read",
            x="point.tokens",
            y="rate",
            hue="impl",
            style="point.dtype",
            col="point.shape",
            log_x=True,
            x_label="keys",
            y_label="fewest bytes / time, GB/s",
            data=rates,
            caption="Every key and value once, shared ones too, over the time of a call.",
        ),
        Figure(
            "batch",
            "Several sequences over one: time",
            x="impl",
            y="time_ratio",
            col="point.batch",
            kind="bar",
            y_label="time over one sequence",
            data=over_one,
            caption="Each sequence has a cache of its own, so that the bytes grow as the batch.",
        ),
    ),
    limits=(
        "The cache is one contiguous array that the new key already stands in: no pages, no copying of it for every "
        "token, no quantisation. A call of one token is short, so that what a framework does for every call is much "
        "of it at short lengths."
    ),
)

SUITE = TimedSuite(
    name="decode",
    story=STORY,
    axes={
        "tokens": (512, LONG, 32768),
        "shape": (MANY, GROUPED, SINGLE),
        "batch": (1, 8),
        "dtype": ("float32", "bfloat16"),
    },
    case=case,
    thin=(half, batches),
    leaves_out=kinds.left_out(
        kinds.FAR_BEHIND,
        *kinds.BY_NAME_ALONE,
        kinds.COMPILED_LONG,
        kinds.IN_A_LAYER,
        kinds.PYTHON_LOOPS,
        besides={"torch/sdpa-flash": "on a CPU this is the kernel that torch/sdpa takes by itself"},
    ),
    cell_s=0.2,
)
