"""The plugin: a repository of its own finds a planted fault with one test of five lines, and says the smallest case."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from attnbench.errors import UsageError
from attnbench.testing import marked
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
    assert "again: attnbench.testing.assert_agrees(too_wide, case='causal Tq=2 D=1 dtype=float64" in end
    assert "3 tests tried the short set" in end
    assert "asserting.py" not in done.stdout


MANY = """\
import pytest
from kernel import too_wide, right
from attnbench.testing import problem
@pytest.mark.attnbench(causal=True, dtypes="float64,float32")
def test_built_in(agrees):
    agrees(lambda q, k, v: too_wide(q, k, v, causal=True))
@pytest.mark.attnbench(features="causal", dtypes="float64")
def test_each(attention_case):
    p = attention_case
    p.assert_close(too_wide(p.q, p.k, p.v, **p.words))
@pytest.mark.attnbench(features="causal")
def test_never(agrees):
    pass
@pytest.mark.attnbench(features="causal")
@pytest.mark.xfail
def test_expected(agrees):
    agrees(too_wide, case="causal Tq=2 D=1")
@pytest.mark.attnbench(dtypes="float32")
class TestNearest:
    @pytest.mark.attnbench(dtype="float64", case="causal Tq=3 dtype=float64")
    def test_wins(self, agrees):
        assert {row.dtype for row in agrees(right).rows} == {"float64"}
"""
OWN = """\
import pytest
@pytest.fixture
def attention_case():
    return 1
def test_own_fixture(attention_case):
    assert attention_case == 1
@pytest.mark.parametrize("agrees", [2])
def test_own_parameter(agrees):
    assert agrees == 2
"""


def test_a_test_of_each_dtype_and_case_also_where_workers_run_them(tmp_path: Path) -> None:
    done = pytest_in(repository(tmp_path, many=MANY, own=OWN), "--attnbench", "-n1", "-p", "xdist", "--tb=short")
    said = done.stdout + done.stderr
    for part in ("built_in[every-float64]", "built_in[every-float32]", "each[causal ", "never[sizes-float32]"):
        assert f"FAILED test_many.py::test_{part}" in done.stdout, said
    assert "again: attnbench.testing.problem('causal " in done.stdout
    assert "never called it, so that nothing was compared" in done.stdout
    assert re.search(r"smallest failing case of \d+ failing tests: causal Tq=2 D=1", done.stdout), said
    assert "short set" not in done.stdout
    for name in ("TestNearest::test_wins", "test_own"):
        assert name not in done.stdout, said


def test_the_cases_of_a_test_have_every_feature_that_is_named() -> None:
    for every in (False, True):
        lines = marked.cases({"features": "causal,gqa", "dtypes": "float64"}, every=every)
        assert any("causal" in line for line in lines)
        assert any("Hkv=" in line for line in lines)
        assert not any("mask" in line or "nan_" in line for line in lines)
    with pytest.raises(UsageError, match="no case for the fixture attention_case has batch_offset"):
        marked.cases({"features": "batch_offset"}, every=True)


def test_the_parts_of_a_marked_test() -> None:
    said = {"features": "causal,gqa", "dtypes": "float64,float32"}
    names = [part.name for part in marked.parts(said, every=True)]
    assert names == [f"{row}-{dtype}" for row in ("sizes", "causal", "gqa") for dtype in ("float64", "float32")]
    assert marked.parts(said, every=False) == [marked.TestPart((), ("float64",))]
    assert [part.name for part in marked.parts({"case": "Tq=3", **said}, every=True)] == ["every-float64-float32"]
    part = marked.TestPart(("causal",), ("float32",))
    assert marked.of_part(part, {"features": "gqa"}) == {"rows": ()}
    assert marked.of_part(part, {"quick": False}) == {}
    assert marked.of_part(part, {"case": "Tq=2"})["dtype"] == ()


WRONG = [
    ("features='casual'", "attention_case", "did you mean 'causal'"),
    ("is_causal=True", "agrees", "takes no 'is_causal'; did you mean 'causal'"),
    ("'causal'", "agrees", "takes words, as in @pytest.mark.attnbench"),
    ("features='causal'", "tmp_path", "says nothing to a test without one of the fixtures"),
]


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What pytest says of files with a wrong marker each."""
    texts = [
        f"import pytest\n@pytest.mark.attnbench({marker})\ndef test_it({fixture}):\n    pass\n"
        for marker, fixture, _ in WRONG
    ]
    files = {f"wrong_{number}": text for number, text in enumerate(texts)}
    return pytest_in(repository(tmp_path_factory.mktemp("wrong"), **files), "--collect-only")


@pytest.mark.parametrize("message", [message for _, _, message in WRONG])
def test_a_wrong_marker_is_an_error_before_any_test(message: str, collected: subprocess.CompletedProcess[str]) -> None:
    assert collected.returncode != 0
    assert message in collected.stdout + collected.stderr


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
