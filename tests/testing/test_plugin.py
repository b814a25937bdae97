"""The plugin: a repository of its own finds a planted fault with one test of five lines, and says the smallest case."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.exchange import without_pytest

FIVE_LINES = """\
import pytest
from kernel import {name}
@pytest.mark.attnbench(features="causal", dtypes="float64,float32")
def test_{name}(agrees):
    agrees({name})
"""
KERNELS = (Path(__file__).parent / "kernels.py").read_text("utf-8")


def repository(folder: Path, **files: str) -> Path:
    """A repository with a kernel and its tests."""
    (folder / "kernel.py").write_text(KERNELS, "utf-8")
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--strict-markers'\n", "utf-8")
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text, "utf-8")
    return folder


def pytest_in(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What pytest says there."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=without_pytest())


def test_five_lines_find_an_off_by_one_and_one_at_the_edge_of_a_tile(tmp_path: Path) -> None:
    files = {name: FIVE_LINES.format(name=name) for name in ("too_wide", "at_tile", "right")}
    done = pytest_in(repository(tmp_path, **files), "--tb=short")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 failed, 1 passed" in done.stdout
    assert "too_wide is not the attention that was asked for: the causal mask is one key too wide" in done.stdout
    assert re.search(r"smallest failing case: causal [^\n]*Tq=65 ", done.stdout)
    end = done.stdout.partition("= attnbench =")[2]
    assert "smallest failing case of 2 failing tests: causal Tq=2 D=1 dtype=float64" in end
    assert "in test_too_wide.py::test_too_wide: the causal mask is one key too wide" in end
    assert "again: attnbench.testing.assert_agrees(too_wide, case='causal Tq=2 D=1 dtype=float64')" in end
    assert "3 tests tried the short set" in end
    assert "asserting.py" not in done.stdout


def test_every_feature_in_every_dtype_also_where_workers_run_them(tmp_path: Path) -> None:
    done = pytest_in(
        repository(tmp_path, too_wide=FIVE_LINES.format(name="too_wide")), "--attnbench", "-n1", "-p", "xdist"
    )
    for part in ("[causal-float64]", "[causal-float32]"):
        assert f"FAILED test_too_wide.py::test_too_wide{part}" in done.stdout, done.stdout + done.stderr
    assert "2 failed, 2 passed" in done.stdout
    assert "smallest failing case of 2 failing tests: causal Tq=2 D=1" in done.stdout
    assert "short set" not in done.stdout


EACH = """\
import pytest
from kernel import at_tile
@pytest.mark.attnbench(features="causal", dtypes="float64")
def test_each(attention_case):
    p = attention_case
    p.assert_close(at_tile(p.q, p.k, p.v, **p.words))
"""


def test_a_test_of_each_case(tmp_path: Path) -> None:
    done = pytest_in(repository(tmp_path, each=EACH), "--attnbench", "--tb=line")
    assert "FAILED test_each.py::test_each[causal B=2 Hq=3 Tq=65" in done.stdout, done.stdout + done.stderr
    assert "again: attnbench.testing.problem('causal B=2 Hq=3 Tq=65" in done.stdout


@pytest.mark.parametrize(
    ("marker", "fixture", "message"),
    [
        ("features='casual'", "attention_case", "did you mean 'causal'"),
        ("is_causal=True", "agrees", "takes no 'is_causal'; did you mean 'causal'"),
        ("'causal'", "agrees", "takes words, as in @pytest.mark.attnbench"),
        ("features='causal'", "tmp_path", "says nothing to a test without one of the fixtures"),
    ],
)
def test_a_wrong_marker_is_an_error_before_any_test(marker: str, fixture: str, message: str, tmp_path: Path) -> None:
    text = f"import pytest\n@pytest.mark.attnbench({marker})\ndef test_it({fixture}):\n    pass\n"
    done = pytest_in(repository(tmp_path, it=text), "--collect-only")
    assert done.returncode != 0
    assert message in done.stdout + done.stderr


LOADED = "import json, sys\nimport {name}\nprint(json.dumps(sorted(sys.modules)))"
HEAVY = {"numpy", "torch", "jax", "keras", "hypothesis", "pydantic", "pandas", "typer", "rich", "psutil"}


@pytest.mark.parametrize("name", ["attnbench.testing", "attnbench.testing.plugin"])
def test_loading_it_imports_nothing_heavy(name: str, tmp_path: Path) -> None:
    """pytest itself imports rich's highlighter's neighbours, so that the plugin is loaded beside pytest alone."""
    code = LOADED.format(name=f"pytest, {name}" if name.endswith("plugin") else name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    loaded = {module.partition(".")[0] for module in json.loads(done.stdout)}
    assert not loaded & HEAVY
    ours = [module for module in json.loads(done.stdout) if module.startswith("attnbench.")]
    assert set(ours) <= {"attnbench.lazily", "attnbench.testing", "attnbench.testing.plugin"}


def test_the_options_of_the_bridge_stay_beside_it(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, "-p", "attnbench.suites.bench_pytest", "--help")
    assert done.returncode == 0, done.stderr
    assert "--attnbench-suite=" in done.stdout
    assert "--attnbench-depth=" in done.stdout
