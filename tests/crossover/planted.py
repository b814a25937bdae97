"""Two kernels whose crossing is known, and what ``attnbench crossover`` says of ten such pairs.

Both compute attention. ``numpy/early`` computes some heads of C tokens besides, whatever the case; ``numpy/late``
computes so many of the case's own heads once more. It is the same code: at T = C both do the same work, below it
``late`` does less, above it ``early`` does. Without C, ``late`` alone does more, and nothing crosses.

By hand, on a quiet machine: ``python -m tests.crossover.planted [SECONDS [CROSSING...]]`` measures ten pairs and two
without a crossing, and prints a table.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import dedent

KERNELS = """
    import numpy as np
    from attnbench.api import Capabilities, implementation

    CROSSING, HEADS = {crossing}, {heads}
    rng = np.random.default_rng(0)
    FIXED = [rng.standard_normal((1, HEADS, max(CROSSING, 1), {D}), dtype=np.float32) for _ in range(3)]

    def attention(q, k, v, scale):
        s = q @ np.swapaxes(k, -1, -2) * np.float32(scale)
        e = np.exp(s - s.max(-1, keepdims=True))
        return (e / e.sum(-1, keepdims=True)) @ v

    @implementation("numpy/early", Capabilities())
    def early(q, k, v, call):
        if CROSSING:
            attention(*FIXED, call.scale)
        return attention(q, k, v, call.scale)

    @implementation("numpy/late", Capabilities())
    def late(q, k, v, call):
        attention(q[:, :HEADS], k[:, :HEADS], v[:, :HEADS], call.scale)
        return attention(q, k, v, call.scale)
"""
CROSSINGS = (96, 128, 160, 200, 256, 300, 384, 450, 512, 700)


def write(folder: Path, crossing: int, heads: int = 2, D: int = 64) -> Path:
    """The two kernels in a file; a ``crossing`` of 0 plants none."""
    path = folder / "planted.py"
    path.write_text(dedent(KERNELS).format(crossing=crossing, heads=heads, D=D), encoding="utf-8")
    return path


def command(file: Path, out: Path, budget: str, ends: str = "32:1024") -> list[str]:
    """The command that searches them."""
    what = ["numpy/early", "numpy/late", "--impls", str(file), "--range", ends, "--budget", budget]
    return ["crossover", *what, "--out", str(out), "--json", "--quiet"]


def main() -> None:
    """Ten pairs with a crossing and two without."""
    budget = sys.argv[1] if len(sys.argv) > 1 else "36"
    chosen = [int(word) for word in sys.argv[2:]] or [*CROSSINGS, 0, 0]
    print("| planted at | answer | interval | at | pairs | seconds |\n|---|---|---|---|---|---|")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        for crossing in chosen:
            words = command(write(Path(folder), crossing), Path(folder) / "results", f"{budget}s")
            done = subprocess.run(
                [sys.executable, "-m", "attnbench", *words], capture_output=True, text=True, check=False
            )
            if not done.stdout.strip():
                print(done.stderr)  # noqa: T201
                continue
            said = json.loads(done.stdout)
            ends = ", ".join(f"[{c['low']}, {c['high']}]" for c in said["crossings"])
            at = ", ".join(str(c["at"]) for c in said["crossings"])
            row = crossing or "none", said["answer"], ends, at, said["pairs"], f"{said['seconds']:.0f}"
            print(f"| {' | '.join(map(str, row))} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
