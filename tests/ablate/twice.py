"""Same seed, same machine: the same numbers, bit for bit. Runs the training ablations' smoke tier twice and compares.

``python -m tests.ablate.twice [SUITE ...]`` prints what it compared, and exits with 1 where a bit differs.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from attnbench import groups
from attnbench.measure.run.options import RunOptions
from attnbench.measure.run.run import run
from attnbench.results.dataset import load
from attnbench.suite import Suite

# What a clock says is not the training's.
SECONDS = "metric.train_s"
METRIC = "metric."


def training_suites(names: Sequence[str] = ()) -> list[Suite]:
    """The suites that train, at their smoke levels: those with seeds and with updates. All, or those named."""
    suites = [suite for suite in groups.members("ablations-smoke") if "seed" in suite.axes]
    if unknown := set(names) - {suite.name for suite in suites}:
        known = ", ".join(suite.name for suite in suites)
        sys.exit(f"{', '.join(sorted(unknown))} is no suite that trains; there are {known}")
    return [suite for suite in suites if not names or suite.name in names]


def numbers(frame: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """Every number by suite, cell and name, but for seconds; only of cells that were measured."""
    metrics = [str(name) for name in frame.columns if str(name).startswith(METRIC) and name != SECONDS]
    rows = frame[frame["status"] == "ok"]
    return {
        (suite, cell, name.removeprefix(METRIC)): value
        for suite, cell, *values in rows[["suite", "cell_id", *metrics]].itertuples(index=False)
        for name, value in zip(metrics, values, strict=True)
        if not np.isnan(value)
    }


def differences(first: pd.DataFrame, second: pd.DataFrame) -> list[str]:
    """A line for every number that is not the same in all its bits, or that only one frame has."""
    once, again = numbers(first), numbers(second)
    lines = []
    for key in dict.fromkeys([*once, *again]):
        a, b = once.get(key), again.get(key)
        if a is None or b is None or np.float64(a).tobytes() != np.float64(b).tobytes():
            lines.append(f"{' '.join(key)}: {a!r} and {b!r}")
    return lines


def summary(first: pd.DataFrame, second: pd.DataFrame) -> list[str]:
    """A line for each suite: what was compared, and how much of it is the same."""
    lines = []
    for name, rows in first.groupby("suite", sort=False):
        others = second[second["suite"] == name]
        count, different = len(numbers(rows)), len(differences(rows, others))
        measured = int((rows["status"] == "ok").sum())
        verdict = "all the same, bit for bit" if count and not different else f"{different} DIFFERENT"
        lines.append(f"{name}: {measured} of {len(rows)} cells, {count} numbers compared, {verdict}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run twice, compare, print; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.ablate.twice", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="suites that train; all of them without a name")
    suites = training_suites(parser.parse_args(arguments).suites)
    with tempfile.TemporaryDirectory() as folder:
        first, second = (load(run(RunOptions(suites, out=Path(folder), wait_s=600.0)).folder) for _ in "ab")
    print("\n".join(summary(first, second)))  # noqa: T201  (what it is for)
    different = differences(first, second)
    print("\n".join(different[:20]))  # noqa: T201
    return 1 if different or not numbers(first) else 0


if __name__ == "__main__":
    sys.exit(main())
