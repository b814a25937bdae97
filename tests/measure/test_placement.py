"""Both sides of a quad on the same processors: really moved, drawn among all, left alone where there is no choice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from attnbench.live import duo
from attnbench.live.duo import Duo
from attnbench.workers.placement import everywhere, first, place, shuffled
from tests.live.test_pairs import World, cell, measure

needs_processors = pytest.mark.skipif(len(everywhere()) < 2, reason="one processor leaves no choice")

THREADED = """
import threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", THREADED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def affinities(pid: int) -> set[frozenset[int]]:
    return {frozenset(os.sched_getaffinity(int(thread.name))) for thread in Path(f"/proc/{pid}/task").iterdir()}


@needs_processors
def test_every_thread_of_the_process_is_moved(process: subprocess.Popen[str]) -> None:
    for processor in everywhere():
        assert place(process.pid, (processor,))
        assert affinities(process.pid) == {frozenset({processor})}
    assert place(process.pid, everywhere())
    assert affinities(process.pid) == {frozenset(everywhere())}


def test_a_process_that_is_not_there_is_not_moved() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
        assert not place(gone.pid, everywhere())
    assert not place(0, everywhere())


def test_all_processors_are_drawn_and_no_more_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnbench.workers.placement.everywhere", lambda: (2, 3, 5))
    rng = random.Random(1)  # noqa: S311
    assert {first(shuffled(rng), 1) for _ in range(50)} == {(2,), (3,), (5,)}
    assert {first(shuffled(rng), 2) for _ in range(50)} == {(2, 3), (2, 5), (3, 5)}
    assert first((2, 3, 5), 3) is None
    assert first((2, 3, 5), 0) is None
    monkeypatch.setattr("attnbench.workers.placement.everywhere", lambda: ())
    assert first(shuffled(rng), 1) is None


class Moved:
    """Workers' processors as ``place`` was asked to set them; that of ``stuck`` cannot be moved."""

    def __init__(self, stuck: int | None = None) -> None:
        self.stuck, self.at, self.asked = stuck, dict[int, tuple[int, ...]](), 0

    def __call__(self, pid: int, processors: tuple[int, ...]) -> bool:
        if pid == self.stuck:
            return False
        self.asked += 1
        self.at[pid] = processors
        return True


def quads(
    monkeypatch: pytest.MonkeyPatch, moved: Moved, impl: str = "numpy/naive", device: str = "cpu"
) -> list[object]:
    """What was recorded of the processors of every burst of one comparison on four processors."""
    monkeypatch.setattr("attnbench.workers.placement.everywhere", lambda: (0, 1, 2, 3))
    monkeypatch.setattr(duo, "everywhere", lambda: (0, 1, 2, 3))
    monkeypatch.setattr(duo, "place", moved)
    monkeypatch.setattr("tests.live.test_pairs.FakeWorker.pid", property(lambda self: 7 if self._side == "A" else 8))
    made = cell(8, impl)
    monkeypatch.setattr("tests.live.test_pairs.cell", lambda *_: made)
    object.__setattr__(made, "device", device)
    _, book = measure(World(), wanted=6)
    bursts = [burst for pair in book.pairs for cell in pair["cells"].values() for burst in cell["bursts"]]
    for at in range(0, len(bursts), 4):
        assert len({burst["processors"] for burst in bursts[at : at + 4]}) == 1
    return [burst["processors"] for burst in bursts[::4]]


def test_both_sides_of_a_quad_have_the_same_and_quads_have_others(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = Moved()
    processors = quads(monkeypatch, moved)
    assert {len(quad) for quad in processors if isinstance(quad, tuple)} == {1}
    assert len(set(processors)) > 2
    assert moved.at[7] == moved.at[8] == processors[-1]


def test_a_framework_that_dispatches_has_a_processor_more(monkeypatch: pytest.MonkeyPatch) -> None:
    processors = quads(monkeypatch, Moved(), impl="jax/naive")
    assert {len(quad) for quad in processors if isinstance(quad, tuple)} == {2}


def test_one_side_alone_is_never_left_on_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = Moved(stuck=8)
    assert set(quads(monkeypatch, moved)) == {None}
    assert moved.at[7] == (0, 1, 2, 3)


def test_other_devices_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = Moved()
    assert set(quads(monkeypatch, moved, device="cuda")) == {None}
    assert not moved.asked


def test_a_duo_without_a_choice_moves_nobody() -> None:
    duo = object.__new__(Duo)
    duo.workers = {}
    assert duo.place(None) is None
