"""The day of the GPU: ``python3 src/attnbench/day/day.py --out FOLDER``, there, in a copy of the project.

Step after step, each with its own limit, within ten minutes. ``FOLDER/day.tgz`` is written anew before, during and
after each step, so that it holds all that was seen whenever the machine is taken away: ``day.json`` says what became of
each step, ``texts/`` has what they printed, ``runs/`` the run folders. Nothing else is put into FOLDER: the work is
done in a folder of its own. ``attnbench report day.tgz -o DIR`` reads the archive. With ``--device cpu`` the day is
rehearsed on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
if __name__ == "__main__":  # started as a file, when attnbench is not installed yet
    sys.path.insert(0, str(HERE.parents[1]))

from attnbench.day.ending import adopt_orphans, end_all, end_orphans  # noqa: E402
from attnbench.day.packing import pack  # noqa: E402
from attnbench.day.steps import STAGES, DayStep, chosen, steps  # noqa: E402

EVERY_S = 15.0  # the archive is renewed so often while a step runs
LEAST_S = 5.0  # with less time than this a step is not begun
LINGER_S = 1.0  # what a step has started may end so long after it
MOST_TEXT = 200 * 2**20  # a step that prints more is ended, so that it does not fill the disk
INSTALL = "install"
# What a day sets where nobody else has: texts are written as they are printed; JAX leaves memory to its neighbours.
SETTINGS = {"PYTHONUNBUFFERED": "1", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
# Each would turn a day on a GPU into one without, and is often left over from a rehearsal.
AGAINST_A_GPU = {"TRITON_INTERPRET": None, "JAX_PLATFORMS": None, "JAX_PLATFORM_NAME": None, "CUDA_VISIBLE_DEVICES": ""}


class Day:
    """A folder of work, the journal of its steps, and the archive of both."""

    def __init__(self, out: Path, device: str, budget_s: float, place: Path | None = None) -> None:
        """``out`` is where the archive goes, ``place`` where the work is done; by itself that is the same folder."""
        self.place = out if place is None else place
        self.work, self.archive = self.place / "day", free_name(out)
        (self.work / "texts").mkdir(parents=True, exist_ok=True)
        self.end = time.monotonic() + budget_s
        self.journal: dict[str, Any] = {"device": device, "started": time.time(), "finished": False, "steps": []}
        self.running: subprocess.Popen[bytes] | None = None
        self.written = 0
        self.adopts = False

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
            took = time.monotonic() - began
            if left := end_orphans(LINGER_S) if self.adopts else 0:
                ended["left_running"] = left
            self._tell(entry, **ended, seconds=round(took, 2))
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
                        break
                    if os.fstat(text.fileno()).st_size > MOST_TEXT:
                        return {"status": "failed", "reason": f"it was ended, having printed {MOST_TEXT >> 20} MiB"}
                    if time.monotonic() - kept > EVERY_S:
                        self.keep()
                        kept = time.monotonic()
                    time.sleep(0.05)
            finally:
                on_time = self.running.returncode is not None
                killed = end_all(self.running)
        if not killed:
            return {"status": "out-of-time", "reason": "it could not be killed, and may still use the device"}
        if not on_time:
            return {"status": "out-of-time"}
        code = self.running.returncode
        return {"status": step.status_of(code), "exit_code": code}

    def _environment(self) -> dict[str, str]:
        """What was installed for the day comes first; nothing waits for another run; nothing hides the GPU."""
        without = {
            name for name, value in AGAINST_A_GPU.items() if value is None or os.environ.get(name, "").strip() == value
        }
        given = {n: value for n, value in os.environ.items() if self.journal["device"] == "cpu" or n not in without}
        cache = self.place / "cache"  # a home that is not there, or cannot be written, is no reason to fail
        caches = {
            "TRITON_CACHE_DIR": cache / "triton", "TORCHINDUCTOR_CACHE_DIR": cache / "inductor",
            "CUPY_CACHE_DIR": cache / "cupy", "CUDA_CACHE_PATH": cache / "cuda", "MPLCONFIGDIR": cache / "matplotlib",
        }  # fmt: skip
        paths = filter(None, (str(self.place / "site"), given.get("PYTHONPATH", "")))
        ours = {"PYTHONPATH": os.pathsep.join(paths), "ATTNBENCH_LOCK": str(self.place / "lock")}
        return SETTINGS | {name: str(folder) for name, folder in caches.items()} | given | ours

    def _tell(self, entry: dict[str, Any], **what: Any) -> None:
        """Into the journal, onto the screen and into the archive, at once."""
        entry |= what
        took = f" after {entry['seconds']:.0f} s" if "seconds" in entry else ""
        said(f"{entry['name']}: {entry['status']}{took}")
        self.keep()

    def cut(self, number: int, _: object = None) -> NoReturn:
        """Told to end: say so, and leave nothing running."""
        for entry in self.journal["steps"]:
            if entry["status"] == "running":
                entry |= {"status": "cut", "reason": f"the day was ended by {signal.Signals(number).name}"}
        if self.running is not None:
            end_all(self.running)
        if self.adopts:
            end_orphans(0.0)
        self.keep()
        sys.exit(1)

    def keep(self) -> None:
        """Write the archive anew, and put it in the place of the old one at once.

        Where it cannot be written, as on a full disk, the old one stays and the day goes on.
        """
        self.written += 1
        part = self.archive.with_suffix(f".part{self.written}")  # a signal may come while one is written
        try:
            pack(self.work, self.journal, part)
            part.replace(self.archive)
        except OSError as error:
            said(f"the archive was not renewed: {error}")
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def free_name(out: Path) -> Path:
    """``day.tgz``, or with a number where an earlier day lies there: it is not written over."""
    names = ("day.tgz", *(f"day-{number}.tgz" for number in range(2, 1000)))
    return next(out / name for name in names if not (out / name).exists())


def said(line: str) -> None:
    """Onto the screen, where there is still one."""
    with contextlib.suppress(OSError):
        print(line, flush=True)  # noqa: T201  (nothing is installed yet)


def asked() -> argparse.ArgumentParser:
    """What can be typed."""
    parser = argparse.ArgumentParser(description="The day of the GPU: everything about it in under ten minutes.")
    parser.add_argument("--out", type=Path, help="a folder; day.tgz is written there. By itself that of $OUT")
    parser.add_argument("--device", choices=sorted(STAGES), default="cuda", help="cpu is a rehearsal")
    parser.add_argument("--budget", type=float, default=570.0, metavar="SECONDS", help="all in all; 570 by itself")
    parser.add_argument("--wheels", type=Path, default=ROOT / ".gpu" / "wheels", help="what wheels.py has brought")
    parser.add_argument("--place", type=Path, help="where the work is done; a new temporary folder by itself")
    parser.add_argument("--only", action="append", metavar="STEP", help="only this step; may be given several times")
    parser.add_argument("--from", dest="first", metavar="STEP", help="begin with this step")
    parser.add_argument("--until", dest="last", metavar="STEP", help="end with this step")
    parser.add_argument("--steps", action="store_true", help="say which steps there are, and play none")
    return parser


def main() -> int:
    """Play the day that was asked for; 0 where every step is ok, else 1, and 2 where nothing could begin."""
    parser = asked()
    given = parser.parse_args()
    stage = STAGES[given.device]
    if given.out is None and os.environ.get("OUT"):
        given.out = Path(os.environ["OUT"])
    try:
        place = given.place.resolve() if given.place else Path("PLACE")
        names = chosen([s.name for s in steps(stage, given.wheels, place)], given.only, given.first, given.last)
        if given.steps:
            print("\n".join(f"{s.limit_s:4.0f} s  {s.name}" for s in steps(stage, given.wheels, place)))  # noqa: T201
            return 0
        if given.out is None:
            parser.error("where is the archive to go? Type: --out FOLDER")
        if not 0 < given.budget < float("inf"):
            parser.error(f"--budget {given.budget:g} is no time for a day; it takes seconds, such as --budget 570")
        out = writable(given.out.resolve())
        place = writable(place) if given.place else Path(tempfile.mkdtemp(prefix="attnbench-day-"))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    plan = [step for step in steps(stage, given.wheels.resolve(), place) if step.name in {INSTALL, *names}]
    said(f"{len(plan)} steps in {given.budget:g} s; the work is done in {place}")
    return played(Day(out, given.device, given.budget, place), plan, ROOT)


def writable(folder: Path) -> Path:
    """A folder into which a file was written; ``OSError`` where that cannot be: better now than in ten minutes."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"attnbench")
    return folder


def played(day: Day, plan: list[DayStep], folder: Path) -> int:
    """Play it; a signal ends it with an archive all the same."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, day.cut)
    day.adopts = adopt_orphans()
    day.play(plan, folder)
    said(f"archive: {day.archive}")
    return int(any(entry["status"] not in ("ok", "partly") for entry in day.journal["steps"]))


if __name__ == "__main__":
    sys.exit(main())
