"""A simulated run of 1,000 cells, as the built-in suites plan them: ``python -m tests.report.thousand FOLDER``.

Fifty cases of five suites by twenty implementations. Times grow with the work of a case and have a noise of their own,
and some cells failed in each of the ways in which cells fail.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from attnbench.attention.problem import Case
from attnbench.backends.discover import suite
from attnbench.results.store import RunWriter
from attnbench.results.summary import summarise
from attnbench.suite import Cell
from tests.results import synthetic

IMPLS = (
    *("numpy/naive", "numpy/blocked", "jax/naive", "jax/blocked", "jax/nn-xla", "jax/pallas"),
    *("torch/naive", "torch/sdpa", "torch/sdpa-math", "torch/sdpa-flash", "torch/blocked", "torch/flex"),
    *("torch/compiled", "torch/mha", "keras_jax/ops", "keras_torch/ops", "mlx/sdpa"),
    *("onnxruntime/attention", "openvino/sdpa", "tinygrad/sdpa"),
)
SUITES = ("speed", "memory", "decode", "masks", "smoke")
CASES = 50
LACKING = ("torch/flex", "torch/mha", "keras_jax/ops", "onnxruntime/attention", "openvino/sdpa")


def plan() -> list[Cell]:
    """The cells, as many for each implementation."""
    cases = [(name, point, case) for name in SUITES for point, case in suite(name).cases()][:CASES]
    return [Cell(name, point, case, impl) for name, point, case in cases for impl in IMPLS]


def write(out: Path) -> Path:
    """The whole run folder."""
    run = synthetic.info(
        "20260102T030405Z-speed-ffffff",
        command=("attnbench", "run", *SUITES),
        suites=SUITES,
        axes={name: {axis: list(levels) for axis, levels in suite(name).axes.items()} for name in SUITES},
        implementations=IMPLS,
    )
    rng = np.random.default_rng(0)
    with RunWriter.create(out, run) as writer:
        cells = plan()
        writer.plan(synthetic.planned(run, cell) for cell in cells)
        for number, cell in enumerate(cells):
            why = _why_not(cell, number)
            if why:
                writer.cell(synthetic.planned(run, cell, status=why[0], reason=why[1]))
                continue
            assert cell.case is not None
            level = _seconds(cell.case, cell.impl)
            seen = synthetic.draw_samples(run, cell, level, rng, bursts=8)
            writer.samples(seen)
            writer.cell(synthetic.planned(run, cell, **_found(cell.case, cell.impl, level), **summarise(seen)))
        writer.finish()
    return writer.folder


def _why_not(cell: Cell, number: int) -> tuple[str, str] | None:
    """The status and the reason of a cell that has no time."""
    if cell.impl in LACKING and (cell.suite == "masks" or (cell.case and cell.case.phase == "backward")):
        return "unsupported", f"{cell.impl} declares none of this: {dict(cell.point)}"
    odd = {997: "crashed", 211: "timeout", 523: "oom", 733: "wrong", 401: "not-run"}.get(number)
    return (odd, f"what its process came to in cell {number}") if odd else None


def _seconds(case: Case, impl: str) -> float:
    problem, place = case.problem, IMPLS.index(impl)
    scores = problem.B * problem.Hq * problem.Tq * problem.S
    return 2e-5 + scores * problem.D * 2e-11 * (1 + 0.35 * place) * (3 if case.phase == "backward" else 1)


def _found(case: Case, impl: str, level: float) -> dict[str, Any]:
    problem, place = case.problem, IMPLS.index(impl)
    scores = problem.B * problem.Hq * problem.Tq * problem.S
    return {
        "status": "ok",
        "reason": None,
        "error_ratio": 0.02 + 0.013 * place,
        "peak_bytes": 4096 + int(scores * (4 if place % 3 else 0.3)),
        "memory": {"method": "VmHWM"},
        "flops": 4.0 * scores * problem.D,
        "min_bytes": 16.0 * problem.Tq * problem.D,
        "flop_rate": 4.0 * scores * problem.D / level,
        "roofline_fraction": 0.3,
        "import_s": 1.2,
        "compile_s": 0.2 if impl.startswith("jax") else 0.0,
        "first_call_s": 2 * level,
    }


if __name__ == "__main__":
    sys.stdout.write(f"{write(Path(sys.argv[1]))}\n")
