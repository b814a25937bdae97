"""What a day consists of: its steps from the surest to the boldest, each with its own limit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attnbench.day.wheels import PREDICTED

ATTNBENCH = (sys.executable, "-m", "attnbench")
# Alone: others of these tests need packages that such a machine lacks.
GPU_TESTS = ("tests/impls/test_frameworks.py",)
INCONCLUSIVE = 3


@dataclass(frozen=True)
class DayStep:
    """A command, and the seconds that it has."""

    name: str
    limit_s: float
    command: tuple[str, ...]

    def status_of(self, exit_code: int) -> str:
        """What became of it, by its exit status: a run whose budget was too short for all has not failed."""
        partly = exit_code == INCONCLUSIVE and is_ours(self.command)
        return "ok" if exit_code == 0 else "partly" if partly else "failed"


def is_ours(command: Sequence[str]) -> bool:
    """Whether a command is attnbench's, so that its exit statuses are those of docs/interface.md."""
    _, flag, module, *_ = (*command, "", "", "")
    return flag == "-m" and module.partition(".")[0] == "attnbench"


def chosen(names: Sequence[str], only: Sequence[str] | None, first: str | None, last: str | None) -> list[str]:
    """Those that were asked for; ``ValueError`` where one is none."""
    wanted = [*(only or ()), *filter(None, (first, last))]
    if unknown := [name for name in dict.fromkeys(wanted) if name not in names]:
        msg = f"there is no step {', '.join(unknown)}; there are {', '.join(names)}"
        raise ValueError(msg)
    begin, end = names.index(first or names[0]), names.index(last or names[-1])
    if between := [name for name in names[begin : end + 1] if not only or name in only]:
        return between
    msg = f"no step is left of --from {first or names[0]} --until {last or names[-1]}; in order: {', '.join(names)}"
    raise ValueError(msg)


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
    additive: tuple[str, ...]
    narrowed: tuple[str, ...]  # a suite that asks about the additive score, and what of it
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
        decoding=("--impl", "triton/decode", "--phase", "decode"),
        additive=("triton/additive", "torch/compiled", "jax/blocked"),
        narrowed=("gpu", "-a", "tokens=512", "-a", "score=additive"),
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
        additive=("torch/naive",),
        narrowed=("scoring-cost", "-a", "score=additive"),
        tokens="128",
    ),
}


def steps(stage: Stage, wheels: Path, out: Path) -> list[DayStep]:
    """All of them; what is kept goes under ``out/day``."""
    on, runs, site = ("--device", stage.device), str(out / "day" / "runs"), str(out / "site")
    into = ("--out", runs)

    def timed(name: str, budget: int, *words: str) -> DayStep:
        limits = ("--budget", f"{budget}s", *into, "--report", str(out / "pages"), "-q")
        return DayStep(name, budget + 20.0, (*ATTNBENCH, "run", *words, *on, *limits))

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
    install = (sys.executable, str(Path(__file__).with_name("wheels.py")), "install", str(wheels), site)
    ab = (*stage.pair, "--suite", stage.suite, *stage.sizes, *on, "--budget", "30s", *into, "-q")
    tests = ("-q", "-m", "gpu", "-p", "no:cacheprovider", *GPU_TESTS)
    return [
        DayStep("machine", 20.0, ("nvidia-smi", "-q") if stage.device == "cuda" else ("uname", "-a")),
        DayStep("packages", 20.0, (sys.executable, "-m", "pip", "list")),
        DayStep("install", 120.0, install),
        # The first time that each framework is loaded from that machine's disk: slow there, and quick from then on.
        DayStep("doctor", 90.0, (*ATTNBENCH, "doctor")),
        *(checked(backend, pattern) for backend, pattern in stage.patterns.items()),
        timed("clock-and-ceilings", 25, "smoke", *kernels),
        timed("prefill", 60, stage.suite, *kernels, *stage.sizes),
        timed("decode-by-graphs", 30, stage.suite, *kernels, *stage.decoding),
        timed("additive", 25, *stage.narrowed, *[word for name in stage.additive for word in ("--impl", name)]),
        timed("memory", 25, "memory", *kernels, "--tokens", stage.tokens),
        DayStep("predictions", 60.0, predictions),
        DayStep("ab", 50.0, (*ATTNBENCH, "ab", *ab)),
        timed("scoring-cost", 25, "scoring-cost", *[word for name in stage.learned for word in ("--impl", name)]),
        timed("numerical-range", 20, "numerical-range"),
        DayStep("tests", 60.0, (sys.executable, "-m", "pytest", *tests)),
        DayStep("check-the-fastest", 120.0, fastest),
        # Last, as it needs no GPU; each line is printed as it is found, so that what was cut has told something.
        DayStep("precheck", 60.0, (*ATTNBENCH, "precheck", *PREDICTED, "--arch", "sm_90")),
    ]
