"""What the system tells of a process and of those below it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from attnbench.workers import tree
from attnbench.workers.weighing import Sampling

SPIN = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"
HOLD = "import sys\nheld = bytearray(64 << 20)\nprint('ready', flush=True)\nsys.stdin.read()\n"


@pytest.fixture(autouse=True)
def there() -> None:
    if tree.cpu_s(os.getpid()) is None or tree.level(os.getpid(), "VmRSS") is None:
        pytest.skip("this system does not tell")


def test_the_time_of_children_counts_while_they_live_and_when_they_have_ended() -> None:
    before = tree.cpu_s(os.getpid()) or 0.0
    with subprocess.Popen(
        [sys.executable, "-c", SPIN + "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as child:
        until = time.monotonic() + 20
        while (tree.cpu_s(os.getpid()) or 0.0) < before + 0.2 and time.monotonic() < until:
            time.sleep(0.01)
        assert (tree.cpu_s(os.getpid()) or 0.0) >= before + 0.2
        child.communicate()
    assert (tree.cpu_s(os.getpid()) or 0.0) >= before + 0.18  # in ticks of 10 ms


def test_memory_of_what_a_process_has_started_is_seen_from_outside() -> None:
    with Sampling(os.getpid()) as sampling:
        before = sampling.most
        with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(0.1)
            child.communicate()
    assert 64 << 20 <= sampling.most - before < 200 << 20


def test_who_stands_in_the_memory_of_its_parent_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    # As a child until its program is loaded, which lasts an instant; a thread stands there as long as one looks.
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert not tree.same_memory(child.pid, os.getpid())
        # Other tests of this process may have left something that ends in between: only the child is looked at.
        monkeypatch.setattr(tree, "processes", lambda pid: iter([pid, child.pid]))
        alone = tree.below_bytes(os.getpid())
        assert alone >= 64 << 20
        ended = threading.Event()
        thread = threading.Thread(target=ended.wait)
        thread.start()
        assert thread.native_id is not None
        assert tree.same_memory(thread.native_id, os.getpid())
        monkeypatch.setattr(tree, "processes", lambda pid: iter([pid, thread.native_id, child.pid]))
        assert abs(tree.below_bytes(os.getpid()) - alone) < 1 << 20
        ended.set()
        thread.join()
        child.communicate()


def test_what_is_not_there_has_no_time_and_no_level() -> None:
    assert tree.cpu_s(0) is None
    assert tree.level(2**22 + 1, "VmRSS") is None
    assert not tree.reset_mark(2**22 + 1)
