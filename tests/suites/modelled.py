"""A whole run of a suite whose times and peaks follow a model that is known: no kernel is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from attnbench.attention.problem import Case
from attnbench.measure.clock import roofline
from attnbench.measure.run.plan import Plan, make_plan
from attnbench.results.dataset import load
from attnbench.results.store import RunWriter
from attnbench.suite import Cell
from tests.results import synthetic

# Operations for a second of one thread, and how many arrays of scores a call holds.
RATES = {"naive": 10e9, "sdpa-math": 15e9, "nn-xla": 20e9, "blocked": 25e9, "sdpa": 50e9, "sdpa-flash": 50e9}
ARRAYS = {"naive": 3.0, "sdpa-math": 2.0, "nn-xla": 2.0}
LACKS = ("softcap", "sinks")
CALL_S = 2e-5
# Bytes for a second, in one thread.
READ = 8e9


def time_of(cell: Cell) -> float:
    """Operations or bytes over the rates; two threads make it 1.6 times as fast, bfloat16 twice as slow."""
    assert cell.case is not None
    work = roofline.work(cell.case)
    rate = RATES.get(cell.impl.partition("/")[2], 30e9)
    seconds = max(work.flops / rate, work.min_bytes / READ) * (2 if cell.case.problem.dtype == "bfloat16" else 1)
    return float(CALL_S + seconds / cell.threads**0.678)


def peak_of(cell: Cell) -> int:
    """So many arrays of scores, or something that grows with the tokens."""
    assert cell.case is not None
    p = cell.case.problem
    arrays = ARRAYS.get(cell.impl.partition("/")[2], 0.0)
    return int(arrays * 4 * p.B * p.Hq * p.Tq * p.S) + 4096 + 4 * p.Hq * p.Tq * p.Dv


def lacking(case: Case, impl: str) -> str | None:
    """What fused kernels do not take."""
    needed = {*case.problem.operands, *(["softcap"] if case.spec.softcap else [])}
    named = [feature for feature in LACKS if feature in needed and "naive" not in impl]
    return f"does not support {named[0]}" if named else None


def plan_of(name: str, **more: Any) -> Plan:
    """The suite's default selection, no framework asked."""
    return make_plan([name], **({"probe": False} | more))


def run_of(
    folder: Path,
    name: str,
    *,
    seconds: Callable[[Cell], float] = time_of,
    keep: Callable[[Cell], bool] = lambda _: True,
    overrides: Sequence[str] = (),
    threads: Sequence[int] = (),
) -> Path:
    """The run folder of a suite; ``keep`` chooses the cells that were reached."""
    plan = plan_of(name, overrides=overrides, threads=threads)
    info = synthetic.info(
        f"20260102T030405Z-{name}-aaaaaa",
        command=("attnbench", "run", name),
        suites=(name,),
        axes=plan.axes(),
        implementations=plan.implementations(),
    )
    with RunWriter.create(folder, info) as writer:
        for cell in plan.cells:
            reason = plan.refused.get(cell.id) or (cell.case and lacking(cell.case, cell.impl))
            if reason:
                columns: dict[str, Any] = {"status": "unsupported", "reason": reason}
            elif not keep(cell):
                columns = {"status": "not-run", "reason": "the budget was spent"}
            else:
                columns = measured(cell, seconds(cell))
            writer.cell(synthetic.planned(info, cell, **columns))
        writer.finish()
    return writer.folder


def measured(cell: Cell, seconds: float) -> dict[str, Any]:
    """The columns of a cell that took so long, with an interval of 2 % on each side."""
    assert cell.case is not None
    work = roofline.work(cell.case)
    return {
        "status": "ok",
        "reason": None,
        "error_ratio": 0.1,
        "n_samples": 12,
        "n_bursts": 12,
        "time_median_s": seconds,
        "time_low_s": seconds * 0.98,
        "time_high_s": seconds * 1.02,
        "peak_bytes": peak_of(cell),
        "flops": work.flops,
        "min_bytes": work.min_bytes,
        "flop_rate": work.flops / seconds,
        "roofline_fraction": work.flops / seconds / 1e11,
    }


def frame_of(folder: Path, name: str, **more: Any) -> pd.DataFrame:
    """The frame of such a run."""
    frame: pd.DataFrame = load(run_of(folder, name, **more))
    return frame
