"""What is typed, what may pass, and what crosses: without a cluster."""

from __future__ import annotations

import importlib.util
import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from attnbench.dispatch.cluster import start, tasks
from attnbench.dispatch.cluster.connection import ClusterWords, is_loopback, open_to_network
from attnbench.dispatch.cluster.environment import allowed, labels_typed
from attnbench.dispatch.cluster.fleet import Present, unfit
from attnbench.dispatch.cluster.front import checked
from attnbench.dispatch.cluster.matching import Hand, WaitingBlocks
from attnbench.dispatch.cluster.messages import AskedOfWorker, WorkerAbout, WorkerAnswer, decoded
from attnbench.dispatch.folder import as_text, read_plan
from attnbench.dispatch.layout import WantedPlan
from attnbench.dispatch.records import BlockNeeds, HeldVersions
from attnbench.errors import EXIT_USAGE, ResultsError, UsageError
from attnbench.interface.running import RunWords
from tests.dispatch.conftest import Fleet
from tests.dropins import GOOD
from tests.program import Cli

HELD = HeldVersions(attnbench="1", code="c", python="p")
PRESENT = Present("Worker-1", "tcp://h:1", "w", 1, {"node": 1})


def test_nothing_of_dask_reaches_a_measuring_process() -> None:
    of_dask = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "DASK_X": "1"}
    of_dask |= {"MALLOC_TRIM_THRESHOLD_": "65536"}
    may = {"PATH": "/bin", "LC_ALL": "C", "CUDA_VISIBLE_DEVICES": "1", "ATTNBENCH_LOCK": "/l", "SLURM_JOB_ID": "7"}
    assert allowed(of_dask | may) == may


def test_labels_stand_in_a_variable() -> None:
    assert labels_typed({"ATTNBENCH_LABELS": "gpu=h100, rack=7"}) == ["gpu=h100", "rack=7"]
    assert labels_typed({}) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name one cluster: --scheduler ADDRESS"),
        (("--workers", "2", "--scheduler", "h:1"), "name one cluster: --scheduler ADDRESS"),
        (("--workers", "0"), "--workers is from 1 to 64 processes on this machine; got 0"),
        (("--scheduler", "somewhere"), "--scheduler somewhere: write HOST:PORT"),
        (("--scheduler", "http://h:80"), "write HOST:PORT"),
        (("--scheduler", "h:99999"), "write HOST:PORT"),
        (("--workers", "1", "--most", "0"), "--most is how many blocks are out at once, 1 or more; got 0"),
        (("--workers", "1", "--wait", "soon"), "a duration is a number above 0"),
        (("--workers", "1", "--resource", "a b"), "--resource a b: write the name of a resource"),
        (("--workers", "1", "--resume", "plan"), "--resume plan goes on with the plan that is there"),
        (
            ("--workers", "1", "--resume", "p", "--budget", "1m", "--timeout", "5"),
            "leave out: smoke --budget 1m --timeout 5",
        ),
        (("--workers", "1", "--resume", "p", "--send-files", "--seed", "1"), "leave out: smoke --send-files --seed 1"),
        (("--scheduler", "h:1", "--tls-ca", "ca"), "--tls-cert and --tls-key is missing"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_written(
    words: tuple[str, ...], said: str, cli: Cli, tmp_path: Path
) -> None:
    done = cli("dispatch", "run", "smoke", *words)
    assert done.code == EXIT_USAGE
    assert said in done.err
    assert not list(tmp_path.glob("*"))


class Coming:
    """A fleet whose worker that can measure comes when it is looked at for the third time."""

    settled = True

    def __init__(self) -> None:
        self.hands: dict[str, Hand] = {}
        self.refused = {"other": "it has no resource node"}
        self.looks = 0

    def look(self) -> None:
        self.looks += 1
        if self.looks > 2:
            self.hands["w"] = Hand("w", "w", WorkerAbout(held=HELD, machine="a" * 12, lock="/lock"))


@pytest.mark.parametrize(("wait", "looks"), [("30s", 3), (None, 1)])
def test_with_wait_who_can_measure_may_come_later(
    wait: str | None, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "OFTEN_S", 0.001)
    words = start.DispatchWords(ClusterWords(workers=1), WantedPlan(RunWords(), Path()), wait=wait)
    waiting, fleet = WaitingBlocks(), Coming()
    waiting.add(0, BlockNeeds(device="cpu", threads=1))
    with nullcontext() if wait else pytest.raises(UsageError, match="none of the 1 workers can be used"):
        start._gather(fleet, words, waiting, 30.0)  # type: ignore[arg-type]
    assert fleet.looks == looks


def test_certificates_go_with_an_encrypted_address(cli: Cli, tmp_path: Path) -> None:
    files = [word for name in ("ca", "cert", "key") for word in (f"--tls-{name}", str(tmp_path / name))]
    assert "there is no such file" in cli("dispatch", "run", "smoke", "--scheduler", "h:1", *files).err
    for name in ("ca", "cert", "key"):
        (tmp_path / name).touch()
    done = cli("dispatch", "run", "smoke", "--scheduler", "tcp://h:1", *files)
    assert "type tls:// instead" in done.err
    assert "take no certificates" in cli("dispatch", "run", "smoke", "--workers", "1", *files).err


def test_a_scheduler_that_is_not_there(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnbench.dispatch.cluster.connection.CONNECT_S", 0.5)
    done = cli("dispatch", "run", "smoke", "--scheduler", "127.0.0.1:1")
    assert done.code == EXIT_USAGE
    assert "no scheduler of Dask answers at tcp://127.0.0.1:1" in done.err
    assert "start one with: dask scheduler" in done.err
    assert not list(tmp_path.glob("plans"))


def test_without_dask_the_extra_is_named_and_the_rest_works(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        "attnbench.dispatch.cluster.connection.find_spec", lambda name: None if name == "distributed" else there(name)
    )
    done = cli("dispatch", "run", "smoke", "--workers", "2")
    assert done.code == EXIT_USAGE
    assert "attnbench dispatch run needs distributed" in done.err
    assert "pip install 'attnbench[dask]'" in done.err
    assert cli("dispatch", "plan", "smoke", "-a", "T=128", "--impl", "numpy/naive", "-o", "plan").code == 0
    assert (tmp_path / "plan" / "plan.json").exists()


@pytest.mark.parametrize(
    ("address", "open_"),
    [
        ("tcp://127.0.0.1:8786", False),
        ("tcp://[::1]:8786", False),
        ("tcp://localhost:8786", False),
        ("tls://10.0.0.7:8786", False),
        ("tcp://10.0.0.7:8786", True),
        ("tcp://0.0.0.0:8786", True),
        ("tcp://login.cluster:8786", True),
    ],
)
def test_a_scheduler_open_to_the_network_is_warned_of(address: str, open_: bool) -> None:
    warning = open_to_network(address)
    assert bool(warning) == open_
    assert not open_ or (address in warning and "--tls-ca" in warning)
    assert not (open_ and is_loopback(address))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"resources": {}}, "it has no resource node"),
        ({"resources": {"node": 2}}, "it has node=2"),
        ({"threads": 4}, "it has 4 threads"),
    ],
)
def test_a_worker_that_is_started_otherwise_is_told_how(change: dict[str, object], why: str) -> None:
    said = unfit(replace(PRESENT, **change), "node")  # type: ignore[arg-type]
    assert said.startswith(why)
    assert not why or said.endswith('start it with: dask worker ADDRESS --nthreads 1 --resources "node=1"')


