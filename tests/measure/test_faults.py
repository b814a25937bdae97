"""What kernels do to themselves ends as their row; what they do to others does not happen."""

import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from attnbench.measure.run.options import RunOptions
from attnbench.measure.run.run import run
from attnbench.results.read import read_contents
from attnbench.suite import Cell
from attnbench.workers.pool import MOST_KILLS, Pool
from attnbench.workers.protocol import Reply
from tests.dropins import tiny

from .conftest import QUICK

HOSTILE = Path(__file__).parent / "hostile"
# The status of each kernel, and a word of its reason.
ENDS = {
    "good-first": ("ok", ""),
    "segfault": ("crashed", "SIGSEGV"),
    "abort": ("crashed", "SIGABRT"),
    "exits": ("crashed", "exit status 0"),
    "loops-forever": ("timeout", "more than 5 s"),
    "allocates": ("oom", "MemoryError"),
    "forks": ("ok", ""),
    "stays": ("ok", ""),
    "nan": ("wrong", "NaN"),
    "shape": ("wrong", "shape"),
    "dtype": ("wrong", "float64"),
    "scales-its-inputs": ("wrong", "tried to write to an input"),
    "unlocks-its-inputs": ("wrong", "wrote to its input v"),
    "prints": ("ok", ""),
    "raises": ("crashed", "ValueError: not today"),
    "leaves": ("crashed", "SystemExit"),
    "closes-stdout": ("ok", ""),
    "previous": ("wrong", "where the oracle is"),  # on new values, or where a part had changed
    "good-last": ("ok", ""),
    "sleeps-on-import": ("timeout", "more than 5 s"),
    "naive": ("ok", ""),
}
Make = Callable[..., RunOptions]
RNG = random.Random(1)  # noqa: S311  (to be repeatable)


def test_hostile_kernels_end_as_rows_and_good_ones_are_measured(options: Make) -> None:
    patterns = [f"numpy/{name}" for name in ENDS]
    effort = replace(QUICK, timeout_s=5.0)
    done = run(options(files=[str(HOSTILE)], patterns=patterns, effort=effort, memory_limit=2**29))
    by_variant = {row.variant: row for row in done.rows}
    assert {name: row.status for name, row in by_variant.items()} == {
        name: status for name, (status, _) in ENDS.items()
    }
    for name, (status, said) in ENDS.items():
        assert said in (by_variant[name].reason or ""), name
        if status == "ok":
            assert by_variant[name].n_bursts == QUICK.max_bursts, name
            assert by_variant[name].peak_bytes is not None, name
            assert by_variant[name].error_ratio is not None, name
    assert (done.exit_code, done.note) == (1, None)
    assert not [
        process.pid for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == ["sleep", "7777"]
    ]
    start = next(event for event in read_contents(done.folder).events if event["name"] == "start")
    assert start["memory_limit"] == 2**29
    assert start["control_groups"]


SPOILING = """
    import os
    state = {"calls": 0}

    @implementation("numpy/spoiler", Capabilities())
    def spoiler(q, k, v, call):
        np.exp = None
        held.append(np.ones(2**28, np.uint8))
        return softmax_attention(q, k, v, call)
    held = []

    @implementation("numpy/neighbour", Capabilities())
    def neighbour(q, k, v, call):
        return softmax_attention(q, k, v, call)
"""


def test_kernels_from_a_file_share_no_process(options: Make, dropin: Callable[..., str]) -> None:
    names = [f"numpy/{name}" for name in ("spoiler", "neighbour", "good")]
    done = run(options(files=[dropin(SPOILING)], patterns=names, memory_limit=2**29))
    assert {row.variant: row.status for row in done.rows} == {"good": "ok", "spoiler": "crashed", "neighbour": "ok"}


def cells(*names: str) -> list[Cell]:
    return [Cell("tiny", {"T": 16}, tiny(), f"numpy/{name}") for name in names]


def test_a_failure_that_may_be_anothers_is_asked_again_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[dict[str, Any]] = []
    note = lambda name, **detail: noted.append({"name": name, **detail})  # noqa: E731
    first, second = cells("naive", "loops")
    with Pool(threads=1, timeout_s=30.0, rng=RNG, noted=note) as pool:
        assert pool.ask(first, "prepare", cell=first.to_dict()).ok
        shared = pool._members[pool._key(second)].worker
        real = shared.call

        def dies(op: str, timeout: float, /, **arguments: Any) -> Reply:
            if op == "prepare":
                os.kill(shared.pid, signal.SIGSEGV)
            return real(op, timeout, **arguments)

        monkeypatch.setattr(shared, "call", dies)
        assert pool.ask(second, "prepare", cell=second.to_dict()).ok
        assert not pool.holds(first)
        assert (noted[0]["cell"], noted[0]["status"]) == (second.id, "crashed")
        assert "others had been in its process" in noted[0]["why"]
        assert pool._key(second) != pool._key(first)


def test_a_wrong_answer_gets_no_second_chance() -> None:
    first, second = cells("naive", "loops")
    with Pool(threads=1, timeout_s=30.0, rng=RNG) as pool:
        assert pool.ask(first, "prepare", cell=first.to_dict()).ok
        assert pool.ask(second, "prepare", cell=second.to_dict()).ok
        assert not pool.again(second, "verify", Reply(1, "wrong", "no"))
        assert pool.again(second, "verify", Reply(1, "oom", "no"))
        assert not pool.again(second, "verify", Reply(1, "oom", "no"))


def test_who_is_always_killed_from_outside_does_it_itself(options: Make, dropin: Callable[..., str]) -> None:
    path = dropin("""
        import os, signal

        @implementation("numpy/kills-itself", Capabilities())
        def kills_itself(q, k, v, call):
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = run(options(files=[path], patterns=["numpy/kills-itself", "numpy/good"]))
    assert {row.variant: row.status for row in done.rows} == {"good": "ok", "kills-itself": "crashed"}
    assert done.exit_code == 4
    again = [event for event in read_contents(done.folder).events if event["name"] == "again"]
    assert [event["why"] for event in again] == ["its process was ended from outside"] * MOST_KILLS


def test_every_cell_is_weighed_in_a_process_of_its_own(options: Make) -> None:
    done = run(options(patterns=["numpy/naive", "numpy/loops"]))
    processes = [event["pid"] for event in read_contents(done.folder).events if event["name"] == "process"]
    assert len(set(processes)) == len(processes) == 3  # one for the times of both, one for the memory of each
