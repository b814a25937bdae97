"""What came back from a day: the archive, its runs and what became of its steps."""

from __future__ import annotations

import json
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnbench.day.comparison import PredictionComparison, text
from attnbench.errors import ResultsError

SUFFIXES = (".tgz", ".tar.gz")
PREDICTIONS = "predictions.json"


@dataclass(frozen=True)
class DayArchive:
    """An archive that was unpacked: its run folders, and the journal of its steps."""

    folder: Path
    journal: dict[str, Any]

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

    def lines(self) -> list[str]:
        """What became of the day, and of each step that is not ok."""
        steps = self.journal["steps"]
        ok = sum(step["status"] == "ok" for step in steps)
        whole = "" if self.journal["finished"] else "; the day was cut, and this is what there was until then"
        lines = [f"a day on {self.journal['device']}: {ok} of {len(steps)} steps are ok{whole}"]
        lines += [f"  {step['name']}: {outcome(step)}" for step in steps if step["status"] != "ok"]
        if left_out := self.journal.get("left_out"):
            lines.append(f"  left out, for want of room: {', '.join(left_out)}")
        return lines


def outcome(step: dict[str, Any]) -> str:
    """What became of a step, in words."""
    words = {
        "failed": "failed",
        "out-of-time": "was ended after its {limit_s:g} s",
        "running": "was running when the machine went away",
        "cut": "was cut",
        "not-run": "was not run",
    }
    sentence = words.get(step["status"], str(step["status"])).format(**{"limit_s": 0.0} | step)
    if (code := step.get("exit_code")) is not None:
        sentence += f" with exit status {code}"
    return sentence + (f": {step['reason']}" if step.get("reason") else "")


def is_archive(name: str) -> bool:
    """Whether a name is that of an archive, and no run's."""
    return name.endswith(SUFFIXES)


def opened(file: Path) -> DayArchive:
    """Unpack an archive into a folder of its own; ``ResultsError`` where it is none of a day."""
    folder = Path(tempfile.mkdtemp(prefix="attnbench-day-"))
    try:
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")
        journal = json.loads((folder / "day" / "day.json").read_text(encoding="utf-8"))
        day = DayArchive(folder / "day", journal)
        day.lines()
    except (OSError, EOFError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        msg = f"{file} is no archive of a day of the GPU (src/attnbench/day/day.py writes them): {error}"
        raise ResultsError(msg) from error
    return day