@pytest.mark.parametrize("text", [None, 7, "", "{", "[]", '{"exit_code": 0, "more": 1}', "[" * 100_000])
def test_what_is_no_message_is_refused(text: object) -> None:
    with pytest.raises(ResultsError, match="worker w sent"):
        decoded(text, WorkerAnswer, "worker w")


@pytest.mark.parametrize("text", ["", "{}", '{"format": "pickle"}', "null"])
def test_a_task_answers_what_it_cannot_read(text: str) -> None:
    for task in (tasks.about, tasks.block):
        answer = decoded(task(text), WorkerAnswer, "the task")
        assert answer.exit_code == EXIT_USAGE
        assert "the front sent" in answer.said


def test_a_result_that_came_is_held_against_plan_and_block(fleet: Fleet) -> None:
    plan, block = read_plan(fleet.folder), fleet.block(0)
    text = fleet.files[0].read_text()
    assert checked(text, plan, block, "worker w") == fleet.result(0)
    with pytest.raises(ResultsError, match="worker w sent no result"):
        checked("{}", plan, block, "worker w")
    with pytest.raises(ResultsError, match="what worker w sent is damaged"):
        checked(text, plan, fleet.block(1), "worker w")
    for field, value in {"plan": "0" * 12, "machine": "../../etc", "more": 1}.items():
        changed = json.dumps(json.loads(text) | {field: value})
        with pytest.raises(ResultsError, match="what worker w sent is damaged"):
            checked(changed, plan, block, "worker w")
    with pytest.raises(ResultsError, match="worker w is not as the plan"):
        checked(json.dumps(json.loads(text) | {"code": "0" * 12}), plan, block, "worker w")


def test_a_worker_says_what_is_wrong_with_files_that_do_not_travel(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(dedent(GOOD))
    words = ("smoke", "-a", "T=128", "-a", "setting=forward", "--impl", "numpy/good", "--impls", "mine.py")
    assert cli("dispatch", "plan", *words, "-o", "plan").code == 0
    asked = AskedOfWorker(plan=read_plan(tmp_path / "plan"), packages=("numpy", "nosuchpackage"))
    (tmp_path / "mine.py").write_text("# another one\n")
    answer = decoded(tasks.about(as_text(asked)), WorkerAnswer, "the task")
    about = decoded(answer.text, WorkerAbout, "the task")
    assert f"{tmp_path / 'mine.py'} is not the file that was planned" in about.files
    assert about.missing == ("nosuchpackage",)
    assert about.lock == str(tmp_path / "lock")
