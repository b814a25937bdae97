"""The same calls as other tools' users would write them down: a file for each tool.

The slowdown comes by the environment, since all of these tools compare a benchmark with itself at another time.
"""

from __future__ import annotations

EXTRA, LENGTHS, SECONDS = "ATTNBENCH_EXTRA", "ATTNBENCH_LENGTHS", "ATTNBENCH_SECONDS"

HEAD = f"""
import os

from attnbench.scoreboard.attention import attention, operands

EXTRA = int(os.environ["{EXTRA}"])
LENGTHS = [int(one) for one in os.environ["{LENGTHS}"].split(",")]
"""

PYTEST_BENCHMARK = f"""{HEAD}
import pytest


@pytest.mark.parametrize("T", LENGTHS)
def test_attention(benchmark, T):
    benchmark(attention, *operands(T), EXTRA)
"""

# repeat: at least 5 samples, as many as there is time for; asv's own default ends after 10.
ASV = f"""{HEAD}

class Attention:
    params = LENGTHS
    param_names = ["T"]
    repeat = (5, 100_000, float(os.environ["{SECONDS}"]))
    timeout = 600

    def setup(self, T):
        self.operands = operands(T)

    def time_attention(self, T):
        attention(*self.operands, EXTRA)
"""

PYPERF = f"""{HEAD}
import pyperf

runner = pyperf.Runner()
for T in LENGTHS:
    runner.bench_func(f"attention[{{T}}]", attention, *operands(T), EXTRA)
"""
