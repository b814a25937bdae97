"""A cluster that stands for all tests of a file, and a suite whose cells cost little and can be held up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.dispatch.cluster.processes import Cluster

# A cell writes down what it stands in, waits while a file is there, and ends as its arm says.
QUESTIONS = dedent(
    """
    import json, os, time
    from pathlib import Path

    from attnbench.api.suites import ObservedSuite, Story

    def observe(probe, seed, arm):
        place = Path(os.environ["ATTNBENCH_TEST_PLACE"])
        seen = {"pid": os.getpid(), "environment": dict(os.environ), "threads": len(os.listdir("/proc/self/task"))}
        place.joinpath(f"seen-{seed}-{os.getpid()}").write_text(json.dumps(seen))
        while place.joinpath(f"hold-{seed}").exists():
            time.sleep(0.05)
        if arm == "crashes":
            os.abort()
        return {"number": float(seed)}

    SUITE = ObservedSuite(
        name="seen",
        story=Story(question="Is it seen?"),
        axes={"seed": (0, 1, 2), "arm": ("sound", "crashes")},
        observe=observe,
    )
    """
)
OTHER_HARDWARE = 'import platform\nplatform.machine = lambda: "another"\n'
# Each arm of a seed is a block, so that there are two.
SEEN = ("seen", "--suites", "questions.py", "--impl", "numpy/naive", "-a", "seed=0")
# Instead, two that are sound.
TWO = ("-a", "arm=sound", "-a", "seed=1")


class Place:
    """Where cells write down what they saw, and are held up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def hold(self, seed: int) -> Path:
        file = self.folder / f"hold-{seed}"
        file.touch()
        return file

    def seen(self, seed: int | str = "*") -> list[dict[str, object]]:
        files = sorted(self.folder.glob(f"seen-{seed}-*"), key=lambda file: file.stat().st_mtime)
        return [json.loads(text) for file in files if (text := file.read_text())]

    def pid(self, seed: int) -> int:
        return int(str(self.seen(seed)[-1]["pid"]))

    def clear(self) -> None:
        for file in self.folder.iterdir():
            file.unlink()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("cells") / "place")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, place: Place) -> Iterator[Cluster]:
    """A scheduler and two workers, a and b, each with a lock of its own; b says that its hardware is another one."""
    with Cluster(tmp_path_factory.mktemp("cluster") / "dask", ATTNBENCH_TEST_PLACE=str(place.folder)) as made:
        (made.folder / "b").mkdir()
        (made.folder / "b" / "sitecustomize.py").write_text(OTHER_HARDWARE)
        made.start_scheduler()
        for name in ("a", "b"):
            start(made, name)
        yield made


def start(cluster: Cluster, name: str, **environment: str) -> None:
    lock = str(cluster.folder / f"lock-{name}")
    given: dict[str, Any] = {"ATTNBENCH_LOCK": lock, "ATTNBENCH_LABELS": f"rack=7,name={name}"}
    given |= {"PYTHONPATH": str(cluster.folder / name), "OMP_NUM_THREADS": "1"} | environment  # as Dask's nannies
    cluster.start_worker(name, **given)


@pytest.fixture
def questions(tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write the suite of one's own into the folder of the test; nothing is held up."""
    place.clear()
    monkeypatch.setenv("ATTNBENCH_TEST_PLACE", str(place.folder))

    def write(text: str = QUESTIONS) -> Path:
        (tmp_path / "questions.py").write_text(text, encoding="utf-8")
        return tmp_path / "questions.py"

    write()
    return write
