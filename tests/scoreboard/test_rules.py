"""Other tools' rules as we replay them are the tools' own: asked of their code, and of real files that they wrote."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnbench.scoreboard.live import tools
from attnbench.scoreboard.recorded.replay import ASV, PYPERF, PYTEST_BENCHMARK
from attnbench.scoreboard.recorded.rules import (
    asv_different,
    asv_worse,
    pyperf_critical,
    pyperf_slower,
    pytest_benchmark_fails,
)

asv_compare = pytest.importorskip("asv.commands.compare", reason="the test extra brings asv")
asv_stats = pytest.importorskip("asv._stats", reason="the test extra brings asv")
runner_statistics = pytest.importorskip("asv_runner.statistics", reason="the test extra brings asv")
pyperf = pytest.importorskip("pyperf", reason="the test extra brings pyperf")
pyperf_utils = pytest.importorskip("pyperf._utils", reason="the test extra brings pyperf")
pyperf_compare = pytest.importorskip("pyperf._compare", reason="the test extra brings pyperf")
benchmark_utils = pytest.importorskip("pytest_benchmark.utils", reason="the test extra brings pytest-benchmark")


def samples(seed: int, n: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    base = np.exp(0.03 * rng.standard_t(3, n))
    return base, np.exp(rng.choice((0.0, 0.03, 0.05, 0.11)) + 0.03 * rng.standard_t(3, n))


@pytest.mark.parametrize("n", [8, 20, 21, 60])
@pytest.mark.parametrize("factor", [1.05, 1.1])
def test_asv(n: int, factor: float) -> None:
    called = set()
    for seed in range(20):
        base, head = samples(seed, n)
        (a, a_stats), (b, b_stats) = (runner_statistics.compute_stats(list(one), 1) for one in (base, head))
        theirs = asv_compare._is_result_better(a, b, (a_stats, list(base)), (b_stats, list(head)), factor)
        assert bool(asv_worse(base[None], head[None], factor)[0]) == theirs, seed
        different = asv_stats.is_different(list(base), list(head), a_stats, b_stats)
        assert bool(asv_different(base[None], head[None])[0]) == different, seed
        called.add(theirs)
    assert called == {True, False}


def test_pyperf() -> None:
    assert all(pyperf_critical(df) == pyperf_utils.tdist95conf_level(df) for df in range(1, 260))
    called = set()
    for seed in range(40):
        base, head = samples(seed, 15)
        benchmarks = [
            pyperf_compare.CompareData(
                name, pyperf.Benchmark([pyperf.Run(list(one), metadata={"name": "x"}, collect_metadata=False)])
            )
            for name, one in (("base", base), ("head", head))
        ]
        theirs = pyperf_compare.CompareResult(*benchmarks)
        moments = [(np.array([one.mean()]), np.array([one.var(ddof=1)])) for one in (base, head)]
        slower = theirs.significant and theirs.norm_mean > 1
        assert bool(pyperf_slower(moments[0], moments[1], 15)[0]) == slower, seed
        called.add(slower)
    assert called == {True, False}


def test_pytest_benchmark() -> None:
    check = benchmark_utils.parse_compare_fail("mean:5%")
    for head in (1.0, 1.0499, 1.05, 1.0501, 1.2):
        theirs = check.fails({"mean": head}, {"mean": 1.0}) is not None
        assert bool(pytest_benchmark_fails(np.array([1.0]), np.array([head]), 5)[0]) == theirs


def trial(tool: str, folder: Path, extra: int) -> tools.Called:
    return tools.TOOLS[tool](tools.ToolTrial(extra, [16], 0.1, folder, 0.0))


def test_pytest_benchmark_itself(tmp_path: Path) -> None:
    called = trial("pytest-benchmark", tmp_path, 20)
    base, head = (json.loads(next(tmp_path.glob(f"saved/*/*_{one}.json")).read_text()) for one in ("base", "head"))
    for rule, field, percent in PYTEST_BENCHMARK:
        a, b = [np.array([one["benchmarks"][0]["stats"][field]]) for one in (base, head)]
        assert bool(pytest_benchmark_fails(a, b, percent)[0]) == called.slower[rule][16], rule


def test_asv_itself(tmp_path: Path) -> None:
    called = trial("asv", tmp_path, 20)
    found = {}
    for path in (tmp_path / "saved" / "here").glob("*-*.json"):
        saved = json.loads(path.read_text())
        (row,) = saved["results"].values()
        found[saved["commit_hash"]] = np.array(dict(zip(saved["result_columns"], row, strict=False))["samples"])
    base, head = (found[commit] for commit in commits(tmp_path))
    for rule, factor in ASV:
        assert bool(asv_worse(base, head, factor)[0]) == called.slower[rule][16], rule


def commits(folder: Path) -> list[str]:
    log = ["git", "-C", str(folder), "log", "--reverse", "--format=%H"]
    return subprocess.run(log, capture_output=True, text=True, check=True).stdout.split()


def test_pyperf_itself(tmp_path: Path) -> None:
    called = trial("pyperf", tmp_path, 20)
    values = [np.array(pyperf.Benchmark.load(str(tmp_path / f"{one}.json")).get_values()) for one in ("base", "head")]
    moments = [(np.array([one.mean()]), np.array([one.var(ddof=1)])) for one in values]
    assert len(values[0]) == 2 * 3
    assert bool(pyperf_slower(moments[0], moments[1], len(values[0]))[0]) == called.slower[PYPERF][16]
