"""Any timed suite under pytest-benchmark's fixture: a test for each cell, grouped by case.

    python -m pytest -p attnbench.suites.bench_pytest --pyargs attnbench.suites.bench_pytest --attnbench-suite smoke

A cell is held to the oracle before the clock and after it: a wrong implementation fails, an unsupported one is
skipped with its reason. The timed function ends when the device has finished (the backend's own ``wait``). What
pytest-benchmark does not do is what ``attnbench run`` is for: one process for each framework, bursts in random order,
disturbances seen, memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from attnbench.api.suites import AttnbenchError, Cell, inprocess

HERE = Path(__file__)
SESSION = pytest.StashKey[inprocess.InProcessCells]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which cells: the options of ``attnbench run``, with ``--attnbench-`` before them."""
    group = parser.getgroup("attnbench")
    group.addoption("--attnbench-suite", action="append", metavar="SUITE", help="A timed suite; repeatable.")
    group.addoption("--attnbench-impl", action="append", default=[], metavar="PATTERN", help="Name or shell pattern.")
    group.addoption("--attnbench-axis", action="append", default=[], metavar="AXIS=V1,V2", help="Levels of an axis.")
    group.addoption("--attnbench-device", action="append", default=[], metavar="DEVICE", help="cpu or cuda.")
    group.addoption("--attnbench-threads", type=int, default=1, metavar="N", help="Threads of every framework.")
    group.addoption("--attnbench-impls", action="append", default=[], metavar="FILE", help="Drop-in implementations.")


def pytest_configure(config: pytest.Config) -> None:
    """Plan before anything is imported: the frameworks read their number of threads from the environment."""
    option = config.getoption
    try:
        config.stash[SESSION] = inprocess.open_session(
            option("--attnbench-suite") or ["smoke"],
            option("--attnbench-impl"),
            option("--attnbench-axis"),
            devices=option("--attnbench-device"),
            threads=[option("--attnbench-threads")],
            files=option("--attnbench-impls"),
        )
    except AttnbenchError as error:
        raise pytest.UsageError(str(error)) from error


class _ThisModule(pytest.Module):
    """This file under its one importable name; pytest would import it, and the package around it, under another."""

    def _getobj(self) -> Any:
        import attnbench.suites.bench_pytest as module

        return module


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Collect this file as the module that it is."""
    # The name of the module, and not the path to it from here, so that a benchmark is called the same everywhere.
    return _ThisModule.from_parent(parent, path=module_path, nodeid=__name__) if module_path == HERE else None


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take the folder of this file for a folder, not for a package to be imported."""
    return pytest.Dir.from_parent(parent, path=path) if path == HERE.parent else None


@pytest.hookimpl(specname="pytest_generate_tests")
def pytest_generate_cells(metafunc: pytest.Metafunc) -> None:
    """A test for each cell. Under the hook's own name it would run twice: as a plugin's, and as the module's."""
    if "attnbench_cell" in metafunc.fixturenames:
        cells = metafunc.config.stash[SESSION].cells
        metafunc.parametrize("attnbench_cell", cells, ids=[inprocess.label(cell) for cell in cells])


@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")
def test_cell(attnbench_cell: Cell, benchmark: Any, request: pytest.FixtureRequest) -> None:
    """Check, time, check again."""
    session, cell = request.config.stash[SESSION], attnbench_cell
    ready = session.prepare(cell)
    benchmark.group = session.group(cell)
    # pytest-benchmark writes parameters to its file, and a cell is no JSON.
    benchmark.params = {"impl": cell.impl} | {axis: str(level) for axis, level in cell.point.items()}
    if ready.run is None:
        _end(benchmark, cell, ready.status, ready.reason)
    benchmark.extra_info.update(session.extra_info(cell))
    benchmark(ready.run)
    if reason := session.verify(cell):
        _end(benchmark, cell, "wrong", reason)


def _end(benchmark: Any, cell: Cell, status: str, reason: str | None) -> None:
    benchmark.has_error = True
    message = f"{cell.impl} {status}: {reason}"
    if status == "unsupported":
        pytest.skip(message)
    pytest.fail(message, pytrace=False)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Our fingerprint beside theirs."""
    machine_info["attnbench"] = config.stash[SESSION].fingerprint().model_dump(mode="json")


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """The rows of the cells without a time: pytest-benchmark itself leaves out what failed."""
    measured = [benchmark.extra_info.get("cell_id", "") for benchmark in benchmarks if not benchmark.has_error]
    output_json["attnbench"] = config.stash[SESSION].document(measured)
