"""How much memory does a call need beyond its operands, up to 32,768 tokens?

On a two-core machine the default selection takes about 15 minutes with one thread, most of it at 32,768 tokens.
"""

from __future__ import annotations

from attnbench.api.suites import Case, Figure, Frame, Story, TimedSuite, catalogue, costs, frames
from attnbench.suites import left_out as kinds

# One array of all scores in float32, above which what stores them is not measured unless it is named.
MOST_SCORES = 2**30
LONGEST_TRAINED = 8192


def case(tokens: int, shape: str, phase: str, dtype: str, batch: int) -> Case:
    """One layer of a named shape: prefill is forward, train forward and backward."""
    return catalogue.case(shape, tokens, phase=phase, batch=batch, dtype=dtype)


def trained(tokens: int, phase: str) -> bool:
    """Training stops where its gradients, which take several times as long, still fit into minutes."""
    return phase == "prefill" or tokens <= LONGEST_TRAINED


def per_token(frame: Frame) -> Frame:
    """The frame with ``arrays``: the peak over one array of all scores (B·Hq·Tq·S in float32)."""
    rows = frame[frame["peak_bytes"].notna()]
    return rows.assign(arrays=rows["peak_bytes"] / (4.0 * rows["B"] * rows["Hq"] * rows["Tq"] * rows["S"]))


def findings(frame: Frame) -> list[str]:
    """The exponent of memory in the tokens, the peak at the longest length, and how many arrays of scores it is."""
    said = []
    ok = frames.measured(frame)
    for shape, phase in ok[["point.shape", "point.phase"]].drop_duplicates().itertuples(index=False):
        where = f"{shape}, {phase}"

        def of_both(rows: Frame, shape: str = shape, phase: str = phase) -> Frame:
            return (rows["point.shape"] == shape) & (rows["point.phase"] == phase)

        said += costs.grows(frame, "peak_bytes", f"{where}: the peak", of_both)
        said += _longest(where, per_token(ok[of_both(ok)]))
    return [*said, *costs.shortfall(frame)]


def _longest(where: str, rows: Frame) -> list[str]:
    """The peak of each implementation at the longest length that it was measured at."""
    parts = []
    for name, mine in rows.groupby("impl", sort=False):
        last = mine.loc[mine["point.tokens"].idxmax()]
        arrays = f", {last['arrays']:.2g} arrays of scores" if last["arrays"] >= 1 / 2 else ""
        parts.append(f"{name} {costs.size(last['peak_bytes'])} at {last['point.tokens']} tokens{arrays}")
    return [f"{where}: the peak at the longest length: {'; '.join(parts)}."] if parts else []


def shape_guide() -> tuple[float, float, str]:
    """One array of scores of one head in float32: 4·T²."""
    return (4.0, 2.0, "one array of scores, 4·T² bytes")


STORY = Story(
    question="How much memory does a call need beyond its operands, and how does it grow to 32,768 tokens?",
    method=(
        "By itself one head of 64 in float32, so that one array of scores has 4·T² bytes: 4 GiB at 32,768 tokens. "
        "Forward at every length, forward and backward to 8192. The peak is taken in a run of its own, after a "
        "small problem of the same kind has brought in what is loaded lazily; operands and, in training, the "
        "cotangent are there before."
    ),
    findings=findings,
    figures=(
        Figure(
            "peak",
            "Peak memory of a call against the tokens",
            x="point.tokens",
            y="peak_bytes",
            hue="impl",
            col="point.phase",
            log_x=True,
            log_y=True,
            x_label="tokens",
            guide=shape_guide(),
            caption="High-water mark during the call less the level just before it. Both axes are logarithmic.",
        ),
        Figure(
            "arrays",
            "Peak memory in arrays of scores",
            x="point.tokens",
            y="arrays",
            hue="impl",
            col="point.phase",
            log_x=True,
            x_label="tokens",
            y_label="peak / (4·B·Hq·Tq·S bytes)",
            data=per_token,
            caption="How many arrays of all scores in float32 a call holds. A kernel that stores none goes to 0.",
        ),
        Figure(
            "time",
            "What it costs in time",
            x="point.tokens",
            y="time_median_s",
            hue="impl",
            col="point.phase",
            log_x=True,
            log_y=True,
            x_label="tokens",
            caption="Median of burst medians; the band is its interval. Both axes are logarithmic.",
        ),
    ),
    limits=(
        "What stores all scores is left out above 1 GiB for each array of them, so that it fits a machine of 8 GiB: "
        "these cells are rows with the reason. Naming an implementation with --impl measures it all the same, under "
        "the memory limit of a worker. Pages that are never touched are not counted."
    ),
)

SUITE = TimedSuite(
    name="memory",
    story=STORY,
    axes={
        "tokens": (512, 2048, 8192, 32768),
        "shape": ("h1-d64",),
        "phase": ("prefill", "train"),
        "dtype": ("float32",),
        "batch": (1,),
    },
    case=case,
    thin=(trained,),
    refuse=costs.refuse_scores_above(MOST_SCORES, kinds.STORES_SCORES),
    leaves_out=kinds.left_out(
        kinds.FAR_BEHIND,
        *kinds.BY_NAME_ALONE,
        kinds.CAUSAL_ALONE,
        kinds.COMPILED_LONG,
        kinds.IN_A_LAYER,
        kinds.PYTHON_LOOPS,
        besides={"torch/sdpa": "on a CPU it takes the kernel of torch/sdpa-flash by itself"},
    ),
    cell_s=0.05,
    memory_first=True,
)
