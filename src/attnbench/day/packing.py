"""The archive of a day: what matters most comes first, and it never grows over its limit."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import zlib
from pathlib import Path
from typing import Any

MOST_BYTES = 10 * 2**20
# A text keeps its beginning and its end: a step that prints without end is to hide neither its own fault nor others'.
HEAD_BYTES, TAIL_BYTES = 2**18, 2**19
FIRST = ("day.json", "texts", "predictions.json", "run.json", "cells.parquet", "verdicts.parquet", "journal.jsonl")
PART = ".part"  # how names end under which attnbench writes a file before it is whole
_packed: dict[tuple[str, int, int], int] = {}


def pack(work: Path, journal: dict[str, Any], archive: Path) -> None:
    """Write a folder into an archive. A step writes meanwhile: what has gone by now is passed over."""
    journal["left_out"] = []
    room = MOST_BYTES * 9 // 10
    chosen = []
    for file in _files(work):
        with contextlib.suppress(FileNotFoundError):
            size = packed_bytes(file)
            if size <= room:
                chosen.append(file)
                room -= size
            else:
                journal["left_out"].append(str(file.relative_to(work)))
    (work / "day.json").write_text(json.dumps(journal, indent=1), encoding="utf-8")
    with tarfile.open(archive, "w:gz", compresslevel=6) as packed:
        for file in dict.fromkeys([work / "day.json", *chosen]):
            with contextlib.suppress(FileNotFoundError):
                add(packed, file, f"day/{file.relative_to(work)}")


def add(archive: tarfile.TarFile, file: Path, name: str) -> None:
    """A file as it is at one moment: one that grows or shrinks while it is packed would spoil the archive."""
    info, content = archive.gettarinfo(file, name), kept_of(file)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def kept_of(file: Path) -> bytes:
    """What is kept of a file: all of it, but of a long text its beginning and its end."""
    if file.suffix != ".txt" or file.stat().st_size <= HEAD_BYTES + TAIL_BYTES:
        return file.read_bytes()
    with file.open("rb") as text:
        head = text.read(HEAD_BYTES)
        text.seek(-TAIL_BYTES, 2)
        between = text.tell() - HEAD_BYTES
        return head + f"\n[… {between:,} bytes are left out here …]\n".encode() + text.read(TAIL_BYTES)


def packed_bytes(file: Path) -> int:
    """How much of the archive a file takes, about; each state of a file is packed once to know it."""
    stat = file.stat()
    key = str(file), stat.st_size, stat.st_mtime_ns
    if key not in _packed:
        too_large = file.suffix != ".txt" and stat.st_size > 20 * MOST_BYTES
        _packed[key] = stat.st_size if too_large else len(zlib.compress(kept_of(file), 6)) + 1024
    return _packed[key]


def _files(work: Path) -> list[Path]:
    """By their rank; without those that are written under another name first, which are whole in a moment."""
    ranked = []
    for file in work.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if file.is_file() and not file.is_symlink() and file.suffix != PART:
                ranked.append((_rank(file), file))
    return [file for _, file in sorted(ranked)]


def _rank(file: Path) -> tuple[int, int, str]:
    names = (file.name, file.parent.name)
    rank = next((at for at, name in enumerate(FIRST) if name in names), len(FIRST))
    return rank, file.stat().st_size, str(file)
