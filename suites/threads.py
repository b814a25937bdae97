"""How much faster does attention become with more threads?

Threads 1, 2, 4 and so on to the cores that this process may use. On a two-core machine the default selection is 4 cases
of 12 implementations at two settings.
"""

from __future__ import annotations

import os

from attnbench.api.suites import Case, Figure, Frame, Story, TimedSuite, catalogue, costs
from attnbench.suites import left_out as kinds


def counts(cores: int) -> tuple[int, ...]:
    """Powers of two up to the cores, and the cores."""
    doubled = [2**power for power in range(cores.bit_length()) if 2**power <= cores]
    return tuple(sorted({*doubled, cores}))


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def case(shape: str, tokens: int, phase: str, dtype: str, batch: int) -> Case:
    """One layer of a named shape."""
    return catalogue.case(shape, tokens, phase=phase, batch=batch, dtype=dtype)


def trained(phase: str, tokens: int) -> bool:
    """Training at the shorter length, decoding at the longer."""
    return phase == "prefill" or (phase == "train") == (tokens == 512)  # noqa: PLR2004  (the shorter length)


def speedups(frame: Frame) -> Frame:
    """Every number of threads over one: ``speedup`` with ``least`` and ``most``, and ``efficiency``, its part."""
    ratios = costs.over_base(frame, "threads", 1)
    return ratios.assign(
        speedup=1 / ratios["time_ratio"],
        least=1 / ratios["high"],
        most=1 / ratios["low"].where(ratios["low"] > 0),
        efficiency=1 / ratios["time_ratio"] / ratios["threads"],
        status="ok",
    )


def with_one(frame: Frame) -> Frame:
    """The speedups with the point of one thread."""
    gained = speedups(frame)
    alone = frame[frame["threads"] == 1].assign(speedup=1.0, efficiency=1.0)
    return costs.stacked(alone[alone["impl"].isin(set(gained["impl"]))], gained)


def findings(frame: Frame) -> list[str]:
    """The speedup of each implementation with the most threads, and who gains nothing that the intervals show."""
    gained = speedups(frame)
    said = []
    top = gained[gained["threads"] == gained["threads"].max()] if len(gained) else gained
    for (tokens, phase), rows in top.groupby(["point.tokens", "point.phase"], sort=False):
        parts = [
            f"{row.impl} {row.speedup:.3g} [{row.least:.3g}, {row.most:.3g}]"
            for row in rows.sort_values("speedup", ascending=False).itertuples()
        ]
        said.append(
            f"{phase}, {tokens} tokens: with {rows['threads'].iloc[0]} threads this many times as fast as with one: "
            f"{', '.join(parts)}."
        )
    flat = sorted(set(top["impl"]) - set(top[top["least"] > 1]["impl"])) if len(top) else []
    if flat:
        said.append(f"No gain that the intervals show in any case: {', '.join(flat)}.")
    if gained.empty:
        said.append("Only one number of threads was measured, so that nothing is said about scaling.")
    return [*said, *costs.shortfall(frame)]


STORY = Story(
    question="How much faster does attention become with more threads?",
    method=(
        "By itself four heads of 64 in float32, forward at 512 and 2048 tokens, training at 512 and decoding over "
        "2048. The same number of threads is set in every framework and verified before anything is measured; each "
        "number has its processes and its ceilings."
    ),
    findings=findings,
    figures=(
        Figure(
            "speedup",
            "Speedup over one thread",
            x="threads",
            y="speedup",
            hue="impl",
            style="point.tokens",
            col="point.phase",
            log_x=True,
            log_y=True,
            y_label="times as fast as with one thread",
            guide=(1.0, 1.0, "as many times as threads"),
            data=with_one,
            caption="Ratio of medians; the cells of one and of several threads were measured one after the other.",
        ),
        Figure(
            "efficiency",
            "Parallel efficiency at the most threads",
            x="impl",
            y="efficiency",
            hue="point.tokens",
            col="point.phase",
            kind="bar",
            y_label="speedup / threads",
            guide=(1.0, 0.0, "all of it"),
            data=lambda frame: speedups(frame)[lambda rows: rows["threads"] == rows["threads"].max()],
            caption="1 is a core's worth for every thread.",
        ),
    ),
    limits=(
        "Two hardware threads of one core count as two here, and neighbours on a shared machine take from both. Beyond "
        "the cores of this machine nothing is said."
    ),
)

SUITE = TimedSuite(
    name="threads",
    story=STORY,
    axes={
        "shape": ("h4-d64",),
        "tokens": (512, 2048),
        "phase": ("prefill", "train", "decode"),
        "dtype": ("float32",),
        "batch": (1,),
    },
    case=case,
    thin=(trained,),
    leaves_out=kinds.left_out(
        kinds.ONE_THREAD,
        *kinds.BY_NAME_ALONE,
        kinds.CAUSAL_ALONE,
        kinds.COMPILED_LONG,
        kinds.IN_A_LAYER,
        kinds.PYTHON_LOOPS,
        besides={"torch/sdpa-flash": "on a CPU this is the kernel that torch/sdpa takes by itself"},
    ),
    threads=counts(usable_cores()),
    cell_s=0.2,
)
