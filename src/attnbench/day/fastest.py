"""The default depth of ``check`` for the fastest implementations of a day, as far as time allows.

``python -m attnbench.day.fastest RUNS --device cuda``: the three with the lowest times against the fastest of a case,
in the runs of the folder.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from attnbench.errors import ResultsError
from attnbench.results.read import read_cells

HOW_MANY = 3


def fastest(runs: Path, device: str) -> list[str]:
    """Their names: the lowest geometric mean of ratios to the fastest of each case comes first."""
    by_case: dict[str, dict[str, float]] = defaultdict(dict)
    for info in sorted(runs.glob("*/run.json")):
        try:
            cells = read_cells(info.parent)
        except ResultsError as error:  # a run that was cut while it wrote; the others count
            sys.stderr.write(f"{info.parent.name} was left out: {error}\n")
            continue
        for cell in cells:
            if cell.status == "ok" and cell.device == device and cell.time_median_s:
                by_case[cell.case_id][cell.impl] = cell.time_median_s
    ratios: dict[str, list[float]] = defaultdict(list)
    for times in by_case.values():
        for impl, seconds in times.items():
            ratios[impl].append(math.log(seconds / min(times.values())))
    return sorted(ratios, key=lambda impl: sum(ratios[impl]) / len(ratios[impl]))[:HOW_MANY]


def main() -> int:
    """Check them; 5 where nothing was timed."""
    parser = argparse.ArgumentParser(description="Check the fastest implementations of some runs.")
    parser.add_argument("runs", type=Path)
    parser.add_argument("--device", default="cuda")
    given = parser.parse_args()
    names = fastest(given.runs, given.device)
    if not names:
        sys.stderr.write(f"no cell of {given.runs} was timed on {given.device}\n")
        return 5
    command = [sys.executable, "-m", "attnbench", "check", *names, "--device", given.device, "--budget", "90s", "-q"]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
