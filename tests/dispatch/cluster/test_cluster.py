"""Blocks on a real cluster: handed out, lost, called back, refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import attnbench as ab
from attnbench.dispatch.folder import read_plan, result_files, result_path
from attnbench.dispatch.listing import listed
from attnbench.dispatch.records import BlockResult
from attnbench.errors import EXIT_CELLS_FAILED, EXIT_INCONCLUSIVE, EXIT_NOTHING_MEASURED, EXIT_USAGE
from tests.dispatch.cluster.conftest import SEEN, TWO, Place, start
from tests.dispatch.cluster.processes import Cluster, all_gone, front
from tests.program import Cli

Questions = Callable[[str], Path]
# What says something of threads, or is Dask's.
OF_THREADS = ("OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "GOMP_", "KMP_", "MALLOC_", "DASK_")

LOCAL_RUN = """
import sys, attnbench as ab
asked = {"suite_files": ["questions.py"], "impl": "numpy/naive", "axes": {"seed": 0}, "out": "local"}
sys.exit(ab.run("seen", **asked).exit_code)
"""


def results(folder: Path) -> list[BlockResult]:
    files = sorted(result_files(folder), key=lambda file: file.path.name)
    return [BlockResult.model_validate_json(file.path.read_bytes()) for file in files]


def handed_out(result: BlockResult) -> dict[str, object]:
    (event,) = (event for event in result.events if event["name"] == "handed-out")
    return dict(event)


def of_threads(seen: dict[str, object]) -> dict[str, str]:
    """The variables of a measuring process that are Dask's, or say something of threads."""
    environment = seen["environment"]
    assert isinstance(environment, dict)
    return {name: value for name, value in environment.items() if name.startswith(OF_THREADS)}


@pytest.mark.usefixtures("questions")
def test_a_cluster_measures_what_a_local_run_does(cli: Cli, cluster: Cluster, place: Place, tmp_path: Path) -> None:
    about = tmp_path / "more" / "jax-0.0.1.dist-info" / "METADATA"
    about.parent.mkdir(parents=True)
    about.write_text("Metadata-Version: 2.1\nName: jax\nVersion: 0.0.1\n")
    start(cluster, "old", PYTHONPATH=str(tmp_path / "more"))
    start(cluster, "odd", ATTNBENCH_LABELS="gpu")
    cluster.until(lambda: _workers(cluster) == 4)
    done = cli("dispatch", "run", *SEEN, "--scheduler", cluster.address, "--send-files", "--plan", "plan")
    for name in ("old", "odd"):  # they are told why, and the others go on
        cluster.kill(cluster.workers.pop(name))
    assert done.code == EXIT_CELLS_FAILED, done.err
    assert "worker old is not used: it is not as the plan: jax " in done.err
    assert "there 0.0.1" in done.err
    assert "worker odd is not used: ATTNBENCH_LABELS of this worker: gpu: write NAME=VALUE" in done.err
    assert "workers a, b stand on one machine and have locks of their own" in done.err
    assert "[2/2]" in done.err
    there = place.seen()
    measured = results(tmp_path / "plan")
    assert {str(handed_out(result)["worker"]) for result in measured} == {"a", "b"}
    assert {result.labels["name"] for result in measured} == {"a", "b"}
    place.clear()
    alone = {name: value for name, value in os.environ.items() if not name.startswith(OF_THREADS)}
    local = [sys.executable, "-c", LOCAL_RUN]
    assert subprocess.run(local, cwd=tmp_path, env=alone, check=False).returncode == EXIT_CELLS_FAILED
    assert len(there) == len(place.seen()) == 2
    assert [of_threads(seen) for seen in there] == [of_threads(seen) for seen in place.seen()]
    assert [seen["threads"] for seen in there] == [seen["threads"] for seen in place.seen()]
    columns = ["cell_id", "block_id", "impl", "status", "metric.number"]
    merged, frame = (ab.load(folder).sort_values("cell_id", ignore_index=True) for folder in ("results", "local"))
    assert merged[columns].equals(frame[columns])
    by_machine = merged.groupby("machine_id")["run_id"].unique()
    assert sorted(map(len, by_machine)) == [1, 1]  # a run for each of the two
    assert done.out.count("1 block was measured beside others") + done.out.count("2 blocks were measured beside") == 1
    (run,) = Path("local").iterdir()
    assert [result.run.fingerprint.thread_pools for result in measured] == [
        ab.open_run(run).info.fingerprint.thread_pools
    ] * 2


@pytest.mark.usefixtures("questions")
def test_a_block_whose_worker_is_killed_is_given_to_another_once(
    cluster: Cluster, place: Place, tmp_path: Path
) -> None:
    held = place.hold(0)
    words = (*SEEN, *TWO, "--scheduler", cluster.address, "--send-files", "--plan", "plan", "--most", "1")
    with front(tmp_path, *words) as process:
        cluster.until(lambda: place.seen(0))
        pid = place.pid(0)
        (name,) = (name for name, worker in cluster.workers.items() if _below(pid, worker.pid))
        cluster.kill(cluster.workers.pop(name))
        assert all_gone([pid])
        held.unlink()
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert f"worker {name} was lost; its block 0 is given to another, once" in said
    assert sorted(len(handed_out(result)["lost"]) for result in results(tmp_path / "plan")) == [0, 1]  # type: ignore[arg-type]
    assert len(place.seen(0)) == 2
    assert len(place.seen(1)) == 1
    start(cluster, name)


def _below(pid: int, above: int) -> bool:
    """Whether a process descends from another one."""
    while pid > 1:
        if pid == above:
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False


