"""Who may import whom: the contracts hold, and each of them can fail."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.assembled import assemble, lint_imports, main, to_repository_paths

Plant = Callable[[Mapping[str, str]], Path]
Breach = tuple[str, str, str]  # the contract, the file and the line that breaks it

NUMPY = "impls/numpy_backend/blocked.py"
BREACHES: list[Breach] = [
    ("the harness imports no framework", "backends/discover.py", "import torch"),
    ("the harness imports no framework", "attention/spec.py", "def later():\n    from jax import numpy"),
    ("the harness imports no framework", "suites/smoke.py", "import torch.nn.functional"),
    ("nobody imports an implementation", "backends/discover.py", "import attnbench.impls.numpy_backend.naive"),
    ("nobody imports an implementation", "backends/discover.py", "from attnbench.suites import smoke"),
    ("only the command line", "api/__init__.py", "from attnbench.commands import app"),
    ("what is asked from a shell", "interface/given.py", "def later():\n    import attnbench.scoreboard"),
    ("only the command line", "groups.py", "def later():\n    import attnbench.commands.given"),
    ("commands may import every room", "commands/list_.py", "import pandas"),
    ("commands may import every room", "commands/list_.py", "import attnbench.commands.app"),
    ("attention imports", "attention/spec.py", "import pydantic"),
    ("attention imports", "attention/oracle.py", "import attnbench.measure"),
    ("attention imports", "attention/shapes.py", "import attnbench.show.markdown"),
    ("errors import", "errors.py", "import attnbench.attention.oracle"),
    ("keywords import", "keywords.py", "import attnbench.attention.oracle"),
    ("backends import attention", "backends/bind.py", "import attnbench.measure"),
    ("backends import attention", "backends/kept.py", "import threadpoolctl"),
    ("backends import attention", "backends/discover.py", "import attnbench.workers"),
    ("a suite is made of", "suite/kinds.py", "import attnbench.results.frames"),
    ("the faces of kernels and backends", "api/__init__.py", "from attnbench.results.read import read_run"),
    ("the faces of kernels and backends", "api/__init__.py", "from attnbench.api import suites"),
    ("the faces of kernels and backends", "api/backends.py", "import pydantic"),
    ("a kernel file imports", NUMPY, "from attnbench.api.backends import Bound"),
    ("numpy_backend imports", NUMPY, "import attnbench.attention.oracle"),
    ("numpy_backend imports", "impls/numpy_backend/adapter.py", "from attnbench.api.suites import draw"),
    ("numpy_backend imports", NUMPY, "import attnbench.measure"),
    ("numpy_backend imports", NUMPY, "import attnbench.impls.torch_backend.naive"),
    ("torch_backend imports", "impls/torch_backend/naive.py", "import jax"),
    ("torch_backend imports", "impls/torch_backend/train.py", "from attnbench.api.suites import training"),
    ("torch_backend imports", "impls/torch_backend/naive.py", "from attnbench.impls.jax_backend import naive"),
    ("keras_backend imports", "impls/keras_backend/ops.py", "import mlx.core"),
    ("mlx_backend imports", "impls/mlx_backend/sdpa.py", "import torch"),
    ("onnxruntime_backend imports", "impls/onnxruntime_backend/contrib.py", "import torch"),
    ("openvino_backend imports", "impls/openvino_backend/sdpa.py", "import onnxruntime"),
    ("tinygrad_backend imports", "impls/tinygrad_backend/sdpa.py", "import mlx.core"),
    ("cupy_backend imports", "impls/cupy_backend/naive.py", "from attnbench.impls.numpy_backend import blocked"),
    ("triton_backend imports", "impls/triton_backend/decode.py", "import jax"),
    ("jax_backend imports", "impls/jax_backend/naive.py", "import torch"),
    ("jax_backend imports", "impls/jax_backend/train.py", "from attnbench.api.suites import training"),
    ("a fast variant never leans", NUMPY, "from attnbench.impls.numpy_backend import naive"),
    ("a fast variant never leans", NUMPY, "from .naive import attend as leaned_on"),
    ("suites import attnbench.api.suites", "suites/smoke.py", "import attnbench.attention.oracle"),
    ("suites import attnbench.api.suites", "suites/smoke.py", "import pandas"),
    ("suites import attnbench.api.suites", "suites/smoke.py", "from attnbench.api.backends import Learner"),
    ("the pytest-benchmark module imports", "suites/bench_pytest.py", "import attnbench.results"),
    ("the pytest-benchmark module imports", "suites/bench_pytest.py", "from attnbench.api.backends import Bound"),
    ("answers read runs", "answers/best.py", "import attnbench.report.tables"),
    ("answers read runs", "answers/order.py", "import scipy"),
    ("agree judges attention", "agree/judge/array.py", "import attnbench.measure"),
    (
        "agree judges attention",
        "agree/mutants/conditional/known.py",
        "import attnbench.workers.session",
    ),
    ("explaining judges saved arrays", "explaining/files.py", "import attnbench.show.console"),
    ("explaining judges saved arrays", "explaining/ask.py", "import attnbench.measure.run"),
    ("the workers do not know", "workers/session.py", "import attnbench.agree.check.rows"),
    ("the workers do not know", "workers/__init__.py", "import attnbench.commands"),
    ("the workers do not know", "workers/pool.py", "import attnbench.measure.bench"),
    ("the workers do not know", "workers/process.py", "import attnbench.attention.spec"),
    ("measure and checking", "measure/__init__.py", "import attnbench.report"),
    ("measure and checking", "measure/run/run.py", "from attnbench.live import pairs"),
    ("measure and checking", "checking/features.py", "def later():\n    import attnbench.show.console"),
    ("precheck judges kernels", "precheck/rows.py", "import attnbench.measure"),
    ("precheck judges kernels", "precheck/triton/machine.py", "import torch"),
    ("tried keeps", "tried/runs.py", "from attnbench.measure.run import run"),
    ("ablate trains and analysis reads", "analysis/judged.py", "import attnbench.report"),
    ("ablate trains and analysis reads", "ablate/training.py", "import attnbench.measure.bench"),
    ("ci writes files", "ci/files.py", "from attnbench.show.console import say"),
    ("ci writes files", "ci/tox.py", "from attnbench.measure import worker"),
    ("testing asserts", "testing/asserting.py", "import attnbench.measure"),
    ("nobody needs the room for other", "interface/given.py", "def later():\n    import attnbench.testing"),
    ("workloads make a suite", "workloads/said.py", "from attnbench.show.console import say"),
    ("live measures two sides", "live/comparison.py", "from attnbench.show.console import say"),
    ("live measures two sides", "live/sides.py", "def later():\n    from attnbench.report import page"),
    ("results import", "results/__init__.py", "import attnbench.measure"),
    ("comparing imports", "comparing/__init__.py", "import attnbench.report"),
    ("show knows numbers and text", "show/units.py", "import attnbench.results"),
    ("report imports", "report/__init__.py", "import attnbench.measure"),
    ("exchange reads and writes", "exchange/writers/export.py", "import attnbench.report"),
    ("crossover searches", "crossover/visits.py", "import attnbench.report"),
    ("dispatch lays out runs", "dispatch/merge.py", "import attnbench.report"),
    ("the day of the GPU begins", "day/day.py", "import attnbench.report"),
    ("the scoreboard measures", "scoreboard/recorded/rules.py", "import asv"),
    ("the scoreboard measures", "scoreboard/live/ours.py", "from attnbench.commands.ab import ab_command"),
    ("the scoreboard measures", "scoreboard/live/cells.py", "def later():\n    import attnbench.measure.bench"),
]


def test_the_contracts_hold(assembled_once: Path) -> None:
    done = lint_imports(assembled_once)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def together(breaches: Sequence[Breach]) -> list[list[Breach]]:
    """Breaches that can be planted at once: no two are of one contract, and no two in one file."""
    batches: list[list[Breach]] = []
    for one in breaches:
        free = (b for b in batches if all(one[0] != other[0] and one[1] != other[1] for other in b))
        batch = next(free, None)
        if batch is None:
            batches.append(batch := [])
        batch.append(one)
    return batches


@pytest.mark.parametrize("breaches", together(BREACHES), ids=lambda breaches: f"{len(breaches)} breaches")
def test_the_contracts_can_fail(breaches: list[Breach], planted: Plant) -> None:
    done = lint_imports(planted({file: line for _, file, line in breaches}))
    assert done.returncode == 1
    told = done.stdout.partition("\nBroken contracts\n")[2]
    for contract, file, _ in breaches:
        module = "attnbench." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        own = re.search(rf"^{re.escape(contract)}[^\n]*\n-+\n(.*?)(?=^[^\n]*\n-+\n|\Z)", told, re.MULTILINE | re.DOTALL)
        assert own is not None, (contract, done.stdout + done.stderr)
        assert f"{module} is not allowed to import" in own[1], contract


def test_every_contract_is_shown_to_fail(project: dict[str, Any], assembled_once: Path) -> None:
    shown = tuple(contract for contract, _, _ in BREACHES)
    for contract in project["tool"]["importlinter"]["contracts"]:
        folders = [assembled_once / module.replace(".", "/").rstrip("/*") for module in contract["modules"]]
        exists = any(folder.exists() or folder.with_suffix(".py").exists() for folder in folders)
        assert contract["name"].startswith(shown) or not exists, f"no breach is planted for {contract['name']!r}"


def test_every_room_has_a_row(project: dict[str, Any], assembled_once: Path) -> None:
    rows = {module for row in project["tool"]["importlinter"]["contracts"] for module in row["modules"]}
    folders = [file.parent for file in assembled_once.glob("attnbench/*/__init__.py")]
    folders += [file.parent for file in assembled_once.glob("attnbench/impls/*/__init__.py")]
    rooms = {".".join(folder.relative_to(assembled_once).parts) for folder in folders}
    assert rooms - {"attnbench.impls", "attnbench.suites"} <= rows


def test_assembling_replaces_what_lay_there(tmp_path: Path) -> None:
    stale = tmp_path / "attnbench" / "stale.py"
    stale.parent.mkdir()
    stale.touch()
    assemble(tmp_path)
    assert not stale.exists()
    assert (tmp_path / "attnbench" / "suites" / "__init__.py").is_file()


def test_paths_are_those_of_the_repository(tmp_path: Path) -> None:
    text = f"{tmp_path}/attnbench/attention/spec.py:1 {tmp_path}/attnbench/impls/numpy_backend/naive.py:2"
    assert to_repository_paths(text, tmp_path) == "src/attnbench/attention/spec.py:1 impls/numpy_backend/naive.py:2"


def test_an_unknown_tool_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flake8"]) == 2
    assert capsys.readouterr().err == "usage: python -m tests.packaging.assembled {lint-imports,mypy}\n"
