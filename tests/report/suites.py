"""Two suites as a suite's author would write them, one timed and one observed, with frames for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from attnbench.analysis.claims import ClaimVerdict, judge
from attnbench.analysis.intervals import Interval
from attnbench.results.store import RunWriter
from attnbench.suite import Cell, Figure, Frame, ObservedSuite, Story, TimedSuite
from tests.results import synthetic

SMOKE = TimedSuite(
    name="smoke",
    axes={"T": (128, 512), "causal": (False, True)},
    case=synthetic.case_of,
    story=Story(
        question="Which implementation is fastest here, and does each agree with the reference?",
        method="Bursts of calls, interleaved; `B = 1`, four heads of size 64.",
        limits="One machine, one thread, small sizes: nothing is said of training or of accelerators.",
    ),
)


def observe(probe: Any, d: int, scaled: bool) -> Mapping[str, float]:
    del probe
    return {"variance": 1.0 if scaled else float(d)}


# A finding, whatever its last words are.
ENDING = "No head size is left out of what counts as reproduced."


def what_was_found(frame: Frame) -> list[str]:
    ok = frame[(frame["status"] == "ok") & ~frame["point.scaled"].astype(bool)]
    slope = np.polyfit(np.log(ok["point.d"]), np.log(ok["metric.variance"]), 1)[0]
    return [f"Unscaled, the variance of the scores grows as d^{slope:.2f}.", ENDING]


def what_it_says(frame: Frame) -> list[ClaimVerdict]:
    del frame
    return [
        judge("variance-grows-as-d", Interval(1.0012, 0.995, 1.004, 8), ("numpy/naive", "torch/naive"), 0.0078125),
        judge("scale-holds-variance", Interval(1.5, 1.2, 1.7, 8), ("numpy/naive",)),
        judge("dot-faster", None),
    ]


VARIANCE = ObservedSuite(
    name="variance",
    axes={"d": (1, 4, 16, 64), "scaled": (False, True)},
    observe=observe,
    story=Story(
        question="How does the variance of q·k grow with the head size <d>?",
        findings=what_was_found,
        claims=what_it_says,
        figures=(
            Figure(
                "line",
                "Variance of the scores",
                "point.d",
                "metric.variance",
                hue="impl",
                col="point.scaled",
                log_x=True,
                log_y=True,
                guide=(1.0, 1.0, "var = d"),
                caption="Dashed: the prediction.",
            ),
            Figure("bars", "By head size", "point.d", "metric.variance", hue="point.scaled", kind="bar", log_y=True),
            Figure("strip", "By implementation", "impl", "metric.variance", hue="point.d", kind="strip", log_y=True),
            Figure("heat", "As a map", "point.d", "point.scaled", hue="metric.variance", kind="heat"),
        ),
    ),
)
SUITES = {"smoke": SMOKE, "variance": VARIANCE}


def write_observed(out: Path, run_id: str = "20260103T030405Z-variance-cccccc", *, failed: str = "") -> Path:
    """A run of ``VARIANCE``; ``failed`` names an implementation that crashed."""
    run = synthetic.info(run_id, suites=("variance",), command=("/opt/bin/attnbench", "run", "variance"))
    rng = np.random.default_rng(0)
    with RunWriter.create(out, run) as writer:
        for point in VARIANCE.points():
            for impl in ("numpy/naive", "torch/naive", "jax/naive"):
                cell = Cell("variance", point, None, impl)
                if impl == failed:
                    writer.cell(synthetic.planned(run, cell, status="crashed", reason="signal 11 | core dumped"))
                    continue
                value = observe(None, **point)["variance"] * float(np.exp(0.03 * rng.standard_normal()))
                found = {"status": "ok", "reason": None, "metrics": {"variance": value}}
                writer.cell(synthetic.planned(run, cell, **found))
        writer.finish()
    return writer.folder
