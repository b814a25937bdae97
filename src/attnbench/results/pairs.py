"""The folder of a paired comparison: ``OUT/<run_id>/{ab.json, pairs.jsonl, pairs.parquet}``.

``ab.json`` says what was compared and, at the end, the verdicts; its ``status`` is ``partial`` until then, and
``interrupted`` where the end came too early. Every pair is a line of the journal ``pairs.jsonl``,
on the disk before the next pair begins, with its raw bursts; at the end they are compacted to ``pairs.parquet``, a row
for every burst.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from attnbench.errors import ResultsError
from attnbench.results.journal import Journal, fail_writing, read_journal
from attnbench.results.store import refuse_foreign, write_whole
from attnbench.show import finite

INFO, JOURNAL, TABLE = "ab.json", "pairs.jsonl", "pairs.parquet"
FORMAT = "attnbench-ab"
VERSION = 1


class PairsWriter:
    """Writes one comparison. ``info`` is the content of ab.json; ``finish`` completes it."""

    def __init__(self, folder: Path, info: Mapping[str, Any]) -> None:
        self.folder = folder
        self.info: dict[str, Any] = {"format": FORMAT, "version": VERSION, "status": "partial", **info}
        self._journal = Journal(folder / JOURNAL, new=True)
        self._write()

    @classmethod
    def create(cls, out: Path, run_id: str, info: Mapping[str, Any]) -> Self:
        """Make ``out/run_id``. Raises ``ResultsError`` where that is there already or cannot be written."""
        refuse_foreign(out)
        folder = out / run_id
        try:
            out.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except OSError as error:
            fail_writing(folder, error)
        return cls(folder, {"run_id": run_id, **info})

    def pair(self, record: Mapping[str, Any]) -> None:
        """One pair with its raw bursts."""
        self._journal.append("event", {"name": "pair", **record})

    def event(self, name: str, **detail: Any) -> None:
        """Something else that happened."""
        self._journal.append("event", {"name": name, **detail})

    def finish(self, status: Literal["complete", "interrupted"], **conclusion: Any) -> None:
        """Complete ab.json and write the table of bursts; the journal stays."""
        self.info |= {"status": status, **conclusion}
        self._journal.close()
        _compact(self.folder)
        self._write()

    def _write(self) -> None:
        text = json.dumps(finite.replaced(self.info, finite.as_null), indent=2, allow_nan=False)
        write_whole(self.folder / INFO, text + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()


def read_comparison(folder: Path) -> dict[str, Any]:
    """The content of ab.json. Raises ``ResultsError`` for anything else."""
    try:
        content: dict[str, Any] = json.loads((folder / INFO).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{folder} is no folder of 'attnbench ab': {INFO} cannot be read ({error})"
        raise ResultsError(msg) from error
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        msg = f"{folder / INFO} is of another program, or of a newer attnbench"
        raise ResultsError(msg)
    return content


def read_pairs(folder: Path) -> list[dict[str, Any]]:
    """Every pair of a comparison, in order, with its raw bursts."""
    return [record.data for record in read_journal(folder / JOURNAL) if record.data.get("name") == "pair"]


def _compact(folder: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = [row for pair in read_pairs(folder) for row in _rows(pair)]
    parquet.write_table(pa.Table.from_pylist(rows, schema=_schema(pa)), folder / TABLE)


def _rows(pair: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for cell, measured in pair["cells"].items():
        about = {"stage": measured["stage"], "log_ratio": measured.get("log_ratio")}
        for burst in measured["bursts"]:
            seconds = {f"{name}_s": burst[f"{name}_ns"] / 1e9 / max(burst["calls"], 1) for name in ("wall", "cpu")}
            kept = {name: burst[name] for name in ("side", "quad", "attempt", "position", "calls", "again")}
            yield {
                "pair": pair["pair"],
                "cell": cell,
                "label": measured["label"],
                **about,
                **kept,
                **seconds,
                "over": burst.get("over"),
                "started_at": burst["started_at"],
            }


def _schema(pa: Any) -> Any:
    text, whole, real = pa.string(), pa.int64(), pa.float64()
    return pa.schema(
        {
            "pair": whole,
            "cell": text,
            "label": text,
            "stage": text,
            "log_ratio": real,
            "side": text,
            "quad": whole,
            "attempt": whole,
            "position": whole,
            "calls": whole,
            "again": pa.bool_(),
            "wall_s": real,
            "cpu_s": real,
            "over": text,
            "started_at": real,
        }
    )
