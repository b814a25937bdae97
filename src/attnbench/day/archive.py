"""What came back from a day: the archive, its runs and what became of its steps."""

from __future__ import annotations

import json
import tarfile
import tempfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnbench.day.comparison import PredictionComparison, text
from attnbench.day.steps import is_ours
from attnbench.errors import ResultsError

SUFFIXES = (".tgz", ".tar.gz")
PREDICTIONS, JOURNAL = "predictions.json", "day/day.json"
UNREADABLE = (OSError, EOFError, tarfile.TarError, zlib.error)
# What a step may have become, in the order in which they are counted, with the words for how many did.
BECAME = {
    "ok": "did all of their work",
    "partly": "did a part of it",
    "failed": "failed",
    "out-of-time": "did not end in time",
    "cut": "cut",
    "running": "running when the machine went away",
    "not-run": "never reached",
}
WORDS = {
    "partly": "did a part of it",
    "failed": "failed",
    "out-of-time": "was ended after its {limit_s:g} s",
    "running": "was running when the machine went away",
    "cut": "was cut",
    "not-run": "was not run",
}
# The exit statuses of attnbench (docs/interface.md), of a step.
EXITS = {
    1: "something disagrees, or cannot be",
    2: "it refused what was asked, and nothing ran",
    3: "its time was too short for all of it, or for telling all apart",
    4: "some of it crashed, timed out or ran out of memory; the rest is there",
    5: "nothing was measured",
    6: "attnbench itself broke down",
}


@dataclass(frozen=True)
class DayArchive:
    """An archive that was unpacked: its run folders, and the journal of its steps; ``damage`` says what is lost."""

    folder: Path
    journal: dict[str, Any]
    damage: str | None = None

    @property
    def runs(self) -> list[Path]:
        """In the order in which they were begun."""
        return sorted(info.parent for info in (self.folder / "runs").glob("*/run.json"))

    def comparison(self) -> PredictionComparison | None:
        """What was predicted against what was seen; ``None`` where the day did not come to it.

        Raises ``ResultsError`` where the file is damaged.
        """
        file = self.folder / PREDICTIONS
        if not file.is_file():
            return None
        try:
            comparison = PredictionComparison.from_dict(json.loads(file.read_text(encoding="utf-8")))
            text(comparison)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            msg = f"{PREDICTIONS} of this day cannot be read: {' '.join(str(error).split())}"
            raise ResultsError(msg) from error
        return comparison

    @property
    def checks(self) -> list[Path]:
        """The rows of its steps ``check-…``, as JUnit XML, of those that came to their end."""
        return sorted((self.folder / "texts").glob("check-*.xml"))

    def sentence(self) -> str:
        """How many steps became what."""
        steps = self.journal["steps"]
        counted = Counter(step["status"] if step["status"] in BECAME else "failed" for step in steps)
        said = ", ".join(f"{counted[status]} {words}" for status, words in BECAME.items() if counted[status])
        whole = "" if self.journal["finished"] else "; the day was cut, and this is what there was until then"
        return f"a day on {self.journal['device']}, of {len(steps)} steps: {said or 'none was begun'}{whole}"

    def lines(self) -> list[str]:
        """What became of the day, and of each step that is not ok."""
        lines = [self.sentence(), *([f"  {self.damage}"] if self.damage else [])]
        lines += [f"  {step['name']}: {outcome(step)}" for step in self.journal["steps"] if step["status"] != "ok"]
        lines += [f"  {step['name']}: {left}" for step in self.journal["steps"] if (left := left_running(step))]
        if left_out := self.journal.get("left_out"):
            lines.append(f"  left out, for want of room: {', '.join(left_out)}")
        return lines


def outcome(step: Mapping[str, Any]) -> str:
    """What became of a step, in words."""
    sentence = WORDS.get(step["status"], str(step["status"])).format(**{"limit_s": 0.0} | dict(step))
    code = step.get("exit_code")
    meaning = EXITS.get(code) if code is not None and is_ours(step["command"]) else None
    if code:
        sentence += f" with exit status {code}" if meaning is None else f": {meaning} (exit status {code})"
    return sentence + (f": {step['reason']}" if step.get("reason") else "")


def left_running(step: Mapping[str, Any]) -> str:
    """A word where a step has ended and processes of its own had not."""
    left = step.get("left_running")
    return f"{left} of its processes ran on after it, and were ended" if left else ""


def is_archive(name: str) -> bool:
    """Whether a name is that of an archive, and no run's."""
    return name.endswith(SUFFIXES)


def opened(file: Path) -> DayArchive:
    """Unpack an archive into a folder of its own; ``ResultsError`` where it is none of a day.

    Of one that is damaged, as by a copy that was cut, comes what lies before the damage: the journal is its first file.
    """
    folder = Path(tempfile.mkdtemp(prefix="attnbench-day-"))
    damage = None
    try:
        try:
            with tarfile.open(file) as archive:
                for member in archive:
                    archive.extract(member, folder, filter="data")
        except UNREADABLE as error:
            damage = f"the archive is damaged, and what came before the damage is here ({error})"
            if not (folder / JOURNAL).is_file():
                raise
        journal = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
        day = DayArchive(folder / "day", journal, damage)
        day.lines()
    except (*UNREADABLE, ValueError, LookupError, TypeError, AttributeError) as error:
        msg = f"{file} is no archive of a day of the GPU (src/attnbench/day/day.py writes them): {error}"
        raise ResultsError(msg) from error
    return day
