"""What a day consists of: its steps from the surest to the boldest, each with its own limit."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

ATTNBENCH = (sys.executable, "-m", "attnbench")
PRECHECKED = ("triton/flash", "triton/decode", "triton/additive")


@dataclass(frozen=True)
class DayStep:
    """A command, and the seconds that it has."""

    name: str
    limit_s: float
    command: tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """Where a day is played: the GPU, or for a rehearsal the CPU, which has other kernels and smaller cases."""

    device: str
    suite: str
    kernels: tuple[str, ...]
    learned: tuple[str, ...]
    patterns: dict[str, str]
    pair: tuple[str, str]
    sizes: tuple[str, ...]
    decoding: tuple[str, ...]
    tokens: str


STAGES = {
    "cuda": Stage(
        device="cuda",
        suite="gpu",
        kernels=("torch/sdpa*", "torch/naive", "triton/flash", "jax/nn-cudnn", "jax/nn-xla"),
        learned=("torch/naive", "torch/chunked", "triton/additive", "jax/naive"),
        patterns={"torch": "torch/*", "triton": "triton/*", "jax": "jax/*", "cupy": "cupy/*"},
        pair=("torch/sdpa-flash", "torch/sdpa-cudnn"),
        sizes=("-a", "tokens=2048,4096", "-a", "phase=prefill,train"),
        decoding=("--phase", "decode"),
        tokens="4096",
    ),
    "cpu": Stage(
        device="cpu",
        suite="smoke",
        kernels=("torch/sdpa", "torch/naive"),
        learned=("torch/naive", "torch/chunked"),
        patterns={"torch": "torch/sdpa", "numpy": "numpy/naive"},
        pair=("torch/naive", "torch/sdpa"),
        sizes=("-a", "T=128", "-a", "setting=forward"),
        decoding=("-a", "T=128", "-a", "setting=forward"),
        tokens="128",
    ),
}


def steps(stage: Stage, wheels: Path, out: Path) -> list[DayStep]:
    """All of them; what is kept goes under ``out/day``."""
    on, runs, site = ("--device", stage.device), str(out / "day" / "runs"), str(out / "site")
    into = ("--out", runs)

    def timed(name: str, budget: int, *words: str) -> DayStep:
        command = (
            *ATTNBENCH,
            "run",
            *words,
            *on,
            "--budget",
            f"{budget}s",
            *into,
            "--report",
            str(out / "pages"),
            "-q",
        )
        return DayStep(name, budget + 20.0, command)

    def checked(backend: str, pattern: str) -> DayStep:
        rows = ("--junit", str(out / "day" / "texts" / f"check-{backend}.xml"))
        command = (*ATTNBENCH, "check", pattern, *on, "--quick", "--budget", "40s", "--timeout", "30", "-q", *rows)
        return DayStep(f"check-{backend}", 60.0, command)

    kernels = [word for pattern in stage.kernels for word in ("--impl", pattern)]
    fastest = (sys.executable, "-m", "attnbench.day.fastest", runs, "--device", stage.device)
    predicted, compared = str(wheels.parent / "predictions.json"), str(out / "day" / "predictions.json")
    predictions = (
        sys.executable, "-m", "attnbench.day.predictions", runs, "--predicted", predicted, "--out", compared,
        "--suite", stage.suite, *on,
    )  # fmt: skip
    return [
        DayStep("machine", 20.0, ("nvidia-smi", "-q") if stage.device == "cuda" else ("uname", "-a")),
        DayStep("packages", 20.0, (sys.executable, "-m", "pip", "list")),
        DayStep(
            "install", 60.0, (sys.executable, str(Path(__file__).with_name("wheels.py")), "install", str(wheels), site)
        ),
        DayStep("doctor", 60.0, (*ATTNBENCH, "doctor")),
        *(checked(backend, pattern) for backend, pattern in stage.patterns.items()),
        timed("clock-and-ceilings", 25, "smoke", *kernels),
        timed("prefill", 60, stage.suite, *kernels, *stage.sizes),
        timed("decode-by-graphs", 30, stage.suite, *kernels, *stage.decoding),
        timed("memory", 25, "memory", *kernels, "--tokens", stage.tokens),
        DayStep(
            "ab",
            60.0,
            (*ATTNBENCH, "ab", *stage.pair, "--suite", stage.suite, *stage.sizes, *on, "--budget", "40s", *into, "-q"),
        ),
        timed("scoring-cost", 30, "scoring-cost", *[word for name in stage.learned for word in ("--impl", name)]),
        timed("numerical-range", 30, "numerical-range"),
        DayStep("predictions", 60.0, predictions),
        DayStep("check-the-fastest", 120.0, fastest),
        DayStep(
            "tests", 60.0, (sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/impls")
        ),
        # Last, as it needs no GPU; each line is printed as it is found, so that what was cut has told something.
        DayStep("precheck", 60.0, (*ATTNBENCH, "precheck", *PRECHECKED, "--arch", "sm_90")),
    ]
