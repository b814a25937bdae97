"""Whether a block's times agree with a local run's: ``python -m tests.benchmarks.like_local [--pairs N] [WORD ...]``.

In each pair the same cells are measured twice in fresh processes, in random order: by ``attnbench dispatch work`` and
by ``attnbench run``. The ratios of their medians are judged as those of ``attnbench ab`` are, within a margin of 5 %:
``same`` is what it is to be. The words are those of a run; with ``--budget`` both sides have it. Run it on a quiet
machine; without one ``inconclusive`` is an honest answer.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from attnbench.comparing.live import LiveJudge
from attnbench.comparing.sequential import MOST_PAIRS, Rules
from attnbench.dispatch.folder import read_plan, result_files
from attnbench.dispatch.records import BlockResult
from attnbench.results.read import read_contents
from attnbench.results.schema import CellResult

WORDS = ("smoke", "-a", "T=256", "--impl", "numpy/naive", "--impl", "torch/sdpa")
REFUSED = 2  # the exit status of what cannot be done

Times = dict[str, float]


def attnbench(*words: object) -> None:
    """Run a command in a process of its own. Raises ``SystemExit`` where it could not be done."""
    typed = [sys.executable, "-m", "attnbench", *map(str, words)]
    done = subprocess.run(typed, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ)
    if done.returncode == REFUSED:
        raise SystemExit(done.stderr.decode())


def times(cells: Sequence[CellResult]) -> Times:
    """The times of the cells that have one."""
    return {cell.cell_id: cell.time_median_s for cell in cells if cell.status == "ok" and cell.time_median_s}


def dispatched(plan: Path, more: Sequence[str]) -> Times:
    """Measure every block of a plan, one after the other."""
    for number in range(read_plan(plan).blocks):
        attnbench("dispatch", "work", plan, "--block", number, "--again", "--quiet", *more)
    results = [BlockResult.model_validate_json(file.path.read_bytes()) for file in result_files(plan)]
    return {cell: took for result in results for cell, took in times(result.cells).items()}


def local(words: Sequence[str], folder: Path, more: Sequence[str]) -> Times:
    """Measure the same by ``attnbench run``."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        attnbench("run", *words, "--out", f"{out}/runs", "--report", f"{out}/pages", "--quiet", *more)
        (run,) = Path(out, "runs").iterdir()
        return times(read_contents(run).cells)


def main() -> None:
    """Print a line for each pair and cell, and the verdicts."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--pairs", type=int, default=MOST_PAIRS, help="at most so many")
    asked.add_argument("--margin", type=float, default=0.05)
    asked.add_argument("--budget", help="of each side in each pair, such as 20s")
    given, words = asked.parse_known_args()
    words = words or list(WORDS)
    more = ["--budget", given.budget] if given.budget else []
    order = random.Random(0)  # noqa: S311  (no secret)
    with tempfile.TemporaryDirectory(prefix="attnbench-like-local-") as temporary:
        folder = Path(temporary)
        attnbench("dispatch", "plan", *words, "-o", folder / "plan", "--quiet")
        sides: dict[str, Callable[[], Times]] = {
            "dispatch": lambda: dispatched(folder / "plan", more),
            "run": lambda: local(words, folder, more),
        }
        judges: dict[str, LiveJudge] = {}
        open_cells: set[str] = set()
        for pair in range(given.pairs):
            seen = {name: sides[name]() for name in order.sample(sorted(sides), 2)}
            both = sorted(set(seen["dispatch"]) & set(seen["run"]))
            if not both:
                found = ", ".join(f"{name} measured {len(cells)}" for name, cells in seen.items())
                raise SystemExit(f"no cell was measured by both ({found}); give more time with --budget")
            if not judges:
                rules = Rules(margin=given.margin, cells=len(both))
                judges, open_cells = {cell: LiveJudge(rules) for cell in both}, set(both)
            for cell in sorted(open_cells & set(both)):
                ratio = seen["dispatch"][cell] / seen["run"][cell]
                print(f"pair {pair + 1}: {cell} took {ratio:.4f} of a local run", flush=True)
                if judges[cell].add(math.log(ratio)) is not None:
                    open_cells.discard(cell)
            if not open_cells:
                break
    print(json.dumps({cell: judge.decision.verdict for cell, judge in judges.items()}))


if __name__ == "__main__":
    main()
