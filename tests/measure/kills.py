"""``kill -9`` at random moments, to the run or to one of its processes, then ``--resume``: is anything lost or twice?

By hand: ``python -m tests.measure.kills --kills 20 --seed 1``. It prints a line for every kill and at the end what was
found in the journals; it ends with status 1 where that does not hold. A shorter one is a test.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from attnbench.api.suites import Story, TimedSuite
from attnbench.errors import AttnbenchError, ResultsError
from attnbench.measure.run.options import RunOptions
from attnbench.measure.run.run import run
from attnbench.results.dataset import load
from attnbench.results.journal import STANDS, replicates_of
from attnbench.results.read import Contents, read_contents, read_info
from tests.dropins import tiny
from tests.repository import REPOSITORY

from .conftest import QUICK

PATTERNS = ("numpy/naive", "numpy/loops")
LENGTHS = (16,)
BURSTS, REPLICATES = 4, 2
LONGEST_S = 3.0
BEGUN = 0.8  # the share of kills that wait until the run has begun
PATIENCE_S = 120.0
HOLDS = "no audited burst lost, none twice, none that nobody audited, every table complete"

Burst = tuple[str, int, int, float, float]


def measure(where: Path, resume: str | None) -> None:
    """The run that is killed; in a process of its own."""
    effort = replace(QUICK, replicates=REPLICATES, min_bursts=BURSTS, max_bursts=BURSTS)
    suite = TimedSuite(name="tiny", story=Story(question="?"), axes={"T": LENGTHS}, case=tiny)
    place = {"out": where / "results", "lock": where / "lock", "effort": effort}
    if resume is None:
        run(RunOptions(suites=[suite], patterns=PATTERNS, **place))  # type: ignore[arg-type]
    else:
        run(RunOptions(resume=resume, **place))  # type: ignore[arg-type]


@dataclass
class Watched:
    """What was seen of one run: the bursts after every kill, which must still be there at the end."""

    folder: Path
    seen: set[Burst] = field(default_factory=set)

    def look(self) -> Contents:
        """Read the journal; whatever in it was audited must stay."""
        contents = read_contents(self.folder)
        audited = replicates_of(contents.events, STANDS)
        self.seen |= {burst for burst in bursts_of(contents) if burst[:2] in audited}
        return contents

    def faults(self) -> list[str]:
        """What does not hold of the finished run; empty where all does."""
        contents, info = read_contents(self.folder), read_info(self.folder)
        now = bursts_of(contents)
        numbers = Counter((sample.cell_id, sample.replicate, sample.burst) for sample in contents.samples)
        moments = Counter((sample.cell_id, sample.t_start) for sample in contents.samples)
        frame = load(self.folder)
        checks = [
            (self.seen - now, "bursts were lost"),
            ({burst[:2] for burst in now} - replicates_of(contents.events, STANDS), "bursts count that nobody audited"),
            ([key for key, count in (numbers | moments).items() if count > 1], "bursts are there twice"),
            (len(frame) != len(PATTERNS) * len(LENGTHS), f"the table has {len(frame)} rows"),
            (set(frame["status"]) != {"ok"}, f"the table says {dict(Counter(frame['status']))}"),
            (bool((frame["n_replicates"] < REPLICATES).any()), "a cell has too few processes"),
            (info.status != "complete", f"the run is {info.status}"),
        ]
        return [f"{self.folder.name}: {what}" for wrong, what in checks if wrong]


def bursts_of(contents: Contents) -> set[Burst]:
    """Every burst, with what was measured, so that another one in its place is not taken for it."""
    return {
        (sample.cell_id, sample.replicate, sample.burst, sample.wall_s, sample.t_start) for sample in contents.samples
    }


class Killer:
    """Starts runs, kills at random moments, resumes, until there were enough kills; then lets the last one end."""

    def __init__(self, where: Path, seed: int, say: Callable[[str], object]) -> None:
        self._where, self._rng, self._say = where, random.Random(seed), say  # noqa: S311  (to be repeatable)
        self._watched: dict[Path, Watched] = {}
        self.kills: Counter[str] = Counter()

    def go(self, kills: int) -> list[str]:
        """What does not hold after so many kills."""
        faults: list[str] = []
        resume: Path | None = None
        complete = 0
        while self.kills.total() < kills or resume is not None or not complete:
            left = kills - self.kills.total()
            done, resume = self._one_process(resume, left, faults)
            if done is not None:
                complete += 1
                faults += self._watched[done].faults()
                self._say(f"  {done.name} is complete: {len(self._watched[done].look().samples)} bursts")
        return faults

    def _one_process(self, resume: Path | None, left: int, faults: list[str]) -> tuple[Path | None, Path | None]:
        """One process of a run until it ends or is killed: the folder if complete, the folder to be resumed."""
        before = set(self._where.glob("results/*"))
        command = [sys.executable, "-m", "tests.measure.kills", "--measure", str(self._where)]
        command += [] if resume is None else ["--resume", str(resume)]
        process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
        parent = psutil.Process(process.pid)
        try:
            if self._rng.random() < BEGUN:
                self._wait_for_begin(process, resume, before)
            for _ in range(left):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(self._rng.uniform(0, LONGEST_S))
                    break
                family = [parent, *self._descendants(parent)]
                victim = self._rng.choice([parent, self._rng.choice(family)])
                self._kill(victim, parent)
                if victim is parent:
                    faults += self._survivors(family)
                    break
            message = process.communicate(timeout=PATIENCE_S)[1]
        finally:
            process.kill()
            process.wait()
        new = set(self._where.glob("results/*")) - before
        folder = resume or (new.pop() if new else None)
        return self._after(folder, process.returncode, message, faults)

    def _wait_for_begin(self, process: subprocess.Popen[str], resume: Path | None, before: set[Path]) -> None:
        """Until it writes to its journal, so that most kills do not only hit imports."""
        known = 0 if resume is None else (resume / "journal.jsonl").stat().st_size
        until = time.monotonic() + PATIENCE_S
        while process.poll() is None and time.monotonic() < until:
            folders = [resume] if resume is not None else list(set(self._where.glob("results/*")) - before)
            journals = [folder / "journal.jsonl" for folder in folders]
            if any(journal.exists() and journal.stat().st_size > known for journal in journals):
                return
            time.sleep(0.01)

    def _after(
        self, folder: Path | None, code: int, message: str, faults: list[str]
    ) -> tuple[Path | None, Path | None]:
        if folder is None:
            return None, None  # killed before there was a folder
        if code == 0:
            self._watched.setdefault(folder, Watched(folder)).look()
            return folder, None
        if code != -signal.SIGKILL:
            if "before its plan was written" not in message:
                faults.append(f"{folder.name}: exit status {code}: {message[-300:]}")
            return None, None
        try:
            contents = self._watched.setdefault(folder, Watched(folder)).look()
        except ResultsError:  # no journal, or nothing in it: it had not begun
            self._watched.pop(folder)
            return None, None
        self._say(f"  {len(contents.done())} finished cells and {len(contents.samples)} bursts are kept; resuming")
        return None, folder

    def _kill(self, victim: psutil.Process, parent: psutil.Process) -> None:
        who = "run" if victim is parent else self._name(victim)
        with contextlib.suppress(psutil.NoSuchProcess):
            os.kill(victim.pid, signal.SIGKILL)
        self.kills[who] += 1
        self._say(f"kill {self.kills.total():2}: {who} {victim.pid}")

    @staticmethod
    def _name(process: psutil.Process) -> str:
        with contextlib.suppress(psutil.Error):
            command = " ".join(process.cmdline())
            return "keeper" if "keeper.py" in command else "worker" if "attnbench.measure" in command else "other"
        return "gone"

    @staticmethod
    def _descendants(parent: psutil.Process) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return parent.children(recursive=True)
        return []

    @staticmethod
    def _survivors(family: list[psutil.Process]) -> list[str]:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            left = [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
            if not left:
                return []
            time.sleep(0.05)
        return [f"process {process.pid} outlived its run" for process in left]


def kill_and_resume(where: Path, kills: int, seed: int, say: Callable[[str], object]) -> tuple[list[str], str]:
    """Kill so many times; what does not hold, and a sentence on what was done."""
    killer = Killer(where, seed, say)
    faults = killer.go(kills)
    runs = len(killer._watched)
    seen = sum(len(story.seen) for story in killer._watched.values())
    whom = ", ".join(f"{count} {who}" for who, count in killer.kills.items())
    return faults, f"{killer.kills.total()} kills ({whom}) over {runs} runs with {seen} bursts"


def main() -> int:
    """By hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure is not None:
        try:
            measure(given.measure, given.resume)
        except AttnbenchError as error:
            sys.exit(str(error))
        return 0
    with TemporaryDirectory() as folder:
        faults, done = kill_and_resume(
            Path(folder), given.kills, given.seed, lambda line: sys.stdout.write(f"{line}\n")
        )
    sys.stdout.write(f"{done}: {'; '.join(faults) or HOLDS}\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
