"""The figures of a workload: what the mix takes each implementation, and who would win at another share of prefill."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from attnbench.suite import Figure
from attnbench.workloads.flips import lines
from attnbench.workloads.totals import Served, geometric_mean, served

if TYPE_CHECKING:
    import pandas as pd

POINTS = 41
APART = ("run_id", "point.mix")  # what two mixes can differ in, besides where they were measured
# In the second figure, those that are within this factor of the winner at some share.
NEAR = 4.0


def totals(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each implementation and stage: its seconds."""
    import pandas as pd

    mixes = served(frame)
    rows = [
        {"impl": impl, "stage": stage, "seconds": geometric_mean(times.seconds), "setting": _setting(mix, mixes)}
        for mix in mixes
        for stage, mine in mix.stages.items()
        for impl, times in mine.items()
    ]
    return pd.DataFrame(rows, columns=["impl", "stage", "seconds", "setting"])


def over_the_winner(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each implementation and share of prefill: its time over the winner's there."""
    import pandas as pd

    rows = []
    grid = 1 / (1 + np.exp(-np.linspace(math.log(1 / 999), math.log(999), POINTS)))
    mixes = served(frame)
    for mix in mixes:
        means = {line.impl: line.mean() for line in lines(mix)}
        if not means:
            continue
        best = np.min([d * (1 - grid) + a * grid for d, a in means.values()], axis=0)
        for impl, (d, a) in means.items():
            ratio = (d * (1 - grid) + a * grid) / best
            if ratio.min() <= NEAR:
                where = _setting(mix, mixes)
                rows += [
                    {"impl": impl, "share": share, "ratio": value, "setting": where}
                    for share, value in zip(grid.tolist(), ratio.tolist(), strict=True)
                ]
    return pd.DataFrame(rows, columns=["impl", "share", "ratio", "setting"])


def _setting(mix: Served, mixes: Sequence[Served]) -> str:
    """What a panel is called: run and mix only where there are several of them."""
    setting = mix.setting
    several = {name for name in APART if len({other.setting.get(name) for other in mixes}) > 1}
    kept = {name.removeprefix("point."): setting[name] for name in setting if name not in APART or name in several}
    return ", ".join(f"{name} {level}" if name == "threads" else str(level) for name, level in kept.items())


FIGURES = (
    Figure(
        "totals",
        "What the mix takes, in prefill and in decode",
        x="impl",
        y="seconds",
        hue="stage",
        col="setting",
        kind="bar",
        y_label="seconds for all sequences",
        data=totals,
        caption="The sum over all calls, each implementation in the ways of calling it that take least.",
    ),
    Figure(
        "share",
        "Time over the winner's, at other shares of prefill",
        x="share",
        y="ratio",
        hue="impl",
        col="setting",
        log_x=True,
        log_y=True,
        x_label="prefill's share of the calls",
        y_label="time over the winner's",
        data=over_the_winner,
        caption=(
            "The same calls in other proportions: more of one stage, fewer of the other. At 1 an implementation wins; "
            "the winner flips where another one reaches 1. Those within four times the winner at some share are shown."
        ),
    ),
)