@pytest.mark.usefixtures("questions")
def test_an_interrupted_front_leaves_nothing_running_and_goes_on_later(
    cli: Cli, cluster: Cluster, place: Place, tmp_path: Path
) -> None:
    held = place.hold(1)
    words = (*SEEN, *TWO, "--label", "name=a", "--scheduler", cluster.address, "--send-files", "--plan", "plan")
    with front(tmp_path, *words) as process:
        cluster.until(lambda: place.seen(1) and results(tmp_path / "plan"))
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == EXIT_INCONCLUSIVE, said
    assert "interrupted. 1 of 2 blocks have a result in plan. Go on with: attnbench dispatch run --resume plan" in said
    assert all_gone([place.pid(1)])
    held.unlink()
    kept = results(tmp_path / "plan")
    (left,) = listed(tmp_path / "plan").missing
    spoilt = result_path(tmp_path / "plan", listed(tmp_path / "plan").ids[left], kept[0].machine)
    spoilt.parent.mkdir(exist_ok=True)
    spoilt.write_text("{")  # as after a disk that was full: it counts as no result, and does not stay
    again = cli("dispatch", "run", "--resume", "plan", "--scheduler", cluster.address, "--json")
    assert again.code == 0, again.err
    assert f"{spoilt.relative_to(tmp_path)} is damaged" in again.err
    assert (again.document["blocks"], again.document["left"], len(again.document["runs"])) == (2, {}, 1)
    assert kept[0] in results(tmp_path / "plan")
    assert len(place.seen(0)) == 1
    once_more = cli("dispatch", "run", "--resume", "plan", "--scheduler", "127.0.0.1:1", "--json")
    assert once_more.code == 0  # nothing is left to do, so that nobody is asked
    assert once_more.document["runs"] == again.document["runs"]
    assert len(ab.load("results")) == 2


@pytest.mark.usefixtures("questions")
def test_what_no_worker_can_measure_is_said_before_anything_is_measured(
    cli: Cli, cluster: Cluster, tmp_path: Path
) -> None:
    words = (*SEEN, "--scheduler", cluster.address, "--send-files")
    done = cli("dispatch", "run", *words, "--label", "rack=9")
    assert done.code == EXIT_USAGE
    assert "no worker can measure 2 of 2 blocks. blocks 0-1 need cpu, 1 thread, rack=9" in done.err
    assert "the nearest worker has rack=7" in done.err
    assert "There are: " in done.err
    assert not (tmp_path / "plans").exists()
    other = cli("dispatch", "run", *words, "--resource", "nobody")
    assert "none of the 2 workers can be used" in other.err
    assert '--resources "nobody=1"' in other.err


def _workers(cluster: Cluster) -> int:
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        return len(client.scheduler_info(n_workers=-1)["workers"])


def test_files_that_do_not_travel_have_to_be_there(cli: Cli, cluster: Cluster, questions: Questions) -> None:
    words = (*SEEN, "-a", "arm=sound")
    assert cli("dispatch", "plan", *words, "-o", "plan").code == 0
    file = questions("# another file\n")
    done = cli("dispatch", "run", "--resume", "plan", "--scheduler", cluster.address)
    assert done.code == EXIT_USAGE
    assert f"{file} is not the file that was planned" in done.err
    file.unlink()
    assert "is not here; put it there" in cli("dispatch", "run", "--resume", "plan", "--scheduler", cluster.address).err
    assert read_plan(Path("plan")).files[0].sent is None


@pytest.mark.usefixtures("questions")
def test_certificates_protect_a_cluster_and_a_budget_holds_there(
    cli: Cli, tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(__file__).with_name("for_tests.pem")
    ours = [word for name in ("ca-file", "cert", "key") for word in (f"--tls-{name}", str(file))]
    theirs = [word.replace("--tls-ca-file", "--tls-ca") for word in ours]
    words = (*SEEN, "-a", "arm=sound", "--send-files")
    with Cluster(tmp_path / "dask", ATTNBENCH_TEST_PLACE=str(place.folder)) as cluster:
        cluster.address = cluster.address.replace("tcp", "tls")
        cluster.start_scheduler("--protocol", "tls", *ours)
        cluster.start_worker("w", *ours)
        done = cli("dispatch", "run", *words, "--scheduler", cluster.address, *theirs, "--budget", "0.001s")
        assert done.code == EXIT_NOTHING_MEASURED, done.err
        assert "block 0 by w: the budget was spent: 1 of 1 cells were not run" in done.err
        assert "1 cell: 1 not-run" in done.out
        monkeypatch.setattr("attnbench.dispatch.cluster.connection.CONNECT_S", 2)
        refused = cli("dispatch", "run", *words, "--scheduler", cluster.address)
        assert refused.code == EXIT_USAGE
        assert "no scheduler of Dask answers" in refused.err


@pytest.mark.usefixtures("questions")
def test_workers_on_this_machine_take_turns_and_end_with_the_front(tmp_path: Path, place: Place) -> None:
    held = place.hold(0)
    words = (*SEEN, *TWO, "--workers", "2", "--send-files", "--plan", "plan")
    with front(tmp_path, *words, ATTNBENCH_LOCK=str(tmp_path / "lock")) as process:
        Cluster.until(lambda: place.seen(0))
        below = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, text=True, check=True).stdout
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == EXIT_INCONCLUSIVE, said
    assert "stand on one machine and share its lock: they measure one after another" in said
    assert "dispatch run --resume plan --workers 2" in said
    assert not place.seen(1)
    assert all_gone([place.pid(0), *map(int, below.split())])
    held.unlink()
    assert sys.platform != "linux" or not list(Path("/tmp").glob("attnbench-dask-*/*/worker-*"))  # noqa: S108
