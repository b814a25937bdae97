"""Workers that stay at hand: started when asked, again when lost, greeted each time, and gone at the end."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from attnbench.workers import session as room
from attnbench.workers.process import Setting, WorkerProcess
from attnbench.workers.protocol import SPENT, Reply
from attnbench.workers.session import HELLO, Session, Sessions, ask_once
from tests.processes import gone

ALIVE_S = 60.0
SAID = {"import_s": 0.1, "versions": {"it": "1"}, "devices": ["cpu"], "threads": {}, "affinity": [], "pid": 1}
REFUSED = Reply(1, "unsupported", "numpy was to use 1 threads, but a pool uses 2")


class FakeWorker:
    """A worker that notes what it is asked, and answers ``hello`` as it is told to."""

    made: list[FakeWorker]
    hellos: list[Reply]

    def __init__(self, backend: str | None, setting: Setting) -> None:
        self.backend, self.setting = backend, setting
        self.alive, self.closed = True, False
        self.asked: list[tuple[str, float, dict[str, Any]]] = []
        self.made.append(self)

    def call(self, op: str, timeout: float, /, **arguments: Any) -> Reply:
        self.asked.append((op, timeout, arguments))
        if op == HELLO:
            return self.hellos.pop(0) if self.hellos else Reply(1, "ok", value=SAID)
        if op == "die":
            self.alive = False
            return Reply(2, "crashed", "the process died of SIGSEGV")
        return Reply(2, "ok", value=arguments)

    def close(self) -> None:
        self.closed, self.alive = True, False


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> list[FakeWorker]:
    """The workers that are made in a test, none of them a process."""
    FakeWorker.made, FakeWorker.hellos = [], []
    monkeypatch.setattr(room, "WorkerProcess", FakeWorker)
    return FakeWorker.made


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[WorkerProcess]:
    """The processes that are started in a test."""
    started: list[WorkerProcess] = []

    def start(backend: str | None, setting: Setting) -> WorkerProcess:
        started.append(WorkerProcess(backend, setting))
        return started[-1]

    monkeypatch.setattr(room, "WorkerProcess", start)
    return started


def test_nothing_is_started_before_the_first_question_and_one_process_answers_all(started: list[WorkerProcess]) -> None:
    with Session("numpy", ALIVE_S) as session:
        assert not started
        assert session.versions == {}
        assert session.ask("drop", cell_id="none").ok
        assert session.ask("drop", cell_id="none").ok
        assert session.versions["numpy"]
    (worker,) = started
    assert gone(worker.pid)


def test_a_worker_that_was_killed_is_the_answer_and_the_next_question_has_another(started: list[WorkerProcess]) -> None:
    with Session("numpy", ALIVE_S) as session:
        assert session.ask("drop", cell_id="none").ok
        os.kill(started[0].pid, signal.SIGKILL)
        lost = session.ask("drop", cell_id="none")
        again = session.ask("drop", cell_id="none")
    assert (lost.status, again.status) in {("crashed", "ok"), ("oom", "ok")}
    assert len(started) == 2
    assert started[0].pid != started[1].pid
    assert all(gone(worker.pid) for worker in started)


def test_a_hello_that_takes_too_long_is_the_answer(started: list[WorkerProcess]) -> None:
    with Session("numpy", 0.001) as session:
        reply = session.ask("drop", timeout_s=ALIVE_S, cell_id="none")
        assert reply.status == "timeout"
        assert "hello took more than 0.001 s" in str(reply.reason)
        assert not started[0].alive


def test_a_file_that_ends_its_reader_does_not_end_the_next(tmp_path: Path, started: list[WorkerProcess]) -> None:
    bad, good = tmp_path / "bad.py", tmp_path / "good.py"
    bad.write_text("import os; os._exit(3)")
    good.write_text(
        "from attnbench.api import *\n@implementation('numpy/good', Capabilities())\ndef f(q, k, v, call): ...\n"
    )
    with Session(None, ALIVE_S) as session:
        assert session.ask("describe", files=[str(bad)]).status == "crashed"
        assert session.ask("describe", files=[str(good)]).value["names"] == ["numpy/good"]
    assert len(started) == 2


def test_a_hello_that_fails_is_the_answer_and_is_asked_of_another_worker_next(fakes: list[FakeWorker]) -> None:
    FakeWorker.hellos = [REFUSED]
    with Session("numpy", 7.0) as session:
        assert session.ask("work") == REFUSED
        assert [op for op, *_ in fakes[0].asked] == [HELLO]
        assert fakes[0].closed
        assert session.ask("work").ok
    assert [op for op, *_ in fakes[1].asked] == [HELLO, "work"]


def test_every_worker_is_greeted_with_the_threads_of_its_setting(fakes: list[FakeWorker]) -> None:
    with Session("numpy", 7.0, Setting(3)) as session:
        session.ask("die")
        assert session.ask("work", timeout_s=2.0, what=1).value == {"what": 1}
    greeted = (HELLO, 7.0, {"backend": "numpy", "threads": 3})
    assert fakes[0].asked == [greeted, ("die", 7.0, {})]
    assert fakes[1].asked == [greeted, ("work", 2.0, {"what": 1})]
    assert [fake.setting.threads for fake in fakes] == [3, 3]
    assert all(fake.closed for fake in fakes)


def test_a_worker_without_a_framework_is_not_greeted(fakes: list[FakeWorker]) -> None:
    with Session(None, 7.0) as session:
        assert session.ask("describe", files=[]).ok
    assert [op for op, *_ in fakes[0].asked] == ["describe"]


def test_no_answer_is_waited_for_beyond_the_end(fakes: list[FakeWorker]) -> None:
    now = time.monotonic()
    with Session("numpy", 7.0, until=lambda: now + 2.0) as session:
        session.ask("work")
    assert [op for op, *_ in fakes[0].asked] == [HELLO, "work"]
    assert all(1.0 < seconds <= 2.0 for _, seconds, _ in fakes[0].asked)


def test_after_the_end_nothing_is_started_and_it_is_nobodys_fault(fakes: list[FakeWorker]) -> None:
    with Session("numpy", 7.0, until=lambda: 0.0) as session:
        assert session.ask("work") == Reply(0, "not-run", SPENT)
    assert not fakes


def test_an_answer_that_the_end_cut_off_is_not_run_and_no_hang() -> None:
    end = time.monotonic() + 0.05
    with Session("numpy", ALIVE_S, until=lambda: end) as session:
        reply = session.ask("drop", cell_id="none")
    assert (reply.status, reply.reason) == ("not-run", SPENT)


def test_a_closed_session_starts_again_when_it_is_asked(fakes: list[FakeWorker]) -> None:
    session = Session("numpy", 7.0)
    session.ask("work")
    session.close()
    session.close()
    assert fakes[0].closed
    session.ask("work")
    assert len(fakes) == 2
    session.close()


def test_hello_is_said_once_and_remembered(fakes: list[FakeWorker]) -> None:
    with Session("numpy", 7.0) as session:
        assert session.ask(HELLO).value == SAID
        session.ask("work")
        assert session.ask(HELLO).value == SAID
        assert session.versions == {"it": "1"}
    assert [op for op, *_ in fakes[0].asked] == [HELLO, "work"]


def test_one_question_has_a_worker_of_its_own(fakes: list[FakeWorker]) -> None:
    assert ask_once("numpy", "work", timeout_s=7.0, setting=Setting(2), what=1).value == {"what": 1}
    assert ask_once("numpy", HELLO, timeout_s=7.0).value == SAID
    FakeWorker.hellos = [REFUSED]
    assert ask_once("numpy", "work", timeout_s=7.0) == REFUSED
    assert [[op for op, *_ in fake.asked] for fake in fakes] == [[HELLO, "work"], [HELLO], [HELLO]]
    assert fakes[0].asked[0][2]["threads"] == fakes[0].setting.threads == 2
    assert all(fake.closed for fake in fakes)


def test_sessions_work_at_once_and_those_that_are_free_are_used_again(fakes: list[FakeWorker]) -> None:
    both = threading.Barrier(2, timeout=30)

    def work(session: Session, part: int) -> int:
        if part < 2:
            both.wait()  # breaks unless two are at work at the same time
        return int(session.ask("work", part=part).value["part"])

    with Sessions("numpy", 7.0, at_once=2) as sessions:
        assert sessions.do(lambda session: session.ask("work")).ok
        assert sessions.map(work, range(9)) == list(range(9))
        assert sessions.map(work, range(2, 9)) == list(range(2, 9))
    assert len(fakes) == 2
    assert all(fake.closed for fake in fakes)


def test_a_session_whose_work_failed_is_not_lost(fakes: list[FakeWorker]) -> None:
    def fails(session: Session) -> None:
        session.ask("work")
        raise KeyError

    with Sessions("numpy", 7.0) as sessions:
        with pytest.raises(KeyError):
            sessions.do(fails)
        sessions.do(lambda session: session.ask("work"))
    (worker,) = fakes
    assert worker.closed


def test_sessions_share_a_folder_that_is_gone_at_the_end(
    fakes: list[FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = SimpleNamespace(sharing={"COMPILED": "{folder}/compiled"})
    monkeypatch.setattr("attnbench.backends.discover.backend", lambda _: card)
    both = threading.Barrier(2, timeout=30)

    def work(session: Session, _part: int) -> Reply:
        both.wait()
        return session.ask("work")

    with Sessions("jax", 7.0, at_once=2) as sessions:
        sessions.map(work, range(2))
        (folder,) = {Path(fake.setting.environment["COMPILED"]).parent for fake in fakes}
        assert folder.is_dir()
    assert len(fakes) == 2
    assert not folder.exists()
