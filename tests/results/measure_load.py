"""How long ``attnbench.load`` takes over many runs, measured; not a test, since no test looks at the clock.

    python -m tests.results.measure_load [RUNS] [SAMPLES_PER_RUN]

writes RUNS synthetic runs (1000) of SAMPLES_PER_RUN samples each (1000) into a temporary folder, loads their cells and
their samples three times, each time in a fresh process, and prints the rows, the seconds and the CPU seconds
of every load (on a busy machine the second number says more).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.results import synthetic

REPEATS = 3
LOAD = """
import sys, time
import pandas, pyarrow.dataset, pyarrow.parquet, attnbench.results.dataset
start, cpu = time.perf_counter(), time.process_time()
frame = attnbench.load(sys.argv[1], samples=sys.argv[2] == "samples")
print(len(frame), time.perf_counter() - start, time.process_time() - cpu)
"""


def write_runs(out: Path, runs: int, samples: int) -> None:
    """Copies of one synthetic run under other run_ids: the rows of each are its own."""
    cells = len(synthetic.cells())
    bursts = max(1, -(-samples // (cells * 3)) - 2)
    first = synthetic.write_run(out / "first", bursts=bursts)
    info = json.loads((first / "run.json").read_text())
    tables = {name: pq.read_table(first / name) for name in ("cells.parquet", "samples.parquet")}
    for number in range(runs):
        run_id = f"20260102T{number:06d}Z-smoke-{number:06x}"
        folder = out / "results" / run_id
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(info | {"run_id": run_id}))
        for name, table in tables.items():
            at = table.schema.get_field_index("run_id")
            own = table.set_column(at, "run_id", pa.array([run_id] * table.num_rows)).slice(0, samples)
            pq.write_table(own, folder / name, compression="zstd")


def main(arguments: list[str]) -> None:
    """Write, load, print."""
    runs, samples = (int(word) for word in [*arguments, *("1000", "1000")[len(arguments) :]])
    with tempfile.TemporaryDirectory() as folder:
        write_runs(Path(folder), runs, samples)
        for what in ("cells", "samples"):
            for _ in range(REPEATS):
                command = [sys.executable, "-c", LOAD, str(Path(folder) / "results"), what]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                rows, seconds, cpu = done.stdout.split()
                print(f"{runs} runs, {rows} {what}: {float(seconds):.2f} s, {float(cpu):.2f} s of CPU")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
