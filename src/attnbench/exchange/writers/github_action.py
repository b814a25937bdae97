"""A run for github-action-benchmark: an entry in the ``data.js`` of its page, or the list that the action takes.

Source: github-action-benchmark's README, ``src/write.ts`` and ``src/default_index_html.ts``. The page draws a line for
each name over the commits, so ``data.js`` grows: a run is added to what is there, and replaces itself when it is
written again. Times are nanoseconds, memory bytes; smaller is better. A cell without a time has no value, which the
page shows as a gap, and says why in ``extra``. The list (``tool: customSmallerIsBetter``) cannot have gaps: there it is
left out, and the action itself adds to ``data.js``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from attnbench.errors import ResultsError
from attnbench.exchange.writers.commits import Commit, commit_of
from attnbench.exchange.writers.saved import Saved, case_text, one_line
from attnbench.results.schema import CellResult

PREFIX = "window.BENCHMARK_DATA = "
TOOL = "customSmallerIsBetter"
FAILED = re.compile(r"^(wrong|oom|timeout|crashed|not-run|unsupported): (.*)$", re.DOTALL)
NANOSECONDS = 1e9
ROUND = "round."
Bench = dict[str, Any]


def to_list(saved: Saved) -> str:
    """The list that the action reads as ``output-file-path``, for the tool ``customSmallerIsBetter``."""
    benches = [bench for row in saved.cells for bench in _benches(row) if bench["value"] is not None]
    return json.dumps(benches, indent=2, ensure_ascii=False) + "\n"


def to_data(saved: Saved, file: Path | None, commit: str | None) -> str:
    """The text of ``data.js`` with this run in it. Raises ``UsageError`` where the commit is not known.

    Raises ``ResultsError`` where ``file`` is there and is none that the action wrote.
    """
    filed = commit_of(saved.info, commit, "data.js")
    data = _read(file)
    started_ms = int(datetime.fromisoformat(saved.info.started).timestamp() * 1000)
    for suite in dict.fromkeys(row.suite for row in saved.cells):
        rows = [row for row in saved.cells if row.suite == suite]
        entry = {"commit": _commit(filed), "date": started_ms, "tool": TOOL}
        entry["benches"] = [bench for row in rows for bench in _benches(row)]
        before = data["entries"].get(suite, [])
        others = [other for other in before if (_id(other), other.get("date")) != (filed.id, started_ms)]
        data["entries"][suite] = sorted([*others, entry], key=lambda other: other.get("date") or 0)
    data["lastUpdate"] = int(time.time() * 1000)
    return PREFIX + json.dumps(data, indent=2, ensure_ascii=False)


def _id(entry: dict[str, Any]) -> Any:
    return (entry.get("commit") or {}).get("id")


def _read(file: Path | None) -> dict[str, Any]:
    """What is in ``data.js`` already; an empty one where there is none."""
    if file is None or not file.exists():
        return {"lastUpdate": 0, "repoUrl": "", "entries": {}}
    try:
        text = file.read_text(encoding="utf-8")
        data = json.loads(text.removeprefix(PREFIX).rstrip().removesuffix(";"))
        if text.startswith(PREFIX) and all(
            isinstance(entry, dict) for suite in data["entries"].values() for entry in suite
        ):
            return dict(data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    msg = f"{file} is no data.js as github-action-benchmark writes it, and is left untouched; name another: -o FILE"
    raise ResultsError(msg)


def _commit(filed: Commit) -> dict[str, Any]:
    """A commit as the page shows it in its tooltips."""
    person = {"name": filed.author, "username": filed.author, "email": ""}
    return {
        "id": filed.id,
        "message": filed.message,
        "timestamp": filed.moment,
        "url": "",
        "author": person,
        "committer": person,
    }


def _benches(row: CellResult) -> Iterator[Bench]:
    name = f"{row.impl} · {case_text(row)}"
    if row.status != "ok":
        yield {"name": name, "value": None, "unit": "ns", "extra": f"{row.status}: {one_line(row.reason)}"}
        return
    if row.kind == "observed":
        for number, value in row.metrics.items():
            yield {"name": f"{name} · {number}", "value": value, "unit": "unit"}
        return
    median, low, high = row.time_median_s or 0.0, row.time_low_s, row.time_high_s
    bench: Bench = {"name": name, "value": median * NANOSECONDS, "unit": "ns"}
    if low is not None and high is not None:
        bench["range"] = f"± {(high - low) / 2 * NANOSECONDS:.4g}"
    processes = row.n_replicates or 1
    yield bench | {"extra": f"{row.n_bursts} bursts in {processes} process{'es' if processes > 1 else ''}"}
    if row.peak_bytes is not None:
        yield {"name": f"{name} · peak memory", "value": row.peak_bytes, "unit": "bytes"}
