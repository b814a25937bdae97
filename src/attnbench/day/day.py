"""The day of the GPU: ``python3 src/attnbench/day/day.py --out FOLDER``, there, in a copy of the project.

DayStep after step, each with its own limit, within ten minutes. ``FOLDER/day.tgz`` is written anew before, during and
after each step, so that it holds all that was seen whenever the machine is taken away: ``day.json`` says what became of
each step, ``texts/`` has what they printed, ``runs/`` the run folders. ``attnbench report day.tgz -o DIR`` reads it.
With ``--device cpu`` the day is rehearsed on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":  # started as a file, when attnbench is not installed yet
    sys.path.insert(0, str(HERE.parents[1]))

from attnbench.day.steps import STAGES, DayStep, steps  # noqa: E402

MOST_BYTES = 10 * 2**20
EVERY_S = 15.0  # the archive is renewed so often while a step runs
LEAST_S = 5.0  # with less time than this a step is not begun
GRACE_S = 5.0  # between being asked to end and being ended
FIRST = ("day.json", "texts", "predictions.json", "run.json", "cells.parquet", "verdicts.parquet", "journal.jsonl")
PART = ".part"  # how names end under which attnbench writes a file before it is whole


class Day:
    """A folder of work, the journal of its steps, and the archive of both."""

    def __init__(self, out: Path, device: str, budget_s: float) -> None:
        self.work, self.archive = out / "day", out / "day.tgz"
        (self.work / "texts").mkdir(parents=True, exist_ok=True)
        self.end = time.monotonic() + budget_s
        self.journal: dict[str, Any] = {"device": device, "started": time.time(), "finished": False, "steps": []}
        self.running: subprocess.Popen[bytes] | None = None
        self.written = 0

    def play(self, plan: list[DayStep], folder: Path) -> None:
        """All steps that the time allows, in ``folder``; whatever happens to one, the next is begun."""
        entries = [{"name": step.name, "command": list(step.command), "status": "not-run"} for step in plan]
        self.journal["steps"] = entries
        for step, entry in zip(plan, entries, strict=True):
            limit = min(step.limit_s, self.end - time.monotonic())
            if limit < LEAST_S:
                entry["reason"] = "no time was left"
                continue
            self._tell(entry, status="running", limit_s=round(limit, 1))
            began = time.monotonic()
            try:
                ended = self._run(step, limit, folder)
            except OSError as error:
                ended = {"status": "failed", "reason": str(error)}
            self._tell(entry, **ended, seconds=round(time.monotonic() - began, 2))
        self.journal["finished"] = True
        self.keep()

    def _run(self, step: DayStep, limit_s: float, folder: Path) -> dict[str, Any]:
        began = kept = time.monotonic()
        with (self.work / "texts" / f"{step.name}.txt").open("wb") as text:
            self.running = subprocess.Popen(
                step.command, cwd=folder, env=self._environment(), stdin=subprocess.DEVNULL, stdout=text,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                while self.running.poll() is None:
                    if time.monotonic() - began > limit_s:
                        return {"status": "out-of-time"}
                    if time.monotonic() - kept > EVERY_S:
                        self.keep()
                        kept = time.monotonic()
                    time.sleep(0.05)
            finally:
                end_all(self.running)
        code = self.running.returncode
        return {"status": "ok" if code == 0 else "failed", "exit_code": code}

    def _environment(self) -> dict[str, str]:
        """What was installed for the day comes first, and nothing waits for another run of this machine."""
        paths = (str(self.work.parent / "site"), os.environ.get("PYTHONPATH", ""))
        lock = str(self.work.parent / "lock")
        return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "ATTNBENCH_LOCK": lock}

    def _tell(self, entry: dict[str, Any], **what: Any) -> None:
        """Into the journal, onto the screen and into the archive, at once."""
        entry |= what
        said(f"{entry['name']}: {entry['status']}")
        self.keep()

    def cut(self, number: int, _: object = None) -> NoReturn:
        """Told to end: say so, and leave nothing running."""
        for entry in self.journal["steps"]:
            if entry["status"] == "running":
                entry |= {"status": "cut", "reason": f"the day was ended by {signal.Signals(number).name}"}
        if self.running is not None:
            end_all(self.running)
        self.keep()
        sys.exit(1)

    def keep(self) -> None:
        """Write the archive anew, and put it in the place of the old one at once.

        Where it cannot be written, as on a full disk, the old one stays and the day goes on.
        """
        self.written += 1
        part = self.archive.with_suffix(f".part{self.written}")  # a signal may come while one is written
        try:
            self._pack(part)
            part.replace(self.archive)
        except OSError as error:
            said(f"the archive was not renewed: {error}")
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _pack(self, part: Path) -> None:
        """What matters most comes first. A step writes meanwhile: what has gone by now is passed over."""
        self.journal["left_out"] = []
        room = MOST_BYTES * 9 // 10
        chosen = []
        for file in self._files():
            with contextlib.suppress(FileNotFoundError):
                size = packed_bytes(file)
                if size <= room:
                    chosen.append(file)
                    room -= size
                else:
                    self.journal["left_out"].append(str(file.relative_to(self.work)))
        (self.work / "day.json").write_text(json.dumps(self.journal, indent=1), encoding="utf-8")
        with tarfile.open(part, "w:gz") as archive:
            for file in dict.fromkeys([self.work / "day.json", *chosen]):
                with contextlib.suppress(FileNotFoundError):
                    add(archive, file, f"day/{file.relative_to(self.work)}")

    def _files(self) -> list[Path]:
        """By their rank; without those that are written under another name first, which are whole in a moment."""
        ranked = []
        for file in self.work.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if file.is_file() and file.suffix != PART:
                    ranked.append((self._rank(file), file))
        return [file for _, file in sorted(ranked)]

    def _rank(self, file: Path) -> tuple[int, int, str]:
        names = (file.name, file.parent.name)
        rank = next((at for at, name in enumerate(FIRST) if name in names), len(FIRST))
        return rank, file.stat().st_size, str(file)


def add(archive: tarfile.TarFile, file: Path, name: str) -> None:
    """A file as it is at one moment: one that grows or shrinks while it is packed would spoil the archive."""
    info, content = archive.gettarinfo(file, name), file.read_bytes()
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def said(line: str) -> None:
    """Onto the screen, where there is still one."""
    with contextlib.suppress(OSError):
        print(line, flush=True)  # noqa: T201  (nothing is installed yet)


_packed: dict[tuple[str, int, int], int] = {}


def packed_bytes(file: Path) -> int:
    """How much of the archive a file takes, about; each state of a file is packed once to know it."""
    stat = file.stat()
    key = str(file), stat.st_size, stat.st_mtime_ns
    if key not in _packed:
        too_large = stat.st_size > 20 * MOST_BYTES
        _packed[key] = stat.st_size if too_large else len(zlib.compress(file.read_bytes(), 6)) + 1024
    return _packed[key]


def end_all(process: subprocess.Popen[bytes]) -> None:
    """End a step and all that it has started: asked first, and killed after a while."""
    everybody = {process.pid, *descendants(process.pid)}
    if process.poll() is None:
        for number, patience_s in ((signal.SIGINT, GRACE_S), (signal.SIGTERM, 1.0)):
            signal_all({process.pid}, number)
            try:
                process.wait(patience_s)
                break
            except subprocess.TimeoutExpired:
                everybody |= descendants(process.pid)
    signal_all({pid for pid in everybody if pid != process.pid}, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def signal_all(pids: set[int], number: int) -> None:
    """Those that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def descendants(pid: int) -> set[int]:
    """The processes that one has started, and those that these have, by /proc: workers have groups of their own."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    below: set[int] = set()
    waiting = [pid]
    while waiting:
        new = [child for child in children.get(waiting.pop(), []) if child not in below]
        below |= set(new)
        waiting += new
    return below


def main() -> int:
    """Play the day that was asked for; 0 where every step is ok, else 1."""
    parser = argparse.ArgumentParser(description="The day of the GPU: everything about it in under ten minutes.")
    parser.add_argument("--out", type=Path, required=True, help="a folder; day.tgz is written there")
    parser.add_argument("--device", choices=sorted(STAGES), default="cuda", help="cpu is a rehearsal")
    parser.add_argument("--budget", type=float, default=570.0, metavar="SECONDS", help="all in all; 570 by itself")
    parser.add_argument("--wheels", type=Path, default=Path(".gpu/wheels"), help="what wheels.py has brought")
    parser.add_argument("--only", action="append", metavar="STEP", help="only this step; may be given several times")
    given = parser.parse_args()
    out = given.out.resolve()
    plan = steps(STAGES[given.device], given.wheels.resolve(), out)
    if unknown := set(given.only or ()) - {step.name for step in plan}:
        parser.error(f"there is no step {', '.join(sorted(unknown))}; there are {', '.join(s.name for s in plan)}")
    plan = [step for step in plan if not given.only or step.name in given.only]
    return played(Day(out, given.device, given.budget), plan, HERE.parents[2])


def played(day: Day, plan: list[DayStep], folder: Path) -> int:
    """Play it; a signal ends it with an archive all the same."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, day.cut)
    day.play(plan, folder)
    said(f"archive: {day.archive}")
    return int(any(entry["status"] != "ok" for entry in day.journal["steps"]))


if __name__ == "__main__":
    sys.exit(main())
