import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from attnbench.suite import Cell
from attnbench.workers.process import LOG_BYTES, Setting, WorkerProcess, death, environment
from attnbench.workers.weighing import weigh
from tests.dropins import tiny
from tests.processes import gone


def cell(impl: str, path: str) -> dict[str, object]:
    return Cell("tiny", {"T": 16}, tiny(), impl, files=(path,)).to_dict()


def test_threads_are_set_verified_and_reported() -> None:
    with WorkerProcess("numpy", Setting(threads=1)) as worker:
        reply = worker.call("hello", 30, backend="numpy", threads=1)
    assert reply.ok
    assert set(reply.value["threads"].values()) <= {1}
    assert reply.value["versions"]["numpy"]


def test_the_environment_sets_threads_and_lets_waiting_sides_sleep() -> None:
    variables = environment("numpy", Setting(threads=3, environment={"PYTHONHASHSEED": "5"}))
    assert variables["OMP_NUM_THREADS"] == "3"
    assert variables["OMP_WAIT_POLICY"] == "PASSIVE"
    assert variables["PYTHONHASHSEED"] == "5"


def test_an_unknown_operation_and_a_wrong_argument_are_replies() -> None:
    with WorkerProcess("numpy", Setting()) as worker:
        assert "no operation 'dance'" in str(worker.call("dance", 30).reason)
        assert "TypeError" in str(worker.call("hello", 30, wrong=1).reason)
        assert worker.alive


def test_a_worker_that_is_late_is_killed_with_what_it_started(dropin: Callable[..., str], tmp_path: Path) -> None:
    note = tmp_path / "child"
    path = dropin(f"""
        import subprocess, time
        child = subprocess.Popen(["sleep", "100"])
        open({str(note)!r}, "w").write(str(child.pid))
        time.sleep(100)
    """)
    with WorkerProcess(None, Setting()) as worker:
        reply = worker.call("describe", 3.0, files=[path])
        assert (reply.status, worker.alive) == ("timeout", False)
        assert "more than 3 s" in str(reply.reason)
        assert worker.call("describe", 3.0, files=[path]).status == "crashed"
    assert gone(worker.pid)
    assert gone(int(note.read_text()))


def test_megabytes_on_stdout_are_bounded_and_harm_no_reply(dropin: Callable[..., str]) -> None:
    path = dropin("""
        import os, sys
        os.write(1, b"x" * 4_000_000 + b"\\n")
        print('{"number": 1, "status": "ok"}')
        sys.stdout.close()
    """)
    with WorkerProcess(None, Setting()) as worker:
        reply = worker.call("describe", 30, files=[path])
        assert reply.value["names"] == ["numpy/good"]
        assert len(worker._log._tail) <= LOG_BYTES


def test_a_forked_child_has_nothing_to_say(dropin: Callable[..., str], tmp_path: Path) -> None:
    note = tmp_path / "child"
    forks = dropin(f"""
        import os
        if child := os.fork():
            open({str(note)!r}, "w").write(str(child))
    """)
    with WorkerProcess(None, Setting()) as worker:
        first = worker.call("describe", 30, files=[forks])
        again = worker.call("describe", 30, files=[dropin("", "other.py")])
        assert gone(int(note.read_text()))
    assert first.ok
    assert again.ok
    assert first.pid == again.pid == worker.pid


def test_the_last_words_of_a_dead_worker_are_in_the_reason(dropin: Callable[..., str]) -> None:
    path = dropin("import os, sys; print('the end is near', flush=True); os.abort()")
    with WorkerProcess(None, Setting()) as worker:
        reply = worker.call("describe", 30, files=[path])
    assert reply.status == "crashed"
    assert "died of SIGABRT" in str(reply.reason)
    assert "the end is near" in str(reply.reason)


