"""The step that holds a day to what was predicted of it: ``python -m attnbench.day.predictions RUNS --out FILE``.

Times of the runs over the floors of the GPU's data sheet; and kernels in Triton, as a precheck has compiled them
beforehand, against what Triton says of the same kernels there. FILE is written after each answer, so that a cut loses
nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from attnbench.day.comparison import KernelCompared, PredictionComparison, text
from attnbench.day.floors import floor_rows, measured
from attnbench.day.kernels_seen import compared, read_predictions
from attnbench.errors import EXIT_GATE_FAILED, EXIT_NOTHING_MEASURED, EXIT_OK, ResultsError
from attnbench.measure.clock.named import device_of
from attnbench.results.store import write_whole


def main() -> int:
    """1 where a time is faster than can be, 5 where there was nothing to compare, else 0."""
    parser = argparse.ArgumentParser(description="Hold a day to what was predicted of it.")
    parser.add_argument("runs", type=Path, help="the folder of its run folders")
    parser.add_argument("--predicted", type=Path, required=True, help="what attnbench precheck --json has printed")
    parser.add_argument("--out", type=Path, required=True, help="the file that is written")
    parser.add_argument("--suite", default="gpu")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--budget", type=float, default=40.0, metavar="SECONDS", help="for running kernels again")
    given = parser.parse_args()
    comparison = compare(given.runs, given.predicted, given.out, given.suite, given.device, given.budget)
    sys.stdout.write(text(comparison) + "\n")
    if comparison.impossible:
        return EXIT_GATE_FAILED
    return EXIT_OK if comparison.floors or comparison.kernels else EXIT_NOTHING_MEASURED


def compare(runs: Path, predicted: Path, out: Path, suite: str, device: str, budget_s: float) -> PredictionComparison:
    """All that can be compared, which is written to ``out`` as it comes."""
    until = time.monotonic() + budget_s
    seen = measured(runs, suite, device)
    sheet = None if seen.gpu is None else device_of(seen.gpu)
    notes = list(seen.notes)
    if sheet is None and seen.cells:
        notes.append(f"no data sheet of {seen.gpu or 'this device'} is known here: its times have no floor")
    floors = tuple(floor_rows(seen, sheet))
    comparison = PredictionComparison(seen.gpu, None if sheet is None else sheet.name, floors, notes=tuple(notes))
    _write(comparison, out)
    try:
        predictions = read_predictions(predicted)
    except ResultsError as error:
        comparison = replace(comparison, notes=(*notes, str(error)))
        _write(comparison, out)
        return comparison
    archs = {str(row["arch"]) for row in predictions}
    if sheet is not None and archs != {sheet.arch}:
        notes.append(f"the predictions are for {', '.join(sorted(archs))}, and this GPU is {sheet.arch}")
    kernels: list[KernelCompared] = []
    for rows, note in compared(predictions, seen, device, until):
        kernels += rows
        notes += [] if note is None else [note]
        comparison = replace(comparison, kernels=tuple(kernels), notes=tuple(notes))
        _write(comparison, out)
    return comparison


def _write(comparison: PredictionComparison, out: Path) -> None:
    write_whole(out, json.dumps(comparison.to_dict(), indent=1))


if __name__ == "__main__":
    sys.exit(main())
