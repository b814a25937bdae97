"""Where does one implementation overtake another, over the length and the head size?

On a two-core machine the default selection is 9 cases of 4 implementations, within a few minutes. For one boundary, as
an interval: ``attnbench crossover A B``.
"""

from __future__ import annotations

from dataclasses import replace

from attnbench.api.suites import Case, Figure, Frame, Story, TimedSuite, catalogue, costs, maps

BASE = "h4-d64"
# Those that people choose among: plain and tiled NumPy, plain PyTorch and its own kernel.
CONTESTANTS = ("numpy/naive", "numpy/blocked", "torch/naive", "torch/sdpa")
OTHERS = (
    *("numpy/loops", "torch/blocked", "torch/chunked", "torch/compiled", "torch/flex", "torch/mha*", "torch/sdpa-*"),
    *("torch/varlen", "cupy/*", "jax/*", "keras_*/*", "mlx/*", "onnxruntime/*", "openvino/*", "tinygrad/*", "triton/*"),
)


def case(tokens: int, head_size: int, phase: str, dtype: str) -> Case:
    """Four heads of a size, at a length."""
    whole = catalogue.case(BASE, tokens, phase=phase, dtype=dtype)
    return replace(whole, problem=replace(whole.problem, D=head_size, Dv=head_size, Da=head_size))


def findings(frame: Frame) -> list[str]:
    """The fastest of every case, and for the two rivals of each map where one overtakes the other."""
    fastest = costs.fastest(
        frame, lambda row: costs.label(row, "tokens", "head_size").replace("tokens, ", "tokens, D ")
    )
    said = [line for a, b in maps.rivals(frame) for line in maps.boundaries(frame, "tokens", "head_size", a, b)]
    return [*fastest, *said, *costs.shortfall(frame)]


def rivals(frame: Frame) -> Frame:
    """The ratios of the implementations that lead most often."""
    return maps.map_of_rivals(frame, "tokens", "head_size")


STORY = Story(
    question="Where does one implementation overtake another, over the length and the head size?",
    method=(
        "Four heads, at each of three lengths and three head sizes, and the implementations that people choose among. "
        "Each case is a block, whose bursts are interleaved; whether one of two is told to be faster is judged as the "
        "winners of all suites are. The maps show the implementations that lead most often, two and two."
    ),
    findings=findings,
    figures=(
        Figure(
            "map",
            "Who is faster, and by what factor",
            x="point.tokens",
            y="point.head_size",
            hue="ratio",
            kind="map",
            col="setting",
            x_label="tokens",
            y_label="head size D",
            data=rivals,
            caption=(
                "Each place names the faster one and the factor; the lighter its colour, the faster is A. A thick line "
                "is the boundary; a hatched place is not told apart, and the boundary may run anywhere through it. A "
                "place without a colour was not measured of both."
            ),
        ),
        Figure(
            "time",
            "Time of a call against the tokens",
            x="point.tokens",
            y="time_median_s",
            hue="impl",
            col="point.head_size",
            log_x=True,
            log_y=True,
            x_label="tokens",
            caption="Median of burst medians; the band is its interval. Both axes are logarithmic.",
        ),
    ),
    limits=(
        "A grid: a boundary lies somewhere between two of its places. attnbench crossover A B finds one as an "
        "interval, by measuring beside it. One batch entry and four heads, so that it is done on two cores."
    ),
)

SUITE = TimedSuite(
    name="crossover",
    story=STORY,
    axes={"tokens": (64, 256, 1024), "head_size": (16, 64, 128), "phase": ("prefill",), "dtype": ("float32",)},
    case=case,
    implementations=CONTESTANTS,
    leaves_out=dict.fromkeys(OTHERS, "a map is of two at a time: this suite measures four"),
    cell_s=0.5,
)