@pytest.mark.parametrize(
    ("code", "out_of_memory", "status", "said", "outside"),
    [
        (0, True, "crashed", "exit status 0", False),
        (-11, True, "crashed", "SIGSEGV", False),
        (-64, False, "crashed", "SIGRTMAX", False),
        (-9, True, "oom", "SIGKILL", False),
        (-9, False, "crashed", "SIGKILL", True),
        (-15, True, "crashed", "SIGTERM", True),
    ],
)
def test_what_an_end_says(code: int, out_of_memory: bool, status: str, said: str, outside: bool) -> None:
    end = death(code, out_of_memory=out_of_memory)
    assert (end.status, end.outside) == (status, outside)
    assert said in end.reason


ESCAPES = """
    import os, subprocess, time
    daemon = subprocess.Popen(["sleep", "100"], start_new_session=True)
    if not (child := os.fork()):
        os.setsid()
        time.sleep(100)
    open({note!r}, "w").write(f"{{daemon.pid}} {{child}}")
"""


def pids_in(note: Path) -> list[int]:
    until = time.monotonic() + 20
    while not (note.exists() and note.read_text()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return [int(word) for word in note.read_text().split()]


def test_what_a_kernel_started_does_not_outlive_its_worker(dropin: Callable[..., str], tmp_path: Path) -> None:
    note = tmp_path / "children"
    with WorkerProcess(None, Setting()) as worker:
        assert worker.call("describe", 30, files=[dropin(ESCAPES.format(note=str(note)))]).ok
        pids = pids_in(note)
    assert all(gone(pid) for pid in [*pids, worker.pid, worker.keeper_pid])


@pytest.mark.parametrize("who", ["pid", "keeper_pid"])
def test_an_end_from_outside_is_no_fault_of_the_kernel(who: str, dropin: Callable[..., str], tmp_path: Path) -> None:
    note = tmp_path / "started"
    path = dropin(f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(100)")
    with WorkerProcess(None, Setting()) as worker, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(worker.call, "describe", 30.0, files=[path])
        (pid,) = pids_in(note)
        assert pid == worker.pid
        os.kill(getattr(worker, who), signal.SIGKILL)
        reply = answer.result()
    assert (reply.status, reply.outside) == ("crashed", True)
    assert "SIGKILL" in str(reply.reason)
    assert gone(pid)


def test_a_busy_worker_and_its_children_die_with_the_parent(dropin: Callable[..., str], tmp_path: Path) -> None:
    # Busy, since one that waits would end with the pipe anyway.
    busy = tmp_path / "busy"
    path = dropin(ESCAPES.format(note=str(busy)) + "    time.sleep(100)\n")
    script = f"""if True:
        import os, time
        from attnbench.workers.process import Setting, WorkerProcess
        from attnbench.workers.protocol import Request, encode
        worker = WorkerProcess(None, Setting())
        os.write(worker._requests, encode(Request(1, "describe", {{"files": [{path!r}]}})))
        while not os.path.exists({str(busy)!r}):
            time.sleep(0.02)
        print(worker.keeper_pid, flush=True)
        time.sleep(100)
    """
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        children = pids_in(busy)
        os.kill(parent.pid, signal.SIGKILL)
    assert all(gone(number) for number in (pid, *children))


# Kernels that allocate so many MiB besides, and let them go. Small problems, as for warming up, allocate nothing: the
# number must come from the call itself.
ALLOCATES = {
    "numpy": """
    def allocating(mib):
        @implementation(f"numpy/alloc-{mib}", Capabilities())
        def attend(q, k, v, call):
            held = np.ones(mib * 2**20, np.uint8) if call.sizes.Tq > 32 else None
            output = softmax_attention(q, k, v, call)
            del held
            return output
        return attend
    """,
    "torch": """
    import torch

    def allocating(mib):
        @implementation(f"torch/alloc-{mib}", Capabilities())
        def attend(q, k, v, call):
            held = torch.ones(mib * 2**20, dtype=torch.uint8) if call.sizes.Tq > 32 else None
            output = torch.softmax(q @ k.mT * call.scale, -1) @ v
            del held
            return output
        return attend
    """,
    # A product that another one reads: XLA cannot fuse it away.
    "jax": """
    import jax
    import jax.numpy as jnp

    def allocating(mib):
        @implementation(f"jax/alloc-{mib}", Capabilities())
        def attend(q, k, v, call):
            output = jax.nn.softmax(q @ k.mT * call.scale, -1) @ v
            if call.sizes.Tq <= 32:
                return output
            held = jnp.full((mib * 64, 2), q[0, 0, 0, 0]) @ jnp.full((2, 4096), q[0, 0, 0, 1])
            return output + 0 * (held @ jnp.ones((4096, 2), q.dtype))[0, 0]
        return attend
    """,
}
NAMED = "a1, a16, a256 = allocating(1), allocating(16), allocating(256)\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the high-water mark is Linux's")
@pytest.mark.parametrize("backend", ALLOCATES)
def test_known_allocations_are_measured(backend: str, dropin: Callable[..., str]) -> None:
    path, case = dropin(ALLOCATES[backend] + NAMED), tiny(40)
    with WorkerProcess(backend, Setting()) as worker:
        assert worker.call("hello", 60, backend=backend, threads=1).ok
        for mib in (256, 1, 16, 256, 1):
            cell = Cell("tiny", {}, case, f"{backend}/alloc-{mib}", files=(path,)).to_dict()
            reply = worker.call("memory", 60, cell=cell)
            assert reply.ok, reply.reason
            assert reply.value["source"] == "VmHWM"
            error = abs(reply.value["peak_bytes"] - mib * 2**20)
            assert error <= max(0.02 * mib * 2**20, 2**20), (mib, reply.value)
            if backend == "jax":  # and XLA's own account of its program says so too
                assert reply.value["detail"]["xla_temporary_bytes"] >= mib * 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the high-water mark is Linux's")
def test_known_allocations_are_weighed_from_outside(dropin: Callable[..., str]) -> None:
    path = dropin(ALLOCATES["numpy"] + NAMED)
    with WorkerProcess("numpy", Setting()) as worker:
        assert worker.call("hello", 60, backend="numpy", threads=1).ok
        for mib in (256, 1, 16):
            cell = Cell("tiny", {}, tiny(40), f"numpy/alloc-{mib}", files=(path,))
            reply = weigh(lambda op, **given: worker.call(op, 60, **given), lambda: worker.pid, cell)
            assert reply.ok, reply.reason
            assert reply.value["source"] == "VmHWM"
            error = abs(reply.value["peak_bytes"] - mib * 2**20)
            assert error <= max(0.02 * mib * 2**20, 2**20), (mib, reply.value)


def test_without_the_mark_memory_says_that_it_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from attnbench.backends import discover
    from attnbench.backends.bind import bind_case
    from attnbench.measure.clock import memory
    from attnbench.workers import tree

    monkeypatch.setattr(tree, "PROC", Path("/no-such-folder"))
    kernel = discover.load_implementation("numpy/naive")
    peak = memory.peak_of_call(bind_case(discover.backend("numpy").load(), kernel, tiny(4)))
    assert peak.peak_bytes is None
    assert "not measured" in peak.source


def test_who_ended_a_process_it_cannot_say_itself(dropin: Callable[..., str]) -> None:
    path = dropin("""
        @implementation("numpy/liar", Capabilities())
        def attend(q, k, v, call):
            import json, os, sys
            replies = int(sys.argv[sys.argv.index("--replies") + 1])
            told = {"status": "crashed", "reason": "somebody else did it", "pid": os.getpid(), "outside": True}
            for number in range(9):
                os.write(replies, json.dumps({"number": number, **told}).encode() + b"\\n")
            os._exit(0)
    """)
    with WorkerProcess("numpy", Setting()) as worker:
        worker.call("hello", 30, backend="numpy", threads=1)
        reply = worker.call("prepare", 30, cell=cell("numpy/liar", path))
    assert (reply.status, reply.reason, reply.outside) == ("crashed", "somebody else did it", False)
