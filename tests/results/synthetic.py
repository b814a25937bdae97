"""Synthetic runs that look like real ones: times that grow with T², heavy tails, failures of every kind."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.results.calibrations import Calibration, Replayed, SelfComparison
from attnbench.results.schema import (
    CellResult,
    Fingerprint,
    Hardware,
    RunInfo,
    Sample,
    case_columns,
)
from attnbench.results.store import RunWriter
from attnbench.results.summary import summarise
from attnbench.suite import Cell

IMPLS = ("numpy/naive", "numpy/blocked", "torch/naive", "torch/sdpa", "jax/naive", "jax/nn-xla")
# Seconds per call at T = 512, and bytes of temporary memory per score.
SPEED = dict(zip(IMPLS, (9e-3, 6e-3, 4e-3, 1.1e-3, 3e-3, 2.4e-3), strict=True))
BYTES = dict(zip(IMPLS, (8, 0.6, 8, 0.4, 4, 4), strict=True))
FRAMEWORKS = {
    "numpy": {"numpy": "2.4.6", "blas": "OpenBLAS 0.3.31"},
    "torch": {"torch": "2.13.0", "blas": "MKL 2024.2"},
    "jax": {"jax": "0.10.2", "jaxlib": "0.10.2"},
}


# What a replay of recorded noise may say of a rule.
REPLAYED = Replayed(
    trials=2000,
    alarms=4,
    low=0.0005,
    high=0.0051,
    spread=0.02,
    margin=0.03,
    cells=4,
    power=0.95,
    found={11: None, 20: 0.1},
)


def self_comparison(log_ratios: Sequence[float] = (0.01,), **changes: Any) -> SelfComparison:
    """A cell that was compared with itself."""
    made: dict[str, Any] = {"started": "", "impl": "numpy/naive", "case_label": "c", "threads": 1, "verdict": "same"}
    return SelfComparison(**{**made, "log_ratios": tuple(log_ratios), **changes})


def calibration(*trials: SelfComparison, machine: str = "m", **changes: Any) -> Calibration:
    """What is known of a machine from these."""
    made: dict[str, Any] = {"made": "2026-01-02T03:04:05Z", "replayed": None}
    return Calibration(**{**made, "machine_id": machine, "trials": trials, **changes})


def fingerprint(**changes: Any) -> Fingerprint:
    hardware = Hardware(
        architecture="x86_64",
        cpu_model="Example CPU @ 2.60GHz",
        physical_cores=2,
        logical_cores=2,
        caches={"L1d": "48K", "L2": "1024K", "L3": "32768K"},
        memory_bytes=24 * 2**30,
    )
    given = {
        "hardware": hardware,
        "kernel": "Linux 6.1",
        "python": "CPython 3.11.7",
        "virtual": "virtual machine",
        "usable_cpus": 2,
        "packages": {"attnbench": "0.1.0", "numpy": "2.4.6"},
        "frameworks": FRAMEWORKS,
        "thread_pools": {name: {"openmp": 1} for name in FRAMEWORKS},
        "git": "0123456789ab",
    }
    return Fingerprint(**(given | changes))


def info(run_id: str = "20260102T030405Z-smoke-aaaaaa", **changes: Any) -> RunInfo:
    given = {
        "run_id": run_id,
        "started": "2026-01-02T03:04:05Z",
        "command": ("attnbench", "run", "smoke"),
        "suites": ("smoke",),
        "axes": {"smoke": {"T": [128, 512], "causal": [False, True]}},
        "implementations": IMPLS,
        "versions": {"attnbench": "0.1.0"},
        "fingerprint": fingerprint(),
    }
    return RunInfo(**(given | changes))


def planned(run: RunInfo, cell: Cell, **changes: Any) -> CellResult:
    given = {
        "run_id": run.run_id,
        "suite": cell.suite,
        "cell_id": cell.id,
        "case_id": cell.case_id,
        "block_id": cell.block_id,
        "case_label": cell.case.label() if cell.case else " ".join(f"{k}={v}" for k, v in cell.point.items()),
        "kind": "timed" if cell.case else "observed",
        "impl": cell.impl,
        "backend": cell.backend,
        "variant": cell.impl.partition("/")[2],
        "device": cell.device,
        "threads": cell.threads,
        "point": dict(cell.point),
        "status": "not-run",
        "reason": "not reached",
        "machine_id": run.fingerprint.machine_id,
        "code_version": "0.1.0",
    }
    return CellResult(**(given | case_columns(cell.case) | changes))


# The anchor of synthetic runs, which takes a millisecond on a machine at its usual speed.
ANCHOR = {"anchor": "tiles-128 float32, 1 thread; version 1, code abcd1234", "anchor_library": "numpy 2.4.6"}
ANCHOR_S = 1e-3


def draw_samples(
    run: RunInfo, cell: Cell, level: float, rng: np.random.Generator, *, bursts: int = 16, anchor_s: float | None = None
) -> list[Sample]:
    """Bursts with a common factor each (1 %, heavy tails), samples with 0.5 % besides, one warm-up, one disturbed.

    Where the anchor takes ``anchor_s`` it has the noise of the burst and 0.5 % of its own.
    """
    found = []
    for burst in range(bursts + 2):
        factor = level * float(np.exp(0.01 * rng.standard_t(4)))
        for index in range(3):
            wall = factor * float(np.exp(0.005 * rng.standard_normal())) * (1.6 if burst == 1 else 1.0)
            found.append(
                Sample(
                    run_id=run.run_id,
                    cell_id=cell.id,
                    replicate=burst % 2,
                    burst=burst,
                    index=index,
                    calls=8,
                    wall_s=wall,
                    cpu_s=0.98 * wall,
                    warmup=burst == 0,
                    disturbed=burst == 1,
                    t_start=0.1 * burst,
                    anchor_s=None
                    if anchor_s is None or burst < 2
                    else anchor_s * factor / level * float(np.exp(0.005 * rng.standard_normal())),
                )
            )
    return found


def cells(lengths: Iterable[int] = (128, 512), impls: Iterable[str] = IMPLS) -> list[Cell]:
    points: list[dict[str, Any]] = [{"T": length, "causal": causal} for causal in (False, True) for length in lengths]
    return [Cell("smoke", point, case_of(**point), impl) for point in points for impl in impls]


def case_of(T: int, causal: bool) -> Case:
    return Case(AttentionSpec(causal=causal), Problem(B=1, Hq=4, Tq=T, D=64))


def write_run(
    out: Path,
    run: RunInfo | None = None,
    *,
    seed: int = 0,
    factors: Mapping[str, float] | None = None,
    extra_bytes: Mapping[str, int] | None = None,
    failed: Mapping[tuple[str, int], tuple[str, str]] | None = None,
    lengths: Iterable[int] = (128, 512),
    impls: Iterable[str] = IMPLS,
    bursts: int = 16,
    finish: bool = True,
    machine: float = 1.0,
    anchor: Mapping[str, Any] | None = None,
) -> Path:
    """A whole run folder. ``failed`` maps (impl, T) to (status, reason).

    ``machine`` is how much longer everything takes than usual; with ``anchor``, its columns, one stood beside.
    """
    run = run or info()
    rng = np.random.default_rng(seed)
    plan = cells(tuple(lengths), tuple(impls))
    with RunWriter.create(out, run) as writer:
        writer.plan(planned(run, cell) for cell in plan)
        for cell in plan:
            length = cell.point["T"]
            why = (failed or {}).get((cell.impl, length))
            if why:
                writer.cell(planned(run, cell, status=why[0], reason=why[1]))
                continue
            level = SPEED[cell.impl] * (length / 512) ** 1.9 * (factors or {}).get(cell.impl, 1.0) * machine
            beside_s = ANCHOR_S * machine if anchor else None
            seen = draw_samples(run, cell, level, rng, bursts=bursts, anchor_s=beside_s)
            writer.samples(seen)
            peak = int(BYTES[cell.impl] * 4 * length**2) + (extra_bytes or {}).get(cell.impl, 0)
            flops = 4.0 * 4 * length**2 * 64
            found = summarise(seen)
            writer.cell(
                planned(
                    run,
                    cell,
                    status="ok",
                    reason=None,
                    error_ratio=0.05 + 0.01 * len(cell.impl),
                    peak_bytes=peak,
                    memory={"method": "VmHWM"},
                    flops=flops,
                    min_bytes=4.0 * 4 * 4 * length * 64,
                    flop_rate=flops / found["time_median_s"] if found.get("time_median_s") else None,
                    roofline_fraction=0.3,
                    import_s=1.2,
                    compile_s=0.2 if cell.backend == "jax" else 0.0,
                    first_call_s=2 * level,
                    **({"anchor_reason": "measured before there were anchors"} if anchor is None else anchor),
                    **found,
                )
            )
        if finish:
            writer.finish()
    return writer.folder
