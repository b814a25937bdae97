"""What does the scale cost by itself? Vaswani et al. 2017 add 1/√d to dot-product attention and speak of no price.

On a two-core machine the default selection is 48 cells in two blocks, about two minutes with one thread.
"""

from __future__ import annotations

from attnbench.api.suites import (
    AttentionSpec,
    Case,
    Figure,
    Frame,
    OneOf,
    Problem,
    Story,
    TimedSuite,
    UsageError,
    claims,
    contrasts,
    costs,
    frames,
    not_one_of,
)
from attnbench.suites import left_out as kinds

BASE, SCALED = "none", "1/sqrt(d)"
# The spec's scale at each level, for head size d. The folded factor stands in the weights that made q.
LEVELS: dict[str, float | str | None] = {BASE: "none", "1": 1.0, SCALED: None, "folded": "none"}
CLAIMS = {"forward": "scale-is-free", "backward": "scale-is-free-in-training"}
CHOSEN = {"T": 512, "d": 64}
MARGIN = 0.05


def case(T: int, d: int, phase: str, scale: str) -> Case:
    """B1 H4 float32 dot-product attention; ``folded`` is ``none`` on another draw of the inputs."""
    if scale not in LEVELS:
        raise UsageError(not_one_of("scale", scale, LEVELS))
    problem = Problem(Hq=4, Tq=T, D=d, dtype="float32", seed=1 if scale == "folded" else 0)
    return Case(AttentionSpec(scale=LEVELS[scale]), problem, phase=phase)


def over_none(frame: Frame) -> Frame:
    """Every scale over none at all, with the ratio of times paired round by round."""
    return costs.over_base(frame, "point.scale", BASE).assign(status="ok")


def verdicts(frame: Frame) -> list[claims.ClaimVerdict]:
    """Equivalence of 1/√d and no scale within 5 %, in each implementation; one family for each phase."""
    ratios = over_none(frame)
    chosen = ratios[(ratios["point.scale"] == SCALED) & ratios["pairs"].notna()]
    for axis, level in CHOSEN.items():
        chosen = chosen[chosen[f"point.{axis}"] == level]
    judged = []
    for phase, claim in CLAIMS.items():
        rows = [row for _, row in chosen[chosen["point.phase"] == phase].iterrows()]
        p = contrasts.holm([row["pairs"].p_equivalent(1 - MARGIN, 1 + MARGIN) for row in rows])
        judged += [
            claims.judge(claim, costs.ratio(row), (row["impl"],), adjusted)
            for row, adjusted in zip(rows, p, strict=True)
        ]
        judged += [] if rows else [claims.judge(claim, None)]
    return judged


def findings(frame: Frame) -> list[str]:
    """What each scale takes over none in each implementation; the control; what is missing."""
    ratios = over_none(frame)
    said = []
    for (phase, T, d, scale), rows in ratios.groupby(["point.phase", "point.T", "point.d", "point.scale"], sort=False):
        parts = [f"{row.impl} {costs.ratio(row).text('.3f')}" for row in rows.itertuples()]
        what = "folded into the weights (the control: nothing is multiplied)" if scale == "folded" else f"of {scale}"
        said.append(
            f"With a scale {what}, {phase}, T = {T}, d = {d}, a call takes this many times as long as without one: "
            f"{', '.join(parts)}."
        )
    return [*said, *_undecided(ratios), *frames.shortfall(frame)]


def _undecided(ratios: Frame) -> list[str]:
    """Whether the control shows that this machine could tell 5 % at all."""
    control = ratios[ratios["point.scale"] == "folded"]
    wide = [row.impl for row in control.itertuples() if row.low < 1 - MARGIN or row.high > 1 + MARGIN]
    if not wide:
        return []
    names = ", ".join(dict.fromkeys(wide))
    return [f"The control is known only to worse than 5 % in {names}: nothing follows there from a verdict."]


STORY = Story(
    question="Is the scale itself free?",
    method=(
        "Four heads, float32. Without a scale an implementation multiplies nothing; with a scale of 1 or 1/√d it "
        "multiplies, or hands the factor to its kernel. All four stand in one block: in every round each has one "
        "burst, in random order, and ratios are taken round by round. Equal within 5 % is shown by two one-sided "
        "tests of the ratio over processes, adjusted by Holm over the implementations of a phase."
    ),
    findings=findings,
    claims=verdicts,
    figures=(
        Figure(
            "ratio",
            "Time over the same attention without a scale",
            x="impl",
            y="time_ratio",
            col="point.scale",
            row="point.phase",
            kind="strip",
            y_label="time over no scale",
            guide=(1.0, 0.0, "free"),
            data=over_none,
            caption=(
                "The ratio of bursts of the same round, with its interval over processes. "
                "Folded: the factor is in the weights, so that nothing is multiplied; it shows what the method itself "
                "makes of no difference."
            ),
        ),
    ),
    limits=(
        "It is about a head size at which no exponential underflows without the scale: larger logits make a softmax "
        "slower by themselves. What folding costs when weights are loaded is not counted."
    ),
)

SUITE = TimedSuite(
    name="scale-cost",
    story=STORY,
    axes={"T": (512,), "d": (64,), "phase": ("forward", "backward"), "scale": tuple(LEVELS)},
    levels={"phase": OneOf(*CLAIMS)},
    case=case,
    beside=("scale",),
    leaves_out=kinds.left_out(
        kinds.FAR_BEHIND,
        *kinds.BY_NAME_ALONE,
        kinds.CAUSAL_ALONE,
        kinds.COMPILED_LONG,
        kinds.IN_A_LAYER,
        kinds.PYTHON_LOOPS,
        besides={"torch/sdpa-*": "torch/sdpa stands for them: the scale is an argument of the same call"},
    ),
    cell_s=0.2,
    rounds=6,
    weigh=False,
    tiers={"full": {"T": (128, 512, 2048), "d": (16, 64)}},
)
